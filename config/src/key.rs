//! The form of the configuration: what a key is, and what its value may be.
//!
//! The table of all keys (`table.rs`) drives the reading, the error texts, the JSON Schema, the
//! reference and the full example, so none of them can disagree with another.

use std::time::Duration;

/// One table of the file, or one kind of repeated table.
pub(crate) struct Section {
    /// The word in brackets; empty for the top of the file.
    pub(crate) name: &'static str,
    /// Whether it is written `[[name]]`, once per item.
    pub(crate) repeated: bool,
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its keys, in the order of the documentation.
    pub(crate) keys: &'static [&'static [Key]],
}

impl Section {
    /// Its keys, in the order of the documentation.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &'static Key> + Clone + use<> {
        self.keys.iter().copied().flatten()
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }

    /// How it is written in the file.
    pub(crate) fn title(&self) -> String {
        match (self.name, self.repeated) {
            ("", _) => "the top of the file".to_owned(),
            (name, true) => format!("[[{name}]]"),
            (name, false) => format!("[{name}]"),
        }
    }
}

/// One key.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) fallback: Fallback,
    /// What it means, its unit and what its extremes do.
    pub(crate) doc: &'static str,
    /// A value in TOML for the full example.
    pub(crate) example: &'static str,
    /// What happens now, if the key has no effect yet.
    pub(crate) later: Option<&'static str>,
}

/// What holds where a key is not written.
#[derive(Clone, Copy)]
pub(crate) enum Fallback {
    /// It must be written.
    Required,
    /// This value, in TOML.
    Value(&'static str),
    /// What these words say.
    Words(&'static str),
}

/// What a value may be.
pub(crate) enum Kind {
    /// Any text that is not empty.
    Text,
    /// A name that is safe as a label value.
    Name,
    /// A host name or a literal address.
    Host,
    Port,
    Duration {
        min: Duration,
        max: Duration,
    },
    Whole {
        min: i64,
        max: i64,
    },
    /// A number above 0, at most `max`.
    Rate {
        max: f64,
    },
    /// A number between 0 and 1, both excluded.
    Ratio,
    Size {
        min: u64,
    },
    Word(&'static [&'static str]),
    Path,
    Url(&'static [&'static str]),
    /// The address of one host.
    Address,
    /// An address and a port; with a default, the port may be left out.
    Socket(Option<u16>),
    Network,
    Moment,
    Interface,
    Namespace,
    Labels,
    Expectations,
    Matchers,
    List(&'static Kind),
}

impl Kind {
    /// What it is called in the reference.
    pub(crate) fn describe(&self) -> String {
        use crate::value::show_duration as show;
        match self {
            Self::Text => "text".to_owned(),
            Self::Name => "name (letters, digits, `_`, `-`, `.`; at most 63)".to_owned(),
            Self::Host => "host name or address".to_owned(),
            Self::Port => "port, 1 to 65535".to_owned(),
            Self::Duration { min, max } => format!("duration, {} to {}", show(*min), show(*max)),
            Self::Whole { min, max } => format!("whole number, {min} to {max}"),
            Self::Rate { max } => format!("number above 0, at most {max}"),
            Self::Ratio => "number between 0 and 1".to_owned(),
            Self::Size { min } => format!("bytes, at least {min}, or text with a unit"),
            Self::Word(words) => {
                words.iter().map(|w| format!("`\"{w}\"`")).collect::<Vec<_>>().join(", ")
            }
            Self::Path => "path, relative to this file's folder".to_owned(),
            Self::Url(schemes) => format!("URL ({})", schemes.join(", ")),
            Self::Address => "IP address".to_owned(),
            Self::Socket(None) => "address and port, `[addr]:port` for IPv6".to_owned(),
            Self::Socket(Some(port)) => format!("address, port {port} if none is given"),
            Self::Network => "network (`addr/bits`) or address".to_owned(),
            Self::Moment => "RFC 3339 time with zone".to_owned(),
            Self::Interface => "interface name".to_owned(),
            Self::Namespace => "name under /run/netns".to_owned(),
            Self::Labels => "table of label names to texts".to_owned(),
            Self::Expectations => {
                "table of vantage names or roles to `\"reachable\"`, `\"filtered\"`, `\"closed\"`"
                    .to_owned()
            }
            Self::Matchers => {
                "table of labels to values, or list of `\"label=value\"`, `\"label!=value\"`"
                    .to_owned()
            }
            Self::List(item) => format!("list; each: {}", item.describe()),
        }
    }
}

/// What a target may be expected to do.
pub(crate) const EXPECTATIONS: &[&str] = &["reachable", "filtered", "closed"];

/// The roles of vantages.
pub(crate) const ROLES: &[&str] = &["outside", "inside"];
