//! Boxes that do more than drop, and traffic of others.

use super::*;
use crate::server::rdp_certificate;
use crate::{Fan, FanSpec, Fleet, FleetSpec, Spells, udp_flood};

#[test]
fn syn_proxy_answers_for_a_dead_host() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let _rdp = server::rdp_confirm(&chain.lan.target, RDP)?;
        let proxy = lab.syn_proxy(chain.gateway(), RDP, target)?;
        for at in [target.socket_v4(RDP), target.socket_v6(RDP)] {
            probe::connect(&chain.v1, at, SOON)?.context("through the proxy")?;
        }
        let _dead = lab.drop_input(&chain.lan.target, &Match::all())?;
        let answers = probe::syn(&chain.v1, target.socket_v4(RDP), 1, SOON)?;
        assert_eq!(answers, [Answer::SynAck { ttl: 64 - 2 }]);
        proxy.heal()?;
        assert!(probe::syn(&chain.v1, target.socket_v4(RDP), 1, SILENCE)?.is_empty());
        Ok(())
    });
}

#[test]
fn forwarded_port_leads_to_the_same_host_for_the_same_flow() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let front = chain.hops[2];
        let lan = &chain.lan;
        let _rdp = server::rdp_confirm(&lan.target, RDP)?;
        let only = lab.port_forward(chain.gateway(), front, RDP, &[lan.target_at])?;
        for at in [front.socket_v4(RDP), front.socket_v6(RDP)] {
            probe::connect(&chain.v1, at, SOON)?.context("forwarded")?;
        }
        only.heal()?;
        // The second host serves nothing, so that a reset tells who was chosen.
        let both = [lan.target_at, lan.n1_at];
        let _balanced = lab.port_forward(chain.gateway(), front, RDP, &both)?;
        let mut resets = 0;
        for _ in 0..24 {
            let answers = probe::syn(&chain.v1, front.socket_v4(RDP), 1, SOON)?;
            assert_eq!(answers.len(), 1);
            resets += usize::from(matches!(answers[0], Answer::Reset { .. }));
        }
        // Ports and seed are fixed, so this is no matter of luck.
        assert!((1..24).contains(&resets), "{resets} of 24");
        Ok(())
    });
}

#[test]
fn transparent_proxy_answers_for_everybody() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let _proxy = server::sink(chain.r(1), 3129)?;
        let _taken = lab.transparent_proxy(chain.r(1), &chain.v1, 3129)?;
        let nobody = (std::net::Ipv4Addr::new(192, 0, 2, 1), RDP).into();
        probe::connect(&chain.v1, nobody, SOON)?.context("an address that nobody has")?;
        Ok(())
    });
}

#[test]
fn large_packets_meet_the_narrow_wire_and_small_ones_pass() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let at = chain.lan.target_at.socket_v4(RDP);
        let _rdp = rdp_certificate(&chain.lan.target, RDP, 3000)?;
        let talk = |within| -> Result<usize> {
            let mut stream = probe::connect(&chain.v1, at, SOON)?.context("connect")?;
            stream.set_read_timeout(Some(within))?;
            stream.write_all(b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0")?;
            stream.read_exact(&mut [0; 19])?;
            stream.write_all(b"hello")?;
            let mut flight = [0; 3005];
            Ok(stream.read_exact(&mut flight).map_or(0, |()| flight.len()))
        };
        assert_eq!(talk(SOON)?, 3005);
        let large = Match::all().from(chain.lan.target_at).and("meta length > 1300");
        let _lost = lab.drop_forward(chain.gateway(), &large)?;
        assert_eq!(talk(SILENCE)?, 0);
        Ok(())
    });
}

#[test]
fn pulse_comes_and_goes() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let target = chain.lan.target_at.v4;
        let pass = || is_silent(&chain.v1, target).is_ok_and(|silent| !silent);
        let packets = Match::all().to(chain.lan.target_at);
        let once = lab.bursts(chain.r(1), &packets, Spells::Once(2 * SILENCE))?;
        wait_until(SOON, || !pass())?;
        wait_until(SOON, pass)?;
        drop(once);
        let spells = Spells::Random { good: SILENCE, bad: SILENCE, seed: 1 };
        let random = lab.bursts(chain.r(1), &packets, spells)?;
        wait_until(SOON, || !pass())?;
        drop(random);
        assert!(pass(), "a pulse heals when it is dropped");
        Ok(())
    });
}

#[test]
fn flood_fills_the_queue() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let (near, far) = (chain.r(2), chain.r(3));
        let queue = Queue { kbit_per_second: 1000, delay_ms_max: 100 };
        let _slow = lab.bottleneck(near, far, queue)?;
        assert_eq!(lab.queue_drops(near, far)?, 0);
        let to = (&chain.lan.n1, chain.lan.n1_at.socket_v4(9));
        let _flood = udp_flood(&chain.v2, to, 1400)?;
        wait_until(SOON, || lab.queue_drops(near, far).is_ok_and(|drops| drops > 0))
    });
}

#[test]
fn fan_stands() {
    inside(test_name!(), |lab| {
        let fan = Fan::build(lab, FanSpec::default())?;
        assert_eq!(reply_ttl(&fan.v1, fan.lan.target_at.v4.into())?, Some(128 - 4));
        assert_eq!(reply_ttl(&fan.v1, fan.lan.target_at.v6.into())?, Some(128 - 4));
        Ok(())
    });
}

#[test]
fn fleet_answers_at_every_address() {
    inside(test_name!(), |lab| {
        let fleet = Fleet::build(lab, FleetSpec { hosts: 1, addresses: 3 })?;
        assert_eq!(fleet.targets.len(), 6);
        for target in &fleet.targets {
            for vantage in &fleet.vantages {
                assert_eq!(reply_ttl(vantage, target.v4.into())?, Some(128 - 4));
            }
        }
        Ok(())
    });
}
