//! The manifest: what is counted, drawn and held out, as the file says it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::random::Random;

/// A manifest or a family that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file is no TOML, or not of this shape.
    #[error("read {file}")]
    Read {
        /// Which file.
        file: &'static str,
        /// What is wrong with it.
        #[source]
        error: Box<toml::de::Error>,
    },
    /// A family names a class that does not exist, or a cause of another class.
    #[error("family {family} has no truth: {cause} is no cause of {class}")]
    Truth {
        /// Which family.
        family: String,
        /// The class it names.
        class: String,
        /// The cause it names.
        cause: String,
    },
    /// No topology of a split is what a family needs.
    #[error("family {family} finds no topology in split {}", split.as_str())]
    Topology {
        /// Which family.
        family: String,
        /// In which split.
        split: Split,
    },
}

/// Which part of the corpus a case belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Split {
    /// Looked at while building; exponents are fitted to it.
    Dev,
    /// Only ever judged.
    Heldout,
}

impl Split {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Dev, Self::Heldout];

    /// The word used in the manifest and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Heldout => "heldout",
        }
    }
}

/// One value for each split.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BySplit<T> {
    /// For development.
    pub dev: T,
    /// For judging only.
    pub heldout: T,
}

impl<T> BySplit<T> {
    /// The value for this split.
    pub const fn of(&self, split: Split) -> &T {
        match split {
            Split::Dev => &self.dev,
            Split::Heldout => &self.heldout,
        }
    }
}

/// What makes a case harder to read without being its cause (`classification.md` 5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Confounder {
    /// Nothing.
    None,
    /// The target answers no echoes, and never did.
    EchoFiltered,
    /// Two hops limit their Time Exceeded.
    ExceededLimited,
    /// The last hop before the target never answers.
    SilentGateway,
    /// About one in a hundred packets is lost near the vantage.
    BackgroundLoss,
    /// Bad spells of about two seconds near the vantage.
    BurstyLoss,
    /// Another round trip than usual.
    RoundTrip,
    /// Four equal paths in transit.
    EcmpFour,
    /// Answers come back over more routers than probes pass.
    AsymmetricReturn,
    /// The prober itself stands still now and then.
    VantageStalls,
    /// The target's neighbours are down as well, for reasons of their own.
    NeighbourFault,
    /// The target was never seen healthy.
    BaselineMissing,
    /// What is known of it is no longer true.
    BaselineStale,
    /// The same over IPv6.
    Ipv6,
}

impl Confounder {
    /// All of them, none first.
    pub const ALL: [Self; 14] = [
        Self::None,
        Self::EchoFiltered,
        Self::ExceededLimited,
        Self::SilentGateway,
        Self::BackgroundLoss,
        Self::BurstyLoss,
        Self::RoundTrip,
        Self::EcmpFour,
        Self::AsymmetricReturn,
        Self::VantageStalls,
        Self::NeighbourFault,
        Self::BaselineMissing,
        Self::BaselineStale,
        Self::Ipv6,
    ];

    /// The word used in the manifest and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EchoFiltered => "echo_filtered",
            Self::ExceededLimited => "exceeded_limited",
            Self::SilentGateway => "silent_gateway",
            Self::BackgroundLoss => "background_loss",
            Self::BurstyLoss => "bursty_loss",
            Self::RoundTrip => "round_trip",
            Self::EcmpFour => "ecmp_four",
            Self::AsymmetricReturn => "asymmetric_return",
            Self::VantageStalls => "vantage_stalls",
            Self::NeighbourFault => "neighbour_fault",
            Self::BaselineMissing => "baseline_missing",
            Self::BaselineStale => "baseline_stale",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// What is drawn from an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the manifest says what each of them is")]
pub enum Parameter {
    Loss,
    QueueMs,
    PoliceRate,
    PoliceBurst,
    Members,
    AbsentMs,
    ErrorRate,
    ErrorBurst,
    Overrun,
    SlowMs,
    LateMs,
    EchoRate,
    EchoBurst,
    Size,
    Background,
    BurstShare,
    BurstMs,
    ExceededRate,
    ExceededBurst,
    StallMs,
    Detour,
}

/// What is drawn from a few values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    RoundTripMs,
    UsualMs,
}

/// Whether neighbours that live are known to the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiblingsKnown {
    /// The target names two of them.
    Configured,
    /// The trace asks the subnet's first addresses, which nobody has.
    Strangers,
}

/// Vantages and routers around the target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// Its name.
    pub name: String,
    #[serde(rename = "split")]
    split_name: SplitName,
    /// Vantages outside the provider.
    pub outside: u8,
    /// Vantages inside it.
    pub inside: u8,
    /// Routers of each vantage's own.
    pub uplink: u8,
    /// Routers between them and the provider's edge.
    pub transit: u8,
    /// Whether a gateway stands behind the edge.
    pub gateway: bool,
    /// Whether neighbours are known.
    pub siblings: SiblingsKnown,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SplitName {
    Dev,
    Heldout,
}

impl Topology {
    /// The split it belongs to.
    pub const fn split(&self) -> Split {
        match self.split_name {
            SplitName::Dev => Split::Dev,
            SplitName::Heldout => Split::Heldout,
        }
    }
}

/// Causes that cannot be told apart from outside (`classification.md` 2.4).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Its letter.
    pub name: String,
    /// Its members.
    pub causes: Vec<String>,
    /// Evidence, as `signal=value`, that tells some of them apart.
    pub separated_by: Vec<String>,
}

/// How often a confounded case gets another confounder on top.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// The share of cases, 0 to 1.
    pub share: f64,
}

/// Families by name.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Names {
    /// Their names.
    pub families: Vec<String>,
}

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The shape of the file.
    pub version: u32,
    /// What every case's own seed is made from.
    pub seed: u64,
    /// Cases of each family by confounder.
    pub counts: BySplit<BTreeMap<Confounder, u64>>,
    /// Second confounders.
    pub second: Second,
    /// Families that are only ever judged.
    pub held: Names,
    /// Intervals that parameters are drawn from.
    pub ranges: BTreeMap<Parameter, BySplit<[f64; 2]>>,
    /// Values that parameters are drawn from.
    pub choices: BTreeMap<Choice, BySplit<Vec<f64>>>,
    /// All topologies.
    #[serde(rename = "topology")]
    pub topologies: Vec<Topology>,
    /// All sets.
    #[serde(rename = "set")]
    pub sets: Vec<Set>,
    /// Causes that no case shows, and why.
    pub inexpressible: BTreeMap<String, String>,
    /// Families whose signal does not exist yet.
    pub awaiting: Names,
}

impl Manifest {
    /// Reads the file that is built in.
    ///
    /// # Errors
    /// If it is not of this shape.
    pub fn load() -> Result<Self, ManifestError> {
        let text = include_str!("../../../scenarios/manifest.toml");
        toml::from_str(text)
            .map_err(|error| ManifestError::Read { file: "manifest.toml", error: Box::new(error) })
    }

    /// Draws a parameter for this split.
    ///
    /// # Panics
    /// If the manifest does not have it; the tests of the corpus draw all of them.
    pub fn draw(&self, parameter: Parameter, split: Split, random: &mut Random) -> f64 {
        let range = self.ranges.get(&parameter).expect("the manifest has every range");
        let [low, high] = *range.of(split);
        low + (high - low) * random.fraction()
    }

    /// Picks a value for this split.
    ///
    /// # Panics
    /// If the manifest does not have it; the tests of the corpus draw all of them.
    pub fn choose(&self, choice: Choice, split: Split, random: &mut Random) -> f64 {
        let values = self.choices.get(&choice).expect("the manifest has every choice");
        *random.pick(values.of(split))
    }

    /// The set a cause belongs to, if it belongs to one.
    pub fn set_of(&self, cause: &str) -> Option<&Set> {
        self.sets.iter().find(|set| set.causes.iter().any(|member| member == cause))
    }
}
