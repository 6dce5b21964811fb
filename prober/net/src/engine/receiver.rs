//! What sees the packets of a network namespace: the ring, or what stands in for it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;

use reachd_core::monitor::{Captured, TapId};

use crate::clock::Clock;
use crate::ears::Ears;
use crate::sys::Interest;
use crate::tap::Tap;
use crate::tap::store::Store;

/// One receiver.
#[derive(Debug)]
pub(super) enum Receiver {
    Tap(Box<Tap>),
    Ears(Box<Ears>),
}

impl Receiver {
    /// Which receiver this is.
    pub(super) const fn id(&self) -> TapId {
        match self {
            Self::Tap(tap) => tap.id(),
            Self::Ears(ears) => ears.id(),
        }
    }

    /// The ears, if it is those.
    pub(super) const fn ears(&mut self) -> Option<&mut Ears> {
        match self {
            Self::Tap(_) => None,
            Self::Ears(ears) => Some(ears),
        }
    }

    /// Captures TCP from and to these ports from now on.
    pub(super) fn set_ports(&self, ports: &BTreeSet<u16>) -> io::Result<()> {
        match self {
            Self::Tap(tap) => tap.set_ports(ports),
            Self::Ears(ears) => ears.set_ports(ports),
        }
    }

    /// Whether something waits that a wait for its sockets would not tell.
    pub(super) fn is_ready(&self) -> bool {
        match self {
            Self::Tap(tap) => tap.is_ready(),
            Self::Ears(_) => false,
        }
    }

    /// Reads a part of what waits and hands it on; `None` if nothing waits.
    pub(super) fn read(
        &mut self,
        clock: &Clock,
        store: &mut Store,
        deliver: impl FnMut(Captured<'_>),
    ) -> Option<usize> {
        match self {
            Self::Tap(tap) => tap.read_block(clock, store, deliver),
            Self::Ears(ears) => ears.read(clock, store, deliver),
        }
    }

    /// Packets delivered and packets dropped since it was opened.
    pub(super) fn counts(&mut self) -> io::Result<(u64, u64)> {
        match self {
            Self::Tap(tap) => tap.counts(),
            Self::Ears(ears) => ears.counts(),
        }
    }

    /// What to wait for.
    pub(super) fn add_interests<'a>(&'a self, interests: &mut Vec<Interest<'a>>) {
        match self {
            Self::Tap(tap) => {
                interests.push(Interest { fd: tap.as_fd(), events: libc::POLLIN });
            }
            Self::Ears(ears) => interests.extend(ears.interests()),
        }
    }
}
