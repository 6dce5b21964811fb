//! What a receiver was told, as Alertmanager's webhook has it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use reachd_lab::server::Webhook;
use serde_json::Value;

/// One alert of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// `firing` or `resolved`.
    pub(crate) status: String,
    /// Its identity.
    pub(crate) fingerprint: String,
    /// The labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// The annotations.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Told {
    /// A label, empty when it is not there.
    pub(crate) fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// An annotation, empty when it is not there.
    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.annotations.get(name).map_or("", String::as_str)
    }

    /// Whether it says this of that target or vantage.
    pub(crate) fn is(&self, status: &str, subject: &str) -> bool {
        let named = [self.label("target"), self.label("vantage")].contains(&subject);
        self.status == status && named
    }
}

/// Everything a receiver took, in order.
pub(crate) fn told(receiver: &Webhook) -> Result<Vec<Told>> {
    let mut all = Vec::new();
    for body in receiver.bodies() {
        let body: Value = serde_json::from_str(&body).context("read a message")?;
        ensure!(body["version"] == "4", "no message of version 4: {body}");
        for alert in body["alerts"].as_array().context("alerts")? {
            let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            let map = |key: &str| serde_json::from_value(alert[key].clone()).context("texts");
            all.push(Told {
                status: text("status"),
                fingerprint: text("fingerprint"),
                labels: map("labels")?,
                annotations: map("annotations")?,
            });
        }
    }
    Ok(all)
}

/// The same as receivers understand it: a message whose delivery was not noted before a kill comes
/// once more, with the same incident and version.
pub(crate) fn understood(receiver: &Webhook) -> Result<Vec<Told>> {
    let mut known = BTreeSet::new();
    let mut all = told(receiver)?;
    all.retain(|told| {
        let id = (told.fingerprint.clone(), told.annotation("version").to_owned());
        known.insert((id, told.status.clone()))
    });
    Ok(all)
}

/// Fails unless exactly one firing and one resolved were told of each of these, of the same
/// incident with the same labels, and nothing of anybody else.
pub(crate) fn one_pair_each(receiver: &Webhook, subjects: &[&str]) -> Result<()> {
    pair_each(&told(receiver)?, subjects)
}

/// The same over messages that were read before.
pub(crate) fn pair_each(all: &[Told], subjects: &[&str]) -> Result<()> {
    for subject in subjects {
        let of = |status| all.iter().filter(move |told| told.is(status, subject));
        let (firing, resolved): (Vec<_>, Vec<_>) =
            (of("firing").collect(), of("resolved").collect());
        ensure!(firing.len() == 1, "{} messages that {subject} fires: {all:#?}", firing.len());
        ensure!(resolved.len() == 1, "{} that it is over: {all:#?}", resolved.len());
        ensure!(firing[0].fingerprint == resolved[0].fingerprint, "two incidents of {subject}");
        ensure!(firing[0].labels == resolved[0].labels, "other labels: {firing:?} {resolved:?}");
    }
    ensure!(all.len() == 2 * subjects.len(), "more was told: {all:#?}");
    Ok(())
}
