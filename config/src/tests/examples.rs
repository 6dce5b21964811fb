//! The examples, the reference and the schema agree with the table of keys.

use std::collections::BTreeMap;

use reachd_core::plan::Budget;
use reachd_core::target::{Service, Target};

use super::{check_generated, folder, good};
use crate::key::Fallback;
use crate::schema::from_toml;
use crate::table::{SECTIONS, TOP};
use crate::{Settings, cost, embedded_default, full_example, load, reference, schema, template};

/// The settings, less what says where they were written.
fn meaning(settings: &Settings) -> String {
    let mut settings = settings.clone();
    settings.later.clear();
    settings.warnings.clear();
    settings.context = Default::default();
    format!("{settings:#?}")
}

#[test]
fn examples_are_right() {
    for name in ["minimal", "start", "full", "several-vantages"] {
        let settings = load(&folder().join(format!("examples/{name}.toml")));
        let settings = settings.unwrap_or_else(|report| panic!("{name}: {report}"));
        if name == "several-vantages" {
            assert_eq!(settings.warnings, []);
            assert_eq!(settings.file_problems, []);
            assert_eq!(settings.plan.targets.len(), 9);
        }
    }
}

#[test]
fn generated_files_are_current() {
    check_generated("reference.md", &reference());
    check_generated("examples/full.toml", &full_example());
}

#[test]
fn template_is_right_and_shows_keys_of_the_table_only() {
    let settings = good(template());
    assert_eq!(settings.warnings, []);
    let uncommented: String = template()
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|l| l.contains(" = ") || l.starts_with('['))
                .unwrap_or(line)
        })
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(good(&uncommented).plan.targets.len(), 2);
}

#[test]
fn full_example_shows_every_key() {
    let text = full_example();
    let mut section = "";
    let mut shown: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            shown.entry(section).or_default().push(key);
        }
    }
    for section in std::iter::once(&TOP).chain(SECTIONS) {
        for key in section.keys() {
            assert!(shown[section.name].contains(&key.name), "{} {}", section.name, key.name);
        }
    }
}

#[test]
fn every_example_of_the_table_is_right() {
    let mut last = None;
    for section in std::iter::once(&TOP).chain(SECTIONS) {
        for key in section.keys() {
            let value = from_toml(key.example);
            assert!(value.is_some(), "{} {}", section.name, key.name);
            last = value;
        }
    }
    assert!(last.is_some());
}

#[test]
fn defaults_of_the_table_hold() {
    for section in SECTIONS.iter().filter(|section| !section.repeated) {
        for key in section.keys() {
            if let Fallback::Value(toml) = key.fallback {
                let target = "[[target]]\nhost = \"h\"\n";
                let with = good(&format!("{target}[{}]\n{} = {toml}\n", section.name, key.name));
                assert_eq!(meaning(&with), meaning(&good(target)), "{} {}", section.name, key.name);
            }
        }
    }
    let required = [
        ("vantage", "name = \"v\""),
        ("target", "host = \"h\""),
        ("receiver", "name = \"r\"\nurl = \"http://h/\""),
        ("group", "name = \"g\""),
    ];
    for (name, required) in required {
        let section = crate::table::section(name).unwrap();
        for key in section.keys() {
            if let Fallback::Value(toml) = key.fallback {
                let without = format!("[[{name}]]\n{required}\n");
                let with = format!("{without}{} = {toml}\n", key.name);
                assert_eq!(meaning(&good(&with)), meaning(&good(&without)), "{name} {}", key.name);
            }
        }
    }
}

#[test]
fn an_empty_file_is_the_embedded_default() {
    let settings = good("");
    assert_eq!(meaning(&settings), meaning(&embedded_default()));
    assert_eq!(settings.plan.budget, Budget::default());
    assert_eq!(settings.plan.vantages.len(), 1);
    assert_eq!(settings.warnings.len(), 1);
}

#[test]
fn a_target_with_a_host_alone_is_cores_default() {
    let settings = good("[[target]]\nhost = \"h.example\"\n");
    assert_eq!(settings.plan.targets, [Target::new("h.example", 3389, Service::Rdp)]);
}

#[test]
fn schema_accepts_the_examples_and_refuses_unknown_keys() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for name in ["minimal", "start", "full", "several-vantages"] {
        let text = std::fs::read_to_string(folder().join(format!("examples/{name}.toml"))).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let mut value = serde_json::to_value(table).unwrap();
        // TOML's own times become tables in serde_json; the schema speaks of their text.
        for window in
            value.get_mut("maintenance").and_then(|v| v.as_array_mut()).into_iter().flatten()
        {
            for key in ["start", "end"] {
                let Some(moment) = window.get_mut(key) else { continue };
                *moment = moment["$__toml_private_datetime"].take();
            }
        }
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{name}");
    }
    assert!(!validator.is_valid(&serde_json::json!({ "listen": { "adress": "x:1" } })));
}

#[test]
fn cost_counts_packets_and_series() {
    let one = cost(&good("[[target]]\nhost = \"h\"\n"));
    // An echo and a SYN every 10 s, and 22 packets every 5 min.
    let told = 0.2 + 22.0 / 300.0;
    assert!((one.packets_per_second - told).abs() < 1e-9);
    let two = cost(&good(
        "[[target]]\nhost = \"h\"\n[[vantage]]\nname = \"a\"\n[[vantage]]\nname = \"b\"\n",
    ));
    assert!((two.packets_per_second - 2.0 * told).abs() < 1e-9);
    assert!(two.series > one.series);
    let compact = cost(&good("[[target]]\nhost = \"h\"\n[metrics]\ndetail = \"compact\"\n"));
    assert!(compact.series < one.series);
    assert_eq!((two.targets, two.vantages), (1, 2));
}
