//! The reference and the full example, from the table of keys.

use crate::key::{Fallback, Key, Section};
use crate::table::{SECTIONS, TOP};

/// The reference of the configuration file, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in std::iter::once(&TOP).chain(SECTIONS) {
        let title = match section.name {
            "" => "Top of the file".to_owned(),
            _ => format!("`{}`", section.title()),
        };
        text.push_str(&format!("\n## {title}\n\n{}\n", section.doc));
        if section.name == "defaults" {
            text.push_str("\nThe keys stand under [`[[target]]`](#target).\n");
            continue;
        }
        for key in own_keys(section) {
            text.push_str(&entry(key));
        }
        if section.name == "group" {
            text.push_str("\nFurther keys stand under [`[[target]]`](#target).\n");
        }
    }
    text
}

/// The keys that are not those of `[[target]]`.
fn own_keys(section: &'static Section) -> impl Iterator<Item = &'static Key> {
    section.keys().take(if section.name == "group" { 2 } else { usize::MAX })
}

fn entry(key: &Key) -> String {
    let fallback = match key.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Value(toml) => format!("default `{toml}`"),
        Fallback::Words(words) => format!("without it: {words}"),
    };
    let later = key.later.map(|now| format!(" **No effect yet**: {now}.")).unwrap_or_default();
    let (kind, doc, example) = (key.kind.describe(), key.doc, key.example);
    format!(
        "\n### `{}`\n\n{doc}{later}\n\n- {kind}\n- {fallback}\n- example: `{} = {example}`\n",
        key.name, key.name,
    )
}

const INTRODUCTION: &str = "\
# Configuration reference

This file is generated from the table of keys in `config/src/table.rs`; do not edit it.

One TOML file says everything. `reachd config check FILE` reads it and shows all mistakes at once,
with line, reason and hint; `reachd config schema` prints a JSON Schema for editors;
`reachd config init` writes a file to start from. Unknown keys are errors.

Durations are a whole number and a unit: `300ms`, `10s`, `5m`, `2h`, `14d`, or a sum such as `1h30m`.
Addresses with a port are `192.0.2.1:53` or `[2001:db8::1]:53`. Relative paths start from the folder
of the configuration file.
";

/// A file that shows every key with its meaning, values and default.
pub fn full_example() -> String {
    let mut text = String::from(
        "# Every key of reachd's configuration, with its meaning and default. Generated from\n\
         # config/src/table.rs; start from start.toml, and look things up here.\n",
    );
    for section in std::iter::once(&TOP).chain(SECTIONS) {
        text.push('\n');
        comment(&mut text, section.doc);
        if !section.name.is_empty() {
            text.push_str(&section.title());
            text.push('\n');
            if section.name == "defaults" {
                text.push_str("\n# Each key is explained at [[target]].\n");
            }
        }
        for key in section.keys() {
            example(&mut text, section, key);
        }
        text.push_str(more(section.name));
    }
    text
}

fn example(text: &mut String, section: &Section, key: &Key) {
    let known =
        matches!(section.name, "defaults" | "group") && !matches!(key.name, "name" | "files");
    if !known {
        text.push('\n');
        let fallback = match key.fallback {
            Fallback::Required => "Required.".to_owned(),
            Fallback::Value(toml) => format!("Default: {toml}."),
            Fallback::Words(words) => format!("Without it: {words}."),
        };
        let later = key.later.map(|now| format!(" No effect yet: {now}.")).unwrap_or_default();
        comment(text, &format!("{} {}. {fallback}{later}", key.doc, capital(&key.kind.describe())));
    }
    if section.name == "group" && key.name == "port" {
        text.push_str("\n# Any of the keys explained at [[target]].\n");
    }
    let off = match (section.name, key.name) {
        // Only some keys can stand together.
        ("vantage", "interface" | "netns") | ("heartbeat", "url_file") => "# ",
        // And some belong to other kinds of receivers.
        ("receiver", "url_file" | "urls" | "keyword" | "template_file" | "from" | "to") => "# ",
        ("receiver", "username" | "password_file" | "tls" | "command") => "# ",
        ("maintenance", "days" | "from" | "to" | "time_zone") => "# ",
        // These need a service that is not the one shown.
        ("defaults" | "group" | "target", "expect_banner" | "send") => "# ",
        _ => "",
    };
    text.push_str(&format!("{off}{} = {}\n", key.name, key.example));
}

/// What makes the references between the shown sections whole.
fn more(section: &str) -> &'static str {
    match section {
        "vantage" => {
            "\n[[vantage]]\nname = \"isp-b\"\ninterface = \"wan1\"\n\n[[vantage]]\nname = \"inside-1\"\nnetns = \"inside\"\nrole = \"inside\"\n"
        }
        "target" => {
            "\n[[target]]\nname = \"mail\"\nhost = \"mail.example\"\nport = 25\nservice = \"tcp\"\nexpect_banner = \"220 \"\nsend = \"HELP\\r\\n\"\n"
        }
        "receiver" => include_str!("reference/receivers.toml"),
        "maintenance" => {
            "\n[[maintenance]]\nname = \"backups\"\nmatch = [\"site=sha\"]\ndays = [\"sat\", \"sun\"]\nfrom = \"23:00\"\nto = \"01:30\"\ntime_zone = \"Asia/Shanghai\"\n"
        }
        _ => "",
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// Adds a comment, wrapped at 100 columns.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > 100 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}
