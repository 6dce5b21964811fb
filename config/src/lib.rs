//! What the owner writes: the configuration file, its defaults, checks and differences.
//!
//! One TOML file becomes checked [`Settings`], or a [`Report`] of everything that is wrong with it
//! at once. Core owns what a plan means; this crate owns how it is spelled.
//!
//! The reading goes in steps, each a module: text to `node`s with places; nodes to values by the
//! kind of their key (`read`, `layer`); layers to settings and what must hold between them
//! (`assemble`, `target`, `doubts`, `parties`, `receiver`). The `table` of keys drives the reading, the error
//! texts, the JSON Schema and the reference.

mod assemble;
mod context;
mod cost;
mod doubts;
mod file_sd;
mod key;
mod layer;
mod load;
mod maintenance;
mod node;
mod parties;
mod problem;
mod read;
mod receiver;
mod reference;
mod schema;
mod settings;
mod source;
mod strain;
mod table;
mod target;
mod value;

#[cfg(test)]
mod tests;

pub use cost::{Cost, cost};
pub use load::{credential, embedded_default, load, parse, reload, reread_target_files};
pub use maintenance::{Maintenance, When};
pub use problem::{Fault, Problem, Report};
pub use reference::{full_example, reference};
pub use schema::schema;
pub use settings::{
    Backlog, COMPACT_ABOVE, DEFAULT_LISTEN, Endpoint, EvidenceSettings, FileProblem, Heartbeat,
    Lang, Later, Listen, Mail, MailTls, Matcher, MetricsDetail, Network, Receiver, ReceiverKind,
    Relation, ResolverSettings, Send, Settings, TargetFile, Url,
};
pub use target::target_from_argument;

/// A commented file to start from.
pub fn template() -> &'static str {
    include_str!("../examples/start.toml")
}
