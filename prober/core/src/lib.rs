//! What is true: probing, evidence and inference, without IO, clock, async or own randomness.
//!
//! Everything here is driven from outside: [`monitor::Monitor`] is handed inputs with the time they
//! happened at and answers with what is to be sent and what is to be told. The same code runs under
//! real sockets, in the one-shot `check`, and in the simulator under virtual time.
#![warn(clippy::indexing_slicing)]

pub mod accounting;
pub mod budget;
pub mod evidence;
pub mod grouping;
pub mod incident;
pub mod judge;
pub mod monitor;
pub mod path;
pub mod plan;
pub mod probe;
pub mod report;
pub mod secret;
pub mod snapshot;
pub mod statistics;
pub mod survey;
pub mod sweep;
pub mod target;
pub mod time;
pub mod vantage;
pub mod wire;
pub mod wording;
