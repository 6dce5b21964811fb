//! Elements of the Distinguished Encoding Rules (X.690), as far as CredSSP and certificates
//! need them.

use super::ParseError;
use super::reader::Reader;

/// Universal tags (X.680 section 8.4), those of sequences with the bit that says constructed.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const SEQUENCE: u8 = 0x30;

/// The low bits of a tag that goes on in further bytes (X.690 section 8.1.2.4).
const TAG_NUMBER_HIGH: u8 = 0x1f;
const LENGTH_LONG: u8 = 0x80;
const LENGTH_OCTETS_MAX: usize = 4;

/// Gives the constructed tag of a context-specific number below 31.
pub(super) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// Reads the tag of an element and the length of its content, which may not be there yet.
///
/// A length may be spelled longer than needed, as some encoders reserve room for it.
pub(super) fn header(reader: &mut Reader<'_>) -> Result<(u8, usize), ParseError> {
    let tag = reader.u8()?;
    if tag & TAG_NUMBER_HIGH == TAG_NUMBER_HIGH {
        return Err(ParseError::Unsupported);
    }
    let first = reader.u8()?;
    if first & LENGTH_LONG == 0 {
        return Ok((tag, usize::from(first)));
    }
    let octets = usize::from(first & !LENGTH_LONG);
    // Zero octets are an indefinite length, which DER has not (X.690 section 10.1).
    if !(1..=LENGTH_OCTETS_MAX).contains(&octets) {
        return Err(ParseError::BadLength);
    }
    let octets = reader.take(octets)?;
    Ok((tag, octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))))
}

/// Reads a whole element: its tag and its content.
pub(super) fn element<'a>(reader: &mut Reader<'a>) -> Result<(u8, &'a [u8]), ParseError> {
    let (tag, length) = header(reader)?;
    Ok((tag, reader.take(length)?))
}

/// Reads a whole element that must have this tag, and gives its content.
pub(super) fn expect<'a>(reader: &mut Reader<'a>, tag: u8) -> Result<&'a [u8], ParseError> {
    match element(reader)? {
        (found, content) if found == tag => Ok(content),
        _ => Err(ParseError::Unsupported),
    }
}

/// Reads an integer of 32 bits, signed or not.
///
/// Codes with their highest bit set are written as negative numbers by some, and with a zero
/// before them by others.
pub(super) fn integer(reader: &mut Reader<'_>) -> Result<u32, ParseError> {
    let content = expect(reader, INTEGER)?;
    let negative = content.first().ok_or(ParseError::BadLength)? & 0x80 != 0;
    if content.len() > size_of::<u32>() + 1 {
        return Err(ParseError::BadLength);
    }
    let sign = if negative { -1 } else { 0 };
    let value = content.iter().fold(sign, |value: i64, octet| value << 8 | i64::from(*octet));
    let bits = i32::try_from(value).map(i32::cast_unsigned);
    bits.or_else(|_| u32::try_from(value)).map_err(|_| ParseError::BadLength)
}

#[cfg(test)]
mod tests;
