//! The first exchange of CredSSP: a TSRequest that carries NTLM (MS-CSSP section 2.2.1).
//!
//! It travels within TLS. The request is [`REQUEST`]; [`AnswerReader`] reads what comes back.

use super::reader::Reader;
use super::{ParseError, der, ntlm};
use std::fmt;

/// A TSRequest of version 6 whose only token is an NTLM NEGOTIATE message.
pub const REQUEST: [u8; 57] = {
    let head = [
        der::SEQUENCE,
        55, // TSRequest
        der::context(VERSION),
        3,
        der::INTEGER,
        1,
        6, // version
        der::context(NEGO_TOKENS),
        48,
        der::SEQUENCE,
        46,
        der::SEQUENCE,
        44, // negoTokens
        der::context(NEGO_TOKEN),
        42,
        der::OCTET_STRING,
        40, // negoToken
    ];
    let mut request = [0; 57];
    let (start, token) = request.split_at_mut(head.len());
    start.copy_from_slice(&head);
    token.copy_from_slice(&ntlm::NEGOTIATE);
    request
};

/// The longest TSRequest that is read, in bytes.
pub const LEN_MAX: usize = 64 * 1024;

/// The numbers of the fields that are read.
const VERSION: u8 = 0;
const NEGO_TOKENS: u8 = 1;
const ERROR_CODE: u8 = 4;
/// The only field of an entry of `negoTokens`.
const NEGO_TOKEN: u8 = 0;

/// What a server has answered to the first TSRequest so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Answer {
    /// The TSRequest is not whole yet.
    #[default]
    NeedMore,
    /// The server challenges the client, as it should.
    Challenge {
        /// Version of CredSSP that the server speaks.
        version: u32,
        /// What the challenge says of the server.
        challenge: ntlm::Challenge,
    },
    /// The server refuses to go on.
    Refused {
        /// Version of CredSSP that the server speaks.
        version: u32,
        /// Why.
        error_code: NtStatus,
    },
    /// This is no answer to a TSRequest.
    Malformed,
    /// The TSRequest would take more than [`LEN_MAX`].
    TooLarge,
}

/// An NTSTATUS (MS-ERREF section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtStatus(pub u32);

/// Puts a TSRequest together from bytes as they arrive.
#[derive(Debug, Default)]
pub struct AnswerReader {
    taken: Vec<u8>,
    answer: Answer,
}

impl AnswerReader {
    /// Takes what arrived and gives the answer, which stays once it is more than `NeedMore`.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> &Answer {
        if self.answer == Answer::NeedMore {
            let room = LEN_MAX.saturating_sub(self.taken.len());
            self.taken.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
            self.answer = read_answer(&self.taken);
            if self.answer != Answer::NeedMore {
                self.taken = Vec::new();
            }
        }
        &self.answer
    }
}

impl NtStatus {
    /// No error at all.
    const SUCCESS: Self = Self(0);

    /// Gives the name that the specification has for a status that servers are known to send
    /// here, `None` for any other.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0xc000_0001 => "STATUS_UNSUCCESSFUL",
            0xc000_000d => "STATUS_INVALID_PARAMETER",
            0xc000_0022 => "STATUS_ACCESS_DENIED",
            0xc000_005e => "STATUS_NO_LOGON_SERVERS",
            0xc000_006d => "STATUS_LOGON_FAILURE",
            0xc000_009a => "STATUS_INSUFFICIENT_RESOURCES",
            0xc000_00bb => "STATUS_NOT_SUPPORTED",
            0xc000_00dc => "STATUS_INVALID_SERVER_STATE",
            0xc000_0133 => "STATUS_TIME_DIFFERENCE_AT_DC",
            0xc000_018b => "STATUS_NO_TRUST_SAM_ACCOUNT",
            0xc000_018d => "STATUS_TRUSTED_RELATIONSHIP_FAILURE",
            0xc000_0192 => "STATUS_NETLOGON_NOT_STARTED",
            0xc000_0418 => "STATUS_NTLM_BLOCKED",
            _ => return None,
        })
    }
}

impl fmt::Display for NtStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name} ({:#010x})", self.0),
            None => write!(f, "NTSTATUS {:#010x}", self.0),
        }
    }
}

/// Reads a TSRequest from all bytes taken so far; those behind it are ignored.
fn read_answer(bytes: &[u8]) -> Answer {
    if bytes.first().is_some_and(|tag| *tag != der::SEQUENCE) {
        return Answer::Malformed;
    }
    let mut reader = Reader::new(bytes);
    let len = match der::header(&mut reader) {
        Ok((_sequence, len)) => len,
        Err(ParseError::Truncated) => return Answer::NeedMore,
        Err(_) => return Answer::Malformed,
    };
    let header_len = bytes.len().saturating_sub(reader.rest().len());
    if header_len.saturating_add(len) > LEN_MAX {
        return Answer::TooLarge;
    }
    match reader.take(len) {
        Ok(fields) => read_fields(fields).unwrap_or(Answer::Malformed),
        Err(_) => Answer::NeedMore,
    }
}

/// Reads the fields of a TSRequest; those that come later in the protocol are skipped.
fn read_fields(fields: &[u8]) -> Result<Answer, ParseError> {
    let mut reader = Reader::new(fields);
    let version = der::expect(&mut reader, der::context(VERSION))?;
    let version = der::integer(&mut Reader::new(version))?;
    let (mut token, mut error_code) = (None, None);
    while !reader.rest().is_empty() {
        let (tag, content) = der::element(&mut reader)?;
        if tag == der::context(NEGO_TOKENS) {
            token = Some(read_first_token(content)?);
        } else if tag == der::context(ERROR_CODE) {
            error_code = Some(NtStatus(der::integer(&mut Reader::new(content))?));
        }
    }
    match (error_code, token) {
        (Some(error_code), _) if error_code != NtStatus::SUCCESS => {
            Ok(Answer::Refused { version, error_code })
        }
        (_, Some(token)) => {
            Ok(Answer::Challenge { version, challenge: ntlm::parse_challenge(token)? })
        }
        (_, None) => Err(ParseError::Unsupported),
    }
}

fn read_first_token(nego_data: &[u8]) -> Result<&[u8], ParseError> {
    let entries = der::expect(&mut Reader::new(nego_data), der::SEQUENCE)?;
    let entry = der::expect(&mut Reader::new(entries), der::SEQUENCE)?;
    let token = der::expect(&mut Reader::new(entry), der::context(NEGO_TOKEN))?;
    der::expect(&mut Reader::new(token), der::OCTET_STRING)
}

#[cfg(test)]
mod tests;
