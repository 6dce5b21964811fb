//! The corpus from the command line.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use reachd_lab::scenario::{Batch, Mode, Outcome, Scenario, corpus, run_one, summary, table};
use reachd_lab::{Lab, check_machine};

/// What was asked for.
struct Asked {
    only: BTreeSet<String>,
    modes: Vec<Mode>,
    jobs: usize,
    json: bool,
    reachd: Option<PathBuf>,
    /// Where reports for people are put.
    reports: Option<PathBuf>,
    /// Outcomes of an earlier run, to be shown instead of running anything.
    from: Option<PathBuf>,
}

/// Runs scenarios and prints what came of them.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    let asked = read(words)?;
    if let Some(path) = &asked.from {
        let outcomes = earlier(path)?;
        show(&outcomes, &asked)?;
        return Ok(ExitCode::SUCCESS);
    }
    check_machine()?;
    let folder = corpus();
    let mut scenarios = Scenario::load_all(&folder)?;
    if !asked.only.is_empty() {
        let known: BTreeSet<&str> = scenarios.iter().map(|one| one.id.as_str()).collect();
        for id in &asked.only {
            ensure!(known.contains(id.as_str()), "no scenario is called {id}: {known:?}");
        }
        scenarios.retain(|scenario| asked.only.contains(&scenario.id));
    }
    let reachd = match &asked.reachd {
        Some(path) => path.canonicalize().with_context(|| format!("find {}", path.display()))?,
        None => crate::demo::find_reachd()?,
    };
    let (modes, jobs) = (asked.modes.clone(), asked.jobs);
    let reports = asked.reports.as_ref().map(|folder| {
        fs::create_dir_all(folder).and_then(|()| folder.canonicalize()).context("make the folder")
    });
    let reports = reports.transpose()?;
    let outcomes = Batch { scenarios, folder, modes, jobs, reachd, reports }.run(tell)?;
    show(&outcomes, &asked)?;
    // A scenario that the program gets wrong is a finding, not a failure of the lab.
    let run = outcomes.iter().all(|outcome| outcome.error.is_none());
    Ok(if run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn earlier(path: &Path) -> Result<Vec<Outcome>> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let read = |line| serde_json::from_str(line).with_context(|| format!("read {line}"));
    text.lines().map(read).collect()
}

fn show(outcomes: &[Outcome], asked: &Asked) -> Result<()> {
    for mode in &asked.modes {
        if !asked.json {
            println!("{}\n{}\n", table(outcomes, *mode), summary(outcomes, *mode));
            continue;
        }
        for outcome in outcomes.iter().filter(|outcome| outcome.mode == *mode) {
            println!("{}", serde_json::to_string(outcome).context("write an outcome")?);
        }
    }
    Ok(())
}

/// Runs one scenario in the sandbox this process is in.
pub(crate) fn run_inside(
    mode: &str,
    file: &str,
    reachd: &str,
    reports: Option<&str>,
) -> Result<ExitCode> {
    let scenario = Scenario::load(Path::new(file))?;
    let mode = mode_of(mode)?;
    let reports = reports.map(Path::new);
    let outcome = run_one(&mut Lab::new()?, &scenario, mode, (Path::new(reachd), reports))?;
    println!("{}", serde_json::to_string(&outcome).context("write an outcome")?);
    Ok(ExitCode::SUCCESS)
}

fn tell(outcome: &Outcome) {
    let said = match (&outcome.error, &outcome.seen.said) {
        (Some(error), _) => error.clone(),
        (None, Some(said)) => said.class.clone(),
        (None, None) => "nothing".to_owned(),
    };
    let right = if outcome.score.right { "right" } else { "wrong" };
    eprintln!("{} {} {right}: {said} ({})", outcome.mode, outcome.id, outcome.title);
}

fn read(words: &[&str]) -> Result<Asked> {
    let mut asked = Asked {
        only: BTreeSet::new(),
        modes: vec![Mode::Check, Mode::Daemon],
        jobs: 1,
        json: false,
        reachd: None,
        reports: None,
        from: None,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match *word {
            "--json" => asked.json = true,
            "--only" => asked.only.extend(value()?.split(',').map(str::to_owned)),
            "--mode" => asked.modes = vec![mode_of(value()?)?],
            "--jobs" => asked.jobs = value()?.parse().context("--jobs takes a number")?,
            "--from" => asked.from = Some(PathBuf::from(value()?)),
            "--reports" => asked.reports = Some(PathBuf::from(value()?)),
            "--reachd" => asked.reachd = Some(PathBuf::from(value()?)),
            other => bail!("scenarios: what is {other}?"),
        }
    }
    Ok(asked)
}

fn mode_of(word: &str) -> Result<Mode> {
    match word {
        "check" => Ok(Mode::Check),
        "daemon" => Ok(Mode::Daemon),
        other => bail!("no mode is called {other}: check or daemon"),
    }
}
