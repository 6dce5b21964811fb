//! Vantages: where sockets are made, what ties them down, and whether that still exists.

mod open;
mod place;
mod source;

pub(crate) use open::open_raw;
pub use open::{OpenedVantage, Refusal};
pub(crate) use place::FAMILIES;
pub use place::{Place, own_addresses};
pub(crate) use source::SourceAsker;
pub use source::SourceCache;

#[cfg(test)]
mod tests;
