//! `reachd run`.
use anyhow::{Result, bail};
/// Stub until the exporters are there.
pub fn run(_arguments: crate::cli::Run) -> Result<u8> { bail!("not yet") }
