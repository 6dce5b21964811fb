//! `reachd run`, the real binary, among real kernels, servers, receivers and scrapers.

mod clock;
mod configuration;
mod doors;
mod fleet;
mod four;
mod full;
pub(crate) mod harness;
mod http;
mod kills;
mod ledger;
mod letters;
mod lone;
mod maintenance;
mod manager;
mod mutated;
mod notify;
pub(crate) mod page;
mod privilege;
mod reload;
mod restart;
pub(crate) mod scene;
mod scraper;
mod secrets;
mod storm;
mod syncs;
pub(crate) mod told;
mod vantage;
