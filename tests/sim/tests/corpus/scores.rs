//! The arithmetic of the scores, against values worked out by hand.

use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::judge::cause::CAUSES;
use reachd_sim::corpus::examine::Outcome;
use reachd_sim::corpus::score::{Counts, Labels, Reliability};

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() < 1e-9
}

#[test]
fn precision_recall_and_f1_are_what_they_are_called() {
    let counts = Counts { truth: 10, said: 8, both: 6 };
    assert!(near(counts.precision(), 0.75) && near(counts.recall(), 0.6));
    assert!(near(counts.f1(), 12.0 / 18.0));
    assert!(near(Counts::default().f1(), 0.0));
}

#[test]
fn macro_f1_leaves_out_what_never_was() {
    let pairs = [("a", Some("a")), ("a", Some("b")), ("c", Some("c")), ("c", None)];
    let labels = Labels::of(pairs.into_iter());
    // a: 2/3; b is said but never true; c: 2/3.
    assert!(near(labels.macro_f1(), 2.0 / 3.0), "{}", labels.macro_f1());
    assert_eq!(labels.get("b"), Counts { truth: 0, said: 1, both: 0 });
}

#[test]
fn honest_confidence_has_no_calibration_error() {
    // A thousand claims at 0.8, of which exactly every fifth is wrong.
    let points = |confidence: f64| (0..1_000).map(move |at| (confidence, at % 5 != 0, 1.0));
    assert!(Reliability::of(points(0.8).collect()).error() < 0.01);
    assert!((Reliability::of(points(0.95).collect()).error() - 0.15).abs() < 0.01);
}

#[test]
fn weights_move_the_calibration_error() {
    let points = vec![(0.9, true, 9.0), (0.9, false, 1.0)];
    let bins = Reliability::of(points);
    let mass: f64 = bins.bins.iter().map(|bin| bin.mass).sum();
    assert!(near(mass, 1.0), "{mass}");
}

#[test]
fn the_reported_set_is_the_smallest_that_holds_enough() {
    let mut shares = vec![0.0; CAUSES.len()];
    (shares[3], shares[1], shares[7]) = (0.6, 0.3, 0.1);
    let outcome = Outcome {
        class: Class::Unknown,
        confidence: 0.5,
        leading: Class::Unknown,
        shares,
        views: Vec::new(),
        took: Duration::ZERO,
        end_to_end: 0.0,
        packets: 0,
    };
    assert_eq!(outcome.reported(0.5), [3]);
    assert_eq!(outcome.reported(0.85), [3, 1]);
    assert_eq!(outcome.reported(0.95), [3, 1, 7]);
    assert_eq!(outcome.top(), (3, 0.6));
}
