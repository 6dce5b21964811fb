//! The engine's vantages and the receivers that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::{Captured, Flight, ProbePacket, SendOrder, TapId, VantageState};
use reachd_core::sweep::BURST;
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, Mode, Vantage, VantageId};
use reachd_core::wording::Wording;

use super::EngineOptions;
use super::receiver::Receiver;
use crate::clock::Clock;
use crate::ears::Ears;
use crate::errno;
use crate::namespace::NamespaceId;
use crate::sockets::Hands;
use crate::sys::Interest;
use crate::tap::Tap;
use crate::tap::store::Store;
use crate::vantage::{OpenedVantage, Place, Refusal, own_addresses};

/// How often a refused vantage is tried again, when what it lacks may come back by itself.
const RETRY_GONE: Duration = Duration::from_secs(1);
const RETRY_OTHER: Duration = Duration::from_secs(30);

/// The modes with raw sockets, best first.
const LADDER: [Mode; 3] = [Mode::Raw, Mode::RawErrqueue, Mode::RawStamps];

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
    /// Vantages of one namespace and mode share one.
    receivers: BTreeMap<TapId, ((NamespaceId, Mode), Receiver)>,
    next_tap: u16,
    /// What a burst's vantage refused.
    failed: Vec<(usize, LocalError)>,
}

impl Vantages {
    pub(super) fn new(options: EngineOptions) -> Self {
        let failed = Vec::with_capacity(BURST);
        Self { options, slots: BTreeMap::new(), receivers: BTreeMap::new(), next_tap: 0, failed }
    }

    /// Opens a vantage in place of the one of this id, if there is one.
    pub(super) fn open(
        &mut self,
        id: VantageId,
        spec: Vantage,
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> VantageState {
        let best = self.options.best_mode;
        self.open_from(best, (id, spec), ports, clock)
    }

    /// Opens a vantage in the best mode of those from `best` on that can be had.
    fn open_from(
        &mut self,
        best: Mode,
        (id, spec): (VantageId, Vantage),
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> VantageState {
        // The old one keeps its receiver until the new one shares it.
        let old = self.slots.remove(&id);
        self.unfollow(id);
        let state = match self.try_open(best, (id, &spec), ports, clock) {
            Ok(opened) => {
                let state = VantageState::Up { mode: opened.vantage.mode, tap: opened.tap };
                self.slots.insert(id, Slot::Open(Box::new(opened)));
                state
            }
            Err(Refusal { error, detail }) => {
                let retry = clock.now() + retry_after(error);
                self.slots.insert(id, Slot::Refused { spec, error, retry });
                VantageState::Down { error, detail }
            }
        };
        drop(old);
        self.drop_unused_receivers();
        state
    }

    fn try_open(
        &mut self,
        best: Mode,
        (id, spec): (VantageId, &Vantage),
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> Result<Opened, Refusal> {
        let mut vantage = OpenedVantage::open(spec)?;
        let tap = self.descend(best, (id, &mut vantage), ports, clock)?;
        let hands = match vantage.mode {
            Mode::Raw | Mode::RawErrqueue | Mode::RawStamps => None,
            Mode::Sockets => Some(Hands::open(&vantage.place).map_err(|error| {
                Refusal::of(&Wording::new("open ping sockets", "打开 ping 套接字"), &error)
            })?),
        };
        Ok(Opened { vantage, tap, hands })
    }

    /// Finds the best mode from `best` on that a vantage can have, and the receiver for it.
    fn descend(
        &mut self,
        best: Mode,
        (id, vantage): (VantageId, &mut OpenedVantage),
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> Result<Option<TapId>, Refusal> {
        if !vantage.mode.sees_packets() {
            return Ok(None);
        }
        let mut refused = None;
        for mode in LADDER.into_iter().filter(|mode| *mode >= best) {
            match self.try_mode(mode, (id, vantage), ports, clock) {
                Ok(tap) => {
                    vantage.mode = mode;
                    return Ok(Some(tap));
                }
                Err(error) => {
                    let (vantage, mode) = (&vantage.spec.name, mode.as_str());
                    tracing::warn!(%vantage, mode, %error, "A mode cannot be had");
                    refused = Some(error);
                }
            }
        }
        match refused {
            // Nothing but rights is missing: then sockets are what we may have.
            Some(error) if errno::of_open(&error) != LocalError::NoPrivilege => {
                Err(Refusal::of(&Wording::new("open a receiver", "打开接收端"), &error))
            }
            Some(_) | None => {
                vantage.give_up_raw();
                Ok(None)
            }
        }
    }

    /// Gives a vantage the receiver of a mode.
    fn try_mode(
        &mut self,
        mode: Mode,
        (id, vantage): (VantageId, &mut OpenedVantage),
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> io::Result<TapId> {
        let tap = self.receiver_for(mode, &vantage.place, ports)?;
        match mode {
            Mode::RawErrqueue => {
                let receiver = self.receivers.get_mut(&tap).map(|(_, receiver)| receiver);
                if let Some(ears) = receiver.and_then(Receiver::ears) {
                    ears.follow(id, vantage.lanes())?;
                }
            }
            Mode::RawStamps => vantage.keep_journal(clock),
            Mode::Raw | Mode::Sockets => {}
        }
        Ok(tap)
    }

    /// The receiver of a place's namespace, opened if it is the first vantage there.
    fn receiver_for(
        &mut self,
        mode: Mode,
        place: &Place,
        ports: &BTreeSet<u16>,
    ) -> io::Result<TapId> {
        let namespace = place.namespace_id();
        let mut known = self.receivers.iter();
        if let Some((id, _)) = known.find(|(_, (key, _))| *key == (namespace, mode)) {
            return Ok(*id);
        }
        let id = TapId(self.next_tap);
        let options = &self.options;
        let receiver = place.enter(|| match mode {
            Mode::Raw => Tap::open(id, options.tap, ports).map(|tap| Receiver::Tap(Box::new(tap))),
            Mode::RawErrqueue | Mode::RawStamps | Mode::Sockets => {
                Ears::open(id, options.ears, ports).map(|ears| Receiver::Ears(Box::new(ears)))
            }
        })?;
        self.next_tap = self.next_tap.wrapping_add(1);
        self.receivers.insert(id, ((namespace, mode), receiver));
        Ok(id)
    }

    /// Closes a vantage, and its receiver with the last vantage that uses it.
    pub(super) fn close(&mut self, id: VantageId) {
        self.slots.remove(&id);
        self.unfollow(id);
        self.drop_unused_receivers();
    }

    /// Lets go of a vantage's sockets, which would else stay open.
    fn unfollow(&mut self, id: VantageId) {
        self.receivers().filter_map(Receiver::ears).for_each(|ears| ears.unfollow(id));
    }

    fn drop_unused_receivers(&mut self) {
        let tap_of = |slot: &Slot| match slot {
            Slot::Open(opened) => opened.tap,
            Slot::Refused { .. } => None,
        };
        let used: BTreeSet<TapId> = self.slots.values().filter_map(tap_of).collect();
        self.receivers.retain(|id, _| used.contains(id));
    }

    /// Notices what vanished, what came back and what gives no stamps; gives the changes.
    pub(super) fn check(
        &mut self,
        ports: &BTreeSet<u16>,
        clock: &Clock,
    ) -> Vec<(VantageId, VantageState)> {
        let now = clock.now();
        let own = if self.needs_own_addresses() { own_addresses().ok() } else { None };
        let mute = self.mute_receivers();
        let mut changes = Vec::new();
        let mut due = Vec::new();
        let best = self.options.best_mode;
        for (id, slot) in &mut self.slots {
            match slot {
                Slot::Open(opened) => {
                    let spec = &opened.vantage.spec;
                    if let Some(detail) = opened.vantage.place.missing(own.as_deref()) {
                        let error = LocalError::VantageGone;
                        changes.push((*id, VantageState::Down { error, detail }));
                        due.push((best, *id, spec.clone(), None));
                    } else if opened.tap.is_some_and(|tap| mute.contains(&tap)) {
                        let (vantage, mode) = (&spec.name, Mode::RawStamps.as_str());
                        tracing::warn!(%vantage, mode, "No packet is stamped on leaving");
                        due.push((Mode::RawStamps, *id, spec.clone(), None));
                    }
                }
                Slot::Refused { spec, error, retry } if *retry <= now => {
                    due.push((best, *id, spec.clone(), Some(*error)));
                }
                Slot::Refused { .. } => {}
            }
        }
        for (best, id, spec, before) in due {
            let state = self.open_from(best, (id, spec), ports, clock);
            match &state {
                // Being down for the same reason, or just having been told so, is no news.
                VantageState::Down { error, .. } if before.is_none_or(|old| old == *error) => {}
                VantageState::Up { .. } | VantageState::Down { .. } => changes.push((id, state)),
            }
        }
        changes
    }

    /// Whether a vantage can lose its source address.
    fn needs_own_addresses(&self) -> bool {
        self.slots.values().any(|slot| match slot {
            Slot::Open(opened) => matches!(opened.vantage.spec.binding, Binding::Source(_)),
            Slot::Refused { .. } => false,
        })
    }

    /// The receivers that hear answers but not what drew them.
    fn mute_receivers(&mut self) -> BTreeSet<TapId> {
        let ears = self.receivers().filter_map(Receiver::ears);
        ears.filter(|ears| ears.is_mute()).map(|ears| ears.id()).collect()
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
                Some(Slot::Open(opened))
                    if opened.vantage.mode.sees_packets() && !is_rare(first) =>
                {
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

    /// All receivers.
    pub(super) fn receivers(&mut self) -> impl Iterator<Item = &mut Receiver> {
        self.receivers.values_mut().map(|(_, receiver)| receiver)
    }

    /// Hands on what vantages wrote down as sent, which nobody else sees.
    pub(super) fn read_sent(
        &mut self,
        clock: &Clock,
        store: &mut Store,
        mut deliver: impl FnMut(Captured<'_>),
    ) {
        let Self { slots, receivers, .. } = self;
        for slot in slots.values_mut() {
            let Slot::Open(opened) = slot else { continue };
            let receiver = opened.tap.and_then(|tap| receivers.get_mut(&tap));
            let ears = receiver.and_then(|(_, receiver)| receiver.ears());
            if let (Some(ears), Some(journal)) = (ears, opened.vantage.journal()) {
                journal.drain(|at, bytes| ears.note_sent((at, bytes), clock, store, &mut deliver));
            }
        }
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
        self.receivers.values().any(|(_, receiver)| receiver.is_ready())
    }

    /// What to wait for.
    pub(super) fn add_interests<'a>(&'a self, interests: &mut Vec<Interest<'a>>) {
        for (_, receiver) in self.receivers.values() {
            receiver.add_interests(interests);
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
