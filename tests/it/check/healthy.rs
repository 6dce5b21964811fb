//! Everything answers: quickly, cheaply, and with the right notes.

use anyhow::{Result, ensure};
use reachd_lab::server::{self, rdp_confirm};
use reachd_lab::{Chain, ChainSpec, Lab, Match, Node, inside, test_name};

use super::{LONG, RDP, SHORT, both};
use crate::support::{Seen, check, run};

/// DESIGN section 9: under a second when every layer answers.
const SECONDS_MAX: f64 = 1.0;
/// Twelve packets of the questions, the connection and both traces with a second pass.
const PACKETS_MAX: u64 = 60;

#[test]
fn healthy_behind_three_routers() {
    inside(test_name!(), |lab| look(lab, SHORT));
}

#[test]
fn healthy_behind_six_routers() {
    inside(test_name!(), |lab| look(lab, LONG));
}

fn look(lab: &mut Lab, spec: ChainSpec) -> Result<()> {
    let chain = Chain::build(lab, spec)?;
    let target = &chain.lan.target;
    let at = chain.lan.target_at;
    let _services =
        [rdp_confirm(target, RDP)?, server::ssh_banner(target, 22)?, server::http(target, 80)?];
    for (service, port) in [("rdp", RDP), ("ssh", 22), ("tcp", 80)] {
        for (_, address) in both(at, port) {
            let seen = ask(&chain.v1, &format!("{address} --service {service}"))?;
            expect_quick(&seen, 0.9)?;
            ensure!(seen.document["target"]["service"] == service);
            distances(&seen, spec)?;
        }
    }
    for address in at.both() {
        let seen = ask(&chain.v1, &format!("{address} --service ping"))?;
        // One layer proves less than three.
        expect_quick(&seen, 0.8)?;
        ensure!(seen.vantage()["connect"].is_null() && seen.document["target"]["port"].is_null());
        distances(&seen, spec)?;
    }

    let echo = lab.drop_input(target, &Match::echo())?;
    for (_, address) in both(at, RDP) {
        let seen = ask(&chain.v1, &address)?;
        seen.surely("reachable", 0.9)?;
        seen.notes("icmp_filtered")?;
        // Windows drops echo by default; nobody should wait for a confirmation of that.
        let seconds = seen.document["seconds"].as_f64().unwrap_or(f64::MAX);
        ensure!(seconds < 7.0, "took {seconds} s");
    }
    echo.heal()?;

    let mute = lab.silence_router(chain.r(2))?;
    let seen = ask(&chain.v1, &at.v4.to_string())?;
    // A silent hop is not waited for.
    expect_quick(&seen, 0.9)?;
    seen.notes("icmp_limited_hop")?;
    mute.heal()
}

fn ask(vantage: &Node, words: &str) -> Result<Seen> {
    let mut command = check(vantage, words);
    command.arg("--json");
    let ran = run(command)?;
    let mut seen = ran.verdicts()?;
    ensure!(seen.len() == 1 && ran.code == 0, "{words}: {ran:?}");
    let seen = seen.remove(0);
    seen.is_sound()?;
    crate::support::record(&format!("healthy, {words}"), std::slice::from_ref(&seen))?;
    Ok(seen)
}

fn expect_quick(seen: &Seen, confidence: f64) -> Result<()> {
    seen.surely("reachable", confidence)?;
    let (seconds, packets) = (seen.seconds(), seen.packets());
    ensure!(seconds < SECONDS_MAX, "{seconds} s, not below {SECONDS_MAX}");
    ensure!(packets <= PACKETS_MAX, "{packets} packets, more than {PACKETS_MAX}");
    ensure!(seen.causes().is_empty(), "causes of health: {:?}", seen.causes());
    Ok(())
}

/// The distance read off the hop limit and the traced path agree with the network.
fn distances(seen: &Seen, spec: ChainSpec) -> Result<()> {
    let vantage = seen.vantage();
    ensure!(vantage["mode"] == "raw", "{vantage}");
    ensure!(vantage["echo"]["distance"] == spec.routers, "{}", vantage["echo"]);
    let ttl = spec.target_ttl - spec.routers;
    ensure!(vantage["echo"]["ttl"] == ttl, "{}", vantage["echo"]);
    let hops = vantage["path"]["icmp"].as_array().map_or(0, Vec::len);
    // The routers, and the target where they end.
    ensure!(hops == usize::from(spec.routers) + 1, "{hops} hops: {}", vantage["path"]);
    Ok(())
}
