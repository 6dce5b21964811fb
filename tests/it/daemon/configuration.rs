//! Configuration files through the real binary: the examples, and every mistake of the corpus.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::harness::{REACHD, repository};

fn reachd(folder: &Path, words: &[&str]) -> Result<Output> {
    let mut command = Command::new(REACHD);
    command.args(words).current_dir(folder).env_remove("RUST_LOG");
    command.output().context("run reachd")
}

#[test]
fn examples_are_good() -> Result<()> {
    let folder = repository("config/examples");
    for name in ["minimal", "start", "full", "several-vantages"] {
        let output = reachd(&folder, &["config", "check", &format!("{name}.toml")])?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(0), "{name}: {} {told}", output.status);
        let said = String::from_utf8_lossy(&output.stdout);
        for word in ["good", "packets a second", "series"] {
            ensure!(said.contains(word), "{name} does not say {word}: {said}");
        }
    }
    Ok(())
}

#[test]
fn a_begun_file_is_good() -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let begun = reachd(folder.path(), &["config", "init"])?;
    std::fs::write(folder.path().join("reachd.toml"), &begun.stdout).context("write it")?;
    let output = reachd(folder.path(), &["config", "check", "reachd.toml"])?;
    ensure!(output.status.code() == Some(0), "{output:?}");
    Ok(())
}

#[test]
fn every_mistake_is_named_and_ends_with_two() -> Result<()> {
    let folder = repository("config/testdata/invalid");
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).context("list the corpus")? {
        let path = entry.context("list the corpus")?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a name")?;
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {name}"))?;
        let first = text.lines().next().unwrap_or_default();
        let expected = first.strip_prefix("# expect: ").context("no expectation")?;
        for words in [&["config", "check", name][..], &["run", "--config", name]] {
            let output = reachd(&folder, words)?;
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(2), "{words:?}: {} {told}", output.status);
            ensure!(told.contains(expected), "{words:?}: expected\n  {expected}\nfound\n  {told}");
        }
        count += 1;
    }
    ensure!(count >= 30, "only {count} mistakes");
    Ok(())
}

#[test]
fn usage_ends_with_two_before_any_probe() -> Result<()> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let cases: [&[&str]; 6] = [
        &[],
        &["walk"],
        &["run", "--target", "a b"],
        &["run", "--target", "192.0.2.1", "--webhook", "htp://x/"],
        &["run", "--target", "192.0.2.1", "--listen", "nowhere"],
        &["config", "check", "missing.toml"],
    ];
    for words in cases {
        let output = reachd(folder.path(), words)?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(2), "{words:?}: {} {told}", output.status);
        ensure!(!told.trim().is_empty(), "{words:?} says nothing");
    }
    Ok(())
}
