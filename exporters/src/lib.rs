//! What the world is told: metrics, HTTP, alerts, the store.
//!
//! Everything here reads what the monitor hands out ([`Snapshot`](reachd_core::snapshot::Snapshot),
//! [`IncidentUpdate`](reachd_core::incident::IncidentUpdate)) and never decides anything about a
//! target. Tasks: one per HTTP connection (owned by [`http::serve`]), one per webhook receiver
//! ([`webhook::WebhookTask::run`], owned by the caller) and one thread for the database
//! ([`store::StoreHandle`]). All of them may be cancelled between two steps; only the webhook task
//! asks to be drained first.

pub mod alertmanager;
pub mod carry;
mod chain;
pub mod clock;
pub mod evidence;
pub mod history;
pub mod http;
pub mod outbox;
pub mod prometheus;
pub mod receiver;
mod room;
pub mod silence;
pub mod store;
pub mod webhook;

pub use chain::chain;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod schema;
