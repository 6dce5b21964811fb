use super::*;
use proptest::prelude::*;

fn check(bytes: &[u8], expected: BannerAnswer) {
    assert_eq!(read_ssh_banner(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
}

fn ssh(software: &str) -> BannerAnswer {
    BannerAnswer::Ssh { software: software.to_owned() }
}

fn foreign(hint: ForeignHint) -> BannerAnswer {
    BannerAnswer::Foreign(hint)
}

#[test]
fn identification_is_read() {
    let debian = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
    check(debian, ssh("OpenSSH_9.2p1 Debian-2+deb12u3"));
    check(b"SSH-1.99-Cisco-1.25\n\x00\x01", ssh("Cisco-1.25"));
    check(b"SSH-2.0-\r\n", ssh(""));
    check(b"SSH-2.0-a\x1b[2Jb\r\n", ssh("a"));
    check(b"SSH-2.0-a\xc3\xa9\r\n", ssh("a"));
    let long = [&b"SSH-2.0-"[..], &[b'x'; 100], b"\r\n"].concat();
    check(&long, ssh(&"x".repeat(64)));
}

#[test]
fn part_of_an_identification_needs_more() {
    let whole = b"Welcome.\r\nSSH-2.0-dropbear\r\n";
    for len in 0..whole.len() {
        check(&whole[..len], BannerAnswer::NeedMore);
    }
    check(whole, ssh("dropbear"));
}

#[test]
fn lines_before_are_bounded() {
    let after = |lines: usize| [&b"motd\r\n".repeat(lines)[..], b"SSH-2.0-x\r\n"].concat();
    check(&after(7), ssh("x"));
    check(&after(8), foreign(ForeignHint::Other));
    check(&b"motd\r\n".repeat(7), BannerAnswer::NeedMore);
    check(&b"motd\r\n".repeat(8), foreign(ForeignHint::Other));
    check(&[b'x'; 2047], BannerAnswer::NeedMore);
    check(&[b'x'; 2048], foreign(ForeignHint::Other));
    let late = [&[b'x'; 2030][..], b"\n", b"SSH-2.0-longer than the window\n"].concat();
    check(&late[..2047], BannerAnswer::NeedMore);
    check(&late, foreign(ForeignHint::Other));
}

#[test]
fn identification_is_bounded() {
    let of_len = |len: usize| [&b"SSH-2.0-"[..], &vec![b'x'; len - 9], b"\n"].concat();
    check(&of_len(255), ssh(&"x".repeat(64)));
    check(&of_len(256), foreign(ForeignHint::Ssh));
    check(&of_len(256)[..255], BannerAnswer::NeedMore);
    check(&of_len(300)[..256], foreign(ForeignHint::Ssh));
    check(b"SSH-nonsense\r\n", foreign(ForeignHint::Ssh));
}

#[test]
fn other_protocols_are_hinted() {
    check(b"HTTP/1.1 400 Bad Request\r\n", foreign(ForeignHint::Http));
    check(b"\x15\x03\x01\x00\x02\x02\x46", foreign(ForeignHint::Tls));
    check(b"220 mail.example ESMTP\r\n", foreign(ForeignHint::Smtp));
    check(b"554-no\r\n", foreign(ForeignHint::Smtp));
    check(b"\x03\x00\x00\x13", foreign(ForeignHint::Other));
    check(b"\x00", foreign(ForeignHint::Other));
    assert_eq!(ForeignHint::Tls.to_string(), "tls");
    check(b"2200 bottles\r\n", BannerAnswer::NeedMore);
}

proptest! {
    #[test]
    fn decision_stands_when_more_arrives(
        bytes in proptest::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\n'), Just(b'S'), Just(b'H'), Just(b'-'), Just(b'.'),
        ], 0..60),
        has_prefix in any::<bool>(),
    ) {
        let bytes = if has_prefix { [b"SSH-2.0-", &bytes[..]].concat() } else { bytes };
        let mut decided: Option<BannerAnswer> = None;
        for len in 0..=bytes.len() {
            let answer = read_ssh_banner(&bytes[..len]);
            match &decided {
                Some(BannerAnswer::Foreign(_)) => {
                    prop_assert!(matches!(answer, BannerAnswer::Foreign(_)), "{:?}", answer);
                }
                Some(decided) => prop_assert_eq!(&answer, decided),
                None if answer != BannerAnswer::NeedMore => decided = Some(answer),
                None => {}
            }
        }
    }

    #[test]
    fn no_answer_needs_more_than_the_bound(
        byte in any::<u8>(),
        tail in proptest::collection::vec(any::<u8>(), BYTES_MAX..BYTES_MAX + 300),
    ) {
        let text = vec![byte; BYTES_MAX];
        prop_assert_ne!(read_ssh_banner(&text), BannerAnswer::NeedMore);
        prop_assert_ne!(read_ssh_banner(&tail), BannerAnswer::NeedMore);
    }
}
