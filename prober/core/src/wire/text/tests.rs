use super::*;
use proptest::prelude::*;

fn check(text: &str, expected: &str) {
    assert_eq!(printable(text.chars()), expected);
}

#[test]
fn ordinary_text_stays() {
    check("WIN-LAB01", "WIN-LAB01");
    check("O'Brien \"Büro\" 服务器", "O'Brien \"Büro\" 服务器");
    check("", "");
}

#[test]
fn what_does_not_print_is_escaped() {
    check("a\r\nb\0\x1b[2J", r"a\r\nb\0\u{1b}[2J");
    check("user\u{202e}exe", r"user\u{202e}exe");
    check("zero\u{200b}width", r"zero\u{200b}width");
    check(r"a\n", r"a\\n");
}

#[test]
fn long_text_is_cut_between_characters() {
    check(&"x".repeat(256), &"x".repeat(256));
    check(&"x".repeat(257), &("x".repeat(256) + "…"));
    check(&"\n".repeat(1000), &(r"\n".repeat(128) + "…"));
    check(&"服".repeat(100), &("服".repeat(85) + "…"));
}

#[test]
fn lone_surrogates_are_replaced() {
    let decoded: String = utf16([0x41, 0xd83d, 0xde00, 0xd83d, 0x42, 0xdc00]).collect();
    assert_eq!(decoded, "A😀\u{fffd}B\u{fffd}");
}

proptest! {
    #[test]
    fn any_text_becomes_short_and_printable(
        text in proptest::collection::vec(any::<char>(), 0..400),
    ) {
        let printable = printable(text);
        prop_assert!(printable.len() <= TEXT_LEN_MAX + '…'.len_utf8());
        prop_assert!(!printable.chars().any(char::is_control));
    }
}
