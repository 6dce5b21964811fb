//! What the manifest promises.

use std::collections::BTreeSet;

use reachd_core::judge::Class;
use reachd_core::judge::cause::CAUSES;
use reachd_sim::corpus::examine::{examine, examine_all};
use reachd_sim::corpus::scene::{Air, Scene};
use reachd_sim::corpus::{Confounder, Corpus, Split};

fn corpus() -> Corpus {
    Corpus::load().expect("the manifest and the families that are built in")
}

#[test]
fn there_are_a_hundred_thousand_cases_and_the_healthy_are_the_more() {
    let corpus = corpus();
    assert!(corpus.len() >= 100_000, "{}", corpus.len());
    let all = corpus.indices(None);
    assert_eq!(all.len() as u64, corpus.len());
    assert!(corpus.case(corpus.len()).is_none());
    let healthy = all.iter().filter_map(|index| corpus.case(*index));
    let healthy = healthy.filter(|case| case.family.truth.class == Class::Reachable).count();
    assert!(healthy * 2 >= all.len(), "{healthy} of {}", all.len());
}

#[test]
fn every_cause_is_shown_or_said_to_be_inexpressible() {
    let corpus = corpus();
    let shown: BTreeSet<_> =
        corpus.families.iter().map(|family| family.truth.cause_name()).collect();
    let beyond: BTreeSet<_> = corpus.manifest.inexpressible.keys().map(String::as_str).collect();
    assert!(shown.is_disjoint(&beyond));
    let all: BTreeSet<_> = CAUSES.iter().map(|cause| cause.name).collect();
    assert_eq!(shown.union(&beyond).copied().collect::<BTreeSet<_>>(), all);
    for set in &corpus.manifest.sets {
        assert!(set.causes.iter().all(|cause| all.contains(cause.as_str())), "set {}", set.name);
    }
}

#[test]
fn the_splits_share_no_range_and_no_topology() {
    let manifest = corpus().manifest;
    for (parameter, range) in &manifest.ranges {
        let ([low, high], [held_low, held_high]) = (range.dev, range.heldout);
        assert!(low <= high && held_low <= held_high, "{parameter:?}");
        assert!(high < held_low || held_high < low, "{parameter:?} overlaps");
    }
    for (choice, values) in &manifest.choices {
        assert!(values.dev.iter().all(|value| !values.heldout.contains(value)), "{choice:?}");
    }
    let shape = |split: Split| -> BTreeSet<_> {
        let of_split = manifest.topologies.iter().filter(move |it| it.split() == split);
        of_split.map(|it| (it.outside, it.inside, it.uplink, it.transit, it.gateway)).collect()
    };
    assert!(shape(Split::Dev).is_disjoint(&shape(Split::Heldout)));
}

#[test]
fn held_families_have_no_development_cases() {
    let corpus = corpus();
    let held = &corpus.manifest.held.families;
    assert_eq!(held.len(), 4);
    assert!(held.iter().all(|name| corpus.families.iter().any(|family| family.name == *name)));
    let developed = corpus.indices(Some(Split::Dev));
    let mut cases = developed.iter().filter_map(|index| corpus.case(*index));
    assert!(cases.all(|case| !held.contains(&case.family.name)));
}

#[test]
fn a_number_is_the_same_scene_and_the_same_verdict_for_ever() {
    let corpus = corpus();
    let indices = corpus.sample(None, Some(60));
    for index in &indices {
        let case = corpus.case(*index).expect("a sampled case exists");
        let scene = || format!("{:?}", Scene::of(&case, &corpus.manifest, Air::Real));
        assert_eq!(scene(), scene(), "case {index}");
        let again = corpus.case(*index).expect("a sampled case exists");
        let said = |air| examine(&again, &corpus.manifest, air);
        assert_eq!(said(Air::Real), said(Air::Real), "case {index}");
    }
    let [one, three] = [1, 3].map(|threads| examine_all(&corpus, &indices, threads));
    assert!(one.iter().zip(&three).all(|(one, three)| one.outcome == three.outcome));
    assert_eq!(one.len(), three.len());
}

#[test]
fn every_family_can_be_set_with_every_confounder() {
    let corpus = corpus();
    let mut seen = BTreeSet::new();
    for index in corpus.indices(None) {
        let case = corpus.case(index).expect("an index of the corpus");
        let first = case.confounders.first().copied().unwrap_or(Confounder::None);
        if seen.insert((case.split, case.family.name.clone(), first)) {
            let scene = Scene::of(&case, &corpus.manifest, Air::Real);
            assert_eq!(scene.plan.targets.len(), 1);
            assert!(!scene.world.places.is_empty());
        }
    }
    assert!(seen.len() > 2_000, "{}", seen.len());
}
