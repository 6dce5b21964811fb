//! Rows that share a budget share it alike, and a stall does not leave them in step.

use super::*;

/// Surveys that ask as fast as they may, of the neighbours of the rows.
struct Surveys {
    asked: u32,
    wakes: u64,
}

struct Street {
    bench: Bench,
    rows: Vec<RowId>,
    surveys: Option<Surveys>,
}

impl Street {
    /// Rows of one /64, spread over their intervals.
    fn new(limits: Budget, intervals: impl IntoIterator<Item = u64>) -> Self {
        let mut bench = Bench::new();
        bench.budgets = Budgets::new(limits, ms(0));
        let mut rows = Vec::new();
        for (host, interval) in intervals.into_iter().enumerate() {
            let to = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, host as u16 + 1]);
            let lease = bench.budgets.lease(to, ms(0));
            let first = ms(turn::mix(host as u64) % interval);
            let spec = RowSpec {
                vantage: LANE,
                address: to,
                probe: Probe::Echo,
                port: 0,
                interval: Duration::from_millis(interval),
                owner: host as u32,
                lease,
            };
            rows.push(bench.sweep.add(ms(0), spec, first).unwrap());
        }
        Self { bench, rows, surveys: None }
    }

    /// Time passes; every probe is answered at once.
    fn pass(&mut self, until: u64) -> usize {
        let mut sent = 0;
        while self.bench.now < until {
            if let Some(surveys) = &mut self.surveys {
                let at = ms(self.bench.now);
                for host in 0..50_u32 {
                    let to = [
                        0x2001,
                        0xdb8,
                        0,
                        0,
                        1,
                        0,
                        0,
                        ((surveys.wakes as u32 + host) % 500) as u16,
                    ];
                    if self.bench.budgets.admit(at, to.into()).is_ok() {
                        self.bench.budgets.spend(at, to.into());
                        surveys.asked += 1;
                    }
                }
                surveys.wakes += 50;
            }
            for order in self.bench.pass(self.bench.now + 1) {
                sent += 1;
                self.bench.hear(&answer(&order));
            }
        }
        sent
    }

    /// How many probes each row sent in this time, sorted.
    fn shares(&mut self, until: u64) -> Vec<u64> {
        let sent = |street: &Self| -> Vec<u64> {
            let cells = street.rows.iter().map(|row| street.bench.sweep.cell(*row).unwrap());
            cells.map(|cell| cell.sent()).collect()
        };
        let before = sent(self);
        self.pass(until);
        let mut shares: Vec<_> =
            sent(self).iter().zip(before).map(|(after, before)| after - before).collect();
        shares.sort_unstable();
        shares
    }
}

fn limits(per_destination: f64, per_prefix: f64) -> Budget {
    Budget { packets_per_second: 1e9, per_destination, per_prefix, ..Budget::default() }
}

#[test]
fn a_saturated_prefix_serves_its_rows_alike() {
    let mut street = Street::new(limits(50.0, 100.0), [1_000; 150]);
    street.pass(10_000);
    let shares = street.shares(50_000);
    // 4,000 probes for 150 rows are 26.7 each.
    assert!(shares[0] >= 26 && shares[149] <= 28, "{shares:?}");
    assert!((3_950..=4_010).contains(&shares.iter().sum::<u64>()));
}

#[test]
fn a_prefix_far_over_its_budget_serves_its_rows_alike() {
    let mut street = Street::new(limits(50.0, 50.0), [10_000; 6_000]);
    street.pass(150_000);
    // Each waits two minutes, as the rest does.
    let shares = street.shares(390_000);
    assert!(shares[0] >= 1 && shares[3_000] == 2 && shares[5_999] <= 3, "{shares:?}");
    assert!((11_900..=12_100).contains(&shares.iter().sum::<u64>()));
}

#[test]
fn surveys_leave_half_of_a_prefix_to_its_rows() {
    let mut street = Street::new(limits(50.0, 100.0), [1_000; 150]);
    street.surveys = Some(Surveys { asked: 0, wakes: 0 });
    street.pass(10_000);
    let asked = street.surveys.as_ref().unwrap().asked;
    let shares = street.shares(70_000);
    let asked = street.surveys.as_ref().unwrap().asked - asked;
    // Half of 100 a second for a minute are 20 for each of 150.
    assert!(shares[0] >= 19 && shares[149] <= 22, "{shares:?}");
    assert!((2_900..=3_100).contains(&asked), "{asked}");
    street.surveys = None;
    street.pass(80_000);
    let shares = street.shares(120_000);
    assert!(shares[0] >= 26 && shares[149] <= 28, "all is theirs again: {shares:?}");
}

#[test]
fn surveys_may_take_what_no_row_waits_for() {
    let mut street = Street::new(limits(50.0, 100.0), [10_000; 100]);
    street.surveys = Some(Surveys { asked: 0, wakes: 0 });
    street.pass(10_000);
    let asked = street.surveys.as_ref().unwrap().asked;
    let shares = street.shares(70_000);
    let asked = street.surveys.as_ref().unwrap().asked - asked;
    assert!(shares[0] >= 5, "{shares:?}");
    assert!((5_000..=5_600).contains(&asked), "{asked} of 6,000 less 600");
}

#[test]
fn rows_of_two_intervals_wait_equally_long() {
    let mixed = (0..150).map(|host| if host % 3 == 0 { 10_000 } else { 1_000 });
    let mut street = Street::new(limits(50.0, 100.0), mixed);
    street.pass(20_000);
    let shares = street.shares(140_000);
    // 105 a second were asked for: the quick ones come a little later, the slow ones in time.
    let (slow, quick) = shares.split_at(50);
    assert!(slow[0] >= 11 && slow[49] <= 13, "{slow:?}");
    assert!(quick[99] - quick[0] <= 5 && quick[0] >= 108, "{quick:?}");
}

#[test]
fn a_saturated_address_does_not_hold_up_its_neighbours() {
    let mut street = Street::new(limits(5.0, 100.0), [1_000; 90]);
    for row in 0..30 {
        let to = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 1, 0]);
        let lease = street.bench.budgets.lease(to, ms(0));
        let spec = RowSpec {
            vantage: LANE,
            address: to,
            probe: Probe::Echo,
            port: 0,
            interval: Duration::from_secs(1),
            owner: 100 + row,
            lease,
        };
        street.bench.sweep.add(ms(0), spec, ms(u64::from(row) * 33)).unwrap();
    }
    street.pass(30_000);
    let shares = street.shares(60_000);
    assert!(shares[0] >= 29, "{shares:?}");
}

#[test]
fn a_prefix_that_was_full_once_is_free_again() {
    let mut street = Street::new(limits(50.0, 100.0), [1_000; 150]);
    street.pass(30_000);
    for row in street.rows.split_off(80) {
        street.bench.sweep.remove(ms(30_000), row);
    }
    street.pass(34_000);
    let shares = street.shares(64_000);
    assert!(shares[0] >= 29, "{shares:?}");
}

/// How many probes leave in each 10 ms of a second, at most.
fn busiest(street: &mut Street) -> usize {
    (0..100).map(|_| street.pass(street.bench.now + 10)).max().unwrap_or(0)
}

#[test]
fn a_stall_does_not_leave_rows_in_step() {
    let mut street = Street::new(limits(50.0, 1e9), [1_000; 3_000]);
    street.pass(5_000);
    let before = busiest(&mut street);
    street.bench.now += 2_000;
    let first: usize = (0..3).map(|_| street.pass(street.bench.now + 10)).sum();
    assert!(first > 2_900, "what is overdue is asked at once: {first}");
    street.pass(street.bench.now + 470);
    let after = busiest(&mut street);
    let sent = street.pass(street.bench.now + 10_000);
    // Thirty on average.
    assert!(before <= 60 && after <= 60, "{before} before, {after} after");
    assert!((29_000..=31_000).contains(&sent), "{sent}");
}
