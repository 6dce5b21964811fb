//! The listener behind every target: accepts, and lets the prober close.

use std::collections::VecDeque;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::part;
use crate::tokio_connect::PORT;

/// Accepts until killed.
///
/// A connection is kept until many newer ones have come, by when its prober has closed it: closing
/// first would race with the prober's own look at the connection.
pub(crate) fn run() -> Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("open the listener")?;
    let address = SockAddr::from(std::net::SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)));
    socket.bind(&address).context("bind the listener")?;
    socket.listen(BACKLOG).context("listen")?;
    part::ready()?;
    let mut kept = VecDeque::with_capacity(KEPT);
    loop {
        // A connection reset while it waited is no reason to stop.
        let Ok((connection, _)) = socket.accept() else { continue };
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back(connection);
    }
}

const BACKLOG: i32 = 65_535;

/// Well below the usual limit of 1,024 descriptors.
const KEPT: usize = 512;
