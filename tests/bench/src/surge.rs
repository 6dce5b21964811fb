//! surge-ping by itself, on one thread: one `Client`, ping sockets, as its examples use it.
//!
//! With a bounded number of pings under way it is at its best. One task per target, all at once,
//! is what a program does that does not know better; that run shows the losses it then invents.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use surge_ping::{Client, Config, PingIdentifier, PingSequence, SurgeError};
use tokio::task::JoinSet;

use crate::measured::Measured;
use crate::null::Begun;
use crate::stage::Stage;
use crate::tally::Tally;

/// How many pings are under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Mode {
    /// So many, for the time given.
    Bounded(usize),
    /// One for each target, all begun at once, in one pass.
    Unbounded,
}

/// What to run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// How many pings are under way at once.
    pub(crate) mode: Mode,
    /// How many targets are asked in turn.
    pub(crate) targets: u32,
    /// For how long, when bounded.
    pub(crate) seconds: f64,
}

/// Runs one load; the caller is in the prober's namespace, on its processor.
pub(crate) fn run(load: &Load) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start tokio")?;
    let client = {
        let _guard = runtime.enter();
        Client::new(&Config::default()).context("open surge-ping's socket")?
    };
    ensure!(
        client.get_socket().get_type() == socket2::Type::DGRAM,
        "surge-ping fell back to a raw socket: ping_group_range is closed"
    );
    let begun = Begun::now()?;
    let tally =
        Arc::new(Tally::new(begun.at + Duration::from_secs_f64(load.seconds), load.targets));
    let _guard = runtime.enter();
    let mut tasks = JoinSet::new();
    match load.mode {
        Mode::Bounded(concurrency) => {
            for _ in 0..concurrency {
                tasks.spawn(ping_in_turn(client.clone(), Arc::clone(&tally)));
            }
        }
        Mode::Unbounded => {
            for _ in 0..load.targets {
                let (client, tally) = (client.clone(), Arc::clone(&tally));
                tasks.spawn(async move { ping_next(&client, &tally).await });
            }
        }
    }
    runtime.block_on(tasks.join_all());
    let mut measured = tally.measured();
    begun.finish(&mut measured)?;
    Ok(measured)
}

async fn ping_in_turn(client: Client, tally: Arc<Tally>) {
    while Instant::now() < tally.deadline {
        ping_next(&client, &tally).await;
    }
}

async fn ping_next(client: &Client, tally: &Tally) {
    let number = tally.sent_so_far();
    let target = IpAddr::V4(Stage::target(tally.following()));
    tally.sent();
    let mut pinger = client.pinger(target, PingIdentifier(1)).await;
    pinger.timeout(TIMEOUT);
    // The number changes from round to round, so that a late reply is not taken for the next one.
    match pinger.ping(PingSequence(number as u16), &[0x72; 16]).await {
        Ok(_) => tally.received(),
        Err(SurgeError::Timeout { .. }) => tally.lost(),
        Err(_) => tally.invalid(),
    }
}

const TIMEOUT: Duration = Duration::from_secs(1);
