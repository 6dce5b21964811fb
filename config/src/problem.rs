//! What is wrong with a configuration, in words an owner can act on.

use std::fmt;

/// One mistake: where it stands, which key it concerns, why it is one, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, as it was named to us.
    pub file: String,
    /// Line, counted from 1; 0 when the problem is the file as a whole.
    pub line: u32,
    /// Column in characters, counted from 1; 0 when the problem is the file as a whole.
    pub column: u32,
    /// The key as a path, `target[2].port` for the second `[[target]]`; may be empty.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl Problem {
    /// A problem of a file as a whole, such as one that cannot be read.
    pub fn of_file(file: &str, reason: &str, hint: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            key: String::new(),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

/// One line: `reachd.toml:12:8: target[3].port: 0 is not a port; use 1 to 65535`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.reason)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything wrong with a configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What makes the configuration unusable.
    pub errors: Vec<Problem>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
}

/// One problem a line, errors first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for error in &self.errors {
            write!(f, "{separator}{error}")?;
            separator = "\n";
        }
        for warning in &self.warnings {
            write!(f, "{separator}warning: {warning}")?;
            separator = "\n";
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// Why a single value is wrong, before it is known where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub reason: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl Fault {
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; {}", self.hint) }
    }
}

impl std::error::Error for Fault {}
