//! What each stage of a connection sends, what it leaves in the logs of Windows, and how a security
//! team lets the prober through.
//!
//! Event numbers are from Microsoft's documentation and common practice; which of them appear
//! depends on version and audit policy.

use reachd_core::evidence::rdp::RdpStage;
use reachd_core::judge::Text;

use crate::cli::Lang;

struct Leaves {
    stage: RdpStage,
    sends: Text,
    leaves: Text,
}

const STAGES: [Leaves; 4] = [
    Leaves {
        stage: RdpStage::Connect,
        sends: Text {
            en: "A complete TCP handshake, ended with FIN.",
            zh: "完整的 TCP 握手，以 FIN 结束。",
        },
        leaves: Text {
            en: "TerminalServices-RemoteConnectionManager/Operational 261 and RdpCoreTS/Operational \
                 131 for each connection, with our address; very many that go no further raise 1006.",
            zh: "每个连接在 TerminalServices-RemoteConnectionManager/Operational 留下事件 261，在 \
                 RdpCoreTS/Operational 留下事件 131（含探测源地址）；大量半途而止的连接会触发 1006。",
        },
    },
    Leaves {
        stage: RdpStage::X224,
        sends: Text {
            en: "One X.224 Connection Request of 19 bytes without cookie, and one answer is read.",
            zh: "发送一个 19 字节、不带 cookie 的 X.224 连接请求，读取一次应答。",
        },
        leaves: Text {
            en: "Nothing beyond the connection; now and then System/TermDD 56.",
            zh: "除连接本身外无记录；偶有 System/TermDD 56。",
        },
    },
    Leaves {
        stage: RdpStage::Tls,
        sends: Text {
            en: "A ClientHello capped at TLS 1.2 that is answered with the certificate in the clear; \
                 nothing is completed. Servers that refuse it, or end the connection, get one \
                 whole handshake: they may speak TLS 1.3 alone.",
            zh: "发送最高 TLS 1.2 的 ClientHello，服务器以明文返回证书，握手不会完成；拒绝或断开的\
                 服务器可能仅支持 TLS 1.3，则完成一次握手。",
        },
        leaves: Text {
            en: "System/Schannel 36874 where no suite is shared and 36871 or 36870 where the \
                 server's own key fails; 1056 or 1058 where Windows makes or renews its own \
                 certificate because a connection came.",
            zh: "没有共同套件时留下 System/Schannel 36874；服务器私钥异常时留下 36871 或 36870；\
                 Windows 因连接到来而新建或更新自签名证书时留下 1056 或 1058。",
        },
    },
    Leaves {
        stage: RdpStage::Ntlm,
        sends: Text {
            en: "Only with `rdp_depth = \"ntlm\"`: an NTLM NEGOTIATE message without a name, and the \
                 CHALLENGE is read. AUTHENTICATE is never sent.",
            zh: "仅当 `rdp_depth = \"ntlm\"` 时：发送不含名称的 NTLM NEGOTIATE，读取 CHALLENGE，绝不\
                 发送 AUTHENTICATE。",
        },
        leaves: Text {
            en: "No 4625, no 4624 and no lockout: no user name and no password is ever sent. Audits \
                 of NTLM may note that a negotiation began.",
            zh: "不会产生 4625、4624，也不会锁定账户：从不发送用户名或密码。NTLM 审核可能记录协商开始。",
        },
    },
];

const STAGE: Text = Text { en: "stage of RDP", zh: "RDP 阶段" };
const SENDS: Text = Text { en: "sends", zh: "发送" };
const LEAVES: Text = Text { en: "leaves in logs", zh: "日志痕迹" };
const ALLOW: Text = Text {
    en: "Let it through: allow TCP to the port from the prober's addresses, and exempt these from \
         port-scan, SYN-flood and brute-force detection. At most six connections a look, one after \
         another, each ended before the next; a look every six hours and when the answer changes, \
         and every ten minutes while what a look sees is the failure or a connection of the last \
         one came to nothing; of such a one the next is made two seconds later, else ten minutes \
         lie between them. A prober that starts looks once.",
    zh: "放行方法：允许探测源地址访问该 TCP 端口，并将其排除在端口扫描、SYN 洪泛与暴力破解检测之外。\
         每次查看至多六个连接，逐个进行，前一个结束后才建立下一个；每六小时一次，应答变化时加查；\
         故障正由查看发现、或上次有连接落空时，每十分钟一次。有连接落空时两秒后重做一次，其余间隔不少于\
         十分钟。探测程序启动时查看一次。",
};

/// Names of the stages, in the order in which they come.
pub(super) fn names() -> Vec<&'static str> {
    STAGES.iter().map(|of| of.stage.as_str()).collect()
}

/// What the stage of this name sends and leaves, if there is one.
pub(super) fn explain(name: &str, lang: Lang) -> Option<String> {
    let of = STAGES.iter().find(|of| of.stage.as_str() == name)?;
    Some(format!(
        "{name} ({})\n  {}: {}\n  {}: {}\n  {}\n",
        lang.of(STAGE),
        lang.of(SENDS),
        lang.of(of.sends),
        lang.of(LEAVES),
        lang.of(of.leaves),
        lang.of(ALLOW),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reachd_core::wording::english_words;

    #[test]
    fn every_stage_is_explained_in_both_languages() {
        let stages: Vec<_> = RdpStage::ALL.iter().map(|stage| stage.as_str()).collect();
        assert_eq!(names(), stages);
        for name in stages {
            let english = explain(name, Lang::En).unwrap();
            assert!(
                english.contains("leaves in logs") && english.contains("brute-force"),
                "{english}"
            );
            let chinese = explain(name, Lang::Zh).unwrap();
            let foreign: Vec<_> = english_words(&chinese).filter(|word| *word != name).collect();
            assert!(foreign.is_empty() || foreign == ["cookie"], "{foreign:?} in {chinese}");
        }
        assert_eq!(explain("mcs", Lang::En), None);
    }
}
