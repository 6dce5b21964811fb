//! `/probe`: one target on demand, for scrape configurations written for `blackbox_exporter`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use axum::http::HeaderMap;
use reachd_core::report::TargetReport;

use crate::prometheus::{Format, Kind, Series, finish, header};

/// The header Prometheus tells its scrape timeout in.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// What is taken off the scrape timeout for the way back.
const MARGIN: f64 = 0.5;

/// The deadline when nobody says otherwise.
const DEFAULT_DEADLINE: f64 = 9.5;

/// Bounds of the deadline, whatever the header says.
const DEADLINE_RANGE: std::ops::RangeInclusive<f64> = 0.1..=120.0;

/// How many causes are told.
const TOP_CAUSES: usize = 5;

/// What is asked of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// Echo.
    Icmp,
    /// A TCP connection.
    TcpConnect,
    /// An RDP connection request.
    Rdp,
    /// An SSH greeting.
    SshBanner,
    /// Everything, as a target of the plan.
    Full,
}

impl Module {
    /// Every module.
    pub const ALL: [Self; 5] =
        [Self::Icmp, Self::TcpConnect, Self::Rdp, Self::SshBanner, Self::Full];

    /// The name in the query.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Icmp => "icmp",
            Self::TcpConnect => "tcp_connect",
            Self::Rdp => "rdp",
            Self::SshBanner => "ssh_banner",
            Self::Full => "full",
        }
    }

    /// The port when the target names none; `None` where one must be named or none is used.
    pub const fn default_port(self) -> Option<u16> {
        match self {
            Self::Rdp | Self::Full => Some(reachd_core::target::DEFAULT_PORT),
            Self::SshBanner => Some(22),
            Self::Icmp | Self::TcpConnect => None,
        }
    }
}

/// A host, and a port if one is named or implied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTarget {
    /// Host name or literal address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: Option<u16>,
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRequest {
    /// Whom to probe.
    pub target: ProbeTarget,
    /// What to ask.
    pub module: Module,
    /// How long it may take; the client hears of a failure after that.
    pub deadline: Duration,
}

/// A probe's result.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeAnswer {
    /// Whether what the module asks was answered.
    pub success: bool,
    /// How long the probe took.
    pub duration: Duration,
    /// The verdict behind it.
    pub report: TargetReport,
}

/// The daemon's answer to a [`ProbeRequest`].
#[derive(Debug, Clone, PartialEq)]
pub enum ProbeReply {
    /// Probed, or answered from the current state.
    Answered(Box<ProbeAnswer>),
    /// Not a target of the plan, and `[probe_api] allow` does not cover its address.
    NotAllowed,
    /// We could not probe at all.
    Failed(String),
}

/// What to configure, for who is refused.
pub(super) fn not_allowed(target: &str) -> String {
    format!(
        "{target} is no target of the plan, and probing it on demand is not allowed.\n\
         Add it as a [[target]], or its network to the configuration:\n\n\
         [probe_api]\nallow = [\"192.0.2.0/24\"]"
    )
}

/// Reads a request from the query and the headers.
pub(super) fn read(
    parameters: &BTreeMap<String, String>,
    headers: &HeaderMap,
) -> Result<ProbeRequest, String> {
    let names = Module::ALL.map(Module::as_str).join(", ");
    let module = match parameters.get("module").map(String::as_str) {
        None | Some("") => return Err(format!("name a module: module={names}")),
        Some(name) => Module::ALL
            .into_iter()
            .find(|module| module.as_str() == name)
            .ok_or_else(|| format!("unknown module; there are {names}"))?,
    };
    let text = parameters.get("target").filter(|target| !target.is_empty());
    let text = text.ok_or("name a target: target=host, host:port or [v6]:port")?;
    let mut target = parse_target(text).ok_or("bad target: host, host:port or [v6]:port")?;
    target.port = match module {
        Module::Icmp => None,
        Module::TcpConnect | Module::Rdp | Module::SshBanner | Module::Full => {
            let port = target.port.or(module.default_port());
            Some(port.ok_or("module tcp_connect wants a port: target=host:port")?)
        }
    };
    let deadline = match headers.get(TIMEOUT_HEADER) {
        None => DEFAULT_DEADLINE,
        Some(value) => {
            let seconds = value.to_str().ok().and_then(|value| value.trim().parse::<f64>().ok());
            let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
            seconds.ok_or(format!("bad header {TIMEOUT_HEADER}: seconds are expected"))? - MARGIN
        }
    };
    let deadline = deadline.clamp(*DEADLINE_RANGE.start(), *DEADLINE_RANGE.end());
    Ok(ProbeRequest { target, module, deadline: Duration::from_secs_f64(deadline) })
}

/// Reads `host`, `host:port`, `v6`, `[v6]` or `[v6]:port`.
fn parse_target(text: &str) -> Option<ProbeTarget> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let host = host.parse::<Ipv6Addr>().ok()?.to_string();
        return match rest.strip_prefix(':') {
            None if rest.is_empty() => Some(ProbeTarget { host, port: None }),
            None => None,
            Some(digits) => Some(ProbeTarget { host, port: Some(port(digits)?) }),
        };
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(ProbeTarget { host: address.to_string(), port: None });
    }
    let (host, port) = match text.split_once(':') {
        None => (text, None),
        Some((host, digits)) => (host, Some(port(digits)?)),
    };
    // Letters, digits and hyphens (RFC 1123 2.1), and the underscores that names have all the same.
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let whole = (1..=253).contains(&host.len()) && host.bytes().all(valid);
    whole.then(|| ProbeTarget { host: host.to_owned(), port })
}

/// Writes the result; without an answer the deadline passed.
pub(super) fn page(
    answer: Option<&ProbeAnswer>,
    deadline: Duration,
    format: Format,
    debug: bool,
) -> Vec<u8> {
    let mut out = Vec::new();
    let gauge = |out: &mut Vec<u8>, name: &'static str, help: &str| {
        header(out, format, name, Kind::Gauge, help);
    };
    let success = answer.is_some_and(|answer| answer.success);
    gauge(&mut out, "probe_success", "Whether the probe succeeded.");
    Series::new(&mut out, "probe_success").count(u64::from(success));
    gauge(&mut out, "probe_duration_seconds", "How long the probe took.");
    let duration = answer.map_or(deadline, |answer| answer.duration).as_secs_f64();
    Series::new(&mut out, "probe_duration_seconds").value(duration);
    let verdict = answer.map(|answer| &answer.report.verdict);
    let class = verdict.map_or("unknown", |verdict| &verdict.class);
    gauge(&mut out, "reachd_probe_class", "1 for the class of the probed target.");
    Series::new(&mut out, "reachd_probe_class").label("class", class).count(1);
    if let Some(verdict) = verdict {
        gauge(&mut out, "reachd_probe_confidence", "Probability of the class, 0 to 1.");
        Series::new(&mut out, "reachd_probe_confidence").value(verdict.confidence);
        let name = "reachd_probe_cause_probability";
        for (index, cause) in verdict.causes.iter().take(TOP_CAUSES).enumerate() {
            if index == 0 {
                gauge(&mut out, name, "Probability of each of the likeliest causes.");
            }
            Series::new(&mut out, name).label("cause", &cause.cause).value(cause.probability);
        }
    }
    finish(&mut out, format);
    if let (true, Some(answer)) = (debug, answer) {
        out.extend_from_slice(b"\n# The verdict behind it:\n");
        out.extend(serde_json::to_vec_pretty(&answer.report).unwrap_or_default());
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn targets_are_read_and_nonsense_is_refused() {
        let table = [
            ("host", Some(("host", None))),
            ("win-1.example.com:3390", Some(("win-1.example.com", Some(3390)))),
            ("192.0.2.1", Some(("192.0.2.1", None))),
            ("192.0.2.1:22", Some(("192.0.2.1", Some(22)))),
            ("2001:db8::1", Some(("2001:db8::1", None))),
            ("[2001:DB8::1]", Some(("2001:db8::1", None))),
            ("[2001:db8::1]:22", Some(("2001:db8::1", Some(22)))),
            ("[2001:db8::1]22", None),
            ("[host]:22", None),
            ("host:0", None),
            ("host:65536", None),
            ("host:", None),
            (":22", None),
            ("http://host/", None),
            ("a b", None),
            ("", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(host, port)| ProbeTarget { host: host.to_owned(), port });
            assert_eq!(parse_target(text), expected, "{text}");
        }
        assert!(parse_target(&"a".repeat(254)).is_none());
    }

    fn check(pairs: &[(&str, &str)], timeout: Option<&str>) -> Result<ProbeRequest, String> {
        let mut headers = HeaderMap::new();
        if let Some(timeout) = timeout {
            headers.insert(TIMEOUT_HEADER, timeout.parse().unwrap());
        }
        read(&fixture::labels(pairs), &headers)
    }

    #[test]
    fn the_deadline_is_the_scrapes_less_half_a_second() {
        let pairs = [("target", "host"), ("module", "rdp")];
        let deadline = |timeout| check(&pairs, timeout).map(|request| request.deadline);
        assert_eq!(deadline(None), Ok(Duration::from_millis(9500)));
        assert_eq!(deadline(Some("15")), Ok(Duration::from_millis(14_500)));
        assert_eq!(deadline(Some("0.2")), Ok(Duration::from_millis(100)));
        assert_eq!(deadline(Some("1e9")), Ok(Duration::from_secs(120)));
        for bad in ["", "soon", "-1", "NaN", "inf"] {
            assert!(deadline(Some(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn modules_are_named_and_ports_implied() {
        let port = |module, target| {
            check(&[("module", module), ("target", target)], None)
                .map(|request| request.target.port)
        };
        assert_eq!(port("rdp", "h"), Ok(Some(3389)));
        assert_eq!(port("full", "h:1"), Ok(Some(1)));
        assert_eq!(port("ssh_banner", "h"), Ok(Some(22)));
        assert_eq!(port("icmp", "h:1"), Ok(None));
        assert!(port("tcp_connect", "h").is_err());
        for wrong in ["http_2xx", ""] {
            assert!(port(wrong, "h").unwrap_err().contains("icmp, tcp_connect, rdp, ssh_banner"));
        }
        assert!(check(&[("target", "h")], None).is_err());
        assert!(check(&[("module", "rdp")], None).is_err());
    }

    #[test]
    fn the_result_is_lint_clean_with_and_without_an_answer() {
        let answer = ProbeAnswer {
            success: false,
            duration: Duration::from_millis(1500),
            report: fixture::report(),
        };
        let text = |answer, debug| {
            let page = page(answer, Duration::from_secs(9), Format::Text, debug);
            String::from_utf8(page).unwrap()
        };
        let full = text(Some(&answer), false);
        assert!(full.contains("probe_success 0\n"));
        assert!(full.contains("probe_duration_seconds 1.5\n"));
        assert!(full.contains("reachd_probe_class{class=\"blackhole\"} 1\n"));
        assert!(full.contains("reachd_probe_cause_probability{cause=\"ddos_blackhole\"} 0.5\n"));
        assert!(text(Some(&answer), true).contains("\"next_evidence\""));
        let late = text(None, false);
        assert!(late.contains("probe_duration_seconds 9\n"));
        assert!(late.contains("reachd_probe_class{class=\"unknown\"} 1\n"));
        fixture::lint(&full);
        fixture::lint(&late);
    }
}
