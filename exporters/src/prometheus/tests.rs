use std::time::SystemTime;

use super::*;
use crate::fixture;

fn page(format: Format, detail: Detail) -> String {
    let own = fixture::metrics();
    own.add_receiver("ops");
    own.reload_succeeded(SystemTime::UNIX_EPOCH);
    own.target_file("/etc/reachd/a.json", false);
    let page = Exposition::new(Arc::new(fixture::snapshot()), own, format, detail);
    String::from_utf8(page.into_bytes()).unwrap()
}

/// The page without what the kernel says of this process.
fn golden(page: &str) -> String {
    let ours = |line: &&str| !line.contains("process_");
    page.lines().filter(ours).map(|line| format!("{line}\n")).collect()
}

#[test]
fn text_page_is_as_agreed() {
    assert_eq!(golden(&page(Format::Text, Detail::Full)), include_str!("../../testdata/page.txt"));
}

#[test]
fn openmetrics_page_is_as_agreed() {
    let page = golden(&page(Format::OpenMetrics, Detail::Compact));
    assert_eq!(page, include_str!("../../testdata/page.openmetrics"));
}

#[test]
fn names_are_shown_to_those_who_ask_for_them() {
    let mut snapshot = fixture::snapshot();
    snapshot.views[0].rdp_names = false;
    let own = fixture::metrics();
    let page = Exposition::new(Arc::new(snapshot), own, Format::Text, Detail::Full).into_bytes();
    let page = String::from_utf8(page).unwrap();
    let told = page.lines().find(|line| line.starts_with("reachd_rdp_machine_info{")).unwrap();
    assert!(told.ends_with(r#"build="10.0.17763"} 1"#), "{told}");
    assert!(!page.contains("WIN-LAB01"), "{page}");
}

#[test]
fn pieces_of_any_size_make_the_same_page() {
    let own = fixture::metrics();
    let snapshot = Arc::new(fixture::snapshot());
    for format in [Format::Text, Format::OpenMetrics] {
        let begin =
            || Exposition::new(Arc::clone(&snapshot), Arc::clone(&own), format, Detail::Full);
        let whole = golden(&String::from_utf8(begin().into_bytes()).unwrap());
        for limit in [1, 100, 4096] {
            let (mut page, mut pieces) = (begin(), Vec::new());
            loop {
                let mut piece = Vec::new();
                let more = page.fill(&mut piece, limit);
                pieces.extend(piece);
                if !more {
                    break;
                }
            }
            assert_eq!(golden(&String::from_utf8(pieces).unwrap()), whole);
        }
    }
}

#[test]
fn nothing_known_is_nothing_said_but_unknown() {
    let own = fixture::metrics();
    let mut snapshot = fixture::snapshot();
    snapshot.targets.remove(0);
    snapshot.probes = [].into();
    snapshot.views.clear();
    let page = Exposition::new(Arc::new(snapshot), own, Format::Text, Detail::Full).into_bytes();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("reachd_target_class{target=\"2001:db8::1\",class=\"unknown\"} 1\n"));
    for absent in ["reachd_target_up", "reachd_target_confidence", "reachd_config_last_reload"] {
        assert!(!page.contains(absent), "{absent}");
    }
}

#[test]
fn every_family_has_one_name_and_a_type_that_fits() {
    let names: std::collections::BTreeSet<_> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for family in &FAMILIES {
        assert_eq!(
            family.name.ends_with("_total"),
            family.kind == Kind::Counter,
            "{}",
            family.name
        );
    }
}

#[test]
fn promtool_finds_nothing_to_say() {
    fixture::lint(&page(Format::Text, Detail::Full));
    fixture::lint(&page(Format::Text, Detail::Compact));
}
