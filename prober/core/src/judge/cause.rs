//! Causes: why a class is seen. A closed list; one file and one row each.

use super::class::Class;
use super::sign::Sign;
pub use crate::wording::Text;

/// What following a remedy may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Risk {
    /// Looking changes nothing.
    ReadOnly,
    /// A setting changes; running sessions go on.
    Change,
    /// Sessions or other services are interrupted.
    Disruptive,
}

impl Risk {
    /// The word printed beside a remedy.
    pub const fn text(self) -> Text {
        match self {
            Self::ReadOnly => Text { en: "read-only", zh: "只读" },
            Self::Change => Text { en: "changes a setting", zh: "修改配置" },
            Self::Disruptive => Text { en: "interrupts sessions", zh: "会中断会话" },
        }
    }
}

/// One possible cause and what is seen when it is the case.
#[derive(Debug)]
pub struct Cause {
    /// The name used in labels, JSON and on the command line.
    pub name: &'static str,
    /// The class it shows as.
    pub class: Class,
    /// Relative frequency before any evidence; only ratios matter.
    pub prior: f64,
    /// What it means.
    pub meaning: Text,
    /// What to do about it.
    pub remedy: Text,
    /// What doing so may break.
    pub risk: Risk,
    /// How probable each sign is when this is the cause. Signs of a family that is mentioned share
    /// what is left; a family that is not mentioned is expected as ordinary (see `posterior`).
    pub expect: &'static [(Sign, f64)],
}

/// Declares the modules and the table together, so that no cause can exist and never be tried.
macro_rules! causes {
    ($($module:ident),* $(,)?) => {
        $(mod $module;)*
        /// Every cause, in the order of the documentation. The first is no cause but health.
        pub static CAUSES: &[&Cause] = &[$(&$module::CAUSE),*];
    };
}

causes! {
    healthy,
    random_loss, congestion, policer,
    ecmp_member_dead,
    ddos_blackhole, partial_blackhole, transit_blackhole,
    no_route, prefix_withdrawn,
    routing_loop,
    instance_stopped, instance_hung, rebooting, hypervisor_failure, nic_down, eip_unbound,
    bandwidth_zero, security_group_all, host_firewall_all,
    security_group_port, network_acl, host_firewall_port, service_stopped_stealth, ipsec_policy,
    third_party_guard, accept_queue_full, session_table_full, carrier_port_block,
    source_block, return_path_broken,
    path_reject, null_route_reject,
    service_stopped, rdp_disabled, rdp_port_moved,
    middlebox_reset, injected_reset, dpi_reset,
    pmtu_blackhole_forward, pmtu_blackhole_reverse,
    service_hung, host_overloaded, syn_proxy_dead_host,
    wrong_service, address_reused,
    security_layer_mismatch, session_or_licence_limit,
    certificate_broken, certificate_expired,
    dns_nxdomain, dns_servfail, dns_timeout,
    vantage_uplink, vantage_limits, vantage_resolver, vantage_local_firewall,
    vantage_egress_blocked, no_privilege, clock_step,
}

/// The cause of this name.
pub fn find(name: &str) -> Option<&'static Cause> {
    CAUSES.iter().copied().find(|cause| cause.name == name && cause.class != Class::Reachable)
}

#[cfg(test)]
mod tests;
