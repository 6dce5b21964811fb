//! `testdata/invalid`: one mistake a file, with its exact words; `testdata/valid`: files to accept.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use reachd_core::evidence::rdp::RdpDepth;
use reachd_core::target::{Expect, Service};
use reachd_core::vantage::Binding;

use super::{bad, folder, good};
use crate::{
    Endpoint, MailTls, Network, Receiver, ReceiverKind, Relation, load, parse, target_from_argument,
};

fn files(of: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder().join("testdata").join(of))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

#[test]
fn every_invalid_file_gives_exactly_its_problem() {
    let files = files("invalid");
    assert!(files.len() >= 30, "{}", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let shown = match parse(&text, name, path.parent().unwrap()) {
            Ok(_) => "no problem".to_owned(),
            Err(report) => {
                report.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
            }
        };
        let (first, rest) = text.split_once('\n').unwrap();
        if first.strip_prefix("# expect: ") != Some(&shown) {
            if std::env::var_os("UPDATE").is_some() && !shown.contains('\n') {
                fs::write(&path, format!("# expect: {shown}\n{rest}")).unwrap();
            }
            wrong.push(format!("{first}\n  # found: {shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_valid_file_is_accepted() {
    for path in files("valid") {
        let settings = load(&path).unwrap_or_else(|report| panic!("{}: {report}", path.display()));
        let folder = format!("{}/", path.parent().unwrap().display());
        let shown: String = settings
            .warnings
            .iter()
            .map(|warning| format!("# warns: {}\n", warning.to_string().replace(&folder, "")))
            .collect();
        let text = fs::read_to_string(&path).unwrap();
        let (head, rest): (Vec<_>, Vec<_>) =
            text.split_inclusive('\n').partition(|line| line.starts_with("# warns: "));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, format!("{shown}{}", rest.concat())).unwrap();
        }
        assert_eq!(shown, head.concat(), "{}", path.display());
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let shown = bad("[listen]\nadress = \"x\"\n[[target]]\nhost = \"a b\"\nport = 0\n[[target]]\n");
    assert_eq!(shown.lines().count(), 4, "{shown}");
    let shown = bad("x = \ny = \"\nz = 1 1\n");
    assert!(shown.lines().count() >= 2, "{shown}");
}

#[test]
fn layers_override_and_merge() {
    let settings = good(
        "[defaults]\necho_interval = \"20s\"\nsyn_interval = \"20s\"\nopen_after = \"20s\"\n\
         labels = { a = \"1\", b = \"1\" }\n\
         [[group]]\nname = \"g\"\nsyn_interval = \"30s\"\nopen_after = \"30s\"\nlabels = { b = \"2\", c = \"2\" }\n\
         [[target]]\nhost = \"h\"\ngroup = \"g\"\nopen_after = \"40s\"\nlabels = { c = \"3\" }\n",
    );
    let target = &settings.plan.targets[0];
    let seconds =
        [target.echo_interval, target.syn_interval, target.open_after].map(|d| d.as_secs());
    assert_eq!(seconds, [20, 30, 40]);
    let labels: Vec<_> = target.labels.iter().map(|(k, v)| format!("{k}{v}")).collect();
    assert_eq!(labels, ["a1", "b2", "c3"]);
    assert_eq!(target.group.as_deref(), Some("g"));
}

#[test]
fn everything_written_arrives() {
    let settings = good(&crate::full_example());
    let target = &settings.plan.targets[0];
    assert_eq!(target.name.as_str(), "fra-rdp-1");
    assert_eq!(target.expect["outside"], Expect::Filtered);
    assert_eq!(target.neighbours.len(), 1);
    assert_eq!(settings.plan.targets[1].service, Service::Tcp);
    assert_eq!(settings.plan.targets[1].send.as_deref(), Some("HELP\r\n"));
    let bindings: Vec<_> = settings.plan.vantages.iter().map(|v| v.binding.clone()).collect();
    assert_eq!(bindings[1], Binding::Interface("wan1".to_owned()));
    assert_eq!(bindings[2], Binding::Namespace("inside".to_owned()));
    assert_eq!(settings.plan.vantages[0].mark, Some(42));
    assert_eq!(settings.receivers[1].endpoint, Endpoint::File("/etc/reachd/pager.url".into()));
    assert_eq!(settings.receivers[1].matchers[1].relation, Relation::IsNot);
    let kinds: BTreeSet<_> = settings.receivers.iter().map(|receiver| receiver.kind).collect();
    assert_eq!(kinds, BTreeSet::from(ReceiverKind::ALL));
    let of = |kind| settings.receivers.iter().find(|receiver| receiver.kind == kind).unwrap();
    assert_eq!(of(ReceiverKind::Alertmanager).urls.len(), 2);
    // systemd's credentials stay as they are written until they are read.
    assert_eq!(of(ReceiverKind::PagerDuty).secret_file, Some("%d/pagerduty.key".into()));
    assert_eq!(of(ReceiverKind::DingTalk).keyword.as_deref(), Some("reachd"));
    let mail = of(ReceiverKind::Email).mail.clone().unwrap();
    assert_eq!(mail.login, Some(("reachd".to_owned(), "/etc/reachd/smtp.password".into())));
    assert_eq!((mail.from.as_str(), mail.tls), ("reachd@example.com", MailTls::Required));
    assert_eq!(of(ReceiverKind::Command).command, ["/usr/local/bin/page", "--urgent"]);
    assert_eq!(settings.evidence.max_bytes, 1 << 30);
    let start = "2026-01-31T22:00:00Z".parse().unwrap();
    assert!(settings.maintenance[0].when.covers(start));
    assert!(settings.maintenance[1].when.covers("2026-11-28T16:00:00Z".parse().unwrap()));
    assert_eq!(settings.probe_api_allow[0].to_string(), "192.0.2.0/24");
    assert_eq!(settings.target_files[2].group.as_deref(), Some("web"));
    let later: Vec<_> = settings.later.iter().map(|later| later.key.as_str()).collect();
    assert!(!later.iter().any(|key| key.starts_with("evidence")), "{later:?}");
    assert!(later.contains(&"resolver.timeout"), "{later:?}");
}

#[test]
fn looks_go_as_far_as_the_nearest_layer_says() {
    let settings = good(
        "[defaults]\nrdp_depth = \"x224\"\n\
         [[group]]\nname = \"deep\"\nrdp_depth = \"ntlm\"\n\
         [[target]]\nhost = \"192.0.2.1\"\n\
         [[target]]\nhost = \"192.0.2.2\"\ngroup = \"deep\"\n\
         [[target]]\nhost = \"192.0.2.3\"\nrdp_depth = \"off\"\n",
    );
    let depths: Vec<_> = settings.plan.targets.iter().map(|target| target.rdp_depth).collect();
    assert_eq!(depths, [RdpDepth::X224, RdpDepth::Ntlm, RdpDepth::Off]);
}

#[test]
fn urls_are_not_shown() {
    let token = "https://alerts.example/T0KEN";
    let settings = good(&format!("[[receiver]]\nname = \"r\"\nurl = \"{token}\"\n"));
    assert!(!format!("{settings:?}").contains("T0KEN"));
    assert_eq!(settings.receivers, [Receiver::webhook("r", token).unwrap()]);
    for wrong in ["htps://alerts.example/T0KEN", "https:///T0KEN", "https://a b/T0KEN", "T0KEN"] {
        let shown = bad(&format!("[[receiver]]\nname = \"r\"\nurl = \"{wrong}\"\n"));
        assert!(!shown.contains("T0KEN"), "{shown}");
    }
}

#[test]
fn arguments_name_targets() {
    let name = |text, service| target_from_argument(text, service).map(|t| t.name.to_string());
    assert_eq!(name("h.example", Service::Rdp).unwrap(), "h.example:3389");
    assert_eq!(name("h.example", Service::Ssh).unwrap(), "h.example:22");
    assert_eq!(name("192.0.2.1:99", Service::Tcp).unwrap(), "192.0.2.1:99");
    assert_eq!(name("2001:db8::1", Service::Rdp).unwrap(), "[2001:db8::1]:3389");
    assert_eq!(name("[2001:db8::1]:99", Service::Rdp).unwrap(), "[2001:db8::1]:99");
    assert_eq!(name("2001:db8::1", Service::Ping).unwrap(), "2001:db8::1");
    for wrong in ["", ":", "h:", "h:0", "h:65536", "[::1", "[::1]x", "0.0.0.0", "224.0.0.1", "h:+5"]
    {
        assert!(name(wrong, Service::Rdp).is_err(), "{wrong}");
    }
    assert!(name("h", Service::Tcp).is_err());
}

#[test]
fn networks_contain_their_addresses() {
    let network = |text| crate::value::network(text).unwrap();
    let has = |network: Network, address: &str| network.contains(address.parse().unwrap());
    assert!(has(network("192.0.2.0/24"), "192.0.2.255"));
    assert!(has(network("192.0.2.0/24"), "::ffff:192.0.2.1"));
    assert!(!has(network("192.0.2.0/24"), "192.0.3.0"));
    assert!(has(network("0.0.0.0/0"), "255.1.2.3"));
    assert!(!has(network("0.0.0.0/0"), "::1"));
    assert!(has(network("::/0"), "::1"));
    assert!(has(network("192.0.2.1"), "192.0.2.1"));
    assert!(!has(network("2001:db8::/33"), "2001:db8:8000::"));
}
