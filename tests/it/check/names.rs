//! Host names: resolved, refused, broken.

use std::net::IpAddr;

use anyhow::ensure;
use reachd_lab::server::{Behaviour, dns, rdp_confirm};
use reachd_lab::{Chain, DeadEnd, Match, inside, test_name};

use super::{RDP, SHORT};
use crate::support::{Round, check};

#[test]
fn names_and_their_failures() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let (target, n1) = (lan.target_at, lan.n1_at);
        let good = target.both();
        let v4 = [IpAddr::V4(target.v4)];
        let one_dead = [IpAddr::V4(target.v4), IpAddr::V6(n1.v6)];
        let server = dns(
            &lan.n2,
            &[
                ("good.test", &good),
                ("four.test", &v4),
                ("half.test", &one_dead),
                ("none.test", &[]),
            ],
        )?;
        lab.set_nameserver(lan.n2_at.v4.into())?;
        let _service = rdp_confirm(&lan.target, RDP)?;
        let _fault = lab.drop_input(&lan.n1, &Match::all().from(chain.v1_at))?;

        let ask = |words: &str| check(&chain.v1, words);
        let mut round = Round::default();
        round.ask("name with two addresses", ask("good.test"), |seen| {
            seen.surely("reachable", 0.9)?;
            let addresses = seen.document["addresses"].as_array().map_or(0, Vec::len);
            ensure!(addresses == 2, "{addresses} addresses");
            Ok(())
        })?;
        round.ask("name with IPv4 only", ask("four.test"), |seen| seen.surely("reachable", 0.9))?;
        round.ask("name whose IPv6 fails", ask("half.test"), |seen| {
            seen.is("host_silent")?;
            seen.notes("one_address_family_failed")
        })?;
        round.ask("name whose IPv6 fails, -4", ask("half.test -4"), |seen| {
            seen.surely("reachable", 0.9)
        })?;
        round.ask("name that does not exist", ask("gone.test"), |seen| {
            seen.surely("dns_failure", 0.8)?;
            seen.shows("dns", "nxdomain")
        })?;
        round.ask("name without addresses", ask("none.test"), |seen| seen.is("dns_failure"))?;
        round.finish()?;

        server.set_behaviour(Behaviour::ServerFailure);
        let mut round = Round::default();
        round.ask("name server fails", ask("good.test"), |seen| {
            seen.surely("dns_failure", 0.8)?;
            seen.shows("dns", "servfail")
        })?;
        round.finish()
    });
}

/// A name server that says nothing at all: whether the name or the resolver is at fault cannot be
/// told by asking for one name, and an unreachable resolver is ours.
#[test]
fn silent_name_servers() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let server = dns(&lan.n2, &[("good.test", &lan.target_at.both())])?;
        server.set_behaviour(Behaviour::Silent);
        lab.set_nameserver(lan.n2_at.v4.into())?;
        let mut round = Round::default();
        round.ask("name server silent", check(&chain.v1, "good.test"), |seen| {
            ensure!(["dns_failure", "vantage_fault"].contains(&seen.class()));
            Ok(())
        })?;
        round.finish()?;

        let _fault = lab.dead_end(&chain.v1, lan.n2_at, DeadEnd::NoRoute)?;
        let mut round = Round::default();
        round.ask("no route to the name server", check(&chain.v1, "good.test"), |seen| {
            seen.surely("vantage_fault", 0.7)
        })?;
        round.finish()
    });
}
