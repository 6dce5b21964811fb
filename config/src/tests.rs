//! The laws of the configuration: what is read, what is refused and in which words.

mod corpus;
mod examples;
mod mutation;
mod target_files;

use std::path::{Path, PathBuf};

use crate::{Report, Settings, parse};

/// The folder of this crate.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(text: &str) -> Result<Settings, Report> {
    parse(text, "reachd.toml", Path::new("/etc/reachd"))
}

/// The settings of a text that must be right.
fn good(text: &str) -> Settings {
    read(text).unwrap_or_else(|report| panic!("{report}\n{text}"))
}

/// The problems of a text that must be wrong, one a line.
fn bad(text: &str) -> String {
    read(text).err().unwrap_or_else(|| panic!("no mistake found:\n{text}")).to_string()
}

/// Compares a generated file with the one in the tree; with `UPDATE=1` writes it.
fn check_generated(name: &str, expected: &str) {
    let path = folder().join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{name} is not current; run the tests with UPDATE=1");
}
