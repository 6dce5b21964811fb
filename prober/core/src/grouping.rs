//! One root cause over many targets: what those that fail together share and the others do not.
//!
//! A key (a label, a subnet, a router on the way) explains a failure when nearly all that have it
//! fail and nearly all others do not, beyond what chance makes of the failures elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::statistics::{at_least, real};

/// Fewer failures are no group, however alike.
const FAILING_MIN: u64 = 3;
/// Share of the members that fail at least: of a subnet, some may be spared by what hit the rest.
const SHARE_MIN: f64 = 0.6;
/// Share of the others that fail at most.
const OTHERS_MAX: f64 = 0.1;
/// Probability of so many failures by chance, over all keys tried, from which they are one.
const CHANCE: f64 = 1e-6;
/// What is known of failures elsewhere before anything is seen there: one in two hundred fails
/// within the minute, believed as much as twenty targets. Three of three are a group by that.
const BACKGROUND: (f64, f64) = (0.1, 20.0);

/// Something that targets share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKey {
    /// A label of the plan and its value.
    Label(String, String),
    /// The /24 or /64 of an address, by its first address.
    Prefix(IpAddr),
    /// A router on the way.
    Router(IpAddr),
}

impl GroupKey {
    /// Reads a key as it is written.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(router) = text.strip_prefix("via ") {
            return router.parse::<IpAddr>().ok().map(Self::Router);
        }
        if let Some((first, bits)) = text.rsplit_once('/')
            && let Ok(first) = first.parse::<IpAddr>()
            && bits == if first.is_ipv4() { "24" } else { "64" }
        {
            return Some(Self::Prefix(first));
        }
        let (name, value) = text.split_once('=')?;
        Some(Self::Label(name.to_owned(), value.to_owned()))
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(name, value) => write!(f, "{name}={value}"),
            Self::Prefix(first @ IpAddr::V4(_)) => write!(f, "{first}/24"),
            Self::Prefix(first @ IpAddr::V6(_)) => write!(f, "{first}/64"),
            Self::Router(router) => write!(f, "via {router}"),
        }
    }
}

/// How a failure is spread over those with a key and those without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Targets with the key.
    pub members: u64,
    /// Those of them that fail.
    pub failing: u64,
    /// Targets without it.
    pub others: u64,
    /// Those of them that fail.
    pub others_failing: u64,
}

impl Census {
    /// Whether the key explains the failure, `keys` having been tried: the binomial tail of so many
    /// failures among the members, were they as frequent there as elsewhere.
    pub fn explains(&self, keys: usize) -> bool {
        let share = real(self.failing) / real(self.members.max(1));
        let others_share = real(self.others_failing) / real(self.others.max(1));
        let (seen, weight) = BACKGROUND;
        let elsewhere = (real(self.others_failing) + seen) / (real(self.others) + weight);
        let keys = real(u64::try_from(keys.max(1)).unwrap_or(u64::MAX));
        self.failing >= FAILING_MIN
            && share >= SHARE_MIN
            && others_share <= OTHERS_MAX
            && at_least(self.failing, self.members, elsewhere) < CHANCE / keys
    }
}

/// The key that explains most of the failures, the narrowest of several; `None` if none does.
/// `all` gives every watched target's keys once; `failing` those of the targets that fail together.
pub fn find<'a>(
    failing: &[BTreeSet<GroupKey>],
    all: impl Iterator<Item = &'a BTreeSet<GroupKey>>,
) -> Option<(GroupKey, Census)> {
    let mut counts: BTreeMap<&GroupKey, Census> = BTreeMap::new();
    for key in failing.iter().flatten() {
        counts.entry(key).or_default().failing += 1;
    }
    counts.retain(|_, census| census.failing >= FAILING_MIN);
    if counts.is_empty() {
        return None;
    }
    let mut total = 0;
    for keys in all {
        total += 1;
        for key in keys {
            if let Some(census) = counts.get_mut(key) {
                census.members += 1;
            }
        }
    }
    let fail = u64::try_from(failing.len()).unwrap_or(u64::MAX);
    // Keys of the same targets, as the routers of one way are, are one that was tried.
    let spread = |census: &Census| (census.failing, census.members);
    let tried = counts.values().map(spread).collect::<BTreeSet<_>>().len();
    let explaining = counts.into_iter().filter_map(|(key, census)| {
        let others = total - census.members.min(total);
        let census = Census { others, others_failing: fail - census.failing, ..census };
        census.explains(tried).then_some((key, census))
    });
    // Of as many failures the fewest members; of those the first kind: what people configured.
    let best = explaining.max_by(|(key, one), (other_key, other)| {
        let (one, other) = ((one.failing, other.members), (other.failing, one.members));
        one.cmp(&other).then(other_key.cmp(key))
    });
    best.map(|(key, census)| (key.clone(), census))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(value: &str) -> GroupKey {
        GroupKey::Label("sg".to_owned(), value.to_owned())
    }

    fn subnet(number: u8) -> GroupKey {
        GroupKey::Prefix(IpAddr::from([10, 0, number, 0]))
    }

    fn search(failing: &[BTreeSet<GroupKey>], fine: &[BTreeSet<GroupKey>]) -> Option<GroupKey> {
        find(failing, failing.iter().chain(fine)).map(|(key, _)| key)
    }

    #[test]
    fn one_bad_edit_over_many_subnets_is_found_by_its_label() {
        let edited = |number| BTreeSet::from([label("web"), subnet(number)]);
        let failing: Vec<_> = (0..23).map(|number| edited(number % 5)).collect();
        let mut fine: Vec<_> = (0..2).map(edited).collect();
        fine.extend((0..400_u16).map(|number| {
            BTreeSet::from([label("db"), subnet(u8::try_from(number % 5).unwrap())])
        }));
        let (key, census) = find(&failing, failing.iter().chain(&fine)).unwrap();
        assert_eq!(key, label("web"));
        let told = Census { members: 25, failing: 23, others: 400, others_failing: 0 };
        assert_eq!(census, told);
    }

    #[test]
    fn the_narrowest_of_equal_keys_wins() {
        let failing = vec![BTreeSet::from([label("web"), subnet(1)]); 8];
        let fine = vec![BTreeSet::from([label("web"), subnet(2)]); 2];
        assert_eq!(search(&failing, &fine), Some(subnet(1)));
        let spared = vec![BTreeSet::from([subnet(3)]); 4];
        let hit = vec![BTreeSet::from([subnet(3)]); 10];
        assert_eq!(search(&hit, &spared), Some(subnet(3)), "ten of fourteen");
        let everywhere = vec![BTreeSet::from([label("db"), subnet(2)]); 40];
        assert_eq!(search(&failing, &everywhere), Some(label("web")), "of equals the label");
    }

    #[test]
    fn a_few_failures_and_those_of_chance_are_no_group() {
        let one = BTreeSet::from([subnet(1)]);
        assert_eq!(search(&vec![one.clone(); 2], &[]), None, "two");
        assert_eq!(search(&vec![one.clone(); 10], &vec![one.clone(); 10]), None, "half of them");
        let elsewhere: Vec<_> = (0..40).map(|number| BTreeSet::from([subnet(number)])).collect();
        let spread: Vec<_> = elsewhere.iter().take(20).cloned().collect();
        assert_eq!(search(&spread, &elsewhere), None, "all over the place");
        assert_eq!(search(&vec![one; 3], &[]), Some(subnet(1)), "three of three");
        let routers = (1..=12).map(|hop| GroupKey::Router(IpAddr::from([10, 1, hop, 1])));
        let far: BTreeSet<_> = routers.chain([subnet(1)]).collect();
        assert_eq!(search(&vec![far; 3], &[]), Some(subnet(1)), "however long their way is");
    }

    #[test]
    fn failures_elsewhere_weaken_a_group() {
        let census =
            |others_failing| Census { members: 5, failing: 4, others: 100, others_failing };
        assert!(census(0).explains(1));
        assert!(!census(9).explains(1), "chance makes it once in some thousands");
        assert!(!census(30).explains(1), "the failure is everywhere");
    }
}
