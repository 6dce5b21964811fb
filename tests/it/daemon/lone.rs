//! The first minute of a new owner: one target, one receiver, no configuration file, no canary and
//! no second vantage. Every one of the four failures must still be named and told.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_lab::{Fault, Lab, Match, inside_within, test_name};

use super::harness::{Ground, START, record, until};
use super::scene::Scene;
use super::told::{one_pair_each, told};

const FAULT_TO_FIRING: Duration = Duration::from_secs(60);
const HEAL_TO_RESOLVED: Duration = Duration::from_secs(60);
/// One vantage sends two probes in ten seconds; eight in a row get through once in 256 runs.
const LOSS: f64 = 50.0;
const LIMIT: Duration = Duration::from_secs(200);

/// Breaks the one target, and expects a message of one of these classes, and its end.
fn alone(test: &str, classes: &[&str], fault: impl FnOnce(&Lab, &Scene) -> Result<Fault>) {
    inside_within(LIMIT, test, |lab| {
        let scene = Scene::build(lab)?;
        let name = format!("{}:3389", scene.chain.lan.target_at.v4);
        let arguments = ["--target", &name, "--webhook", "http://127.0.0.1:8081/"];
        let daemon = Ground::bare(&scene.chain.v1, &arguments)?.start()?;
        daemon.until_page("it is well", START, |page| {
            page.class(&name).as_deref() == Some("reachable")
        })?;
        let fault = fault(lab, &scene)?;
        let begun = Instant::now();
        let first =
            until("it is told", FAULT_TO_FIRING, || Ok(told(&scene.receiver)?.into_iter().next()));
        let first = first.with_context(|| {
            let body = daemon.json("/api/v1/targets").unwrap_or_default();
            format!("the causes: {:#}", body["targets"][0]["report"]["verdict"]["causes"])
        })?;
        let (class, took) = (first.label("class").to_owned(), begun.elapsed());
        record(&format!("lone: {class} told after {:.1} s", took.as_secs_f64()));
        ensure!(first.is("firing", &name) && classes.contains(&class.as_str()), "{first:#?}");
        fault.heal()?;
        let begun = Instant::now();
        scene.receiver.wait_for(2, HEAL_TO_RESOLVED)?;
        record(&format!("lone: {class} over after {:.1} s", begun.elapsed().as_secs_f64()));
        one_pair_each(&scene.receiver, &[&name])
    });
}

#[test]
fn a_blackhole_is_told_of_a_lone_target() {
    alone(test_name!(), &["blackhole", "host_silent"], |lab, scene| {
        lab.blackhole_route(scene.chain.r(1), scene.chain.lan.target_at)
    });
}

#[test]
fn a_security_group_is_told_of_a_lone_target() {
    alone(test_name!(), &["security_group"], |lab, scene| {
        lab.bridge_drop(&scene.chain.lan.switch, &Match::tcp(3389))
    });
}

#[test]
fn packet_loss_is_told_of_a_lone_target() {
    alone(test_name!(), &["packet_loss"], |lab, scene| {
        let toward = Match::all().to(scene.chain.lan.target_at);
        lab.loss(scene.chain.gateway(), LOSS, &toward)
    });
}
