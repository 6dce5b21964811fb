//! The SYN sweep's peer: full connects by tokio on one thread, as a prober without raw sockets
//! does them.
//!
//! 64 at a time: more only lengthens the queue (performance.md 3.5). `SO_LINGER 0` closes by a
//! reset, which is what the raw sweep's connections end with too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::measured::Measured;
use crate::null::Begun;
use crate::stage::Stage;
use crate::tally::Tally;

/// What to run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// How many targets are asked in turn.
    pub(crate) targets: u32,
    /// How many connects are under way at once.
    pub(crate) concurrency: usize,
    /// For how long.
    pub(crate) seconds: f64,
}

/// Runs one load; the caller is in the prober's namespace, on its processor.
pub(crate) fn run(load: &Load) -> Result<Measured> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start tokio")?;
    let begun = Begun::now()?;
    let tally =
        Arc::new(Tally::new(begun.at + Duration::from_secs_f64(load.seconds), load.targets));
    let _guard = runtime.enter();
    let mut tasks = JoinSet::new();
    for _ in 0..load.concurrency {
        tasks.spawn(connect_in_turn(Arc::clone(&tally)));
    }
    runtime.block_on(tasks.join_all());
    let mut measured = tally.measured();
    begun.finish(&mut measured)?;
    Ok(measured)
}

async fn connect_in_turn(tally: Arc<Tally>) {
    while Instant::now() < tally.deadline {
        let target = SocketAddr::from((Stage::target(tally.following()), PORT));
        tally.sent();
        match timeout(TIMEOUT, connect(target)).await {
            Ok(Ok(())) => tally.received(),
            Ok(Err(_)) => tally.invalid(),
            Err(_) => tally.lost(),
        }
    }
}

async fn connect(target: SocketAddr) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_zero_linger()?;
    socket.connect(target).await.map(drop)
}

/// The port the responder listens on.
pub(crate) const PORT: u16 = 3389;

const TIMEOUT: Duration = Duration::from_secs(1);
