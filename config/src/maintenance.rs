//! Maintenance windows: when incidents are not told, once or again and again.

use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use reachd_core::target::TargetName;

use crate::assemble::{Document, Names};
use crate::layer::{Layer, Stack, text_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::settings::{Matcher, Settings};
use crate::source::Findings;
use crate::target::no_such;

/// A time in which some incidents are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// Unique name.
    pub name: String,
    /// The targets concerned, by name.
    pub targets: Vec<TargetName>,
    /// The targets concerned, by labels.
    pub matchers: Vec<Matcher>,
    /// When it is.
    pub when: When,
}

/// When a maintenance window is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// From one moment to another.
    Once {
        /// When it begins.
        start: Timestamp,
        /// When it ends.
        end: Timestamp,
    },
    /// On days of the week, by the clock of a place. One that ends at the hour at which it begins,
    /// or before it, ends on the next day.
    Weekly {
        /// The days on which it begins.
        days: Vec<Weekday>,
        /// The hour at which it begins.
        from: Time,
        /// The hour at which it ends.
        to: Time,
        /// Whose clock counts.
        zone: TimeZone,
    },
}

/// How days are written.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl When {
    /// Whether the window is open at this moment. The first moment belongs to it, the last does
    /// not. Where clocks are put back, an hour that comes twice is in it both times.
    pub fn covers(&self, moment: Timestamp) -> bool {
        match self {
            Self::Once { start, end } => (*start..*end).contains(&moment),
            Self::Weekly { days, from, to, zone } => {
                let here = moment.to_zoned(zone.clone()).datetime();
                let (today, time) = (here.date(), here.time());
                let begins = |day: Weekday| days.contains(&day);
                let overnight = to <= from;
                let since_today = begins(today.weekday()) && time >= *from;
                if !overnight {
                    return since_today && time < *to;
                }
                let yesterday = today.checked_sub(Span::new().days(1));
                let since_yesterday = yesterday.is_ok_and(|day| begins(day.weekday()));
                since_today || since_yesterday && time < *to
            }
        }
    }
}

/// The maintenance windows.
pub(crate) fn maintenance(
    document: &Document,
    settings: &Settings,
    findings: &mut Findings,
) -> Vec<Maintenance> {
    let mut names = Names::default();
    let mut windows = Vec::new();
    for layer in document.repeated("maintenance") {
        windows.extend(window(layer, settings, &mut names, findings));
    }
    windows
}

fn window(
    layer: &Layer,
    settings: &Settings,
    names: &mut Names,
    findings: &mut Findings,
) -> Option<Maintenance> {
    let stack = Stack::one(layer);
    if !layer.wrote("targets") && !layer.wrote("match") {
        let hint = "add `targets = [\"name\"]` or `match = { label = \"value\" }`";
        let fault = Fault::new("it concerns no target", hint);
        findings.error(layer.at, &layer.path, fault);
    }
    check_targets(layer, settings, findings);
    let when = when(layer, findings);
    let name = stack.text("name")?;
    let free = names.take(name, layer.place("name"), &layer.key("name"), findings);
    Some(Maintenance {
        name: name.to_owned(),
        targets: stack.list("targets", text_of).iter().map(|name| TargetName::new(name)).collect(),
        matchers: stack.matchers("match"),
        when: when.filter(|_| free)?,
    })
}

/// One of the two forms, whole.
fn when(layer: &Layer, findings: &mut Findings) -> Option<When> {
    const ONCE: [&str; 2] = ["start", "end"];
    const WEEKLY: [&str; 2] = ["from", "to"];
    let mut keys = ONCE.iter();
    let once = keys.find(|key| layer.wrote(key));
    let mut keys = WEEKLY.iter().chain(&["days", "time_zone"]);
    let weekly = keys.find(|key| layer.wrote(key));
    let form = match (once, weekly) {
        (Some(_), Some(key)) => {
            let hint = "keep `start` and `end`, or `days`, `from`, `to` and `time_zone`";
            let fault = Fault::new("a window is once or each week", hint);
            findings.error(layer.place(key), &layer.key(key), fault);
            return None;
        }
        (_, Some(_)) => WEEKLY,
        (_, None) => ONCE,
    };
    for key in form.iter().filter(|key| !layer.wrote(key)) {
        let hint = match *key {
            "start" | "end" => "add it: 2026-01-31T22:00:00Z; or `from` and `to` for each week",
            _ => "add it: \"22:00\"",
        };
        findings.error(layer.at, &layer.key(key), Fault::new("it is missing", hint));
    }
    if form == ONCE { once_only(layer, findings) } else { each_week(layer, findings) }
}

fn once_only(layer: &Layer, findings: &mut Findings) -> Option<When> {
    let stack = Stack::one(layer);
    let (start, end) = stack.moment("start").zip(stack.moment("end"))?;
    if end <= start {
        let fault =
            Fault::new(format!("it ends at {end}, before it starts"), "put `end` after `start`");
        findings.error(layer.place("end"), &layer.key("end"), fault);
    }
    Some(When::Once { start, end })
}

fn each_week(layer: &Layer, findings: &mut Findings) -> Option<When> {
    let stack = Stack::one(layer);
    let mut hour = |key| {
        let text = stack.text(key)?;
        let time = Time::strptime("%H:%M", text);
        if time.is_err() {
            let fault = Fault::new(
                format!("{} is no hour of the day", quote(text)),
                "write hours and minutes, from \"00:00\" to \"23:59\"",
            );
            findings.error(layer.place(key), &layer.key(key), fault);
        }
        time.ok()
    };
    let (from, to) = (hour("from"), hour("to"));
    let zone = match stack.text("time_zone") {
        None => Some(TimeZone::UTC),
        Some(name) => {
            let zone = TimeZone::get(name);
            if zone.is_err() {
                let fault = Fault::new(
                    format!("{} is no time zone", quote(name)),
                    "write a name of the IANA list, such as \"Asia/Shanghai\", or \"UTC\"",
                );
                findings.error(layer.place("time_zone"), &layer.key("time_zone"), fault);
            }
            zone.ok()
        }
    };
    let written = stack.list("days", text_of);
    let all = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];
    let chosen =
        |(name, _): &(&str, Weekday)| written.is_empty() || written.iter().any(|day| day == name);
    let days = DAYS.into_iter().zip(all).filter(chosen).map(|(_, day)| day).collect();
    Some(When::Weekly { days, from: from?, to: to?, zone: zone? })
}

/// Targets named must exist, unless they may still come from a target file, or mistakes keep some
/// target from being known.
fn check_targets(layer: &Layer, settings: &Settings, findings: &mut Findings) {
    if !settings.target_files.is_empty() || findings.error_count() > 0 {
        return;
    }
    let known = settings.plan.targets.iter().map(|target| target.name.as_str());
    for (index, item) in Stack::one(layer).items("targets").iter().enumerate() {
        let Some(name) = text_of(&item.value) else { continue };
        if !known.clone().any(|known| known == name) {
            let path = format!("{}[{}]", layer.key("targets"), index + 1);
            findings.error(item.at, &path, no_such("target", &name, known.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
