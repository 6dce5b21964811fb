use super::*;
use proptest::prelude::*;

#[test]
fn lengths_are_not_trusted() {
    let bytes = |len: u8| [0, 53, 0x80, 0, 0, len, 0, 0, 1, 2, 3];
    let datagram = |payload| Datagram { source_port: 53, dest_port: 0x8000, payload };
    assert_eq!(parse(&bytes(11)), Ok(datagram(&[1, 2, 3])));
    assert_eq!(parse(&bytes(9)), Ok(datagram(&[1])));
    assert_eq!(parse(&bytes(200)), Ok(datagram(&[1, 2, 3])));
    assert_eq!(parse(&bytes(7)), Err(ParseError::BadLength));
    assert_eq!(parse(&bytes(11)[..7]), Err(ParseError::Truncated));
    assert_eq!(declared_len(&bytes(200)), Ok(200));
}

#[test]
fn overlong_datagram_is_not_written() {
    let emit =
        |payload: &[u8]| Datagram { source_port: 1, dest_port: 2, payload }.emit(&mut Vec::new());
    assert_eq!(emit(&[0; 65_527]), Some(()));
    assert_eq!(emit(&[0; 65_528]), None);
}

proptest! {
    #[test]
    fn datagram_survives_the_wire(
        (source_port, dest_port) in any::<(u16, u16)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let datagram = Datagram { source_port, dest_port, payload: &payload };
        let mut bytes = Vec::new();
        datagram.emit(&mut bytes).unwrap();
        prop_assert_eq!(parse(&bytes), Ok(datagram));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
