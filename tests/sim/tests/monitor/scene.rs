//! What the scenarios share: plans, runs, and readings of a report.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::monitor::{Event, Purpose};
use reachd_core::plan::{Canary, Plan};
use reachd_core::probe::FULL_TTL;
use reachd_core::report::TargetReport;
use reachd_core::target::{Service, Target};
use reachd_core::vantage::Vantage;
use reachd_sim::{Run, World};

/// A plan for these targets from every vantage of the world.
pub(crate) fn plan(world: &World, targets: Vec<Target>) -> Plan {
    Plan {
        targets,
        vantages: world.places.keys().map(|name| Vantage::unbound(name)).collect(),
        ..Plan::default()
    }
}

/// An RDP target at a literal address.
pub(crate) fn rdp(at: IpAddr) -> Target {
    Target::new(&at.to_string(), 3389, Service::Rdp)
}

/// A canary at a literal address.
pub(crate) fn canary(at: IpAddr, port: u16) -> Canary {
    Canary { host: at.to_string(), port }
}

/// Seconds.
pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What one look at one target gave.
pub(crate) struct Look {
    pub(crate) run: Run,
    pub(crate) report: TargetReport,
    pub(crate) took: Duration,
}

/// Looks once at the first target of a plan, until it is judged.
pub(crate) fn look(world: World, plan: &Plan, seed: u64) -> Look {
    look_for(s(60), world, plan, seed)
}

/// The same with so much time for it.
pub(crate) fn look_for(limit: Duration, world: World, plan: &Plan, seed: u64) -> Look {
    let mut run = Run::new(Purpose::Once, seed, world);
    run.orders = Some(Vec::new());
    run.monitor.set_patience(limit);
    run.plan(plan);
    let judged = |event: &Event| matches!(event, Event::Judged { .. });
    let took = run.wait(limit, judged).expect("a verdict in time");
    let report = run.told.iter().rev().find_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some((**report).clone()),
        _ => None,
    });
    run.checker.check_books(run.now, &run.monitor.snapshot());
    let look = Look { report: report.expect("a report"), took, run };
    look.check_traces();
    look
}

impl Look {
    pub(crate) fn class(&self) -> &str {
        &self.report.verdict.class
    }

    pub(crate) fn has_note(&self, note: &str) -> bool {
        self.report.verdict.notes.iter().any(|part| part.note == note)
    }

    /// The mass of these causes together.
    pub(crate) fn mass(&self, causes: &[&str]) -> f64 {
        let named = self.report.verdict.causes.iter();
        named.filter(|part| causes.contains(&&*part.cause)).map(|part| part.probability).sum()
    }

    /// Full-distance packets per vantage, which are what the budget of a look bounds.
    pub(crate) fn packets(&self) -> usize {
        let orders = self.run.orders.iter().flatten();
        let full = orders.filter(|(_, order)| order.ttl == FULL_TTL).count();
        full / self.run.world.places.len().max(1)
    }

    /// At most three SYNs of one trace pass reach a target that lies behind six routers.
    fn check_traces(&self) {
        use reachd_core::monitor::ProbePacket;
        let mut passes = std::collections::BTreeMap::new();
        for (_, order) in self.run.orders.iter().flatten() {
            if let ProbePacket::Syn { source_port, .. } = order.what
                && order.ttl < FULL_TTL
                && order.ttl > 6
            {
                *passes.entry((order.vantage, order.to, source_port)).or_insert(0) += 1;
            }
        }
        let looped = self.class() == "routing_loop";
        assert!(looped || passes.values().all(|count| *count <= 3), "too many SYNs: {passes:?}");
    }

    /// Checks class, time and packets.
    pub(crate) fn expect(&self, class: &str, limit: Duration) -> &Self {
        let shown = format!("{:#?}", self.report.verdict);
        assert_eq!(self.class(), class, "{shown}");
        assert!(self.took <= limit, "took {:?} for {class}", self.took);
        assert!(self.packets() <= 60, "{} packets for {class}", self.packets());
        self
    }

    /// The honesty rule: no single cause above 0.8.
    pub(crate) fn expect_honest(&self) -> &Self {
        for part in &self.report.verdict.causes {
            let (cause, p) = (&part.cause, part.probability);
            assert!(p <= 0.8, "{cause} at {p} is more than can be known");
        }
        self
    }
}
