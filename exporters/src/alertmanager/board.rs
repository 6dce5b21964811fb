//! What Alertmanager is told: open alerts, and those that ended lately. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use reachd_core::incident::{IncidentState, IncidentUpdate};
use serde::Serialize;

use super::EVERY;
use crate::clock::rfc3339;
use crate::webhook::payload::{self, Context};

/// An open alert ends by itself if it is not repeated for so long: four pushes.
const HOLDS: Duration = Duration::from_secs(4 * EVERY.as_secs());

/// How long the end of an alert is repeated, as Prometheus does.
const OVER: Duration = Duration::from_secs(15 * 60);

/// Alerts in one request.
const BATCH: usize = 64;

#[derive(Clone)]
struct Row {
    version: u64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: SystemTime,
    url: String,
    /// When it ended, and until when that is told.
    over: Option<(SystemTime, SystemTime)>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

/// Every alert that is told, by fingerprint.
#[derive(Clone, Default)]
pub(super) struct Board {
    rows: BTreeMap<String, Row>,
    /// Ends of what was told under other labels: those are another alert there.
    past: Vec<Row>,
}

impl Board {
    /// Whether an incident is told as open.
    pub(super) fn is_open(&self, fingerprint: &str) -> bool {
        self.rows.get(fingerprint).is_some_and(|row| row.over.is_none())
    }

    /// Takes a step of an incident's life. An older one than is known is dropped.
    pub(super) fn put(&mut self, update: &IncidentUpdate, context: &Context<'_>, now: SystemTime) {
        let known = self.rows.get(&update.fingerprint);
        if known.is_some_and(|row| row.version >= update.version) {
            return;
        }
        let over = match update.state {
            IncidentState::Pending => return,
            IncidentState::Firing => None,
            IncidentState::Resolved => {
                let ended = update.ended.map(|(at, _)| context.clock.moment(at));
                Some((ended.unwrap_or(now), now + OVER))
            }
        };
        // While it goes on it began when it began, whatever a later step says.
        let began = known.filter(|row| row.over.is_none()).map(|row| row.starts_at);
        let mut labels = payload::labels(update);
        // Frozen at opening, and perhaps not the same in two daemons.
        labels.remove("class");
        labels.retain(|_, value| !value.is_empty());
        let mut annotations = payload::annotations(update, context);
        annotations.insert("class", update.class.as_str().to_owned());
        let row = Row {
            version: update.version,
            labels,
            annotations,
            starts_at: began.unwrap_or_else(|| context.clock.moment(update.started)),
            url: payload::own_url(context, "/"),
            over,
        };
        let labels = row.labels.clone();
        let elder = self.rows.insert(update.fingerprint.clone(), row);
        if let Some(mut elder) = elder.filter(|elder| elder.labels != labels) {
            elder.over.get_or_insert((now, now + OVER));
            self.past.push(elder);
        }
        self.past.retain(|row| row.labels != labels);
    }

    /// The bodies of a push; forgets what has been over for long.
    pub(super) fn bodies(&mut self, now: SystemTime) -> Vec<Vec<u8>> {
        self.rows.values_mut().chain(&mut self.past).for_each(|row| row.follow(now));
        self.rows.retain(|_, row| row.over.is_none_or(|(_, until)| until > now));
        self.past.retain(|row| row.over.is_none_or(|(_, until)| until > now));
        let alert = |row: &'_ Row| -> String {
            let alert = Alert {
                labels: &row.labels,
                annotations: &row.annotations,
                starts_at: rfc3339(row.starts_at),
                ends_at: rfc3339(row.over.map_or(now + HOLDS, |(at, _)| at)),
                generator_url: &row.url,
            };
            // Maps with text keys and plain values cannot fail to serialise.
            serde_json::to_string(&alert).unwrap_or_default()
        };
        let alerts: Vec<String> = self.past.iter().chain(self.rows.values()).map(alert).collect();
        alerts.chunks(BATCH).map(|batch| format!("[{}]", batch.join(",")).into_bytes()).collect()
    }
}

impl Row {
    /// After the wall clock was put back nothing may lie in the future: an alert that begins after
    /// its end is refused.
    fn follow(&mut self, now: SystemTime) {
        self.starts_at = self.starts_at.min(now);
        if let Some((ended, until)) = &mut self.over {
            *ended = (*ended).min(now).max(self.starts_at);
            *until = (*until).min(now + OVER);
        }
    }
}

#[cfg(test)]
mod tests {
    use reachd_core::target::Severity;
    use serde_json::Value;

    use super::*;
    use crate::clock::WallClock;
    use crate::fixture;
    use crate::webhook::Language;

    fn context() -> Context<'static> {
        let clock = WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH);
        let external_url = "http://reachd.example";
        Context { receiver: "am", language: Language::En, external_url, clock }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn alerts(board: &mut Board, now: u64) -> Vec<Value> {
        let bodies = board.bodies(at(now));
        let parsed = bodies.iter().map(|body| serde_json::from_slice::<Vec<Value>>(body).unwrap());
        parsed.flatten().collect()
    }

    #[test]
    fn an_open_alert_ends_in_the_future_and_its_labels_and_start_stand_still() {
        let mut board = Board::default();
        let mut update = fixture::update(1, IncidentState::Firing);
        board.put(&update, &context(), at(100));
        let first = alerts(&mut board, 100);
        assert_eq!(first[0]["startsAt"], "1970-01-01T00:01:00.000Z");
        assert_eq!(first[0]["endsAt"], "1970-01-01T00:03:40.000Z");
        assert_eq!(first[0]["annotations"]["class"], "blackhole");
        assert!(first[0]["labels"].get("class").is_none());
        (update.version, update.started) = (2, fixture::at(90).into());
        update.class = reachd_core::judge::Class::HostSilent;
        board.put(&update, &context(), at(130));
        let second = alerts(&mut board, 130);
        assert_eq!(second[0]["labels"], first[0]["labels"]);
        assert_eq!(second[0]["startsAt"], first[0]["startsAt"]);
        assert_eq!(second[0]["endsAt"], "1970-01-01T00:04:10.000Z");
        assert_eq!(second[0]["annotations"]["class"], "host_silent");
    }

    #[test]
    fn an_end_is_repeated_for_a_quarter_of_an_hour_and_old_news_is_no_news() {
        let mut board = Board::default();
        board.put(&fixture::update(1, IncidentState::Firing), &context(), at(100));
        board.put(&fixture::update(2, IncidentState::Resolved), &context(), at(120));
        board.put(&fixture::update(1, IncidentState::Firing), &context(), at(121));
        for now in [120, 150, 120 + 899] {
            assert_eq!(alerts(&mut board, now)[0]["endsAt"], "1970-01-01T00:02:00.000Z");
        }
        assert!(alerts(&mut board, 120 + 900).is_empty() && !board.is_open("0123456789abcdef"));
    }

    #[test]
    fn another_label_set_is_another_alert_and_the_old_one_ends() {
        let mut board = Board::default();
        let mut update = fixture::update(1, IncidentState::Firing);
        update.severity = Severity::Warning;
        board.put(&update, &context(), at(100));
        (update.version, update.severity) = (2, Severity::Critical);
        board.put(&update, &context(), at(130));
        let told: Vec<_> = alerts(&mut board, 130)
            .iter()
            .map(|alert| format!("{} {}", alert["labels"]["severity"], alert["endsAt"]))
            .collect();
        let expected = [
            "\"warning\" \"1970-01-01T00:02:10.000Z\"",
            "\"critical\" \"1970-01-01T00:04:10.000Z\"",
        ];
        assert_eq!(told, expected);
        let mut over = fixture::update(3, IncidentState::Resolved);
        over.severity = Severity::Critical;
        board.put(&over, &context(), at(140));
        assert_eq!(alerts(&mut board, 140).len(), 2);
        // The old label set fires again: its end is not told beside it.
        (update.version, update.severity) = (4, Severity::Warning);
        board.put(&update, &context(), at(150));
        assert_eq!(alerts(&mut board, 150).len(), 2);
        assert!(alerts(&mut board, 140 + 900).len() == 1, "ends are told for a quarter of an hour");
    }

    #[test]
    fn nothing_begins_or_ends_in_the_future_after_the_clock_was_put_back() {
        let mut board = Board::default();
        let clock = WallClock::anchored(fixture::at(0), at(3600));
        let context = Context { clock: clock.clone(), ..context() };
        board.put(&fixture::update(1, IncidentState::Firing), &context, at(3670));
        let mut other = fixture::update(1, IncidentState::Firing);
        other.fingerprint = "1".to_owned();
        board.put(&other, &context, at(3670));
        other = fixture::update(2, IncidentState::Resolved);
        board.put(&other, &context, at(3730));
        for alert in alerts(&mut board, 140) {
            assert_eq!(alert["startsAt"], "1970-01-01T00:02:20.000Z");
            assert!(alert["endsAt"].as_str().unwrap() <= "1970-01-01T00:04:20.000Z", "{alert}");
        }
        assert_eq!(alerts(&mut board, 150)[0]["startsAt"], "1970-01-01T00:02:20.000Z");
        assert_eq!(alerts(&mut board, 140 + 900).len(), 1);
    }

    #[test]
    fn a_clock_that_jumps_leaves_alerts_that_are_taken() {
        const YEAR: u64 = 365 * 86_400;
        let base = 2 * YEAR;
        let clock = WallClock::anchored(fixture::at(0), at(base));
        let context = Context { clock, ..context() };
        for jump in [3_600, YEAR] {
            for now in [base + 100 + jump, base + 100 - jump] {
                let mut board = Board::default();
                board.put(&fixture::update(1, IncidentState::Firing), &context, at(base + 100));
                let alert = alerts(&mut board, now).remove(0);
                let date = |name: &str| alert[name].as_str().unwrap().to_owned();
                assert!(date("startsAt") <= rfc3339(at(now)), "{alert}");
                assert_eq!(date("endsAt"), rfc3339(at(now) + HOLDS));
                board.put(&fixture::update(2, IncidentState::Resolved), &context, at(base + 130));
                for alert in alerts(&mut board, now) {
                    let date = |name: &str| alert[name].as_str().unwrap().to_owned();
                    assert!(date("startsAt") <= date("endsAt"), "{alert}");
                    assert!(date("endsAt") <= rfc3339(at(now)), "{alert}");
                }
                assert!(alerts(&mut board, now + 901).is_empty(), "told for ever");
            }
        }
    }

    #[test]
    fn no_request_has_more_than_64_alerts() {
        let mut board = Board::default();
        for number in 0..130 {
            let mut update = fixture::update(1, IncidentState::Firing);
            update.fingerprint = format!("{number:016x}");
            board.put(&update, &context(), at(100));
        }
        let bodies = board.bodies(at(100));
        let lengths = bodies.iter().map(|body| {
            serde_json::from_slice::<Vec<Value>>(body).map(|alerts| alerts.len()).unwrap()
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [64, 64, 2]);
    }
}
