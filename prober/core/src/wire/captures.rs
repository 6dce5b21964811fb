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
pub(crate) use capture;

/// Checks that it does not matter in which pieces bytes arrive, and gives what was read.
///
/// `read` is a fresh reader's answer to these pieces. Every cut in two is tried, and pieces of
/// every small length.
pub(crate) fn assert_pieces_agree<A: Debug + PartialEq>(
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

/// Builds a CHALLENGE message of NTLM as Windows lays it out: the target name, then the AV pairs.
pub(crate) fn challenge(flags: u32, target: &[u8], pairs: &[(u16, &[u8])]) -> Vec<u8> {
    let info: Vec<u8> = pairs
        .iter()
        .flat_map(|(id, value)| {
            [&id.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat()
        })
        .collect();
    let fields = |len: usize, offset: usize| {
        let len = (len as u16).to_le_bytes();
        [&len[..], &len, &(offset as u32).to_le_bytes()].concat()
    };
    [
        &b"NTLMSSP\0"[..],
        &[2, 0, 0, 0],
        &fields(target.len(), 56),
        &flags.to_le_bytes(),
        &[0xcc; 8],
        &[0; 8],
        &fields(info.len(), 56 + target.len()),
        &[10, 0, 0x39, 0x38, 0, 0, 0, 15],
        target,
        &info,
    ]
    .concat()
}

pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
