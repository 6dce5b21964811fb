//! One cold look with the real program.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::ground::{NAME, configuration, home};
use super::{Mode, Said, Scenario, Seen, Stage};

/// Breaks the network and lets `reachd check` judge, for people as well if reports are wanted.
pub fn look(
    stage: &mut Stage<'_>,
    scenario: &Scenario,
    (reachd, reports): (&Path, Option<&Path>),
) -> Result<Seen> {
    let folder = tempfile::tempdir().context("make a folder")?;
    let file = folder.path().join("reachd.toml");
    fs::write(&file, configuration(stage, scenario, Mode::Check)?).context("write a file")?;
    stage.inject(scenario)?;
    let run = |words: &[&str]| {
        let mut command = home(stage, scenario)?.command(reachd);
        command.args(["check", NAME, "--config"]).arg(&file).args(words);
        if let Some(timeout) = &scenario.check_timeout {
            command.args(["--timeout", timeout]);
        }
        command.output().context("run reachd")
    };
    if let Some(reports) = reports {
        for lang in ["en", "zh"] {
            let output = run(&["--lang", lang])?;
            let path = reports.join(format!("{}.{lang}.txt", scenario.id));
            fs::write(&path, &output.stdout)
                .with_context(|| format!("write {}", path.display()))?;
        }
    }
    let output = run(&["--json"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next().with_context(|| {
        format!("no verdict: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))
    })?;
    let document = serde_json::from_str(line).with_context(|| format!("read {line}"))?;
    let said = Said::read(&document)?;
    stage.heal()?;
    Ok(Seen {
        history: vec![(said.seconds, said.class.clone())],
        notes: said.notes.iter().cloned().collect(),
        said: Some(said),
        ..Seen::default()
    })
}
