//! Many scenarios in turn, each in a sandbox of its own.

use std::env;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Mode, Outcome, Scenario, Score, Seen, Stage, look, watch};
use crate::lab::Lab;
use crate::sandbox::sandbox_command;

/// What to run, and how.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// Their files' folder.
    pub folder: PathBuf,
    /// The modes asked for.
    pub modes: Vec<Mode>,
    /// How many run at the same time.
    pub jobs: usize,
    /// The program under test.
    pub reachd: PathBuf,
    /// Where reports for people are put beside, in every language, if they are wanted.
    pub reports: Option<PathBuf>,
}

impl Batch {
    /// Runs all and gives their outcomes in the order of the corpus; `done` hears of each as it
    /// ends.
    pub fn run(&self, done: impl Fn(&Outcome) + Sync) -> Result<Vec<Outcome>> {
        let own = env::current_exe().context("find the lab's own program")?;
        let wanted: Vec<(&Scenario, Mode)> = self
            .modes
            .iter()
            .flat_map(|mode| self.scenarios.iter().map(move |scenario| (scenario, *mode)))
            .filter(|(scenario, mode)| scenario.modes.contains(mode))
            .collect();
        let (next, all) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((scenario, mode)) = wanted.get(index) else { return };
                let outcome = self
                    .run_apart(&own, scenario, *mode)
                    .unwrap_or_else(|error| blank(scenario, *mode, Some(format!("{error:#}"))));
                done(&outcome);
                if let Ok(mut all) = all.lock() {
                    all.push((index, outcome));
                }
            }
        };
        thread::scope(|scope| {
            (0..self.jobs.max(1)).for_each(|_| drop(scope.spawn(work)));
        });
        let mut all = all.into_inner().ok().context("a run panicked")?;
        all.sort_by_key(|(index, _)| *index);
        Ok(all.into_iter().map(|(_, outcome)| outcome).collect())
    }

    fn run_apart(&self, own: &Path, scenario: &Scenario, mode: Mode) -> Result<Outcome> {
        let mut output = tempfile::tempfile().context("make a file for the output")?;
        let mut child = sandbox_command(own)
            .args(["scenario", &mode.to_string()])
            .arg(self.folder.join(format!("{}.toml", scenario.id)))
            .arg(&self.reachd)
            .args(&self.reports)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("share the output file")?)
            .stderr(output.try_clone().context("share the output file")?)
            .spawn()
            .context("start unshare, which is in the package util-linux")?;
        let begun = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait().context("wait for the sandbox")? {
                break Some(status);
            }
            if begun.elapsed() > LIMIT {
                child.kill().context("kill the sandbox")?;
                child.wait().context("reap the sandbox")?;
                break None;
            }
            thread::sleep(LOOK);
        };
        let mut text = String::new();
        output.rewind().and_then(|()| output.read_to_string(&mut text)).context("read it back")?;
        ensure!(ended.is_some(), "not over within {LIMIT:?}: {text}");
        let Some(line) = text.lines().rev().find(|line| line.starts_with('{')) else {
            bail!("{}", text.trim());
        };
        serde_json::from_str(line).with_context(|| format!("read {line}"))
    }
}

/// Runs one scenario in a fresh lab.
pub fn run_one(
    lab: &mut Lab,
    scenario: &Scenario,
    mode: Mode,
    (reachd, reports): (&Path, Option<&Path>),
) -> Result<Outcome> {
    let mut stage = Stage::build(lab, scenario)?;
    let seen = match mode {
        Mode::Check => look(&mut stage, scenario, (reachd, reports)),
        Mode::Daemon => watch(&mut stage, scenario, reachd),
    }?;
    let score = scenario.truth(mode).score(&seen);
    Ok(Outcome { seen, score, ..blank(scenario, mode, None) })
}

fn blank(scenario: &Scenario, mode: Mode, error: Option<String>) -> Outcome {
    Outcome {
        id: scenario.id.clone(),
        title: scenario.title.clone(),
        mode,
        expected: scenario.truth(mode).class.clone(),
        seen: Seen::default(),
        score: Score::default(),
        error,
    }
}

const LIMIT: Duration = Duration::from_secs(420);
const LOOK: Duration = Duration::from_millis(100);
