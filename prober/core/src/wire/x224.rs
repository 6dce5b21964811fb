//! The first exchange of RDP: an X.224 connection request in a TPKT frame and its answer.
//!
//! RFC 1006 section 6 has the frame, MS-RDPBCGR sections 2.2.1.1 and 2.2.1.2 the negotiation.
//! The frame is big-endian, the negotiation block little-endian.

use super::ParseError;
pub use super::banner::ForeignHint;
use super::banner::hint;
use super::reader::Reader;

/// A connection request that offers SSL and HYBRID (CredSSP): servers that want one of them
/// may refuse a request for the other alone.
pub const CONNECTION_REQUEST: [u8; 19] = [
    3, 0, 0, 19, // TPKT: version, reserved, length
    14, 0xe0, 0, 0, 0, 0, 0, // X.224: length, connection request, references, class
    1, 0, 8, 0, 3, 0, 0, 0, // negotiation request: type, flags, length, protocols
];

const TPKT_VERSION: u8 = 3;
const TPKT_LEN_MIN: usize = 7;
const TPKT_LEN_MAX: usize = 512;
/// What the X.224 length does not count: the TPKT header and itself.
const BEFORE_X224: usize = 5;
const CONNECTION_CONFIRM: u8 = 0xd0;
const NEGOTIATION_RESPONSE: u8 = 2;
const NEGOTIATION_FAILURE: u8 = 3;
const NEGOTIATION_LEN: u16 = 8;

/// What a peer that should speak RDP has answered so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The peer takes the connection.
    Confirm {
        /// The security protocol chosen; `None` from a server that does not negotiate.
        selected: Option<u32>,
        /// Flags of the negotiation response, 0 without one.
        flags: u8,
    },
    /// The peer refuses the protocols offered.
    Failure {
        /// Failure code, 1 to 6 known (MS-RDPBCGR section 2.2.1.2.2).
        code: u32,
    },
    /// The answer is not whole yet.
    NeedMore,
    /// The peer does not speak TPKT.
    Foreign {
        /// What it may speak instead.
        hint: ForeignHint,
    },
    /// The peer speaks TPKT, but this is no answer to a connection request.
    Malformed,
}

/// Reads an answer from all bytes received so far; those behind its frame are ignored.
pub fn read_answer(bytes: &[u8]) -> Answer {
    match bytes {
        [] | [TPKT_VERSION] | [TPKT_VERSION, _] | [TPKT_VERSION, _, _] => Answer::NeedMore,
        &[TPKT_VERSION, _, high, low, ..] => {
            let len = usize::from(u16::from_be_bytes([high, low]));
            match bytes.get(..len) {
                _ if !(TPKT_LEN_MIN..=TPKT_LEN_MAX).contains(&len) => Answer::Malformed,
                Some(frame) => read_confirm(frame).unwrap_or(Answer::Malformed),
                None => Answer::NeedMore,
            }
        }
        [_, ..] => Answer::Foreign { hint: hint(bytes) },
    }
}

/// Reads a whole TPKT frame.
fn read_confirm(frame: &[u8]) -> Result<Answer, ParseError> {
    let mut reader = Reader::new(frame);
    let _tpkt: [u8; 4] = reader.array()?;
    let [length, code] = reader.array()?;
    let _references_and_class: [u8; 5] = reader.array()?;
    if usize::from(length) + BEFORE_X224 != frame.len() {
        return Err(ParseError::BadLength);
    }
    // X.224 section 13.4: the low half of the code is a credit, which class 0 leaves at 0.
    if code & 0xf0 != CONNECTION_CONFIRM {
        return Err(ParseError::Unsupported);
    }
    if reader.rest().is_empty() {
        return Ok(Answer::Confirm { selected: None, flags: 0 });
    }
    let [kind, flags] = reader.array()?;
    let negotiation_len = u16::from_le_bytes(reader.array()?);
    let value = u32::from_le_bytes(reader.array()?);
    match (kind, negotiation_len) {
        (NEGOTIATION_RESPONSE, NEGOTIATION_LEN) => {
            Ok(Answer::Confirm { selected: Some(value), flags })
        }
        (NEGOTIATION_FAILURE, NEGOTIATION_LEN) => Ok(Answer::Failure { code: value }),
        _ => Err(ParseError::BadLength),
    }
}

#[cfg(test)]
mod tests;
