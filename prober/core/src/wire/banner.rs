//! The first bytes a service says, and which service they belong to.

use std::{fmt, str};

use crate::wording::Text;

/// RFC 4253 section 4.2: an SSH identification takes at most this many bytes, line end included.
const IDENTIFICATION_LEN_MAX: usize = 255;
const LINES_MAX: usize = 8;
const BYTES_MAX: usize = 2048;
const SOFTWARE_LEN_MAX: usize = 64;

/// What bytes of an unexpected protocol look like, judged from as many as there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignHint {
    /// An SSH identification (RFC 4253 section 4.2).
    Ssh,
    /// An HTTP/1 response (RFC 9112 section 4).
    Http,
    /// A TLS alert or handshake record (RFC 8446 section 5.1).
    Tls,
    /// A three-digit greeting, such as that of SMTP (RFC 5321 section 4.2) or FTP.
    Smtp,
    /// None of these.
    Other,
}

impl ForeignHint {
    /// Gives the stable name of the protocol, in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Smtp => "smtp",
            Self::Other => "other",
        }
    }
}

impl ForeignHint {
    /// What the protocol is called.
    pub const fn title(self) -> Text {
        let zh = match self {
            Self::Ssh => "SSH",
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Smtp => "SMTP",
            Self::Other => "未知协议",
        };
        let en = match self {
            Self::Other => "an unknown protocol",
            known => known.as_str(),
        };
        Text { en, zh }
    }
}

impl fmt::Display for ForeignHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a peer that should speak SSH has said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BannerAnswer {
    /// The identification is not whole yet.
    NeedMore,
    /// The peer speaks SSH.
    Ssh {
        /// Software version and comments: at most 64 printable ASCII characters.
        software: String,
    },
    /// The peer speaks something else, or SSH wrongly.
    Foreign(ForeignHint),
}

/// Reads an SSH identification (RFC 4253 section 4.2) from all bytes received so far.
///
/// Lines before the one that starts with `SSH-` are allowed, up to 8 lines or 2048 bytes in
/// all, unless the first bytes already tell another protocol.
pub fn read_ssh_banner(bytes: &[u8]) -> BannerAnswer {
    let hint = hint(bytes);
    let foreign = || BannerAnswer::Foreign(hint);
    let may_be_ssh = matches!(hint, ForeignHint::Ssh | ForeignHint::Other);
    if !may_be_ssh || bytes.first().is_some_and(|byte| !is_text(*byte)) {
        return foreign();
    }
    let window = bytes.get(..BYTES_MAX).unwrap_or(bytes);
    let lines_whole = window.iter().filter(|byte| **byte == b'\n').take(LINES_MAX).count();
    let is_spent = lines_whole == LINES_MAX || window.len() == BYTES_MAX;
    let undecided = if is_spent { foreign() } else { BannerAnswer::NeedMore };
    let mut lines = window.split_inclusive(|byte| *byte == b'\n').take(LINES_MAX);
    let Some(line) = lines.find(|line| line.starts_with(b"SSH-")) else {
        return undecided;
    };
    if line.len() > IDENTIFICATION_LEN_MAX {
        return foreign();
    }
    match (line.ends_with(b"\n"), read_identification(line)) {
        (true, Some(software)) => BannerAnswer::Ssh { software: software.to_owned() },
        (true, None) => foreign(),
        (false, _) => undecided,
    }
}

/// Guesses the protocol of a peer from the first bytes it sent.
pub fn hint(bytes: &[u8]) -> ForeignHint {
    match bytes {
        [b'S', b'S', b'H', b'-', ..] => ForeignHint::Ssh,
        [b'H', b'T', b'T', b'P', b'/', ..] => ForeignHint::Http,
        [0x15 | 0x16, 3, ..] => ForeignHint::Tls,
        [b'1'..=b'5', a, b, b' ' | b'-', ..] if a.is_ascii_digit() && b.is_ascii_digit() => {
            ForeignHint::Smtp
        }
        _ => ForeignHint::Other,
    }
}

/// Gives what follows `SSH-protoversion-`, cut at the first unprintable byte.
fn read_identification(line: &[u8]) -> Option<&str> {
    let mut parts = line.splitn(3, |byte| *byte == b'-').skip(2);
    let software = parts.next()?;
    let is_printable = |byte: &u8| (b' '..=b'~').contains(byte);
    let printable = software.iter().take(SOFTWARE_LEN_MAX).take_while(|byte| is_printable(byte));
    str::from_utf8(software.get(..printable.count())?).ok()
}

fn is_text(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f || matches!(byte, b'\t' | b'\r' | b'\n')
}

#[cfg(test)]
mod tests;
