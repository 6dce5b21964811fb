//! How scenarios are read and judged.

use crate::scenario::{Mode, Said, Scenario, Seen, Truth};

const SMALLEST: &str = "\
id = \"01\"
title = \"nothing\"
topology = \"chain\"
[truth]
class = [\"reachable\"]
";

#[test]
fn unknown_keys_are_errors_wherever_they_are() {
    let read = |text: &str| toml::from_str::<Scenario>(text);
    let scenario = read(SMALLEST).unwrap();
    assert_eq!(scenario.modes, [Mode::Check, Mode::Daemon]);
    assert_eq!((scenario.host.as_str(), scenario.watch), ("t", 40));
    let wrong = [
        format!("colour = 1\n{SMALLEST}"),
        format!("network = {{ colour = 1 }}\n{SMALLEST}"),
        format!("{SMALLEST}colour = 1\n"),
        format!("{SMALLEST}[[inject]]\ndo = \"stop\"\nat = \"t\"\nport = 1\ncolour = 1\n"),
        format!(
            "{SMALLEST}[[inject]]\ndo = \"loss\"\nat = \"r1\"\npercent = 1.0\n\
             packets = {{ colour = 1 }}\n"
        ),
        format!("{SMALLEST}[[inject]]\ndo = \"nothing\"\n"),
    ];
    for text in wrong {
        assert!(read(&text).is_err(), "{text}");
    }
}

fn said(class: &str, causes: &[(&str, f64)]) -> Seen {
    let causes = causes.iter().map(|(cause, p)| ((*cause).to_owned(), *p)).collect();
    let said = Said { class: class.to_owned(), confidence: 0.9, causes, ..Said::default() };
    let history = vec![(0.0, "reachable".to_owned()), (9.0, class.to_owned())];
    Seen { said: Some(said), history, ..Seen::default() }
}

fn truth(causes: &[&str]) -> Truth {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Truth { class: words(&["host_silent"]), causes: words(causes), ..Truth::default() }
}

#[test]
fn one_of_a_set_must_not_be_picked() {
    let set = truth(&["nic_down", "rebooting"]);
    let even = set.score(&said("host_silent", &[("nic_down", 0.5), ("rebooting", 0.4)]));
    assert!(even.right && even.honest, "{even:?}");
    assert_eq!(even.set_mass, Some(0.9));
    let picked = said("host_silent", &[("nic_down", 0.85), ("rebooting", 0.1)]);
    assert!(!set.score(&picked).honest);
    assert!(Truth { separated: true, ..set.clone() }.score(&picked).honest);
    assert!(truth(&["nic_down"]).score(&picked).honest, "there is nothing else that it could be");
    let undecided = Truth { undecided: vec!["host_silent".to_owned()], ..truth(&["nic_down"]) };
    assert!(!undecided.score(&picked).honest, "the class itself is not known");
}

#[test]
fn class_cause_notes_and_vantages_must_all_be_right() {
    let right = said("host_silent", &[("nic_down", 0.5)]);
    let truth = truth(&["nic_down"]);
    assert!(truth.score(&right).right);
    let other_class = truth.score(&said("blackhole", &[("nic_down", 0.5)]));
    assert!(!other_class.right && !other_class.class_right);
    let other_cause = truth.score(&said("host_silent", &[("rebooting", 0.5), ("nic_down", 0.4)]));
    assert!(!other_cause.right && other_cause.class_right);
    let noted = Truth { notes: vec!["icmp_filtered".to_owned()], ..truth.clone() };
    assert!(!noted.score(&right).right);
    let from = Truth { failing: Some(vec!["v1".to_owned()]), ..truth.clone() };
    assert!(!from.score(&right).right);
    assert!(!truth.score(&Seen::default()).right, "no verdict is not right");
}

#[test]
fn traps_are_remembered_though_the_end_is_good() {
    let truth = Truth {
        never: vec!["blackhole".to_owned()],
        pages: Some(1),
        changes_max: Some(0),
        ..truth(&[])
    };
    let mut seen = said("host_silent", &[]);
    assert!(truth.score(&seen).broken.is_empty());
    seen.history.insert(1, (5.0, "blackhole".to_owned()));
    seen.pages = Some(3);
    let broken = truth.score(&seen).broken;
    assert_eq!(broken, ["said blackhole", "3 alerts, not 1", "1 changes of class"]);
}
