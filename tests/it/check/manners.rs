//! What a check costs whoever is checked, counted there: within its budget, and no scan.

use anyhow::{Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Addresses, Chain, Family, Fault, Hook, Lab, Match, Node, inside, test_name};

use super::{LONG, RDP, both};
use crate::support::{Round, check};

/// Questions at full hop limit (DESIGN section 9), the full connection's SYN, what of two traces
/// arrives, and what a full connection and its retransmissions add.
const QUESTIONS_MAX: u64 = 60 + 1 + 6 + 4;
/// All packets: the kernel resets what a raw SYN opened, and a connection has an end.
const PACKETS_MAX: u64 = 110;

/// What arrives at a host from the prober, of one family.
struct Meter {
    echoes: Fault,
    syns: Fault,
    elsewhere: Fault,
    all: Fault,
}

impl Meter {
    fn install(lab: &Lab, host: &Node, from: &Match) -> Result<Self> {
        let count = |what: &str| {
            let verdict = format!("{what} counter name taken accept");
            lab.filter(host, Hook::Prerouting, from, &verdict)
        };
        Ok(Self {
            echoes: count("meta l4proto { icmp, icmpv6 }")?,
            syns: count("tcp flags & (syn | ack | rst) == syn")?,
            elsewhere: count(&format!("tcp dport != {RDP}"))?,
            all: count("")?,
        })
    }

    fn judge(&self, title: &str) -> Result<()> {
        let taken = |fault: &Fault| fault.counters().map(|counters| counters.taken);
        let (echoes, syns) = (taken(&self.echoes)?, taken(&self.syns)?);
        let (elsewhere, all) = (taken(&self.elsewhere)?, taken(&self.all)?);
        let told = format!("{title}: {echoes} echoes, {syns} SYNs, {all} packets in all");
        ensure!(echoes >= 5 && syns >= 3, "{told}: the meter sees too little");
        ensure!(echoes + syns <= QUESTIONS_MAX, "{told}");
        ensure!(all <= PACKETS_MAX, "{told}");
        ensure!(elsewhere == 0, "{title}: {elsewhere} segments to other ports");
        Ok(())
    }
}

/// Checks hosts over both families, one family after the other, and reads their meters.
fn look(lab: &Lab, chain: &Chain, cases: &[(&str, &str, &Node, Addresses)]) -> Result<()> {
    for (number, family) in Family::BOTH.into_iter().enumerate() {
        let mut round = Round::default();
        let mut meters = Vec::new();
        for (title, class, host, at) in cases {
            let from = Match::all().from(chain.v1_at).family(family);
            meters.push((title, Meter::install(lab, host, &from)?));
            let (name, target) = both(*at, RDP)[number].clone();
            let title = format!("{title}, {name}");
            round.ask(&title, check(&chain.v1, &target), |seen| seen.is(class))?;
        }
        round.finish()?;
        for (title, meter) in meters {
            meter.judge(&format!("{title}, {family:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_check_stays_within_its_budget_at_the_target() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, LONG)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n2, RDP)?];
        let _filter =
            lab.filter(&lan.n2, Hook::Input, &Match::tcp(RDP), "counter name taken drop")?;
        look(
            lab,
            &chain,
            &[
                ("healthy", "reachable", &lan.target, lan.target_at),
                ("closed port", "port_closed", &lan.n1, lan.n1_at),
                ("filtered port", "security_group", &lan.n2, lan.n2_at),
            ],
        )?;
        // Its own network must still find it, or nothing would arrive to be counted.
        let from_us = Match::all().from(chain.v1_at);
        let _mute = lab.filter(&lan.target, Hook::Input, &from_us, "counter name taken drop")?;
        look(lab, &chain, &[("silent host", "host_silent", &lan.target, lan.target_at)])
    });
}
