//! Signs of the sweeps: flows that differ, rates that differ, sizes that differ.

use std::time::Duration;

use super::details;
use super::findings::Findings;
use super::signs::{Seen, is_repetition, missing};
use crate::evidence::AnswerKind;
use crate::judge::Sign;
use crate::monitor::Baseline;
use crate::probe::large::{NARROW, SMALLEST, SizeFates, TRIES};
use crate::probe::series::Tally;
use crate::statistics::{fisher, real};

/// Odds for and against a limit of the rate.
const LIMITED: f64 = 20.0;
const ALIKE: f64 = 0.2;
/// Answers from which round trips may be compared.
const ENOUGH: usize = 8;
/// What a queue adds at least; beyond it lies what a busy host or a radio link adds.
const GROWN: Duration = Duration::from_millis(20);
/// What is no growth: the noise of a quiet path.
const FLAT: Duration = Duration::from_millis(5);
/// How improbable it must be that only chance took all large packets.
const CHANCE: f64 = 0.002;
/// How improbable it must be that a loss which takes all packets alike took SYNs alone, and how
/// probable that it took both for it to be called shared.
const BY_CHANCE: f64 = 0.001;
const LIKE_BOTH: f64 = 0.05;
/// Small packets that may be missing where large ones are said to vanish for their size.
pub(super) const SMALL_LOST: u64 = 1;

/// What the sweeps of a survey say.
pub(super) fn signs(findings: &Findings, baseline: Option<&Baseline>) -> Vec<Seen> {
    let first = [flows(findings), rates(findings), queueing(findings, baseline), large(findings)];
    first.into_iter().chain([syn_loss(findings)]).flatten().collect()
}

fn flows(findings: &Findings) -> Option<Seen> {
    let fates = findings.flows.as_ref()?;
    let (dead, alive) = (fates.dead(), fates.alive());
    let sign = if findings.is_split() {
        Sign::FlowsSplit
    } else if fates.is_mixed() {
        Sign::FlowsMixed
    } else {
        return None;
    };
    Some(Seen::new(sign, Some(details::flows(fates, &dead, alive))))
}

fn rates(findings: &Findings) -> Option<Seen> {
    let fates = findings.rates.filter(|_| is_partial(findings))?;
    let odds = fates.odds_of_limit()?;
    let sign = if odds >= LIMITED {
        Sign::QuickLoses
    } else if odds <= ALIKE {
        Sign::RatesAlike
    } else {
        return None;
    };
    Some(Seen::new(sign, Some(details::rates(fates.slow, fates.quick()))))
}

/// A queue that drops is full, and what it lets through has waited in it.
fn queueing(findings: &Findings, baseline: Option<&Baseline>) -> Option<Seen> {
    if !is_partial(findings) {
        return None;
    }
    // A host that waits for the end of an old handshake repeats its answer when it likes: the delay
    // of SYNs asked again on their flow says nothing.
    let syn = findings.syn.as_ref().filter(|_| findings.flows.is_none());
    let (least, most) = spread(&findings.echo).or_else(|| syn.and_then(spread))?;
    let growth = most - least;
    // A queue that is always full delays all alike.
    let usual = baseline.and_then(|baseline| baseline.rtt);
    let full = |usual: &Duration| least >= *usual + GROWN && least >= *usual * 3 / 2;
    if let Some(usual) = usual.filter(full) {
        let detail = details::round_trips((least, most), Some(usual));
        return Some(Seen::new(Sign::DelayGrows, Some(detail)));
    }
    let sign = if growth >= GROWN && growth >= least / 2 {
        Sign::DelayGrows
    } else if growth < FLAT.max(least / 5) {
        Sign::DelayFlat
    } else {
        return None;
    };
    Some(Seen::new(sign, Some(details::round_trips((least, most), None))))
}

/// The smallest round trip and one that nine of ten do not exceed. Answers that only a repetition
/// brought waited for a timer, not in a queue.
fn spread(tally: &Tally) -> Option<(Duration, Duration)> {
    let least = tally.rtts.iter().min().copied()?;
    let accepts = tally.count(AnswerKind::SynAck) > 0;
    let in_time = |rtt: &Duration| !accepts || !is_repetition(*rtt - least);
    let mut rtts: Vec<_> = tally.rtts.iter().copied().filter(in_time).collect();
    rtts.sort_unstable();
    let most = rtts.get(rtts.len().saturating_sub(1) * 9 / 10)?;
    (rtts.len() >= ENOUGH).then_some((least, *most))
}

/// Whether echoes and segments without a connection that were sent beside lost SYNs were spared:
/// then no path loses, but whoever takes new connections does. Echoes alone do not say so, for a
/// path may lose TCP only. A dead path of several spares echoes as well, and its flows tell.
fn syn_loss(findings: &Findings) -> Option<Seen> {
    let (echo, syn) = (&findings.echo, findings.syn.as_ref()?);
    let (lost, sent) = (missing(syn), syn.valid());
    let heard = echo.received() > 0 && syn.received() > 0;
    if !heard || lost == 0 || findings.is_split() {
        return None;
    }
    let (echo_lost, echo_sent) = (missing(echo), echo.valid());
    let chance = fisher((lost, sent), (echo_lost, echo_sent));
    let segments = findings.large.as_ref().and_then(SizeFates::small_segments_pass);
    let sign = if chance < BY_CHANCE && segments == Some(true) {
        Sign::SynLossAlone
    } else if chance < BY_CHANCE {
        return None;
    } else if echo_lost > 0 && chance > LIKE_BOTH {
        Sign::SynLossShared
    } else {
        return None;
    };
    Some(Seen::new(sign, Some(details::syn_loss((lost, sent), (echo_lost, echo_sent)))))
}

fn is_partial(findings: &Findings) -> bool {
    let tallies = [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    tallies.into_iter().any(|tally| tally.received() > 0 && missing(tally) > 0)
}

fn large(findings: &Findings) -> Option<Seen> {
    let fates = findings.large.as_ref()?;
    let passing = fates.echo_passes();
    let told = fates.told();
    // Small echoes may be limited where segments are not, but what spares both spares segments.
    let echoes = || [&findings.echo].into_iter();
    let all = || echoes().chain(&findings.syn).filter(|tally| tally.received() > 0);
    let may_segments = || all().next().is_some() && !may_be_chance(findings, all(), TRIES);
    let segment = fates.segment_passes().filter(|passes| *passes || may_segments());
    let failing = fates.echo_fails().filter(|(_, lost)| !may_be_chance(findings, echoes(), *lost));
    // Large echoes alone may be filtered for being echoes, but hardly from this size on.
    let sharp = passing.is_some_and(|size| size >= NARROW);
    let sign = match (failing, segment) {
        (Some(_), Some(false)) => Sign::LargeForwardLost,
        (None, Some(false)) if passing.is_none() && told.is_none() => Sign::LargeForwardLost,
        (Some(_), Some(true)) if sharp => Sign::LargeReplyLost,
        (Some(_), None) if sharp => Sign::LargeLost,
        (Some(_), _) => return None,
        (None, _) if told.is_some() => Sign::LargeTold,
        (None, _) if passing.is_some_and(|size| size >= SMALLEST) => Sign::LargePasses,
        (None, _) => return None,
    };
    Some(Seen::new(sign, Some(details::large(fates))))
}

/// Whether something else than their size may have taken so many large packets, given how these
/// small ones fared: chance, or a queue that is full and has room for small ones only.
fn may_be_chance<'a>(
    findings: &Findings,
    small: impl Iterator<Item = &'a Tally> + Clone,
    lost: u32,
) -> bool {
    let tallies = [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
    let answering = tallies.filter(|tally| tally.received() > 0);
    let gone: u64 = small.clone().map(missing).sum();
    let ratio = (real(gone) + 1.0) / (real(small.map(Tally::valid).sum()) + 2.0);
    answering.map(missing).sum::<u64>() > SMALL_LOST || ratio.powf(f64::from(lost)) > CHANCE
}

#[cfg(test)]
mod tests;
