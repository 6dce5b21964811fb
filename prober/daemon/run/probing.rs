//! Probes on demand: answered from the current state for planned targets, else by a check of
//! their own where `[probe_api]` allows the address.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use reachd_config::Network;
use reachd_core::judge::Class;
use reachd_core::plan::Plan;
use reachd_core::report::{TargetReport, VantagePart};
use reachd_core::snapshot::Snapshot;
use reachd_core::target::{Service, Target};
use reachd_core::vantage::Vantage;
use reachd_exporters::http::{Module, ProbeAnswer, ProbeReply, ProbeRequest};

/// What a probe on demand may use.
pub(super) struct Means {
    pub(super) snapshot: Snapshot,
    pub(super) allow: Vec<Network>,
    pub(super) vantages: Vec<Vantage>,
}

/// Answers one probe request.
pub(super) async fn answer(request: ProbeRequest, means: Means) -> ProbeReply {
    if let Some(report) = planned(&request, &means.snapshot) {
        let success = succeeds(request.module, &report);
        // Answered from what is known already.
        let duration = Duration::ZERO;
        return ProbeReply::Answered(Box::new(ProbeAnswer { success, duration, report }));
    }
    let begun = Instant::now();
    let limit = request.deadline;
    match tokio::time::timeout(limit, addresses(&request.target.host)).await {
        Err(_) => ProbeReply::Failed(format!("{} did not resolve in time", request.target.host)),
        Ok(found) => match permitted(&found, &means.allow) {
            Some(address) => probe(&request, address, means.vantages, begun).await,
            None => ProbeReply::NotAllowed,
        },
    }
}

/// The planned target of this host and port, by name or by both.
fn planned(request: &ProbeRequest, snapshot: &Snapshot) -> Option<TargetReport> {
    let asked = request.target.to_string();
    let row = snapshot.targets.iter().find(|row| {
        let same_port = request.target.port.is_none_or(|port| port == row.target.port);
        let names = [row.target.name.as_str(), row.target.host.as_str()];
        names[0] == asked || names.contains(&request.target.host.as_str()) && same_port
    })?;
    row.report.as_deref().cloned()
}

async fn addresses(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let found = tokio::net::lookup_host((host, 0)).await;
    found.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default()
}

/// The first address, if every one of them is allowed; what is checked is what is probed.
fn permitted(found: &[IpAddr], allow: &[Network]) -> Option<IpAddr> {
    let allowed = |address: &IpAddr| allow.iter().any(|network| network.contains(*address));
    found.first().copied().filter(|_| found.iter().all(allowed))
}

async fn probe(
    request: &ProbeRequest,
    address: IpAddr,
    vantages: Vec<Vantage>,
    begun: Instant,
) -> ProbeReply {
    let service = match request.module {
        Module::Icmp => Service::Ping,
        Module::TcpConnect => Service::Tcp,
        Module::Rdp | Module::Full => Service::Rdp,
        Module::SshBanner => Service::Ssh,
    };
    let Some(port) = request.target.port.or(request.module.default_port()).or(Some(0)) else {
        return ProbeReply::Failed("name a port".to_owned());
    };
    let target = Target::new(&address.to_string(), port, service);
    let plan = Plan { targets: vec![target], vantages, ..Plan::default() };
    let left = request.deadline.saturating_sub(begun.elapsed());
    match crate::check::once(plan, left).await {
        Ok(Some(report)) => {
            let success = succeeds(request.module, &report);
            let duration = begun.elapsed();
            ProbeReply::Answered(Box::new(ProbeAnswer { success, duration, report }))
        }
        Ok(None) => ProbeReply::Failed("no verdict in time".to_owned()),
        Err(error) => ProbeReply::Failed(format!("{error:#}")),
    }
}

/// Whether what the module asks for was answered, from any vantage.
fn succeeds(module: Module, report: &TargetReport) -> bool {
    let any = |test: fn(&VantagePart) -> bool| report.vantages.iter().any(test);
    match module {
        Module::Icmp => any(|vantage| vantage.echo.as_ref().is_some_and(|echo| echo.received > 0)),
        Module::TcpConnect => any(|vantage| {
            let accepted =
                |counts: &std::collections::BTreeMap<String, u64>| counts.contains_key("syn_ack");
            vantage.connect.as_ref().is_some_and(|series| accepted(&series.answers))
        }),
        Module::Rdp | Module::SshBanner => any(|vantage| {
            let answer = vantage.service.as_ref().and_then(|service| service.answer.as_deref());
            matches!(answer, Some("confirmed" | "refused"))
        }),
        Module::Full => report.verdict.class == Class::Reachable.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_name_must_be_allowed() {
        let network = Network { address: "192.0.2.0".parse().unwrap(), prefix: 24 };
        let inside: IpAddr = "192.0.2.7".parse().unwrap();
        let outside: IpAddr = "169.254.169.254".parse().unwrap();
        assert_eq!(permitted(&[inside], &[network]), Some(inside));
        assert_eq!(permitted(&[inside, outside], &[network]), None);
        assert_eq!(permitted(&[inside], &[]), None);
        assert_eq!(permitted(&[], &[network]), None);
    }
}
