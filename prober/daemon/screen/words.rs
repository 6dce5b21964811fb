//! The fixed words of the report in both languages.

use reachd_core::judge::Text;

pub(super) const NO_CAPTURE: Text = Text {
    en: "No CAP_NET_RAW: probing by ordinary sockets. A reset from the path cannot be told from \
         the host's own; hop limits and windows of answers are unknown.",
    zh: "没有 CAP_NET_RAW：以普通套接字探测。无法区分路径设备与主机自身的 RST，应答的 TTL 与窗口未知。",
};
pub(super) const SEEN_AT: Text = Text { en: "seen", zh: "观测于" };
pub(super) const SEEN: Text = Text { en: "What was seen", zh: "观测结果" };
pub(super) const VANTAGE: Text = Text { en: "from", zh: "观测点" };
pub(super) const ANSWERED: Text = Text { en: "answered", zh: "有应答" };
pub(super) const ROUTERS: Text = Text { en: "routers", zh: "跳" };
pub(super) const SERVICE: Text = Text { en: "connection", zh: "连接" };
pub(super) const ECHO: Text = Text { en: "ICMP echo", zh: "ICMP 回显" };
pub(super) const RTT: Text = Text { en: "rtt", zh: "往返" };
pub(super) const COMMA: Text = Text { en: ", ", zh: "，" };
/// How a connection went, by its name in the document.
pub(super) const CONNECTIONS: [Text; 5] = [
    Text { en: "connected", zh: "已建立" },
    Text { en: "refused", zh: "被拒绝（RST）" },
    Text { en: "icmp", zh: "收到 ICMP 差错" },
    Text { en: "timed_out", zh: "超时" },
    Text { en: "local_error", zh: "本机出错" },
];
/// What the service answered, by its name in the document.
pub(super) const SERVICE_ANSWERS: [Text; 6] = [
    Text { en: "confirmed", zh: "服务应答正常" },
    Text { en: "refused", zh: "服务拒绝协商" },
    Text { en: "foreign", zh: "其他服务应答" },
    Text { en: "silent", zh: "服务无应答" },
    Text { en: "unfinished", zh: "服务应答不完整" },
    Text { en: "closed", zh: "服务断开连接" },
];
pub(super) const PATH: Text = Text { en: "path", zh: "路径" };
pub(super) const CAUSES: Text = Text { en: "Possible causes", zh: "可能原因" };
pub(super) const NOTES: Text = Text { en: "Notes", zh: "备注" };
pub(super) const CHECKLIST: Text = Text { en: "Checklist", zh: "检查清单" };
pub(super) const NEXT: Text = Text { en: "What to do next", zh: "下一步" };
pub(super) const WOULD_SETTLE: Text =
    Text { en: "What would settle the rest:", zh: "能进一步区分原因的信息：" };
pub(super) const TICKET: Text = Text { en: "For a support ticket", zh: "工单信息" };
pub(super) const TICKET_TARGET: Text = Text { en: "target", zh: "目标" };
pub(super) const TICKET_INSTANCE: Text = Text { en: "instance", zh: "实例 ID" };
pub(super) const TICKET_SOURCE: Text = Text { en: "probed from", zh: "探测源 IP" };
pub(super) const TICKET_TIME: Text = Text { en: "time (UTC)", zh: "时间（UTC）" };
pub(super) const TICKET_CLASS: Text = Text { en: "class", zh: "类别" };
pub(super) const TICKET_CONSOLE: Text = Text { en: "console facts", zh: "控制台信息" };
