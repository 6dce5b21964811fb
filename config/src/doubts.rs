//! What is allowed in a target but probably not meant.

use std::collections::BTreeSet;
use std::net::IpAddr;

use reachd_core::budget::prefix;
use reachd_core::plan::Budget;
use reachd_core::target::{Fronted, NEIGHBOURS_ASKED, PORTS_ASKED, Service, Target};

use crate::layer::Stack;
use crate::node::quote;
use crate::problem::Fault;
use crate::source::Findings;

/// The keys that name ports beside the target's own.
const OTHER_PORTS: [&str; 3] = ["canary_port", "control_ports", "alternate_ports"];

/// Tells every doubt where it is written, so once for a default.
pub(crate) fn tell(target: &Target, stack: &Stack<'_>, budget: &Budget, findings: &mut Findings) {
    let mut doubts = Doubts { target, stack, findings };
    if target.service.has_port() {
        doubts.own_port();
        doubts.one_port_twice();
        doubts.too_many_ports();
        doubts.pace(budget);
    } else {
        doubts.ports_of_a_ping();
    }
    doubts.neighbours();
    doubts.behind_a_front();
    doubts.greeting();
    if target.host.contains('_') {
        let hint = "RFC 1123 allows none; check the name if it does not resolve";
        let reason = format!("{} has an underscore", quote(&target.host));
        doubts.tell("host", Fault::new(reason, hint));
    }
}

struct Doubts<'a, 'b> {
    target: &'a Target,
    stack: &'a Stack<'b>,
    findings: &'a mut Findings,
}

impl Doubts<'_, '_> {
    fn tell(&mut self, name: &str, fault: Fault) {
        if let Some((layer, item)) = self.stack.find(name) {
            self.findings.warn(item.at, &layer.key(name), fault);
        }
    }

    /// Whether the target itself says this: a default suits most targets and need not suit all.
    fn is_own(&self, name: &str) -> bool {
        self.stack.0.first().is_some_and(|own| own.has(name))
    }

    fn own_port(&mut self) {
        let target = self.target;
        let same = |what: &str| {
            let reason = format!("{} is the target's own port", target.port);
            Fault::new(reason, format!("{what} must be another port to tell anything"))
        };
        if target.canary_port == Some(target.port) {
            self.tell("canary_port", same("a canary port"));
        }
        if target.control_ports.contains(&target.port) {
            self.tell("control_ports", same("a control port"));
        }
        if target.alternate_ports.contains(&target.port) {
            self.tell("alternate_ports", same("an alternate port"));
        }
    }

    fn one_port_twice(&mut self) {
        let own = self.target.port;
        let Some(canary) = self.target.canary_port.filter(|port| *port != own) else { return };
        let lists = [&self.target.control_ports, &self.target.alternate_ports];
        for (name, list) in ["control_ports", "alternate_ports"].into_iter().zip(lists) {
            if list.contains(&canary) {
                let hint = "nothing may listen on a canary port, so it is no port that answers";
                let reason = format!("{canary} is the canary port as well");
                self.tell(name, Fault::new(reason, hint));
            }
        }
    }

    fn too_many_ports(&mut self) {
        let lists = [&self.target.control_ports, &self.target.alternate_ports];
        for (name, list) in ["control_ports", "alternate_ports"].into_iter().zip(lists) {
            let others = list.iter().filter(|port| **port != self.target.port).count();
            if others > PORTS_ASKED {
                let reason = format!("{others} ports are too many");
                let hint = format!("only the first {PORTS_ASKED} are asked: more look like a scan");
                self.tell(name, Fault::new(reason, hint));
            }
        }
    }

    fn ports_of_a_ping(&mut self) {
        for name in OTHER_PORTS {
            if self.is_own(name) {
                self.tell(name, Fault::new("a ping asks no port", "leave it out"));
            }
        }
    }

    fn pace(&mut self, budget: &Budget) {
        let hourly = 3_600.0 / self.target.connect_interval.as_secs_f64();
        let (minute, (_, hour)) = (budget.connects_per_minute, budget.hourly_connects());
        if hourly > hour || hourly / 60.0 > f64::from(minute) {
            let reason = format!("{hourly:.0} connections an hour are beyond the budget");
            let hint = format!(
                "[budget] allows {minute} a minute and, bursts apart, {hour} an hour for each \
                 target; the rest is left out"
            );
            self.tell("connect_interval", Fault::new(reason, hint));
        }
    }

    /// Neighbours of which nothing can be concluded, and those beyond the number that is asked.
    fn neighbours(&mut self) {
        let own: Option<IpAddr> = self.target.host.parse().ok();
        let Some(own) = own.filter(|_| self.is_own("neighbours")) else { return };
        let given: BTreeSet<_> = self.target.neighbours.iter().copied().collect();
        let network = if own.is_ipv4() { "/24" } else { "/64" };
        for near in &given {
            let hint = format!("only addresses of its own {network} say anything; it is not asked");
            let reason = match *near == own {
                true => format!("{near} is the target itself"),
                false => format!("{near} is not of the network of {own}"),
            };
            if *near == own || prefix(*near) != prefix(own) {
                self.tell("neighbours", Fault::new(reason, hint));
                return;
            }
        }
        if given.len() > NEIGHBOURS_ASKED {
            let reason = format!("{} neighbours are too many", given.len());
            let hint = format!("only the first {NEIGHBOURS_ASKED} are asked");
            self.tell("neighbours", Fault::new(reason, hint));
        }
    }

    fn behind_a_front(&mut self) {
        // Whoever answers a ping is what is watched, a front or not.
        if self.target.fronted == Fronted::None || !self.target.service.has_port() {
            return;
        }
        for name in ["canary_port", "control_ports", "neighbours"] {
            if self.is_own(name) {
                let reason = "behind a front nobody knows who answers for it";
                let hint = "it is not asked for the verdict; alternate_ports are";
                self.tell(name, Fault::new(reason, hint));
            }
        }
    }

    fn greeting(&mut self) {
        if self.target.service == Service::Tcp {
            return;
        }
        for name in ["expect_banner", "send"] {
            let reason = format!("{} has no use for it", self.target.service.as_str());
            self.tell(name, Fault::new(reason, "only service = \"tcp\" uses it"));
        }
    }
}
