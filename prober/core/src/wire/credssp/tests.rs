use super::*;
use crate::wire::captures::{assert_pieces_agree, capture, challenge, utf16le};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Answer {
    AnswerReader::default().handle_bytes(bytes).clone()
}

/// Reads bytes in every way they may arrive.
fn read_in_pieces(bytes: &[u8]) -> Answer {
    assert_pieces_agree(bytes, |pieces| {
        let mut reader = AnswerReader::default();
        for piece in pieces {
            reader.handle_bytes(piece);
        }
        reader.handle_bytes(&[]).clone()
    })
}

/// An element in DER with the shortest length that serves.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match length {
        0..0x80 => vec![tag, length as u8],
        0x80..0x100 => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [header, content.to_vec()].concat()
}

fn ts_request(fields: &[Vec<u8>]) -> Vec<u8> {
    let version = element(0xa0, &element(der::INTEGER, &[6]));
    element(der::SEQUENCE, &[version, fields.concat()].concat())
}

fn nego_tokens(token: &[u8]) -> Vec<u8> {
    let entry = element(der::SEQUENCE, &element(0xa0, &element(der::OCTET_STRING, token)));
    element(0xa1, &element(der::SEQUENCE, &entry))
}

fn error_code(code: u32) -> Vec<u8> {
    element(0xa4, &element(der::INTEGER, &code.to_be_bytes()))
}

fn refused(code: u32) -> Answer {
    Answer::Refused { version: 6, error_code: NtStatus(code) }
}

/// A server's challenge with one name of this many letters.
fn token(letters: usize) -> Vec<u8> {
    challenge(0x0080_0001, b"", &[(3, &utf16le(&"a".repeat(letters))), (0, b"")])
}

#[test]
fn request_is_what_it_should_be() {
    let fields = [nego_tokens(&ntlm::NEGOTIATE)];
    assert_eq!(REQUEST[..], ts_request(&fields));
}

#[test]
fn freerdp_challenges() {
    let Answer::Challenge { version, challenge } =
        read_in_pieces(capture!("credssp/freerdp_challenge.bin"))
    else {
        panic!("no challenge");
    };
    assert_eq!(version, 6);
    assert_eq!(challenge.dns_computer_name.as_deref(), Some("WIN-NLA01"));
}

#[test]
fn error_counts_more_than_a_token() {
    // FreeRDP sends 12 KiB of zeros as a token with its error.
    let bytes = capture!("credssp/freerdp_error.bin");
    assert_eq!(read(bytes), refused(0xc007_00ea));
    assert_eq!(read(&bytes[..bytes.len() - 1]), Answer::NeedMore);
    assert_eq!(read_in_pieces(&ts_request(&[error_code(0xc000_005e)])), refused(0xc000_005e));
    let both = ts_request(&[nego_tokens(b"NTLMSSP\0"), error_code(0xc000_006d)]);
    assert_eq!(read_in_pieces(&both), refused(0xc000_006d));
    let none = ts_request(&[nego_tokens(&token(3)), error_code(0)]);
    assert!(matches!(read_in_pieces(&none), Answer::Challenge { .. }), "zero is no error");
}

#[test]
fn statuses_have_the_names_of_the_specification() {
    assert_eq!(NtStatus(0xc000_005e).to_string(), "STATUS_NO_LOGON_SERVERS (0xc000005e)");
    assert_eq!(NtStatus(0xc007_00ea).to_string(), "NTSTATUS 0xc00700ea");
}

#[test]
fn fields_of_later_steps_are_skipped() {
    let fields = [
        nego_tokens(&token(3)),
        element(0xa2, &element(der::OCTET_STRING, &[1; 5])),
        element(0xa3, &element(der::OCTET_STRING, &[2; 300])),
        element(0xa5, &element(der::OCTET_STRING, &[3; 32])),
        element(0xa6, &[]),
    ];
    assert!(matches!(read_in_pieces(&ts_request(&fields)), Answer::Challenge { .. }));
}

#[test]
fn bytes_behind_the_answer_are_ignored() {
    let bytes = ts_request(&[nego_tokens(&token(3))]);
    assert_eq!(read(&[&bytes[..], &[0xff; 100]].concat()), read(&bytes));
}

#[test]
fn size_is_bounded() {
    let largest = ts_request(&[nego_tokens(&token(32_600))]);
    assert!((65_000..=LEN_MAX).contains(&largest.len()));
    assert!(matches!(read(&largest), Answer::Challenge { .. }));
    assert_eq!(read(&[0x30, 0x83, 0x00, 0xff, 0xfb]), Answer::NeedMore, "64 KiB in all");
    assert_eq!(read(&[0x30, 0x83, 0x00, 0xff, 0xfc]), Answer::TooLarge);
    assert_eq!(read(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), Answer::TooLarge);
    let mut reader = AnswerReader::default();
    reader.handle_bytes(&[0x30, 0x84, 0x00, 0x01, 0x00, 0x00]);
    assert_eq!(reader.handle_bytes(&[0; 100_000]), &Answer::TooLarge);
    assert_eq!(reader.taken.capacity(), 0, "nothing is kept");
}

#[test]
fn hostile_answers_are_refused() {
    let cases = [
        ("another tag", capture!("hostile/credssp/another_tag.bin")),
        ("indefinite length", capture!("hostile/credssp/indefinite_length.bin")),
        ("length of five octets", capture!("hostile/credssp/length_of_5_octets.bin")),
        ("no version", capture!("hostile/credssp/no_version.bin")),
        ("version of 6 octets", capture!("hostile/credssp/version_of_6_octets.bin")),
        ("no token and no error", capture!("hostile/credssp/nothing.bin")),
        ("no entry", capture!("hostile/credssp/no_entry.bin")),
        ("token beyond its entry", capture!("hostile/credssp/token_beyond.bin")),
        ("field beyond the request", capture!("hostile/credssp/field_beyond.bin")),
        ("error of no octets", capture!("hostile/credssp/error_of_no_octets.bin")),
        ("SPNEGO", capture!("hostile/credssp/spnego.bin")),
        ("an echo of the request", &REQUEST),
    ];
    for (name, bytes) in cases {
        assert_eq!(read_in_pieces(bytes), Answer::Malformed, "{name}");
    }
    assert_eq!(read(b"HTTP/1.1 400"), Answer::Malformed);
}

proptest! {
    #[test]
    fn mutated_answers_never_panic_and_pieces_agree(
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        len in any::<prop::sample::Index>(),
    ) {
        let mut bytes = capture!("credssp/freerdp_challenge.bin").to_vec();
        for (at, value) in mutations {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let bytes = &bytes[..len.index(bytes.len() + 1)];
        let (start, rest) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut reader = AnswerReader::default();
        reader.handle_bytes(start);
        prop_assert_eq!(reader.handle_bytes(rest), &read(bytes));
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = der::SEQUENCE;
        }
        read(&bytes);
    }

    #[test]
    fn codes_survive_the_wire(code in 1_u32..) {
        prop_assert_eq!(read(&ts_request(&[error_code(code)])), refused(code));
    }
}
