//! What the program said: the parts of a verdict document that are judged.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The class.
    pub class: String,
    /// How sure of it.
    pub confidence: f64,
    /// Causes and their probabilities, the likeliest first.
    pub causes: Vec<(String, f64)>,
    /// Notes.
    pub notes: Vec<String>,
    /// The evidence: signal, value and vantage.
    pub evidence: Vec<String>,
    /// The fates of the probes, by vantage and kind.
    pub fates: Vec<String>,
    /// Vantages that fail.
    pub failing: Vec<String>,
    /// The sentence for people.
    pub summary: String,
    /// How long the survey took.
    pub seconds: f64,
    /// What it cost.
    pub packets: u64,
}

impl Said {
    /// Reads a verdict document.
    pub fn read(document: &Value) -> Result<Self> {
        let verdict = &document["verdict"];
        let words = |list: &Value, read: &dyn Fn(&Value) -> String| -> Vec<String> {
            list.as_array().into_iter().flatten().map(read).collect()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut causes: Vec<(String, f64)> = verdict["causes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|part| Some((text(&part["cause"]), part["probability"].as_f64()?)))
            .collect();
        causes.sort_by(|left, right| right.1.total_cmp(&left.1));
        Ok(Self {
            class: verdict["class"].as_str().context("a verdict has a class")?.to_owned(),
            confidence: verdict["confidence"].as_f64().context("a verdict says how sure it is")?,
            causes,
            notes: words(&verdict["notes"], &|part| text(&part["note"])),
            evidence: words(&verdict["evidence"], &|part| {
                let [signal, value, vantage] =
                    ["signal", "value", "vantage"].map(|k| text(&part[k]));
                let detail = text(&part["detail"]);
                format!("{signal}={value}@{vantage} ({detail})")
            }),
            fates: fates(document),
            failing: words(&verdict["unreachable_from"], &text),
            summary: text(&verdict["summary"]),
            seconds: document["seconds"].as_f64().unwrap_or_default(),
            packets: document["packets_sent"].as_u64().unwrap_or_default(),
        })
    }
}

fn fates(document: &Value) -> Vec<String> {
    let mut fates = Vec::new();
    for vantage in document["vantages"].as_array().into_iter().flatten() {
        for kind in ["echo", "connect"] {
            let series = &vantage[kind];
            let [sent, received, lost, invalid] =
                ["sent", "received", "lost", "invalid"].map(|fate| series[fate].to_string());
            let name = vantage["name"].as_str().unwrap_or_default();
            fates.push(format!(
                "{name} {kind}: sent {sent}, received {received}, lost {lost}, invalid {invalid}"
            ));
        }
    }
    fates
}
