//! The keys of targets and groups.

use super::{HOUR, key, seconds};
use crate::key::{
    Fallback::{Required, Value, Words},
    Key, Kind,
};

pub(super) const IDENTITY: &[Key] = &[
    key(
        "name",
        Kind::Text,
        Words("`host:port`, or the host alone for ping"),
        r#""fra-rdp-1""#,
        "Unique name; it is the `target` label in metrics and alerts, so choose one that lasts.",
    ),
    key(
        "host",
        Kind::Host,
        Required,
        r#""192.0.2.10""#,
        "Host name or literal address; IPv6 without brackets.",
    ),
    key(
        "group",
        Kind::Text,
        Words("no group"),
        r#""web""#,
        "Name of the `[[group]]` whose settings it takes.",
    ),
];

pub(super) const GROUP: &[Key] = &[
    key("name", Kind::Text, Required, r#""web""#, "Unique name; targets refer to it."),
    key(
        "files",
        Kind::List(&Kind::Path),
        Value("[]"),
        r#"["targets/group.json"]"#,
        "Target files, as in `target_files`, whose targets belong to this group.",
    ),
];

const INTERVAL: Kind = Kind::Duration { min: seconds(1), max: seconds(HOUR) };

/// What every target has, and defaults and groups may set.
pub(super) const SETTINGS: &[Key] = &[
    key(
        "port",
        Kind::Port,
        Words("3389 for rdp, 22 for ssh; tcp must say it; ping has none"),
        "3389",
        "TCP port.",
    ),
    key(
        "service",
        Kind::Word(&["rdp", "ssh", "tcp", "ping"]),
        Value(r#""rdp""#),
        r#""rdp""#,
        "What is spoken on the port. `rdp` asks for Remote Desktop, `ssh` reads the greeting, `tcp` is content with an accepted connection, `ping` asks no port.",
    ),
    key(
        "echo_interval",
        INTERVAL,
        Value(r#""10s""#),
        r#""10s""#,
        "Time between two pings from one vantage. Longer means fewer packets and later verdicts.",
    ),
    key(
        "syn_interval",
        INTERVAL,
        Value(r#""10s""#),
        r#""10s""#,
        "Time between two half-open connection attempts (SYN) from one vantage. They leave no trace in the service's log.",
    ),
    key(
        "connect_interval",
        Kind::Duration { min: seconds(5), max: seconds(HOUR) },
        Value(r#""5m""#),
        r#""5m""#,
        "Time between two full connections with the service's first bytes. Servers log these.",
    ),
    key(
        "rdp_depth",
        Kind::Word(&["off", "x224", "tls", "ntlm"]),
        Value(r#""tls""#),
        r#""tls""#,
        "How far a look at an `rdp` service goes, always without a password: `x224` asks which security protocols it takes, `tls` reads its certificate as well, `ntlm` its clock, build and names. A look makes up to six connections one after another, and one that came to nothing is made once more: once the service has answered, every six hours, when its answer changes, and every ten minutes while what it sees is the failure. `off` makes none.",
    ),
    key(
        "rdp_names",
        Kind::Word(&["off", "labels"]),
        Value(r#""off""#),
        r#""labels""#,
        "Whether the names that a look with `rdp_depth = \"ntlm\"` reads, of the computer and its domain, become labels of `reachd_rdp_machine_info`. Whoever reads the metrics then knows what the machine is called.",
    ),
    key(
        "vantages",
        Kind::List(&Kind::Text),
        Words("all vantages"),
        r#"["isp-a", "isp-b"]"#,
        "Names of the vantages that watch it.",
    ),
    key(
        "labels",
        Kind::Labels,
        Value("{}"),
        r#"{ team = "windows", site = "fra" }"#,
        "Labels added to `reachd_target_info` and to alerts.",
    ),
    key(
        "severity",
        Kind::Word(&["info", "warning", "critical"]),
        Value(r#""critical""#),
        r#""critical""#,
        "How loud its incidents are.",
    ),
    key(
        "canary_port",
        Kind::Port,
        Words("none"),
        "65001",
        "A port on which nothing listens and which filters let through. It is asked once an hour while all is well and once per look at a failure: where it resets while the monitored port is silent, that port is filtered on its own; where it has always been silent, the service may as well be stopped.",
    ),
    key(
        "control_ports",
        Kind::List(&Kind::Port),
        Value("[]"),
        "[135, 5985]",
        "Other ports of the host that usually answer. Each is sent one SYN per look at a failure: an answer proves that the host lives where echo is filtered. The first eight are asked.",
    ),
    key(
        "neighbours",
        Kind::List(&Kind::Address),
        Value("[]"),
        r#"["192.0.2.11"]"#,
        "Addresses in the target's subnet, used as siblings: when the path to them goes further than to the target, its own address is dropped upstream. While nothing comes from the target, the first four are sent one echo per look, and one SYN to the first of `control_ports`: their answers tell a dead host from a dead network.",
    ),
    key(
        "siblings",
        Kind::Word(&["auto", "off"]),
        Value(r#""auto""#),
        r#""auto""#,
        "Whether a few packets may go toward addresses next to the target that are not in this file. `off` makes blackholes harder to tell from stopped hosts.",
    ),
    key(
        "fronted",
        Kind::Word(&["none", "nat", "balancer", "anycast"]),
        Value(r#""none""#),
        r#""none""#,
        "What stands in front of the host and answers in its place. Echo then is no proof that the host lives, distances are no fingerprint, and `canary_port` and `control_ports` are not believed. The daemon infers it by itself where several targets share an address and their ports are at different distances while all is well.",
    ),
    key(
        "expect",
        Kind::Expectations,
        Value("{}"),
        r#"{ outside = "filtered", inside = "reachable" }"#,
        "What a vantage, or all vantages of a role, should see; `reachable` where nothing is said. Expected silence is no incident, and an answer where none is expected is the finding `exposed`.",
    ),
    key(
        "alternate_ports",
        Kind::List(&Kind::Port),
        Value("[]"),
        "[3390]",
        "Ports the service may have moved to. Each is sent one SYN per look at a failure, once the monitored port was reset, or is silent although the host lives. The first eight are asked.",
    ),
    key(
        "loss_threshold",
        Kind::Ratio,
        Value("0.05"),
        "0.05",
        "Share of lost packets above which the target counts as degraded. 5 % takes about 100 packets to see.",
    ),
    key(
        "open_after",
        Kind::Duration { min: seconds(0), max: seconds(HOUR) },
        Value(r#""10s""#),
        r#""10s""#,
        "How long a failure must be believed before an incident opens.",
    ),
    key(
        "close_after",
        Kind::Duration { min: seconds(0), max: seconds(HOUR) },
        Value(r#""30s""#),
        r#""30s""#,
        "How long successes must last before an incident closes.",
    ),
    key(
        "family",
        Kind::Word(&["any", "ipv4", "ipv6"]),
        Value(r#""any""#),
        r#""any""#,
        "Which addresses of a name are probed.",
    ),
    key(
        "addresses",
        Kind::Word(&["all", "any"]),
        Value(r#""all""#),
        r#""all""#,
        "Of several addresses, whether all must answer or any one is enough.",
    ),
    key(
        "expect_banner",
        Kind::Text,
        Words("no greeting is waited for"),
        r#""220 ""#,
        "Text a `tcp` service must greet with. Without this or `send`, a silent service is not called hung.",
    ),
    key(
        "send",
        Kind::Text,
        Words("nothing is sent"),
        r#""HELP\r\n""#,
        "Text sent to a `tcp` service to make it answer.",
    ),
    key(
        "instance_id",
        Kind::Text,
        Words("left blank in reports"),
        r#""i-0123456789""#,
        "The provider's name of the machine, for reports.",
    ),
    key(
        "region",
        Kind::Text,
        Words("left blank in reports"),
        r#""eu-central-1""#,
        "The provider's region, for reports.",
    ),
    key(
        "account",
        Kind::Text,
        Words("left blank in reports"),
        r#""4711""#,
        "The provider's account, for reports.",
    ),
];
