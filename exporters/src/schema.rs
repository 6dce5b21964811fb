//! The verdict document is what `deploy/schema/verdict.schema.json` says, field by field.

use reachd_core::evidence::{InvalidReason, LossReason};
use reachd_core::judge::cause::CAUSES;
use reachd_core::judge::{Class, Note};
use reachd_core::report::{PathPart, TargetReport};
use serde_json::{Value, json};

use crate::fixture;

const SCHEMA: &str = include_str!("../../deploy/schema/verdict.schema.json");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn faults(document: &Value) -> Vec<String> {
    let validator = jsonschema::draft202012::options().should_validate_formats(true);
    let validator = validator.build(&schema()).unwrap();
    validator.iter_errors(document).map(|error| error.to_string()).collect()
}

/// A report with everything unknown that can be.
fn bare() -> TargetReport {
    let mut report = fixture::report();
    (report.started, report.target.port) = (None, None);
    report.verdict.evidence[0].vantage = None;
    let vantage = &mut report.vantages[0];
    (vantage.mode, vantage.address, vantage.echo) = (None, None, None);
    (vantage.connect, vantage.service, vantage.capture) = (None, None, None);
    vantage.path = PathPart::default();
    let rdp = vantage.rdp.as_mut().unwrap();
    (rdp.at, rdp.layer, rdp.nla, rdp.tls, rdp.ntlm) = (None, None, None, None, None);
    report
}

#[test]
fn full_and_bare_reports_are_valid() {
    for report in [fixture::report(), bare()] {
        let document = serde_json::to_value(report).unwrap();
        assert_eq!(faults(&document), Vec::<String>::new());
    }
}

#[test]
fn every_other_field_missing_field_and_wrong_word_is_noticed() {
    let good = serde_json::to_value(fixture::report()).unwrap();
    let places = [
        "",
        "/target",
        "/verdict",
        "/verdict/causes/0",
        "/verdict/notes/0",
        "/verdict/evidence/0",
        "/verdict/next_evidence/0",
        "/addresses/0",
        "/vantages/0",
        "/vantages/0/echo",
        "/vantages/0/service",
        "/vantages/0/rdp",
        "/vantages/0/rdp/answers/0",
        "/vantages/0/rdp/tls",
        "/vantages/0/rdp/tls/certificate",
        "/vantages/0/rdp/ntlm",
        "/vantages/0/rdp/stages",
        "/vantages/0/path",
        "/vantages/0/path/tcp/0",
        "/vantages/0/capture",
    ];
    for place in places {
        let mut more = good.clone();
        more.pointer_mut(place).unwrap()["surprise"] = json!(1);
        assert!(!faults(&more).is_empty(), "{place} takes an unknown field");
        for field in good.pointer(place).unwrap().as_object().unwrap().keys() {
            let mut less = good.clone();
            less.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(field);
            assert!(!faults(&less).is_empty(), "{place} does not want {field}");
        }
    }
    for (place, wrong) in [
        ("/schema", json!(2)),
        ("/verdict/class", json!("down")),
        ("/verdict/scope", json!("none")),
        ("/verdict/confidence", json!(1.5)),
        ("/verdict/causes/0/cause", json!("magic")),
        ("/started", json!("yesterday")),
        ("/addresses/0/address", json!("host")),
        ("/vantages/0/rdp/at", json!("yesterday")),
        ("/vantages/0/rdp/layer", json!("vnc")),
        ("/vantages/0/rdp/answers/0/outcome", json!("maybe")),
        ("/vantages/0/rdp/tls/certificate/fingerprint_sha256", json!("07")),
        ("/vantages/0/path/tcp/0/address", json!("*")),
    ] {
        let mut document = good.clone();
        *document.pointer_mut(place).unwrap() = wrong;
        assert!(!faults(&document).is_empty(), "{place}");
    }
}

fn words(pointer: &str) -> Vec<String> {
    serde_json::from_value(schema().pointer(pointer).unwrap().clone()).unwrap()
}

#[test]
fn the_closed_lists_are_those_of_the_judge() {
    assert_eq!(words("/$defs/class/enum"), Class::ALL.map(Class::as_str));
    assert_eq!(words("/$defs/note/properties/note/enum"), Note::ALL.map(Note::as_str));
    // The first row of the table is health, which is no cause.
    let causes = CAUSES.iter().filter(|cause| cause.class != Class::Reachable);
    let causes: Vec<_> = causes.map(|cause| cause.name).collect();
    assert_eq!(words("/$defs/cause/enum"), causes);
    let lost = [
        LossReason::Silent,
        LossReason::IcmpUnreachable,
        LossReason::IcmpProhibited,
        LossReason::TtlExceeded,
        LossReason::ForeignReset,
    ];
    let names = words("/$defs/series/properties/lost/propertyNames/enum");
    assert_eq!(names, lost.map(LossReason::as_str));
    let invalid = [
        InvalidReason::NotSeenLeaving,
        InvalidReason::CaptureDrop,
        InvalidReason::SendError,
        InvalidReason::Lag,
        InvalidReason::Canary,
        InvalidReason::ClockStep,
        InvalidReason::NoPrivilege,
    ];
    let names = words("/$defs/series/properties/invalid/propertyNames/enum");
    assert_eq!(names, invalid.map(InvalidReason::as_str));
}
