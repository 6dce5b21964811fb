//! What the topologies look like from their vantages.

use super::*;

/// A test that these may start again beside themselves.
const ANOTHER_TEST: &str = "tests::topology::shortest_chain_stands";

#[test]
fn chain_answers_from_end_to_end_in_both_families() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 3, target_ttl: WINDOWS_TTL })?;
        for target in chain.lan.target_at.both() {
            assert_eq!(reply_ttl(&chain.v1, target)?, Some(128 - 3), "{target}");
            assert_eq!(reply_ttl(&chain.v2, target)?, Some(128 - 2), "{target}");
        }
        for neighbour in [chain.lan.n1_at, chain.lan.n2_at] {
            assert_eq!(reply_ttl(&chain.v1, neighbour.v4.into())?, Some(125));
        }
        Ok(())
    });
}

#[test]
fn ttl_of_linux_targets_is_64() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 6, target_ttl: LINUX_TTL })?;
        for target in chain.lan.target_at.both() {
            assert_eq!(reply_ttl(&chain.v1, target)?, Some(64 - 6), "{target}");
        }
        Ok(())
    });
}

#[test]
fn every_router_shows_in_a_trace() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 12, target_ttl: WINDOWS_TTL })?;
        for family in Family::BOTH {
            let target = chain.lan.target_at.of(family);
            let hops = chain.hops.iter().map(|hop| Some(hop.of(family)));
            let expected: Vec<_> = hops.chain([Some(target)]).collect();
            assert_eq!(probe::trace(&chain.v1, target, 20, SOON)?, expected);
        }
        Ok(())
    });
}

#[test]
fn shortest_chain_stands() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        assert_eq!(reply_ttl(&chain.v1, chain.lan.target_at.v4.into())?, Some(127));
        assert_eq!(reply_ttl(&chain.v2, chain.lan.target_at.v6.into())?, Some(127));
        Ok(())
    });
}

#[test]
fn second_address_of_a_vantage_is_routed_back() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        for family in Family::BOTH {
            let target = chain.lan.target_at.of(family);
            let second = chain.v1_second.of(family);
            let mut pinger = Pinger::with_source(&chain.v1, target, second)?;
            pinger.send(DEFAULT_TTL)?;
            assert_eq!(pinger.answer(SOON)?, Some(Answer::EchoReply { from: target, ttl: 125 }));
        }
        Ok(())
    });
}

#[test]
fn upstreams_meet_at_the_edge() {
    inside(test_name!(), |lab| {
        let net = Upstreams::build(lab, UpstreamsSpec::default())?;
        let target = net.lan.target_at;
        let _fault = lab.blackhole_route(&net.a[1], target)?;
        for family in Family::BOTH {
            assert!(is_silent(&net.v1, target.of(family))?);
            assert_eq!(reply_ttl(&net.v2, target.of(family))?, Some(128 - 4));
            assert_eq!(reply_ttl(&net.v1, net.lan.n1_at.of(family))?, Some(128 - 4));
        }
        Ok(())
    });
}

#[test]
fn security_group_costs_no_hop_and_spares_the_inside() {
    inside(test_name!(), |lab| {
        let vpc = Vpc::build(lab, VpcSpec::default())?;
        let _rdp = server::rdp_confirm(&vpc.lan.target, RDP)?;
        let outside = Match::tcp(RDP).from(vpc.v1_at);
        let _group = lab.bridge_drop(&vpc.lan.switch, &outside)?;
        for family in Family::BOTH {
            let target = vpc.lan.target_at.of(family);
            let blocked = probe::connect(&vpc.v1, (target, RDP).into(), SILENCE)?;
            assert_eq!(blocked.map(drop).map_err(|e| e.kind()), Err(ErrorKind::TimedOut));
            assert_eq!(reply_ttl(&vpc.v1, target)?, Some(128 - 2));
            probe::connect(&vpc.v3, (target, RDP).into(), SOON)?.context("from inside")?;
            assert_eq!(reply_ttl(&vpc.v3, target)?, Some(128 - 1));
        }
        Ok(())
    });
}

#[test]
fn canaries_answer_on_every_branch() {
    inside(test_name!(), |lab| {
        let net = VantageLab::build(lab, VantageLabSpec::default())?;
        assert_eq!(net.canaries.len(), 6);
        for canary in &net.canaries {
            assert_eq!(reply_ttl(&net.v1, canary.at.v6.into())?, Some(64 - 3));
            probe::connect(&net.v1, canary.at.socket_v4(RDP), SOON)?.context("canary")?;
        }
        assert_eq!(reply_ttl(&net.v1, net.lan.target_at.v4.into())?, Some(125));
        Ok(())
    });
}

#[test]
fn labs_side_by_side_do_not_meet() {
    let run = || inside(ANOTHER_TEST, |_| Ok(()));
    std::thread::scope(|scope| {
        for thread in [scope.spawn(run), scope.spawn(run)] {
            thread.join().unwrap();
        }
    });
}

#[test]
fn nothing_is_left_behind() {
    let outer = || -> String {
        let words = [&["netns", "list"][..], &["-br", "link"], &["rule"], &["-6", "route"]];
        let run = |words| Command::new("ip").args(words).output().unwrap().stdout;
        words.into_iter().map(|words| String::from_utf8(run(words)).unwrap()).collect()
    };
    let before = outer();
    inside(ANOTHER_TEST, |_| Ok(()));
    assert_eq!(outer(), before);
}

#[test]
fn sandbox_holds_all_that_a_prober_needs() {
    inside(test_name!(), |lab| {
        let node = lab.host("h")?;
        node.run(&["ip", "tuntap", "add", "dev", "tun0", "mode", "tun"])?;
        node.run(&["ip", "link", "add", "br7", "type", "bridge"])?;
        node.sysctl(&[("net.ipv4.ping_group_range", "0 0")])?;
        assert!(node.sysctl(&[("kernel.pid_max", "100000")]).is_err());
        Ok(())
    });
}

#[test]
fn labs_in_turn_share_a_sandbox() {
    inside(test_name!(), |first| {
        first.host("v1")?;
        let mut second = Lab::new()?;
        assert!(second.host("v1").is_err(), "two nodes of one name");
        second.host("v2")?;
        drop(second);
        assert!(first.host("v2").is_ok());
        Ok(())
    });
}
