//! The families about targets and vantages: one row of the table each.

use reachd_core::accounting::BUCKET_BOUNDS;
use reachd_core::evidence::{InvalidReason, LossReason};
use reachd_core::judge::Class;
use reachd_core::snapshot::{ProbeRow, Snapshot, TargetRow, VantageRow, ViewRow};
use reachd_core::sweep::Cell;
use reachd_core::target::Target;
use reachd_core::vantage::Mode;

use super::Kind;
use super::line::{Series, same_plan_label};
use super::rdp;

/// How many causes of one target are exported.
const TOP_CAUSES: usize = 5;

/// One family: its description and how a row of the snapshot becomes its series.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
    pub(super) full_only: bool,
    pub(super) rows: Rows,
}

type Write<T> = fn(&'static str, &T, &mut Vec<u8>);
type WriteLabelled<T> = fn(Pen<'_>, &T);

/// What a family is written from.
#[derive(Clone, Copy)]
pub(super) enum Rows {
    Whole(Write<Snapshot>),
    Probes(fn(Pen<'_>, &ProbeRow, &Frozen)),
    Views(WriteLabelled<ViewRow>),
    Vantages(Write<VantageRow>),
    Targets(WriteLabelled<TargetRow>),
}

/// Begins the series of one row in one family.
pub(super) struct Pen<'a> {
    pub(super) name: &'static str,
    pub(super) labels: &'a [u8],
    pub(super) out: &'a mut Vec<u8>,
}

impl Pen<'_> {
    /// A series with the labels of the row.
    pub(super) fn series(&mut self) -> Series<'_> {
        self.suffixed("")
    }

    pub(super) fn suffixed(&mut self, suffix: &str) -> Series<'_> {
        Series::labelled(self.out, [self.name, suffix], self.labels)
    }
}

const fn family(name: &'static str, kind: Kind, rows: Rows, help: &'static str) -> Family {
    Family { name, kind, help, full_only: false, rows }
}

/// A row's counts at one moment: families of one page are written one after the other, and must add
/// up although the sweep counts on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frozen {
    sent: u64,
    received: u64,
    late: u64,
    duplicate: u64,
    lost: [u64; LossReason::ALL.len()],
    invalid: [u64; InvalidReason::ALL.len()],
}

impl Frozen {
    /// Reads a row.
    pub(super) fn of(row: &ProbeRow) -> Self {
        let mut frozen = Self::default();
        for cell in row.cells() {
            frozen.received += cell.received();
            frozen.late += cell.late();
            frozen.duplicate += cell.duplicate();
            for (sum, reason) in frozen.lost.iter_mut().zip(LossReason::ALL) {
                *sum += cell.lost(reason);
            }
            for (sum, reason) in frozen.invalid.iter_mut().zip(InvalidReason::ALL) {
                *sum += cell.invalid(reason);
            }
        }
        let unanswered = frozen.lost.iter().chain(&frozen.invalid).sum::<u64>();
        frozen.sent = frozen.received + unanswered;
        frozen
    }
}

/// Every family, in the order of the page.
pub(super) static FAMILIES: [Family; 32] = [
    family(
        "reachd_target_up",
        Kind::Gauge,
        Rows::Targets(up),
        "Whether the target is reachable, lossy or not; absent while unknown.",
    ),
    family(
        "reachd_target_class",
        Kind::Gauge,
        Rows::Targets(class),
        "1 for the current class of the target, 0 for the others it was in since start.",
    ),
    family(
        "reachd_target_confidence",
        Kind::Gauge,
        Rows::Targets(confidence),
        "Probability of the current class, 0 to 1.",
    ),
    family(
        "reachd_target_cause_probability",
        Kind::Gauge,
        Rows::Targets(causes),
        "Probability of each of the likeliest causes while the target is not reachable.",
    ),
    family(
        "reachd_target_reachable",
        Kind::Gauge,
        Rows::Views(reachable),
        "Whether the target answers this vantage at every layer asked.",
    ),
    family(
        "reachd_target_info",
        Kind::Gauge,
        Rows::Targets(target_info),
        "The target as planned, with its labels.",
    ),
    family(
        "reachd_targets_unwatched",
        Kind::Gauge,
        Rows::Whole(|name, all, out| Series::new(out, name).count(all.unwatched)),
        "Targets that no healthy vantage watches.",
    ),
    family(
        "reachd_probe_packets_sent_total",
        Kind::Counter,
        Rows::Probes(|mut pen, _, frozen| pen.series().count(frozen.sent)),
        "Probe packets whose fate is known.",
    ),
    family(
        "reachd_probe_packets_received_total",
        Kind::Counter,
        Rows::Probes(|mut pen, _, frozen| pen.series().count(frozen.received)),
        "Probe packets the target itself answered in time.",
    ),
    family(
        "reachd_probe_packets_late_total",
        Kind::Counter,
        Rows::Probes(|mut pen, _, frozen| pen.series().count(frozen.late)),
        "Answers that came after the verdict; their packets stay lost.",
    ),
    family(
        "reachd_probe_packets_duplicate_total",
        Kind::Counter,
        Rows::Probes(|mut pen, _, frozen| pen.series().count(frozen.duplicate)),
        "Answers beyond the first.",
    ),
    family(
        "reachd_probe_packets_lost_total",
        Kind::Counter,
        Rows::Probes(lost),
        "Probe packets the target did not answer in time.",
    ),
    family(
        "reachd_probe_packets_invalid_total",
        Kind::Counter,
        Rows::Probes(invalid),
        "Probe packets that say nothing, through a fault of our own.",
    ),
    Family {
        full_only: true,
        ..family(
            "reachd_probe_rtt_seconds",
            Kind::Histogram,
            Rows::Probes(rtt),
            "Round-trip times of answered probe packets.",
        )
    },
    Family {
        full_only: true,
        ..family(
            "reachd_rdp_stage_seconds",
            Kind::Histogram,
            Rows::Views(rdp::stages),
            "How long the stages of looks at an RDP server took, of those that succeeded.",
        )
    },
    family(
        "reachd_rdp_certificate_not_after_timestamp_seconds",
        Kind::Gauge,
        Rows::Views(|pen, row| rdp::moment(pen, row, |certificate| certificate.not_after)),
        "When the certificate of the RDP server ends.",
    ),
    family(
        "reachd_rdp_certificate_not_before_timestamp_seconds",
        Kind::Gauge,
        Rows::Views(|pen, row| rdp::moment(pen, row, |certificate| certificate.not_before)),
        "When the certificate of the RDP server begins.",
    ),
    family(
        "reachd_rdp_certificate_info",
        Kind::Gauge,
        Rows::Views(rdp::certificate_info),
        "The certificate of the RDP server and the version of TLS that showed it.",
    ),
    family(
        "reachd_rdp_security",
        Kind::Gauge,
        Rows::Views(rdp::security),
        "The security layer of the RDP server and whether it asks for NLA, as its answers tell.",
    ),
    family(
        "reachd_rdp_clock_skew_seconds",
        Kind::Gauge,
        Rows::Views(rdp::clock_skew),
        "The clock of the RDP server minus ours, with looks that go to NTLM.",
    ),
    family(
        "reachd_rdp_machine_info",
        Kind::Gauge,
        Rows::Views(rdp::machine_info),
        "The build that the RDP server tells with NTLM, and its names where rdp_names allows it.",
    ),
    family(
        "reachd_rdp_certificate_changes_total",
        Kind::Counter,
        Rows::Views(rdp::changes),
        "How often the RDP server showed another certificate than before.",
    ),
    family(
        "reachd_path_hops",
        Kind::Gauge,
        Rows::Views(path_hops),
        "Routers passed on the last complete path.",
    ),
    family(
        "reachd_path_changes_total",
        Kind::Counter,
        Rows::Views(|mut pen, row| pen.series().count(row.path_changes)),
        "How often the path changed.",
    ),
    family(
        "reachd_vantage_healthy",
        Kind::Gauge,
        Rows::Vantages(|name, row, out| {
            Series::new(out, name).label("vantage", &row.name).count(u64::from(row.healthy));
        }),
        "Whether the evidence of this vantage is believed.",
    ),
    family(
        "reachd_vantage_info",
        Kind::Gauge,
        Rows::Vantages(vantage_info),
        "The vantage's side of the provider's edge and how much it can see.",
    ),
    family(
        "reachd_capture_packets_total",
        Kind::Counter,
        Rows::Vantages(|name, row, out| capture(name, row, row.capture_packets, out)),
        "Packets the capture ring delivered.",
    ),
    family(
        "reachd_capture_drops_total",
        Kind::Counter,
        Rows::Vantages(|name, row, out| capture(name, row, row.capture_drops, out)),
        "Packets the capture ring had no room for.",
    ),
    family(
        "reachd_schedule_lag_seconds",
        Kind::Gauge,
        Rows::Whole(|name, all, out| Series::new(out, name).value(all.schedule_lag.as_secs_f64())),
        "How late probes were sent at worst, in this second or the last, or the engine woke in the last minute.",
    ),
    family(
        "reachd_incidents",
        Kind::Gauge,
        Rows::Whole(incidents),
        "Open incidents by class at opening and state.",
    ),
    family(
        "reachd_unmatched_answers_total",
        Kind::Counter,
        Rows::Whole(|name, all, out| Series::new(out, name).count(all.unmatched)),
        "Answers that matched nothing we sent.",
    ),
    family(
        "reachd_bugs_total",
        Kind::Counter,
        Rows::Whole(bugs),
        "Broken invariants of the daemon that did not stop it.",
    ),
];

/// Unknown is no answer, and our own fault says nothing about the target: no series, never 0.
fn up(mut pen: Pen<'_>, row: &TargetRow) {
    if !matches!(row.class, Class::Unknown | Class::VantageFault) {
        pen.series().count(u64::from(row.class.is_up()));
    }
}

fn class(mut pen: Pen<'_>, row: &TargetRow) {
    for class in Class::ALL {
        if class == row.class || row.classes_seen.contains(&class) {
            let series = pen.series().label("class", class.as_str());
            series.count(u64::from(class == row.class));
        }
    }
}

fn confidence(mut pen: Pen<'_>, row: &TargetRow) {
    if let Some(report) = &row.report {
        pen.series().value(report.verdict.confidence);
    }
}

fn causes(mut pen: Pen<'_>, row: &TargetRow) {
    let Some(report) = &row.report else { return };
    if row.class == Class::Reachable {
        return;
    }
    for cause in report.verdict.causes.iter().take(TOP_CAUSES) {
        pen.series().label("cause", &cause.cause).value(cause.probability);
    }
}

fn reachable(mut pen: Pen<'_>, row: &ViewRow) {
    if let Some(reachable) = row.reachable {
        pen.series().count(u64::from(reachable));
    }
}

fn path_hops(mut pen: Pen<'_>, row: &ViewRow) {
    if let Some(hops) = row.path_hops {
        pen.series().count(u64::from(hops));
    }
}

fn target_info(mut pen: Pen<'_>, row: &TargetRow) {
    let Target { host, port, service, group, labels, .. } = &*row.target;
    let mut digits = [0u8; 5];
    let port = if service.has_port() { port_text(*port, &mut digits) } else { "" };
    let series = pen.series().label("host", host).label("port", port);
    let mut series = series.label("service", service.as_str());
    series = series.label("group", group.as_deref().unwrap_or_default());
    for (index, (key, value)) in labels.iter().enumerate() {
        // Two spellings of one name would make the series invalid: the first one stays.
        if !labels.keys().take(index).any(|earlier| same_plan_label(earlier, key)) {
            series = series.plan_label(key, value);
        }
    }
    series.count(1);
}

/// A port as text, written into the buffer.
fn port_text(port: u16, digits: &mut [u8; 5]) -> &str {
    let mut rest = port;
    let mut start = digits.len();
    for (index, slot) in digits.iter_mut().enumerate().rev() {
        *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        start = index;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    digits.get(start..).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
}

/// Reasons appear on first use.
fn lost(mut pen: Pen<'_>, _: &ProbeRow, frozen: &Frozen) {
    for (reason, count) in LossReason::ALL.iter().zip(frozen.lost).filter(|(_, count)| *count > 0) {
        pen.series().label("reason", reason.as_str()).count(count);
    }
}

fn invalid(mut pen: Pen<'_>, _: &ProbeRow, frozen: &Frozen) {
    let known = InvalidReason::ALL.iter().zip(frozen.invalid);
    for (reason, count) in known.filter(|(_, count)| *count > 0) {
        pen.series().label("reason", reason.as_str()).count(count);
    }
}

fn rtt(mut pen: Pen<'_>, row: &ProbeRow, _: &Frozen) {
    let mut cumulative = 0;
    for (bucket, bound) in BUCKET_BOUNDS.iter().enumerate() {
        cumulative += row.cells().map(|cell| cell.bucket(bucket)).sum::<u64>();
        pen.suffixed("_bucket").bound(*bound).count(cumulative);
    }
    // The numbers grow while they are read: the count is never less than the buckets said.
    let count = row.cells().map(Cell::rtt_count).sum::<u64>().max(cumulative);
    let sum: f64 = row.cells().map(|cell| cell.rtt_sum().as_secs_f64()).sum();
    pen.suffixed("_bucket").bound(f64::INFINITY).count(count);
    pen.suffixed("_sum").value(sum);
    pen.suffixed("_count").count(count);
}

fn vantage_info(name: &'static str, row: &VantageRow, out: &mut Vec<u8>) {
    let mode = row.mode.map_or("none", Mode::as_str);
    let series = Series::new(out, name).label("vantage", &row.name);
    series.label("role", row.role.as_str()).label("mode", mode).count(1);
}

/// Where no packets are seen there are no such counters; a receiver that is gone keeps its own.
fn capture(name: &'static str, row: &VantageRow, count: u64, out: &mut Vec<u8>) {
    if row.mode.is_some_and(Mode::sees_packets) || row.capture_packets > 0 {
        Series::new(out, name).label("vantage", &row.name).count(count);
    }
}

fn incidents(name: &'static str, all: &Snapshot, out: &mut Vec<u8>) {
    for ((class, state), count) in &all.incidents {
        let series = Series::new(out, name).label("class", class.as_str());
        series.label("state", state.as_str()).count(*count);
    }
}

fn bugs(name: &'static str, all: &Snapshot, out: &mut Vec<u8>) {
    for (id, count) in &all.bugs {
        Series::new(out, name).label("id", id).count(*count);
    }
}
