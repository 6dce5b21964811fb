//! The UDP header (RFC 768).

use super::ParseError;
use super::reader::Reader;

/// Length in bytes of the header.
pub const HEADER_LEN: usize = 8;

/// A UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Port that it comes from.
    pub source_port: u16,
    /// Port that it goes to.
    pub dest_port: u16,
    /// The data, as far as it was captured.
    pub payload: &'a [u8],
}

/// Gives the length in bytes that a header declares, the header included.
pub fn declared_len(bytes: &[u8]) -> Result<usize, ParseError> {
    let mut reader = Reader::new(bytes);
    reader.take(4)?;
    Ok(usize::from(reader.u16()?))
}

/// Reads a datagram; one that declares more bytes than there are is taken as cut.
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    let source_port = reader.u16()?;
    let dest_port = reader.u16()?;
    let declared = usize::from(reader.u16()?);
    let _checksum = reader.u16()?;
    let declared = declared.checked_sub(HEADER_LEN).ok_or(ParseError::BadLength)?;
    let rest = reader.rest();
    Ok(Datagram { source_port, dest_port, payload: rest.get(..declared).unwrap_or(rest) })
}

impl Datagram<'_> {
    /// Appends the datagram with a checksum of 0; `None` if it would be too long.
    pub fn emit(&self, out: &mut Vec<u8>) -> Option<()> {
        let len = u16::try_from(self.payload.len().checked_add(HEADER_LEN)?).ok()?;
        out.extend(self.source_port.to_be_bytes());
        out.extend(self.dest_port.to_be_bytes());
        out.extend(len.to_be_bytes());
        out.extend([0, 0]);
        out.extend_from_slice(self.payload);
        Some(())
    }
}

#[cfg(test)]
mod tests;
