//! The corpus of scenarios (`tests/scenarios/t2`): every file is sound, and those of the four named
//! failures that nothing else here builds are judged rightly from a cold start.
//!
//! All of them are run, and counted, by `cargo run -p reachd-lab -- scenarios`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use reachd_core::judge::{Class, Note, cause};
use reachd_lab::scenario::{Mode, Outcome, Scenario, Truth, corpus, run_one};
use reachd_lab::{Lab, inside, test_name};

use crate::support::REACHD;

#[test]
fn every_scenario_is_sound_and_names_what_exists() {
    let scenarios = Scenario::load_all(&corpus()).unwrap();
    let numbers: BTreeSet<u32> = scenarios
        .iter()
        .map(|scenario| scenario.id.split('-').next().unwrap().parse().unwrap())
        .collect();
    assert!((1..=47).all(|number| numbers.contains(&number)), "{numbers:?}");
    for scenario in &scenarios {
        for truth in scenario.truths() {
            names_exist(truth).with_context(|| scenario.id.clone()).unwrap();
        }
    }
}

fn names_exist(truth: &Truth) -> Result<()> {
    for name in truth.class.iter().chain(&truth.never).chain(&truth.undecided) {
        Class::from_name(name).with_context(|| format!("no class {name}"))?;
    }
    for name in truth.notes.iter().chain(&truth.never_notes) {
        Note::from_name(name).with_context(|| format!("no note {name}"))?;
    }
    for name in &truth.causes {
        let cause = cause::find(name).with_context(|| format!("no cause {name}"))?;
        // What looks like a cause shows as its class, so that must be right as well.
        let class = cause.class.as_str();
        ensure!(truth.class.iter().any(|right| right == class), "{name} shows as {class}");
    }
    let known = |name: &String| truth.class.contains(name) || truth.undecided.contains(name);
    ensure!(!truth.never.iter().any(known), "right and never to be said: {truth:?}");
    Ok(())
}

fn cold(lab: &mut Lab, id: &str) -> Result<Outcome> {
    let scenario = Scenario::load(&corpus().join(format!("{id}.toml")))?;
    run_one(lab, &scenario, Mode::Check, (Path::new(REACHD), None))
}

/// The verdict is right and honest, and nothing was said that must not be.
fn judged_rightly(lab: &mut Lab, id: &str) -> Result<()> {
    let outcome = cold(lab, id)?;
    let score = &outcome.score;
    ensure!(score.right && score.honest && score.broken.is_empty(), "{outcome:#?}");
    Ok(())
}

#[test]
fn a_blackhole_in_one_upstream_is_not_the_sources_fault() {
    inside(test_name!(), |lab| judged_rightly(lab, "06"));
}

#[test]
fn a_rule_that_spares_the_inside_is_a_security_group() {
    inside(test_name!(), |lab| judged_rightly(lab, "21"));
}

#[test]
fn a_full_accept_queue_is_not_told_from_a_filter() {
    inside(test_name!(), |lab| judged_rightly(lab, "34-constant"));
}

#[test]
fn a_closed_port_behind_a_translator_is_no_forgery() {
    inside(test_name!(), |lab| judged_rightly(lab, "41-refused"));
}

/// That it is a policer only a sweep of rates can tell, so the class is all that is asked.
#[test]
fn a_policer_loses_packets() {
    inside(test_name!(), |lab| {
        let outcome = cold(lab, "16")?;
        let score = &outcome.score;
        ensure!(score.class_right && score.honest && score.broken.is_empty(), "{outcome:#?}");
        Ok(())
    });
}
