//! The engine's loop.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::{
    ConnectOrder, Event, Flight, Input, Output, RdpOrder, Resolution, ResolveOrder, SendOrder,
    TapId,
};
use reachd_core::plan::Canary;
use reachd_core::sweep::BURST;
use reachd_core::target::Target;
use reachd_core::time::Instant;

use super::vantages::Vantages;
use super::{Brain, Ends, EngineOptions, Message, PcapngRequest, Shared};
use crate::clock::Clock;
use crate::sockets::Fate;
use crate::sys::{self, Interest};
use crate::tap::pcapng::write_pcapng;
use crate::tap::store::Store;
use crate::{connect, resolver};

/// Blocks read from one receiver in one turn.
const BLOCKS_PER_TURN: usize = 4;
/// Messages taken in one turn.
const MESSAGES_PER_TURN: usize = 256;
/// Waking this much later than asked for is told to the monitor.
const LAG: Duration = Duration::from_millis(50);
/// A step of the wall clock is noticed within this time, if the engine turns at all.
const CLOCK_CHECK: Duration = Duration::from_millis(20);
/// Bursts of the sweep sent in one turn; the ring is read after each.
const BURSTS_PER_TURN: usize = 16;
/// A ring's drops are asked for this often: a probe that fell into one must not count as lost.
const COUNTING: Duration = Duration::from_millis(100);
/// Vantages are looked after this often.
const HOUSEKEEPING: Duration = Duration::from_secs(1);

/// All that the thread owns.
pub(super) struct Engine<B> {
    brain: B,
    ends: Ends,
    clock: Clock,
    vantages: Vantages,
    store: Store,
    ports: BTreeSet<u16>,
    /// When the monitor wants to be woken, and what time it thought it was when it said so: what
    /// it needs for thinking is lateness too.
    deadline: Option<Instant>,
    asked: Instant,
    turn_began: Instant,
    /// The brain's time: the moment up to which everything that came has been read. It never runs
    /// ahead of that, for what was not read yet is no silence.
    seen: Instant,
    /// When the sweep is to be asked next, and what it gave.
    burst_due: Option<Instant>,
    burst: Vec<SendOrder>,
    counting_due: Instant,
    /// What each receiver had dropped when it was last asked.
    drops: BTreeMap<TapId, u64>,
    housekeeping_due: Instant,
    clock_due: Instant,
    stopping: bool,
}

impl<B: Brain> Engine<B> {
    pub(super) fn new(brain: B, options: EngineOptions, ends: Ends) -> Self {
        let clock = ends.shared.clock.clone();
        let ports = options.ports.clone();
        let store = Store::new(options.evidence_bytes);
        Self {
            brain,
            clock,
            store,
            ports,
            vantages: Vantages::new(options),
            ends,
            deadline: None,
            asked: Instant::ZERO,
            turn_began: Instant::ZERO,
            seen: Instant::ZERO,
            burst_due: Some(Instant::ZERO),
            burst: Vec::with_capacity(BURST),
            counting_due: Instant::ZERO,
            drops: BTreeMap::new(),
            housekeeping_due: Instant::ZERO + HOUSEKEEPING,
            clock_due: Instant::ZERO,
            stopping: false,
        }
    }

    /// Turns until it is told to stop.
    pub(super) fn run(mut self) {
        // However the thread ends, its handles must learn of it.
        let _ended = Ended(Arc::clone(&self.ends.shared));
        self.perform();
        while !self.stopping {
            self.wait();
            self.turn_began = self.clock.now();
            self.note_lag();
            self.check_clock();
            self.read_sockets();
            self.read_taps();
            self.read_inbox();
            self.tick();
            self.keep_house();
            self.perform();
            self.ends.shared.progress.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sleeps until something is there to be done.
    fn wait(&self) {
        let now = self.clock.now();
        let deadlines = [self.deadline, self.burst_due].into_iter().flatten();
        let deadline = deadlines.fold(self.housekeeping_due, Instant::min);
        let timeout = if self.vantages.any_ready() || !self.ends.inbox.is_empty() {
            Duration::ZERO
        } else {
            deadline.since(now)
        };
        let mut interests = vec![Interest { fd: self.ends.bell.0.as_fd(), events: libc::POLLIN }];
        self.vantages.add_interests(&mut interests);
        let mut ready = Vec::new();
        if let Err(error) = sys::wait(&interests, Some(timeout), &mut ready) {
            // Not seen so far; without the sleep the loop would spin.
            tracing::error!(%error, "the engine cannot wait for its sockets");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Looks for a step before stamps are mapped: those of the ring are the wall clock's.
    fn check_clock(&mut self) {
        let now = self.clock.now();
        if now < self.clock_due {
            return;
        }
        self.clock_due = now + CLOCK_CHECK;
        if let Some(step) = self.clock.resync() {
            self.brain.handle(self.seen, Input::ClockStep(step));
        }
    }

    /// Reads what the receivers have, and lets the brain's time go on as far as that reaches: to
    /// now where nothing is left, else to the stamp of what was read last.
    fn read_taps(&mut self) {
        let began = self.clock.now();
        let Self { brain, clock, vantages, store, seen, .. } = self;
        vantages.read_sent(clock, store, |captured| {
            brain.handle(*seen, Input::Captured(captured));
        });
        let mut reached = began;
        for receiver in vantages.receivers() {
            let mut last = None;
            let emptied = (0..BLOCKS_PER_TURN).any(|_| {
                let read = receiver.read(clock, store, |captured| {
                    last = Some(captured.at.at);
                    brain.handle(*seen, Input::Captured(captured));
                });
                read.is_none()
            });
            if !emptied {
                reached = reached.min(last.unwrap_or(*seen));
            }
        }
        self.count();
        self.seen = self.seen.max(reached);
    }

    fn read_sockets(&mut self) {
        let Self { brain, clock, vantages, seen, .. } = self;
        for hands in vantages.hands() {
            hands.read(clock, |fate| {
                let input = match fate {
                    Fate::Answered { flight, sent, answer, at } => {
                        Input::Answered { flight, sent, answer, at }
                    }
                    Fate::Failed { flight, error } => Input::SendFailed { flight, error },
                };
                brain.handle(*seen, input);
            });
        }
    }

    fn read_inbox(&mut self) {
        // Silenced before reading: a message that comes in between rings again.
        self.ends.bell.silence();
        for _ in 0..MESSAGES_PER_TURN {
            let Ok(message) = self.ends.inbox.try_recv() else { break };
            let now = self.seen;
            match message {
                Message::Plan(plan) => {
                    self.watch_ports(&plan.targets, &plan.canaries);
                    self.brain.handle(now, Input::Plan(plan));
                    self.burst_due = Some(now);
                }
                Message::Change(change) => {
                    self.watch_ports(&change.upserted, &change.canaries);
                    self.brain.handle(now, Input::Change(change));
                    self.burst_due = Some(now);
                }
                Message::Connected(flight, report) => {
                    self.brain.handle(now, Input::Connected { flight, report });
                }
                Message::Looked(flight, look) => {
                    self.brain.handle(now, Input::Looked { flight, look });
                }
                Message::Resolved(query, result) => {
                    self.brain.handle(now, Input::Resolved { query, result });
                }
                // Whoever asked may have left meanwhile.
                Message::Snapshot(reply) => {
                    let _ = reply.send(Box::new(self.brain.snapshot()));
                }
                Message::Pcapng(request) => self.write_pcapng(request),
                Message::Conclude => self.brain.handle(now, Input::Conclude),
                Message::Stop => self.stopping = true,
            }
        }
    }

    fn write_pcapng(&self, request: PcapngRequest) {
        let mut file = Vec::new();
        // Writing to memory does not fail.
        let _ = write_pcapng(&mut file, &self.store, &request.wanted, &request.comments);
        let _ = request.reply.send(file);
    }

    /// Says how late it is, before anything that came meanwhile is read or given up.
    fn note_lag(&mut self) {
        let now = self.turn_began;
        let due = |deadline: Option<Instant>| deadline.filter(|deadline| *deadline <= now);
        let late = due(self.deadline).into_iter().chain(due(self.burst_due)).min();
        let lag = late.map_or(Duration::ZERO, |late| now.since(late.max(self.asked)));
        if lag > LAG {
            self.brain.handle(self.seen, Input::Lag(lag));
        }
    }

    /// Tells the monitor the time it asked to be told.
    fn tick(&mut self) {
        if self.deadline.is_none_or(|deadline| deadline > self.seen) {
            return;
        }
        self.deadline = None;
        self.brain.handle(self.seen, Input::Tick);
    }

    /// Asks the rings what they dropped, before anything is given up for lost.
    fn count(&mut self) {
        let due = self.turn_began >= self.counting_due;
        if due {
            self.counting_due = self.turn_began + COUNTING;
        }
        for tap in self.vantages.receivers() {
            let Ok((packets, drops)) = tap.counts() else { continue };
            let known = self.drops.insert(tap.id(), drops);
            if due || known.unwrap_or_default() < drops {
                let input = Input::CaptureCounts { tap: tap.id(), packets, drops };
                self.brain.handle(self.seen, input);
            }
        }
    }

    fn keep_house(&mut self) {
        let now = self.clock.now();
        if now < self.housekeeping_due {
            return;
        }
        self.housekeeping_due = now + HOUSEKEEPING;
        for (id, state) in self.vantages.check(&self.ports, &self.clock) {
            self.brain.handle(self.seen, Input::Vantage(id, state));
        }
    }

    /// Does everything that the monitor wants done, and sends what the sweep has due.
    fn perform(&mut self) {
        self.obey();
        for _ in 0..BURSTS_PER_TURN {
            if self.burst_due.is_none_or(|due| due > self.seen) {
                break;
            }
            self.burst_due = self.brain.poll_burst(self.seen, &mut self.burst);
            if !self.burst.is_empty() {
                self.send_burst();
                self.read_taps();
            }
            self.obey();
        }
    }

    fn send_burst(&mut self) {
        let Self { brain, clock, vantages, burst, seen, .. } = self;
        vantages.send_burst(burst, clock, |flight, error| {
            brain.handle(*seen, Input::SendFailed { flight, error });
        });
        burst.clear();
    }

    /// Does what the monitor wants done now.
    fn obey(&mut self) {
        loop {
            match self.brain.poll() {
                Output::Wait(deadline) => {
                    self.deadline = deadline;
                    self.asked = self.turn_began;
                    return;
                }
                // Its rows begin; and whatever else is told may hurry some.
                Output::OpenVantage(id, vantage) => {
                    self.burst_due = Some(self.seen);
                    let state = self.vantages.open(id, *vantage, &self.ports, &self.clock);
                    self.brain.handle(self.seen, Input::Vantage(id, state));
                }
                Output::CloseVantage(id) => self.vantages.close(id),
                Output::Send(order) => self.send(&order),
                Output::Connect(order) => self.connect(order),
                Output::Look(order) => self.look(order),
                Output::Resolve(order) => self.resolve(order),
                Output::Event(event) => self.tell(*event),
            }
        }
    }

    /// A verdict comes again with the next survey; a step of an incident does not.
    fn tell(&self, event: Event) {
        let shared = &self.ends.shared;
        let Event::Incident(update) = event else {
            if self.ends.events.try_send(Box::new(event)).is_err() {
                Shared::count(&shared.lost_events);
            }
            return;
        };
        let fingerprint = update.fingerprint.clone();
        if shared.steps.push(update) {
            Shared::count(&shared.lost_events);
            tracing::error!(fingerprint, "Nobody listens: a step of an incident is left out");
        }
    }

    fn send(&mut self, order: &SendOrder) {
        if let Err(error) = self.vantages.send(order, &self.clock) {
            let flight = order.flight;
            self.brain.handle(self.seen, Input::SendFailed { flight, error });
        }
    }

    fn connect(&mut self, order: Box<ConnectOrder>) {
        let flight = order.flight;
        let Some(vantage) = self.vantages.get(order.vantage) else {
            self.fail_connect(flight, LocalError::VantageGone);
            return;
        };
        let job = connect::Job { order, place: vantage.place.clone() };
        if self.ends.connects.try_send(job).is_err() {
            Shared::count(&self.ends.shared.refused_orders);
            self.fail_connect(flight, LocalError::Exhausted);
        }
    }

    fn fail_connect(&mut self, flight: Flight, error: LocalError) {
        let report = Box::new(connect::failed(error));
        self.brain.handle(self.seen, Input::Connected { flight, report });
    }

    fn look(&mut self, order: Box<RdpOrder>) {
        let flight = order.flight;
        let error = match self.vantages.get(order.vantage) {
            None => LocalError::VantageGone,
            Some(vantage) => {
                let place = vantage.place.clone();
                match self.ends.looks.try_send(connect::rdp::Job { order, place }) {
                    Ok(()) => return,
                    Err(_) => LocalError::Exhausted,
                }
            }
        };
        Shared::count(&self.ends.shared.refused_orders);
        let look = Box::new(connect::rdp::failed(error));
        self.brain.handle(self.seen, Input::Looked { flight, look });
    }

    fn resolve(&mut self, order: ResolveOrder) {
        let query = order.query;
        let result = match self.vantages.get(order.vantage) {
            None => Some(Resolution::ResolverDead),
            Some(vantage) => {
                let servers = vantage.spec.resolvers.clone();
                let job = resolver::Job { order, place: vantage.place.clone(), servers };
                self.ends.resolves.try_send(job).is_err().then_some(Resolution::Timeout)
            }
        };
        if let Some(result) = result {
            Shared::count(&self.ends.shared.refused_orders);
            self.brain.handle(self.seen, Input::Resolved { query, result });
        }
    }

    /// Captures the ports of a new plan too; ports of the old one do no harm.
    fn watch_ports(&mut self, targets: &[Target], canaries: &[Canary]) {
        let before = self.ports.len();
        for target in targets.iter().filter(|target| target.service.has_port()) {
            self.ports.insert(target.port);
            self.ports.extend(target.canary_port);
            self.ports.extend(&target.control_ports);
            self.ports.extend(&target.alternate_ports);
        }
        self.ports.extend(canaries.iter().map(|canary| canary.port));
        if self.ports.len() == before {
            return;
        }
        for tap in self.vantages.receivers() {
            if let Err(error) = tap.set_ports(&self.ports) {
                tracing::error!(%error, "the capture filter cannot be replaced");
            }
        }
    }
}

/// Says at the thread's end that it ended.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
    }
}
