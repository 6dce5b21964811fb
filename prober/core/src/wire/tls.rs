//! The first flight of a TLS handshake up to version 1.2, where the certificate is in the clear.
//!
//! [`client_hello`] asks; [`HandshakeReader`] is fed with what arrives and stops at the server's
//! certificates or at what stands in their place. Nothing is encrypted and nothing is completed.
//! RFC 5246 has the formats; their numbers are those of RFC 8446 appendix B as well.

mod hello;
mod names;

pub use self::hello::client_hello;
pub use self::names::{AlertDescription, AlertLevel, CipherSuite, Version};
use super::ParseError;
use super::banner::{ForeignHint, hint};
use super::reader::Reader;
use std::mem;

/// The most that is read of a server's first flight, record headers included.
pub const BYTES_MAX: usize = 64 * 1024;

/// RFC 5246 section 6.2.1: what a record may hold in the clear.
const FRAGMENT_LEN_MAX: usize = 1 << 14;
const RECORD_HEADER_LEN: usize = 5;
const VERSION_MAJOR: u8 = 3;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;

const COMPRESSION_NULL: u8 = 0;
const SESSION_ID_LEN_MAX: usize = 32;

/// What a server has answered to a ClientHello so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// The flight is not whole yet.
    #[default]
    NeedMore,
    /// The server chose and showed its certificates.
    Certificate(ServerCertificate),
    /// The server ended the handshake.
    Alert(Alert),
    /// The peer does not speak TLS.
    Foreign {
        /// What it may speak instead.
        hint: ForeignHint,
    },
    /// The peer speaks TLS, but this is no answer to our hello.
    Malformed,
    /// The flight takes, or would take, more than [`BYTES_MAX`].
    TooLarge,
}

/// What a server chose (RFC 5246 section 7.4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerHello {
    /// The version of the connection.
    pub version: Version,
    /// The suite of the connection, one of those offered.
    pub cipher_suite: CipherSuite,
}

/// A server's choice and its certificates (RFC 5246 section 7.4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificate {
    /// What the server chose before.
    pub server_hello: ServerHello,
    /// The server's own certificate in DER, which nothing has been read of yet.
    pub certificate: Vec<u8>,
    /// Certificates in the list, the server's own included.
    pub list_len: usize,
}

/// An alert (RFC 5246 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alert {
    /// How grave it is.
    pub level: AlertLevel,
    /// What it says.
    pub description: AlertDescription,
}

/// Reassembles records and handshake messages from bytes as they arrive.
#[derive(Debug, Default)]
pub struct HandshakeReader {
    bytes_taken: usize,
    /// The start of a record that is not whole yet.
    record: Vec<u8>,
    /// The start of a handshake message that is not whole yet.
    message: Vec<u8>,
    has_seen_record: bool,
    server_hello: Option<ServerHello>,
    answer: Answer,
}

impl HandshakeReader {
    /// Takes what arrived and gives the answer, which stays once it is more than `NeedMore`.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> &Answer {
        if self.answer == Answer::NeedMore {
            let room = BYTES_MAX.saturating_sub(self.bytes_taken);
            let taken = bytes.get(..room).unwrap_or(bytes);
            self.bytes_taken += taken.len();
            self.record.extend_from_slice(taken);
            self.answer = match self.read_records() {
                Ok(None) if taken.len() < bytes.len() => Answer::TooLarge,
                Ok(None) => return &self.answer,
                Ok(Some(answer)) => answer,
                Err(_) => Answer::Malformed,
            };
            (self.record, self.message) = (Vec::new(), Vec::new());
        }
        &self.answer
    }

    /// Gives what the server chose, as soon as its hello was read.
    pub fn server_hello(&self) -> Option<ServerHello> {
        self.server_hello
    }

    /// Reads the records that are whole; `None` when they decide nothing.
    fn read_records(&mut self) -> Result<Option<Answer>, ParseError> {
        let buffered = mem::take(&mut self.record);
        let mut reader = Reader::new(&buffered);
        if !self.has_seen_record
            && let Some(header) = buffered.get(..RECORD_HEADER_LEN)
        {
            match hint(header) {
                ForeignHint::Tls => self.has_seen_record = true,
                hint => return Ok(Some(Answer::Foreign { hint })),
            }
        }
        while let Some((content_type, fragment)) = read_record(&mut reader)? {
            let answer = match content_type {
                ALERT => read_alert(fragment)?.map(Answer::Alert),
                HANDSHAKE => self.read_messages(fragment)?,
                // RFC 5246 section 7.3: nothing else comes before a server's certificates.
                _ => return Err(ParseError::Unsupported),
            };
            if answer.is_some() {
                return Ok(answer);
            }
        }
        let unread = reader.rest().len();
        self.record = last_bytes(buffered, unread);
        Ok(None)
    }

    /// Reads the handshake messages that are whole with this fragment.
    fn read_messages(&mut self, fragment: &[u8]) -> Result<Option<Answer>, ParseError> {
        let mut buffered = mem::take(&mut self.message);
        buffered.extend_from_slice(fragment);
        let mut reader = Reader::new(&buffered);
        loop {
            let mut ahead = reader;
            let (Ok(message_type), Ok(len)) = (ahead.u8(), ahead.u24()) else { break };
            if len > BYTES_MAX {
                return Ok(Some(Answer::TooLarge));
            }
            let Ok(body) = ahead.take(len) else { break };
            reader = ahead;
            let answer = self.read_message(message_type, body)?;
            if answer.is_some() {
                return Ok(answer);
            }
        }
        let unread = reader.rest().len();
        self.message = last_bytes(buffered, unread);
        Ok(None)
    }

    fn read_message(
        &mut self,
        message_type: u8,
        body: &[u8],
    ) -> Result<Option<Answer>, ParseError> {
        match (message_type, self.server_hello) {
            // RFC 5246 section 7.4.1.1: a client that is negotiating ignores it.
            (HELLO_REQUEST, _) => Ok(None),
            (SERVER_HELLO, None) => {
                self.server_hello = Some(read_server_hello(body)?);
                Ok(None)
            }
            (CERTIFICATE, Some(server_hello)) => {
                let (certificate, list_len) = read_certificate_list(body)?;
                let certificate = certificate.to_vec();
                let answer = ServerCertificate { server_hello, certificate, list_len };
                Ok(Some(Answer::Certificate(answer)))
            }
            _ => Err(ParseError::Unsupported),
        }
    }
}

/// Keeps the last so many bytes; nothing is moved when that is all of them.
fn last_bytes(mut bytes: Vec<u8>, len: usize) -> Vec<u8> {
    bytes.drain(..bytes.len().saturating_sub(len));
    bytes
}

/// Reads a record if it is whole (RFC 5246 section 6.2.1): its content type and its fragment.
fn read_record<'a>(reader: &mut Reader<'a>) -> Result<Option<(u8, &'a [u8])>, ParseError> {
    let mut ahead = *reader;
    let Ok([content_type, major, _minor, high, low]) = ahead.array() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if major != VERSION_MAJOR {
        return Err(ParseError::BadVersion);
    }
    if !(1..=FRAGMENT_LEN_MAX).contains(&len) {
        return Err(ParseError::BadLength);
    }
    let Ok(fragment) = ahead.take(len) else { return Ok(None) };
    *reader = ahead;
    Ok(Some((content_type, fragment)))
}

/// Reads an alert; `None` for a warning after which the handshake goes on.
fn read_alert(fragment: &[u8]) -> Result<Option<Alert>, ParseError> {
    let mut reader = Reader::new(fragment);
    let [level, description] = reader.array()?;
    let description = AlertDescription(description);
    let level = match level {
        1 => AlertLevel::Warning,
        2 => AlertLevel::Fatal,
        _ => return Err(ParseError::Unsupported),
    };
    // RFC 6066 section 3: a server that does not know the name may warn of it and go on.
    let goes_on = level == AlertLevel::Warning && description != AlertDescription::CLOSE_NOTIFY;
    Ok((!goes_on).then_some(Alert { level, description }))
}

fn read_server_hello(body: &[u8]) -> Result<ServerHello, ParseError> {
    let mut reader = Reader::new(body);
    let version = Version::from_wire(reader.u16()?)
        .filter(|version| *version <= Version::Tls12)
        .ok_or(ParseError::BadVersion)?;
    let _random: [u8; 32] = reader.array()?;
    let session_id_len = usize::from(reader.u8()?);
    if session_id_len > SESSION_ID_LEN_MAX {
        return Err(ParseError::BadLength);
    }
    reader.take(session_id_len)?;
    let cipher_suite = CipherSuite(reader.u16()?);
    if cipher_suite.name().is_none() || reader.u8()? != COMPRESSION_NULL {
        return Err(ParseError::Unsupported);
    }
    if !reader.rest().is_empty() {
        let extensions_len = usize::from(reader.u16()?);
        reader.take(extensions_len)?;
    }
    if !reader.rest().is_empty() {
        return Err(ParseError::BadLength);
    }
    Ok(ServerHello { version, cipher_suite })
}

/// Reads a certificate list: its first certificate and how many there are.
fn read_certificate_list(body: &[u8]) -> Result<(&[u8], usize), ParseError> {
    let mut reader = Reader::new(body);
    let list_len = reader.u24()?;
    let mut list = Reader::new(reader.take(list_len)?);
    if !reader.rest().is_empty() {
        return Err(ParseError::BadLength);
    }
    let mut first = None;
    let mut count = 0;
    while !list.rest().is_empty() {
        let len = list.u24()?;
        let certificate = list.take(len)?;
        if certificate.is_empty() {
            return Err(ParseError::BadLength);
        }
        first = first.or(Some(certificate));
        count += 1;
    }
    Ok((first.ok_or(ParseError::BadLength)?, count))
}

#[cfg(test)]
mod tests;
