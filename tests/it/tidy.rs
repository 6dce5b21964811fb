//! The house rules that no compiler checks: who may import whom, lengths, leftovers, names.
#![expect(clippy::unwrap_used, reason = "a tree that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::{Class, Note};
use serde_json::Value;

/// Lines a file may have; more is more than one subject.
const FILE_LINES_MAX: usize = 600;
/// Columns a line of Rust may have.
const COLUMNS_MAX: usize = 100;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of ours with this ending.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                walk(&path, ending, found);
            } else if name.ends_with(ending) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), ending, &mut found);
    found.sort();
    assert!(!found.is_empty(), "no file ends in {ending}");
    found
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// What each crate of ours may import of ours.
fn allowed() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let core = BTreeSet::from(["reachd-core"]);
    BTreeMap::from([
        ("reachd-core", BTreeSet::new()),
        ("reachd-net", core.clone()),
        ("reachd-exporters", core.clone()),
        ("reachd-config", core.clone()),
        ("reachd-sim", core),
        ("reachd-lab", BTreeSet::from(["reachd-core", "reachd-sim"])),
        (
            "reachd-bench",
            BTreeSet::from(["reachd-core", "reachd-net", "reachd-exporters", "reachd-lab"]),
        ),
        (
            "reachd",
            BTreeSet::from(["reachd-core", "reachd-net", "reachd-exporters", "reachd-config"]),
        ),
    ])
}

#[test]
fn crates_import_only_what_the_design_allows() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = allowed();
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let may = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in the design"));
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            let for_tests = dependency["kind"].as_str() == Some("dev");
            assert!(
                !other.starts_with("reachd") || for_tests || may.contains(other),
                "{name} must not import {other}"
            );
        }
    }
}

#[test]
fn core_depends_on_nothing_impure() {
    let manifest = text(&root().join("prober/core/Cargo.toml"));
    for forbidden in ["tokio", "tracing", "socket2", "pnet", "libc", "prometheus", "clap", "surge"]
    {
        assert!(!manifest.contains(forbidden), "core must not depend on {forbidden}");
    }
}

#[test]
fn files_are_one_subject_long_and_lines_fit() {
    for path in files(".rs") {
        let text = text(&path);
        let lines = text.lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines", path.display());
        // A text that people read is not broken for the editor's sake.
        let code = text.lines().enumerate().filter(|(_, line)| !line.contains(['"', '`']));
        for (number, line) in code {
            let columns = line.chars().count();
            assert!(columns <= COLUMNS_MAX, "{}:{}: {columns} columns", path.display(), number + 1);
        }
    }
}

#[test]
fn nothing_unfinished_is_left_lying() {
    let leftovers =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("dbg", "!("), concat!("#[ign", "ore")];
    for path in files(".rs") {
        for (number, line) in text(&path).lines().enumerate() {
            for leftover in leftovers {
                assert!(!line.contains(leftover), "{}:{}: {leftover}", path.display(), number + 1);
            }
        }
    }
}

#[test]
fn modules_are_files_beside_their_folder() {
    let named_mod: Vec<_> =
        files(".rs").into_iter().filter(|path| path.ends_with("mod.rs")).collect();
    assert!(named_mod.is_empty(), "{named_mod:?}");
}

#[test]
fn rules_and_docs_use_declared_metrics_only() {
    let families = text(&root().join("exporters/src/prometheus/families.rs"))
        + &text(&root().join("exporters/src/prometheus/own.rs"))
        + &text(&root().join("exporters/src/prometheus.rs"));
    let mut used = BTreeSet::new();
    for path in files(".rules") {
        let text = text(&path);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        used.extend(words.filter(|word| word.starts_with("reachd_")).map(str::to_owned));
    }
    assert!(used.contains("reachd_target_up"), "the rules were not read: {used:?}");
    for name in used {
        let stem =
            name.trim_end_matches("_bucket").trim_end_matches("_count").trim_end_matches("_sum");
        let stem = stem.trim_end_matches("_total");
        assert!(families.contains(stem), "{name} is used by a rule and exported nowhere");
    }
}

#[test]
fn every_class_cause_and_note_is_in_the_schema() {
    let schema = text(&root().join("deploy/schema/verdict.schema.json"));
    let quoted = |name: &str| schema.contains(&format!("\"{name}\""));
    for class in Class::ALL {
        assert!(quoted(class.as_str()), "class {}", class.as_str());
    }
    for cause in CAUSES.iter().filter(|cause| cause.class != Class::Reachable) {
        assert!(quoted(cause.name), "cause {}", cause.name);
    }
    for note in Note::ALL {
        assert!(quoted(note.as_str()), "note {}", note.as_str());
    }
}
