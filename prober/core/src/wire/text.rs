//! Text that a hostile peer chose, made fit to print.

/// The most bytes that a printable text takes, its ellipsis not counted.
pub(super) const TEXT_LEN_MAX: usize = 256;

/// Escapes what does not print or reorders what does, and cuts what is too long.
pub(super) fn printable(text: impl IntoIterator<Item = char>) -> String {
    bounded(text.into_iter().map(escaped))
}

/// Escapes a character that does not print.
///
/// Control characters, bidirectional overrides and combining marks become Rust's escapes
/// (`\n`, `\u{202e}`); a backslash is doubled, so an escape is never mistaken for text.
pub(super) fn escaped(character: char) -> String {
    match character {
        '\'' | '"' => character.to_string(),
        other => other.escape_debug().collect(),
    }
}

/// Joins pieces as long as they fit; an ellipsis stands for the rest.
pub(super) fn bounded(pieces: impl IntoIterator<Item = String>) -> String {
    let mut text = String::new();
    for piece in pieces {
        if text.len() + piece.len() > TEXT_LEN_MAX {
            text.push('…');
            break;
        }
        text.push_str(&piece);
    }
    text
}

/// Decodes 16-bit units; a lone surrogate becomes U+FFFD.
pub(super) fn utf16(units: impl IntoIterator<Item = u16>) -> impl Iterator<Item = char> {
    char::decode_utf16(units).map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests;
