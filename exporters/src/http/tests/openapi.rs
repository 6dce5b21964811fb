//! The description of the interface is what it does, path by path.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{behind, status};
use crate::fixture;
use crate::http::Web;
use crate::store::IncidentRow;

const ROUTES: &str = include_str!("../route.rs");

fn described() -> Value {
    serde_json::from_str(include_str!("../../../../deploy/schema/openapi.json")).unwrap()
}

/// Validates against a schema of the document, whose references are within the document.
fn faults(schema: &Value, body: &Value) -> Vec<String> {
    let whole = serde_json::json!({
        "components": described()["components"],
        "allOf": [schema],
    });
    let validator = jsonschema::draft202012::options().should_validate_formats(true);
    let validator = validator.build(&whole).unwrap();
    validator.iter_errors(body).map(|error| error.to_string()).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let between = |line: &str| Some(line.split_once(".route(\"")?.1.split_once('"')?.0.to_owned());
    let served: BTreeSet<String> = ROUTES.lines().filter_map(between).collect();
    let document = described();
    let told: BTreeSet<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    assert!(served.len() > 8);
    assert_eq!(served, told);
}

#[tokio::test]
async fn every_answer_is_as_described() {
    let running = behind(Web::open()).await;
    let document = described();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let mut asked = path.clone();
            for parameter in parameters.iter().filter(|it| it["required"] == true) {
                let name = parameter["name"].as_str().unwrap();
                let example = parameter["example"].as_str().unwrap();
                match parameter["in"].as_str() {
                    Some("path") => asked = asked.replace(&format!("{{{name}}}"), example),
                    _ => asked = format!("{asked}?{name}={example}"),
                }
            }
            let answer = running.ask(&method.to_uppercase(), &asked, "").await;
            let told = &operation["responses"][status(&answer)];
            assert!(told.is_object(), "{method} {asked} answers {}", status(&answer));
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
            let content = &told["content"][kind];
            assert!(content.is_object(), "{method} {asked}: {kind}");
            if kind.starts_with("application/json") {
                let body: Value = serde_json::from_str(&unchunked(head, body)).unwrap();
                assert_eq!(faults(&content["schema"], &body), Vec::<String>::new(), "{asked}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_too_long_or_too_large_is_refused_as_described() {
    let running = behind(Web::open()).await;
    let document = described();
    let long = format!("/metrics?{}", "x".repeat(5_000));
    let answers = [
        ("/metrics", "get", running.get(&long).await),
        ("/api/v1/silences", "post", {
            running.ask("POST", "/api/v1/silences", "content-length: 100000\r\n").await
        }),
    ];
    for ((path, method, answer), expected) in answers.into_iter().zip(["414", "413"]) {
        assert_eq!(status(&answer), expected, "{method} {path}");
        let told = &document["paths"][path][method]["responses"][expected];
        assert!(told["content"]["text/plain; charset=utf-8"].is_object(), "{told}");
    }
}

/// The body without the frames of chunked coding (RFC 9112 section 7.1).
fn unchunked(head: &str, body: &str) -> String {
    if !head.contains("transfer-encoding: chunked") {
        return body.to_owned();
    }
    let (mut whole, mut rest) = (String::new(), body);
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &tail[..size];
        rest = tail[size..].trim_start_matches("\r\n");
    }
    whole
}

#[test]
fn incidents_of_every_kind_are_as_described() {
    use reachd_core::incident::{GroupSubject, IncidentState, Subject};
    use reachd_core::target::TargetName;
    let clock =
        crate::clock::WallClock::anchored(fixture::at(0), std::time::SystemTime::UNIX_EPOCH);
    let group = GroupSubject {
        key: "sg=web".to_owned(),
        members: vec![TargetName::new("a")],
        labels: BTreeMap::from([("team".to_owned(), "win".to_owned())]),
        member_labels: BTreeSet::new(),
    };
    let subjects =
        [None, Some(Subject::Vantage("default".to_owned())), Some(Subject::Group(Box::new(group)))];
    let document = described();
    let schema = &document["components"]["schemas"]["incident"];
    for (subject, state) in subjects.into_iter().zip([
        IncidentState::Resolved,
        IncidentState::Firing,
        IncidentState::Pending,
    ]) {
        let mut update = fixture::update(3, state);
        update.subject = subject.unwrap_or(update.subject);
        let mut row = serde_json::to_value(IncidentRow::new(&update, &clock)).unwrap();
        assert_eq!(faults(schema, &row), Vec::<String>::new());
        row["surprise"] = Value::Null;
        assert_ne!(faults(schema, &row), Vec::<String>::new(), "what is not described is noticed");
    }
}
