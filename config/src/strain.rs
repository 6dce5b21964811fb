//! What a plan asks of single addresses and prefixes, held against what the budget allows them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use reachd_core::budget::prefix;
use reachd_core::plan::Plan;

use crate::cost::{count_of, rate, vantages};
use crate::problem::Problem;

/// Says which address and which prefix the plan asks for most beyond its budget. What names will
/// resolve to is not known here: only literal addresses are counted.
pub(crate) fn warnings(plan: &Plan, file: &str) -> Vec<Problem> {
    let (mut near, mut wide): (Asked, Asked) = Default::default();
    for target in &plan.targets {
        let Ok(address) = target.host.parse() else { continue };
        let asked = count_of(vantages(target, plan)) * rate(target);
        *near.entry(address).or_default() += asked;
        *wide.entry(prefix(address)).or_default() += asked;
    }
    let near = worst(&near, plan.budget.per_destination).map(|worst| {
        let place = worst.0.to_string();
        tell(file, (&place, "addresses", "per_destination"), worst, plan.budget.per_destination)
    });
    let wide = worst(&wide, plan.budget.per_prefix).map(|worst| {
        let length = if worst.0.is_ipv4() { 24 } else { 64 };
        let place = format!("{}/{length}", worst.0);
        tell(file, (&place, "prefixes", "per_prefix"), worst, plan.budget.per_prefix)
    });
    near.into_iter().chain(wide).collect()
}

type Asked = BTreeMap<IpAddr, f64>;

/// The place that is asked for most, what it is asked for, and how many others are over.
fn worst(asked: &Asked, allowed: f64) -> Option<(IpAddr, f64, usize)> {
    // A rounding of the sum is no excess.
    let over = || asked.iter().filter(|(_, asked)| **asked > allowed * 1.001);
    let (place, most) = over().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some((*place, *most, over().count() - 1))
}

fn tell(
    file: &str,
    (place, kind, key): (&str, &str, &str),
    (_, asked, others): (IpAddr, f64, usize),
    allowed: f64,
) -> Problem {
    let others = if others > 0 {
        format!(" ({others} other {kind} are over as well)")
    } else {
        String::new()
    };
    let reason = format!(
        "the plan asks for {asked:.0} packets a second to {place}, the budget allows {allowed:.0}{others}"
    );
    let hint = format!(
        "each probe there will come {:.1} times later than its interval; lengthen intervals or raise [budget] {key}",
        asked / allowed
    );
    Problem::of_file(file, &reason, &hint)
}
