//! Reading files: the main one, its target files, and both again while the daemon runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use reachd_core::target::{Target, TargetName};

use crate::assemble::{assemble, metrics};
use crate::cost::cost;
use crate::file_sd;
use crate::problem::{Fault, Problem, Report};
use crate::settings::{Endpoint, FileProblem, NO_TARGETS, Settings, TargetFile};
use crate::source::{At, Findings};
use crate::strain;

/// The largest file that is read. A hundred thousand targets in YAML are about 10 MB.
const FILE_LIMIT: u64 = 64 << 20;

/// Reads a configuration file and the target files it names.
///
/// A target file that cannot be read or has mistakes does not fail the loading: what is good of it
/// is taken, and [`Settings::file_problems`] says the rest.
pub fn load(path: &Path) -> Result<Settings, Report> {
    load_after(path, None)
}

/// Reads a configuration file again. Target files that broke since `previous` keep their targets.
pub fn reload(path: &Path, previous: &Settings) -> Result<Settings, Report> {
    load_after(path, Some(previous))
}

fn load_after(path: &Path, previous: Option<&Settings>) -> Result<Settings, Report> {
    let name = path.display().to_string();
    let text = read_text(path).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "`reachd config init` writes one to start from",
            _ => "",
        };
        let problem = Problem::of_file(&name, &format!("cannot be read: {error}"), hint);
        Report { errors: vec![problem], warnings: Vec::new() }
    })?;
    let base = path.parent().unwrap_or(Path::new(""));
    let mut settings = read_main(&text, &name, base)?;
    read_target_files(&mut settings, previous);
    warn_of_plan(&mut settings, &name);
    warn_of_missing_files(&mut settings, &name);
    Ok(settings)
}

/// Reads the text of a configuration file. `name` stands in problems, `base` is the folder that
/// relative paths start from. No other file is read: targets of target files are absent.
pub fn parse(text: &str, name: &str, base: &Path) -> Result<Settings, Report> {
    let mut settings = read_main(text, name, base)?;
    warn_of_plan(&mut settings, name);
    Ok(settings)
}

fn read_main(text: &str, name: &str, base: &Path) -> Result<Settings, Report> {
    let mut findings = Findings::default();
    let settings = assemble(text, name, base, &mut findings);
    let report = findings.into_report();
    let mut settings = match settings {
        Some(settings) if report.errors.is_empty() => settings,
        Some(_) | None => return Err(report),
    };
    settings.warnings = report.warnings;
    Ok(settings)
}

/// The settings without any file: no targets, one unbound vantage, everything else at its default.
pub fn embedded_default() -> Settings {
    Settings::empty()
}

/// Reads the target files again, over the same main file.
///
/// A file that is broken, unreadable or suddenly empty keeps the targets it gave last, and the
/// problem is among [`Settings::file_problems`] of the result, which this function also gives.
/// `previous.plan.diff(&next.plan)` tells what changed.
pub fn reread_target_files(previous: &Settings) -> (Settings, Vec<FileProblem>) {
    let mut settings = previous.clone();
    read_target_files(&mut settings, Some(previous));
    let problems = settings.file_problems.clone();
    (settings, problems)
}

/// A file read, before it is decided whether it is taken.
struct Reading {
    file: TargetFile,
    targets: Vec<Target>,
    problems: Vec<Problem>,
}

fn read_target_files(settings: &mut Settings, previous: Option<&Settings>) {
    let context = Arc::clone(&settings.context);
    let mut names: BTreeSet<TargetName> =
        context.targets.iter().map(|target| target.name.clone()).collect();
    let mut targets = context.targets.clone();
    let mut files = Vec::new();
    settings.file_problems.clear();
    forget_files(settings);
    let mut broken = Vec::new();
    for file in std::mem::take(&mut settings.target_files) {
        let mut reading = read_one(file, settings, &mut names);
        let old = previous.map(|previous| last_good(previous, &reading.file)).unwrap_or_default();
        if reading.problems.is_empty() && reading.targets.is_empty() && !old.is_empty() {
            let name = reading.file.path.display().to_string();
            let hint = "remove the file from the configuration if this is meant";
            reading.problems.push(Problem::of_file(&name, "it is suddenly empty", hint));
        }
        if reading.problems.is_empty() || old.is_empty() {
            accept(&mut reading, &mut targets);
            files.push(reading.file.clone());
            if !reading.problems.is_empty() {
                let Reading { file, problems, .. } = reading;
                settings.file_problems.push(FileProblem { path: file.path, kept: 0, problems });
            }
        } else {
            for target in &reading.targets {
                names.remove(&target.name);
            }
            files.push(reading.file.clone());
            broken.push((files.len() - 1, reading, old));
        }
    }
    for (index, reading, old) in broken {
        let kept: Vec<_> =
            old.into_iter().filter(|target| names.insert(target.name.clone())).collect();
        if let Some(file) = files.get_mut(index) {
            file.targets = kept.iter().map(|target| target.name.clone()).collect();
        }
        let Reading { file, problems, .. } = reading;
        let problem = FileProblem { path: file.path, kept: kept.len(), problems };
        settings.file_problems.push(problem);
        targets.extend(kept);
    }
    settings.target_files = files;
    settings.metrics = metrics(&context, targets.len());
    settings.plan.targets = targets;
}

/// Drops what earlier readings of the target files said.
fn forget_files(settings: &mut Settings) {
    let files: BTreeSet<_> =
        settings.target_files.iter().map(|file| file.path.display().to_string()).collect();
    settings.warnings.retain(|warning| !files.contains(&warning.file));
    settings.later.retain(|later| !files.contains(&later.file));
}

fn accept(reading: &mut Reading, targets: &mut Vec<Target>) {
    reading.file.targets = reading.targets.iter().map(|target| target.name.clone()).collect();
    targets.append(&mut reading.targets);
}

/// The targets a file gave when it was last good.
fn last_good(previous: &Settings, file: &TargetFile) -> Vec<Target> {
    let Some(old) = previous.target_files.iter().find(|old| old.path == file.path) else {
        return Vec::new();
    };
    let by_name: BTreeMap<_, _> =
        previous.plan.targets.iter().map(|target| (&target.name, target)).collect();
    old.targets.iter().filter_map(|name| by_name.get(name).copied().cloned()).collect()
}

/// Reads one file; a name already taken is a problem of this file.
fn read_one(
    file: TargetFile,
    settings: &mut Settings,
    names: &mut BTreeSet<TargetName>,
) -> Reading {
    let name = file.path.display().to_string();
    let context = Arc::clone(&settings.context);
    let mut findings = Findings::default();
    findings.add(Arc::clone(&context.main));
    let mut targets = Vec::new();
    let text = read_text(&file.path);
    let unreadable = text.as_ref().err().map(|error| {
        Problem::of_file(&name, &format!("cannot be read: {error}"), "its targets are not watched")
    });
    if let Ok(text) = text {
        for (at, target) in file_sd::read(&name, &text, &file, &context, &mut findings) {
            take_name(at, target, names, &mut targets, &mut findings);
        }
    }
    add_later(settings, &mut findings);
    let report = findings.into_report();
    add_warnings(settings, report.warnings);
    let problems = report.errors.into_iter().chain(unreadable).collect();
    Reading { file, targets, problems }
}

fn take_name(
    at: At,
    target: Target,
    names: &mut BTreeSet<TargetName>,
    targets: &mut Vec<Target>,
    findings: &mut Findings,
) {
    if names.insert(target.name.clone()) {
        targets.push(target);
    } else {
        let reason = format!("there is already a target {}", target.name);
        let hint = "remove one of the two, or set the label __reachd_name";
        findings.error(at, "targets", Fault::new(reason, hint));
    }
}

fn add_later(settings: &mut Settings, findings: &mut Findings) {
    settings.later.extend(findings.take_later());
    settings.later.sort();
    settings.later.dedup();
}

fn add_warnings(settings: &mut Settings, warnings: Vec<Problem>) {
    for warning in warnings {
        if !settings.warnings.contains(&warning) {
            settings.warnings.push(warning);
        }
    }
}

fn warn_of_plan(settings: &mut Settings, name: &str) {
    if settings.plan.targets.is_empty() && settings.target_files.is_empty() {
        let hint = "add a [[target]] with a host, or name one with --target";
        settings.warnings.push(Problem::of_file(name, NO_TARGETS, hint));
    }
    let asked = cost(settings).packets_per_second;
    let allowed = settings.plan.budget.packets_per_second;
    if asked > allowed {
        let reason = format!(
            "the plan asks for {asked:.0} packets a second, the budget allows {allowed:.0}"
        );
        let hint = "probes will come late; lengthen intervals or raise [budget] packets_per_second";
        settings.warnings.push(Problem::of_file(name, &reason, hint));
    }
    settings.warnings.extend(strain::warnings(&settings.plan, name));
}

/// Where a path of the settings lies: `%d/` is the folder of systemd's credentials.
pub fn credential(path: &Path) -> PathBuf {
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    match (path.strip_prefix("%d"), folder) {
        (Ok(name), Some(folder)) => Path::new(&folder).join(name),
        (Ok(_) | Err(_), _) => path.to_owned(),
    }
}

fn warn_of_missing_files(settings: &mut Settings, name: &str) {
    let mut missing = Vec::new();
    for receiver in &settings.receivers {
        let url = match &receiver.endpoint {
            Endpoint::File(path) => Some(path),
            Endpoint::None | Endpoint::Url(_) => None,
        };
        let password = receiver.mail.as_ref().and_then(|mail| mail.login.as_ref());
        let files = [&receiver.secret_file, &receiver.ca_file, &receiver.template_file];
        let files = url.into_iter().chain(files.into_iter().flatten());
        for path in files.chain(password.map(|(_, path)| path)) {
            if !credential(path).exists() {
                missing.push((receiver.name.clone(), path.display().to_string()));
            }
        }
    }
    for (receiver, path) in missing {
        let reason = format!("receiver {receiver} needs {path}, which cannot be found");
        settings.warnings.push(Problem::of_file(
            name,
            &reason,
            "create it before the daemon starts",
        ));
    }
}

/// Reads a text file of bounded size.
fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let bytes = File::open(path)?.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > FILE_LIMIT {
        let limit = format!("it is larger than {} MiB", FILE_LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, limit));
    }
    Ok(text)
}
