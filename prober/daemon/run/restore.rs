//! What an earlier run knew: baselines, and incidents that were firing.

use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::monitor::{Input, Monitor};
use reachd_core::target::TargetName;
use reachd_core::time::Instant;
use reachd_exporters::store::{IncidentRow, StoreHandle, SubjectRow};
use tracing::{info, warn};

/// Older baselines say nothing about today.
const BASELINE_AGE: Duration = Duration::from_secs(30 * 86_400);

/// Hands the monitor what the store kept. A store that fails costs the memory, not the start.
pub(super) async fn restore(monitor: &mut Monitor, store: &StoreHandle) {
    match store.load_baselines(BASELINE_AGE).await {
        Ok(rows) => {
            info!(baselines = rows.len(), "Restored");
            for row in rows {
                let target = TargetName::new(&row.target);
                let (vantage, baseline) = (row.vantage.clone(), row.baseline());
                monitor.handle(Instant::ZERO, Input::Baseline { target, vantage, baseline });
            }
        }
        Err(error) => warn!(%error, "Baselines were not restored"),
    }
    match store.load_open_incidents().await {
        Ok(rows) => rows.iter().for_each(|row| take_up(monitor, row)),
        Err(error) => warn!(%error, "Open incidents were not restored"),
    }
}

fn take_up(monitor: &mut Monitor, row: &IncidentRow) {
    let SubjectRow::Target { name, .. } = &row.subject else { return };
    let (Some(kind), Some(class)) = (row.alert_kind(), Class::from_name(&row.class)) else {
        return;
    };
    let (target, version) = (TargetName::new(name), row.version);
    info!(target = %target, class = class.as_str(), "An open incident goes on");
    monitor.handle(Instant::ZERO, Input::Firing { target, kind, class, version });
}
