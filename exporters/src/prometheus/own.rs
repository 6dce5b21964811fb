//! The daemon's own numbers, in a registry of the `prometheus` crate.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::time::Instant;

use super::line::Series;
use super::{Format, Kind, header, process};

/// What became of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationOutcome {
    /// The receiver took it.
    Delivered,
    /// An attempt failed; it is tried again.
    Retried,
    /// The receiver listened and refused it (4xx); it is tried again, but seldom.
    Refused,
    /// Given up: the receiver was not told.
    Dead,
    /// A newer one of the same incident took its place.
    Superseded,
}

impl NotificationOutcome {
    const ALL: [Self; 5] =
        [Self::Delivered, Self::Retried, Self::Refused, Self::Dead, Self::Superseded];

    /// The `outcome` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retried => "retried",
            Self::Refused => "refused",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
        }
    }
}

/// What became of a request for the metrics page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrapeOutcome {
    /// The page was begun.
    Served,
    /// There was no snapshot in time.
    Failed,
}

impl ScrapeOutcome {
    const ALL: [Self; 2] = [Self::Served, Self::Failed];

    /// The `outcome` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Failed => "failed",
        }
    }
}

/// Why evidence was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceLoss {
    /// The disk failed, or refused.
    Disk,
    /// The disk has little room left.
    Room,
    /// More came at once than is written.
    Queue,
}

impl EvidenceLoss {
    const ALL: [Self; 3] = [Self::Disk, Self::Room, Self::Queue];

    /// The `reason` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Room => "room",
            Self::Queue => "queue",
        }
    }
}

/// The numbers about the daemon itself. Shared; everything counts without a lock of ours.
pub struct SelfMetrics {
    registry: Registry,
    reload_successful: IntGaugeVec,
    reload_time: GaugeVec,
    target_files: IntGaugeVec,
    notifications: IntCounterVec,
    queue_length: IntGaugeVec,
    oldest_pending: GaugeVec,
    /// The age of each receiver's oldest message, and when it was so old.
    oldest: Mutex<BTreeMap<String, (Duration, Instant)>>,
    disabled: IntGaugeVec,
    salvaged: IntGaugeVec,
    unsaved: IntGauge,
    save_failures: IntCounter,
    ballast_spent: IntGauge,
    muted: IntGauge,
    evidence_bytes: IntGauge,
    evidence_unwritten: IntCounterVec,
    history_lost: IntCounter,
    events_dropped: IntCounter,
    scrapes: IntCounterVec,
}

impl SelfMetrics {
    /// Registers everything; `version` is the daemon's.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let gauge = |name, help, labels: &[&str]| {
            add(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?)
        };
        let counter = |name, help, labels: &[&str]| {
            add(&registry, IntCounterVec::new(Opts::new(name, help), labels)?)
        };
        let build = gauge("reachd_build_info", "The running version.", &["version"])?;
        build.with_label_values(&[version]).set(1);
        let reload_time = Opts::new(
            "reachd_config_last_reload_success_timestamp_seconds",
            "When the configuration was last loaded, since the Unix epoch.",
        );
        let events_dropped = IntCounter::new(
            "reachd_events_dropped_total",
            "Events of the monitor that found a full queue.",
        )?;
        let oldest_pending = Opts::new(
            "reachd_notification_oldest_pending_seconds",
            "Age of the oldest notification that waits for a receiver.",
        );
        let save_failures = IntCounter::new(
            "reachd_store_save_failures_total",
            "Attempts to save a step of an incident that failed; they are repeated.",
        )?;
        let unsaved = IntGauge::new(
            "reachd_store_unsaved_steps",
            "Steps of incidents that wait to be saved, and to be told.",
        )?;
        let ballast_spent = IntGauge::new(
            "reachd_store_ballast_spent",
            "Whether no room is kept for incidents on a full disk: it is in use, or there was too little.",
        )?;
        let muted = IntGauge::new(
            "reachd_incidents_muted",
            "Incidents that fire and are told to nobody yet, because of maintenance.",
        )?;
        let evidence_bytes = IntGauge::new(
            "reachd_evidence_bytes",
            "Bytes of all files with evidence of incidents.",
        )?;
        let history_lost = IntCounter::new(
            "reachd_history_lost_total",
            "Batches of history, and changes, that were not written.",
        )?;
        // Gauges without labels are vectors all the same: they are absent until first set.
        let metrics = Self {
            reload_successful: gauge(
                "reachd_config_last_reload_successful",
                "Whether the last attempt to load the configuration succeeded.",
                &[],
            )?,
            reload_time: add(&registry, GaugeVec::new(reload_time, &[])?)?,
            target_files: gauge(
                "reachd_config_target_file_successful",
                "Whether the file's present content is in use, or its old targets.",
                &["file"],
            )?,
            notifications: counter(
                "reachd_notifications_total",
                "Attempts to notify a receiver, by what became of them.",
                &["receiver", "outcome"],
            )?,
            queue_length: gauge(
                "reachd_notification_queue_length",
                "Notifications waiting for a receiver.",
                &["receiver"],
            )?,
            oldest_pending: add(&registry, GaugeVec::new(oldest_pending, &["receiver"])?)?,
            oldest: Mutex::default(),
            disabled: gauge(
                "reachd_receiver_disabled",
                "Whether a receiver answered 410 Gone and is not used until the next reload.",
                &["receiver"],
            )?,
            salvaged: gauge(
                "reachd_store_salvaged_rows",
                "Rows saved from a store that was damaged at this start; absent if it was not.",
                &["table"],
            )?,
            unsaved: add(&registry, unsaved)?,
            save_failures: add(&registry, save_failures)?,
            ballast_spent: add(&registry, ballast_spent)?,
            muted: add(&registry, muted)?,
            evidence_bytes: add(&registry, evidence_bytes)?,
            evidence_unwritten: counter(
                "reachd_evidence_unwritten_total",
                "Steps of incidents whose evidence was not written, by reason.",
                &["reason"],
            )?,
            history_lost: add(&registry, history_lost)?,
            events_dropped: add(&registry, events_dropped)?,
            scrapes: counter(
                "reachd_scrapes_total",
                "Requests for the metrics page.",
                &["outcome"],
            )?,
            registry,
        };
        for outcome in ScrapeOutcome::ALL {
            metrics.scrapes.with_label_values(&[outcome.as_str()]);
        }
        for reason in EvidenceLoss::ALL {
            metrics.evidence_unwritten.with_label_values(&[reason.as_str()]);
        }
        Ok(metrics)
    }

    /// The configuration was loaded at this date.
    pub fn reload_succeeded(&self, at: SystemTime) {
        let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let none: &[&str] = &[];
        self.reload_successful.with_label_values(none).set(1);
        self.reload_time.with_label_values(none).set(since.as_secs_f64());
    }

    /// The configuration was refused; the old plan runs on.
    pub fn reload_failed(&self) {
        let none: &[&str] = &[];
        self.reload_successful.with_label_values(none).set(0);
    }

    /// Whether a file of targets could be used.
    pub fn target_file(&self, file: &str, successful: bool) {
        self.target_files.with_label_values(&[file]).set(i64::from(successful));
    }

    /// A file of targets is no longer in the plan.
    pub fn forget_target_file(&self, file: &str) {
        // An error only says that there was no such series.
        let _ = self.target_files.remove_label_values(&[file]);
    }

    /// Begins a receiver's counters at zero.
    pub fn add_receiver(&self, receiver: &str) {
        for outcome in NotificationOutcome::ALL {
            self.notifications.with_label_values(&[receiver, outcome.as_str()]);
        }
        self.queue_length.with_label_values(&[receiver]);
        self.oldest_pending.with_label_values(&[receiver]);
        self.disabled.with_label_values(&[receiver]).set(0);
    }

    /// A receiver left the configuration.
    pub fn forget_receiver(&self, receiver: &str) {
        for outcome in NotificationOutcome::ALL {
            // An error only says that there was no such series.
            let _ = self.notifications.remove_label_values(&[receiver, outcome.as_str()]);
        }
        let _ = self.queue_length.remove_label_values(&[receiver]);
        let _ = self.oldest_pending.remove_label_values(&[receiver]);
        let _ = self.disabled.remove_label_values(&[receiver]);
        self.oldest.lock().unwrap_or_else(PoisonError::into_inner).remove(receiver);
    }

    /// Counts a notification.
    pub fn notified(&self, receiver: &str, outcome: NotificationOutcome) {
        self.notifications.with_label_values(&[receiver, outcome.as_str()]).inc();
    }

    /// How many notifications wait for a receiver, and how old the oldest is.
    pub fn queue(&self, receiver: &str, length: usize, oldest: Option<Duration>) {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.queue_length.with_label_values(&[receiver]).set(length);
        let mut known = self.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let age = oldest.unwrap_or_default();
        self.oldest_pending.with_label_values(&[receiver]).set(age.as_secs_f64());
        match oldest {
            Some(age) => known.insert(receiver.to_owned(), (age, Instant::now())),
            None => known.remove(receiver),
        };
    }

    /// A receiver answered that it is gone.
    pub fn receiver_disabled(&self, receiver: &str) {
        self.disabled.with_label_values(&[receiver]).set(1);
    }

    /// The store was damaged at this start, and so many rows of a table were saved.
    pub fn salvaged(&self, table: &str, rows: usize) {
        let rows = i64::try_from(rows).unwrap_or(i64::MAX);
        self.salvaged.with_label_values(&[table]).set(rows);
    }

    /// How many steps of incidents wait to be saved.
    pub fn unsaved(&self, steps: usize) {
        self.unsaved.set(i64::try_from(steps).unwrap_or(i64::MAX));
    }

    /// Counts a step that could not be saved.
    pub fn save_failed(&self) {
        self.save_failures.inc();
    }

    /// Whether the room for incidents on a full disk is in use.
    pub fn ballast_spent(&self, spent: bool) {
        self.ballast_spent.set(i64::from(spent));
    }

    /// How many incidents are not told because of maintenance.
    pub fn muted(&self, incidents: usize) {
        self.muted.set(i64::try_from(incidents).unwrap_or(i64::MAX));
    }

    /// How many bytes of evidence lie on the disk.
    pub fn evidence(&self, bytes: u64) {
        self.evidence_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Counts a step whose evidence was not written.
    pub fn evidence_lost(&self, reason: EvidenceLoss) {
        self.evidence_unwritten.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a batch of history that was not written.
    pub fn history_lost(&self) {
        self.history_lost.inc();
    }

    /// Counts an event of the monitor that found a full queue.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Counts a request for the metrics page.
    pub fn scraped(&self, outcome: ScrapeOutcome) {
        self.scrapes.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Writes all of them, and the process's, in order of name.
    pub(super) fn write(&self, format: Format, out: &mut Vec<u8>) {
        process::write(format, out);
        let known = self.oldest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (receiver, (age, then)) in known {
            let age = age.saturating_add(then.elapsed());
            self.oldest_pending.with_label_values(&[receiver.as_str()]).set(age.as_secs_f64());
        }
        for family in self.registry.gather() {
            write_family(&family, format, out);
        }
    }
}

/// Registers a collector and gives it back.
fn add<T: Collector + Clone + 'static>(
    registry: &Registry,
    collector: T,
) -> Result<T, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn write_family(family: &MetricFamily, format: Format, out: &mut Vec<u8>) {
    let (kind, value): (Kind, fn(&Metric) -> f64) = match family.get_field_type() {
        MetricType::COUNTER => (Kind::Counter, |metric| metric.get_counter().get_value()),
        MetricType::GAUGE => (Kind::Gauge, |metric| metric.get_gauge().get_value()),
        // None of ours has another type.
        MetricType::SUMMARY | MetricType::UNTYPED | MetricType::HISTOGRAM => return,
    };
    header(out, format, family.name(), kind, family.help());
    for metric in family.get_metric() {
        let mut series = Series::new(out, family.name());
        for pair in metric.get_label() {
            series = series.label(pair.name(), pair.value());
        }
        series.value(value(metric));
    }
}
