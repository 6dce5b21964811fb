//! From signs to a distribution over causes and classes.
//!
//! Priors hold once something looks wrong: health alone stays below one half, so that a judge who
//! has seen nothing says `unknown`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::cause::{CAUSES, Cause};
use super::class::Class;
use super::honesty;
use super::sign::{Family, Sign};

/// No sign is less probable than this under any cause.
const FLOOR: f64 = 0.02;
/// No sign is more probable than this under any cause.
const CEILING: f64 = 0.98;
/// Below this mass no class is named.
const NAMED: f64 = 0.5;

/// What is seen when a cause does not touch the matter and so does not mention it: a fault of the
/// target shows from everywhere, keeps the service out of reach, and draws neither ICMP errors nor
/// double answers; the vantage and the name are in order, and what is lost besides is lost alike.
const ORDINARY: &[(Sign, f64)] = &[
    (Sign::NoError, 0.95),
    (Sign::SingleAnswer, 0.98),
    (Sign::ResetForAll, 0.97),
    (Sign::ServiceUnreached, 0.9),
    (Sign::TlsShown, 0.96),
    (Sign::TlsUnshared, 0.02),
    (Sign::CertificateValid, 0.96),
    (Sign::MachineSame, 0.97),
    (Sign::OthersFail, 0.93),
    (Sign::InsideFails, 0.95),
    (Sign::SecondFailsToo, 0.98),
    (Sign::PathAsLearnt, 0.93),
    (Sign::LocalFine, 0.98),
    (Sign::VantageFine, 0.95),
    // Networks whose routers all keep silent are rare, but some do.
    (Sign::VantageUnheard, 0.02),
    (Sign::NameResolves, 0.98),
    (Sign::FlowsMixed, 0.98),
    (Sign::LargePasses, 0.9),
    (Sign::LargeTold, 0.04),
    (Sign::SynLossShared, 0.95),
    (Sign::AcceptSame, 0.9),
    (Sign::AcceptShort, 0.07),
    (Sign::ServiceResetSame, 0.97),
    (Sign::RequestTaken, 0.97),
    (Sign::FrontAnswers, 0.78),
    (Sign::AlternateOpen, 0.04),
    (Sign::AlternateClosed, 0.3),
    // Half of all hosts hide what is closed, and of a third it is not known.
    (Sign::CanaryAnswers, 0.45),
    (Sign::CanaryStillSilent, 0.34),
    (Sign::CanarySilent, 0.18),
    (Sign::ControlAnswers, 0.93),
    (Sign::NeighboursAnswer, 0.85),
    (Sign::OnsetOnce, 0.93),
    // The times around the timers are a twentieth of all from an hour to two days, in logarithms.
    (Sign::TimerRanOut, 0.05),
    (Sign::LossSameHours, 0.04),
];

/// A row of what is seen, and the classes it is said of.
type OfClasses = (&'static [Class], &'static [(Sign, f64)]);

/// What is ordinary under every cause of a class that does not mention it: where nothing passes or
/// nothing lives, no other port answers either, and what is dropped on the way to a front is
/// dropped before it.
const ORDINARY_IN: &[OfClasses] = &[
    (&[Class::Blackhole, Class::NoRoute, Class::RoutingLoop], &[(Sign::FrontSilent, 0.97)]),
    (
        &[Class::Blackhole, Class::HostSilent, Class::NoRoute, Class::RoutingLoop],
        &[
            (Sign::AlternateSilent, 0.96),
            (Sign::CanaryAnswers, 0.02),
            (Sign::CanaryStillSilent, 0.34),
            (Sign::CanarySilent, 0.3),
            (Sign::ControlSilent, 0.97),
        ],
    ),
    (
        &[Class::PortClosed],
        &[
            // A host that resets hides nothing.
            (Sign::CanaryAnswers, 0.9),
            (Sign::AlternateClosed, 0.85),
            (Sign::AlternateOpen, 0.04),
            (Sign::ControlAnswers, 0.97),
        ],
    ),
];

/// Signs that tell partly the same fact, and how much they correlate: `n` of them present together
/// have an exponent of `1 / (1 + (n - 1) * correlation)` each (the design effect), a lone one 1.
const ECHOING: &[(&[Sign], f64)] = &[
    (&[Sign::EchoSilent, Sign::SynSilent, Sign::PathStops, Sign::ServiceUnreached], 0.25),
    (&[Sign::EchoError, Sign::SynError], 0.4),
    (&[Sign::SiblingSame, Sign::SiblingFurther, Sign::NeighboursAnswer], 0.5),
    (&[Sign::SiblingFailsToo, Sign::NeighboursSilent], 0.5),
    (&[Sign::ControlSilent, Sign::CanaryFellSilent], 0.5),
];

/// What a service was read to say or not to say cannot be health mismeasured, nor can flows that
/// fail and flows that answer again and again, nor sizes that vanish thrice, and a loss of SYNs is
/// no sign before it is counted: these alone are sharpened further against health, so that the odds
/// between the failures stay as they are.
const REFUTES_HEALTH: &[(&[Sign], f64)] = &[
    (
        &[
            Sign::ServiceSilent,
            Sign::ServiceForeign,
            Sign::ServiceClosed,
            Sign::ServiceRefused,
            Sign::ServiceUncertified,
            Sign::ServiceUnreached,
            Sign::CertificateExpired,
            Sign::CertificateUnreadable,
            Sign::FlowsSplit,
            Sign::LargeForwardLost,
            Sign::LargeReplyLost,
            Sign::LargeLost,
        ],
        4.0,
    ),
    (&[Sign::SynPartial], 4.0),
    // Seen twice, two seconds apart, and of a whole new handshake where the first hello just died.
    (&[Sign::TlsEnded, Sign::TlsAlert, Sign::TlsGarbled, Sign::TlsReset, Sign::TlsSilent], 5.0),
    // What neither an old hello nor a new handshake shares, hardly any client does: a few servers
    // are so particular.
    (&[Sign::TlsUnshared], 4.0),
    // Nobody resets SYNs to a port that is well.
    (&[Sign::SynMixed], 5.0),
    // A measured time: what is healthy answers within four seconds, not in most cases but always.
    (&[Sign::ServiceLate], 5.0),
];

/// An acceptance is read off its packet, though others are lost: the exponent against causes that
/// answer no SYN but with a reset.
const ACCEPTED: f64 = 2.5;

/// A probability of our own fault below this is prior doubt, not evidence.
pub const OWN_DOUBT: f64 = 0.05;

/// Signs that are read off an answer or agreed on by many targets, not inferred from one silence:
/// the floor, made for measurements, understates them. The exponent sharpens it; what our own
/// kernel and resolver say, and a contradiction, are the surest.
const READ: &[(&[Sign], f64)] = &[
    (
        &[
            Sign::SynAccepted,
            Sign::SynReset,
            Sign::SynMixed,
            Sign::ResetElsewhere,
            Sign::ServiceResetElsewhere,
            Sign::TimeExceeded,
            Sign::PathLoops,
            Sign::ServiceConfirmed,
            Sign::ServiceSilent,
            Sign::ServiceForeign,
            Sign::ServiceClosed,
            Sign::ServiceRefused,
            Sign::ServiceUncertified,
            Sign::ServiceLate,
            Sign::TlsEnded,
            Sign::TlsAlert,
            Sign::TlsGarbled,
            Sign::TlsReset,
            Sign::TlsUnshared,
            // Twice, for a look that died is made again.
            Sign::TlsSilent,
            Sign::CertificateExpired,
            Sign::CertificateUnreadable,
            Sign::VantageSuspect,
            Sign::VantagePortSuspect,
            Sign::LargeForwardLost,
            Sign::LargeReplyLost,
            Sign::LargeLost,
            Sign::CanaryAnswers,
            Sign::ControlAnswers,
            // The host itself opened the port to somebody else.
            Sign::ResetForSome,
            // Over all repetitions, which a path would have to lose.
            Sign::RequestLost,
        ],
        2.5,
    ),
    // Their thresholds let chance through once in 300 surveys or less, and hardly anybody changes a
    // rule to and fro three times in ten minutes: the floor would understate them.
    (&[Sign::FlowsSplit, Sign::SynLossAlone, Sign::ComesAndGoes], 1.5),
    (
        &[
            // Two answers to one keyed number: nothing but a second speaker does that. Nor does
            // anybody own the address that a proxy answered for.
            Sign::TwoAnswers,
            Sign::VantageProxied,
            Sign::LocalNoRoute,
            Sign::LocalBlocked,
            Sign::LocalGatewaySilent,
            Sign::LocalExhausted,
            Sign::LocalNoPrivilege,
            Sign::NameUnknown,
            Sign::NameServerFails,
            Sign::NameTimesOut,
            Sign::ResolverDead,
        ],
        4.0,
    ),
];

/// How much signs count beside each other: all that a calibration may turn beside the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Exponents {
    /// How much the signs of each group that echo one fact correlate, 0 to 1.
    pub echoing: [f64; ECHOING.len()],
    /// The exponent of each group of signs that are read, not inferred.
    pub read: [f64; READ.len()],
    /// The exponent, against health, of each group of signs that refute it.
    pub refuted: [f64; REFUTES_HEALTH.len()],
}

impl Exponents {
    /// Those in force.
    pub const IN_FORCE: Self =
        Self { echoing: values(ECHOING), read: values(READ), refuted: values(REFUTES_HEALTH) };
}

/// The numbers of a table of groups.
#[expect(clippy::indexing_slicing, reason = "runs while compiling, where it cannot panic unseen")]
const fn values<const N: usize>(table: &[(&[Sign], f64)]) -> [f64; N] {
    let mut values = [0.0; N];
    let mut at = 0;
    while at < N {
        values[at] = table[at].1;
        at += 1;
    }
    values
}

/// How probable each cause is, given what was seen.
#[derive(Debug, Clone)]
pub struct Posterior {
    /// Every cause, health included, the most probable first; sums to 1.
    pub causes: Vec<(&'static Cause, f64)>,
    /// The class of the largest mass; `unknown` below one half.
    pub class: Class,
    /// The class of the largest mass, however small.
    pub leading: Class,
    /// The mass of the leading class.
    pub confidence: f64,
}

impl Posterior {
    /// From logarithms of weights in any scale, and the views that they come from.
    fn from_logs(mut causes: Vec<(&'static Cause, f64)>, views: &[&[Sign]]) -> Self {
        let peak = causes.iter().map(|(_, log)| *log).fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = causes.iter().map(|(_, log)| (log - peak).exp()).sum();
        for (_, log) in &mut causes {
            *log = (*log - peak).exp() / total;
        }
        honesty::share(&mut causes, views);
        causes.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        let (leading, confidence) = Class::ALL
            .into_iter()
            .map(|class| (class, mass(&causes, class)))
            .fold((Class::Unknown, 0.0), |best, next| if next.1 > best.1 { next } else { best });
        let class = if confidence < NAMED { Class::Unknown } else { leading };
        Self { causes, class, leading, confidence }
    }

    /// The mass of this class.
    pub fn of_class(&self, class: Class) -> f64 {
        mass(&self.causes, class)
    }

    /// How undecided it is, in bits.
    pub fn entropy(&self) -> f64 {
        let surprise = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
        self.causes.iter().map(|(_, p)| surprise(*p)).sum()
    }

    /// How many bits of doubt are expected to go if a view that led to this belief, and that does
    /// not know this signal, learnt it.
    pub fn expected_drop(&self, view: &[Sign], family: Family) -> f64 {
        if view.iter().any(|sign| sign.family() == family) {
            return 0.0;
        }
        let surprise = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
        let place = |(cause, p): &(&Cause, f64)| Some((place(cause)?, *p));
        let believed: Vec<_> = self.causes.iter().filter_map(place).collect();
        let (mut foretold, mut doubt) = (0.0, 0.0);
        for sign in family.signs() {
            let exponent = exponent(*sign, view, &Exponents::IN_FORCE);
            let row = row(*sign);
            let weigh = |(place, p): &(usize, f64)| {
                p * row.get(*place).map_or(1.0, |likelihood| likelihood.powf(exponent))
            };
            let joint: Vec<f64> = believed.iter().map(weigh).collect();
            let total: f64 = joint.iter().sum();
            foretold += total;
            doubt += joint.into_iter().map(|p| total * surprise(p / total)).sum::<f64>();
        }
        (self.entropy() - doubt / foretold).max(0.0)
    }

    /// Takes these causes out; the others of their class share what they had.
    pub fn without(mut self, names: &[&str]) -> Self {
        let gone: Vec<_> =
            self.causes.extract_if(.., |(cause, _)| names.contains(&cause.name)).collect();
        for (cause, mass) in gone {
            let left = self.of_class(cause.class);
            let heirs = self.causes.iter_mut().filter(|(heir, _)| heir.class == cause.class);
            heirs.for_each(|(_, probability)| {
                *probability *= (left + mass) / left.max(f64::MIN_POSITIVE);
            });
        }
        self
    }

    /// How probable it is that the target fails and not we. A doubt about ourselves below `borne`
    /// is left to the vantage's own standing, which is judged apart: it would else keep a lone
    /// target without canaries silent for ever.
    pub fn belief_in_failure(&self, borne: f64) -> f64 {
        let (fine, ours) = (self.of_class(Class::Reachable), self.of_class(Class::VantageFault));
        let failing = (1.0 - fine - ours).max(0.0);
        if ours < borne { failing / (1.0 - ours) } else { failing }
    }
}

fn mass(causes: &[(&'static Cause, f64)], class: Class) -> f64 {
    causes.iter().filter(|(cause, _)| cause.class == class).map(|(_, p)| p).sum()
}

/// How probable this sign is when this is the cause.
pub fn likelihood(cause: &Cause, sign: Sign) -> f64 {
    among(sign.family().signs(), cause, sign)
}

/// How probable each sign is under each cause, in the order of the table of causes: what is read
/// most often is worked out once.
static LIKELIHOODS: LazyLock<BTreeMap<Sign, Vec<f64>>> = LazyLock::new(|| {
    let signs = Family::ALL.into_iter().flat_map(Family::signs);
    let row = |sign: &Sign| CAUSES.iter().map(|cause| likelihood(cause, *sign)).collect();
    signs.map(|sign| (*sign, row(sign))).collect()
});

fn row(sign: Sign) -> &'static [f64] {
    LIKELIHOODS.get(&sign).map_or(&[], Vec::as_slice)
}

/// Where a cause stands in the table.
fn place(cause: &Cause) -> Option<usize> {
    CAUSES.iter().position(|other| std::ptr::eq(*other, cause))
}

/// The same, with the signs of its family at hand.
fn among(signs: &[Sign], cause: &Cause, sign: Sign) -> f64 {
    let of_class = |(classes, row): &OfClasses| {
        let row = Some(*row).filter(|_| classes.contains(&cause.class))?;
        share(row, signs, sign)
    };
    share(cause.expect, signs, sign)
        .or_else(|| ORDINARY_IN.iter().find_map(of_class))
        .or_else(|| share(ORDINARY, signs, sign))
        .unwrap_or_else(|| 1.0 / count(signs.len()))
        .clamp(FLOOR, CEILING)
}

/// The probability a row gives to one of `signs`; those it does not list share what is left. None
/// if it lists none of them.
fn share(row: &[(Sign, f64)], signs: &[Sign], sign: Sign) -> Option<f64> {
    let listed = || row.iter().filter(|(listed, _)| signs.contains(listed));
    if let Some((_, probability)) = listed().find(|(listed, _)| *listed == sign) {
        return Some(*probability);
    }
    let rest = signs.len().saturating_sub(listed().count());
    let left = 1.0 - listed().map(|(_, probability)| probability).sum::<f64>();
    (rest > 0 && rest < signs.len()).then(|| left / count(rest))
}

/// The group of a table that a sign is in, and its number.
fn listed(
    table: &[(&'static [Sign], f64)],
    values: &[f64],
    sign: Sign,
) -> Option<(&'static [Sign], f64)> {
    let mut groups = table.iter().zip(values).map(|((signs, _), value)| (*signs, *value));
    groups.find(|(signs, _)| signs.contains(&sign))
}

/// How much a sign counts beside the others of its view.
fn exponent(sign: Sign, view: &[Sign], by: &Exponents) -> f64 {
    if let Some((_, sharpening)) = listed(READ, &by.read, sign) {
        return sharpening;
    }
    let Some((signs, correlation)) = listed(ECHOING, &by.echoing, sign) else { return 1.0 };
    let others = view.iter().filter(|other| **other != sign && signs.contains(other)).count();
    1.0 / (1.0 + count(others) * correlation)
}

/// What is believed after what the failing vantages saw, or the only one when all reach, among all
/// causes.
pub fn posterior(views: &[&[Sign]]) -> Posterior {
    posterior_of(true, views)
}

/// The same of a target with a port or without. Several views are averaged in logarithms: they are
/// not as many independent proofs.
///
/// Nothing that is about a port concerns a target without one; and as echo is all that is asked of
/// it, a host that filters echo is not well there, as it is where a port answers.
pub fn posterior_of(has_port: bool, views: &[&[Sign]]) -> Posterior {
    weighed(&Exponents::IN_FORCE, has_port, views)
}

/// What is believed of a target with a port, with other exponents than those in force.
pub fn posterior_by(by: &Exponents, views: &[&[Sign]]) -> Posterior {
    weighed(by, true, views)
}

fn weighed(by: &Exponents, has_port: bool, views: &[&[Sign]]) -> Posterior {
    let seen: Vec<Seen> = views.iter().flat_map(|view| seen(view, by)).collect();
    let weight = 1.0 / count(views.len().max(1));
    let weigh = |(place, cause): (usize, &&'static Cause)| {
        let silent = |seen: &Seen| {
            !has_port && seen.sign == Sign::EchoSilent && cause.class == Class::Reachable
        };
        let log = |seen: &Seen| {
            if silent(seen) { FLOOR.ln() } else { seen.log_likelihood((place, cause)) }
        };
        let evidence: f64 = seen.iter().map(log).sum();
        (*cause, cause.prior.ln() + weight * evidence)
    };
    let can_be = |(_, cause): &(usize, &&'static Cause)| has_port || !cause.class.is_about_a_port();
    Posterior::from_logs(CAUSES.iter().enumerate().filter(can_be).map(weigh).collect(), views)
}

/// A sign of a view, ready to be weighed against every cause.
struct Seen {
    sign: Sign,
    row: &'static [f64],
    exponent: f64,
    against_health: f64,
}

impl Seen {
    fn log_likelihood(&self, (place, cause): (usize, &Cause)) -> f64 {
        let healthy = cause.class == Class::Reachable;
        let exponent = match self.sign {
            _ if healthy => self.against_health,
            Sign::SynPartial if resets(place) => ACCEPTED,
            _ => self.exponent,
        };
        self.row.get(place).map_or(0.0, |likelihood| exponent * likelihood.ln())
    }
}

/// Whether this cause answers SYNs with resets and nothing else.
fn resets(place: usize) -> bool {
    row(Sign::SynReset).get(place).is_some_and(|likelihood| *likelihood > 0.9)
}

/// Each sign of a view once, in fixed order.
fn seen(view: &[Sign], by: &Exponents) -> Vec<Seen> {
    let mut signs = view.to_vec();
    signs.sort_unstable();
    signs.dedup();
    let weigh = |sign: &Sign| {
        let exponent = exponent(*sign, &signs, by);
        let refutes = listed(REFUTES_HEALTH, &by.refuted, *sign);
        let against_health = refutes.map_or(exponent, |(_, sharpening)| sharpening);
        Seen { sign: *sign, row: row(*sign), exponent, against_health }
    };
    signs.iter().map(weigh).collect()
}

fn count(n: usize) -> f64 {
    f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
