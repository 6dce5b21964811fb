//! Incidents over many targets: which alarms are told alone, and which as one.
//!
//! An alarm that opens is not told at once: it is first held against those that fail at the same
//! time. If something they share explains them all, one incident is told for the group, and its
//! members' own updates go to the store only. A group ends when nearly all its members are well
//! again; those that still fail two minutes later are told alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::incidents::fingerprint;
use super::resumed::unheard;
use super::view::View;
use super::watch::TargetWatch;
use super::{Event, Monitor, Timer};
use crate::budget::prefix;
use crate::grouping::{self, Census, GroupKey};
use crate::incident::{
    AlertKind, GroupSubject, IncidentState, IncidentUpdate, Moment, Opening, Resolution, Subject,
};
use crate::judge::Class;
use crate::survey::findings::Findings;
use crate::target::{Severity, TargetName};
use crate::time::Instant;

/// Failures that began within this time may have one cause.
pub(super) const TOGETHER: Duration = Duration::from_secs(60);
/// An alarm waits this long for others that fail like it, if there are any.
const HOLD: Duration = Duration::from_secs(10);
/// The same while those that share something with it have fallen silent and are still looked at.
const HOLD_LONGEST: Duration = Duration::from_secs(30);
/// All targets are looked through this often at most.
const SEARCH_EVERY: Duration = Duration::from_secs(1);
/// Members that still fail this long after their group ended are told alone.
const REMAIN: Duration = Duration::from_secs(120);
/// A group is over when no more than one in so many of its members fails.
const ENDED_BELOW: usize = 5;

/// An alarm of a target.
type AlarmId = (TargetName, AlertKind);

/// An alarm that was not told yet.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Instant,
    /// When it is told alone, unless a group takes it or others still look like it.
    until: Instant,
    /// Whether the store knows of it, from having been a member.
    known: bool,
}

/// One incident over many targets.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) kind: AlertKind,
    pub(super) key: GroupKey,
    pub(super) class: Class,
    pub(super) census: Census,
    /// What receivers know it by. The severity is the highest that any member had: it may rise.
    pub(super) opening: Opening,
    pub(super) version: u64,
    pub(super) flaps: u32,
    /// Members that fail now, and the most there were.
    pub(super) failing: BTreeSet<TargetName>,
    pub(super) most: usize,
    /// Whether more joined since it was told.
    pub(super) grown: bool,
    /// The member whose words and evidence stand for all.
    pub(super) speaker: TargetName,
    /// What it last said of its failure: it may be gone when the group ends.
    pub(super) words: Words,
}

/// A summary and a next step, each in English and Chinese.
pub(super) type Words = ((String, String), (String, String));

impl Group {
    fn grew(&mut self) {
        self.grown = true;
        self.most = self.most.max(self.failing.len());
        let failing = u64::try_from(self.failing.len()).unwrap_or(u64::MAX);
        self.census.failing = self.census.failing.max(failing);
        self.census.members = self.census.members.max(failing);
    }
}

/// All groups, and the alarms that wait for one.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_labels: Vec<String>,
    held: BTreeMap<AlarmId, Held>,
    pub(super) open: BTreeMap<String, Group>,
    /// The group that an alarm belongs to, by fingerprint.
    pub(super) member_of: BTreeMap<AlarmId, String>,
    /// Version, flaps and end of groups that are over.
    ended: BTreeMap<String, (u64, u32, Instant)>,
    searched: Option<Instant>,
}

impl Groups {
    /// Which labels may explain a failure.
    pub(super) fn set_labels(&mut self, labels: Vec<String>) {
        self.by_labels = labels;
    }

    /// Whether an alarm is told as part of a group.
    pub(super) fn covers(&self, name: &TargetName, kind: AlertKind) -> bool {
        self.member_of.contains_key(&(name.clone(), kind))
    }

    /// The open groups by class at opening.
    pub(super) fn classes(&self) -> impl Iterator<Item = Class> {
        self.open.values().map(|group| group.class)
    }
}

/// Classes that one cause may show as while they are not told apart: silence is called by the
/// larger of two, and an ICMP error may come late.
pub(super) fn family(class: Class) -> Class {
    match class {
        Class::Blackhole | Class::HostSilent | Class::NoRoute | Class::Unknown => Class::HostSilent,
        other => other,
    }
}

impl Monitor {
    /// What a target has that others may share.
    fn keys(&self, watch: &TargetWatch) -> BTreeSet<GroupKey> {
        let labels = self.groups.by_labels.iter().filter_map(|name| {
            let value = watch.target.labels.get(name)?;
            Some(GroupKey::Label(name.clone(), value.clone()))
        });
        let subnets = watch.views.keys().map(|(_, address)| GroupKey::Prefix(prefix(*address)));
        let found = watch.views.values().filter_map(|view| view.findings.as_ref());
        // Where the path is cut off, what the targets share lies behind the cut: it was learnt
        // while they were well.
        let ways = watch.views.keys();
        let learnt = ways.flat_map(|(vantage, address)| self.neighbourhood.way(*vantage, *address));
        let routers = found.flat_map(Findings::routers).chain(learnt.copied());
        labels.chain(subnets).chain(routers.map(GroupKey::Router)).collect()
    }

    /// An alarm opened: it joins a group, or waits for what others say.
    pub(super) fn place_alarm(
        &mut self,
        now: Instant,
        name: &TargetName,
        kind: AlertKind,
    ) -> Place {
        let may_be_grouped = matches!(kind, AlertKind::Unreachable | AlertKind::Degraded);
        let Some(watch) = self.targets.get(name).filter(|_| may_be_grouped) else {
            return Place::Alone;
        };
        let id = (name.clone(), kind);
        let (keys, class) = (self.keys(watch), family(watch.class));
        let mut open = self.groups.open.iter_mut();
        let joined = open.find(|(_, group)| {
            group.kind == kind && family(group.class) == class && keys.contains(&group.key)
        });
        let search = self.groups.searched.map_or(now, |at| (at + SEARCH_EVERY).max(now));
        self.timers.hasten(Timer::Groups, search);
        if let Some((fingerprint, group)) = joined {
            group.failing.insert(name.clone());
            group.grew();
            self.groups.member_of.insert(id, fingerprint.clone());
            return Place::Member;
        }
        self.groups.held.insert(id, Held { since: now, until: now, known: false });
        Place::Held
    }

    /// Where an alarm stands.
    pub(super) fn place_of(&self, name: &TargetName, kind: AlertKind) -> Place {
        let id = (name.clone(), kind);
        match self.groups.held.get(&id) {
            Some(Held { known: false, .. }) => Place::Held,
            Some(_) => Place::Member,
            None if self.groups.member_of.contains_key(&id) => Place::Member,
            None => Place::Alone,
        }
    }

    /// An alarm is over, and with it perhaps its group.
    pub(super) fn leave_group(
        &mut self,
        now: Instant,
        (name, kind): (&TargetName, AlertKind),
        why: Resolution,
    ) {
        let id = (name.clone(), kind);
        self.groups.held.remove(&id);
        let Some(fingerprint) = self.groups.member_of.remove(&id) else { return };
        let Some(group) = self.groups.open.get_mut(&fingerprint) else { return };
        group.failing.remove(name);
        if group.speaker == *name
            && let Some(other) = group.failing.first()
        {
            group.speaker = other.clone();
        }
        if group.failing.len() * ENDED_BELOW <= group.most {
            self.end_group(now, &fingerprint, why);
        }
    }

    /// Looks for what explains the alarms that wait; tells alone those that waited long enough.
    pub(super) fn run_groups(&mut self, now: Instant) {
        if let Some(at) = self.groups.searched.filter(|at| now.since(*at) < SEARCH_EVERY) {
            self.timers.set(Timer::Groups, Some(at + SEARCH_EVERY));
            return;
        }
        self.groups.searched = Some(now);
        self.form_groups(now);
        self.tell_growth(now);
        let (alike, awaited) = (self.alike(), self.awaited(now));
        let mut alone = Vec::new();
        for (id, held) in &mut self.groups.held {
            let age = now.since(held.since);
            let waits = |longest, others: &BTreeSet<AlarmId>| age < longest && others.contains(id);
            if !held.known && (waits(HOLD, &alike) || waits(HOLD_LONGEST, &awaited)) {
                held.until = now + SEARCH_EVERY;
            } else if held.until <= now {
                alone.push((id.clone(), held.known));
            }
        }
        for ((name, kind), known) in alone {
            self.groups.held.remove(&(name.clone(), kind));
            let alarm = self.targets.get_mut(&name).and_then(|watch| watch.alarms.get_mut(&kind));
            if let Some(alarm) = alarm.filter(|_| known) {
                alarm.version += 1;
            }
            let state = (IncidentState::Firing, None);
            self.tell_incident(now, (&name, kind), state, (Place::Alone, true));
        }
        let next = self.groups.held.values().map(|held| held.until).min();
        self.timers.set(Timer::Groups, next);
    }

    /// Groups that more targets joined since they were told. One more is worth no message, unless
    /// it is worth more than all before.
    fn tell_growth(&mut self, now: Instant) {
        let Self { groups, targets, .. } = self;
        let mut told = Vec::new();
        for (fingerprint, group) in groups.open.iter_mut().filter(|(_, group)| group.grown) {
            group.grown = false;
            group.version += 1;
            let members = group.failing.iter().filter_map(|name| targets.get(name));
            let severity = severity(group.kind, members);
            let rises = severity > group.opening.severity;
            group.opening.severity = severity.max(group.opening.severity);
            told.push((fingerprint.clone(), rises));
        }
        for (fingerprint, rises) in told {
            self.tell_group(now, &fingerprint, (None, rises));
        }
    }

    /// Failing targets that no group has yet, by how they fail.
    fn ungrouped(&self) -> BTreeMap<(AlertKind, Class), Vec<TargetName>> {
        let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (name, watch) in self.targets.iter().filter(|(_, watch)| !watch.canary) {
            for (kind, alarm) in &watch.alarms {
                let since = alarm.failing_since();
                let together = since.is_some_and(|since| self.now.since(since) <= TOGETHER);
                if together && *kind != AlertKind::Exposed && !self.groups.covers(name, *kind) {
                    all.entry((*kind, family(watch.class))).or_default().push(name.clone());
                }
            }
        }
        all
    }

    /// Held alarms that share something with another that fails like them.
    fn alike(&self) -> BTreeSet<AlarmId> {
        let mut alike = BTreeSet::new();
        if self.groups.held.values().all(|held| held.known) {
            return alike;
        }
        for ((kind, _), names) in self.ungrouped() {
            let mut by_key: BTreeMap<GroupKey, Vec<&TargetName>> = BTreeMap::new();
            for name in &names {
                self.keys_of(name).into_iter().flatten().for_each(|key| {
                    by_key.entry(key).or_default().push(name);
                });
            }
            for together in by_key.into_values().filter(|names| names.len() > 1) {
                alike.extend(together.into_iter().map(|name| (name.clone(), kind)));
            }
        }
        alike
    }

    /// Held alarms that would be a group's if those fail too that have just fallen silent and were
    /// not judged since.
    fn awaited(&self, now: Instant) -> BTreeSet<AlarmId> {
        let mut awaited = BTreeSet::new();
        if self.groups.held.values().all(|held| held.known) {
            return awaited;
        }
        let silent = |watch: &&TargetWatch| {
            let mut missed = watch.views.values().filter_map(View::missed_since);
            let failing = watch.alarms.values().any(|alarm| alarm.failing_since().is_some());
            !watch.canary && !failing && missed.any(|since| now.since(since) <= TOGETHER)
        };
        let silent: Vec<_> = self.targets.values().filter(silent).collect();
        if silent.is_empty() {
            return awaited;
        }
        let silent: Vec<_> = silent.into_iter().map(|watch| self.keys(watch)).collect();
        let all = self.keys_of_all();
        for ((kind, _), mut names) in self.ungrouped() {
            while !names.is_empty() {
                let failing = names.iter().filter_map(|name| self.keys_of(name));
                let failing: Vec<_> = failing.chain(silent.iter().cloned()).collect();
                let Some((key, _)) = grouping::find(&failing, all.iter()) else { break };
                let before = names.len();
                let shares = |name: &mut TargetName| {
                    self.keys_of(name).is_some_and(|keys| keys.contains(&key))
                };
                awaited.extend(names.extract_if(.., shares).map(|name| (name, kind)));
                if names.len() == before {
                    break;
                }
            }
        }
        awaited
    }

    /// What each target has that others may share.
    fn keys_of_all(&self) -> Vec<BTreeSet<GroupKey>> {
        let watched =
            self.targets.values().filter(|watch| !watch.canary && !watch.views.is_empty());
        watched.map(|watch| self.keys(watch)).collect()
    }

    fn form_groups(&mut self, now: Instant) {
        for ((kind, _), mut names) in self.ungrouped() {
            let held = |name: &TargetName| self.groups.held.get(&(name.clone(), kind));
            if !names.iter().any(|name| held(name).is_some()) {
                continue;
            }
            let all = self.keys_of_all();
            // Those that only seem to fail are no group by themselves before the first would be
            // told alone: until then it may turn out that our own side is the cause.
            let ripe = |held: &Held| held.known || now.since(held.since) >= HOLD;
            let firing = names.iter().filter(|name| self.is_firing(name, kind));
            let firing: Vec<_> = firing.filter_map(|name| self.keys_of(name)).collect();
            if !names.iter().filter_map(held).any(ripe)
                && grouping::find(&firing, all.iter()).is_none()
            {
                continue;
            }
            loop {
                let failing: Vec<_> = names.iter().filter_map(|name| self.keys_of(name)).collect();
                let Some((key, census)) = grouping::find(&failing, all.iter()) else { break };
                let members: BTreeSet<_> = names
                    .extract_if(.., |name| {
                        self.keys_of(name).is_some_and(|keys| keys.contains(&key))
                    })
                    .collect();
                self.open_group(now, (kind, key), census, &members);
            }
        }
    }

    fn keys_of(&self, name: &TargetName) -> Option<BTreeSet<GroupKey>> {
        self.targets.get(name).map(|watch| self.keys(watch))
    }

    fn is_firing(&self, name: &TargetName, kind: AlertKind) -> bool {
        let alarm = self.targets.get(name).and_then(|watch| watch.alarms.get(&kind));
        alarm.is_some_and(|alarm| alarm.state() == Some(IncidentState::Firing))
    }

    fn open_group(
        &mut self,
        now: Instant,
        (kind, key): (AlertKind, GroupKey),
        census: Census,
        members: &BTreeSet<TargetName>,
    ) {
        let watches = || members.iter().filter_map(|name| self.targets.get(name));
        let since = |watch: &TargetWatch| watch.alarms.get(&kind)?.failing_since();
        let Some(started) = watches().filter_map(since).min() else { return };
        let mut classes: BTreeMap<Class, (u64, TargetName)> = BTreeMap::new();
        for watch in watches() {
            let name = watch.target.name.clone();
            classes.entry(watch.class).or_insert_with(|| (0, name)).0 += 1;
        }
        let Some((class, (_, speaker))) = classes.into_iter().max_by_key(|(_, (count, _))| *count)
        else {
            return;
        };
        let fingerprint = group_fingerprint(kind, &key, family(class));
        let (version, flaps) = match self.groups.ended.remove(&fingerprint) {
            Some((version, flaps, at)) if now.since(at) < super::alarm::REOPEN_WITHIN => {
                (version, flaps + 1)
            }
            Some((version, ..)) => (version, 0),
            None => (0, 0),
        };
        let mut failing = BTreeSet::new();
        for name in members {
            let id = (name.clone(), kind);
            // One that is still pending joins when it opens; one that was told stays told.
            if self.is_firing(name, kind) {
                let held = self.groups.held.remove(&id);
                self.groups.member_of.insert(id, fingerprint.clone());
                failing.insert(name.clone());
                if held.is_some_and(|held| !held.known) {
                    let state = (IncidentState::Firing, None);
                    self.tell_incident(now, (name, kind), state, (Place::Member, false));
                }
            }
        }
        let watches = || members.iter().filter_map(|name| self.targets.get(name));
        let opening = Opening {
            started: Moment::At(started),
            severity: severity(kind, watches()),
            labels: shared_labels(watches()),
        };
        let (version, most, grown) = (version + 1, failing.len(), false);
        let words = self.targets.get(&speaker).map(|watch| self.words(watch, kind));
        let words = words.unwrap_or_else(|| unheard(&speaker));
        let group = Group {
            kind,
            key,
            class,
            census,
            opening,
            version,
            flaps,
            failing,
            most,
            grown,
            speaker,
            words,
        };
        self.groups.open.insert(fingerprint.clone(), group);
        self.tell_group(now, &fingerprint, (None, true));
    }

    /// A group is over; members that still fail are told alone if they go on failing.
    fn end_group(&mut self, now: Instant, fingerprint: &str, why: Resolution) {
        self.tell_group(now, fingerprint, (Some(why), true));
        let Some(group) = self.groups.open.remove(fingerprint) else { return };
        self.groups.ended.insert(fingerprint.to_owned(), (group.version + 1, group.flaps, now));
        for name in group.failing {
            let id = (name, group.kind);
            self.groups.member_of.remove(&id);
            let held = Held { since: now, until: now + REMAIN, known: true };
            self.groups.held.insert(id, held);
        }
        if let Some(next) = self.groups.held.values().map(|held| held.until).min() {
            self.timers.hasten(Timer::Groups, next);
        }
    }

    fn tell_group(
        &mut self,
        now: Instant,
        fingerprint: &str,
        (ended, notify): (Option<Resolution>, bool),
    ) {
        let Some(group) = self.groups.open.get(fingerprint) else { return };
        let speaker = self.targets.get(&group.speaker);
        let judged = speaker.filter(|watch| watch.verdict.is_some());
        let failing = judged.filter(|_| group.failing.contains(&group.speaker));
        let words = failing.map(|watch| self.words(watch, group.kind));
        let words = words.unwrap_or_else(|| group.words.clone());
        let members = group.failing.iter().filter_map(|name| self.targets.get(name));
        let update = IncidentUpdate {
            fingerprint: fingerprint.to_owned(),
            version: group.version + u64::from(ended.is_some()),
            kind: group.kind,
            subject: Subject::Group(Box::new(GroupSubject {
                key: group.key.to_string(),
                members: group.failing.iter().cloned().collect(),
                labels: group.opening.labels.clone(),
                member_labels: members.map(|watch| watch.target.labels.clone()).collect(),
            })),
            state: if ended.is_some() { IncidentState::Resolved } else { IncidentState::Firing },
            severity: group.opening.severity,
            class: group.class,
            class_now: speaker.map_or(group.class, |watch| watch.class),
            started: group.opening.started,
            ended: ended.map(|why| (now.into(), why)),
            flaps: group.flaps,
            report: speaker.and_then(|watch| watch.report.clone()),
            summary: summary(group, &words.0),
            next_step: words.1.clone(),
            notify,
            member: false,
        };
        if let Some(group) = self.groups.open.get_mut(fingerprint) {
            group.words = words;
        }
        self.tell(Event::Incident(Box::new(update)));
    }
}

/// How an alarm is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// By itself.
    Alone,
    /// As a member: its own updates go to the store, unless people had been told before.
    Member,
    /// Nobody has heard of it yet.
    Held,
}

/// The same over restarts, and for the same failure of the same group: members come and go.
pub(super) fn group_fingerprint(kind: AlertKind, key: &GroupKey, family: Class) -> String {
    fingerprint(kind, "group", &format!("{key}\u{0}{}", family.as_str()))
}

/// How loud a group is: as its loudest member.
fn severity<'a>(kind: AlertKind, members: impl Iterator<Item = &'a TargetWatch>) -> Severity {
    match kind {
        AlertKind::Degraded => Severity::Warning,
        AlertKind::Unreachable | AlertKind::Exposed | AlertKind::VantageFault => {
            members.map(|watch| watch.target.severity).max().unwrap_or_default()
        }
    }
}

/// The labels that all have, with the same value.
fn shared_labels<'a>(members: impl Iterator<Item = &'a TargetWatch>) -> BTreeMap<String, String> {
    let all = members.map(|watch| &watch.target.labels);
    let shared = all.fold(None, |shared: Option<BTreeMap<String, String>>, labels| {
        let Some(mut shared) = shared else { return Some(labels.clone()) };
        shared.retain(|name, value| labels.get(name) == Some(value));
        Some(shared)
    });
    shared.unwrap_or_default()
}

fn summary(group: &Group, (en, zh): &(String, String)) -> (String, String) {
    let Census { members, failing, others, others_failing } = group.census;
    let (key, class) = (&group.key, group.class.as_str());
    let key_zh = match key {
        GroupKey::Router(router) => format!("经由 {router}"),
        GroupKey::Label(..) | GroupKey::Prefix(_) => key.to_string(),
    };
    let class_zh = group.class.title().zh;
    (
        format!(
            "{failing} of {members} targets with {key} fail together ({class}), \
             {others_failing} of {others} others. One of them: {en}"
        ),
        format!(
            "{key_zh} 的 {members} 个目标中有 {failing} 个同时故障（{class_zh}），其余 {others} 个中有 \
             {others_failing} 个。其中之一：{zh}"
        ),
    )
}
