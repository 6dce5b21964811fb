//! The few statistics a verdict rests on: intervals for a loss ratio and the belief that it is
//! above a threshold.

/// The Wilson score interval for `lost` of `sent` at about 95 % (Wilson, 1927; z = 1.96).
/// `(0, 1)` when nothing was sent.
pub fn wilson(lost: u64, sent: u64) -> (f64, f64) {
    if sent == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (real(sent), 1.96_f64);
    let ratio = real(lost) / n;
    let square = z * z / n;
    let centre = ratio + square / 2.0;
    let spread = z * (ratio * (1.0 - ratio) / n + square / (4.0 * n)).sqrt();
    let scale = 1.0 + square;
    (((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0))
}

/// The belief that the loss ratio is above `threshold` after `lost` of `sent`, with the uniform
/// prior Beta(1, 1).
pub fn loss_above(threshold: f64, lost: u64, sent: u64) -> f64 {
    let lost = lost.min(sent);
    1.0 - beta_below(threshold, real(lost) + 1.0, real(sent - lost) + 1.0)
}

/// The probability of at least `count` successes in `trials` of this probability each: the binomial
/// tail, which is I_p(count, trials - count + 1).
pub fn at_least(count: u64, trials: u64, probability: f64) -> f64 {
    match count {
        0 => 1.0,
        _ if count > trials => 0.0,
        _ => beta_below(probability, real(count), real(trials - count) + 1.0),
    }
}

/// How probable it is by chance alone that at least so many of all losses fall on the first of two
/// series that lose alike, each given as lost of sent (Fisher's exact test, one-sided).
pub fn fisher((lost, sent): (u64, u64), (other_lost, other_sent): (u64, u64)) -> f64 {
    let (lost, other_lost) = (lost.min(sent), other_lost.min(other_sent));
    let (all_lost, all_sent) = (lost + other_lost, sent + other_sent);
    let term = |first: u64| {
        let second = all_lost - first;
        let ways = log_choose(sent, first) + log_choose(other_sent, second);
        (ways - log_choose(all_sent, all_lost)).exp()
    };
    let most = all_lost.min(sent);
    (lost..=most).map(term).sum::<f64>().min(1.0)
}

/// The logarithm of the number of ways to choose `count` of `of`; needs `count <= of`.
fn log_choose(of: u64, count: u64) -> f64 {
    let log_factorial = |n: u64| log_gamma(real(n) + 1.0);
    log_factorial(of) - log_factorial(count) - log_factorial(of.saturating_sub(count))
}

/// The regularised incomplete beta function, by its continued fraction with Lentz's method
/// (Numerical Recipes, 3rd edition, section 6.4).
fn beta_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let log_front =
        log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * x.ln() + b * (1.0 - x).ln();
    let front = log_front.exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        (front * beta_fraction(x, a, b) / a).clamp(0.0, 1.0)
    } else {
        (1.0 - front * beta_fraction(1.0 - x, b, a) / b).clamp(0.0, 1.0)
    }
}

fn beta_fraction(x: f64, a: f64, b: f64) -> f64 {
    const TINY: f64 = 1e-30;
    let guard = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / guard(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for step in 1..=200_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / guard(1.0 + even * d);
        c = guard(1.0 + even / c);
        result *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / guard(1.0 + odd * d);
        c = guard(1.0 + odd / c);
        result *= d * c;
        if (d * c - 1.0).abs() < 1e-12 {
            break;
        }
    }
    result
}

/// The logarithm of the gamma function by Stirling's series, shifted up to where it is exact to
/// better than 1e-10 (Abramowitz and Stegun 6.1.41).
fn log_gamma(value: f64) -> f64 {
    let mut x = value;
    let mut shift = 0.0;
    while x < 10.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let series = 1.0 / (12.0 * x) - 1.0 / (360.0 * x.powi(3)) + 1.0 / (1_260.0 * x.powi(5));
    shift + (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series
}

/// A count as a real number; exact below 2^53.
#[expect(clippy::cast_precision_loss, reason = "packet counts stay far below 2^53")]
pub fn real(count: u64) -> f64 {
    count as f64
}

/// Two counts are of one loss unless they come apart by chance this rarely.
pub const ALIKE: f64 = 0.1;

/// Whether two counts of lost and sent probes tell of one loss, as far as Fisher's test tells.
pub fn of_one_loss(one: (u64, u64), other: (u64, u64)) -> bool {
    fisher(one, other).min(fisher(other, one)) >= ALIKE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_matches_published_values() {
        for (lost, sent, low, high) in [
            (0, 10, 0.0, 0.278),
            (1, 20, 0.009, 0.236),
            (5, 100, 0.022, 0.112),
            (15, 300, 0.031, 0.081),
        ] {
            let (a, b) = wilson(lost, sent);
            assert!((a - low).abs() < 0.001 && (b - high).abs() < 0.001, "{lost}/{sent}: {a} {b}");
        }
    }

    #[test]
    fn the_binomial_tail_is_the_sum_of_its_terms() {
        assert!((at_least(2, 3, 0.5) - 0.5).abs() < 1e-9);
        assert!((at_least(3, 3, 0.1) - 1e-3).abs() < 1e-9);
        assert!((at_least(4, 40, 0.002) - 1.4e-6).abs() < 1e-7);
        assert!((at_least(0, 5, 0.3) - 1.0).abs() < 1e-12 && at_least(6, 5, 0.3) == 0.0);
    }

    #[test]
    fn fishers_test_is_that_of_the_tea() {
        // Fisher (1935), The Design of Experiments: three of four cups, and all of them.
        assert!((fisher((3, 4), (1, 4)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((fisher((4, 4), (0, 4)) - 1.0 / 70.0).abs() < 1e-9);
        assert!((fisher((0, 5), (3, 9)) - 1.0).abs() < 1e-9);
        assert!((fisher((0, 0), (0, 0)) - 1.0).abs() < 1e-9);
        assert!(fisher((14, 20), (0, 20)) < 1e-5 && fisher((6, 20), (5, 20)) > 0.3);
    }

    #[test]
    fn belief_in_loss_grows_with_losses() {
        // Beta(1, 21) below 0.05 is 1 - 0.95^21.
        assert!((loss_above(0.05, 0, 20) - 0.95_f64.powi(21)).abs() < 1e-9);
        assert!(loss_above(0.05, 6, 20) > 0.999);
        assert!(loss_above(0.05, 1, 20) < 0.75);
        assert!((loss_above(0.05, 0, 0) - 0.95).abs() < 1e-9);
        let beliefs: Vec<_> = (0..=20).map(|lost| loss_above(0.05, lost, 20)).collect();
        assert!(beliefs.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn counts_are_of_one_loss_unless_they_come_apart() {
        assert!(of_one_loss((5, 20), (6, 20)));
        assert!(of_one_loss((0, 20), (0, 20)));
        assert!(of_one_loss((3, 4), (0, 0)));
        assert!(!of_one_loss((0, 17), (14, 28)));
        assert!(!of_one_loss((14, 28), (0, 17)));
        // Three echoes are too few to tell.
        assert!(of_one_loss((0, 3), (14, 28)));
    }
}
