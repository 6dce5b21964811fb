use super::*;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<(u8, &[u8]), ParseError> {
    element(&mut Reader::new(bytes))
}

#[test]
fn lengths_are_read_in_both_forms() {
    assert_eq!(read(&[0x04, 0]), Ok((OCTET_STRING, &[][..])));
    assert_eq!(read(&[0x04, 2, 7, 8, 9]), Ok((OCTET_STRING, &[7, 8][..])));
    assert_eq!(read(&[0xa1, 0x81, 1, 7]), Ok((context(1), &[7][..])));
    assert_eq!(read(&[0x30, 0x84, 0, 0, 0, 1, 7]), Ok((SEQUENCE, &[7][..])));
    let long = [&[0x04, 0x82, 1, 0][..], &[7; 256]].concat();
    assert_eq!(read(&long), Ok((OCTET_STRING, &[7; 256][..])));
}

#[test]
fn bad_headers_are_refused() {
    assert_eq!(read(&[0x04]), Err(ParseError::Truncated));
    assert_eq!(read(&[0x04, 3, 7, 8]), Err(ParseError::Truncated));
    assert_eq!(read(&[0x04, 0x82, 1]), Err(ParseError::Truncated));
    assert_eq!(read(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 7]), Err(ParseError::Truncated));
    assert_eq!(read(&[0x30, 0x80, 0, 0]), Err(ParseError::BadLength), "indefinite");
    assert_eq!(read(&[0x30, 0x85, 0, 0, 0, 0, 0]), Err(ParseError::BadLength));
    assert_eq!(read(&[0x3f, 0x81, 1, 0]), Err(ParseError::Unsupported), "a tag of two bytes");
    assert_eq!(expect(&mut Reader::new(&[0x04, 0]), SEQUENCE), Err(ParseError::Unsupported));
}

#[test]
fn integers_keep_their_low_32_bits() {
    let read = |content: &[u8]| {
        let bytes = [&[INTEGER, content.len() as u8], content].concat();
        integer(&mut Reader::new(&bytes))
    };
    assert_eq!(read(&[6]), Ok(6));
    assert_eq!(read(&[0xff]), Ok(u32::MAX));
    assert_eq!(read(&[0, 0x80]), Ok(0x80));
    assert_eq!(read(&[0xc0, 0, 0, 0x5e]), Ok(0xc000_005e), "as a negative number");
    assert_eq!(read(&[0, 0xc0, 0, 0, 0x5e]), Ok(0xc000_005e));
    assert_eq!(read(&[1, 0, 0, 0, 0]), Err(ParseError::BadLength));
    assert_eq!(read(&[0xff, 0, 0, 0, 0]), Err(ParseError::BadLength));
    assert_eq!(read(&[0; 6]), Err(ParseError::BadLength));
    assert_eq!(read(&[]), Err(ParseError::BadLength));
}

proptest! {
    #[test]
    fn integers_survive_both_spellings(value in any::<u32>()) {
        let octets = value.to_be_bytes();
        let short = [&[INTEGER, 4][..], &octets].concat();
        prop_assert_eq!(integer(&mut Reader::new(&short)), Ok(value));
        let long = [&[INTEGER, 5, 0][..], &octets].concat();
        prop_assert_eq!(integer(&mut Reader::new(&long)), Ok(value));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = element(&mut Reader::new(&bytes));
        let _ = integer(&mut Reader::new(&bytes));
    }
}
