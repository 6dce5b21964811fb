//! Failures that come back: how the last silence ended, and at which hours of the day packets are
//! lost.
//!
//! Providers lift a DDoS blackhole by timer, so a silence that ended after just such a time was
//! one, and so, most likely, is the next. A link that is full at busy hours loses at the same hours
//! day after day; a broken one does not care.

use std::time::Duration;

use crate::judge::Sign;
use crate::probe::series::Tally;
use crate::survey::findings::Findings;
use crate::survey::signs::{Seen, is_lossy};
use crate::time::Instant;
use crate::wording::Wording;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// After how long providers lift a blackhole: Zenlayer 2 h, Alibaba Cloud 2.5 h by default,
/// Servercore 8 h, Huawei Cloud and UCloud 24 h (their documentation, 2026).
const TIMERS: [Duration; 4] =
    [Duration::from_secs(7_200), Duration::from_secs(9_000), Duration::from_secs(28_800), DAY];
/// By how much a silence may miss such a time: looks at it are seconds apart, timers and routes
/// minutes.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A shorter silence says nothing of timers.
const SHORTEST: Duration = HOUR;
/// What ended longer ago has nothing to do with the silence of now.
const MEMORY: Duration = DAY;
/// Days before today that are remembered, one bit each.
const DAYS: u32 = 7;
/// On so many of them the same hours must have been bad.
const SAME_HOURS: u32 = 2;
/// Where so many were watched and nothing recurs, the hour does not matter.
const WATCHED: u32 = 2;

/// What one view remembers of earlier failures.
#[derive(Debug, Default)]
pub(super) struct Recurrence {
    silent_since: Option<Instant>,
    lifted: Option<Lifted>,
    /// Kept from the first loss on.
    hours: Option<Box<Hours>>,
}

/// The end of a silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lifted {
    /// When it ended.
    pub(super) at: Instant,
    /// How long it had lasted.
    pub(super) lasted: Duration,
}

impl Lifted {
    /// Whether that is how long a provider's blackhole lasts.
    pub(super) fn is_by_timer(self) -> bool {
        TIMERS.iter().any(|timer| self.lasted.abs_diff(*timer) <= TOLERANCE)
    }

    /// Its length in hours and minutes.
    fn length(self) -> (u64, u64) {
        let minutes = (self.lasted.as_secs() + 30) / 60;
        (minutes / 60, minutes % 60)
    }

    /// What people are told of it once it is over, in English and Chinese.
    pub(super) fn told(self) -> Wording {
        let (hours, minutes) = self.length();
        Wording::new(
            format!(
                "It was silent for {hours} h {minutes} min, as long as a provider's DDoS blackhole \
                 lasts: look for an attack in its records."
            ),
            format!(
                "无响应持续 {hours} 小时 {minutes} 分钟，与云厂商 DDoS 黑洞时长相符，请查攻击记录。"
            ),
        )
    }
}

impl Recurrence {
    /// Takes what a look saw, with the loss from which one is worth telling.
    pub(super) fn note(&mut self, findings: &Findings, threshold: f64) {
        let tallies = || [Some(&findings.echo), findings.syn.as_ref()].into_iter().flatten();
        let asked = tallies().any(|tally| tally.valid() > 0);
        if tallies().any(|tally| tally.received() > 0) {
            let ended = findings.started;
            let since = self.silent_since.take().filter(|since| ended.since(*since) >= SHORTEST);
            let lifted = since.map(|since| Lifted { at: ended, lasted: ended.since(since) });
            self.lifted = lifted.or(self.lifted);
        } else if asked {
            self.silent_since.get_or_insert(findings.started);
        }
        let lossy = tallies().any(|tally: &Tally| is_lossy(tally, threshold));
        if lossy {
            self.hours.get_or_insert_default();
        }
        if let Some(hours) = self.hours.as_mut().filter(|_| asked) {
            hours.note(findings.started, lossy);
        }
    }

    /// How long it was silent cannot be said any more.
    pub(super) fn interrupt(&mut self) {
        self.silent_since = None;
    }

    /// How the last silence ended, if that was lately.
    pub(super) fn lifted(&self, now: Instant) -> Option<Lifted> {
        self.lifted.filter(|lifted| now.since(lifted.at) <= MEMORY)
    }

    /// What it says of a failure that is there now.
    pub(super) fn signs(&self, now: Instant) -> impl Iterator<Item = Seen> {
        let lifted = self.lifted(now).filter(|_| self.silent_since.is_some());
        let timer = lifted.map(|lifted| {
            let by_timer = lifted.is_by_timer();
            let sign = if by_timer { Sign::TimerRanOut } else { Sign::EndedAtAnyTime };
            let (hours, minutes) = lifted.length();
            let detail = Wording::new(
                format!("the silence before lasted {hours} h {minutes} min"),
                format!("上次无响应持续 {hours} 小时 {minutes} 分钟"),
            );
            Seen::new(sign, Some(detail))
        });
        let hours = self.hours.as_ref().and_then(|hours| hours.sign());
        timer.into_iter().chain(hours)
    }
}

/// Which hours of the last days were watched and which were lossy, a bit for each day with today's
/// the lowest; the hours are those of the daemon's own clock, which need not be of any time zone.
#[derive(Debug, Default)]
struct Hours {
    now: u64,
    watched: [u8; 24],
    lossy: [u8; 24],
}

impl Hours {
    fn note(&mut self, at: Instant, lossy: bool) {
        let hour = at.since_start().as_secs() / HOUR.as_secs();
        let (today, before) = (hour / 24, self.now / 24);
        let gone = u32::try_from(today.saturating_sub(before)).unwrap_or(u32::MAX);
        for days in self.watched.iter_mut().chain(&mut self.lossy) {
            *days = days.checked_shl(gone).unwrap_or(0);
        }
        self.now = hour;
        let slot = usize::try_from(hour % 24).unwrap_or_default();
        let mark = |days: Option<&mut u8>| days.into_iter().for_each(|days| *days |= 1);
        mark(self.watched.get_mut(slot));
        if lossy {
            mark(self.lossy.get_mut(slot));
        }
    }

    /// Days before today on which any of the hours so far from now were watched and lossy.
    fn before(&self, offsets: std::ops::RangeInclusive<u64>) -> (u32, u32) {
        let slots = offsets.map(|offset| usize::try_from((self.now + offset) % 24));
        let (mut watched, mut lossy) = (0_u8, 0_u8);
        for slot in slots.flatten() {
            watched |= self.watched.get(slot).copied().unwrap_or_default();
            lossy |= self.lossy.get(slot).copied().unwrap_or_default();
        }
        // Today's bit is of the loss that is to be explained.
        ((watched >> 1).count_ones().min(DAYS), (lossy >> 1).count_ones())
    }

    /// Whether a loss of this hour comes back day by day, and not at other hours.
    fn sign(&self) -> Option<Seen> {
        let (near, bad) = self.before(23..=25);
        let (far, elsewhere) = self.before(32..=40);
        if far < WATCHED || near < SAME_HOURS {
            return None;
        }
        let same = bad >= SAME_HOURS && bad * 3 >= near * 2 && elsewhere * 4 <= far;
        let sign = if same { Sign::LossSameHours } else { Sign::LossAnyHour };
        let detail = Wording::new(
            format!("at this hour on {bad} of {near} days, at distant hours on {elsewhere}"),
            format!("此时段 {near} 天中有 {bad} 天丢包，其他时段有 {elsewhere} 天"),
        );
        Some(Seen::new(sign, Some(detail)))
    }
}

#[cfg(test)]
mod tests;
