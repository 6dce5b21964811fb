//! The corpus: very many generated cases with known truth, judged by the real monitor.
//!
//! `tests/scenarios/manifest.toml` settles how many cases of what there are and what their
//! parameters are drawn from; `tests/scenarios/families` says what is broken in each and what the
//! truth is. A [`Case`] is a number: with the manifest it fixes a network, a plan and a seed, so
//! the same number is the same run for ever. [`examine`] lets the monitor look at it once, in
//! virtual time; [`score`] and [`calibrate`] read what came of many.

pub mod calibrate;
mod case;
pub mod examine;
mod family;
pub mod fit;
pub mod incidents;
mod manifest;
mod plot;
pub mod report;
pub mod scene;
pub mod score;
mod strike;

pub use case::{Case, Corpus};
pub use family::{Family, Needs, Truth};
pub use manifest::{
    BySplit, Confounder, Manifest, ManifestError, Parameter, Set, SiblingsKnown, Split, Topology,
};
