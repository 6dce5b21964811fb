//! Groups of an earlier run, taken up where they were left.

use std::collections::BTreeSet;

use super::Monitor;
use super::groups::{Group, Words, family, group_fingerprint};
use crate::grouping::{Census, GroupKey};
use crate::incident::{AlertKind, Opening};
use crate::judge::Class;
use crate::target::TargetName;

/// A group that was firing when the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredGroup {
    /// What its members share.
    pub key: GroupKey,
    /// The kind of alert.
    pub kind: AlertKind,
    /// Class at opening.
    pub class: Class,
    /// The last version told.
    pub version: u64,
    /// Members that failed; never empty.
    pub members: Vec<TargetName>,
    /// What stays as it was told.
    pub opening: Opening,
}

impl Monitor {
    /// Nobody is told: whoever was to hear of it has.
    pub(super) fn handle_firing_group(&mut self, restored: RestoredGroup) {
        let RestoredGroup { key, kind, class, version, members, opening } = restored;
        let Some(speaker) = members.first().cloned() else { return };
        let fingerprint = group_fingerprint(kind, &key, family(class));
        for name in &members {
            self.groups.member_of.insert((name.clone(), kind), fingerprint.clone());
            let watch = self.targets.get_mut(name);
            let alarm = watch.and_then(|watch| watch.alarms.get_mut(&kind));
            alarm.into_iter().for_each(|alarm| alarm.told = false);
        }
        let failing: BTreeSet<_> = members.into_iter().collect();
        let count = u64::try_from(failing.len()).unwrap_or(u64::MAX);
        let census = Census { members: count, failing: count, others: 0, others_failing: 0 };
        let words = unheard(&speaker);
        let group = Group {
            kind,
            key,
            class,
            census,
            opening,
            version,
            flaps: 0,
            most: failing.len(),
            failing,
            grown: false,
            speaker,
            words,
        };
        self.groups.open.insert(fingerprint, group);
    }
}

/// What is said of a member of a group of an earlier run that was not judged in this one.
pub(super) fn unheard(name: &TargetName) -> Words {
    let summary = (
        format!("{name} failed before the restart and was not judged since."),
        format!("{name} 在重启前处于故障状态，此后尚未重新判断。"),
    );
    let next = ("Next: run a check of it.", "下一步：对其执行一次检查。");
    (summary, (next.0.to_owned(), next.1.to_owned()))
}
