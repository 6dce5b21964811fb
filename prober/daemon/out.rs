//! What commands print.
//!
//! A reader that goes away (`reachd outbox list | head`) ends the printing quietly; a full disk is
//! an error at the end. Whatever comes from the network or from other people cannot move the
//! cursor, colour a line or forge one.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};

/// How writing failed, if it did: nothing is written after that.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints one line to standard output.
macro_rules! line {
    ($($words:tt)*) => { $crate::out::write_line(&format!($($words)*)) };
}

/// Prints several lines to standard output, as they are.
macro_rules! block {
    ($($words:tt)*) => { $crate::out::write_block(&format!($($words)*)) };
}

/// Prints one line to standard error. Nobody may be listening.
macro_rules! note {
    ($($words:tt)*) => { $crate::out::write_note(&format!($($words)*)) };
}

pub(crate) fn write_line(text: &str) {
    write(&(escaped(text, "") + "\n"));
}

pub(crate) fn write_block(text: &str) {
    write(&escaped(text, "\n"));
}

pub(crate) fn write_note(text: &str) {
    let text = escaped(text, "\n") + "\n";
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn write(text: &str) {
    let mut failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner);
    if failed.is_none() {
        let mut out = std::io::stdout().lock();
        *failed = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
    }
}

/// Whether everything could be printed. A reader that went away is no failure of ours.
pub(crate) fn finish() -> std::io::Result<()> {
    let failed = FAILED.lock().unwrap_or_else(PoisonError::into_inner).take();
    match failed {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        Some(_) | None => Ok(()),
    }
}

/// Control characters and marks that turn a line's direction become `\u....`, which is what they
/// are called in JSON too. Our own colours stay.
fn escaped(text: &str, kept: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let breaks = matches!(letter, '\u{2028}' | '\u{2029}');
        if letter == '\u{1b}'
            && let Some(colour) = colour(rest.as_str())
        {
            escaped.push(letter);
            escaped.push_str(colour);
            rest = rest.as_str().get(colour.len()..).unwrap_or_default().chars();
        } else if (letter.is_control() || turns || breaks) && !kept.contains(letter) {
            // Writing to memory does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(letter));
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// The rest of a colour's sequence (ECMA-48 8.3.117), if it is one.
fn colour(rest: &str) -> Option<&str> {
    let parameters = rest.strip_prefix('[')?;
    let end = parameters.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    let whole = rest.get(..end + 2)?;
    whole.ends_with('m').then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_move_the_cursor_or_forge_a_line() {
        for (text, kept, expected) in [
            ("a\u{1b}[2Jb\rc\nd", "", "a\\u001b[2Jb\\u000dc\\u000ad"),
            ("two\nlines\u{7}", "\n", "two\nlines\\u0007"),
            ("\u{1b}[1;31mred\u{1b}[0m", "", "\u{1b}[1;31mred\u{1b}[0m"),
            ("\u{9b}31m \u{202e}\u{2028}", "", "\\u009b31m \\u202e\\u2028"),
            ("主机 ✓ \u{1b}", "", "主机 ✓ \\u001b"),
        ] {
            assert_eq!(escaped(text, kept), expected, "{text:?}");
        }
        // A document stays one.
        let document = serde_json::json!({ "a": "\u{1b}\u{9b}\u{202e}\n" }).to_string();
        let shown: serde_json::Value = serde_json::from_str(&escaped(&document, "")).unwrap();
        assert_eq!(shown["a"], "\u{1b}\u{9b}\u{202e}\n");
    }
}
