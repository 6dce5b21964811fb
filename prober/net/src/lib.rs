//! What the kernel does: sockets, the capture ring, vantages, privileges, the resolver.
//!
//! [`engine::start`] drives `reachd_core`'s monitor on its own OS thread: the capture rings
//! ([`tap`]) are its eyes, raw or ping sockets its hands, and what needs waiting (full connects,
//! names) runs as tokio tasks that report back. Everything unsafe is in the `sys` module.

pub mod clock;
pub mod connect;
pub mod ears;
pub mod engine;
pub mod errno;
pub mod errqueue;
mod jobs;
pub mod namespace;
pub mod oneshot;
pub mod privilege;
pub mod resolver;
pub mod sockets;
mod sys;
pub mod tap;
#[cfg(test)]
mod testing;
pub mod transmit;
pub mod vantage;
