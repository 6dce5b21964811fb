//! A TUN or TAP device whose other end is a file.

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kernel;
use crate::node::{Node, in_namespace};

/// What travels through a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Packets from the IP header on.
    Tun,
    /// Ethernet frames.
    Tap,
}

/// Makes a device in a node; reading and writing never block.
pub fn open(node: &Node, name: &str, kind: Kind) -> Result<File> {
    in_namespace(node, || kernel::tunnel(name, kind))?
        .with_context(|| format!("make {kind:?} {name} in {node}"))
}

/// Waits until one of two descriptors can be read, and says for each whether it can.
pub fn wait(descriptors: [BorrowedFd<'_>; 2], timeout: Option<Duration>) -> io::Result<[bool; 2]> {
    kernel::wait_readable(descriptors, timeout)
}
