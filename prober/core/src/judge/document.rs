//! A verdict as a document: the shape of `report::TargetReport`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::class::Class;
use super::sign::Sign;
use super::step::{next_step, remedy};
use super::text::{Facts, summary};
use super::verdict::{Verdict, ViewEvidence, answer_name, next_evidence};
use crate::evidence::{ConnectReport, ConnectResult, ServiceAnswer};
use crate::path::{Path, PathEnd, distance};
use crate::probe::series::Tally;
use crate::report::rdp::RdpPart;
use crate::report::{
    AddressPart, CapturePart, CausePart, EvidencePart, HopPart, NextEvidencePart, NotePart,
    PathPart, SCHEMA, SeriesPart, ServicePart, Spoken, TargetPart, TargetReport, VantagePart,
    VerdictPart,
};
use crate::snapshot::RdpRow;
use crate::statistics::real;
use crate::survey::findings::Findings;
use crate::survey::security::refusal;
use crate::survey::signs::service_detail;
use crate::target::{Fronted, Target};
use crate::wording::Wording;

/// Causes below this are not worth a line.
const WORTH_NAMING: f64 = 0.005;

/// What a vantage adds to the document beside its evidence.
#[derive(Debug, Clone, Copy)]
pub struct Lens<'a> {
    /// What it saw.
    pub view: &'a ViewEvidence<'a>,
    /// Its own address.
    pub source: Option<IpAddr>,
    /// Its ring's counters: packets and drops.
    pub capture: Option<(u64, u64)>,
    /// Its looks past the handshake, for RDP.
    pub rdp: Option<&'a RdpRow>,
}

/// Writes the document.
pub fn document(target: &Target, verdict: &Verdict, lenses: &[Lens<'_>]) -> TargetReport {
    let findings = || lenses.iter().filter_map(|lens| lens.view.findings);
    let began = findings().map(|findings| findings.started).min();
    let ended = findings().map(|findings| findings.ended).max();
    let seconds = began.zip(ended).map(|(began, ended)| ended.since(began)).unwrap_or_default();
    let speaker = speaker(verdict, lenses);
    let source = speaker.and_then(|lens| lens.source).map(|source| source.to_string());
    let facts = Facts {
        target,
        verdict,
        findings: speaker.and_then(|lens| lens.view.findings),
        source: source.as_deref(),
    };
    let (summary, next) = (summary(&facts), next_step(&facts));
    let mut causes = verdict.posterior.causes.iter();
    let top = causes.find(|(cause, _)| cause.class != Class::Reachable);
    TargetReport {
        schema: SCHEMA,
        target: TargetPart {
            name: target.name.to_string(),
            host: target.host.clone(),
            port: target.service.has_port().then_some(target.port),
            service: target.service.as_str().to_owned(),
            labels: target.labels.clone(),
        },
        verdict: verdict_part(&facts, summary.en.clone()),
        addresses: verdict
            .addresses
            .iter()
            .map(|(address, class)| AddressPart {
                address: address.to_string(),
                class: class.as_str().to_owned(),
            })
            .collect(),
        vantages: lenses.iter().map(vantage_part).collect(),
        started: None,
        seconds: seconds.as_secs_f64(),
        packets_sent: findings().map(|findings| findings.packets).sum(),
        spoken: Spoken {
            summary: (summary.en, summary.zh),
            next_step: (next.en, next.zh),
            remedy: top.map(|(cause, _)| remedy(&facts, cause)).map(|it| (it.en, it.zh)),
            since: facts.findings.and_then(Findings::turn).map(|turn| turn.since),
            settings: facts.findings.and_then(refusal).is_some_and(|it| it.is_of_settings()),
            instance_id: target.instance_id.clone(),
            fronted: target.fronted != Fronted::None,
        },
    }
}

/// The vantage whose findings speak for the verdict: the first failing one, else the first.
pub fn speaker<'a>(verdict: &Verdict, lenses: &'a [Lens<'a>]) -> Option<&'a Lens<'a>> {
    let judged = || lenses.iter().filter(|lens| lens.view.address == verdict.address);
    let fails = |lens: &&Lens<'_>| verdict.failing.iter().any(|name| name == lens.view.vantage);
    judged().find(fails).or(judged().next()).or(lenses.first())
}

fn verdict_part(facts: &Facts<'_>, summary: String) -> VerdictPart {
    let verdict = facts.verdict;
    let causes = verdict.posterior.causes.iter().filter(|(cause, probability)| {
        verdict.class != Class::Reachable
            && cause.class != Class::Reachable
            && *probability >= WORTH_NAMING
    });
    VerdictPart {
        class: verdict.class.as_str().to_owned(),
        confidence: verdict.confidence,
        summary,
        causes: causes
            .map(|(cause, probability)| CausePart {
                cause: cause.name.to_owned(),
                probability: *probability,
                meaning: cause.meaning.en.to_owned(),
                remedy: remedy(facts, cause).en,
            })
            .collect(),
        notes: verdict
            .notes
            .iter()
            .map(|(note, detail)| NotePart {
                note: note.as_str().to_owned(),
                detail: detail.clone(),
            })
            .collect(),
        evidence: evidence(verdict),
        next_evidence: next_evidence(verdict)
            .into_iter()
            .map(|(next, splits)| NextEvidencePart {
                ask: next.ask.en.to_owned(),
                how: next.how.en.to_owned(),
                splits,
            })
            .collect(),
        scope: verdict.scope.as_str().to_owned(),
        reachable_from: verdict.reaching.clone(),
        unreachable_from: verdict.failing.clone(),
    }
}

fn evidence(verdict: &Verdict) -> Vec<EvidencePart> {
    let dull = [Sign::NoError, Sign::LocalFine, Sign::VantageFine, Sign::SingleAnswer];
    let telling = verdict.weighed.iter().filter(|(_, seen)| !dull.contains(&seen.sign));
    telling
        .map(|(vantage, seen)| EvidencePart {
            signal: seen.sign.family().as_str().to_owned(),
            value: seen.sign.as_str().to_owned(),
            vantage: vantage.clone(),
            detail: seen.detail.clone(),
        })
        .collect()
}

fn vantage_part(lens: &Lens<'_>) -> VantagePart {
    let findings = lens.view.findings;
    let hops = |path: Option<&Path>| path.map(|path| hop_parts(path, lens.view.address));
    VantagePart {
        name: lens.view.vantage.to_owned(),
        mode: lens.view.mode.map(|mode| mode.as_str().to_owned()),
        address: lens.source.map(|source| source.to_string()),
        echo: findings.map(|findings| series_part(&findings.echo)),
        connect: findings.and_then(|findings| findings.syn.as_ref()).map(series_part),
        service: findings.and_then(|findings| findings.connect.as_ref()).map(service_part),
        rdp: lens.rdp.map(RdpPart::of),
        path: PathPart {
            tcp: hops(findings.and_then(|findings| findings.tcp_path.as_ref())),
            icmp: hops(findings.and_then(|findings| findings.icmp_path.as_ref())),
        },
        capture: lens.capture.map(|(packets, drops)| CapturePart { packets, drops }),
    }
}

/// The hops of a path, the destination itself included where it was reached.
fn hop_parts(path: &Path, destination: Option<IpAddr>) -> Vec<HopPart> {
    let mut parts: Vec<_> = path.hops.iter().map(hop_part).collect();
    if let (PathEnd::Reached(ttl), Some(last)) = (path.end, parts.last_mut())
        && last.ttl == ttl
    {
        last.address = last.address.or(destination);
    }
    parts
}

fn hop_part(hop: &crate::path::Hop) -> HopPart {
    HopPart {
        ttl: hop.ttl,
        address: hop.address,
        rtt_seconds: hop.rtt.map(|rtt| rtt.as_secs_f64()),
    }
}

fn series_part(tally: &Tally) -> SeriesPart {
    let total: Duration = tally.rtts.iter().sum();
    let count = u64::try_from(tally.rtts.len()).unwrap_or(u64::MAX);
    let mean = (count > 0).then(|| total.as_secs_f64() / real(count));
    let named = |(reason, count): (&str, &u64)| (reason.to_owned(), *count);
    SeriesPart {
        sent: tally.counters.sent,
        received: tally.counters.received,
        lost: tally
            .counters
            .lost
            .iter()
            .map(|(reason, count)| named((reason.as_str(), count)))
            .collect(),
        invalid: tally
            .counters
            .invalid
            .iter()
            .map(|(reason, count)| named((reason.as_str(), count)))
            .collect(),
        answers: tally
            .kinds
            .iter()
            .map(|(kind, count)| named((answer_name(*kind), count)))
            .collect::<BTreeMap<_, _>>(),
        rtt_min_seconds: tally.rtts.iter().min().map(Duration::as_secs_f64),
        rtt_mean_seconds: mean,
        rtt_max_seconds: tally.rtts.iter().max().map(Duration::as_secs_f64),
        ttl: tally.ttl(),
        distance: tally.ttl().map(distance),
    }
}

fn service_part(report: &ConnectReport) -> ServicePart {
    let (connection, connection_detail) = match &report.result {
        ConnectResult::Connected => ("connected", None),
        ConnectResult::Refused => ("refused", None),
        ConnectResult::Icmp(error) => {
            let (kind, from) = (error.kind.title(), error.from);
            let detail = Wording::new(
                format!("{} from {from}", kind.en),
                format!("{}，来自 {from}", kind.zh),
            );
            ("icmp", Some(detail))
        }
        ConnectResult::TimedOut => ("timed_out", None),
        ConnectResult::Local(error) => ("local_error", Some(error.title().into())),
    };
    let answer = report.service.as_ref().and_then(|answer| match answer {
        ServiceAnswer::Confirmed { .. } => Some("confirmed"),
        ServiceAnswer::Refused { .. } => Some("refused"),
        ServiceAnswer::Foreign { .. } => Some("foreign"),
        ServiceAnswer::Silent => Some("silent"),
        ServiceAnswer::Unfinished { .. } => Some("unfinished"),
        ServiceAnswer::Closed { .. } => Some("closed"),
        ServiceAnswer::NotAsked => None,
    });
    ServicePart {
        connection: connection.to_owned(),
        connection_detail,
        handshake_seconds: report.handshake.map(|time| time.as_secs_f64()),
        answer: answer.map(str::to_owned),
        detail: report.service.as_ref().and_then(service_detail),
        seconds: report.service_time.map(|time| time.as_secs_f64()),
    }
}
