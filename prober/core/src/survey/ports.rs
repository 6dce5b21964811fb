//! Configured ports and neighbours: when each is asked, and what their answers say.
//!
//! They are asked where the main port fails, once per survey; the canary port in health as well,
//! now and then, so that its silence can be told from a change. Behind a front nobody knows who
//! answers for which port, so that only an alternate port says anything there.

use std::net::IpAddr;
use std::time::Duration;

use super::details;
use super::findings::Findings;
use super::signs::Seen;
use super::{Depth, Survey, Topic};
use crate::budget::prefix;
use crate::evidence::AnswerKind;
use crate::judge::Sign;
use crate::monitor::{Baseline, ClosedPort};
use crate::probe::asides::{About, is_own_answer};
use crate::target::{NEIGHBOURS_ASKED, PORTS_ASKED, Target};
use crate::time::Instant;
use crate::wording::Text;

/// A canary port that has not answered for so long in health is asked a second time: that it is
/// silent is learnt for long, and must not rest on one lost packet.
const SECOND_TRY: Duration = Duration::from_secs(1);

/// Ports and neighbours that may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// One on which nothing listens.
    pub canary: Option<u16>,
    /// Whether it is asked in health as well.
    pub learn: bool,
    /// Those that usually answer.
    pub control: Vec<u16>,
    /// Those that the service may have moved to.
    pub alternate: Vec<u16>,
    /// Addresses of the same network.
    pub neighbours: Vec<IpAddr>,
}

impl Ports {
    /// What a target's configuration allows.
    pub fn of(target: &Target, learn: bool) -> Self {
        let ports = |list: &[u16]| {
            let has_port = target.service.has_port();
            let others = list.iter().copied().filter(|port| has_port && *port != target.port);
            others.take(PORTS_ASKED).collect()
        };
        Self {
            canary: target
                .canary_port
                .filter(|port| target.service.has_port() && *port != target.port),
            learn,
            control: ports(&target.control_ports),
            alternate: ports(&target.alternate_ports),
            neighbours: target.neighbours.clone(),
        }
    }

    /// Leaves out neighbours of other networks than this address's /24 or /64, and itself: how they
    /// fare says nothing of it.
    pub fn beside(mut self, address: IpAddr) -> Self {
        let is_beside = |near: &IpAddr| *near != address && prefix(*near) == prefix(address);
        self.neighbours.retain(is_beside);
        self.neighbours.truncate(NEIGHBOURS_ASKED);
        self
    }
}

/// How the main port fares, once that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Main {
    Accepts,
    Resets,
    Fails,
}

impl Survey {
    /// Asks the ports and neighbours that can change the verdict, as soon as they can.
    pub(super) fn plan_asides(&mut self, now: Instant) {
        let Some(main) = self.main() else { return };
        let host_lives = self.echo.tally().received() > 0 || self.asides.fates().is_host_alive();
        let nothing_came = self.nothing_came();
        let [canary, control, alternate, neighbours] =
            [Topic::Canary, Topic::Control, Topic::Alternate, Topic::Neighbours]
                .map(|topic| self.may_ask(topic));
        let Self { asides, scope, .. } = self;
        let ports = &scope.ports;
        let wanted = main != Main::Accepts && canary || main == Main::Accepts && ports.learn;
        if let Some(port) = ports.canary.filter(|_| wanted) {
            asides.ask(now, About::Canary(port));
            if main == Main::Accepts {
                asides.ask_again(now, About::Canary(port), SECOND_TRY);
            }
        }
        if main == Main::Fails && control {
            ports.control.iter().for_each(|port| asides.ask(now, About::Control(*port)));
        }
        if alternate && (main == Main::Resets || main == Main::Fails && host_lives) {
            ports.alternate.iter().for_each(|port| asides.ask(now, About::Alternate(*port)));
        }
        if main == Main::Fails && nothing_came && neighbours {
            for address in &ports.neighbours {
                asides.ask(now, About::Neighbour(*address));
                let port = ports.control.first();
                port.into_iter()
                    .for_each(|port| asides.ask(now, About::NeighbourPort(*address, *port)));
            }
        }
    }

    /// How the main port fares; `None` while that is open, and in a recheck that sees what is
    /// known already. Without a port, echo stands for it.
    fn main(&self) -> Option<Main> {
        let main = self.syn.as_ref().unwrap_or(&self.echo).tally();
        let settled = main.kinds.iter().any(|(kind, _)| *kind != AnswerKind::Invalid);
        let known = self.scope.known.and_then(|known| match self.syn {
            Some(_) => known.syn,
            None => known.echo,
        });
        if !settled || self.scope.depth == Depth::Recheck && known == main.usual() {
            return None;
        }
        let accepted = main.count(AnswerKind::SynAck) + main.count(AnswerKind::EchoReply);
        let reset = main.count(AnswerKind::Reset);
        Some(if accepted > 0 && accepted >= reset {
            Main::Accepts
        } else if reset > 0 {
            Main::Resets
        } else {
            Main::Fails
        })
    }
}

/// What the ports and neighbours say, where the main port fails.
pub(super) fn signs(findings: &Findings, fronted: bool, baseline: Option<&Baseline>) -> Vec<Seen> {
    let main = findings.syn.as_ref().unwrap_or(&findings.echo);
    if main.count(AnswerKind::SynAck) + main.count(AnswerKind::EchoReply) > 0 {
        return Vec::new();
    }
    let mut seen = Vec::new();
    seen.extend(alternate(findings));
    if !fronted {
        seen.extend(canary(findings, baseline));
        seen.extend(control(findings));
        seen.extend(neighbours(findings));
    }
    seen
}

fn alternate(findings: &Findings) -> Option<Seen> {
    let asked = findings.asides.of(|about| matches!(about, About::Alternate(_)));
    let which = |wanted: AnswerKind| -> Vec<About> {
        let such = asked.iter().filter(|(_, kind)| *kind == wanted);
        such.map(|(about, _)| *about).collect()
    };
    for (kind, sign, word) in [
        (AnswerKind::SynAck, Sign::AlternateOpen, Text { en: "is open", zh: "开放" }),
        (AnswerKind::Reset, Sign::AlternateClosed, Text { en: "is closed", zh: "未监听" }),
        (AnswerKind::Silence, Sign::AlternateSilent, Text { en: "is silent", zh: "无应答" }),
    ] {
        let such = which(kind);
        if !such.is_empty() {
            return Some(Seen::new(sign, Some(details::of_asides(&such, word))));
        }
    }
    None
}

fn canary(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    let asked = findings.asides.of(|about| matches!(about, About::Canary(_)));
    let (about, kind) = *asked.first()?;
    let learnt = baseline.and_then(|baseline| baseline.closed_port);
    let (sign, word) = match (kind, learnt) {
        (AnswerKind::Silence, Some(ClosedPort::Silent)) => (Sign::CanaryStillSilent, STILL_SILENT),
        (AnswerKind::Silence, Some(ClosedPort::Answers)) => (Sign::CanaryFellSilent, FELL_SILENT),
        (AnswerKind::Silence, None) => (Sign::CanarySilent, SILENT),
        (AnswerKind::Reset | AnswerKind::SynAck, Some(ClosedPort::Silent)) => {
            (Sign::CanaryAnswers, ANSWERS_NOW)
        }
        (AnswerKind::Reset | AnswerKind::SynAck, _) => (Sign::CanaryAnswers, ANSWERS),
        (_, _) => return None,
    };
    Some(Seen::new(sign, Some(details::of_asides(&[about], word))))
}

fn control(findings: &Findings) -> Option<Seen> {
    let asked = findings.asides.of(|about| matches!(about, About::Control(_)));
    any_or_none(&asked, Sign::ControlAnswers, Sign::ControlSilent)
}

fn neighbours(findings: &Findings) -> Option<Seen> {
    let asked = findings.asides.of(|about| about.elsewhere().is_some());
    any_or_none(&asked, Sign::NeighboursAnswer, Sign::NeighboursSilent)
}

/// One that answers proves its point; that none does is a sign only where all were silent or
/// unreachable.
fn any_or_none(asked: &[(About, AnswerKind)], any: Sign, none: Sign) -> Option<Seen> {
    let such = |answers: bool| -> Vec<About> {
        let such = asked.iter().filter(|(_, kind)| is_own_answer(*kind) == answers);
        such.map(|(about, _)| *about).collect()
    };
    let (answering, silent) = (such(true), such(false));
    if !answering.is_empty() {
        return Some(Seen::new(any, Some(details::of_asides(&answering, ANSWERS))));
    }
    (!silent.is_empty()).then(|| Seen::new(none, Some(details::no_answer_from(&silent))))
}

const ANSWERS: Text = Text { en: "answers", zh: "有应答" };
const ANSWERS_NOW: Text =
    Text { en: "answers and did not in health", zh: "有应答，健康时没有" };
const STILL_SILENT: Text =
    Text { en: "is silent, as it was in health", zh: "无应答，健康时也没有" };
const FELL_SILENT: Text =
    Text { en: "is silent and was not in health", zh: "无应答，健康时有" };
const SILENT: Text =
    Text { en: "is silent; in health it was never seen", zh: "无应答，健康时未探测过" };

#[cfg(test)]
mod tests;
