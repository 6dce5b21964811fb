//! Proofs that the topologies, the faults and the servers do what they say.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::probe::{self, Answer, DEFAULT_TTL, Pinger};
use crate::server::{self, Behaviour};
use crate::*;

mod fault;
mod hello;
mod middlebox;
mod rdp;
mod scenario;
mod script;
mod serving;
mod topology;

/// Time enough for an answer that must come.
const SOON: Duration = Duration::from_secs(5);
/// Time in which an answer would come if anything sent one.
const SILENCE: Duration = Duration::from_millis(300);
const RDP: u16 = 3389;

/// Pings the target and names the TTL of the reply.
fn reply_ttl(node: &Node, target: IpAddr) -> Result<Option<u8>> {
    match probe::ping(node, target, DEFAULT_TTL, SOON)? {
        Some(Answer::EchoReply { from, ttl }) => {
            ensure!(from == target, "{from} answered for {target}");
            Ok(Some(ttl))
        }
        _ => Ok(None),
    }
}

/// Pings the target, which is thought to be silent.
fn is_silent(node: &Node, target: impl Into<IpAddr>) -> Result<bool> {
    Ok(probe::ping(node, target, DEFAULT_TTL, SILENCE)?.is_none())
}
