//! Part of the packets is treated otherwise: by flow, by rate, by protocol or by size.

use std::cell::Cell;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, ensure};
use reachd_lab::server::{http, rdp_confirm, silent};
use reachd_lab::{Addresses, Chain, Hook, Match, Node, Queue, in_namespace, inside, test_name};

use super::{LONG, RDP, SHORT, both};
use crate::support::{Round, Seen, check, check_unprivileged};

/// How often every path is looked at; one look in six does not meet a dead one of four.
const TURNS: usize = 2;

/// One of two, four and four paths is dead: by the kernel's hash of the source port, as a router's,
/// and by its last bits, which every first look must meet.
#[test]
fn a_dead_path_is_told_from_loss_by_chance() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services =
            [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?, http(&lan.n2, 80)?];
        let tcp = |at: Addresses| Match::tcp_any().to(at);
        let by_bits = "tcp sport & 3 == 1 counter name taken drop";
        let back = Match::tcp_any().from(lan.n2_at);
        let _faults = [
            lab.flow_loss(chain.r(2), 4, &tcp(lan.target_at))?,
            lab.filter(chain.r(2), Hook::Forward, &tcp(lan.n1_at), by_bits)?,
            lab.filter(
                chain.r(2),
                Hook::Forward,
                &back,
                "jhash tcp dport mod 2 seed 0x5eed == 0 counter name taken drop",
            )?,
        ];
        let met = Cell::new(0);
        let cases = [
            ("one path of four dead, by hash", lan.target_at, RDP),
            ("one path of four dead, by bits", lan.n1_at, RDP),
            ("one path back of two dead, by hash", lan.n2_at, 80),
        ];
        for turn in 0..TURNS {
            let mut round = Round::default();
            for (title, at, port) in cases {
                for (family, target) in both(at, port) {
                    let title = format!("{title}, {family}, turn {turn}");
                    let met = &met;
                    round.ask(&title, check(&chain.v1, &target), move |seen| {
                        met.set(met.get() + usize::from(dead_path(seen)?));
                        Ok(())
                    })?;
                }
            }
            round.finish()?;
        }
        ensure!(met.get() >= TURNS * cases.len(), "met by {} checks", met.get());
        Ok(())
    });
}

/// Who met the dead path must name it; who lost nothing cannot. Gives whether it was met.
fn dead_path(seen: &Seen) -> Result<bool> {
    let vantage = seen.vantage();
    let lost = vantage["connect"]["lost"]["silent"].as_u64().unwrap_or(0);
    // One loss in the last seconds, too late to be asked again, proves nothing.
    if lost == 0 || lost == 1 && seen.class() == "reachable" {
        seen.is("reachable")?;
        return Ok(false);
    }
    seen.surely("partial_path", 0.7)?;
    seen.shows("flow_split", "split")?;
    let summary = seen.document["verdict"]["summary"].as_str().unwrap_or_default();
    ensure!(summary.contains("(source ports "), "{summary}");
    ensure!(seen.mass("vantage_fault") < 0.1, "it is no fault of ours");
    Ok(true)
}

/// What strikes packets, not flows, is packet loss: the flows are mixed.
#[test]
fn loss_by_chance_mixes_the_flows() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, LONG)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        let _faults = [
            lab.loss(chain.r(2), 50.0, &Match::tcp_any().to(lan.target_at))?,
            lab.loss(chain.r(3), 50.0, &Match::all().to(lan.n1_at))?,
        ];
        let mut round = Round::default();
        for (title, at) in [("half of TCP lost", lan.target_at), ("half of all lost", lan.n1_at)] {
            for (family, target) in both(at, RDP) {
                round.ask(&format!("{title}, {family}"), check(&chain.v1, &target), |seen| {
                    seen.surely("packet_loss", 0.6)?;
                    ensure!(seen.sign("flow_split") != Some("split"), "flows are not split");
                    Ok(())
                })?;
            }
        }
        round.finish()
    });
}

/// Who limits echoes only limits nobody's work.
#[test]
fn limited_echoes_are_a_note() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        let _faults = [
            lab.police(chain.r(3), 1, &Match::echo().to(lan.target_at))?,
            lab.loss(chain.r(2), 60.0, &Match::echo().to(lan.n1_at))?,
        ];
        let mut round = Round::default();
        for (title, at) in
            [("echoes limited to one a second", lan.target_at), ("60 % of echoes lost", lan.n1_at)]
        {
            // One family after the other would share the limit; each has its own address.
            for (family, target) in both(at, RDP).into_iter().take(1) {
                round.ask(&format!("{title}, {family}"), check(&chain.v1, &target), |seen| {
                    seen.surely("reachable", 0.8)?;
                    seen.notes("icmp_rate_limited")
                })?;
            }
        }
        round.finish()
    });
}

/// Packets that a queue delays and then drops, in waves.
#[test]
fn a_full_queue_shows_in_the_delay() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.target, RDP)?;
        let queue = Queue { kbit_per_second: 128, delay_ms_max: 120 };
        let _fault = lab.bottleneck(chain.r(2), chain.r(3), queue)?;
        let _flood = Flood::start(&chain.v2, (lan.n2_at.v4, 9).into())?;
        let mut round = Round::default();
        let target = lan.target_at.v4.to_string();
        round.ask("a queue that overflows", check(&chain.v1, &target), |seen| {
            seen.surely("packet_loss", 0.6)?;
            seen.shows("queueing", "grows")?;
            ensure!(seen.causes().first().is_some_and(|(cause, _)| *cause == "congestion"));
            Ok(())
        })?;
        round.finish()
    });
}

/// Small datagrams in waves, more than the queue takes.
struct Flood {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    fn start(from: &Node, to: SocketAddr) -> Result<Self> {
        let socket = in_namespace(from, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)))??;
        let to = match to {
            SocketAddr::V4(v4) => SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port()),
            v6 @ SocketAddr::V6(_) => v6,
        };
        let (stop, stopped) = channel();
        // Four small datagrams every five milliseconds are thrice what the queue sends. They must
        // not be larger than probes: where those do not fit, probes still would. Every third fifth
        // of a second rests, so that the queue runs empty.
        let thread = std::thread::spawn(move || {
            for tick in 0_u32.. {
                let wait = stopped.recv_timeout(Duration::from_millis(5));
                if wait != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if tick / 40 % 3 != 2 {
                    (0..4).for_each(|_| drop(socket.send_to(&[0; 16], to)));
                }
            }
        });
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// With a minute to spend, two rates tell a limit from loss by chance.
#[test]
fn two_rates_tell_a_limit_from_chance() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        let _faults = [
            lab.police(chain.r(3), 5, &Match::all().to(lan.target_at.v4))?,
            lab.loss(chain.r(2), 40.0, &Match::all().to(lan.n1_at))?,
        ];
        let mut round = Round::patient();
        let limited = format!("{} --timeout 90s", lan.target_at.v4);
        round.ask("policer of five a second", check(&chain.v1, &limited), |seen| {
            seen.surely("packet_loss", 0.7)?;
            seen.shows("rate_split", "quick_loses")?;
            ensure!(seen.causes().first().is_some_and(|(cause, _)| *cause == "policer"));
            Ok(())
        })?;
        for (family, target) in both(lan.n1_at, RDP) {
            let command = check(&chain.v1, &format!("{target} --timeout 90s"));
            round.ask(&format!("40 % lost, two rates, {family}"), command, |seen| {
                seen.surely("packet_loss", 0.7)?;
                ensure!(seen.sign("rate_split") != Some("quick_loses"), "no limit is there");
                ensure!(seen.sign("rate_split").is_some() || seen.causes()[0].0 != "policer");
                Ok(())
            })?;
        }
        round.finish()
    });
}

/// A narrow link whose router says so harms nobody; one that keeps silent swallows what is large.
#[test]
fn large_packets_that_vanish_on_the_way_there() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, LONG)?;
        let _services = services(&chain)?;
        let _narrow = lab.mtu(chain.r(3), chain.r(4), 1_400)?;
        // IPv6 routes learn the size once, and our own kernel with them: that must not fool us.
        for turn in ["first", "second"] {
            sizes(&chain, &format!("1400 told, {turn} time"), |seen| {
                seen.surely("reachable", 0.9)?;
                seen.shows("large_packet", "told")?;
                ensure!(seen.seconds() < 1.0, "took {} s", seen.seconds());
                Ok(())
            })?;
        }
        let _silenced = lab.drop_output(chain.r(3), &Match::icmp_errors())?;
        sizes(&chain, "1400 not told", |seen| {
            seen.surely("mtu_blackhole", 0.9)?;
            seen.shows("large_packet", "lost_forward")?;
            first_cause(seen, "pmtu_blackhole_forward")
        })?;
        // Ping sockets send large echoes too, but nothing sends segments.
        let mut round = Round::default();
        for (family, target) in both(chain.lan.target_at, RDP) {
            let command = check_unprivileged(&chain.v1, &target);
            round.ask(&format!("1400 not told, no capability, {family}"), command, |seen| {
                seen.surely("mtu_blackhole", 0.9)?;
                seen.shows("large_packet", "lost")
            })?;
        }
        round.finish()
    });
}

/// Only replies are too large: requests as large arrive and draw short answers.
#[test]
fn large_packets_that_vanish_on_the_way_back() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _services = services(&chain)?;
        let long = Match::all().from(chain.lan.subnet).and("meta length > 1300");
        let _fault = lab.drop_forward(chain.r(3), &long)?;
        sizes(&chain, "replies above 1300 lost", |seen| {
            seen.surely("mtu_blackhole", 0.9)?;
            seen.shows("large_packet", "lost_in_reply")?;
            first_cause(seen, "pmtu_blackhole_reverse")
        })
    });
}

/// Where segments of no connection are swallowed, as Windows does, nobody can tell the way.
#[test]
fn without_segments_both_ways_are_possible() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _services = services(&chain)?;
        let swallowed = Match::tcp_reset().from(chain.lan.subnet);
        let long = Match::all().from(chain.lan.subnet).and("meta length > 1300");
        let _faults = [
            lab.drop_output(&chain.lan.target, &swallowed)?,
            lab.drop_output(&chain.lan.n1, &swallowed)?,
            lab.drop_forward(chain.r(3), &long)?,
        ];
        sizes(&chain, "replies above 1300 lost, segments swallowed", |seen| {
            seen.surely("mtu_blackhole", 0.9)?;
            seen.shows("large_packet", "lost")?;
            seen.no_single_cause()
        })
    });
}

/// Hosts that answer only small echoes are no blackholes.
#[test]
fn filtered_large_echoes_are_no_blackhole() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _services = services(&chain)?;
        let subnet = chain.lan.subnet;
        let _fault =
            lab.drop_forward(chain.r(3), &Match::echo().to(subnet).and("meta length > 1000"))?;
        sizes(&chain, "large echoes filtered", |seen| seen.surely("reachable", 0.9))
    });
}

fn services(chain: &Chain) -> Result<[reachd_lab::server::TcpServer; 2]> {
    Ok([rdp_confirm(&chain.lan.target, RDP)?, silent(&chain.lan.n1, RDP)?])
}

/// Checks a service that answers, over both families.
fn sizes(chain: &Chain, title: &str, judge: impl Fn(&Seen) -> Result<()>) -> Result<()> {
    let mut round = Round::default();
    for (family, target) in both(chain.lan.target_at, RDP) {
        round.ask(&format!("{title}, {family}"), check(&chain.v1, &target), &judge)?;
    }
    round.finish()
}

fn first_cause(seen: &Seen, cause: &str) -> Result<()> {
    ensure!(seen.causes().first().is_some_and(|(first, _)| *first == cause), "expected {cause}");
    Ok(())
}

/// A service that falls mute where large packets vanish is not called hung.
#[test]
fn a_stalled_service_asks_for_large_packets() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = services(&chain)?;
        let deaf = lab.drop_input(&lan.n1, &Match::echo())?;
        let long = Match::all().to(lan.subnet).and("meta length > 1400");
        let fault = lab.drop_forward(chain.r(2), &long)?;
        let mut round = Round::default();
        for (family, target) in both(lan.n1_at, RDP) {
            let title = format!("mute and without echo, large lost, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                seen.shows("large_packet", "lost_forward")?;
                seen.surely("mtu_blackhole", 0.6)
            })?;
        }
        round.finish()?;
        fault.heal()?;
        let mut round = Round::default();
        for (family, target) in both(lan.n1_at, RDP) {
            let title = format!("mute and without echo, {family}");
            round
                .ask(&title, check(&chain.v1, &target), |seen| seen.surely("service_hung", 0.7))?;
        }
        round.finish()?;
        deaf.heal()
    });
}
