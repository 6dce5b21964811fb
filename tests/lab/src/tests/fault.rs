//! What each fault does to those who probe.

use super::*;

fn connect_error(node: &Node, target: SocketAddr, within: Duration) -> Result<ErrorKind> {
    let error = probe::connect(node, target, within)?.err().context("it connected")?;
    Ok(error.kind())
}

#[test]
fn dead_ends_say_what_they_are() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let r2 = chain.hops[1];
        let cases = [
            (DeadEnd::Blackhole, None, None),
            (DeadEnd::Unreachable, Some((3, 1)), Some((1, 0))),
            (DeadEnd::Prohibit, Some((3, 13)), Some((1, 1))),
            (DeadEnd::NoRoute, Some((3, 0)), Some((1, 0))),
        ];
        for (end, v4, v6) in cases {
            let fault = lab.dead_end(chain.r(2), target, end)?;
            for (family, expected) in [(Family::V4, v4), (Family::V6, v6)] {
                let within = if expected.is_some() { SOON } else { SILENCE };
                let answer = probe::ping(&chain.v1, target.of(family), DEFAULT_TTL, within)?;
                let from = r2.of(family);
                let expected = expected.map(|(kind, code)| Answer::IcmpError { from, kind, code });
                assert_eq!(answer, expected, "{end:?} {family:?}");
                assert_eq!(reply_ttl(&chain.v1, chain.lan.n1_at.of(family))?, Some(125));
            }
            fault.heal()?;
            for target in target.both() {
                assert_eq!(reply_ttl(&chain.v1, target)?, Some(125), "{end:?} healed");
            }
        }
        Ok(())
    });
}

#[test]
fn loop_ends_in_time_exceeded() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let fault = lab.loop_between(chain.r(2), chain.r(3), target)?;
        for (family, time_exceeded) in [(Family::V4, 11), (Family::V6, 3)] {
            let hops = probe::trace(&chain.v1, target.of(family), 6, SOON)?;
            assert_eq!(hops[2], hops[4], "{hops:?}");
            assert_eq!(hops[3], hops[5], "{hops:?}");
            let answer = probe::ping(&chain.v1, target.of(family), DEFAULT_TTL, SOON)?;
            assert!(
                matches!(answer, Some(Answer::IcmpError { kind, .. }) if kind == time_exceeded),
                "{answer:?}"
            );
        }
        fault.heal()?;
        assert_eq!(reply_ttl(&chain.v1, target.v4.into())?, Some(125));
        Ok(())
    });
}

#[test]
fn rejects_give_their_errno() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let _rdp = server::rdp_confirm(&chain.lan.target, RDP)?;
        let cases = [
            (With::TcpReset, ErrorKind::ConnectionRefused, ErrorKind::ConnectionRefused),
            (With::PortUnreachable, ErrorKind::ConnectionRefused, ErrorKind::ConnectionRefused),
            (With::AdminProhibited, ErrorKind::HostUnreachable, ErrorKind::PermissionDenied),
            (With::HostUnreachable, ErrorKind::HostUnreachable, ErrorKind::HostUnreachable),
        ];
        for (with, v4, v6) in cases {
            let fault = lab.reject_forward(chain.gateway(), &Match::tcp(RDP), with)?;
            for (family, expected) in [(Family::V4, v4), (Family::V6, v6)] {
                let target = (chain.lan.target_at.of(family), RDP).into();
                let error = connect_error(&chain.v1, target, SOON)?;
                assert_eq!(error, expected, "{with:?} {family:?}");
            }
            assert!(fault.counters()?.taken >= 2);
            fault.heal()?;
            probe::connect(&chain.v1, chain.lan.target_at.socket_v6(RDP), SOON)?
                .context("healed")?;
        }
        Ok(())
    });
}

#[test]
fn forged_reset_has_the_distance_of_its_forger() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let _rdp = server::rdp_confirm(&chain.lan.target, RDP)?;
        let injector = rst_injector(chain.r(2), RDP)?;
        for family in Family::BOTH {
            let target = (chain.lan.target_at.of(family), RDP).into();
            let answers = probe::syn(&chain.v1, target, 2, SOON)?;
            assert_eq!(answers.len(), 2, "{answers:?}");
            assert!(answers.contains(&Answer::Reset { ttl: 63 }), "{answers:?}");
            assert!(answers.contains(&Answer::SynAck { ttl: 125 }), "{answers:?}");
        }
        wait_until(SOON, || injector.forged() == 2)?;
        drop(injector);
        let answers = probe::syn(&chain.v1, chain.lan.target_at.socket_v4(RDP), 1, SOON)?;
        assert_eq!(answers, [Answer::SynAck { ttl: 125 }]);
        Ok(())
    });
}

#[test]
fn loss_takes_its_share() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let one_way = Match::all().to(target);
        let fault = lab.loss(chain.r(2), 40.0, &one_way)?;
        let mut pinger = Pinger::new(&chain.v1, target.v4)?;
        let (mut replies, sent) = (0, 4000);
        let mut drain = |pinger: &mut Pinger| -> Result<u64> {
            while pinger.answer(Duration::ZERO)?.is_some() {
                replies += 1;
            }
            Ok(replies)
        };
        for _ in 0..sent {
            pinger.send(DEFAULT_TTL)?;
            drain(&mut pinger)?;
        }
        wait_until(SOON, || fault.counters().is_ok_and(|counters| counters.seen == sent))?;
        let taken = fault.counters()?.taken;
        wait_until(SOON, || drain(&mut pinger).is_ok_and(|replies| replies + taken == sent))?;
        // Seven standard deviations of a binomial with n = 4000 and p = 0.4 are 217.
        assert!((1600 - 217..=1600 + 217).contains(&taken), "{taken} of {sent} dropped");
        Ok(())
    });
}

/// Asserts who answers at each TTL; a silent hop is given a short time only.
fn assert_hops(chain: &Chain, target: IpAddr, expected: &[Option<IpAddr>]) -> Result<()> {
    for (ttl, expected) in (1..).zip(expected) {
        let within = if expected.is_some() { SOON } else { SILENCE };
        let answer = probe::ping(&chain.v1, target, ttl, within)?;
        assert_eq!(answer.and_then(Answer::from), *expected, "TTL {ttl} toward {target}");
    }
    Ok(())
}

#[test]
fn hook_decides_whether_the_router_shows() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        for family in Family::BOTH {
            let target = chain.lan.target_at.of(family);
            let [r1, r2, r3] = [0, 1, 2].map(|index| Some(chain.hops[index].of(family)));
            let to = Match::all().to(target);
            let forward = lab.drop_forward(chain.r(2), &to)?;
            assert_hops(&chain, target, &[r1, r2, None])?;
            forward.heal()?;
            let prerouting = lab.drop_prerouting(chain.r(2), &to)?;
            assert_hops(&chain, target, &[r1, None, None])?;
            prerouting.heal()?;
            let silent = lab.silence_router(chain.r(2))?;
            assert_hops(&chain, target, &[r1, None, r3, Some(target)])?;
            silent.heal()?;
            assert_hops(&chain, target, &[r1, r2, r3, Some(target)])?;
        }
        Ok(())
    });
}

#[test]
fn host_filters_take_only_their_kind() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let echo = lab.drop_input(&chain.lan.target, &Match::echo())?;
        let stealth = lab.drop_output(&chain.lan.target, &Match::tcp_reset())?;
        for family in Family::BOTH {
            let target = target.of(family);
            assert!(is_silent(&chain.v1, target)?);
            assert!(probe::syn(&chain.v1, (target, RDP).into(), 1, SILENCE)?.is_empty());
        }
        stealth.heal()?;
        echo.heal()?;
        for family in Family::BOTH {
            let target = target.of(family);
            let answers = probe::syn(&chain.v1, (target, RDP).into(), 1, SOON)?;
            assert_eq!(answers, [Answer::Reset { ttl: 125 }]);
        }
        Ok(())
    });
}

#[test]
fn source_specific_block_spares_other_sources() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let block = Match::all().from(chain.v1_at);
        let _fault = lab.drop_input(&chain.lan.target, &block)?;
        for family in Family::BOTH {
            let target = chain.lan.target_at.of(family);
            assert!(is_silent(&chain.v1, target)?);
            assert_eq!(reply_ttl(&chain.v2, target)?, Some(126));
        }
        Ok(())
    });
}

#[test]
fn dead_host_comes_back_when_healed() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let target = chain.lan.target_at;
        let faults = [
            lab.address_remove(&chain.lan.target)?,
            lab.link_down(chain.r(1), chain.r(2))?,
            lab.link_down(&chain.lan.target, &chain.lan.switch)?,
        ];
        for target in target.both() {
            assert_eq!(reply_ttl_within(&chain.v1, target, SILENCE)?, None);
        }
        for fault in faults {
            fault.heal()?;
        }
        for target in target.both() {
            wait_until(SOON, || {
                reply_ttl_within(&chain.v1, target, SILENCE).is_ok_and(|ttl| ttl == Some(125))
            })?;
        }
        Ok(())
    });
}

fn reply_ttl_within(node: &Node, target: IpAddr, within: Duration) -> Result<Option<u8>> {
    Ok(match probe::ping(node, target, DEFAULT_TTL, within)? {
        Some(Answer::EchoReply { ttl, .. }) => Some(ttl),
        _ => None,
    })
}

#[test]
fn narrow_wire_and_bottleneck_stand() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let narrow = lab.mtu(chain.r(2), chain.r(3), 1400)?;
        let queue = Queue { kbit_per_second: 1000, delay_ms_max: 100 };
        let slow = lab.bottleneck(chain.r(2), chain.r(3), queue)?;
        let police = lab.police(chain.r(3), 5, &Match::echo())?;
        let flows = lab.flow_loss(chain.r(2), 4, &Match::tcp(RDP))?;
        assert_eq!(reply_ttl(&chain.v1, chain.lan.target_at.v4.into())?, Some(125));
        assert_eq!(police.counters()?, Counters { seen: 1, taken: 0 });
        for fault in [narrow, slow, police, flows] {
            fault.heal()?;
        }
        assert_eq!(reply_ttl(&chain.v1, chain.lan.target_at.v6.into())?, Some(125));
        Ok(())
    });
}

#[test]
fn gateway_tells_of_a_dead_host() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec::default())?;
        let _dead = lab.address_remove(&chain.lan.target)?;
        let gateway = chain.hops[2];
        let mut pingers = Vec::new();
        for (family, kind, code) in [(Family::V4, 3, 1), (Family::V6, 1, 3)] {
            let mut pinger = Pinger::new(&chain.v1, chain.lan.target_at.of(family))?;
            pinger.send(DEFAULT_TTL)?;
            pingers.push((pinger, Answer::IcmpError { from: gateway.of(family), kind, code }));
        }
        for (pinger, expected) in &mut pingers {
            assert_eq!(pinger.answer(2 * SOON)?, Some(*expected));
        }
        Ok(())
    });
}

#[test]
fn flow_loss_sticks_to_the_port() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let fault = lab.flow_loss(chain.r(1), 2, &Match::tcp(RDP))?;
        let mut fates = Vec::new();
        for _ in 0..24 {
            let answers = probe::syn(&chain.v1, chain.lan.target_at.socket_v4(RDP), 1, SILENCE)?;
            fates.push(answers.len());
        }
        let lost = fates.iter().filter(|answers| **answers == 0).count() as u64;
        assert_eq!(fault.counters()?, Counters { seen: 24, taken: lost });
        // Ports and seed are fixed, so this is no matter of luck.
        assert!((1..24).contains(&lost), "{fates:?}");
        Ok(())
    });
}
