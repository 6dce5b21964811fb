//! The engine's vantages and the rings that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::{Flight, ProbePacket, SendOrder, TapId, VantageState};
use reachd_core::sweep::BURST;
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, Mode, Vantage, VantageId};

use super::EngineOptions;
use crate::clock::Clock;
use crate::errno;
use crate::namespace::NamespaceId;
use crate::sockets::Hands;
use crate::sys::Interest;
use crate::tap::Tap;
use crate::vantage::{OpenedVantage, Place, Refusal, own_addresses};

/// How often a refused vantage is tried again, when what it lacks may come back by itself.
const RETRY_GONE: Duration = Duration::from_secs(1);
const RETRY_OTHER: Duration = Duration::from_secs(30);

/// One vantage of the plan.
#[derive(Debug)]
enum Slot {
    /// It can probe.
    Open(Box<Opened>),
    /// It cannot, for now.
    Refused { spec: Vantage, error: LocalError, retry: Instant },
}

/// A vantage that can probe, with what its mode needs.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) vantage: OpenedVantage,
    tap: Option<TapId>,
    hands: Option<Hands>,
}

impl Opened {
    /// Sockets beside raw ones: where resets do not leave, the kernel must make the connects.
    fn stand_in(&mut self) -> Result<&mut Hands, LocalError> {
        if self.hands.is_none() {
            let hands = Hands::open(&self.vantage.place);
            self.hands = Some(hands.map_err(|error| errno::of_open(&error))?);
        }
        self.hands.as_mut().ok_or(LocalError::Exhausted)
    }
}

/// All vantages.
#[derive(Debug)]
pub(super) struct Vantages {
    options: EngineOptions,
    slots: BTreeMap<VantageId, Slot>,
    taps: BTreeMap<TapId, (NamespaceId, Tap)>,
    next_tap: u16,
    /// What a burst's vantage refused.
    failed: Vec<(usize, LocalError)>,
}

impl Vantages {
    pub(super) fn new(options: EngineOptions) -> Self {
        let failed = Vec::with_capacity(BURST);
        Self { options, slots: BTreeMap::new(), taps: BTreeMap::new(), next_tap: 0, failed }
    }

    /// Opens a vantage in place of the one of this id, if there is one.
    pub(super) fn open(
        &mut self,
        id: VantageId,
        spec: Vantage,
        ports: &BTreeSet<u16>,
        now: Instant,
    ) -> VantageState {
        // The old one keeps its ring until the new one shares it.
        let _old = self.slots.remove(&id);
        let state = match self.try_open(&spec, ports) {
            Ok(opened) => {
                let state = VantageState::Up { mode: opened.vantage.mode, tap: opened.tap };
                self.slots.insert(id, Slot::Open(Box::new(opened)));
                state
            }
            Err(Refusal { error, detail }) => {
                let retry = now + retry_after(error);
                self.slots.insert(id, Slot::Refused { spec, error, retry });
                VantageState::Down { error, detail }
            }
        };
        self.drop_unused_taps();
        state
    }

    fn try_open(&mut self, spec: &Vantage, ports: &BTreeSet<u16>) -> Result<Opened, Refusal> {
        let mut vantage = OpenedVantage::open(spec)?;
        let mut tap = None;
        if !self.options.allow_raw {
            vantage.give_up_raw();
        }
        if vantage.mode == Mode::Raw {
            match self.tap_for(&vantage.place, ports) {
                Ok(id) => tap = Some(id),
                Err(error) if errno::of_open(&error) == LocalError::NoPrivilege => {
                    vantage.give_up_raw();
                }
                Err(error) => {
                    let detail = format!("open a capture ring: {error}");
                    return Err(Refusal { error: errno::of_open(&error), detail });
                }
            }
        }
        let hands = match vantage.mode {
            Mode::Raw => None,
            Mode::Sockets => Some(Hands::open(&vantage.place).map_err(|error| Refusal {
                error: errno::of_open(&error),
                detail: format!("open ping sockets: {error}"),
            })?),
        };
        Ok(Opened { vantage, tap, hands })
    }

    /// The ring of a place's namespace, opened if it is the first vantage there.
    fn tap_for(&mut self, place: &Place, ports: &BTreeSet<u16>) -> io::Result<TapId> {
        let namespace = place.namespace_id();
        if let Some((id, _)) = self.taps.iter().find(|(_, (there, _))| *there == namespace) {
            return Ok(*id);
        }
        let id = TapId(self.next_tap);
        let options = self.options.tap;
        let tap = place.enter(|| Tap::open(id, options, ports))?;
        self.next_tap = self.next_tap.wrapping_add(1);
        self.taps.insert(id, (namespace, tap));
        Ok(id)
    }

    /// Closes a vantage, and its ring with the last vantage that uses it.
    pub(super) fn close(&mut self, id: VantageId) {
        self.slots.remove(&id);
        self.drop_unused_taps();
    }

    fn drop_unused_taps(&mut self) {
        let tap_of = |slot: &Slot| match slot {
            Slot::Open(opened) => opened.tap,
            Slot::Refused { .. } => None,
        };
        let used: BTreeSet<TapId> = self.slots.values().filter_map(tap_of).collect();
        self.taps.retain(|id, _| used.contains(id));
    }

    /// Notices what vanished and what came back; gives the changes.
    pub(super) fn check(
        &mut self,
        ports: &BTreeSet<u16>,
        now: Instant,
    ) -> Vec<(VantageId, VantageState)> {
        let has_source = |slot: &Slot| match slot {
            Slot::Open(opened) => matches!(opened.vantage.spec.binding, Binding::Source(_)),
            Slot::Refused { .. } => false,
        };
        let needs_own = self.slots.values().any(has_source);
        let own = if needs_own { own_addresses().ok() } else { None };
        let mut changes = Vec::new();
        let mut due = Vec::new();
        for (id, slot) in &mut self.slots {
            match slot {
                Slot::Open(opened) => {
                    let Some(detail) = opened.vantage.place.missing(own.as_deref()) else {
                        continue;
                    };
                    let error = LocalError::VantageGone;
                    changes.push((*id, VantageState::Down { error, detail }));
                    due.push((*id, opened.vantage.spec.clone(), None));
                }
                Slot::Refused { spec, error, retry } if *retry <= now => {
                    due.push((*id, spec.clone(), Some(*error)));
                }
                Slot::Refused { .. } => {}
            }
        }
        for (id, spec, before) in due {
            let state = self.open(id, spec, ports, now);
            match &state {
                // Being down for the same reason, or just having been told so, is no news.
                VantageState::Down { error, .. } if before.is_none_or(|old| old == *error) => {}
                VantageState::Up { .. } | VantageState::Down { .. } => changes.push((id, state)),
            }
        }
        changes
    }

    /// The open vantage of this id.
    pub(super) fn get(&self, id: VantageId) -> Option<&OpenedVantage> {
        match self.slots.get(&id) {
            Some(Slot::Open(opened)) => Some(&opened.vantage),
            Some(Slot::Refused { .. }) | None => None,
        }
    }

    /// Sends one packet by the means of its vantage's mode.
    pub(super) fn send(&mut self, order: &SendOrder, clock: &Clock) -> Result<(), LocalError> {
        match self.slots.get_mut(&order.vantage) {
            Some(Slot::Open(opened)) => match &mut opened.hands {
                Some(hands) if opened.vantage.mode == Mode::Sockets => hands.send(order, clock),
                _ if matches!(order.what, ProbePacket::Connect { .. }) => {
                    opened.stand_in()?.send(order, clock)
                }
                _ => opened.vantage.send_raw(order, clock.now()),
            },
            Some(Slot::Refused { error, .. }) => Err(*error),
            None => Err(LocalError::VantageGone),
        }
    }

    /// Sends a burst of the sweep; tells of those that our own side refused.
    pub(super) fn send_burst(
        &mut self,
        orders: &[SendOrder],
        clock: &Clock,
        mut refused: impl FnMut(Flight, LocalError),
    ) {
        let mut failed = std::mem::take(&mut self.failed);
        let alike =
            |a: &SendOrder, b: &SendOrder| a.vantage == b.vantage && is_rare(a) == is_rare(b);
        for run in orders.chunk_by(alike) {
            let Some(first) = run.first() else { continue };
            match self.slots.get_mut(&first.vantage) {
                Some(Slot::Open(opened)) if opened.vantage.mode == Mode::Raw && !is_rare(first) => {
                    opened.vantage.send_burst(run, clock.now(), &mut failed);
                }
                _ => {
                    for (at, order) in run.iter().enumerate() {
                        failed.extend(self.send(order, clock).err().map(|error| (at, error)));
                    }
                }
            }
            for (at, error) in failed.drain(..) {
                run.get(at).into_iter().for_each(|order| refused(order.flight, error));
            }
        }
        self.failed = failed;
    }

    /// All rings.
    pub(super) fn taps(&mut self) -> impl Iterator<Item = &mut Tap> {
        self.taps.values_mut().map(|(_, tap)| tap)
    }

    /// The sockets of all vantages without raw ones.
    pub(super) fn hands(&mut self) -> impl Iterator<Item = &mut Hands> {
        self.slots.values_mut().filter_map(|slot| match slot {
            Slot::Open(opened) => opened.hands.as_mut(),
            Slot::Refused { .. } => None,
        })
    }

    /// Whether a ring has something to be read now.
    pub(super) fn any_ready(&self) -> bool {
        self.taps.values().any(|(_, tap)| tap.is_ready())
    }

    /// What to wait for.
    pub(super) fn add_interests<'a>(&'a self, interests: &mut Vec<Interest<'a>>) {
        for (_, tap) in self.taps.values() {
            interests.push(Interest { fd: tap.as_fd(), events: libc::POLLIN });
        }
        for slot in self.slots.values() {
            if let Slot::Open(opened) = slot
                && let Some(hands) = &opened.hands
            {
                interests.extend(hands.interests());
            }
        }
    }
}

/// Whether it goes one by one: resets of our own, and connects that stand in for SYNs.
const fn is_rare(order: &SendOrder) -> bool {
    matches!(order.what, ProbePacket::Reset { .. } | ProbePacket::Connect { .. })
}

/// When a refused vantage is worth another try.
fn retry_after(error: LocalError) -> Duration {
    match error {
        LocalError::VantageGone => RETRY_GONE,
        _ => RETRY_OTHER,
    }
}
