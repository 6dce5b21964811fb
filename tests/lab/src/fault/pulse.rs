//! Faults that come and go by themselves.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Fault, Hook, nft_fault, policy_route};
use crate::address::{Family, Prefixes};
use crate::lab::Lab;
use crate::matching::{Match, Table};
use crate::node::Node;

/// A fault that is put in and taken out in turn; it stays out when this is dropped.
#[derive(Debug)]
pub struct Pulse {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How long good and bad spells last.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spells {
    /// One bad spell at once, and never again.
    Once(Duration),
    /// Good and bad spells of these lengths, the good one first.
    Even(Duration, Duration),
    /// Good and bad spells with these means, each spell's length by chance as in a Gilbert channel;
    /// the same seed gives the same spells.
    Random {
        /// Mean of the good spells.
        good: Duration,
        /// Mean of the bad spells.
        bad: Duration,
        /// Which of all histories.
        seed: u64,
    },
}

impl Lab {
    /// Drops what a router would pass on, for a time and again.
    pub fn bursts(&self, router: &Node, packets: &Match, spells: Spells) -> Result<Pulse> {
        let (router, packets) = (router.clone(), packets.clone());
        start(spells, move || nft_fault(&router, Table::Inet, Hook::Forward, &packets, "drop"))
    }

    /// Sends packets for a prefix to another neighbour, for a time and again: what routes do that
    /// flap, or that lead to one of several hosts with the same address.
    pub fn flapping_detour(
        &self,
        node: &Node,
        to: impl Into<Prefixes>,
        via: &Node,
        spells: Spells,
    ) -> Result<Pulse> {
        let next = self.next_hop(node, via)?;
        let routes = Family::BOTH.map(|family| Some(format!("default via {}", next.of(family))));
        let (node, to) = (node.clone(), to.into());
        let what = format!("flapping detour at {node} toward {to} by {via}");
        start(spells, move || policy_route(&node, &to, routes.clone(), what.clone()))
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        // The thread wakes when nobody can tell it anything any more.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn start(spells: Spells, make: impl Fn() -> Result<Fault> + Send + 'static) -> Result<Pulse> {
    let (stop, stopped) = mpsc::channel::<()>();
    let over = move |after: Duration| stopped.recv_timeout(after) != Err(RecvTimeoutError::Timeout);
    let work = move || {
        for (good, bad) in lengths(spells) {
            if over(good) {
                return;
            }
            let fault = match make() {
                Ok(fault) => fault,
                Err(error) => return eprintln!("a fault that comes and goes: {error:#}"),
            };
            let ended = over(bad);
            // Dropping would heal as well, but this says when it fails.
            if let Err(error) = fault.heal() {
                return eprintln!("a fault that comes and goes: {error:#}");
            }
            if ended {
                return;
            }
        }
    };
    let thread = thread::Builder::new().name("pulse".into()).spawn(work);
    Ok(Pulse { stop: Some(stop), thread: Some(thread.context("start a thread")?) })
}

fn lengths(spells: Spells) -> Box<dyn Iterator<Item = (Duration, Duration)> + Send> {
    match spells {
        Spells::Once(bad) => Box::new(std::iter::once((Duration::ZERO, bad))),
        Spells::Even(good, bad) => Box::new(std::iter::repeat((good, bad))),
        Spells::Random { good, bad, seed } => {
            let mut state = seed;
            let mut draw = move |mean: Duration| mean.mul_f64(exponential(&mut state));
            Box::new(std::iter::repeat_with(move || (draw(good), draw(bad))))
        }
    }
}

/// A draw from the exponential distribution with mean 1 (SplitMix64 underneath).
fn exponential(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    let unit = (z >> 11) as f64 / (1_u64 << 53) as f64;
    -(1.0 - unit).ln()
}
