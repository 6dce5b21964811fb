//! What the target itself answers: whose answer it is, and how late.

use std::time::Duration;

use anyhow::{Result, ensure};
use reachd_lab::server::{rdp_after_one, rdp_confirm, rdp_slow, silent};
use reachd_lab::{Chain, Hook, Match, inside, test_name};

use super::{RDP, SHORT, both};
use crate::support::{Round, Seen, check, check_unprivileged};

fn first_cause(seen: &Seen, cause: &str) -> Result<()> {
    ensure!(seen.causes().first().is_some_and(|(first, _)| *first == cause), "expected {cause}");
    Ok(())
}

/// An inspector on the path resets at the first data; a host closes by itself.
#[test]
fn the_sender_of_a_reset_behind_the_handshake_is_told() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.target, RDP)?;
        let inspects = "tcp flags & psh == psh counter name taken reject with tcp reset";
        let says = Match::tcp(RDP).to(lan.target_at);
        let _fault = lab.filter(chain.r(3), Hook::Forward, &says, inspects)?;
        let mut round = Round::default();
        for (family, target) in both(lan.target_at, RDP) {
            let title = format!("reset at the first data, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                seen.shows("service_reset", "different")?;
                seen.shows("accept_distance", "same")?;
                first_cause(seen, "dpi_reset")?;
                seen.surely("reset_injected", 0.9)
            })?;
            // Whoever sees no packets knows of no sender.
            let title = format!("the same without packets, {family}");
            round.ask(&title, check_unprivileged(&chain.v1, &target), |seen| {
                ensure!(seen.sign("service_reset").is_none(), "no packet was seen");
                ensure!(seen.sign("accept_distance").is_none(), "no packet was seen");
                Ok(())
            })?;
        }
        round.finish()
    });
}

/// A proxy accepts in the name of a host that is gone; beside it a service that is mute itself.
#[test]
fn a_proxy_before_a_dead_host_is_no_service_that_hangs() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [silent(&lan.target, RDP)?, silent(&lan.n1, RDP)?];
        let _proxy = lab.syn_proxy(chain.r(3), RDP, lan.target_at)?;
        let _dead = lab.drop_input(&lan.target, &Match::all().from(chain.v1_at))?;
        let _deaf = lab.drop_input(&lan.n1, &Match::echo())?;
        let mut round = Round::default();
        // Over IPv6 this kernel's proxy answers the SYNs of sockets and leaves raw ones alone.
        for (family, target) in both(lan.target_at, RDP).into_iter().take(1) {
            let title = format!("proxy before a dead host, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                first_cause(seen, "syn_proxy_dead_host")?;
                seen.surely("service_hung", 0.9)
            })?;
        }
        for (family, target) in both(lan.n1_at, RDP) {
            let title = format!("mute and without echo, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                seen.shows("accept_distance", "same")?;
                first_cause(seen, "service_hung")
            })?;
        }
        round.finish()
    });
}

/// An answer after six seconds is late; one after two is an answer.
#[test]
fn a_late_answer_is_heard_and_called_late() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let seconds = Duration::from_secs;
        let _services =
            [rdp_slow(&lan.target, RDP, seconds(6))?, rdp_slow(&lan.n1, RDP, seconds(2))?];
        let mut round = Round::default();
        for (family, target) in both(lan.target_at, RDP) {
            let title = format!("six seconds, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                seen.shows("service", "late")?;
                first_cause(seen, "host_overloaded")?;
                seen.surely("service_hung", 0.9)
            })?;
        }
        for (family, target) in both(lan.n1_at, RDP) {
            let title = format!("two seconds, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| seen.is("reachable"))?;
        }
        round.finish()
    });
}

/// What happens once is no failure, and is told.
#[test]
fn one_connection_that_is_left_unanswered_is_told_and_no_failure() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let service = rdp_after_one(&lan.target, RDP)?;
        let mut round = Round::default();
        for (family, target) in both(lan.target_at, RDP).into_iter().take(1) {
            let title = format!("the first connection is left unanswered, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| {
                seen.surely("reachable", 0.9)?;
                let said = seen.document["verdict"]["summary"].as_str().unwrap_or_default();
                ensure!(said.contains("Yet a connection just before was not answered"), "{said}");
                Ok(())
            })?;
        }
        round.finish()?;
        ensure!(service.accepted() >= 2, "it was asked once");
        Ok(())
    });
}
