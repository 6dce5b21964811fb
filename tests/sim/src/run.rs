//! The driver: does what the monitor asks for in virtual time, and watches it.
#![expect(clippy::panic, reason = "a checker that finds a fault must stop the test")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use reachd_core::evidence::rdp::RdpLook;
use reachd_core::evidence::{ConnectReport, LocalError};
use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_core::monitor::{
    Captured, ConnectOrder, Direction, Event, Flight, Input, Monitor, Output, ProbePacket, Purpose,
    QueryId, RdpOrder, Resolution, ResolveOrder, SendOrder, TapId, VantageState,
};
use reachd_core::plan::Plan;
use reachd_core::sweep::BURST;
use reachd_core::target::FamilyChoice;
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, VantageId};
use reachd_core::wire::packet::{Body, Checksums, Packet};
use reachd_core::wire::reply::{Stack, emit_rst_ack};
use reachd_core::wording::Wording;

use crate::check::Checker;
use crate::forge::forge;
use crate::world::{LocalFault, Name, World};

/// The interface packets are seen on, and a lower device that sees copies.
const INTERFACE: u32 = 2;
const LOWER: u32 = 3;
/// Books are checked this often.
const AUDIT: Duration = Duration::from_secs(30);
/// A ring hands packets on in blocks that wait so long at most. Probes are seen at once here, as if
/// each filled a block, and the packets of connections as late as can be.
const AT_ONCE: Duration = Duration::ZERO;
const BLOCK: Duration = Duration::from_millis(20);
/// No single input may draw more outputs than this.
const OUTPUTS: usize = 20_000;

/// A monitor in a virtual world.
#[derive(Debug)]
pub struct Run {
    /// The network, free to be changed between steps.
    pub world: World,
    /// The prober.
    pub monitor: Monitor,
    /// The virtual time.
    pub now: Instant,
    /// Everything told, in order.
    pub told: Vec<(Instant, Event)>,
    /// The outside checker.
    pub checker: Checker,
    /// Every look at an RDP server, in the order in which they began.
    pub looks: Vec<Looked>,
    /// Every order of a packet, if wanted.
    pub orders: Option<Vec<(Instant, SendOrder)>>,
    /// How often a captured answer is dropped by the ring.
    pub capture_loss: f64,
    /// Whether a lower device's copies are captured as well.
    pub copies: bool,
    /// How often an attacker answers a probe with forgeries.
    pub forgeries: f64,
    /// Whether the books are audited on the way; off where attempts are forgotten on purpose.
    pub audits: bool,
    /// Whether what is told is checked; off where nonsense is handed in.
    pub checked: bool,
    /// Packets that came back, if wanted; the last hundred.
    pub kept: Option<Vec<Vec<u8>>>,
    /// Whether the vantages' kernels reset what raw SYNs began.
    pub kernel_resets: bool,
    /// Whether the driver never tells how full connections end.
    pub forgets_connects: bool,
    /// Why no vantage can be opened, if so.
    pub shut: Option<LocalError>,
    /// Whether a transcript is kept; off where very many runs are only judged.
    pub transcribes: bool,
    vantages: BTreeMap<VantageId, String>,
    counts: BTreeMap<TapId, (u64, u64)>,
    queue: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    audited: Instant,
    transcript: Transcript,
    burst: Vec<SendOrder>,
}

/// A look at an RDP server.
#[derive(Debug, Clone)]
pub struct Looked {
    /// When it began.
    pub began: Instant,
    /// When it ended.
    pub ended: Instant,
    /// What it showed.
    pub look: RdpLook,
}

#[derive(Debug)]
enum Happening {
    Vantage(VantageId, VantageState),
    Captured { tap: TapId, interface: u32, direction: Direction, seen: Instant, bytes: Vec<u8> },
    SendFailed(Flight, LocalError),
    Connected(Flight, Box<ConnectReport>),
    Looked(Flight, Box<RdpLook>),
    Resolved(QueryId, Resolution),
    Counts(TapId),
}

/// A hash over everything the monitor said, and when (FNV-1a).
#[derive(Debug)]
struct Transcript(u64);

impl std::fmt::Write for Transcript {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

impl Run {
    /// A monitor for this purpose in this world.
    pub fn new(purpose: Purpose, seed: u64, world: World) -> Self {
        Self {
            world,
            monitor: Monitor::new(purpose, [seed, !seed]),
            now: Instant::from_nanos(1_000_000_000),
            told: Vec::new(),
            checker: Checker::default(),
            looks: Vec::new(),
            orders: None,
            capture_loss: 0.0,
            copies: false,
            forgeries: 0.0,
            audits: true,
            checked: true,
            kept: None,
            kernel_resets: true,
            forgets_connects: false,
            shut: None,
            transcribes: true,
            vantages: BTreeMap::new(),
            counts: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            audited: Instant::ZERO,
            transcript: Transcript(0xcbf2_9ce4_8422_2325),
            burst: Vec::new(),
        }
    }

    /// Hands the monitor an input now, and does what it asks for.
    pub fn input(&mut self, input: Input<'_>) {
        self.monitor.handle(self.now, input);
        self.drain();
    }

    /// Puts a plan in force.
    pub fn plan(&mut self, plan: &Plan) {
        self.input(Input::Plan(Box::new(plan.clone())));
    }

    /// Lets time pass up to this moment.
    pub fn until(&mut self, end: Instant) {
        self.while_told(end, |_| false);
    }

    /// Lets this much time pass.
    pub fn pass(&mut self, time: Duration) {
        self.until(self.now + time);
    }

    /// Lets time pass until an event is the one looked for; gives how long that took.
    pub fn wait(&mut self, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Option<Duration> {
        let began = self.now;
        self.while_told(began + limit, wanted).then(|| self.now.since(began))
    }

    /// A hash over the transcript.
    pub const fn digest(&self) -> u64 {
        self.transcript.0
    }

    /// Incident steps told from this moment on.
    pub fn incidents(&self, since: Instant) -> Vec<&IncidentUpdate> {
        let told = self.told.iter().filter(|(at, _)| *at >= since);
        told.filter_map(|(_, event)| match event {
            Event::Incident(update) => Some(update.as_ref()),
            _ => None,
        })
        .collect()
    }

    /// The incident steps of this state from this moment on.
    pub fn steps(&self, since: Instant, state: IncidentState) -> Vec<&IncidentUpdate> {
        let mut steps = self.incidents(since);
        steps.retain(|update| update.state == state && update.notify);
        steps
    }

    /// A packet arrives at a vantage out of nowhere.
    pub fn inject(&mut self, vantage: &str, bytes: Vec<u8>) {
        let tap = self.tap(vantage);
        self.show(self.now, (tap, INTERFACE, Direction::Received), (self.now, bytes));
    }

    /// A vantage goes down, or comes up again.
    pub fn set_vantage(&mut self, vantage: &str, down: Option<LocalError>) {
        let found = self.vantages.iter().find(|(_, name)| *name == vantage).map(|(id, _)| *id);
        let Some(id) = found else { return };
        let state = match down {
            Some(error) => VantageState::Down {
                error,
                detail: Wording::new("the interface is gone", "网卡不存在"),
            },
            None => VantageState::Up { mode: Mode::Raw, tap: Some(self.tap(vantage)) },
        };
        self.input(Input::Vantage(id, state));
    }

    fn tap(&self, vantage: &str) -> TapId {
        let at = self.world.places.keys().position(|name| name == vantage).unwrap_or(99);
        TapId(u16::try_from(at).unwrap_or(u16::MAX))
    }

    fn while_told(&mut self, end: Instant, wanted: impl Fn(&Event) -> bool) -> bool {
        let mut seen = self.told.len();
        loop {
            let wait = self.drain();
            if self.told.iter().skip(seen).any(|(_, event)| wanted(event)) {
                return true;
            }
            seen = self.told.len();
            let happening = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(next) = [wait, happening].into_iter().flatten().min().filter(|at| *at <= end)
            else {
                self.now = end.max(self.now);
                return false;
            };
            self.now = next.max(self.now);
            match self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
                Some(entry) => {
                    let happening = entry.remove();
                    self.bring(happening);
                }
                None => self.monitor.handle(self.now, Input::Tick),
            }
        }
    }

    fn bring(&mut self, happening: Happening) {
        let now = self.now;
        let input = match &happening {
            Happening::Vantage(id, state) => Input::Vantage(*id, state.clone()),
            Happening::Captured { tap, interface, direction, seen, bytes } => {
                Input::Captured(Captured {
                    tap: *tap,
                    interface: *interface,
                    direction: *direction,
                    at: Stamp { at: *seen, source: StampSource::Capture },
                    checksums_final: *direction == Direction::Received,
                    bytes,
                })
            }
            Happening::SendFailed(flight, error) => {
                Input::SendFailed { flight: *flight, error: *error }
            }
            Happening::Connected(flight, report) => {
                Input::Connected { flight: *flight, report: report.clone() }
            }
            Happening::Looked(flight, look) => {
                Input::Looked { flight: *flight, look: look.clone() }
            }
            Happening::Resolved(query, result) => {
                Input::Resolved { query: *query, result: result.clone() }
            }
            Happening::Counts(tap) => {
                let (packets, drops) = self.counts.get(tap).copied().unwrap_or_default();
                Input::CaptureCounts { tap: *tap, packets, drops }
            }
        };
        self.monitor.handle(now, input);
    }

    /// Does all the monitor asks for; gives when it wants to be woken.
    fn drain(&mut self) -> Option<Instant> {
        for _ in 0..OUTPUTS {
            let output = self.monitor.poll();
            if let Output::Wait(_) = output {
                let mut burst = std::mem::take(&mut self.burst);
                let again = self.monitor.poll_burst(self.now, &mut burst);
                let sent = !burst.is_empty();
                assert!(burst.len() <= BURST, "{} probes in one burst", burst.len());
                for order in burst.drain(..) {
                    self.transcribe(&order);
                    self.send(order);
                }
                self.burst = burst;
                // What the sweep told may have given the monitor something to do.
                let output = self.monitor.poll();
                let Output::Wait(at) = output else {
                    self.transcribe(&output);
                    self.obey(output);
                    continue;
                };
                if sent || again.is_some_and(|again| again <= self.now) {
                    continue;
                }
                let at = at.into_iter().chain(again).min();

                assert!(at.is_none_or(|at| at > self.now), "woken at once for ever: {at:?}");
                self.audit();
                return at;
            }
            self.transcribe(&output);
            self.obey(output);
        }
        panic!("one input drew more than {OUTPUTS} outputs");
    }

    fn transcribe(&mut self, said: &impl std::fmt::Debug) {
        if self.transcribes {
            writeln!(self.transcript, "{} {said:?}", self.now).expect("a hash takes everything");
        }
    }

    fn audit(&mut self) {
        if self.audits && self.now.since(self.audited) >= AUDIT {
            self.audited = self.now;
            self.checker.check_books(self.now, &self.monitor.snapshot());
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::OpenVantage(id, vantage) => {
                let state = match self.shut {
                    Some(error) => VantageState::Down {
                        error,
                        detail: Wording::new("not opened", "未打开"),
                    },
                    None => {
                        VantageState::Up { mode: Mode::Raw, tap: Some(self.tap(&vantage.name)) }
                    }
                };
                self.vantages.insert(id, vantage.name.clone());
                self.happen(self.now, Happening::Vantage(id, state));
            }
            Output::CloseVantage(id) => {
                self.vantages.remove(&id);
            }
            Output::Send(order) => self.send(order),
            Output::Connect(order) => self.connect(&order),
            Output::Look(order) => self.look(&order),
            Output::Resolve(order) => self.resolve(&order),
            Output::Event(event) => {
                if self.checked {
                    self.checker.told(self.now, &event);
                }
                self.told.push((self.now, *event));
            }
            Output::Wait(_) => {}
        }
    }

    fn happen(&mut self, at: Instant, happening: Happening) {
        self.next += 1;
        self.queue.insert((at, self.next), happening);
    }

    fn send(&mut self, order: SendOrder) {
        let Some(name) = self.vantages.get(&order.vantage).cloned() else { return };
        let Some(place) = self.world.places.get(&name).cloned() else { return };
        self.checker.sent(self.now, &name, &order);
        let port = match order.what {
            ProbePacket::Echo { .. } | ProbePacket::SizedEcho { .. } => None,
            ProbePacket::Syn { dest_port, .. }
            | ProbePacket::Segment { dest_port, .. }
            | ProbePacket::Reset { dest_port, .. }
            | ProbePacket::Connect { dest_port } => Some(dest_port),
        };
        let bytes = order.emit(place.address(order.to));
        if let Some(error) = place.fault.refuses(order.to, port) {
            self.happen(self.now, Happening::SendFailed(order.flight, error));
        } else if place.fault != LocalFault::Swallows
            && let Some(bytes) = bytes
        {
            let tap = self.tap(&name);
            self.capture((Duration::ZERO, AT_ONCE), (tap, Direction::Sent), &bytes);
            for delivery in self.world.carry(self.now, &name, &bytes) {
                self.capture(
                    (delivery.after, AT_ONCE),
                    (tap, Direction::Received),
                    &delivery.bytes,
                );
                // The kernel knows of no connection that this accepts, and says so.
                if let Some(reset) = refuse(&delivery.bytes).filter(|_| self.kernel_resets) {
                    let after = delivery.after + Duration::from_micros(5);
                    self.capture((after, AT_ONCE), (tap, Direction::Sent), &reset);
                }
            }
            if self.world.random.chance(self.forgeries) {
                for forged in forge(&bytes, &mut self.world.random) {
                    let after = Duration::from_micros(1_000);
                    self.capture((after, AT_ONCE), (tap, Direction::Received), &forged);
                }
            }
        }
        if let Some(orders) = &mut self.orders {
            orders.push((self.now, order));
        }
    }

    /// The ring sees a packet, and maybe its copy on a lower device, or drops it; it hands it on so
    /// much later.
    fn capture(
        &mut self,
        (after, later): (Duration, Duration),
        (tap, direction): (TapId, Direction),
        bytes: &[u8],
    ) {
        let at = self.now + after;
        if let Some(kept) = &mut self.kept {
            kept.truncate(99);
            kept.insert(0, bytes.to_vec());
        }
        let (packets, drops) = self.counts.entry(tap).or_default();
        if direction == Direction::Received && self.world.random.chance(self.capture_loss) {
            *drops += 1;
            self.happen(at + Duration::from_millis(1), Happening::Counts(tap));
            return;
        }
        *packets += 1;
        let bytes = bytes.to_vec();
        if self.copies {
            let copied = at + Duration::from_micros(40);
            self.show(copied + later, (tap, LOWER, direction), (copied, bytes.clone()));
        }
        self.show(at + later, (tap, INTERFACE, direction), (at, bytes));
    }

    fn show(
        &mut self,
        at: Instant,
        (tap, interface, direction): (TapId, u32, Direction),
        (seen, bytes): (Instant, Vec<u8>),
    ) {
        self.happen(at, Happening::Captured { tap, interface, direction, seen, bytes });
    }

    fn connect(&mut self, order: &ConnectOrder) {
        if self.forgets_connects {
            return;
        }
        let Some(name) = self.vantages.get(&order.vantage).cloned() else { return };
        let connection = self.world.connect(self.now, &name, order);
        let (at, report) = (self.now + connection.took, Box::new(connection.report));
        self.happen(at, Happening::Connected(order.flight, report));
        let tap = self.tap(&name);
        for (after, direction, bytes) in &connection.frames {
            self.capture((*after, BLOCK), (tap, *direction), bytes);
        }
    }

    fn look(&mut self, order: &RdpOrder) {
        let Some(name) = self.vantages.get(&order.vantage).cloned() else { return };
        let (took, look) = self.world.look(self.now, &name, order);
        let (began, ended) = (self.now, self.now + took);
        self.looks.push(Looked { began, ended, look: look.clone() });
        self.happen(ended, Happening::Looked(order.flight, Box::new(look)));
    }

    fn resolve(&mut self, order: &ResolveOrder) {
        let name = self.vantages.get(&order.vantage);
        let lives = name
            .and_then(|name| self.world.places.get(name))
            .is_some_and(|place| place.resolver && place.fault == LocalFault::None);
        let wanted = |address: &std::net::IpAddr| match order.family {
            FamilyChoice::Any => true,
            FamilyChoice::V4 => address.is_ipv4(),
            FamilyChoice::V6 => address.is_ipv6(),
        };
        let ttl = Duration::from_secs(10);
        let (after, result) = match self.world.names.get(&order.host) {
            _ if !lives => (4_000, Resolution::ResolverDead),
            Some(Name::Addresses(all)) => {
                let addresses = all.iter().copied().filter(wanted).collect();
                (20, Resolution::Addresses { addresses, ttl })
            }
            Some(Name::Unknown) | None => (20, Resolution::NoSuchName),
            Some(Name::Fails) => (20, Resolution::ServerFailure),
            Some(Name::TimesOut) => (4_000, Resolution::Timeout),
        };
        let at = self.now + Duration::from_millis(after);
        self.happen(at, Happening::Resolved(order.query, result));
    }
}

/// The reset that a kernel answers an unasked SYN-ACK with.
fn refuse(bytes: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(bytes, Checksums::Skip).ok()?;
    match packet.body {
        Body::Tcp(segment) if segment.flags.syn() && segment.flags.ack() => {
            emit_rst_ack(bytes, &Stack::default())
        }
        _ => None,
    }
}
