//! Who counts as a witness of his own: vantages that share a way see its faults together.

use super::sign::Sign;
use super::verdict::ViewEvidence;
use crate::evidence::AnswerKind;
use crate::path::Path;
use crate::survey::signs::Seen;
use crate::target::{Fronted, Target};
use crate::vantage::Role;
use crate::wording::Wording;

/// Whether both look over the same way from two source addresses of one host.
///
/// Routing by source address may part them all the same: then their first routers differ.
fn is_second_source(one: &ViewEvidence<'_>, other: &ViewEvidence<'_>) -> bool {
    let first = |view: &ViewEvidence<'_>| {
        let findings = view.findings?;
        let mut paths = findings.icmp_path.iter().chain(&findings.tcp_path);
        paths.find_map(|path: &Path| path.at(1))
    };
    let parted = first(one).zip(first(other)).is_some_and(|(one, other)| one != other);
    one.way.is_second_source_of(&other.way) && !parted
}

/// How many independent witnesses these are.
pub(super) fn count(views: &[&ViewEvidence<'_>]) -> usize {
    let is_new = |(at, view): &(usize, &&ViewEvidence<'_>)| {
        !views.iter().take(*at).any(|earlier| {
            earlier.way.shares_upstream_with(&view.way) || is_second_source(earlier, view)
        })
    };
    views.iter().enumerate().filter(is_new).count()
}

/// What the vantages that fail see of the others.
///
/// A second source address is no other vantage. One that shares a named upstream adds nothing to a
/// failure, which may be that upstream's; where it reaches the target, it does.
pub(super) fn others(failing: &[&ViewEvidence<'_>], reaching: &[&ViewEvidence<'_>]) -> Vec<Sign> {
    let elsewhere =
        |view: &&&ViewEvidence<'_>| failing.iter().any(|failing| !is_second_source(failing, view));
    let is_inside = |view: &&ViewEvidence<'_>| view.role == Role::Inside;
    let mut reached = reaching.iter().filter(elsewhere).peekable();
    if reached.peek().is_some() {
        // Where another vantage outside reaches as well, the provider's edge lets through.
        let inside = reached.all(is_inside);
        return vec![if inside { Sign::InsideReaches } else { Sign::OthersReach }];
    }
    if !reaching.is_empty() || count(failing) < 2 {
        return Vec::new();
    }
    let [some_inside, some_outside] =
        [true, false].map(|inside| failing.iter().any(|view| is_inside(view) == inside));
    let inside = some_inside && some_outside;
    [Sign::OthersFail].into_iter().chain(inside.then_some(Sign::InsideFails)).collect()
}

/// So many resets in a row are no service that has just stopped, as the others will see as well.
const RESETS: u64 = 3;

/// Whether the port opens to others while whoever fails is reset. Behind a front another host may
/// be who answers the others.
pub(super) fn resets_some(
    target: &Target,
    failing: &[&ViewEvidence<'_>],
    reaching: &[&ViewEvidence<'_>],
) -> bool {
    let shows = |view: &&ViewEvidence<'_>, sign| view.seen.iter().any(|seen| seen.sign == sign);
    let resets = |view: &&ViewEvidence<'_>| {
        let tally = view.findings.and_then(|findings| findings.syn.as_ref());
        let enough = tally.is_some_and(|syn| syn.count(AnswerKind::Reset) >= RESETS);
        shows(view, Sign::SynReset) && enough
    };
    let opens = |view: &&ViewEvidence<'_>| shows(view, Sign::SynAccepted);
    let any = !failing.is_empty() && target.fronted == Fronted::None;
    any && failing.iter().all(resets) && reaching.iter().any(opens)
}

/// What the other source addresses of each failing view's host see.
pub(super) fn seconds(
    failing: &[&ViewEvidence<'_>],
    reaching: &[&ViewEvidence<'_>],
) -> Vec<Option<Seen>> {
    let second = |view: &&ViewEvidence<'_>| {
        let is_second = |other: &&&ViewEvidence<'_>| is_second_source(view, other);
        let (sign, other) = match reaching.iter().find(is_second) {
            Some(other) => (Sign::SecondReaches, other),
            None => (Sign::SecondFailsToo, failing.iter().find(is_second)?),
        };
        let name = other.vantage;
        let detail = Wording::new(
            format!("vantage {name} of the same host"),
            format!("同一主机的观测点 {name}"),
        );
        Some(Seen::new(sign, Some(detail)))
    };
    failing.iter().map(second).collect()
}
