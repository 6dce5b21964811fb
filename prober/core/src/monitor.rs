//! The whole prober as one state machine: what happens goes in with its time, what is to be done
//! and told comes out.
//!
//! The driver calls [`Monitor::handle`] for every input and then [`Monitor::poll`] until it says
//! [`Output::Wait`]. One owner, no locks, no clock.

mod alarm;
mod answers;
mod changes;
mod chores;
mod emit;
mod flights;
mod groups;
mod incidents;
mod judging;
mod lasting;
mod learning;
mod looks;
mod naming;
mod neighbourhood;
mod numbers;
mod owners;
mod planning;
mod proxy;
mod queries;
mod queue;
mod rdp;
mod recurrence;
mod refusals;
mod resets;
mod resumed;
mod spells;
mod standing;
mod timers;
mod view;
mod watch;
mod witnesses;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budgets;
use crate::evidence::rdp::RdpLook;
use crate::evidence::{Answer, ConnectReport, LocalError};
use crate::incident::{AlertKind, IncidentUpdate, Opening};
use crate::judge::Class;
use crate::plan::{Budget, Plan, PlanChange};
use crate::report::TargetReport;
use crate::secret::Secret;
use crate::sweep::{Heard, Sweep, Token};
use crate::target::{FamilyChoice, Service, TargetName};
use crate::time::{Instant, Stamp};
use crate::vantage::{Mode, Vantage, VantageId};
use crate::wire::packet::{Checksums, Packet};
use crate::wording::Wording;

use self::chores::Chores;
pub use self::emit::{ProbePacket, SendOrder};
pub use self::flights::FIRST_PORT;
use self::flights::Flights;
use self::owners::Owners;
use self::queries::Queries;
use self::queue::Queue;
pub use self::rdp::RdpOrder;
pub use self::resumed::RestoredGroup;
use self::standing::VantageWatch;
use self::timers::{Timer, Timers};
use self::watch::TargetWatch;

/// One probe in flight; the token hidden in its packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flight {
    /// A survey's, numbered as they come.
    Survey(u32),
    /// The sweep's.
    Sweep(Token),
}

/// One capture ring, or the raw sockets in its place; vantages of one network namespace share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TapId(pub u16);

/// One question to a resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub u32);

/// Everything that can happen to the monitor.
#[derive(Debug)]
pub enum Input<'a> {
    /// A new plan is in force: the difference to the old one is applied.
    Plan(Box<Plan>),
    /// The plan changes by this; what it does not name goes on as it is.
    Change(Box<PlanChange>),
    /// A vantage was opened, or could not be.
    Vantage(VantageId, VantageState),
    /// A capture ring saw a packet.
    Captured(Captured<'a>),
    /// A socket (not a ring) learnt a probe's fate.
    Answered {
        /// The probe.
        flight: Flight,
        /// When it was sent, if known.
        sent: Option<Stamp>,
        /// What came.
        answer: Answer,
        /// When it came.
        at: Stamp,
    },
    /// The kernel refused to send a probe.
    SendFailed {
        /// The probe.
        flight: Flight,
        /// Why.
        error: LocalError,
    },
    /// A full connection ended.
    Connected {
        /// The probe.
        flight: Flight,
        /// How.
        report: Box<ConnectReport>,
    },
    /// A look at an RDP server ended.
    Looked {
        /// The probe.
        flight: Flight,
        /// What it showed.
        look: Box<RdpLook>,
    },
    /// A name was resolved, or could not be.
    Resolved {
        /// The question.
        query: QueryId,
        /// The answer.
        result: Resolution,
    },
    /// A ring's counters since it was opened.
    CaptureCounts {
        /// The ring.
        tap: TapId,
        /// Packets delivered.
        packets: u64,
        /// Packets dropped.
        drops: u64,
    },
    /// The driver woke this much later than it asked for.
    Lag(Duration),
    /// The wall clock was stepped by about this much.
    ClockStep(Duration),
    /// What was learnt of a healthy target in an earlier run.
    Baseline {
        /// Whose.
        target: TargetName,
        /// Seen from where.
        vantage: String,
        /// What was learnt.
        baseline: Baseline,
    },
    /// An incident that was firing when an earlier run ended.
    Firing {
        /// Whose.
        target: TargetName,
        /// Its kind.
        kind: AlertKind,
        /// The class at opening.
        class: Class,
        /// The last version told.
        version: u64,
        /// What stays as it was told.
        opening: Box<Opening>,
    },
    /// A group's incident that was firing when an earlier run ended; its members' come first.
    FiringGroup(Box<RestoredGroup>),
    /// Surveys end now with what they have; only a one-shot check asks for it.
    Conclude,
    /// Time passed.
    Tick,
}

/// Whether and how a vantage can probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VantageState {
    /// It is open.
    Up {
        /// How much it can see.
        mode: Mode,
        /// Its ring, or what stands in for it; `None` where sockets tell the fates.
        tap: Option<TapId>,
    },
    /// It cannot be opened, or was closed.
    Down {
        /// Why, as evidence.
        error: LocalError,
        /// Why, for people.
        detail: Wording,
    },
}

/// A packet as a ring saw it.
#[derive(Debug, Clone, Copy)]
pub struct Captured<'a> {
    /// Which ring.
    pub tap: TapId,
    /// On which interface; copies of one packet on lower devices differ in it.
    pub interface: u32,
    /// Whether it left or came.
    pub direction: Direction,
    /// When; by the kernel, except for what left in [`Mode::RawStamps`].
    pub at: Stamp,
    /// Whether the kernel says that checksums are final, so that they may be judged.
    pub checksums_final: bool,
    /// The bytes from the network header on.
    pub bytes: &'a [u8],
}

/// Which way a captured packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From us (`PACKET_OUTGOING`).
    Sent,
    /// To us (`PACKET_HOST`).
    Received,
}

/// What a resolver said about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// All addresses of the name, and how long they may be believed.
    Addresses {
        /// In the resolver's order.
        addresses: Vec<IpAddr>,
        /// The smallest time to live.
        ttl: Duration,
    },
    /// The resolver lives and says there is no such name, or it has no address.
    NoSuchName,
    /// The resolver lives and says it failed.
    ServerFailure,
    /// Nothing came for this name, while the resolver answered for something else.
    Timeout,
    /// The resolver answers for nothing: our side.
    ResolverDead,
}

/// Everything the monitor can ask for.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Open these vantages and report their state; sent at the start and when a plan changes them.
    OpenVantage(VantageId, Box<Vantage>),
    /// Close this vantage.
    CloseVantage(VantageId),
    /// Send one packet.
    Send(SendOrder),
    /// Make one full connection.
    Connect(Box<ConnectOrder>),
    /// Look at an RDP server.
    Look(Box<RdpOrder>),
    /// Resolve a name.
    Resolve(ResolveOrder),
    /// Tell the world.
    Event(Box<Event>),
    /// Nothing more until an input, or until this moment.
    Wait(Option<Instant>),
}

/// One full connection to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectOrder {
    /// The probe, to name in [`Input::Connected`].
    pub flight: Flight,
    /// From where.
    pub vantage: VantageId,
    /// To whom.
    pub to: SocketAddr,
    /// What to say and to expect once connected.
    pub service: Service,
    /// For `Service::Tcp`: bytes it must greet with.
    pub expect_banner: Option<String>,
    /// For `Service::Tcp`: bytes to send.
    pub send: Option<String>,
    /// Limit of the handshake.
    pub connect_timeout: Duration,
    /// Limit of the service's answer after that.
    pub service_timeout: Duration,
}

/// One name to resolve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveOrder {
    /// The question, to name in [`Input::Resolved`].
    pub query: QueryId,
    /// From where, so that each vantage gets its own answer.
    pub vantage: VantageId,
    /// The name.
    pub host: String,
    /// Which record types to ask for.
    pub family: FamilyChoice,
}

/// Everything the monitor can tell.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A target was judged; told when the class changes and at the end of every survey.
    Judged {
        /// Who.
        target: TargetName,
        /// The class before.
        before: Class,
        /// The verdict with its evidence.
        report: Arc<TargetReport>,
    },
    /// An incident changed.
    Incident(Box<IncidentUpdate>),
    /// A vantage's standing changed.
    VantageHealth {
        /// Who.
        vantage: String,
        /// Whether its evidence is believed.
        healthy: bool,
        /// Why not.
        reason: Option<String>,
    },
    /// A healthy state worth keeping over restarts.
    Baseline {
        /// Whose.
        target: TargetName,
        /// Seen from where.
        vantage: String,
        /// What was learnt.
        baseline: Baseline,
    },
    /// An invariant of ours broke; the part concerned was dropped and we go on.
    Bug {
        /// Which one.
        id: &'static str,
    },
}

/// What a target looks like while it is healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Baseline {
    /// Whether it answers echo.
    pub echo_answered: bool,
    /// Routers passed by its answers, guessed from their hop limit.
    pub distance: Option<u8>,
    /// Smallest hop limit that reaches it.
    pub path_length: Option<u8>,
    /// The furthest router that answered on the way to it.
    pub last_router: Option<u8>,
    /// The smallest round trip of its echoes, or of its port where it echoes nothing.
    pub rtt: Option<Duration>,
    /// What its canary port does.
    pub closed_port: Option<ClosedPort>,
    /// How long its service usually takes for its first answer, at the upper end.
    pub service_time: Option<Duration>,
    /// SHA-256 of the certificate that its RDP service shows.
    pub certificate: Option<[u8; 32]>,
}

/// What a port does on which nothing listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedPort {
    /// It resets, as hosts do.
    Answers,
    /// Nothing comes back: stealth, or a filter.
    Silent,
}

/// Whether the monitor watches for ever or looks once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The daemon: sweep, surveys on suspicion, incidents.
    Watch,
    /// `reachd check`: one survey per target, vantage and address, then a verdict.
    Once,
}

/// Outputs waiting for the driver at most; beyond this, events are dropped and counted.
const OUTPUTS: usize = 1 << 16;

/// A driver that is later than this may have missed something (DESIGN section 7).
const LAG_MAX: Duration = Duration::from_millis(50);
/// The whole prober.
#[derive(Debug)]
pub struct Monitor {
    purpose: Purpose,
    /// How long one look may take.
    patience: Duration,
    secret: Secret,
    limits: Budget,
    sweep: Sweep,
    owners: Owners,
    queue: Queue,
    neighbourhood: neighbourhood::Neighbourhood,
    groups: groups::Groups,
    chores: Chores,
    decoys: proxy::Decoys,
    flights: Flights,
    resets: resets::Resets,
    /// Connections that were ended, until the ring has had time to show by whom.
    unheard: VecDeque<(Instant, Flight, Box<ConnectReport>)>,
    budgets: Budgets,
    vantages: BTreeMap<VantageId, VantageWatch>,
    targets: BTreeMap<TargetName, TargetWatch>,
    timers: Timers,
    outputs: VecDeque<Output>,
    queries: Queries,
    /// What the numbers page lists, made anew when views came or went.
    directory: std::cell::RefCell<Option<numbers::Directory>>,
    now: Instant,
    next_query: u32,
    next_survey: u64,
    next_vantage: u16,
    /// When the driver was last too late, and by how much.
    worst_lag: (Instant, Duration),
    disturbed: Disturbances,
    bugs: BTreeMap<&'static str, u64>,
}

/// When our own side was last disturbed; samples that overlap are invalid.
#[derive(Debug, Default)]
struct Disturbances {
    lag: Option<Instant>,
    clock: Option<Instant>,
    drops: BTreeMap<TapId, Instant>,
}

impl Monitor {
    /// A monitor without a plan; `seed` must be random, for answers are proven by it.
    pub fn new(purpose: Purpose, seed: [u64; 2]) -> Self {
        let secret = Secret::new(seed);
        Self {
            purpose,
            patience: Duration::ZERO,
            secret,
            limits: Budget::default(),
            sweep: Sweep::new(secret),
            owners: Owners::default(),
            queue: Queue::default(),
            neighbourhood: neighbourhood::Neighbourhood::default(),
            groups: groups::Groups::default(),
            chores: Chores::default(),
            decoys: proxy::Decoys::default(),
            flights: Flights::new(secret),
            resets: resets::Resets::default(),
            unheard: VecDeque::new(),
            budgets: Budgets::new(Budget::default(), Instant::ZERO),
            vantages: BTreeMap::new(),
            targets: BTreeMap::new(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            queries: Queries::default(),
            directory: std::cell::RefCell::new(None),
            now: Instant::ZERO,
            next_query: 0,
            next_survey: 0,
            next_vantage: 0,
            worst_lag: (Instant::ZERO, Duration::ZERO),
            disturbed: Disturbances::default(),
            bugs: BTreeMap::new(),
        }
    }

    /// Lets one look take this long; from a minute on it has time for a rate sweep.
    pub const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Takes one input. What is due by `now` is done as well.
    pub fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.now = now;
        match input {
            Input::Plan(plan) => self.handle_plan(now, *plan),
            Input::Change(change) => self.handle_change(now, *change),
            Input::Vantage(vantage, state) => self.handle_vantage(now, vantage, state),
            Input::Captured(captured) => self.handle_captured(now, &captured),
            Input::Answered { flight, sent, answer, at } => {
                self.handle_answered(now, flight, (sent, answer, Some(at)));
            }
            Input::SendFailed { flight, error } => self.handle_send_failed(now, flight, error),
            Input::Connected { flight, report } => self.handle_connected(now, flight, report),
            Input::Looked { flight, look } => self.handle_looked(now, flight, *look),
            Input::Resolved { query, result } => self.handle_resolved(now, query, result),
            Input::CaptureCounts { tap, packets, drops } => {
                self.handle_capture_counts(now, tap, (packets, drops));
            }
            Input::Lag(lag) => self.handle_lag(now, lag),
            Input::ClockStep(_) => {
                self.disturbed.clock = Some(now);
                self.sweep.note_clock_step(now);
            }
            Input::Baseline { target, vantage, baseline } => {
                self.handle_baseline(&target, &vantage, baseline);
            }
            Input::Firing { target, kind, class, version, opening } => {
                self.handle_firing(now, &target, kind, (class, version, *opening));
            }
            Input::FiringGroup(group) => self.handle_firing_group(*group),
            Input::Conclude => self.conclude(now),
            Input::Tick => {}
        }
        self.run_due(now);
    }

    /// Gives the next thing to do or to tell.
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let next = [
            self.timers.next(),
            self.flights.next_deadline(),
            self.resets.next(),
            self.unheard.front().map(|(at, ..)| *at),
            self.chores.next(self.now),
        ];
        Output::Wait(next.into_iter().flatten().min())
    }

    /// Appends the sweep's probes that are due, a burst at most; gives when to ask again, which is
    /// at once while there are more.
    ///
    /// The driver asks whenever that moment has come, and sends before it asks again.
    pub fn poll_burst(&mut self, now: Instant, burst: &mut Vec<SendOrder>) -> Option<Instant> {
        if self.purpose == Purpose::Once {
            return None;
        }
        self.now = now;
        self.sweep.poll_burst(now, &mut self.budgets, burst);
        if self.handle_changes(now) {
            self.run_due(now);
        }
        self.sweep.next_wake()
    }

    /// Takes a packet: the sweep's own find their row at once, all else is a survey's or nobody's.
    fn handle_captured(&mut self, now: Instant, captured: &Captured<'_>) {
        let checksums = if captured.checksums_final { Checksums::Verify } else { Checksums::Skip };
        let Ok(packet) = Packet::parse(captured.bytes, checksums) else { return };
        let heard = self.sweep.handle_packet(captured, &packet);
        if heard == Heard::Ours {
            return;
        }
        self.note_reset(captured, &packet);
        let known = self.flights.unmatched();
        let report = self.flights.handle_packet(captured, &packet);
        if heard == Heard::Doubtful {
            // A survey may ask on a flow of the sweep; what proves nothing is counted once.
            self.sweep.take_back_doubt(report.is_some());
            self.flights.set_unmatched(known);
        }
        if let Some(report) = report {
            self.await_reset(now, report.key.vantage, captured, &packet);
            self.deliver(now, report);
        }
    }

    fn tell(&mut self, event: Event) {
        if self.outputs.len() < OUTPUTS {
            self.outputs.push_back(Output::Event(Box::new(event)));
        } else {
            *self.bugs.entry("outputs_full").or_default() += 1;
        }
    }

    fn handle_lag(&mut self, now: Instant, lag: Duration) {
        self.worst_lag = (now, lag);
        // Whoever was that late may have been away when an answer came: a silence proves nothing.
        if lag > LAG_MAX {
            self.disturbed.lag = Some(now);
            self.sweep.note_lag(now);
        }
    }
}
