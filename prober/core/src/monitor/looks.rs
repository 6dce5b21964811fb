//! Looking: surveys that wait for their turn, what they send, and what they conclude.
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::flights::{Purpose as Errand, ViewKey};
use super::lasting::{add_up, fell_silent, put_aside, put_sizes_aside};
use super::learning::baseline_key;
use super::queue::Urgency;
use super::standing::VantageWatch;
use super::view::View;
use super::watch::fraction;
use super::{ConnectOrder, Monitor, Output, ProbePacket, Purpose, Timer};
use crate::judge::posterior::posterior_of;
use crate::judge::{Class, Sign};
use crate::probe::series::Tally;
use crate::probe::{Ask, Question};
use crate::survey::findings::Findings;
use crate::survey::ports::Ports;
use crate::survey::signs::signs;
use crate::survey::{Depth, Means, Scope, Survey, Topic, Want};
use crate::target::TargetName;
use crate::time::Instant;
use crate::vantage::{Mode, VantageId};

/// How long the handshake of a full connection may take, and the service's answer after it: as long
/// as the confirmation of a missing answer takes anyway, since a late answer tells more than none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
const SERVICE_TIMEOUT: Duration = Duration::from_secs(7);
/// The driver has this much longer to tell how a connection ended.
const CONNECT_GRACE: Duration = Duration::from_millis(1_500);
/// A look that may take this long has time for a rate sweep behind everything else.
pub(super) const PATIENT: Duration = Duration::from_secs(75);
/// How long a probe waits that nothing may be sent for now.
const NO_ROOM: Duration = Duration::from_millis(100);

impl Monitor {
    /// Looks again at every view of a target, so that all evidence is of one time.
    pub(super) fn resurvey(&mut self, now: Instant, name: &TargetName) {
        let Some(watch) = self.targets.get(name) else { return };
        if watch.canary {
            return;
        }
        let keys: Vec<_> = watch
            .views
            .iter()
            .filter(|(_, view)| view.may_survey(now))
            .map(|((vantage, address), _)| ViewKey {
                target: name.clone(),
                vantage: *vantage,
                address: *address,
            })
            .collect();
        for key in keys {
            self.want_survey(now, &key, Depth::Suspicion, Urgency::Suspicion);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Demands evidence of these views of a target that is not older than `moment`.
    pub(super) fn look_again(
        &mut self,
        (now, moment): (Instant, Instant),
        name: &TargetName,
        wanted: impl Fn(VantageId, &View) -> bool,
    ) {
        let Some(watch) = self.targets.get_mut(name).filter(|watch| !watch.canary) else { return };
        let mut keys = Vec::new();
        for ((vantage, address), view) in &mut watch.views {
            if wanted(*vantage, view) {
                view.look_again = Some(moment);
                let (target, vantage, address) = (name.clone(), *vantage, *address);
                keys.push(ViewKey { target, vantage, address });
            }
        }
        for key in keys {
            self.want_survey(now, &key, Depth::Suspicion, Urgency::Suspicion);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    /// Begins a survey, or lets it wait for its turn.
    pub(super) fn want_survey(
        &mut self,
        now: Instant,
        key: &ViewKey,
        depth: Depth,
        urgency: Urgency,
    ) {
        if self.purpose == Purpose::Once || self.queue.has_room() && self.queue.len() == 0 {
            self.begin_survey(now, key, depth);
        } else if self.may_begin(key) {
            self.queue.push(key.clone(), depth, urgency);
        }
    }

    fn may_begin(&self, key: &ViewKey) -> bool {
        let open = self.vantages.get(&key.vantage).is_some_and(VantageWatch::is_up);
        let watch = self.targets.get(&key.target);
        let view = watch.and_then(|watch| watch.views.get(&(key.vantage, key.address)));
        open && view.is_some_and(|view| view.survey.is_none())
    }

    /// Begins surveys that wait, as far as there is room.
    pub(super) fn begin_waiting(&mut self, now: Instant) {
        while self.queue.has_room()
            && let Some((key, depth)) = self.queue.pop()
        {
            self.begin_survey(now, &key, depth);
            self.timers.set(Timer::View(key), Some(now));
        }
    }

    fn begin_survey(&mut self, now: Instant, key: &ViewKey, depth: Depth) {
        if !self.may_begin(key) {
            return;
        }
        let siblings = self.siblings(key);
        let means = self.means(now, key);
        let look = self.look_scope(now, key);
        let (learning, learnt) = (self.purpose == Purpose::Watch, self.knows_closed_port(key));
        let Some(watch) = self.targets.get_mut(&key.target) else { return };
        let Some(view) = watch.views.get_mut(&(key.vantage, key.address)) else { return };
        let has_port = watch.target.service.has_port();
        let learn = learning && depth != Depth::Recheck && view.take_canary_turn(now, learnt);
        // What a look alone can see healed is not worth a connection until a look may be made.
        let idle = watch.class == Class::Certificate && look.is_none();
        let connect = has_port
            && (depth != Depth::Recheck || view.service_matters() && !idle)
            && view.may_connect(now);
        let scope = Scope {
            address: key.address,
            port: has_port.then_some(watch.target.port),
            depth,
            siblings,
            connect,
            connect_again: !view.misses_service(),
            look: look.filter(|_| connect),
            known: view.known(),
            means,
            trace: learning
                && depth == Depth::Suspicion
                && watch.class == Class::Reachable
                && view.wants_trace(now),
            loss_threshold: watch.target.loss_threshold,
            suspects: view.take_suspects(),
            ports: Ports::of(&watch.target, learn).beside(key.address),
        };
        if means.patient && self.purpose == Purpose::Watch {
            view.note_rates(now);
        }
        self.next_survey += 1;
        view.begin(now, self.next_survey, Survey::new(scope, now));
        self.queue.running += 1;
    }

    /// What a survey may do from here, and whether it has a minute.
    fn means(&self, now: Instant, key: &ViewKey) -> Means {
        let vantage = self.vantages.get(&key.vantage).and_then(VantageWatch::mode);
        let raw = vantage.is_some_and(Mode::sees_packets);
        let view = || self.targets.get(&key.target)?.views.get(&(key.vantage, key.address));
        let patient = match self.purpose {
            Purpose::Once => self.patience >= PATIENT,
            // Whoever waits in the queue must not wait for a minute more.
            Purpose::Watch => {
                self.queue.len() == 0
                    && self.is_lossy(&key.target)
                    && view().is_some_and(|view| view.may_ask_rates(now))
            }
        };
        Means { raw, patient }
    }

    pub(super) fn is_lossy(&self, name: &TargetName) -> bool {
        self.targets.get(name).is_some_and(|watch| watch.class == Class::PacketLoss)
    }

    /// Sends what the survey wants; gives how long the budget holds it back, if it does.
    pub(super) fn run_survey(&mut self, now: Instant, key: &ViewKey) -> Option<Duration> {
        loop {
            self.weigh_questions(now, key);
            let destinations = self.view(key)?.survey.as_ref()?.1.destinations();
            let waits = destinations.into_iter().map(|to| self.budgets.admit(now, to));
            if let Some(wait) = waits.filter_map(Result::err).max() {
                return Some(wait.max(self.turn(now, key)));
            }
            if !self.flights.has_room() {
                *self.bugs.entry("flights_full").or_default() += 1;
                return Some(self.turn(now, key));
            }
            let held = self.is_looked_at(key);
            let (number, want) = {
                let (number, survey) = self.view(key)?.survey.as_mut()?;
                survey.hold_look(held);
                (*number, survey.poll_want(now))
            };
            match want {
                Some(Want::Ask(part, to, ask)) => {
                    self.budgets.spend(now, to);
                    self.send(now, key, Errand::Survey { number, part, ask: ask.id }, (to, ask));
                }
                Some(Want::Connect { again }) => {
                    let view = self.view(key)?;
                    if again && !view.may_connect(now) {
                        view.survey.as_mut()?.1.handle_connect_lost();
                        continue;
                    }
                    self.budgets.spend(now, key.address);
                    self.connect(now, key, Errand::SurveyConnect(number));
                }
                Some(Want::Look(depth)) => self.look(now, key, (number, depth)),
                None => break,
            }
        }
        let findings = {
            let (_, survey) = self.view(key)?.survey.as_mut()?;
            survey.poll_findings(now)
        };
        if let Some(mut findings) = findings {
            let learnt = self.learnt(key);
            // We are no neighbour of the target: our own address answers whatever happens there.
            let own = self.flights.source(key.vantage, key.address.is_ipv4());
            findings.siblings.retain(|sibling| Some(sibling.address) != own);
            // Half of what it saw is of before. Where others wait for their look, that must do.
            let again = self.purpose == Purpose::Watch && self.queue.len() == 0;
            let ended = findings.ended;
            let spoilt = self.is_doubtful(key);
            let doubtful = spoilt || self.is_in_doubt(key, findings.started);
            let turned = findings.saw_a_turn();
            let watch = self.targets.get_mut(&key.target)?;
            let lossy = watch.loses();
            // Of a path that is known to be dead in part a split is no news.
            let chance =
                !matches!(watch.class, Class::Reachable | Class::Unknown | Class::PartialPath);
            let view = watch.views.get_mut(&(key.vantage, key.address))?;
            let mut once_more = again && (turned || fell_silent(view, &findings));
            if spoilt {
                view.findings = None;
            }
            let was_split = view.findings.as_ref().is_some_and(Findings::is_split);
            once_more |= again && was_split && !findings.is_split();
            once_more |= chance && put_aside(view, &mut findings) && again;
            if self.purpose == Purpose::Watch && put_sizes_aside(view, &mut findings) {
                once_more = true;
            }
            if lossy && !doubtful {
                once_more |= add_up(view, &mut findings) && again;
            }
            let changed = view.conclude(findings, learnt.as_ref());
            if once_more {
                view.look_again = Some(ended + Duration::from_nanos(1));
            }
            self.queue.running -= 1;
            self.after_conclusion(now, key, changed);
            self.begin_waiting(now);
        }
        None
    }

    /// Says what a survey's open questions are worth, by what it knows and what others see.
    fn weigh_questions(&mut self, now: Instant, key: &ViewKey) {
        let Some(watch) = self.targets.get(&key.target) else { return };
        let at = (key.vantage, key.address);
        let Some(view) = watch.views.get(&at) else { return };
        let Some((_, survey)) = view.survey.as_ref().filter(|(_, it)| it.wants_agenda(now)) else {
            return;
        };
        let vantage = self.vantages.get(&key.vantage).map(|vantage| &vantage.vantage.name);
        let learnt = vantage.map(|name| baseline_key(name, key.address));
        let baseline = learnt.and_then(|learnt| watch.baselines.get(&learnt));
        let target = self.as_it_stands(&watch.target, at);
        let foreseen = survey.foreseen(now);
        let seen = signs(&foreseen, &target, baseline);
        // What is lost so far is too little to claim a loss, and all the more reason to ask on.
        let partial = |tally: &Tally| tally.received() > 0 && tally.received() < tally.valid();
        let loses = [partial(&foreseen.echo), foreseen.syn.as_ref().is_some_and(partial)];
        let suspect = |sign: Sign| match (sign, loses) {
            (Sign::EchoAnswered, [true, _]) => Sign::EchoPartial,
            (Sign::SynAccepted, [_, true]) => Sign::SynPartial,
            _ => sign,
        };
        let mut known: Vec<_> = seen.into_iter().map(|seen| suspect(seen.sign)).collect();
        let others = watch.views.iter().filter(|((vantage, _), _)| *vantage != key.vantage);
        let others: Vec<_> = others.filter_map(|(_, view)| view.reachable).collect();
        if !others.is_empty() {
            let reach = others.contains(&true);
            known.push(if reach { Sign::OthersReach } else { Sign::OthersFail });
        }
        let belief = posterior_of(watch.port().is_some(), &[&known]);
        let worth = |topic: Topic| {
            let drops = topic.families().iter();
            let drops = drops.map(|family| belief.expected_drop(&known, *family));
            (topic, drops.fold(0.0, f64::max))
        };
        let worth: Vec<_> = survey.open_questions().map(worth).collect();
        if let Some((_, survey)) = self.view(key).and_then(|view| view.survey.as_mut()) {
            survey.set_agenda(now, &worth);
        }
    }

    /// Whether what was last found may tell of our own side's fault.
    pub(super) fn is_doubtful(&self, key: &ViewKey) -> bool {
        let watch = self.targets.get(&key.target);
        let view = watch.and_then(|watch| watch.views.get(&(key.vantage, key.address)));
        let found = view.and_then(|view| view.findings.as_ref());
        found.is_some_and(|found| self.is_in_doubt(key, found.started))
    }

    /// Whether a look that began then may.
    fn is_in_doubt(&self, key: &ViewKey, started: Instant) -> bool {
        let watch = self.targets.get(&key.target).zip(self.vantages.get(&key.vantage));
        watch.is_some_and(|(watch, vantage)| vantage.is_doubtful(watch.port(), started))
    }

    /// A view's findings are new: what surprises changes with them.
    pub(super) fn after_conclusion(&mut self, now: Instant, key: &ViewKey, changed: bool) {
        self.share_refusal(now, key);
        self.note_spell(key);
        if let Some(watch) = self.targets.get(&key.target)
            && let Some(view) = watch.views.get(&(key.vantage, key.address))
        {
            for (probe, row) in view.rows.all() {
                self.sweep.set_usual(row, view.expected(probe));
            }
        }
        self.restand(key);
        self.survey_ended(now, key, changed);
    }

    /// How long a view that is held back lets others go first; all asking at once for every free
    /// token would cost more than the packets do.
    fn turn(&self, now: Instant, key: &ViewKey) -> Duration {
        let draw = self.secret.hash_address(key.address, now.as_nanos(), 9);
        NO_ROOM.mul_f64(0.5 + fraction(draw))
    }

    fn send(&mut self, now: Instant, key: &ViewKey, errand: Errand, (to, ask): (IpAddr, Ask)) {
        // Where not even our own resets leave, a raw SYN would stay half open at the target.
        let is_plain = matches!(ask.what, Question::Syn { .. });
        let connects = is_plain && self.sweep.connects(now, key.vantage);
        let tap = self.vantages.get(&key.vantage).and_then(VantageWatch::tap);
        let tap = tap.filter(|_| !connects);
        let survey = match errand {
            Errand::Survey { number, .. }
            | Errand::SurveyConnect(number)
            | Errand::SurveyLook(number) => number,
            Errand::Decoy(_) => 0,
        };
        let mut order = self.flights.order(now, (key.clone(), errand, to), &ask, (tap, survey));
        if let ProbePacket::Syn { source_port, dest_port, .. } = order.what {
            if connects {
                order.what = ProbePacket::Connect { dest_port };
            } else if let Errand::Survey { part, ask, .. } = errand
                && let Some((_, survey)) = self.view(key).and_then(|view| view.survey.as_mut())
            {
                survey.note_source_port(part, ask, source_port);
            }
        }
        self.outputs.push_back(Output::Send(order));
    }

    fn connect(&mut self, now: Instant, key: &ViewKey, errand: Errand) {
        let Some(watch) = self.targets.get(&key.target) else { return };
        let view = watch.views.get(&(key.vantage, key.address));
        let survey = view.and_then(|view| view.survey.as_ref()).map(|(_, survey)| survey);
        let usual = [CONNECT_TIMEOUT, SERVICE_TIMEOUT];
        let [connect_timeout, service_timeout] =
            survey.map_or(usual, |survey| survey.connection_patience(now, usual));
        let limit = connect_timeout + service_timeout + CONNECT_GRACE;
        let port = watch.target.port;
        // What the kernel writes is seen leaving by rings alone.
        let vantage = self.vantages.get(&key.vantage);
        let vantage = vantage.filter(|vantage| vantage.mode().is_some_and(Mode::sees_resets));
        let place = (port, vantage.and_then(VantageWatch::tap));
        let order = ConnectOrder {
            flight: self.flights.order_connect(now, (key.clone(), errand), place, limit),
            vantage: key.vantage,
            to: SocketAddr::new(key.address, port),
            service: watch.target.service,
            expect_banner: watch.target.expect_banner.clone(),
            send: watch.target.send.clone(),
            connect_timeout,
            service_timeout,
        };
        self.outputs.push_back(Output::Connect(Box::new(order)));
    }
}
