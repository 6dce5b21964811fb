//! `reachd notify test`: sends a sample to a receiver and prints what came back. Needs no daemon.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};
use reachd_config::{Endpoint, Receiver, ReceiverKind};
use reachd_core::incident::{
    AlertKind, IncidentState, IncidentUpdate, Moment, Resolution, Subject,
};
use reachd_core::judge::Class;
use reachd_core::target::{Service, Severity, Target};
use reachd_core::time;
use reachd_exporters::alertmanager;
use reachd_exporters::carry::{Carried, CarrierError, Poster, Route};
use reachd_exporters::chain;
use reachd_exporters::clock::WallClock;
use reachd_exporters::store::message_id;
use reachd_exporters::webhook::Settings;
use reachd_exporters::webhook::client;
use reachd_exporters::webhook::delivery::{Late, Message, MessageId, Outcome};
use reachd_exporters::webhook::payload::Context as Setting;
use serde_json::json;

use crate::cli::{Notify, NotifyTest};
use crate::exit;
use crate::receiver::spell;

/// The file that the service reads.
const DEFAULT_FILE: &str = "/etc/reachd/reachd.toml";

/// One attempt and what came of it.
struct Attempt {
    step: &'static str,
    /// The number of the instance, for receivers that have several.
    instance: Option<usize>,
    carried: Carried,
    took: Duration,
}

/// Does what the subcommand asks for: 0 if everything was taken, 1 if not, 2 if nothing was sent.
pub fn run(command: &Notify) -> Result<u8> {
    let Notify::Test(arguments) = command;
    let (receiver, settings) = prepare(arguments)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let attempts = runtime.block_on(test(&receiver, &settings))?;
    for attempt in &attempts {
        line!("{}", if arguments.json { attempt.json(&receiver) } else { attempt.line() });
    }
    let taken = |attempt: &Attempt| attempt.carried.outcome == Outcome::Accepted;
    Ok(if attempts.iter().all(taken) { exit::OK } else { exit::FAILING })
}

fn prepare(arguments: &NotifyTest) -> Result<(Receiver, Settings)> {
    let file = arguments.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let settings = reachd_config::load(file).map_err(|report| anyhow!("{report}"))?;
    let found = settings.receivers.iter().find(|receiver| receiver.name == arguments.receiver);
    let receiver = found.cloned().ok_or_else(|| {
        let names: Vec<_> = settings.receivers.iter().map(|known| known.name.as_str()).collect();
        let name = &arguments.receiver;
        anyhow!("{} has no receiver {name}; it has {}", file.display(), names.join(", "))
    })?;
    let spelled = spell(&receiver).with_context(|| format!("use receiver {}", receiver.name))?;
    Ok((receiver, spelled))
}

/// The sample fires, and is over at once.
async fn test(receiver: &Receiver, settings: &Settings) -> Result<Vec<Attempt>> {
    let clock = WallClock::anchored(time::Instant::ZERO, SystemTime::now());
    let language = settings.language;
    let context = Setting { receiver: &receiver.name, language, external_url: "", clock };
    let [number, _] = crate::check::seed()?;
    // Another one each time, or a receiver that knows duplicates would drop the next test.
    let fingerprint = format!("{number:016x}");
    let mut attempts = Vec::new();
    for (version, state) in [(1, IncidentState::Firing), (2, IncidentState::Resolved)] {
        let update = sample(&fingerprint, version, state);
        if receiver.kind == ReceiverKind::Alertmanager {
            let urls: Vec<_> = receiver.urls.iter().map(|url| url.as_str().to_owned()).collect();
            let begun = Instant::now();
            let told = alertmanager::tell_once(settings, &urls, (&update, &context)).await?;
            let took = begun.elapsed();
            attempts.extend(told.into_iter().zip(1..).map(|(carried, number)| Attempt {
                step: state.as_str(),
                instance: Some(number),
                carried,
                took,
            }));
            continue;
        }
        let carrier = client::carrier(settings)?;
        if let Some(fault) = carrier.dialect().template_fault(&update, &context) {
            let name = &receiver.name;
            note!("warning: the template of {name} fails, the default text is sent: {fault}");
        }
        let id = MessageId { fingerprint: fingerprint.clone(), version };
        let body = carrier.dialect().render(&update, &context).into();
        let resolved = state == IncidentState::Resolved;
        let begun = Instant::now();
        let name = message_id(&receiver.name, (&fingerprint, version), "");
        let message = Message { id, name, resolved, body, late: Late::default() };
        let carried = carrier.carry(&message).await;
        let (step, took) = (state.as_str(), begun.elapsed());
        attempts.push(Attempt { step, instance: None, carried, took });
    }
    Ok(attempts)
}

/// What `reachd run` would refuse of a receiver, and what it would only warn of.
pub(crate) fn check(receiver: &Receiver) -> (Result<()>, Option<String>) {
    let urls = receiver.urls.iter().map(reachd_config::Url::as_str);
    let own = match &receiver.endpoint {
        Endpoint::Url(url) if receiver.kind != ReceiverKind::Email => Some(url.as_str()),
        Endpoint::Url(_) | Endpoint::File(_) | Endpoint::None => None,
    };
    for url in urls.chain(own) {
        if let Err(error) = check_url(&receiver.name, url) {
            return (Err(error), None);
        }
    }
    // The service may read files that whoever checks may not.
    let settings = match spell(receiver) {
        Ok(settings) => settings,
        Err(error) => return (Ok(()), Some(format!("{error:#}"))),
    };
    if receiver.kind == ReceiverKind::Alertmanager {
        return (Ok(()), None);
    }
    let carrier = match client::carrier(&settings) {
        Ok(carrier) => carrier,
        Err(error @ CarrierError::Roots { .. }) => return (Ok(()), Some(chain(&error))),
        Err(error) => return (Err(error.into()), None),
    };
    let clock = WallClock::anchored(time::Instant::ZERO, SystemTime::UNIX_EPOCH);
    let language = settings.language;
    let context = Setting { receiver: &receiver.name, language, external_url: "", clock };
    let sample = sample("0123456789abcdef", 1, IncidentState::Firing);
    let fault = carrier.dialect().template_fault(&sample, &context);
    (Ok(()), fault.map(|fault| format!("the template fails, the default text is sent: {fault}")))
}

/// Whether something may be sent to a URL at all. TLS needs files of this machine, which say
/// nothing of the URL.
pub(crate) fn check_url(name: &str, url: &str) -> Result<()> {
    match Poster::new(name, &Route::to(url)) {
        Ok(_) | Err(CarrierError::Roots { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn sample(fingerprint: &str, version: u64, state: IncidentState) -> IncidentUpdate {
    let mut target = Target::new("192.0.2.1", 3389, Service::Rdp);
    target.labels.insert("test".to_owned(), "true".to_owned());
    let resolved = state == IncidentState::Resolved;
    let (summary, next_step) = if resolved {
        (
            ("This is a test of reachd, and it is over.", "这是 reachd 的测试，已结束。"),
            ("Nothing is to be done.", "无需处理。"),
        )
    } else {
        (
            ("This is a test of reachd; nothing has failed.", "这是 reachd 的测试，并无故障。"),
            ("Check that this message reached the right people.", "请确认消息已送达正确的人员。"),
        )
    };
    let both = |(en, zh): (&str, &str)| (en.to_owned(), zh.to_owned());
    IncidentUpdate {
        fingerprint: fingerprint.to_owned(),
        version,
        kind: AlertKind::Unreachable,
        subject: Subject::Target(Box::new(target)),
        state,
        severity: Severity::Info,
        class: Class::Unknown,
        class_now: if resolved { Class::Reachable } else { Class::Unknown },
        started: Moment::default(),
        ended: resolved.then_some((Moment::default(), Resolution::Recovered)),
        flaps: 0,
        report: None,
        summary: both(summary),
        next_step: both(next_step),
        notify: true,
        member: false,
    }
}

impl Attempt {
    fn outcome(&self) -> (&'static str, &str) {
        match &self.carried.outcome {
            Outcome::Accepted => ("accepted", ""),
            Outcome::Retry { why, .. } => ("retry", why),
            Outcome::Refused { why } => ("refused", why),
            Outcome::Gone => ("gone", "answered 410: it is not used until the next reload"),
        }
    }

    fn line(&self) -> String {
        let (outcome, why) = self.outcome();
        let mut line = format!("{:<9}", self.step);
        if let Some(number) = self.instance {
            line += &format!(" instance {number}");
        }
        line += &format!(" {outcome}");
        if let Some(status) = self.carried.status {
            line += &format!(", status {status}");
        }
        if let Some(code) = &self.carried.code {
            line += &format!(", code {code}");
        }
        line += &format!(", {:.3} s", self.took.as_secs_f64());
        if why.is_empty() { line } else { format!("{line}: {why}") }
    }

    fn json(&self, receiver: &Receiver) -> String {
        let (outcome, why) = self.outcome();
        let why = Some(why).filter(|why| !why.is_empty());
        json!({
            "receiver": receiver.name, "kind": receiver.kind.as_str(), "step": self.step,
            "instance": self.instance, "outcome": outcome, "status": self.carried.status,
            "code": self.carried.code, "why": why, "seconds": self.took.as_secs_f64(),
        })
        .to_string()
    }
}
