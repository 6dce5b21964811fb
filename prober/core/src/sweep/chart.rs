//! Two CUSUM charts per row: a log-likelihood ratio that leaks toward zero while all is well.
//!
//! They are for partial loss, which no single miss shows. Page's test with a threshold of 10: the
//! slow chart weighs 5 % loss against 0.5 % and alarms after some 170 probes, once in 5.6 million
//! healthy ones; the quick one weighs 30 % against 1 % and needs about 14 (DESIGN section 7).

/// The threshold, in thousandths.
const ALARM: i16 = 10_000;
/// ln(0.05 / 0.005) and ln(0.95 / 0.995).
const SLOW: (i16, i16) = (2_303, -46);
/// ln(0.30 / 0.01) and ln(0.70 / 0.99).
const QUICK: (i16, i16) = (3_401, -347);
/// A loss longer ago than this many probes says nothing of today's.
const WINDOW: u16 = 4_096;

/// Both charts, and what was counted since the slow one last stood at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Charts {
    slow: i16,
    quick: i16,
    sent: u16,
    lost: u16,
}

impl Charts {
    /// Takes one probe's fate; gives the losses and the probes since all was well when a chart
    /// alarms, and begins anew.
    pub(super) fn handle(&mut self, lost: bool) -> Option<(u16, u16)> {
        let step = |sum: i16, (up, down): (i16, i16)| {
            sum.saturating_add(if lost { up } else { down }).max(0)
        };
        (self.slow, self.quick) = (step(self.slow, SLOW), step(self.quick, QUICK));
        self.sent += 1;
        self.lost += u16::from(lost);
        if self.slow >= ALARM || self.quick >= ALARM {
            let found = (self.lost, self.sent);
            *self = Self::default();
            return Some(found);
        }
        if self.slow == 0 || self.sent >= WINDOW {
            (self.sent, self.lost) = (0, 0);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probes until the first alarm with this loss, drawn by a fixed generator.
    fn delay(per_million: u64, seed: u64, limit: u32) -> Option<u32> {
        let mut state = seed;
        let mut charts = Charts::default();
        (1..=limit).find(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            charts.handle((state >> 33) % 1_000_000 < per_million).is_some()
        })
    }

    fn mean(per_million: u64, limit: u32) -> f64 {
        let delays = (1..=200).map(|seed| delay(per_million, seed * 7_919, limit).unwrap_or(limit));
        delays.map(f64::from).sum::<f64>() / 200.0
    }

    #[test]
    fn delays_are_those_of_the_design() {
        let (total, third, twentieth) =
            (mean(1_000_000, 100), mean(300_000, 1_000), mean(50_000, 5_000));
        assert!((2.9..=3.1).contains(&total), "{total}");
        assert!((8.0..=18.0).contains(&third), "{third}");
        assert!((110.0..=240.0).contains(&twentieth), "{twentieth}");
    }

    #[test]
    fn background_loss_of_one_in_two_thousand_is_quiet() {
        let alarms = (1..=200).filter(|seed| delay(500, seed * 104_729, 20_000).is_some()).count();
        assert_eq!(alarms, 0, "in four million probes");
    }
}
