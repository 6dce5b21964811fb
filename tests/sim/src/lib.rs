//! A virtual Internet in virtual time that drives the real monitor packet by packet.
//!
//! [`World`] is the network: vantages, routers, subnets, hosts, names, and what is wrong with
//! them. [`Run`] is the driver: it does what the monitor asks for, brings back what the world
//! answers, and keeps a transcript; outside checkers watch every step. Everything is seeded and
//! ordered, so the same seed gives the same transcript, byte for byte.

mod check;
mod cloud;
mod connect;
pub mod corpus;
mod forge;
pub mod healthy;
mod host;
mod light;
mod random;
mod rdp;
mod router;
mod run;
mod world;

pub use check::Checker;
pub use cloud::{Cloud, address, address6, canary};
pub use forge::forge;
pub use host::{Absent, Host, Port, Speaks};
pub use light::{Answers, Light};
pub use random::Random;
pub use router::{Action, IcmpLimit, Link, Loss, Match, Member, Policer, Router, Rule, Transport};
pub use run::{Looked, Run};
pub use world::{Delivery, LocalFault, Name, Place, Subnet, World, subnet};
