//! Maintenance and silences: what is not told while one lasts, and told when it ends.
//!
//! A muted incident is saved like any other; only its beginning is not told. Whoever was told that
//! it fires is told that it is over, window or not: nothing stays open at a receiver by our doing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use reachd_config::{Maintenance, Matcher, Relation, Settings};
use reachd_core::incident::{IncidentState, IncidentUpdate, Subject};
use reachd_core::target::{Target, TargetName};
use reachd_exporters::outbox::Outbox;
use reachd_exporters::silence::{self, Silence, SilenceRequest};
use reachd_exporters::store::Rendered;
use reachd_exporters::webhook::payload;

/// What is to be said of a step of an incident.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// To whoever wants to hear it.
    Everybody,
    /// Only to those who were told before.
    Those,
    /// To nobody, while this window is open.
    Nobody(String),
}

/// Incidents whose beginning is not told yet.
#[derive(Debug, Default)]
pub(super) struct Mutes {
    held: BTreeMap<String, IncidentUpdate>,
    silences: Vec<Silence>,
}

impl Mutes {
    /// Decides about a step, and remembers what is held back; `heard` is whether anybody was told
    /// that this incident fires.
    pub(super) fn take(
        &mut self,
        update: &mut IncidentUpdate,
        heard: bool,
        (settings, now): (&Settings, Timestamp),
    ) -> Telling {
        let window = self.reason(settings, update, now);
        match (update.state, window) {
            (IncidentState::Firing, Some(window)) => {
                if !heard {
                    self.held.insert(update.fingerprint.clone(), update.clone());
                }
                Telling::Nobody(window)
            }
            (IncidentState::Firing, None) => {
                // A mere change is the first that is told of it.
                update.notify |= self.held.remove(&update.fingerprint).is_some();
                Telling::Everybody
            }
            (IncidentState::Resolved, window) => {
                let held = self.held.remove(&update.fingerprint).is_some();
                if held || window.is_some() { Telling::Those } else { Telling::Everybody }
            }
            (IncidentState::Pending, _) => Telling::Everybody,
        }
    }

    /// Incidents that are still there though no window holds them any more.
    pub(super) fn ripe(&self, settings: &Settings, now: Timestamp) -> Vec<IncidentUpdate> {
        let held = self.held.values();
        held.filter(|update| self.reason(settings, update, now).is_none()).cloned().collect()
    }

    /// What keeps an incident from being told, if anything does.
    fn reason(
        &self,
        settings: &Settings,
        update: &IncidentUpdate,
        now: Timestamp,
    ) -> Option<String> {
        let mut silences = self.silences.iter().filter(|silence| silence.covers(now)).peekable();
        let mut windows =
            settings.maintenance.iter().filter(|window| window.when.covers(now)).peekable();
        if silences.peek().is_none() && windows.peek().is_none() {
            return None;
        }
        let known = Known::new(update, &settings.plan.targets);
        let silence = silences.find(|silence| known.all(|one| silence.matches(|it| one.label(it))));
        let silence = silence.map(|silence| format!("silence {}", silence.id));
        silence.or_else(|| {
            let window = windows.find(|window| known.all(|one| concerns(window, one)));
            window.map(|window| window.name.clone())
        })
    }

    /// Whether something keeps an incident from being told.
    pub(super) fn holds(
        &self,
        settings: &Settings,
        update: &IncidentUpdate,
        now: Timestamp,
    ) -> bool {
        self.reason(settings, update, now).is_some()
    }

    /// The silences, those that are over for some days among them.
    pub(super) fn silences(&self) -> &[Silence] {
        &self.silences
    }

    /// Takes silences that were saved.
    pub(super) fn restore(&mut self, silences: Vec<Silence>) {
        self.silences = silences;
    }

    /// Adds a silence; gives its name, or what is wrong.
    pub(super) fn silence(
        &mut self,
        request: SilenceRequest,
        id: String,
        now: Timestamp,
    ) -> Result<String, String> {
        let made = request.accept(id, now)?;
        let id = made.id.clone();
        let added = silence::add(&mut self.silences, made, now);
        let full = || format!("there are {} silences; end some first", silence::SILENCES_MAX);
        added.map(|()| id).ok_or_else(full)
    }

    /// Ends a silence; whether there is one of this name.
    pub(super) fn unsilence(&mut self, id: &str, now: Timestamp) -> bool {
        let found = self.silences.iter_mut().find(|silence| silence.id == id);
        found.map(|silence| silence.expire(now)).is_some()
    }

    /// How many are held back.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

impl Telling {
    /// The messages that follow from it.
    pub(super) fn render(&self, outbox: &Outbox, update: &IncidentUpdate) -> Vec<Rendered> {
        match self {
            Self::Everybody => outbox.render(update),
            Self::Those => outbox.render_owed(update),
            Self::Nobody(_) => Vec::new(),
        }
    }
}

/// What an incident is known by: its own labels, and those of each member of a group.
struct Known {
    own: One,
    members: Vec<One>,
}

/// One alert, as it is or would be told.
struct One {
    target: Option<TargetName>,
    labels: BTreeMap<String, String>,
}

impl One {
    fn new(update: &IncidentUpdate) -> Self {
        let target = match &update.subject {
            Subject::Target(target) => Some(target.name.clone()),
            Subject::Vantage(_) | Subject::Group(_) => None,
        };
        Self { target, labels: payload::labels(update) }
    }

    fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }
}

impl Known {
    fn new(update: &IncidentUpdate, targets: &[Target]) -> Self {
        let mut members = Vec::new();
        if let Subject::Group(group) = &update.subject {
            let wanted: BTreeSet<_> = group.members.iter().collect();
            for target in targets.iter().filter(|target| wanted.contains(&target.name)) {
                let subject = Subject::Target(Box::new(target.clone()));
                members.push(One::new(&IncidentUpdate { subject, ..update.clone() }));
            }
            // One that has left the plan is known by its name alone.
            if members.len() < wanted.len() {
                let named: BTreeSet<_> =
                    members.iter().filter_map(|one| one.target.clone()).collect();
                let gone = wanted.into_iter().filter(|name| !named.contains(*name)).cloned();
                let gone: Vec<_> = gone.collect();
                members.extend(gone.into_iter().map(|name| {
                    let labels = BTreeMap::from([("target".to_owned(), name.to_string())]);
                    One { target: Some(name), labels }
                }));
            }
        }
        Self { own: One::new(update), members }
    }

    /// Whether something holds for the incident as it is told, or for each of its members.
    fn all(&self, holds: impl Fn(&One) -> bool) -> bool {
        holds(&self.own) || !self.members.is_empty() && self.members.iter().all(holds)
    }
}

fn concerns(window: &Maintenance, one: &One) -> bool {
    one.target.as_ref().is_some_and(|name| window.targets.contains(name))
        || matches(&window.matchers, |name| one.label(name))
}

/// Whether all hold; none written concerns nobody.
fn matches<'a>(matchers: &[Matcher], label: impl Fn(&str) -> &'a str) -> bool {
    let holds = |matcher: &Matcher| {
        (label(&matcher.label) == matcher.value) == (matcher.relation == Relation::Is)
    };
    !matchers.is_empty() && matchers.iter().all(holds)
}

#[cfg(test)]
mod tests;
