//! Every key of the configuration file.

use std::time::Duration;

use crate::key::{Fallback, Key, Kind, ROLES, Section};

use Fallback::{Required, Value, Words};

use receiver::RECEIVER;
use target::{GROUP, IDENTITY, SETTINGS};

mod receiver;
mod target;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

const fn key(
    name: &'static str,
    kind: Kind,
    fallback: Fallback,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key { name, kind, fallback, doc, example, later: None }
}

impl Key {
    const fn later(mut self, now: &'static str) -> Self {
        self.later = Some(now);
        self
    }
}

/// The section of this name.
pub(crate) fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

/// The top of the file, before the first section.
pub(crate) static TOP: Section = Section {
    name: "",
    repeated: false,
    doc: "Keys at the top of the file, before the first section.",
    keys: &[TOP_KEYS],
};

/// Every section, in the order of the documentation.
pub(crate) static SECTIONS: &[Section] = &[
    Section {
        name: "listen",
        repeated: false,
        doc: "Where metrics, the API and the page are served.",
        keys: &[LISTEN],
    },
    Section {
        name: "store",
        repeated: false,
        doc: "Where incidents and unsent alerts survive a restart.",
        keys: &[STORE],
    },
    Section {
        name: "metrics",
        repeated: false,
        doc: "How much the metrics say.",
        keys: &[METRICS],
    },
    Section {
        name: "budget",
        repeated: false,
        doc: "Upper bounds on what is sent, whatever the targets ask for.",
        keys: &[BUDGET],
    },
    Section {
        name: "probe_api",
        repeated: false,
        doc: "Probing on demand over HTTP (`/probe`). Planned targets are always answered from what is known; anything else is refused unless allowed here.",
        keys: &[PROBE_API],
    },
    Section {
        name: "resolver",
        repeated: false,
        doc: "How host names become addresses.",
        keys: &[RESOLVER],
    },
    Section {
        name: "heartbeat",
        repeated: false,
        doc: "A sign of life for somebody who raises the alarm when it stays away: nobody else notices that the one who should call has died.",
        keys: &[HEARTBEAT],
    },
    Section {
        name: "evidence",
        repeated: false,
        doc: "How much is kept as proof of incidents: packets, verdicts and paths, as files in the folder `evidence` beside the store.",
        keys: &[EVIDENCE],
    },
    Section {
        name: "defaults",
        repeated: false,
        doc: "Any key of `[[target]]` but name, host and group, for all targets. A target's own key wins over its group's, and that over the default; labels and expectations are merged name by name.",
        keys: &[SETTINGS],
    },
    Section {
        name: "group",
        repeated: true,
        doc: "Targets that share settings: any key of `[[target]]` but host and group.",
        keys: &[GROUP, SETTINGS],
    },
    Section {
        name: "vantage",
        repeated: true,
        doc: "A place probes leave from. At most one of source, interface and netns. Without any vantage there is one, called `default`, that follows the routing table.",
        keys: &[VANTAGE],
    },
    Section {
        name: "target",
        repeated: true,
        doc: "A host and port that must be reachable.",
        keys: &[IDENTITY, SETTINGS],
    },
    Section {
        name: "canary",
        repeated: true,
        doc: "A host believed to be always reachable, outside of what is watched. When canaries fail together with most targets, the vantage is at fault. Two on different paths are a good number.",
        keys: &[CANARY],
    },
    Section {
        name: "receiver",
        repeated: true,
        doc: "Somebody who is told of incidents. A file path that begins with `%d/` lies in the folder of systemd's credentials (`$CREDENTIALS_DIRECTORY`), so that secrets need not be readable by anybody else.",
        keys: &[RECEIVER],
    },
    Section {
        name: "maintenance",
        repeated: true,
        doc: "A time in which some incidents are not told.",
        keys: &[MAINTENANCE],
    },
];

const TOP_KEYS: &[Key] = &[
    key(
        "target_files",
        Kind::List(&Kind::Path),
        Value("[]"),
        r#"["targets/web.json", "targets/office.yml"]"#,
        "Files of further targets in Prometheus `file_sd` form, `.json`, `.yml` or `.yaml`, watched for changes. A broken or suddenly empty file keeps its old targets.",
    ),
    key(
        "group_by_labels",
        Kind::List(&Kind::Text),
        Value("[]"),
        r#"["security_group", "hypervisor"]"#,
        "Labels of targets that may explain why many fail at once: if nearly all with one value fail together and nearly none of the others, one alert is sent for all of them. Subnets and routers on the way are always tried.",
    ),
];

const LISTEN: &[Key] = &[
    key(
        "address",
        Kind::Socket(None),
        Value(r#""127.0.0.1:9639""#),
        r#""127.0.0.1:9639""#,
        "Address and port of the HTTP server. Only this machine can read it unless you say otherwise; from others, `/metrics` and `/probe` at most without a password (`web_config`).",
    ),
    key(
        "web_config",
        Kind::Path,
        Words("plain HTTP without a password"),
        r#""web.yml""#,
        "File in the format of Prometheus' exporter-toolkit: `tls_server_config`, `basic_auth_users` (bcrypt), `http_server_config.headers`. It is read again when it changes. Without passwords and client certificates, only this machine may change anything or read more than `/metrics` and `/probe`.",
    ),
];

const STORE: &[Key] = &[key(
    "path",
    Kind::Path,
    Words("`$STATE_DIRECTORY`, else the XDG state folder"),
    r#""/var/lib/reachd""#,
    "Folder of the durable state. It must be on a local disk.",
)];

const METRICS: &[Key] = &[key(
    "detail",
    Kind::Word(&["full", "compact"]),
    Words("`\"full\"` up to 2000 targets, `\"compact\"` above"),
    r#""full""#,
    "Compact leaves out the round-trip-time histogram of each target.",
)];

const BUDGET: &[Key] = &[
    key(
        "packets_per_second",
        Kind::Rate { max: 1_000_000.0 },
        Value("5000"),
        "5000",
        "Packets a second over everything, in the long run: after rest, a burst of two seconds' worth may go first. Probes beyond it wait, so too small a number delays verdicts.",
    ),
    key(
        "per_destination",
        Kind::Rate { max: 1_000.0 },
        Value("50"),
        "50",
        "Packets a second to one address, after rest two seconds' worth at once. A full connection counts as one; resets that close what probes opened are not counted.",
    ),
    key(
        "per_prefix",
        Kind::Rate { max: 100_000.0 },
        Value("500"),
        "500",
        "Packets a second to one /24 or /64, after rest two seconds' worth at once.",
    ),
    key(
        "connects_per_minute",
        Kind::Whole { min: 1, max: 600 },
        Value("10"),
        "10",
        "New TCP connections a minute to one target from one source, beyond the plain SYN probes; after a rest two minutes' worth within one. Servers log them and guards count them.",
    ),
    key(
        "connects_per_hour",
        Kind::Whole { min: 1, max: 36_000 },
        Value("60"),
        "60",
        "The same for any hour: half of them at once after a rest, half evenly.",
    ),
];

const PROBE_API: &[Key] = &[key(
    "allow",
    Kind::List(&Kind::Network),
    Value("[]"),
    r#"["192.0.2.0/24", "2001:db8::/32"]"#,
    "Networks whose addresses may be probed on demand. `0.0.0.0/0` makes this host a scanner for everyone who reaches its port.",
)];

const RESOLVER: &[Key] = &[
    key(
        "servers",
        Kind::List(&Kind::Socket(Some(53))),
        Words("the system's, from /etc/resolv.conf"),
        r#"["192.0.2.53", "[2001:db8::53]:53"]"#,
        "Name servers to ask.",
    ),
    key(
        "timeout",
        Kind::Duration { min: Duration::from_millis(100), max: seconds(30) },
        Value(r#""2s""#),
        r#""2s""#,
        "How long one name server is waited for.",
    )
    .later("two seconds"),
    key(
        "min_ttl",
        Kind::Duration { min: seconds(1), max: seconds(HOUR) },
        Value(r#""5s""#),
        r#""5s""#,
        "An answer is kept at least this long, however short its own time to live.",
    )
    .later("five seconds"),
    key(
        "max_ttl",
        Kind::Duration { min: seconds(1), max: seconds(DAY) },
        Value(r#""1h""#),
        r#""1h""#,
        "An answer is kept at most this long; changes of address are noticed no later.",
    )
    .later("one hour"),
];

const HEARTBEAT: &[Key] = &[
    key(
        "url",
        Kind::Url(&["https", "http"]),
        Words("no heartbeat"),
        r#""https://watch.example/reachd""#,
        "Where a POST with a short JSON text goes, as long as probing, the store and the daemon itself move.",
    ),
    key(
        "url_file",
        Kind::Path,
        Words("no heartbeat"),
        r#""heartbeat.url""#,
        "File whose first line is the URL, for URLs that hold a token.",
    ),
    key(
        "interval",
        Kind::Duration { min: seconds(1), max: seconds(DAY) },
        Value(r#""1m""#),
        r#""1m""#,
        "How often. Whoever waits for it should wait three times as long.",
    ),
];

const EVIDENCE: &[Key] = &[
    key(
        "max_bytes",
        Kind::Size { min: 1 << 20 },
        Value(r#""1GiB""#),
        r#""1GiB""#,
        "Size of all evidence files together. What is over goes first, the oldest before the others; that of open incidents last. Nothing is written while less than a tenth of the disk is free (or less than 1 GiB), and below a twentieth (256 MiB) what is over goes.",
    ),
    key(
        "max_age",
        Kind::Duration { min: seconds(HOUR), max: seconds(3_650 * DAY) },
        Value(r#""14d""#),
        r#""14d""#,
        "Age at which evidence is deleted. That of open incidents stays until they are over.",
    ),
];

const VANTAGE: &[Key] = &[
    key("name", Kind::Name, Required, r#""isp-a""#, "Unique name and metric label."),
    key(
        "source",
        Kind::Address,
        Words("the routing table decides"),
        r#""198.51.100.5""#,
        "Packets leave with this source address, which this machine must have.",
    ),
    key(
        "interface",
        Kind::Interface,
        Words("the routing table decides"),
        r#""wan1""#,
        "Packets leave through this interface.",
    ),
    key(
        "netns",
        Kind::Namespace,
        Words("reachd's own namespace"),
        r#""inside""#,
        "Packets leave from this network namespace. Needs the shipped systemd drop-in.",
    ),
    key(
        "mark",
        Kind::Whole { min: 1, max: u32::MAX as i64 },
        Words("no mark"),
        "42",
        "Firewall mark of its packets (`SO_MARK`), for policy routing.",
    ),
    key(
        "role",
        Kind::Word(ROLES),
        Value(r#""outside""#),
        r#""outside""#,
        "`inside` stands within the provider's network, behind its DDoS defence; `outside` comes as users do.",
    ),
    key(
        "transmit",
        Kind::Word(&["raw", "packet"]),
        Value(r#""raw""#),
        r#""raw""#,
        "How the watch's probes leave. `raw` lets the kernel route and filter them; `packet` hands frames to the device, which is a third faster and passes the host's own OUTPUT rules by. Worth it above some 50,000 probes a second.",
    ),
    key(
        "upstream",
        Kind::Text,
        Words("an upstream of its own"),
        r#""AS64500""#,
        "Vantages with the same upstream count as one when opinions are counted.",
    ),
    key(
        "labels",
        Kind::Labels,
        Value("{}"),
        r#"{ city = "Frankfurt" }"#,
        "Free labels for reports.",
    ),
    key(
        "resolvers",
        Kind::List(&Kind::Socket(Some(53))),
        Words("those of `[resolver]`"),
        r#"["192.0.2.53"]"#,
        "Name servers asked from this vantage.",
    ),
];

const CANARY: &[Key] = &[
    key("host", Kind::Host, Required, r#""198.51.100.80""#, "Host name or literal address."),
    key("port", Kind::Port, Required, "443", "TCP port; use the port your targets use if you can."),
];

const MAINTENANCE: &[Key] = &[
    key("name", Kind::Text, Required, r#""patch night""#, "Unique name."),
    key(
        "targets",
        Kind::List(&Kind::Text),
        Words("`targets` or `match` must be given"),
        r#"["fra-rdp-1"]"#,
        "Names of the targets concerned, besides those that `match` concerns.",
    ),
    key(
        "match",
        Kind::Matchers,
        Words("`targets` or `match` must be given"),
        r#"["site=fra"]"#,
        "Labels of the incidents concerned, as in `[[receiver]]`. They are still watched and counted; nobody is told that they begin. One that was told before is told to be over; one that is still there when the window closes is told then. An incident of several targets is concerned when each of them is.",
    ),
    key(
        "start",
        Kind::Moment,
        Words("`start` and `end`, or `from` and `to`, must be given"),
        "2026-01-31T22:00:00Z",
        "When it begins, for a window that is open once.",
    ),
    key(
        "end",
        Kind::Moment,
        Words("`start` and `end`, or `from` and `to`, must be given"),
        "2026-02-01T02:00:00Z",
        "When it ends.",
    ),
    key(
        "days",
        Kind::List(&Kind::Word(&crate::maintenance::DAYS)),
        Words("every day"),
        r#"["sat", "sun"]"#,
        "Days of the week on which it begins, for a window that opens again and again.",
    ),
    key(
        "from",
        Kind::Text,
        Words("`start` and `end`, or `from` and `to`, must be given"),
        r#""22:00""#,
        "The hour at which it begins.",
    ),
    key(
        "to",
        Kind::Text,
        Words("`start` and `end`, or `from` and `to`, must be given"),
        r#""02:00""#,
        "The hour at which it ends, on the next day if it is not after `from`.",
    ),
    key(
        "time_zone",
        Kind::Text,
        Words("`\"UTC\"`"),
        r#""Asia/Shanghai""#,
        "Whose clock counts for `from` and `to`: a name of the IANA list.",
    ),
];
