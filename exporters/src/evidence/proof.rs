//! What is kept of one step: the packets with comments, the verdict, the paths.

use std::fmt::Write as _;

use reachd_core::incident::IncidentUpdate;
use reachd_core::report::{HopPart, TargetReport};

use super::{PACKETS, StepName, TRACE, VERDICT};

/// Bytes of one comment in a file of packets; its format allows 65,535.
const COMMENT_MAX: usize = 1024;

/// The evidence of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Its name.
    pub(super) step: StepName,
    packets: Option<Vec<u8>>,
    verdict: String,
    trace: String,
}

impl Proof {
    /// The evidence of a step with this verdict.
    pub fn new(step: StepName, report: &TargetReport) -> Result<Self, serde_json::Error> {
        let verdict = serde_json::to_string(report)? + "\n";
        Ok(Self { step, packets: None, verdict, trace: trace(report) })
    }

    /// Its name.
    pub const fn step(&self) -> &StepName {
        &self.step
    }

    /// Adds a pcapng file, if there is a packet in it.
    pub fn add_packets(&mut self, file: Vec<u8>) {
        // A section's header begins with its type and its length; alone it has nothing to show.
        let length =
            file.get(4..8).and_then(|bytes| Some(u32::from_ne_bytes(bytes.try_into().ok()?)));
        let alone = length.and_then(|length| usize::try_from(length).ok()) == Some(file.len());
        self.packets = (!file.is_empty() && !alone).then_some(file);
    }

    /// Names and bytes of its files.
    pub(super) fn files(&self) -> Vec<(&'static str, &[u8])> {
        let packets = self.packets.as_deref().map(|bytes| (PACKETS, bytes));
        let texts = [(TRACE, self.trace.as_bytes()), (VERDICT, self.verdict.as_bytes())];
        packets.into_iter().chain(texts).collect()
    }
}

/// What stands in the head of an incident's file of packets, for whoever opens it elsewhere.
pub fn comments(update: &IncidentUpdate) -> Vec<String> {
    let head = format!("{}: {}", update.kind.alertname(), update.summary.0);
    let mut comments = vec![head];
    if let Some(report) = &update.report {
        let (target, verdict) = (&report.target, &report.verdict);
        let percent = |odds: f64| format!("{:.0} %", odds * 100.0);
        comments.push(format!(
            "incident {} version {}, target {} ({})",
            update.fingerprint, update.version, target.name, target.host
        ));
        comments.push(format!("class {}, {}", verdict.class, percent(verdict.confidence)));
        comments.extend(verdict.causes.iter().map(|cause| {
            format!("cause {}, {}: {}", cause.cause, percent(cause.probability), cause.meaning)
        }));
        comments.extend(verdict.evidence.iter().map(|piece| {
            let detail = piece.detail.as_ref().map(|detail| format!(" ({})", detail.en));
            let vantage = piece.vantage.as_ref().map(|vantage| format!(" @{vantage}"));
            let (detail, vantage) = (detail.unwrap_or_default(), vantage.unwrap_or_default());
            format!("evidence {}={}{detail}{vantage}", piece.signal, piece.value)
        }));
    }
    comments.iter().map(|comment| plain(comment)).collect()
}

/// The paths, as a person knows them from other tools.
fn trace(report: &TargetReport) -> String {
    let (target, verdict) = (&report.target, &report.verdict);
    let started = report.started.as_deref().unwrap_or("an unknown time");
    let mut text = format!("{}: {}, seen {started}\n", plain(&target.name), verdict.class);
    for vantage in &report.vantages {
        let source = vantage.address.as_deref().unwrap_or("no address");
        let _ = writeln!(text, "\nfrom {} ({source})", plain(&vantage.name));
        for (protocol, hops) in [("TCP", &vantage.path.tcp), ("ICMP", &vantage.path.icmp)] {
            let Some(hops) = hops else {
                let _ = writeln!(text, "  {protocol}: not traced");
                continue;
            };
            let _ = writeln!(text, "  {protocol}");
            hops.iter().for_each(|hop| text += &line(hop));
        }
    }
    text
}

fn line(hop: &HopPart) -> String {
    let Some(address) = hop.address else { return format!("  {:>4}  *\n", hop.ttl) };
    let rtt = hop.rtt_seconds.map_or_else(String::new, |rtt| format!("{:.3} ms", rtt * 1000.0));
    format!("  {:>4}  {:<39}  {rtt}\n", hop.ttl, address.to_string())
}

/// A text without anything that a terminal takes for an order, and not too long.
fn plain(text: &str) -> String {
    let shown = text.chars().map(|letter| if letter.is_control() { '?' } else { letter });
    let mut bytes = 0;
    shown
        .take_while(|letter| {
            bytes += letter.len_utf8();
            bytes <= COMMENT_MAX
        })
        .collect()
}
