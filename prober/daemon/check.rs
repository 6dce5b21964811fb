//! `reachd check`: one survey per target, vantage and address, then a verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Input, Monitor, Purpose};
use reachd_core::plan::Plan;
use reachd_core::report::TargetReport;
use reachd_core::target::{FamilyChoice, Service, Target, TargetName};
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, DEFAULT_NAME, Vantage};
use reachd_net::engine::{self, EngineHandle, EngineOptions, EventReceiver};

use crate::cli::{Check, From, Lang, ServiceName};
use crate::screen::{Screen, Style};
use crate::{exit, logging};

/// How long a check may take at most when nothing else is said: every survey ends before.
const LONGEST: Duration = Duration::from_secs(25);
/// How long a concluded check is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// Looks once; gives the exit code.
pub fn run(arguments: &Check) -> Result<u8> {
    logging::start_quiet();
    let plan = plan(arguments)?;
    // A file that cannot be written is found out before any probe.
    if let Some(path) = &arguments.pcap {
        std::fs::File::create(path)
            .with_context(|| format!("write packets to {}", path.display()))?;
    }
    let order: Vec<_> = plan.targets.iter().map(|target| target.name.clone()).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let reports = runtime.block_on(look(arguments, plan))?;
    print(arguments, &order, &reports);
    let class = |name: &TargetName| reports.get(name).and_then(class_of);
    Ok(exit::of_classes(order.iter().map(class)))
}

fn class_of(report: &TargetReport) -> Option<Class> {
    Class::from_name(&report.verdict.class)
}

async fn look(arguments: &Check, plan: Plan) -> Result<BTreeMap<TargetName, TargetReport>> {
    let wanted: BTreeSet<_> = plan.targets.iter().map(|target| target.name.clone()).collect();
    let limit = arguments.timeout.unwrap_or(LONGEST);
    let evidence_bytes = if arguments.pcap.is_some() { 16 << 20 } else { 0 };
    let (engine, mut events) = begin(plan, limit, evidence_bytes)?;
    let mut reports = BTreeMap::new();
    gather(&engine, limit, (&wanted, &mut events, &mut reports)).await?;
    date_looks(&engine, &mut reports);
    if let Some(path) = &arguments.pcap {
        write_packets(&engine, path, &reports).await?;
    }
    engine.stop().await;
    Ok(reports)
}

/// Checks the one target of a plan; `None` when there was no verdict in time.
pub async fn once(plan: Plan, limit: Duration) -> Result<Option<TargetReport>> {
    let wanted = plan.targets.iter().map(|target| target.name.clone()).collect();
    let (engine, mut events) = begin(plan, limit, 0)?;
    let mut reports = BTreeMap::new();
    gather(&engine, limit, (&wanted, &mut events, &mut reports)).await?;
    date_looks(&engine, &mut reports);
    engine.stop().await;
    Ok(reports.into_values().next())
}

fn begin(
    plan: Plan,
    limit: Duration,
    evidence_bytes: usize,
) -> Result<(EngineHandle, EventReceiver)> {
    let mut monitor = Monitor::new(Purpose::Once, seed()?);
    monitor.set_patience(limit);
    let ports = plan.targets.iter().map(|target| target.port).collect();
    monitor.handle(Instant::ZERO, Input::Plan(Box::new(plan)));
    let options = EngineOptions { ports, evidence_bytes, ..EngineOptions::default() };
    Ok(engine::start(monitor, options, &tokio::runtime::Handle::current())?)
}

/// Collects verdicts within the limit, then takes what there is.
async fn gather(
    engine: &EngineHandle,
    limit: Duration,
    (wanted, events, reports): (
        &BTreeSet<TargetName>,
        &mut EventReceiver,
        &mut BTreeMap<TargetName, TargetReport>,
    ),
) -> Result<()> {
    if tokio::time::timeout(limit, collect(wanted, events, reports)).await.is_err() {
        engine.conclude().await?;
        // What is missing after this has no verdict.
        let _ = tokio::time::timeout(GRACE, collect(wanted, events, reports)).await;
    }
    Ok(())
}

async fn collect(
    wanted: &BTreeSet<TargetName>,
    events: &mut EventReceiver,
    reports: &mut BTreeMap<TargetName, TargetReport>,
) {
    while reports.len() < wanted.len() {
        let Some(event) = events.recv().await else { return };
        if let Event::Judged { target, report, .. } = *event {
            let mut report = Arc::unwrap_or_clone(report);
            report.started = Some(started(report.seconds));
            reports.insert(target, report);
        }
    }
}

fn date_looks(engine: &EngineHandle, reports: &mut BTreeMap<TargetName, TargetReport>) {
    for report in reports.values_mut() {
        report.date_looks(|at| date(engine.wall(at)));
    }
}

/// A date in RFC 3339, with milliseconds.
pub fn date(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |stamp| format!("{stamp:.3}"))
}

/// When a survey that just ended began, in RFC 3339.
pub fn started(seconds: f64) -> String {
    let began = SystemTime::now() - Duration::from_secs_f64(seconds.max(0.0));
    date(began)
}

async fn write_packets(
    engine: &EngineHandle,
    path: &Path,
    reports: &BTreeMap<TargetName, TargetReport>,
) -> Result<()> {
    let comments = reports
        .values()
        .map(|report| format!("{}: {}", report.target.name, report.verdict.summary))
        .collect();
    let bytes = engine.pcapng(Default::default(), comments).await?;
    std::fs::write(path, bytes).with_context(|| format!("write packets to {}", path.display()))
}

/// 128 random bits for the probes' secrets.
pub fn seed() -> Result<[u64; 2]> {
    let word = || getrandom::u64().map_err(|error| anyhow!("get random bits: {error}"));
    Ok([word()?, word()?])
}

fn plan(arguments: &Check) -> Result<Plan> {
    let mut settings = match &arguments.config {
        Some(path) => reachd_config::load(path).map_err(|report| anyhow!("{report}"))?,
        None => reachd_config::embedded_default(),
    };
    let mut plan = std::mem::take(&mut settings.plan);
    let here = vantage(&arguments.from);
    let elsewhere = here.is_some();
    if let Some(vantage) = here {
        plan.vantages = vec![vantage];
    }
    let known = std::mem::take(&mut plan.targets);
    plan.canaries.clear();
    for text in &arguments.targets {
        let mut target = match planned(&known, text, arguments.service)? {
            Some(target) => target.clone(),
            None => settings.with_defaults(read_target(text, arguments.service)?),
        };
        if elsewhere {
            target.vantages.clear();
        }
        target.family = match (arguments.four, arguments.six) {
            (true, _) => FamilyChoice::V4,
            (_, true) => FamilyChoice::V6,
            (false, false) => target.family,
        };
        if let Ok(address) = target.host.parse::<std::net::IpAddr>() {
            let other = match target.family {
                FamilyChoice::V4 => address.is_ipv6(),
                FamilyChoice::V6 => address.is_ipv4(),
                FamilyChoice::Any => false,
            };
            ensure!(!other, "{address} is of the other family; leave -4 or -6 out");
        }
        if plan.targets.iter().all(|other| other.name != target.name) {
            plan.targets.push(target);
        }
    }
    Ok(plan)
}

/// The target of the plan that goes by this name or, if none does, is at this host and port. A
/// host alone is enough where the plan has it once.
fn planned<'a>(
    known: &'a [Target],
    text: &str,
    service: Option<ServiceName>,
) -> Result<Option<&'a Target>> {
    if let Some(target) = known.iter().find(|target| target.name.as_str() == text) {
        return Ok(Some(target));
    }
    let Ok(asked) = read_target(text, service) else { return Ok(None) };
    // Only what has no usual port needs to have one written.
    let with_port = reachd_config::target_from_argument(text, Service::Tcp).is_ok();
    let fits = |target: &&Target| {
        target.host.eq_ignore_ascii_case(&asked.host)
            && (!with_port || target.port == asked.port)
            && (service.is_none() || target.service == asked.service)
    };
    let found: Vec<_> = known.iter().filter(fits).collect();
    match found[..] {
        [] => Ok(None),
        [target] => Ok(Some(target)),
        _ => {
            let names: Vec<_> = found.iter().map(|target| target.name.as_str()).collect();
            bail!("the plan has {text} {} times; name one of {}", found.len(), names.join(", "))
        }
    }
}

/// A target of the command line. Without `--service` the port tells: 22 is ssh, 3389 or none rdp,
/// any other tcp.
pub fn read_target(text: &str, service: Option<ServiceName>) -> Result<Target> {
    let read = |service| {
        reachd_config::target_from_argument(text, service)
            .map_err(|fault| anyhow!("{text}: {fault}"))
    };
    let target = read(match service {
        Some(ServiceName::Rdp) | None => Service::Rdp,
        Some(ServiceName::Ssh) => Service::Ssh,
        Some(ServiceName::Tcp) => Service::Tcp,
        Some(ServiceName::Ping) => Service::Ping,
    })?;
    match (service, target.port) {
        (None, 22) => read(Service::Ssh),
        (None, port) if port != reachd_core::target::DEFAULT_PORT => read(Service::Tcp),
        (_, _) => Ok(target),
    }
}

fn vantage(from: &From) -> Option<Vantage> {
    let binding = match (&from.source, &from.interface, &from.netns) {
        (Some(source), _, _) => Binding::Source(*source),
        (_, Some(interface), _) => Binding::Interface(interface.clone()),
        (_, _, Some(netns)) => Binding::Namespace(netns.clone()),
        (None, None, None) => return None,
    };
    Some(Vantage { binding, ..Vantage::unbound(DEFAULT_NAME) })
}

fn print(arguments: &Check, order: &[TargetName], reports: &BTreeMap<TargetName, TargetReport>) {
    let style = Style {
        lang: Lang::choose(arguments.lang),
        ascii: arguments.ascii,
        colour: std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none(),
    };
    let mut text = String::new();
    for name in order {
        match reports.get(name) {
            Some(report) if arguments.json => {
                text += &serde_json::to_string(report).unwrap_or_default();
                text.push('\n');
            }
            Some(report) => text += &Screen::new(style, report).render(),
            None => note!("reachd: {name}: no verdict in time"),
        }
    }
    block!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_tells_the_service_unless_one_is_named() {
        let service = |text, given| read_target(text, given).map(|target| target.service).unwrap();
        assert_eq!(service("host", None), Service::Rdp);
        assert_eq!(service("host:3389", None), Service::Rdp);
        assert_eq!(service("host:22", None), Service::Ssh);
        assert_eq!(service("[2001:db8::1]:443", None), Service::Tcp);
        assert_eq!(service("host:3390", Some(ServiceName::Rdp)), Service::Rdp);
        assert_eq!(service("host", Some(ServiceName::Ping)), Service::Ping);
    }

    #[test]
    fn a_target_of_the_plan_is_known_by_name_host_or_port() {
        let mut named = Target::new("192.0.2.7", 3390, Service::Rdp);
        named.name = TargetName::new("till");
        let twice = [22, 443].map(|port| Target::new("Door.example", port, Service::Tcp));
        let known: Vec<_> = [named].into_iter().chain(twice).collect();
        let found = |text, service| {
            let found = planned(&known, text, service);
            found.map(|target| target.map(|target| target.name.to_string()))
        };
        let till = Some("till".to_owned());
        assert_eq!(found("till", None).unwrap(), till);
        assert_eq!(found("192.0.2.7", None).unwrap(), till);
        assert_eq!(found("192.0.2.7:3390", Some(ServiceName::Rdp)).unwrap(), till);
        assert_eq!(found("192.0.2.7:3389", None).unwrap(), None);
        assert_eq!(found("192.0.2.7:3390", Some(ServiceName::Tcp)).unwrap(), None);
        assert!(found("door.example:443", None).unwrap().is_some());
        let error = found("door.example", None).unwrap_err().to_string();
        assert!(error.contains("2 times") && error.contains(":443"), "{error}");
    }

    #[test]
    fn a_wrong_target_says_what_to_write() {
        for text in ["", "host:0", "host:99999", "[::1", "a b"] {
            assert!(read_target(text, None).is_err(), "{text:?} was taken");
        }
    }
}
