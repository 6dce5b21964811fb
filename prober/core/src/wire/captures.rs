//! What the tests of several parsers share: bytes of real servers and of hostile peers, and ways
//! to feed them.

use std::fmt::Debug;

/// Gives the bytes of a file under `tests/captures/rdp`.
macro_rules! capture {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/captures/rdp/", $path))
            .as_slice()
    };
}
pub(super) use capture;

/// Checks that it does not matter in which pieces bytes arrive, and gives what was read.
///
/// `read` is a fresh reader's answer to these pieces. Every cut in two is tried, and pieces of
/// every small length.
pub(super) fn assert_pieces_agree<A: Debug + PartialEq>(
    bytes: &[u8],
    read: impl Fn(&mut dyn Iterator<Item = &[u8]>) -> A,
) -> A {
    let whole = read(&mut [bytes].into_iter());
    for at in 0..=bytes.len() {
        let (start, rest) = bytes.split_at(at);
        assert_eq!(read(&mut [start, rest].into_iter()), whole, "cut at {at}");
    }
    for len in 1..=9 {
        assert_eq!(read(&mut bytes.chunks(len)), whole, "pieces of {len}");
    }
    whole
}
