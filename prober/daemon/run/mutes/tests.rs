use std::collections::BTreeMap;

use reachd_core::incident::{AlertKind, GroupSubject, Moment, Resolution};
use reachd_core::judge::Class;
use reachd_core::target::{Service, Severity};

use super::*;

const TEXT: &str = r#"
[[target]]
name = "a"
host = "192.0.2.1"
labels = { site = "fra" }

[[target]]
name = "b"
host = "192.0.2.2"

[[target]]
name = "c"
host = "192.0.2.3"

[[maintenance]]
name = "racks"
targets = ["b"]
match = ["site=fra"]
start = 2026-01-01T00:00:00Z
end = 2026-01-02T00:00:00Z

[[maintenance]]
name = "uplink"
match = ["vantage=wan1"]
start = 2026-01-01T00:00:00Z
end = 2026-01-02T00:00:00Z
"#;

fn settings() -> Settings {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reachd.toml");
    std::fs::write(&file, TEXT).unwrap();
    reachd_config::load(&file).unwrap()
}

fn target(name: &str, site: Option<&str>) -> Subject {
    let labels = site.map(|site| ("site".to_owned(), site.to_owned())).into_iter();
    Subject::Target(Box::new(Target {
        name: TargetName::new(name),
        labels: labels.collect::<BTreeMap<_, _>>(),
        ..Target::new("192.0.2.9", 3389, Service::Rdp)
    }))
}

fn group(members: &[&str]) -> Subject {
    Subject::Group(Box::new(GroupSubject {
        key: "192.0.2.0/24".to_owned(),
        members: members.iter().map(|name| TargetName::new(name)).collect(),
        labels: BTreeMap::new(),
        member_labels: BTreeSet::new(),
    }))
}

fn update(subject: Subject, state: IncidentState) -> IncidentUpdate {
    let resolved = state == IncidentState::Resolved;
    IncidentUpdate {
        fingerprint: "00".to_owned(),
        version: 1,
        kind: AlertKind::Unreachable,
        subject,
        state,
        severity: Severity::Critical,
        class: Class::PortClosed,
        class_now: Class::PortClosed,
        started: Moment::default(),
        ended: resolved.then_some((Moment::default(), Resolution::Recovered)),
        flaps: 0,
        report: None,
        summary: (String::new(), String::new()),
        next_step: (String::new(), String::new()),
        notify: true,
        member: false,
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

const WITHIN: &str = "2026-01-01T12:00:00Z";
const AFTER: &str = "2026-01-02T00:00:00Z";

#[test]
fn a_window_concerns_names_labels_and_groups_of_nobody_else() {
    let settings = settings();
    for (subject, expected) in [
        (target("a", Some("fra")), Some("racks")),
        (target("b", None), Some("racks")),
        (target("c", None), None),
        (target("c", Some("sha")), None),
        (group(&["a", "b"]), Some("racks")),
        (group(&["a", "c"]), None),
        (Subject::Vantage("wan1".to_owned()), Some("uplink")),
        (Subject::Vantage("wan2".to_owned()), None),
    ] {
        let update = update(subject, IncidentState::Firing);
        let name = |now| Mutes::default().reason(&settings, &update, at(now));
        assert_eq!(name(WITHIN).as_deref(), expected, "{:?}", update.subject);
        assert_eq!(name(AFTER), None);
    }
}

#[test]
fn what_is_held_is_told_at_the_end_unless_it_is_over() {
    let settings = settings();
    let within = (&settings, at(WITHIN));
    let mut mutes = Mutes::default();
    let mut fires = update(target("b", None), IncidentState::Firing);
    let nobody = Telling::Nobody("racks".to_owned());
    assert_eq!(mutes.take(&mut fires, false, within), nobody);
    assert!(mutes.ripe(&settings, at(WITHIN)).is_empty());
    assert_eq!(mutes.ripe(&settings, at(AFTER)).len(), 1);
    // A change that is worth no message is the first that anybody hears.
    let mut change = IncidentUpdate { version: 2, notify: false, ..fires.clone() };
    assert_eq!(mutes.take(&mut change, false, (&settings, at(AFTER))), Telling::Everybody);
    assert!(change.notify && mutes.len() == 0);

    assert_eq!(mutes.take(&mut fires, false, within), nobody);
    let mut over = update(target("b", None), IncidentState::Resolved);
    assert_eq!(mutes.take(&mut over, false, within), Telling::Those, "nobody knows of it");
    assert!(mutes.len() == 0 && mutes.ripe(&settings, at(AFTER)).is_empty());
}

#[test]
fn what_was_told_before_the_window_is_not_told_again_at_its_end() {
    let settings = settings();
    let within = (&settings, at(WITHIN));
    let mut mutes = Mutes::default();
    let mut change = update(target("b", None), IncidentState::Firing);
    change.notify = false;
    assert_eq!(mutes.take(&mut change, true, within), Telling::Nobody("racks".to_owned()));
    assert_eq!(mutes.len(), 0);
    let mut over = update(target("b", None), IncidentState::Resolved);
    assert_eq!(mutes.take(&mut over, true, within), Telling::Those);
}

/// Whatever the clock does, an incident that is held back is told once no window covers it, and
/// only once; and its end only if its beginning was told.
#[test]
fn clocks_that_jump_neither_lose_nor_repeat_what_is_held_back() {
    let (settings, within) = (settings(), at(WITHIN));
    for hours in [1, -1, 365 * 24, -365 * 24] {
        let mut mutes = Mutes::default();
        let mut firing = update(target("b", None), IncidentState::Firing);
        let held = mutes.take(&mut firing, false, (&settings, within));
        assert_eq!(held, Telling::Nobody("racks".to_owned()), "{hours}");
        let jumped = within + jiff::SignedDuration::from_hours(hours);
        // An hour further the window is still open.
        let open = hours.abs() == 1;
        let ripe = mutes.ripe(&settings, jumped);
        assert_eq!(ripe.is_empty(), open, "{hours}");
        for mut due in ripe {
            assert_eq!(mutes.take(&mut due, false, (&settings, jumped)), Telling::Everybody);
            assert!(due.notify);
        }
        assert!(mutes.ripe(&settings, jumped).is_empty(), "told twice after {hours}");
        // Back to the true time: it was told, so that its end is told to whoever heard it.
        let mut over = update(target("b", None), IncidentState::Resolved);
        assert_eq!(mutes.take(&mut over, !open, (&settings, within)), Telling::Those);
        assert_eq!(mutes.len(), 0);
    }
}

#[test]
fn a_silence_over_every_member_of_a_group_silences_the_group() {
    let settings = settings();
    let now = at(AFTER);
    let mut mutes = Mutes::default();
    let matchers = serde_json::json!([{ "name": "target", "value": "a" }]);
    let request = serde_json::json!({ "matchers": matchers, "endsAt": "2026-01-03T00:00:00Z" });
    let request = serde_json::from_value(request).unwrap();
    mutes.silence(request, "1".to_owned(), now).unwrap();
    for (members, expected) in [(&["a"][..], true), (&["a", "b"], false), (&["gone"], false)] {
        let fires = update(group(members), IncidentState::Firing);
        assert_eq!(mutes.reason(&settings, &fires, now).is_some(), expected, "{members:?}");
    }
}
