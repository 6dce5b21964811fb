//! Running the real binary and judging what it says.
//!
//! Checks mostly wait, so a [`Round`] runs many at once and judges them together; it tells all that
//! is wrong, not only the first thing. With `REACHD_CHECK_TABLE` set to a path, one line for each
//! check is added to that file: what was seen, how sure, how long it took and what it cost.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reachd_core::judge::{Class, cause};
use reachd_lab::Node;
use serde_json::Value;

/// The program under test.
pub(crate) const REACHD: &str = env!("CARGO_BIN_EXE_reachd");

/// A failing check ends within this many seconds (DESIGN section 9: 12, and the last answers).
const SECONDS_MAX: f64 = 12.5;
/// What starting the program and writing the report may add.
const START_MAX: Duration = Duration::from_secs(2);
/// Packets from one vantage to one address, the full connection and the traces toward target and
/// two siblings included: 60 for the questions, at most 50 for four traces.
const PACKETS_MAX: u64 = 110;
/// The same for a check that was given a minute and a half (DESIGN section 9: 160 packets).
const PATIENT: Limits = Limits { seconds: 75.0, packets: 160 };
const USUAL: Limits = Limits { seconds: SECONDS_MAX, packets: PACKETS_MAX };
/// No member of a set that cannot be told apart from outside may have more.
const HONEST_MAX: f64 = 0.8;

/// A `reachd check` in a node, with these words as arguments.
pub(crate) fn check(node: &Node, words: &str) -> Command {
    let mut command = node.command(REACHD);
    command.arg("check").args(words.split_whitespace()).env("LC_ALL", "C.UTF-8");
    command
}

/// The same without any capability, as an ordinary user has it.
pub(crate) fn check_unprivileged(node: &Node, words: &str) -> Command {
    let mut command = node.command("setpriv");
    command.args(["--bounding-set=-all", "--inh-caps=-all", "--"]);
    command.args([REACHD, "check"]).args(words.split_whitespace()).env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command) -> Result<Ran> {
    Flight::start("", &mut command)?.land()
}

/// What a program that ran to its end left.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) stdout: String,
    /// What it said beside.
    pub(crate) stderr: String,
    /// How long it ran.
    pub(crate) took: Duration,
}

impl Ran {
    /// One verdict for each line printed.
    pub(crate) fn verdicts(&self) -> Result<Vec<Seen>> {
        let read = |line: &str| {
            let document = serde_json::from_str(line).with_context(|| format!("read {line}"))?;
            Ok(Seen { document, code: self.code, took: self.took })
        };
        self.stdout.lines().map(read).collect()
    }

    /// Ends with `code` and says all these words to the person.
    pub(crate) fn says(&self, code: i32, words: &[&str]) -> Result<()> {
        let told = format!("exit {}\n{}{}", self.code, self.stdout, self.stderr);
        ensure!(self.code == code, "expected exit {code}: {told}");
        let missing: Vec<_> = words.iter().filter(|word| !told.contains(**word)).collect();
        ensure!(missing.is_empty(), "expected {missing:?} in: {told}");
        Ok(())
    }
}

/// What a check may cost.
#[derive(Debug, Clone, Copy)]
struct Limits {
    seconds: f64,
    packets: u64,
}

/// One verdict as printed by `check --json`.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The document.
    pub(crate) document: Value,
    /// The exit code of the whole call.
    pub(crate) code: i32,
    took: Duration,
}

impl Seen {
    /// The class.
    pub(crate) fn class(&self) -> &str {
        self.document["verdict"]["class"].as_str().unwrap_or_default()
    }

    /// How sure.
    pub(crate) fn confidence(&self) -> f64 {
        self.document["verdict"]["confidence"].as_f64().unwrap_or(f64::NAN)
    }

    /// How long the survey took.
    pub(crate) fn seconds(&self) -> f64 {
        self.document["seconds"].as_f64().unwrap_or(f64::NAN)
    }

    /// What it cost.
    pub(crate) fn packets(&self) -> u64 {
        self.document["packets_sent"].as_u64().unwrap_or(u64::MAX)
    }

    /// The causes and their probabilities.
    pub(crate) fn causes(&self) -> Vec<(&str, f64)> {
        let causes = self.document["verdict"]["causes"].as_array().into_iter().flatten();
        causes.filter_map(|c| Some((c["cause"].as_str()?, c["probability"].as_f64()?))).collect()
    }

    /// The summed probability of a class's causes.
    pub(crate) fn mass(&self, class: &str) -> f64 {
        let of_class = |name: &str| cause::find(name).is_some_and(|c| c.class.as_str() == class);
        self.causes().into_iter().filter(|(name, _)| of_class(name)).map(|(_, p)| p).sum()
    }

    /// Whether a note is there.
    pub(crate) fn has_note(&self, note: &str) -> bool {
        let notes = self.document["verdict"]["notes"].as_array().into_iter().flatten();
        notes.into_iter().any(|part| part["note"] == note)
    }

    /// The value of a signal in the evidence.
    pub(crate) fn sign(&self, signal: &str) -> Option<&str> {
        let parts = self.document["verdict"]["evidence"].as_array().into_iter().flatten();
        let mut parts = parts.into_iter().filter(|part| part["signal"] == signal);
        parts.next().and_then(|part| part["value"].as_str())
    }

    /// What the first vantage saw.
    pub(crate) fn vantage(&self) -> &Value {
        &self.document["vantages"][0]
    }

    /// Fails unless the class is this.
    pub(crate) fn is(&self, class: &str) -> Result<()> {
        ensure!(self.class() == class, "expected {class}");
        Ok(())
    }

    /// Fails unless the class is this and at least this sure.
    pub(crate) fn surely(&self, class: &str, confidence: f64) -> Result<()> {
        self.is(class)?;
        ensure!(self.confidence() >= confidence, "expected {class} with {confidence} at least");
        Ok(())
    }

    /// Fails unless the note is there.
    pub(crate) fn notes(&self, note: &str) -> Result<()> {
        ensure!(self.has_note(note), "expected the note {note}");
        Ok(())
    }

    /// Fails unless a signal has this value.
    pub(crate) fn shows(&self, signal: &str, value: &str) -> Result<()> {
        ensure!(self.sign(signal) == Some(value), "expected the evidence {signal} = {value}");
        Ok(())
    }

    /// Fails when the verdict puts more than the honesty rule allows on one of `classes`, or less
    /// than `least` on any, or does not name the largest.
    pub(crate) fn is_spread_over(&self, classes: &[&str], least: f64) -> Result<()> {
        let masses: Vec<_> = classes.iter().map(|class| (*class, self.mass(class))).collect();
        let largest = masses.iter().max_by(|left, right| left.1.total_cmp(&right.1));
        for (class, mass) in &masses {
            ensure!(*mass <= HONEST_MAX, "{class} has {mass:.3}, more than {HONEST_MAX}");
            ensure!(*mass >= least, "{class} has {mass:.3}, less than {least}");
        }
        let (class, _) = largest.context("no class to spread over")?;
        self.is(class)?;
        let next = self.document["verdict"]["next_evidence"].as_array();
        ensure!(next.is_some_and(|next| !next.is_empty()), "nothing said of what would settle it");
        Ok(())
    }

    /// Fails when one cause alone has more than the honesty rule allows.
    pub(crate) fn no_single_cause(&self) -> Result<()> {
        let over = self.causes().into_iter().find(|(_, probability)| *probability > HONEST_MAX);
        ensure!(over.is_none(), "one cause above {HONEST_MAX}: {over:?}");
        Ok(())
    }

    /// What holds for every verdict, whatever was seen.
    pub(crate) fn is_sound(&self) -> Result<()> {
        self.is_sound_within(USUAL)
    }

    fn is_sound_within(&self, limits: Limits) -> Result<()> {
        self.fits_schema()?;
        self.books_balance()?;
        let class = Class::from_name(self.class()).context("no such class")?;
        let total: f64 = self.causes().iter().map(|(_, probability)| probability).sum();
        ensure!((0.0..=1.000_1).contains(&total), "causes add up to {total}");
        ensure!((0.0..=1.0).contains(&self.confidence()), "confidence out of range");
        if matches!(class, Class::SecurityGroup | Class::HostSilent) {
            self.no_single_cause()?;
        }
        ensure!(self.seconds() < limits.seconds, "took too long");
        let most = limits.packets;
        let vantages = self.document["vantages"].as_array().map_or(0, Vec::len).max(1);
        ensure!(self.packets() <= most * vantages as u64, "more than {most} packets");
        let longest = Duration::from_secs_f64(limits.seconds) + START_MAX;
        ensure!(self.took < longest, "the program ran {:?}", self.took);
        Ok(())
    }

    /// Every packet has exactly one fate.
    fn books_balance(&self) -> Result<()> {
        let vantages = self.document["vantages"].as_array().into_iter().flatten();
        for series in vantages.flat_map(|vantage| [&vantage["echo"], &vantage["connect"]]) {
            if series.is_null() {
                continue;
            }
            let total = |key: &str| -> u64 {
                let reasons = series[key].as_object().into_iter().flatten();
                reasons.filter_map(|(_, count)| count.as_u64()).sum()
            };
            let received = series["received"].as_u64().context("received")?;
            let fates = received + total("lost") + total("invalid");
            ensure!(series["sent"] == fates, "{fates} fates are not what was sent: {series}");
        }
        Ok(())
    }

    fn fits_schema(&self) -> Result<()> {
        static SCHEMA: OnceLock<Option<jsonschema::Validator>> = OnceLock::new();
        let read = || {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/schema/verdict.schema.json");
            let schema = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
            jsonschema::validator_for(&schema).ok()
        };
        let schema = SCHEMA.get_or_init(read).as_ref().context("no usable verdict schema")?;
        let errors: Vec<_> = schema
            .iter_errors(&self.document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        ensure!(errors.is_empty(), "does not fit the schema: {errors:?}");
        Ok(())
    }

    /// One line of the table.
    fn row(&self, title: &str) -> String {
        let mut row = format!(
            "{title}\t{}\t{:.3}\t{:.2}\t{}\t",
            self.class(),
            self.confidence(),
            self.seconds(),
            self.packets()
        );
        for (name, probability) in self.causes().into_iter().take(4) {
            let _ = write!(row, "{name} {probability:.2} ");
        }
        let notes = self.document["verdict"]["notes"].as_array().into_iter().flatten();
        let notes: Vec<_> = notes.into_iter().filter_map(|part| part["note"].as_str()).collect();
        row + "\t" + &notes.join(" ")
    }
}

type Judge<'a> = Box<dyn FnOnce(&[Seen]) -> Result<()> + 'a>;

/// Checks that run at the same time.
pub(crate) struct Round<'a> {
    flights: Vec<(Flight, Judge<'a>)>,
    limits: Limits,
}

impl Default for Round<'_> {
    fn default() -> Self {
        Self { flights: Vec::new(), limits: USUAL }
    }
}

impl<'a> Round<'a> {
    /// Checks that are given a minute and a half.
    pub(crate) fn patient() -> Self {
        Self { flights: Vec::new(), limits: PATIENT }
    }

    /// Starts a check of one target and says how to judge its verdict.
    pub(crate) fn ask(
        &mut self,
        title: &str,
        command: Command,
        judge: impl FnOnce(&Seen) -> Result<()> + 'a,
    ) -> Result<()> {
        self.ask_many(title, command, |seen| match seen {
            [only] => judge(only),
            _ => bail!("{} verdicts instead of one", seen.len()),
        })
    }

    /// Starts a check of several targets and says how to judge their verdicts.
    pub(crate) fn ask_many(
        &mut self,
        title: &str,
        mut command: Command,
        judge: impl FnOnce(&[Seen]) -> Result<()> + 'a,
    ) -> Result<()> {
        let flight = Flight::start(title, command.arg("--json"))?;
        self.flights.push((flight, Box::new(judge)));
        Ok(())
    }

    /// Waits for all and judges them; fails with everything that is wrong.
    pub(crate) fn finish(self) -> Result<()> {
        let mut wrong = String::new();
        for (flight, judge) in self.flights {
            let title = flight.title.clone();
            let ran = flight.land()?;
            let seen = ran.verdicts().with_context(|| format!("{title}: {ran:?}"))?;
            record(&title, &seen)?;
            let sound = seen.iter().try_for_each(|seen| seen.is_sound_within(self.limits));
            for result in [sound, codes_agree(ran.code, &seen), judge(&seen)] {
                if let Err(error) = result {
                    let _ = writeln!(wrong, "\n=== {title}: {error:#}");
                    seen.iter().for_each(|seen| wrong += &telling(seen));
                    wrong += &ran.stderr;
                }
            }
        }
        ensure!(wrong.is_empty(), "{wrong}");
        Ok(())
    }
}

/// The exit code follows from the classes, as DESIGN section 8 has it.
fn codes_agree(code: i32, seen: &[Seen]) -> Result<()> {
    let failing = || seen.iter().map(Seen::class).filter(|class| *class != "reachable");
    let expected = match failing().all(|class| class == "vantage_fault") {
        _ if failing().next().is_none() => 0,
        true => 3,
        false => 1,
    };
    ensure!(code == expected, "exit code {code}, expected {expected}");
    Ok(())
}

/// What a failed expectation needs to be understood.
fn telling(seen: &Seen) -> String {
    let verdict = &seen.document["verdict"];
    let mut text = format!("    {}\n    {}\n", seen.row("seen"), verdict["summary"]);
    for part in verdict["evidence"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "    {} = {}: {}", part["signal"], part["value"], part["detail"]);
    }
    for vantage in seen.document["vantages"].as_array().into_iter().flatten() {
        for part in ["echo", "connect", "service", "capture"] {
            let _ = writeln!(text, "    {} {part}: {}", vantage["name"], vantage[part]);
        }
        for flow in ["icmp", "tcp"] {
            let hops = vantage["path"][flow].as_array().into_iter().flatten();
            let hops: Vec<_> = hops.map(|hop| hop["address"].as_str().unwrap_or("*")).collect();
            let _ = writeln!(text, "    {flow} path: {}", hops.join(" "));
        }
    }
    text
}

pub(crate) fn record(title: &str, seen: &[Seen]) -> Result<()> {
    let Some(path) = std::env::var_os("REACHD_CHECK_TABLE") else { return Ok(()) };
    let text: String = seen.iter().map(|seen| seen.row(title) + "\n").collect();
    let mut file = OpenOptions::new().append(true).create(true).open(&path).context("table")?;
    file.write_all(text.as_bytes()).context("write the table")
}

/// A program on its way.
struct Flight {
    title: String,
    started: Instant,
    child: Child,
}

impl Flight {
    fn start(title: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_remove("RUST_LOG");
        let child = command.spawn().context("start reachd")?;
        Ok(Self { title: title.to_owned(), started: Instant::now(), child })
    }

    fn land(self) -> Result<Ran> {
        let output = self.child.wait_with_output().context("wait for reachd")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Ran {
            code: output.status.code().context("killed by a signal")?,
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            took: self.started.elapsed(),
        })
    }
}
