//! A light world: answers without packets, for a monitor with very many targets.
//!
//! Where the question is how the monitor bears numbers, the network need not be more than a
//! function of address and time. Probes are answered as sockets would answer them, so that no
//! packet is written or read; everything else is the real monitor in virtual time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::{Answer, ConnectReport, ConnectResult, ServiceAnswer, TcpAnswer};
use reachd_core::monitor::{
    ConnectOrder, Event, Flight, Input, Monitor, Output, ProbePacket, Purpose, SendOrder,
    VantageState,
};
use reachd_core::plan::Plan;
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::Mode;

/// How long every answer takes.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// The hop limit that reaches every target.
const HOPS: u8 = 8;

/// An address that nobody has (RFC 5737): who answers for it answers for everybody.
const NOBODY: [u8; 4] = [192, 0, 2, 1];

/// Whether a probe sent to an address at a moment is answered; of echo alone, in a second one.
pub type Answers = Box<dyn FnMut(IpAddr, Instant) -> bool>;

/// A monitor in a light world.
pub struct Light {
    /// The prober.
    pub monitor: Monitor,
    /// The virtual time.
    pub now: Instant,
    /// Everything told but verdicts, in order.
    pub told: Vec<(Instant, Event)>,
    /// Verdicts by class.
    pub judged: BTreeMap<String, u64>,
    /// Packets ordered, by second.
    pub packets: BTreeMap<u64, u64>,
    answers: Answers,
    echoes: Answers,
    connects: Vec<(Instant, Flight, ConnectReport)>,
    burst: Vec<SendOrder>,
}

impl std::fmt::Debug for Light {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Light").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Light {
    /// A monitor that watches this plan where `answers` says who answers.
    pub fn new(seed: u64, plan: &Plan, answers: Answers) -> Self {
        let mut light = Self {
            monitor: Monitor::new(Purpose::Watch, [seed, !seed]),
            now: Instant::from_nanos(1_000_000_000),
            told: Vec::new(),
            judged: BTreeMap::new(),
            packets: BTreeMap::new(),
            answers,
            echoes: Box::new(|_, _| true),
            connects: Vec::new(),
            burst: Vec::new(),
        };
        light.monitor.handle(light.now, Input::Plan(Box::new(plan.clone())));
        light
    }

    /// Who answers from now on.
    pub fn set_answers(&mut self, answers: Answers) {
        self.answers = answers;
    }

    /// Which echoes are answered, of those that would be.
    pub fn set_echoes(&mut self, echoes: Answers) {
        self.echoes = echoes;
    }

    /// Lets this much time pass in which the prober does nothing, and then finds that it was late.
    pub fn stall(&mut self, time: Duration) {
        self.now = self.now + time;
        self.monitor.handle(self.now, Input::Lag(time));
    }

    /// Lets this much time pass.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wake = self.drain();
            let connected = self.connects.first().map(|(at, _, _)| *at);
            let next = [wake, connected].into_iter().flatten().min().unwrap_or(end);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next.max(self.now);
            while self.connects.first().is_some_and(|(at, _, _)| *at <= self.now) {
                let (_, flight, report) = self.connects.remove(0);
                let report = Box::new(report);
                self.monitor.handle(self.now, Input::Connected { flight, report });
            }
            self.monitor.handle(self.now, Input::Tick);
        }
    }

    /// Does all the monitor asks for; gives when it wants to be woken.
    fn drain(&mut self) -> Option<Instant> {
        loop {
            let output = self.monitor.poll();
            let Output::Wait(at) = output else {
                self.obey(output);
                continue;
            };
            let mut burst = std::mem::take(&mut self.burst);
            let again = self.monitor.poll_burst(self.now, &mut burst);
            let sent = !burst.is_empty();
            burst.drain(..).for_each(|order| self.send(&order));
            self.burst = burst;
            if !sent && again.is_none_or(|again| again > self.now) {
                match self.monitor.poll() {
                    Output::Wait(_) => return at.into_iter().chain(again).min(),
                    output => self.obey(output),
                }
            }
        }
    }

    fn obey(&mut self, output: Output) {
        match output {
            Output::OpenVantage(id, _) => {
                let state = VantageState::Up { mode: Mode::Sockets, tap: None };
                self.monitor.handle(self.now, Input::Vantage(id, state));
            }
            Output::Send(order) => self.send(&order),
            Output::Connect(order) => self.connect(&order),
            Output::Event(event) => match *event {
                Event::Judged { report, .. } => {
                    *self.judged.entry(report.verdict.class.clone()).or_default() += 1;
                }
                event => self.told.push((self.now, event)),
            },
            Output::CloseVantage(_) | Output::Look(_) | Output::Resolve(_) | Output::Wait(_) => {}
        }
    }

    fn send(&mut self, order: &SendOrder) {
        *self.packets.entry(self.now.as_nanos() / 1_000_000_000).or_default() += 1;
        // Routers stay mute: paths are not what is asked here, but they lead there.
        let nobody = order.to == IpAddr::from(NOBODY);
        if order.ttl < HOPS || nobody || !(self.answers)(order.to, self.now) {
            return;
        }
        let is_echo =
            matches!(order.what, ProbePacket::Echo { .. } | ProbePacket::SizedEcho { .. });
        if is_echo && !(self.echoes)(order.to, self.now) {
            return;
        }
        let facts = TcpAnswer { ttl: Some(57), window: Some(64_240), ip_id: Some(1) };
        let answer = match order.what {
            ProbePacket::Echo { .. } | ProbePacket::SizedEcho { .. } => {
                Answer::EchoReply { ttl: Some(57) }
            }
            ProbePacket::Syn { .. } | ProbePacket::Connect { .. } => Answer::SynAck(facts),
            ProbePacket::Segment { .. } | ProbePacket::Reset { .. } => return,
        };
        let stamp = |at| Stamp { at, source: StampSource::Kernel };
        let (sent, at) = (Some(stamp(self.now)), stamp(self.now + ROUND_TRIP));
        let flight = order.flight;
        self.monitor.handle(self.now, Input::Answered { flight, sent, answer, at });
    }

    fn connect(&mut self, order: &ConnectOrder) {
        let answered = (self.answers)(order.to.ip(), self.now);
        let (result, after) = match answered {
            true => (ConnectResult::Connected, ROUND_TRIP),
            false => (ConnectResult::TimedOut, order.connect_timeout),
        };
        let report = ConnectReport {
            result,
            handshake: answered.then_some(ROUND_TRIP),
            retransmits: answered.then_some(0),
            service: answered.then_some(ServiceAnswer::NotAsked),
            service_time: None,
            local_port: Some(40_000),
        };
        let at = self.now + after;
        let place = self.connects.partition_point(|(known, _, _)| *known <= at);
        self.connects.insert(place, (at, order.flight, report));
    }
}
