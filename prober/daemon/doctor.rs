//! `reachd doctor`: what this machine lets reachd do, and how to give it the rest.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reachd_core::vantage::{Binding, Vantage};
use reachd_net::oneshot::oneshot_echo;
use reachd_net::privilege::{Privileges, probe_privileges};

use crate::cli::Doctor;
use crate::exit;

/// One finding: what, whether it is fine, and the fix if it is not.
struct Finding {
    what: &'static str,
    good: bool,
    lost: &'static str,
    fix: &'static str,
}

/// Prints what is there and what is missing; 1 when something the plan needs is missing.
pub fn run(arguments: &Doctor) -> Result<u8> {
    let privileges = probe_privileges();
    let mut missing = 0;
    for finding in findings(&privileges) {
        missing += usize::from(!finding.good);
        print_finding(&finding);
    }
    line!("{}", loopback()?);
    if let Some(path) = &arguments.config {
        missing += check_plan(path, &privileges)?;
    }
    line!("{}", if missing == 0 { "Nothing is missing." } else { "See the fixes above." });
    Ok(if missing == 0 { exit::OK } else { exit::FAILING })
}

fn print_finding(finding: &Finding) {
    if finding.good {
        line!("ok       {}", finding.what);
    } else {
        line!("missing  {}: {}", finding.what, finding.lost);
        line!("         fix: {}", finding.fix);
    }
}

fn findings(privileges: &Privileges) -> Vec<Finding> {
    vec![
        Finding {
            what: "raw sockets (CAP_NET_RAW)",
            good: privileges.raw,
            lost: "no hop limits of answers, no proof of what left; reset_injected shows as \
                   port_closed with the note no_capture",
            fix: "setcap cap_net_raw+ep reachd, or AmbientCapabilities=CAP_NET_RAW in the unit",
        },
        Finding {
            what: "the capture ring (packet sockets)",
            good: privileges.packet || !privileges.raw,
            lost: "raw sockets hear the answers instead (mode raw_errqueue or raw_stamps): not what \
                   our own firewall drops, nor our resets",
            fix: "whatever forbids AF_PACKET: RestrictAddressFamilies, a container's seccomp profile",
        },
        Finding {
            what: "ping sockets (net.ipv4.ping_group_range)",
            good: privileges.ping_v4 || privileges.raw,
            lost: "no echo without CAP_NET_RAW",
            fix: "sysctl net.ipv4.ping_group_range=\"GID GID\" with the service's group",
        },
        Finding {
            what: "marks on packets (CAP_NET_RAW, before Linux 5.17 CAP_NET_ADMIN)",
            good: privileges.mark,
            lost: "vantages with `mark` are refused",
            fix: "only if the plan uses marks: AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN",
        },
        Finding {
            what: "network namespaces (CAP_SYS_ADMIN)",
            good: privileges.sys_admin,
            lost: "vantages with `netns` are refused",
            fix: "only if the plan uses namespaces: the drop-in namespaces.conf of deploy/systemd",
        },
    ]
}

/// An independent echo to ourselves: the kernel answers at all.
fn loopback() -> Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = [127, 0, 0, 1].into();
    let answer = runtime.block_on(oneshot_echo(address, None, Duration::from_secs(1)));
    Ok(match answer {
        Ok(_) => "ok       an echo to 127.0.0.1 is answered".to_owned(),
        Err(error) => format!("missing  an echo to 127.0.0.1: {error}"),
    })
}

fn check_plan(path: &Path, privileges: &Privileges) -> Result<usize> {
    let settings = reachd_config::load(path).map_err(|report| anyhow!("{report}"))?;
    let mut missing = 0;
    for vantage in &settings.plan.vantages {
        let lacks = lacks(vantage, privileges);
        missing += usize::from(lacks.is_some());
        match lacks {
            None => line!("ok       vantage {}", vantage.name),
            Some(capability) => line!("missing  vantage {}: needs {capability}", vantage.name),
        }
    }
    std::fs::metadata(path).context("read the configuration file")?;
    Ok(missing)
}

fn lacks(vantage: &Vantage, privileges: &Privileges) -> Option<&'static str> {
    match &vantage.binding {
        Binding::Namespace(_) if !privileges.sys_admin => Some("CAP_SYS_ADMIN"),
        _ if vantage.mark.is_some() && !privileges.mark => Some("CAP_NET_ADMIN"),
        _ => None,
    }
}
