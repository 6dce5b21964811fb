//! Words for people in both languages of the product.

use serde::{Serialize, Serializer};

/// The same text in both languages, known beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// Simplified Chinese.
    pub zh: &'static str,
}

/// The same words in both languages, made of what was seen.
///
/// In JSON they are the English ones alone: the contract of [`crate::report`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// English.
    pub en: String,
    /// Simplified Chinese.
    pub zh: String,
}

impl Wording {
    /// The same words: English, then Chinese.
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }

    /// What reads alike in both languages: names, addresses, what others said word for word.
    pub fn same(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { en: text.clone(), zh: text }
    }

    /// Several of them, one after the other; between them in Chinese a comma of this kind.
    pub fn list(parts: impl IntoIterator<Item = Self>, comma: &str) -> Self {
        let (en, zh): (Vec<_>, Vec<_>) = parts.into_iter().map(|part| (part.en, part.zh)).unzip();
        Self { en: en.join(", "), zh: zh.join(comma) }
    }
}

impl From<Text> for Wording {
    fn from(text: Text) -> Self {
        Self::new(text.en, text.zh)
    }
}

impl Serialize for Wording {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.en)
    }
}

/// The English words that a Chinese text still has, to be judged by whoever knows which of them
/// are names: words of three small letters or more that stand alone. Machine names such as
/// `no_route` or `last_hop=stops`, and what is quoted as code, are none.
pub fn english_words(text: &str) -> impl Iterator<Item = &str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_=/.-".contains(letter);
    let prose = text.split('`').step_by(2);
    let tokens = prose.flat_map(move |part| part.split(move |letter| !is_part(letter)));
    let words = tokens.map(|token| token.trim_matches(['.', '-', '/']));
    words.filter(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_is_found_in_chinese_and_machine_names_are_not() {
        for (text, found) in [
            ("末个应答在第 2 跳 [last_hop=stops]（v1）", vec![]),
            ("silent from hop 3", vec!["silent", "from", "hop"]),
            ("RDP 的 TermService、0.1 ms、`reachd check`", vec![]),
            ("下一步：look。timed_out", vec!["look"]),
        ] {
            assert_eq!(english_words(text).collect::<Vec<_>>(), found, "{text}");
        }
    }

    #[test]
    fn a_document_has_the_english_words_only() {
        struct Document(Wording);
        impl std::fmt::Display for Document {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.serialize(f)
            }
        }
        let list = Wording::list([Wording::new("port 22", "端口 22"), Wording::same("a")], "、");
        assert_eq!(list, Wording::new("port 22, a", "端口 22、a"));
        assert_eq!(Document(list).to_string(), "port 22, a");
    }
}
