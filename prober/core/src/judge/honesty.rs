//! What nobody can tell from outside is not told: causes that leave the same bytes share what one
//! of them has too much of.
//!
//! Where the table itself keeps a set apart by no more than its priors, it stays below the limit by
//! construction; these are the sets whose priors alone would break the rule (DESIGN section 5).

use super::cause::Cause;
use super::sign::Sign;

/// No cause of a set is given more than this without evidence that tells it from the others.
const MOST: f64 = 0.8;

/// Causes of the same bytes, and the signs that tell the first from the others.
struct Alike {
    causes: &'static [&'static str],
    told_by: &'static [Sign],
}

/// Who resets a connection where a certificate should come is told by its distance alone; in order,
/// or with an alert, only who speaks TLS ends it.
const WHO_ENDED_IT: &[Sign] = &[
    Sign::ServiceResetSame,
    Sign::ServiceResetElsewhere,
    Sign::ServiceUncertified,
    Sign::TlsEnded,
    Sign::TlsAlert,
    Sign::TlsGarbled,
];

const ALIKE: &[Alike] = &[
    // Whether a blackhole holds everywhere is seen from elsewhere.
    Alike {
        causes: &["ddos_blackhole", "partial_blackhole"],
        told_by: &[Sign::OthersReach, Sign::OthersFail, Sign::InsideReaches, Sign::InsideFails],
    },
    // An address that is bound to nothing ends at the provider's edge, as a blackhole may; only
    // blackholes end when a timer does or hold in part of the networks, and hardly anybody reaches
    // an unbound address from inside.
    Alike {
        causes: &["ddos_blackhole", "eip_unbound"],
        told_by: &[Sign::OthersReach, Sign::InsideReaches, Sign::TimerRanOut],
    },
    // Either may be the likelier one, for others may reach the port.
    Alike { causes: &["certificate_broken", "dpi_reset"], told_by: WHO_ENDED_IT },
    Alike { causes: &["dpi_reset", "certificate_broken"], told_by: WHO_ENDED_IT },
    // A device on the last metres resets from as far away as the host does.
    Alike {
        causes: &["source_block", "middlebox_reset"],
        told_by: &[
            Sign::SynSilent,
            Sign::SynError,
            Sign::SynPartial,
            Sign::SynMixed,
            Sign::ResetElsewhere,
        ],
    },
    // Without an echo to compare with, another distance than the one that was learnt may be another
    // way to the same host.
    Alike {
        causes: &["middlebox_reset", "service_stopped", "rdp_disabled", "rdp_port_moved"],
        told_by: &[Sign::EchoAnswered, Sign::EchoPartial],
    },
    // What drops all data behind a handshake, inspects it or stands for a host that is gone.
    Alike { causes: &["syn_proxy_dead_host", "dpi_reset"], told_by: &[Sign::AcceptNearer] },
    // One late answer is that of a service that hangs as well as of a host under load.
    Alike {
        causes: &["host_overloaded", "service_hung"],
        told_by: &[Sign::ComesAndGoes, Sign::EchoPartial, Sign::SynPartial, Sign::SynLossAlone],
    },
    // And silence where TLS begins is that of either.
    Alike {
        causes: &["service_hung", "host_overloaded"],
        told_by: &[Sign::ServiceLate, Sign::EchoPartial, Sign::SynPartial],
    },
    // Whether a rule that names the address is called a ban or an access list, its owner tells.
    Alike { causes: &["null_route_reject", "path_reject"], told_by: &[] },
    // Why a router knows no way to a prefix, nobody tells; a way to a neighbour shows by itself.
    Alike { causes: &["no_route", "prefix_withdrawn"], told_by: &[Sign::SiblingFurther] },
];

/// Takes from the first of a set what it has beyond the limit and gives it to the others, by their
/// own shares. The sum stays.
pub(super) fn share(causes: &mut [(&'static Cause, f64)], views: &[&[Sign]]) {
    for alike in ALIKE {
        let told = views.iter().copied().flatten().any(|sign| alike.told_by.contains(sign));
        let Some((first, others)) = alike.causes.split_first().filter(|_| !told) else { continue };
        let mass: f64 = of(causes, others).map(|own| *own).sum();
        let excess = of(causes, &[first]).map(|lead| *lead - MOST).sum::<f64>();
        if excess > 0.0 && mass > 0.0 {
            of(causes, &[first]).for_each(|lead| *lead = MOST);
            of(causes, others).for_each(|own| *own *= (mass + excess) / mass);
        }
    }
}

fn of<'a>(
    causes: &'a mut [(&'static Cause, f64)],
    names: &'a [&str],
) -> impl Iterator<Item = &'a mut f64> {
    causes.iter_mut().filter(move |(cause, _)| names.contains(&cause.name)).map(|(_, mass)| mass)
}
