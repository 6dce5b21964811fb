//! `reachd run`, the real binary, among real kernels, servers, receivers and scrapers.

mod configuration;
mod doors;
mod evidence;
mod fleet;
mod four;
mod full;
pub(crate) mod harness;
mod history;
mod http;
mod kills;
mod ledger;
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
pub(crate) mod told;
mod vantage;
