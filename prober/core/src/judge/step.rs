//! What to do about a verdict, in English and Chinese: the next step, and what not to do.

use super::cause::Cause;
use super::class::Class;
use super::sign::Sign;
use super::text::Facts;
use super::verdict::has_sign;
use crate::survey::findings::Findings;
use crate::survey::security::{self, Refusal};
use crate::survey::service::Blemish;
use crate::target::Service;
use crate::wording::Wording;

/// What to do next, and what not to do.
pub fn next_step(facts: &Facts<'_>) -> Wording {
    let source = facts
        .source
        .map_or_else(|| Wording::new("the probing address", "探测源地址"), Wording::same);
    match facts.verdict.class {
        Class::Reachable => match facts.blemish() {
            Some(blemish) => remedy_of(blemish),
            None => Wording::new("Nothing to do.", "无需处理。"),
        },
        Class::Blackhole => Wording::new(
            "Next: check the DDoS blackhole state and when it ends. Do not restart the instance \
             first.",
            "下一步：查 DDoS 黑洞状态与解封时间。勿先重启实例。",
        ),
        // What is accepted at times is not kept out by a rule.
        Class::SecurityGroup if may_not_be_a_rule(facts) => of_top(facts),
        Class::SecurityGroup => Wording::new(
            format!(
                "Next: check that an inbound rule admits {}. Do not open 0.0.0.0/0.",
                source.en
            ),
            format!("下一步：核对入方向规则是否放行 {}。勿放开 0.0.0.0/0。", source.zh),
        ),
        Class::PortClosed if facts.target.service != Service::Rdp => Wording::new(
            format!("Next: check the service that should listen on {}.", facts.target.port),
            format!("下一步：检查应监听 {} 的服务。", facts.target.port),
        ),
        Class::PortClosed => Wording::new(
            "Next: check Remote Desktop Services, fDenyTSConnections and PortNumber.",
            "下一步：查 Remote Desktop Services、fDenyTSConnections、PortNumber。",
        ),
        Class::HostSilent => Wording::new(
            "Next: check the instance state and its screen in the console before any restart.",
            "下一步：先在控制台查看实例状态与屏幕，再考虑重启。",
        ),
        Class::ServiceHung if has_sign(facts.verdict, Sign::TlsSilent) => Wording::new(
            "Next: see whether large packets arrive (path MTU), then the server's CPU and its Schannel \
             events. Restart the service last: it does answer.",
            "下一步：先查大包能否到达（路径 MTU），再查服务器 CPU 与 Schannel 事件。服务仍有应答，最后才考虑重启。",
        ),
        Class::VantageFault => Wording::new(
            "Next: run `reachd doctor` on the probing host. Leave the target alone.",
            "下一步：在探测主机上运行 `reachd doctor`。勿动目标主机。",
        ),
        _ => of_top(facts),
    }
}

/// Whether the port accepted some SYNs, or all of them at first.
fn may_not_be_a_rule(facts: &Facts<'_>) -> bool {
    let turned = || facts.findings.and_then(Findings::turn).is_some();
    has_sign(facts.verdict, Sign::SynMixed) || turned()
}

/// What to do about the most probable cause of the class.
fn of_top(facts: &Facts<'_>) -> Wording {
    let mut causes = facts.verdict.posterior.causes.iter();
    causes.find(|(cause, _)| cause.class == facts.verdict.class).map_or_else(
        || Wording::new("Next: gather more evidence.", "下一步：收集更多证据。"),
        |(cause, _)| remedy(facts, cause),
    )
}

/// What to do about a cause, by what was seen of it where that matters.
pub fn remedy(facts: &Facts<'_>, cause: &Cause) -> Wording {
    let foreign = facts.findings.filter(|_| cause.name == CERTIFICATE_BROKEN);
    if foreign.is_some_and(security::is_no_tls) {
        return no_tls();
    }
    let mismatch = cause.name == SECURITY_LAYER_MISMATCH;
    let refused = facts.findings.filter(|_| mismatch).and_then(|findings| {
        let refusal = security::refusal(findings);
        let within_tls = || security::fault(findings).map(|_| unshared_tls());
        refusal.as_ref().map(refused).or_else(within_tls)
    });
    refused.unwrap_or_else(|| cause.remedy.into())
}

/// The causes whose remedy depends on how they show.
const CERTIFICATE_BROKEN: &str = "certificate_broken";
const SECURITY_LAYER_MISMATCH: &str = "security_layer_mismatch";

/// What to do about a refusal.
fn refused(refusal: &Refusal) -> Wording {
    match refusal {
        // SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER ([MS-RDPBCGR] 2.2.1.2.2).
        Refusal::Code(6) | Refusal::Today(6) | Refusal::Always(6) => Wording::new(
            "The server demands a client certificate (smart card) within TLS: give clients one, or \
             ask its administrator whether that is meant. NLA has nothing to do with it.",
            "服务器要求客户端在 TLS 中出示证书（智能卡）：为客户端配置证书，或向管理员确认是否有意为之。\
             与 NLA 无关。",
        ),
        Refusal::Violates(_) => Wording::new(
            "Find out what answers on this port: it breaks the RDP negotiation, as gateways, \
             emulators and half-broken proxies do. Do not change the security settings for it.",
            "查明该端口上是何程序应答：其不遵守 RDP 协商规则，常见于网关、仿真程序或异常代理。不要为此修改\
             安全设置。",
        ),
        Refusal::Always(1 | 2 | 5) => Wording::new(
            "No offer is taken, so no other client helps: compare SecurityLayer and \
             UserAuthentication with the group policy of the same names and set what contradicts \
             itself back to its default (2 and 1). Do not switch NLA off.",
            "任何协议都被拒绝，更换客户端无效：对比 SecurityLayer、UserAuthentication 与同名组策略，将互相\
             矛盾的项恢复默认（2 与 1）。不要关闭 NLA。",
        ),
        Refusal::Code(1 | 5) => Wording::new(
            "The server demands what was just offered to it, and nothing else could be asked: look \
             again. If it stays so, compare SecurityLayer and UserAuthentication with the group \
             policy of the same names. Do not switch NLA off.",
            "服务器要求的正是客户端已提供的协议，且未能继续询问：请再次探测。若仍如此，对比 SecurityLayer、\
             UserAuthentication 与同名组策略。不要关闭 NLA。",
        ),
        Refusal::Code(2) | Refusal::Today(1 | 2 | 5) => Wording::new(
            "Compare SecurityLayer and UserAuthentication with the group policy of the same names: \
             the server refuses the offer of clients of today and takes a part of it alone. Do not \
             switch NLA off.",
            "对比 SecurityLayer、UserAuthentication 与同名组策略：服务器拒绝当前客户端提供的协议组合，\
             却接受其中一部分。不要关闭 NLA。",
        ),
        Refusal::Code(_) | Refusal::Today(_) | Refusal::Always(_) => Wording::new(
            "Find out what answers on this port: the code is none that RDP servers give for their \
             security settings, so those need no change.",
            "查明该端口上是何程序应答：该代码不属于 RDP 服务器安全设置的代码，无需修改安全设置。",
        ),
    }
}

/// What to do where something comes in place of TLS that is none.
fn no_tls() -> Wording {
    Wording::new(
        "Find out what answers here before you touch the certificate: what comes in place of TLS is \
         none, as of a gateway, a proxy or another program on this port. If it is Windows itself, \
         read events 1057, 1058 and 36870.",
        "先查明此处是何程序应答，再考虑证书：返回内容不是 TLS，可能是网关、代理或该端口上的其他程序。若确为 \
         Windows，查看事件 1057、1058 与 36870。",
    )
}

/// What to do where TLS ends before a certificate, and its versions or suites may be why.
fn unshared_tls() -> Wording {
    Wording::new(
        "Compare the TLS versions and suites that the server allows (Schannel's Protocols keys, the \
         policy \"SSL Cipher Suite Order\", or the server's own settings) with what clients use; \
         event 36874 tells that none is shared. Leave SecurityLayer and NLA as they are.",
        "核对服务器允许的 TLS 版本与套件（Schannel 的 Protocols 键、组策略“SSL 密码套件顺序”，或服务器自身\
         配置）与客户端是否一致；事件 36874 表示没有共同的套件。不要改动 SecurityLayer 与 NLA。",
    )
}

/// What to do about what is amiss of a service that answers.
fn remedy_of(blemish: Blemish<'_>) -> Wording {
    match blemish {
        Blemish::Missed(_) => Wording::new(
            "Next: watch it. One connection in two was answered: if that goes on, look at the \
             server's load and at guards that limit connections.",
            "下一步：持续观察。两次连接中只有一次得到应答：若反复出现，检查服务器负载与限制连接的防护软件。",
        ),
        Blemish::Refused(_) => Wording::new(
            "Next: look again. One connection was refused and those behind it were taken: if that goes \
             on, several servers may share this address.",
            "下一步：再次探测。一次连接被拒绝而后续连接正常：若反复出现，可能有多台服务器共用该地址。",
        ),
        Blemish::Foreign(_) => Wording::new(
            "Next: find out who shares this port: connections are answered by RDP and by something \
             else, as by a balancer or a multiplexer with a wrong member.",
            "下一步：查明哪些程序共用该端口：连接有时由 RDP 应答，有时由其他服务应答，常见于成员配置错误的\
             负载均衡或复用器。",
        ),
        Blemish::Violates => Wording::new(
            "Nothing to do as long as clients log on: what answers keeps to the negotiation for what \
             they offer.",
            "客户端能登录则无需处理：对其提供的协议，服务器遵守协商规则。",
        ),
        Blemish::Further(_) => Wording::new(
            "Next: look again. The first connection is served and one soon after it is not: if that \
             goes on, look for a limit on connections (guards, balancers, session brokers).",
            "下一步：再次探测。首次连接正常，随后的连接失败：若反复出现，检查限制连接的防护软件、负载均衡或\
             会话代理。",
        ),
        Blemish::Unchallenged(_) => Wording::new(
            "Next: log on once with a domain account. If that fails too, see whether the server \
             reaches a domain controller (nltest /sc_query, DNS, clock) and whether a policy \
             restricts NTLM. Do not require NLA before it works.",
            "下一步：用域账户登录一次。若同样失败，检查服务器能否联系域控制器（`nltest /sc_query`、DNS、时钟）\
             以及是否有策略限制 NTLM。NLA 恢复正常前不要强制启用。",
        ),
        Blemish::TooSlow(_) => Wording::new(
            "Next: look at the server's CPU, memory and disk: it takes seconds for its first answer.",
            "下一步：查看服务器 CPU、内存与磁盘：首个应答需数秒。",
        ),
    }
}

#[cfg(test)]
mod tests;
