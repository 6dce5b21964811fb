//! Scenarios: a network, what is wrong with it, and what an honest prober says of it.
//!
//! Each is a file below `tests/scenarios/t2`, read into a [`Scenario`]; unknown keys are errors. A
//! [`Stage`] builds its network and puts its faults in, [`look`] asks the real program once and
//! from a cold start, [`watch`] lets it run, learn, see the fault come and see it go, and
//! [`Truth::score`] judges what was said. Names of classes, causes and notes are mere words here;
//! the tests of the program check them against its tables.

mod act;
mod batch;
mod ground;
mod look;
mod said;
mod score;
mod stage;
mod table;
mod watch;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::topology::WINDOWS_TTL;

pub use act::{Act, Among, Packets, Serve};
pub use batch::{Batch, run_one};
pub use look::look;
pub use said::Said;
pub use score::{Outcome, Score, Seen};
pub use stage::Stage;
pub use table::{summary, table};
pub use watch::watch;

/// One scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its number in the list, with a word behind a dash for a variant; also the file's name.
    pub id: String,
    /// What happens, in a few words.
    pub title: String,
    /// The network.
    pub topology: Topology,
    /// What to vary in it.
    #[serde(default)]
    pub network: Network,
    /// How it is judged.
    #[serde(default = "both_modes")]
    pub modes: Vec<Mode>,
    /// From where: nodes by name, or `v1b` for the first vantage's second address.
    #[serde(default = "first_vantage")]
    pub vantages: Vec<String>,
    /// The host that is judged: a node, or `vip`.
    #[serde(default = "target_host")]
    pub host: String,
    /// Hosts that the daemon watches beside it.
    #[serde(default)]
    pub others: Vec<String>,
    /// Hosts that the daemon believes to be always well.
    #[serde(default)]
    pub canaries: Vec<String>,
    /// Further keys of the target's configuration, as the owner would write them.
    #[serde(default)]
    pub target: toml::Table,
    /// What serves where; Remote Desktop on every host when nothing is said.
    #[serde(default)]
    pub service: Vec<Service>,
    /// What is so from the start, the healthy state included.
    #[serde(default)]
    pub setup: Vec<Act>,
    /// The fault.
    #[serde(default)]
    pub inject: Vec<Act>,
    /// How long the daemon is watched after the fault, in seconds; longer while it changes its
    /// mind.
    #[serde(default = "watch_seconds")]
    pub watch: u64,
    /// Time given to a check, as `--timeout` has it; it unlocks questions that take long.
    pub check_timeout: Option<String>,
    /// What is true.
    pub truth: Truth,
    /// What is true for a cold check, where that differs.
    pub check_truth: Option<Truth>,
    /// What is true for a daemon that knew the healthy state, where that differs.
    pub daemon_truth: Option<Truth>,
}

/// A network by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    /// [`crate::Chain`].
    Chain,
    /// [`crate::Upstreams`].
    Upstreams,
    /// [`crate::Fan`].
    Fan,
    /// [`crate::Vpc`].
    Vpc,
    /// [`crate::Fleet`].
    Fleet,
}

/// What to vary in a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Routers of a chain.
    pub routers: u8,
    /// The TTL with which the targets send.
    pub target_ttl: u8,
    /// Neighbour timers as the kernel has them, half a minute and more.
    pub kernel_neighbours: bool,
    /// A node that also has the address `vip`, which all others reach through it.
    pub vip: Option<String>,
}

impl Default for Network {
    fn default() -> Self {
        Self { routers: 3, target_ttl: WINDOWS_TTL, kernel_neighbours: false, vip: None }
    }
}

/// A service of the healthy state.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Where.
    pub at: String,
    /// On which port.
    pub port: u16,
    /// What.
    pub serve: Serve,
}

/// How a scenario is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// One look at the fault, by a program that knows nothing of before.
    Check,
    /// A daemon that saw the target healthy, sees the fault come and sees it go.
    Daemon,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Daemon => "daemon",
        })
    }
}

/// What is true, and what must not be said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// The class, or all that are right.
    pub class: Vec<String>,
    /// The true cause and all that look the same from where the prober stands.
    #[serde(default)]
    pub causes: Vec<String>,
    /// There is evidence that tells one of the causes from the others.
    #[serde(default)]
    pub separated: bool,
    /// Classes that look the same: none may have more than the honesty rule allows.
    #[serde(default)]
    pub undecided: Vec<String>,
    /// Notes that must be there.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Classes that must not be said, not even in passing.
    #[serde(default)]
    pub never: Vec<String>,
    /// Notes that must not be there.
    #[serde(default)]
    pub never_notes: Vec<String>,
    /// Exactly the vantages that fail; nothing is asked when not said.
    pub failing: Option<Vec<String>>,
    /// How many alerts of targets a daemon sends.
    pub pages: Option<u64>,
    /// How many alerts of vantages a daemon sends.
    pub vantage_pages: Option<u64>,
    /// How often a daemon may change from one failing class to another.
    pub changes_max: Option<u64>,
}

impl Scenario {
    /// Reads one file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let scenario: Self =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        ensure!(stem == scenario.id, "{} holds scenario {}", path.display(), scenario.id);
        ensure!(!scenario.modes.is_empty(), "{stem}: judged in no mode");
        for mode in &scenario.modes {
            ensure!(!scenario.truth(*mode).class.is_empty(), "{stem}: no class is right");
        }
        Ok(scenario)
    }

    /// Reads every file of the corpus, in order of their names.
    pub fn load_all(folder: &Path) -> Result<Vec<Self>> {
        let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.context("list scenarios")?.path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                paths.push(path);
            }
        }
        paths.sort();
        ensure!(!paths.is_empty(), "no scenario in {}", folder.display());
        paths.iter().map(|path| Self::load(path)).collect()
    }

    /// Gives what is true in a mode.
    pub fn truth(&self, mode: Mode) -> &Truth {
        let own = match mode {
            Mode::Check => &self.check_truth,
            Mode::Daemon => &self.daemon_truth,
        };
        own.as_ref().unwrap_or(&self.truth)
    }

    /// Gives every statement of what is true.
    pub fn truths(&self) -> impl Iterator<Item = &Truth> {
        [Some(&self.truth), self.check_truth.as_ref(), self.daemon_truth.as_ref()]
            .into_iter()
            .flatten()
    }
}

/// Gives the folder of the corpus in this repository.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/t2")
}

fn both_modes() -> Vec<Mode> {
    vec![Mode::Check, Mode::Daemon]
}

fn first_vantage() -> Vec<String> {
    vec!["v1".to_owned()]
}

fn target_host() -> String {
    "t".to_owned()
}

fn watch_seconds() -> u64 {
    40
}

/// The service under test.
const RDP: u16 = 3389;
