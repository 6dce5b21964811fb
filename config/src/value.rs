//! Texts that mean something: durations, addresses, hosts, labels, sizes, networks, URLs.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::node::quote;
use crate::problem::Fault;
use crate::settings::{Matcher, Network, Relation};

/// Labels that reachd sets itself.
pub(crate) const RESERVED_LABELS: [&str; 9] =
    ["target", "host", "port", "service", "group", "class", "vantage", "alertname", "severity"];

/// `300ms`, `10s`, `5m`, `2h`, `14d`, and sums from large to small such as `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, Fault> {
    let wrong = || {
        Fault::new(
            format!("{} is not a duration", quote(text)),
            "write a whole number and a unit: \"300ms\", \"10s\", \"5m\", \"2h\"",
        )
    };
    let mut total = Duration::ZERO;
    let mut last = u64::MAX;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let unit = unit_milliseconds(unit).filter(|unit| *unit < last).ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let part = Duration::from_millis(number.checked_mul(unit).ok_or_else(wrong)?);
        total = total.checked_add(part).ok_or_else(wrong)?;
        (last, rest) = (unit, tail);
    }
    if text.is_empty() { Err(wrong()) } else { Ok(total) }
}

fn unit_milliseconds(unit: &str) -> Option<u64> {
    match unit {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    }
}

/// The duration in the way the file spells it.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    match units.into_iter().find(|(_, size)| millis >= *size && millis.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", millis / size),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// Bytes: `500MB`, `1GiB`, or digits alone.
pub(crate) fn size(text: &str) -> Result<u64, Fault> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim_start() {
        "" | "B" => Some(1),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
    bytes.ok_or_else(|| {
        let hint = "write a number of bytes, or one with a unit: \"500MB\", \"1GiB\"";
        Fault::new(format!("{} is not a size", quote(text)), hint)
    })
}

/// A host: a literal unicast address or a name.
pub(crate) fn host(text: &str) -> Result<(), Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return unicast(address).map(|_| ());
    }
    host_name(text)
}

/// An address a single host can have.
pub(crate) fn unicast(address: IpAddr) -> Result<IpAddr, Fault> {
    let refuse = |what: &str| {
        let hint = "give the address of one host";
        Err(Fault::new(format!("{address} is {what}"), hint))
    };
    match address {
        _ if address.is_multicast() => refuse("a multicast address"),
        _ if address.is_unspecified() => refuse("no address of a host"),
        IpAddr::V4(v4) if v4.is_broadcast() => refuse("the broadcast address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => {
            refuse("not routed: 0.0.0.0/8 means \"this host\"")
        }
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Err(Fault::new(
            format!("{address} is an IPv4 address in IPv6 form"),
            format!("write {}", address.to_canonical()),
        )),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Err(Fault::new(
            format!("{address} is link-local and means nothing without an interface"),
            "give the host's global or unique local address",
        )),
        IpAddr::V4(_) | IpAddr::V6(_) => Ok(address),
    }
}

/// RFC 1123 2.1 and RFC 1035 2.3.4: labels of letters, digits and inner hyphens, 63 and 253 long.
/// Underscores are let through, for such names exist in the wild.
fn host_name(text: &str) -> Result<(), Fault> {
    let wrong = |reason: &str, hint: &str| {
        Err(Fault::new(format!("{} is no host name: {reason}", quote(text)), hint))
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let mut labels = name.split('.');
    if name.is_empty() {
        wrong("it is empty", "write a name or an address")
    } else if text.contains("://") {
        wrong("it is a URL", "write only the host; the port goes to `port`")
    } else if text.starts_with('[') {
        wrong("it has brackets", "write an IPv6 address without brackets; the port goes to `port`")
    } else if text.contains('%') {
        wrong("it has a zone", "give the host's global or unique local address")
    } else if text.contains(':') {
        let hint = match split_port(text) {
            Ok((host, Some(port))) => format!("write host = \"{host}\" and port = {port}"),
            Ok(_) | Err(_) => "the port goes to `port`".to_owned(),
        };
        wrong("it contains `:`", &hint)
    } else if text.contains('/') {
        wrong("it contains `/`", "networks cannot be targets; list each host")
    } else if !name.is_ascii() {
        wrong("it has letters beyond ASCII", "write the name in its xn-- form")
    } else if name.len() > 253 {
        wrong("it is longer than 253 letters", "")
    } else if labels.clone().next_back().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())) {
        wrong("its last part is a number", "an IPv4 address has four parts of 0 to 255")
    } else if !labels.all(is_host_label) {
        let hint = "parts between dots have 1 to 63 letters, digits or inner hyphens";
        wrong("one of its parts is not allowed", hint)
    } else {
        Ok(())
    }
}

fn is_host_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Splits `host`, `host:port`, `[addr]:port` and a bare IPv6 address.
pub(crate) fn split_port(text: &str) -> Result<(&str, Option<u16>), Fault> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, tail)) if tail.starts_with(':') => (host, tail.get(1..)),
            Some(_) | None => {
                let hint = "write [addr]:port, for example [2001:db8::1]:3389";
                return Err(Fault::new(format!("{} is no address", quote(text)), hint));
            }
        }
    } else if text.parse::<IpAddr>().is_ok() {
        (text, None)
    } else {
        text.rsplit_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    Ok((host, port.map(port_text).transpose()?))
}

fn port_text(text: &str) -> Result<u16, Fault> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| not_a_port(&quote(text))).and_then(port)
}

/// A TCP port.
pub(crate) fn port(number: i64) -> Result<u16, Fault> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => Err(not_a_port(&number.to_string())),
    }
}

pub(crate) fn not_a_port(shown: &str) -> Fault {
    Fault::new(format!("{shown} is not a port"), "use 1 to 65535 (RDP listens on 3389)")
}

/// An IP address.
pub(crate) fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| {
        let hint = "write one such as \"192.0.2.1\" or \"2001:db8::1\"";
        Fault::new(format!("{} is not an IP address", quote(text)), hint)
    })
}

/// An address with a port; where the port has a default it may be left out.
pub(crate) fn socket(text: &str, default: Option<u16>) -> Result<SocketAddr, Fault> {
    let wrong = || {
        let hint = match default {
            None => "write address:port, for example \"127.0.0.1:9639\" or \"[::1]:9639\"",
            Some(_) => "write an address, for example \"192.0.2.53\" or \"[2001:db8::53]:53\"",
        };
        Fault::new(format!("{} is not an address with a port", quote(text)), hint)
    };
    let (host, port) = split_port(text)?;
    let address: IpAddr = host.parse().map_err(|_| wrong())?;
    let port = port.or(default).ok_or_else(wrong)?;
    Ok(SocketAddr::new(address, port))
}

/// `192.0.2.0/24`, or one address.
pub(crate) fn network(text: &str) -> Result<Network, Fault> {
    let wrong = || {
        let hint = "write one such as \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.1\"";
        Fault::new(format!("{} is not a network", quote(text)), hint)
    };
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = match prefix {
        None => longest,
        Some(text) => text.parse().ok().filter(|_| digits(text)).ok_or_else(wrong)?,
    };
    if prefix > longest {
        return Err(wrong());
    }
    let first = first_address(address, prefix);
    if first != address {
        let hint = format!("write \"{first}/{prefix}\"");
        let reason = format!("{} has bits set behind its prefix", quote(text));
        return Err(Fault::new(reason, hint));
    }
    Ok(Network { address, prefix })
}

fn first_address(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// A name that is safe as a label value, in a path and on a command line.
pub(crate) fn name(text: &str) -> Result<(), Fault> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    let hint = "use 1 to 63 letters, digits, `_`, `-` or `.`";
    Err(Fault::new(format!("{} is not a usable name", quote(text)), hint))
}

/// The name of a label that an owner may set.
pub(crate) fn label(text: &str) -> Result<(), Fault> {
    label_syntax(text)?;
    if RESERVED_LABELS.contains(&text) || text.starts_with("__") {
        let reason = format!("label `{text}` is reserved");
        return Err(Fault::new(
            reason,
            format!("choose another name, such as `my_{}`", text.trim_start_matches('_')),
        ));
    }
    Ok(())
}

/// The Prometheus data model: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub(crate) fn label_syntax(text: &str) -> Result<(), Fault> {
    let head = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let good = text.bytes().next().is_some_and(head)
        && text.bytes().all(|byte| head(byte) || byte.is_ascii_digit());
    if good {
        return Ok(());
    }
    let hint = "start with a letter, then letters, digits and `_`";
    Err(Fault::new(format!("{} is not a label name", quote(text)), hint))
}

/// `k=v` or `k!=v`; the value may stand in double quotes.
pub(crate) fn matcher(text: &str) -> Result<Matcher, Fault> {
    if text.contains("=~") || text.contains("!~") {
        let reason = format!("{} is a regular expression, which is not supported yet", quote(text));
        return Err(Fault::new(reason, "compare with `label=value` or `label!=value`"));
    }
    let Some((left, value)) = text.split_once('=') else {
        let hint = "write \"label=value\" or \"label!=value\"";
        return Err(Fault::new(format!("{} is not a matcher", quote(text)), hint));
    };
    let (label, relation) = match left.strip_suffix('!') {
        Some(label) => (label.trim(), Relation::IsNot),
        None => (left.trim(), Relation::Is),
    };
    label_syntax(label)?;
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    Ok(Matcher { label: label.to_owned(), relation, value: quoted.unwrap_or(value).to_owned() })
}

/// A URL with one of the schemes. The text is never repeated: it may hold a token.
pub(crate) fn url(text: &str, schemes: &[&str]) -> Result<(), Fault> {
    let wrong = |reason: &str| {
        let hint = format!(
            "write one such as \"{}://alerts.example/hook\"",
            schemes.first().unwrap_or(&"https")
        );
        Err(Fault::new(reason, hint))
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("this is not a URL");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    if !schemes.contains(&scheme.to_ascii_lowercase().as_str()) {
        wrong(&format!("a URL with the scheme {} cannot be used", quote(scheme)))
    } else if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        wrong("the URL contains a space or a control character")
    } else if split_port(host).and_then(|(host, _)| self::host(host)).is_err() {
        wrong("the URL has no valid host")
    } else {
        Ok(())
    }
}

/// An RFC 3339 time with its zone.
pub(crate) fn moment(text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|_| {
        let hint = "write date, time and zone: 2026-01-31T22:00:00Z or 2026-01-31T22:00:00+08:00";
        Fault::new(format!("{} is not a time with a zone", quote(text)), hint)
    })
}
