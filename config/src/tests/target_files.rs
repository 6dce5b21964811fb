//! Target files: what they say, and that a broken one loses nothing.

use std::fs;
use std::path::Path;

use reachd_core::target::{Expect, Service, Severity};

use crate::{Settings, load, reload, reread_target_files, target_from_argument};

const MAIN: &str = "target_files = [\"a.json\", \"b.yml\"]\n\
    [defaults]\nlabels = { site = \"fra\" }\n\
    [[group]]\nname = \"slow\"\necho_interval = \"1m\"\n\
    [[target]]\nhost = \"192.0.2.1\"\n";

const A: &str =
    r#"[{"targets": ["192.0.2.2:3390", "192.0.2.3"], "labels": {"team": "x", "__meta_y": "z"}}]"#;

const B: &str = "- targets: ['[2001:db8::1]:22']\n  labels:\n    __reachd_name: six\n    \
    __reachd_service: ssh\n    __reachd_group: slow\n    __reachd_severity: info\n    \
    __reachd_control_ports: 80, 443\n    __reachd_expect: outside=filtered\n";

fn set_up(folder: &Path) -> Settings {
    fs::write(folder.join("reachd.toml"), MAIN).unwrap();
    fs::write(folder.join("a.json"), A).unwrap();
    fs::write(folder.join("b.yml"), B).unwrap();
    load(&folder.join("reachd.toml")).unwrap()
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.plan.targets.iter().map(|target| target.name.as_str()).collect()
}

const ALL: [&str; 4] = ["192.0.2.1:3389", "192.0.2.2:3390", "192.0.2.3:3389", "six"];

#[test]
fn files_give_targets_with_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let settings = set_up(folder.path());
    assert_eq!(settings.file_problems, []);
    assert_eq!(names(&settings), ALL);
    let plain = &settings.plan.targets[1];
    assert_eq!(plain.labels.len(), 2);
    let six = &settings.plan.targets[3];
    assert_eq!((six.host.as_str(), six.port, six.service), ("2001:db8::1", 22, Service::Ssh));
    assert_eq!((six.severity, six.group.as_deref()), (Severity::Info, Some("slow")));
    assert_eq!(six.echo_interval.as_secs(), 60);
    assert_eq!(six.control_ports, [80, 443]);
    assert_eq!(six.expect["outside"], Expect::Filtered);
    assert_eq!(six.labels["site"], "fra");
    assert_eq!(settings.later, []);
    assert_eq!(settings.target_files[0].targets.len(), 2);
}

#[test]
fn a_broken_empty_or_missing_file_keeps_its_targets() {
    let folder = tempfile::tempdir().unwrap();
    let settings = set_up(folder.path());
    for (broken, words) in [
        (Some("[{"), "a.json:1:2: EOF while parsing"),
        (Some("[]"), "a.json: it is suddenly empty"),
        (Some(""), "a.json: it is suddenly empty"),
        (
            Some(r#"[{"targets": ["192.0.2.9", "192.0.2.3:0"]}]"#),
            "a.json:1:28: [1].targets[2]: 0 is not a port",
        ),
        (Some(r#"[{"targets": [5]}]"#), "a.json:1:15: 5 is not text"),
        (
            Some(r#"[{"targets": ["six.example"], "labels": {"__reachd_sevrity": "info"}}]"#),
            "did you mean `__reachd_severity`?",
        ),
        (Some(r#"[{"targets": ["192.0.2.1"]}]"#), "there is already a target 192.0.2.1:3389"),
        (Some(r#"[{"hosts": []}]"#), "unknown field `hosts`"),
        (None, "cannot be read: No such file"),
    ] {
        match broken {
            Some(text) => fs::write(folder.path().join("a.json"), text).unwrap(),
            None => fs::remove_file(folder.path().join("a.json")).unwrap(),
        }
        let (next, problems) = reread_target_files(&settings);
        assert_eq!(problems.len(), 1, "{broken:?}");
        assert_eq!(problems[0].kept, 2);
        let shown = problems[0].problems[0].to_string();
        assert!(shown.contains(words), "{shown}");
        let mut kept = names(&next);
        kept.sort_unstable();
        assert_eq!(kept, ALL, "{broken:?}");
        assert!(settings.plan.diff(&next.plan).removed.is_empty());
        let (again, _) = reread_target_files(&next);
        assert_eq!(again.plan.targets, next.plan.targets);
        let reloaded = reload(&folder.path().join("reachd.toml"), &next).unwrap();
        assert_eq!(reloaded.plan.targets, next.plan.targets);
    }
    fs::write(folder.path().join("a.json"), A).unwrap();
    let (healed, problems) = reread_target_files(&settings);
    assert_eq!(problems, []);
    assert_eq!(healed.plan, settings.plan);
}

#[test]
fn at_start_the_good_part_of_a_file_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    set_up(folder.path());
    fs::write(folder.path().join("b.yml"), "- targets: [good.example, 'bad host']\n").unwrap();
    let settings = load(&folder.path().join("reachd.toml")).unwrap();
    assert_eq!(names(&settings)[3], "good.example:3389");
    let shown = settings.file_problems[0].problems[0].to_string();
    assert!(shown.contains("b.yml:1:27: [1].targets[2]: \"bad host\" is no host name"), "{shown}");
}

#[test]
fn yaml_mistakes_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    set_up(folder.path());
    for (text, words) in [
        ("- targets: [a.example]\n  labels:\n    site: [1]\n", "b.yml:3:11: "),
        ("- targets: [a.example\n", "b.yml:"),
        (
            "- targets: [a.example]\n  labels: {host: x}\n",
            "b.yml:2:18: [1].labels.host: label `host` is reserved",
        ),
        (
            "- targets: [a.example]\n  labels: {__reachd_vantages: far}\n",
            "there is no vantage \"far\"",
        ),
        (
            "- targets: [a.example, b.example]\n  labels: {__reachd_name: x}\n",
            "one name for 2 targets",
        ),
        ("- targets: [a.example]\n  labels: {__reachd_group: slwo}\n", "did you mean \"slow\"?"),
    ] {
        fs::write(folder.path().join("b.yml"), text).unwrap();
        let settings = load(&folder.path().join("reachd.toml")).unwrap();
        let shown = settings.file_problems[0].problems[0].to_string();
        assert!(shown.contains(words), "{shown}");
        assert!(!shown.contains('\n'), "{shown}");
    }
}

#[test]
fn many_targets_are_compact() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("reachd.toml"), "target_files = [\"a.json\", \"b.yml\"]\n")
        .unwrap();
    let json: Vec<_> = (0..2_000).map(|n| format!(r#"{{"targets":["h{n}.example"]}}"#)).collect();
    fs::write(folder.path().join("a.json"), format!("[{}]", json.join(","))).unwrap();
    let yaml: String = (0..2_000).map(|n| format!("- targets: [y{n}.example]\n")).collect();
    fs::write(folder.path().join("b.yml"), yaml).unwrap();
    let settings = load(&folder.path().join("reachd.toml")).unwrap();
    assert_eq!(settings.file_problems, []);
    assert_eq!(settings.plan.targets.len(), 4_000);
    assert_eq!(settings.metrics, crate::MetricsDetail::Compact);
}

#[test]
fn a_target_of_the_command_line_stays() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = set_up(folder.path());
    let target = || target_from_argument("h.example", Service::Rdp).unwrap();
    settings.add_target(target()).unwrap();
    assert!(settings.add_target(target()).is_err());
    let (next, _) = reread_target_files(&settings);
    assert!(names(&next).contains(&"h.example:3389"));
    let mut alone = crate::parse("", "reachd.toml", folder.path()).unwrap();
    alone.add_target(target()).unwrap();
    assert_eq!(alone.warnings, []);
}

#[test]
fn a_target_of_the_command_line_has_the_defaults_of_the_file() {
    let mut settings =
        super::good("[defaults]\nrdp_depth = \"x224\"\nlabels = { site = \"fra\" }\n");
    let target = target_from_argument("192.0.2.7:3390", Service::Rdp).unwrap();
    settings.add_target(target.clone()).unwrap();
    let added = &settings.plan.targets[0];
    assert_eq!((&added.name, added.port), (&target.name, 3390));
    assert_eq!(added.rdp_depth, reachd_core::evidence::rdp::RdpDepth::X224);
    assert_eq!(added.labels["site"], "fra");
}
