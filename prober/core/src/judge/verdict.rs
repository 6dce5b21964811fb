//! From what the vantages saw to one verdict over a target.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cause::Text;
use super::class::Class;
use super::note::Note;
use super::posterior::{OWN_DOUBT, Posterior, posterior_of};
use super::sign::{Family, Sign};
use super::witness;
use crate::evidence::AnswerKind;
use crate::survey::findings::Findings;
use crate::survey::security;
use crate::survey::signs::{Seen, open_loss};
use crate::target::{AddressPolicy, Expect, Service, Target};
use crate::vantage::{Mode, Role, Way};
use crate::wording::Wording;

/// What one vantage contributes to the verdict over one address.
#[derive(Debug, Clone)]
pub struct ViewEvidence<'a> {
    /// The vantage's name.
    pub vantage: &'a str,
    /// Which side of the provider's edge it stands on.
    pub role: Role,
    /// The way its packets take out.
    pub way: Way<'a>,
    /// How much it can see.
    pub mode: Option<Mode>,
    /// The address asked; `None` when the name did not resolve.
    pub address: Option<IpAddr>,
    /// The facts; `None` when there was nothing to ask.
    pub findings: Option<&'a Findings>,
    /// The signs read off them.
    pub seen: Vec<Seen>,
    /// What this vantage should see.
    pub expect: Expect,
    /// Whether a healthy state is known to compare with.
    pub baseline: bool,
}

/// Who sees a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// One of several vantages.
    One,
    /// Several, not all.
    Some,
    /// Every vantage that watches.
    All,
    /// The fault is our own.
    Ourselves,
}

impl Scope {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Some => "some",
            Self::All => "all",
            Self::Ourselves => "ourselves",
        }
    }
}

/// The verdict over a target, before it is put into words.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// What is seen.
    pub class: Class,
    /// The class's probability.
    pub confidence: f64,
    /// The distribution behind it.
    pub posterior: Posterior,
    /// Who sees the failure.
    pub scope: Scope,
    /// Vantages that reach the target, or see what they should.
    pub reaching: Vec<String>,
    /// Vantages that do not.
    pub failing: Vec<String>,
    /// The address that speaks for the target; `None` when its name did not resolve.
    pub address: Option<IpAddr>,
    /// The class of each address by itself.
    pub addresses: Vec<(IpAddr, Class)>,
    /// Whether any of them sees no answer, or a reset, where the plan expects that.
    pub as_expected: bool,
    /// Findings that are no failure.
    pub notes: BTreeMap<Note, Option<Wording>>,
    /// Vantages from which a port answers that should not.
    pub exposed: Vec<String>,
    /// The signs that were weighed, by vantage.
    pub weighed: Vec<(Option<String>, Seen)>,
}

impl Verdict {
    /// Belief that the target fails and that it is not our own fault.
    pub fn belief_in_failure(&self) -> f64 {
        self.belief_bearing(OWN_DOUBT)
    }

    /// The same where the vantage had time to be found faulty and was not: that rather the target
    /// fails than we.
    pub fn patient_belief(&self) -> f64 {
        self.belief_bearing(0.5)
    }

    fn belief_bearing(&self, doubt: f64) -> f64 {
        if self.class == Class::Reachable { 0.0 } else { self.posterior.belief_in_failure(doubt) }
    }
}

/// What one view says by itself.
struct Opinion<'a> {
    view: &'a ViewEvidence<'a>,
    signs: Vec<Sign>,
    class: Class,
    exposed: bool,
    /// Silent where silence is expected: no failure, and no proof that anybody gets through.
    silent: bool,
    /// Silent or closed where that is expected.
    as_expected: bool,
}

/// Causes that only a Remote Desktop service can have.
const RDP_ONLY: [&str; 2] = ["rdp_disabled", "rdp_port_moved"];

impl Opinion<'_> {
    /// Whether the fate of any probe is known.
    fn saw_something(&self) -> bool {
        let asked = [Family::Echo, Family::Front, Family::Syn, Family::Dns];
        self.signs.iter().any(|sign| asked.contains(&sign.family()))
    }
}

/// Judges a target by everything its vantages saw.
pub fn judge(target: &Target, views: &[ViewEvidence<'_>]) -> Verdict {
    let addresses: BTreeSet<Option<IpAddr>> = views.iter().map(|view| view.address).collect();
    let mut judged: Vec<Verdict> = addresses
        .iter()
        .map(|address| {
            let of_address: Vec<_> = views.iter().filter(|view| view.address == *address).collect();
            let mut verdict = judge_address(target, *address, &of_address);
            if target.service != Service::Rdp {
                verdict.posterior = verdict.posterior.without(&RDP_ONLY);
            }
            verdict
        })
        .collect();
    if judged.is_empty() {
        judged.push(judge_address(target, None, &[]));
    }
    let classes: Vec<_> = judged.iter().flat_map(|verdict| verdict.addresses.clone()).collect();
    let mut chosen = choose(target, judged);
    chosen.addresses = classes;
    note_families(&mut chosen);
    chosen
}

/// The address that speaks for the target: the worst that is not merely our own fault, or with
/// `addresses = "any"` the best.
fn choose(target: &Target, judged: Vec<Verdict>) -> Verdict {
    let any = target.addresses == AddressPolicy::Any;
    let some_judged = judged.iter().any(|verdict| verdict.class != Class::VantageFault);
    let rank = |verdict: &Verdict| match verdict.class {
        Class::VantageFault if some_judged => 3,
        Class::Reachable => {
            if any {
                0
            } else {
                2
            }
        }
        Class::Unknown => 1,
        _ => {
            if any {
                2
            } else {
                0
            }
        }
    };
    let best = judged.into_iter().min_by_key(rank);
    best.unwrap_or_else(|| judge_address(target, None, &[]))
}

fn note_families(verdict: &mut Verdict) {
    let failed = |v4: bool| {
        let mut of_family =
            verdict.addresses.iter().filter(|(address, _)| address.is_ipv4() == v4).peekable();
        of_family.peek().is_some().then(|| of_family.all(|(_, class)| !class.is_up()))
    };
    if let (Some(v4), Some(v6)) = (failed(true), failed(false))
        && v4 != v6
    {
        let (failing, working) = if v4 { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
        let detail = Wording::new(
            format!("{failing} fails, {working} works"),
            format!("{failing} 失败，{working} 正常"),
        );
        verdict.notes.insert(Note::OneAddressFamilyFailed, Some(detail));
    }
}

fn judge_address<'a>(
    target: &Target,
    address: Option<IpAddr>,
    views: &[&'a ViewEvidence<'a>],
) -> Verdict {
    let opinions: Vec<_> = views.iter().map(|view| opinion(target, view)).collect();
    let ours = |opinion: &&Opinion<'_>| opinion.class == Class::VantageFault;
    let credible = opinions.iter().filter(|opinion| !ours(opinion));
    let (reaching, failing): (Vec<&Opinion<'_>>, Vec<&Opinion<'_>>) =
        credible.partition(|opinion| opinion.class == Class::Reachable);
    let views_of = |opinions: &[&Opinion<'a>]| -> Vec<&'a ViewEvidence<'a>> {
        opinions.iter().map(|opinion| opinion.view).collect()
    };
    let proving: Vec<&Opinion<'_>> =
        reaching.iter().copied().filter(|opinion| !opinion.silent).collect();
    let witnesses = (views_of(&failing), views_of(&proving));
    let mut others = witness::others(&witnesses.0, &witnesses.1);
    let some = witness::resets_some(target, &witnesses.0, &witnesses.1);
    others.extend(some.then_some(Sign::ResetForSome));
    let mut seconds = witness::seconds(&witnesses.0, &witnesses.1);
    let mut weighing: Vec<&Opinion<'_>> =
        if failing.is_empty() { reaching.clone() } else { failing.clone() };
    if weighing.is_empty() {
        weighing = opinions.iter().collect();
    }
    seconds.resize(weighing.len(), None);
    let signs_of = |(opinion, second): (&&Opinion<'_>, &Option<Seen>)| {
        let second = second.iter().map(|seen| &seen.sign);
        opinion.signs.iter().chain(second).chain(&others).copied().collect()
    };
    let signs: Vec<Vec<Sign>> = weighing.iter().zip(&seconds).map(signs_of).collect();
    let slices: Vec<&[Sign]> = signs.iter().map(Vec::as_slice).collect();
    let posterior = posterior_of(target.service.has_port(), &slices);
    let expected = failing.is_empty() && !reaching.is_empty();
    let asked: Vec<_> = weighing.iter().map(|opinion| opinion.view).collect();
    let behind_front = signs.iter().flatten().any(|sign| *sign == Sign::FrontAnswers);
    let class = asked_enough(&asked, class_of(&posterior, behind_front));
    let class = if expected { Class::Reachable } else { class };
    let names = |opinions: &[&Opinion<'_>]| {
        opinions.iter().map(|opinion| opinion.view.vantage.to_owned()).collect::<Vec<_>>()
    };
    // Whoever knows nothing yet does not fail.
    let named_failing: Vec<&Opinion<'_>> =
        failing.iter().copied().filter(|opinion| opinion.saw_something()).collect();
    let blamed: Vec<_> = opinions.iter().filter(ours).collect();
    let scope = match (witness::count(&witnesses.0), proving.len()) {
        (0, 0) if !blamed.is_empty() => Scope::Ourselves,
        (0, _) | (_, 0) => Scope::All,
        (1, _) => Scope::One,
        (_, _) => Scope::Some,
    };
    let exposed = opinions.iter().filter(|opinion| opinion.exposed);
    Verdict {
        class,
        confidence: confidence(class, &posterior, target, &asked),
        scope,
        reaching: names(if failing.is_empty() { &reaching } else { &proving }),
        failing: names(&named_failing),
        address,
        addresses: address.map(|address| (address, class)).into_iter().collect(),
        as_expected: opinions.iter().any(|opinion| opinion.as_expected),
        notes: notes(views, class),
        exposed: exposed.map(|opinion| opinion.view.vantage.to_owned()).collect(),
        weighed: weighed(&weighing, seconds, others),
        posterior,
    }
}

/// How sure the class is.
fn confidence(
    class: Class,
    posterior: &Posterior,
    target: &Target,
    asked: &[&ViewEvidence<'_>],
) -> f64 {
    match class {
        Class::Reachable => {
            let sure = posterior.of_class(class).max(posterior.confidence);
            let open = |view: &&ViewEvidence<'_>| open_loss(view.findings?, target.loss_threshold);
            // No class is named that is believed in by less than half.
            let less = |sure: f64, above: f64| sure.min((1.0 - above).max(0.5));
            asked.iter().filter_map(open).fold(sure, less)
        }
        // No class is believed in by half, whatever leads.
        Class::Unknown => posterior.confidence.min(0.5),
        _ => posterior.of_class(class),
    }
}

/// Classes that cannot be told apart when everything is silent: together they may be certain while
/// each of them is not. The verdict then is the larger, with its own honest confidence.
const ALL_SILENT: [Class; 2] = [Class::Blackhole, Class::HostSilent];
/// The same of a silent port behind a front that answers for itself.
const BEHIND_FRONT: [Class; 2] = [Class::HostSilent, Class::SecurityGroup];

fn class_of(posterior: &Posterior, behind_front: bool) -> Class {
    let pair = if behind_front { BEHIND_FRONT } else { ALL_SILENT };
    let together: f64 = pair.iter().map(|class| posterior.of_class(*class)).sum();
    let inseparable =
        posterior.class == Class::Unknown && pair.contains(&posterior.leading) && together >= 0.5;
    if inseparable { posterior.leading } else { posterior.class }
}

/// A port that was asked and whose fate is still open is not reachable yet, nor is one whose
/// service may still answer, however well the host answers otherwise.
fn asked_enough(views: &[&ViewEvidence<'_>], class: Class) -> Class {
    let open = |view: &&ViewEvidence<'_>| {
        let asked = view.findings.is_some_and(|findings| findings.port.is_some());
        let waits = view.findings.is_some_and(|findings| findings.is_connecting);
        waits || asked && !view.seen.iter().any(|seen| seen.sign.family() == Family::Syn)
    };
    if class == Class::Reachable && views.iter().any(open) { Class::Unknown } else { class }
}

fn opinion<'a>(target: &Target, view: &'a ViewEvidence<'a>) -> Opinion<'a> {
    // Whoever has an address asked no name, or has been answered.
    let resolved = view.address.map(|_| Sign::NameResolves);
    let signs: Vec<_> = view.seen.iter().map(|seen| seen.sign).chain(resolved).collect();
    let believed = posterior_of(target.service.has_port(), &[&signs]);
    let class = asked_enough(&[view], believed.class);
    let (layer, answering) = match target.service.has_port() {
        true => (Family::Syn, [Sign::SynAccepted, Sign::SynPartial, Sign::SynMixed].as_slice()),
        false => (Family::Echo, [Sign::EchoAnswered, Sign::EchoPartial].as_slice()),
    };
    let answers = answering.iter().any(|sign| signs.contains(sign));
    let asked = signs.iter().any(|sign| sign.family() == layer);
    let exposed = view.expect != Expect::Reachable && answers;
    let as_expected = match view.expect {
        Expect::Reachable => false,
        // What has no port cannot be closed, only silent.
        Expect::Closed if target.service.has_port() => signs.contains(&Sign::SynReset),
        Expect::Filtered | Expect::Closed => asked && !answers && class != Class::VantageFault,
    };
    let heard = answers || signs.contains(&Sign::SynReset);
    let class = if exposed || as_expected { Class::Reachable } else { class };
    Opinion { view, signs, class, exposed, silent: as_expected && !heard, as_expected }
}

fn weighed(
    opinions: &[&Opinion<'_>],
    seconds: Vec<Option<Seen>>,
    others: Vec<Sign>,
) -> Vec<(Option<String>, Seen)> {
    let each = opinions.iter().zip(seconds).flat_map(|(opinion, second)| {
        let vantage = opinion.view.vantage.to_owned();
        let seen = opinion.view.seen.iter().cloned().chain(second);
        seen.map(move |seen| (Some(vantage.clone()), seen))
    });
    each.chain(others.into_iter().map(|sign| (None, Seen::new(sign, None)))).collect()
}

fn notes(views: &[&ViewEvidence<'_>], class: Class) -> BTreeMap<Note, Option<Wording>> {
    let mut notes = BTreeMap::new();
    for view in views {
        if view.mode == Some(Mode::Sockets) {
            let name = view.vantage;
            let detail = Wording::new(format!("vantage {name}"), format!("观测点 {name}"));
            notes.insert(Note::NoCapture, Some(detail));
        }
        if !view.baseline && !class.is_up() && view.findings.is_some() {
            notes.insert(Note::NoBaseline, None);
        }
        let has = |sign: Sign| view.seen.iter().any(|seen| seen.sign == sign);
        let tcp_fine = has(Sign::SynAccepted);
        let mute = [Sign::EchoSilent, Sign::EchoError, Sign::FrontSilent];
        if tcp_fine && mute.into_iter().any(has) {
            notes.insert(Note::IcmpFiltered, None);
        }
        if tcp_fine && has(Sign::EchoPartial) {
            notes.insert(Note::IcmpRateLimited, None);
        }
        if let Some(findings) = view.findings {
            notes.extend(path_notes(findings).map(|(note, detail)| (note, Some(detail))));
            notes.extend(security::notes(findings));
        }
    }
    notes
}

/// A silent hop with answering hops behind it limits its own ICMP; it loses nothing.
fn path_notes(findings: &Findings) -> Option<(Note, Wording)> {
    let path = findings.icmp_path.as_ref()?;
    let last = path.last_router();
    let silent = path.hops.iter().find(|hop| hop.ttl < last && hop.address.is_none())?;
    let hop = silent.ttl;
    Some((Note::IcmpLimitedHop, Wording::new(format!("hop {hop}"), format!("第 {hop} 跳"))))
}

/// One thing that would settle what is left, and the causes it tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextEvidence {
    /// What to find out.
    pub ask: Text,
    /// Where or how.
    pub how: Text,
    /// Causes it speaks about.
    pub about: &'static [&'static str],
    /// What it tells these from.
    pub tells: Tells,
}

/// What a piece of evidence tells the causes from that it speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// From all others.
    FromOthers,
    /// From each other.
    FromEachOther,
    /// From both, as who sees the thing itself can.
    FromAll,
}

/// What only the provider, the guest or another vantage can tell.
pub static NEXT_EVIDENCE: &[NextEvidence] = &[
    NextEvidence {
        ask: Text { en: "instance state", zh: "实例状态" },
        how: Text {
            en: "the provider's console: is it running, stopped or restarting?",
            zh: "控制台查看：运行中、已停止还是重启中？",
        },
        about: &["instance_stopped", "rebooting", "hypervisor_failure", "instance_hung"],
        tells: Tells::FromAll,
    },
    NextEvidence {
        ask: Text { en: "DDoS blackhole state", zh: "DDoS 黑洞状态" },
        how: Text {
            en: "the provider's security console: is the address in a blackhole, and until when?",
            zh: "安全控制台查看：该地址是否处于黑洞，何时解封？",
        },
        about: &["ddos_blackhole", "partial_blackhole"],
        tells: Tells::FromAll,
    },
    NextEvidence {
        ask: Text { en: "public address binding and bandwidth", zh: "公网地址绑定与带宽" },
        how: Text {
            en: "the provider's console: is the address bound, paid for and above 0 Mbit/s?",
            zh: "控制台查看：EIP 是否绑定、是否欠费、带宽是否大于 0？",
        },
        about: &["eip_unbound", "bandwidth_zero"],
        tells: Tells::FromAll,
    },
    NextEvidence {
        ask: Text {
            en: "security group and network ACL rules", zh: "安全组与网络 ACL 规则"
        },
        how: Text {
            en: "does an inbound rule admit this port from the probing source address?",
            zh: "入方向规则是否放行探测源 IP 访问该端口？",
        },
        about: &[
            "security_group_port",
            "network_acl",
            "security_group_all",
            "source_block",
            "carrier_port_block",
        ],
        tells: Tells::FromAll,
    },
    NextEvidence {
        ask: Text {
            en: "service and firewall inside the guest", zh: "系统内的服务与防火墙"
        },
        how: Text {
            en: "by the provider's console session: is the service (for RDP: TermService) running and \
                 listening, and is the inbound rule on?",
            zh: "通过控制台远程连接查看：服务（RDP 为 TermService）是否运行并监听，入站规则是否启用？",
        },
        about: &[
            "service_stopped_stealth",
            "host_firewall_port",
            "host_firewall_all",
            "service_stopped",
            "rdp_disabled",
            "rdp_port_moved",
            "ipsec_policy",
            "third_party_guard",
            "nic_down",
            "service_hung",
        ],
        tells: Tells::FromAll,
    },
    NextEvidence {
        ask: Text { en: "the guest's Schannel events", zh: "系统内的 Schannel 事件" },
        how: Text {
            en: "in the System log: 36870 and 36872 speak of the certificate or its key, 36874 of \
                 no shared version or suite, 36871 of either",
            zh: "查看系统日志：36870、36872 与证书或私钥有关，36874 表示双方没有共同的 TLS 版本或套件，\
                 36871 两者皆有可能",
        },
        about: &["certificate_broken", "security_layer_mismatch"],
        tells: Tells::FromEachOther,
    },
    NextEvidence {
        ask: Text { en: "the rule on the answering device", zh: "回复设备上的规则" },
        how: Text {
            en: "ask its owner: is the address banned (null route), or does an access list refuse \
                 this source or port?",
            zh: "询问该设备的管理方：该地址被封禁（空路由），还是访问控制列表拒绝了该来源或端口？",
        },
        about: &["null_route_reject"],
        tells: Tells::FromOthers,
    },
    NextEvidence {
        ask: Text { en: "the probing machine's own link", zh: "探测机自身的链路" },
        how: Text {
            en: "from the same machine, reach another address of the same network or beyond its \
                 gateway; look at carrier, switch port and gateway",
            zh: "从同一台机器访问同网段或网关之外的其他地址；查看网卡状态、交换机端口与网关",
        },
        about: &["vantage_uplink"],
        tells: Tells::FromOthers,
    },
    NextEvidence {
        ask: Text { en: "a probe from inside the provider's network", zh: "从云内网络探测" },
        how: Text {
            en: "configure a vantage with role = \"inside\" in the same VPC",
            zh: "在同一 VPC 内配置 `role = \"inside\"` 的观测点",
        },
        about: &[
            "ddos_blackhole",
            "security_group_port",
            "bandwidth_zero",
            "middlebox_reset",
            "return_path_broken",
        ],
        tells: Tells::FromOthers,
    },
    NextEvidence {
        ask: Text { en: "a probe from another network", zh: "从其他网络探测" },
        how: Text {
            en: "configure a second vantage, or run `reachd check` elsewhere",
            zh: "增加第二个观测点，或在别处运行 `reachd check`",
        },
        about: &["source_block", "return_path_broken", "transit_blackhole", "carrier_port_block"],
        tells: Tells::FromOthers,
    },
];

/// What would settle the rest: everything that tells at least one probable cause from another.
pub fn next_evidence(verdict: &Verdict) -> Vec<(&'static NextEvidence, Vec<String>)> {
    if verdict.class == Class::Reachable {
        return Vec::new();
    }
    let probable: Vec<&str> = verdict
        .posterior
        .causes
        .iter()
        .filter(|(cause, probability)| *probability >= 0.02 && cause.class != Class::Reachable)
        .map(|(cause, _)| cause.name)
        .collect();
    let splits = |next: &NextEvidence| -> Vec<String> {
        let named = next.about.iter().filter(|name| probable.contains(name));
        named.map(|name| (*name).to_owned()).collect()
    };
    let all = NEXT_EVIDENCE.iter().map(|next| (next, splits(next)));
    let settles = |next: &NextEvidence, splits: &[String]| {
        let some = !splits.is_empty() && splits.len() < probable.len().max(2);
        some && next.tells != Tells::FromEachOther
            || splits.len() > 1 && next.tells != Tells::FromOthers
    };
    all.filter(|(next, splits)| settles(next, splits)).collect()
}

/// The word for an answer kind in JSON.
pub const fn answer_name(kind: AnswerKind) -> &'static str {
    match kind {
        AnswerKind::EchoReply => "echo_reply",
        AnswerKind::SynAck => "syn_ack",
        AnswerKind::Reset => "reset",
        AnswerKind::BareReset => "bare_reset",
        AnswerKind::ChallengeAck => "challenge_ack",
        AnswerKind::Icmp(kind) => kind.as_str(),
        AnswerKind::Silence => "silence",
        AnswerKind::Invalid => "invalid",
    }
}

/// Whether this signal was weighed with this value.
pub fn has_sign(verdict: &Verdict, sign: Sign) -> bool {
    verdict.weighed.iter().any(|(_, seen)| seen.sign == sign)
}

/// Whether this signal was weighed at all.
pub fn has_family(verdict: &Verdict, family: Family) -> bool {
    verdict.weighed.iter().any(|(_, seen)| seen.sign.family() == family)
}

#[cfg(test)]
mod tests;
