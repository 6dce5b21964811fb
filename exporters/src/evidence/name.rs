//! Names of folders with evidence, which nobody but us has a say in.

use std::fmt;
use std::time::SystemTime;

use jiff::Timestamp;

/// Hexadecimal digits of a fingerprint, at most.
const DIGITS_MAX: usize = 64;

/// When an incident opened, as names have it: `20261127T020831Z`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opened(String);

impl Opened {
    /// The name of a date, to the second.
    pub fn at(date: SystemTime) -> Self {
        let date = Timestamp::try_from(date).unwrap_or(Timestamp::UNIX_EPOCH);
        // Years beyond 9999 have no name of this length; nobody's clock is there.
        Self::parse(&date.strftime("%Y%m%dT%H%M%SZ").to_string())
            .unwrap_or_else(|| Self("19700101T000000Z".to_owned()))
    }

    fn parse(text: &str) -> Option<Self> {
        let fits = |(at, byte): (usize, u8)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            _ => byte.is_ascii_digit(),
        };
        (text.len() == 16 && text.bytes().enumerate().all(fits)).then(|| Self(text.to_owned()))
    }
}

/// The name of one step of one opening of an incident, in order of these three.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepName {
    fingerprint: String,
    opened: Opened,
    version: u64,
}

impl StepName {
    /// A name; `None` for a fingerprint that is none.
    pub fn new(fingerprint: &str, opened: &Opened, version: u64) -> Option<Self> {
        let hexadecimal = |byte: u8| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase();
        let fits =
            (1..=DIGITS_MAX).contains(&fingerprint.len()) && fingerprint.bytes().all(hexadecimal);
        let fingerprint = fits.then(|| fingerprint.to_owned())?;
        Some(Self { fingerprint, opened: opened.clone(), version })
    }

    /// Reads a folder's name; `None` for those of somebody else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (fingerprint, opened, version) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Self::new(fingerprint, &Opened::parse(opened)?, version.parse().ok()?)?;
        // One step has one name: no sign, no leading zero, nothing behind it.
        (name.to_string() == text).then_some(name)
    }

    /// Whose step it is.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// When its incident opened.
    pub const fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Whether both are steps of one opening of one incident.
    pub fn is_of(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint && self.opened == other.opened
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.fingerprint, self.opened.0, self.version)
    }
}
