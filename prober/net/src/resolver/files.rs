//! `/etc/hosts` and `resolv.conf`, or what a namespace has in their place.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::PathBuf;

/// Read at most; a hosts file may be long, but not endless.
const LENGTH_MAX: u64 = 4 * 1_024 * 1_024;
/// Name servers taken, as many as the C library takes.
const SERVERS_MAX: usize = 3;
const DNS_PORT: u16 = 53;

/// The name servers of `resolv.conf`; the local one if it names none (resolv.conf(5)).
pub(super) fn name_servers(namespace: Option<&str>) -> Vec<SocketAddr> {
    let servers = read_servers(&read(namespace, "resolv.conf"));
    if servers.is_empty() { vec![SocketAddr::from(([127, 0, 0, 1], DNS_PORT))] } else { servers }
}

/// The addresses that the hosts file gives a name.
pub(super) fn hosts(namespace: Option<&str>, name: &str) -> Vec<IpAddr> {
    find_host(&read(namespace, "hosts"), name)
}

/// Reads `/etc/netns/NAME/FILE` if it is there, else `/etc/FILE`.
fn read(namespace: Option<&str>, file: &str) -> String {
    let own = namespace.map(|name| PathBuf::from("/etc/netns").join(name).join(file));
    let system = PathBuf::from("/etc").join(file);
    let opened = own.and_then(|path| File::open(path).ok()).or_else(|| File::open(system).ok());
    let mut bytes = Vec::new();
    if let Some(opened) = opened {
        // What could be read before an error still counts.
        let _ = opened.take(LENGTH_MAX).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_servers(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "nameserver").then_some(())?;
        read_server(words.next()?)
    });
    servers.take(SERVERS_MAX).collect()
}

/// An address, for IPv6 link-local ones with `%INTERFACE`.
fn read_server(word: &str) -> Option<SocketAddr> {
    let Some((address, scope)) = word.split_once('%') else {
        return Some(SocketAddr::new(word.parse().ok()?, DNS_PORT));
    };
    let address: Ipv6Addr = address.parse().ok()?;
    let index = scope.parse().ok().or_else(|| crate::sys::interface_index(scope).ok())?;
    Some(SocketAddrV6::new(address, DNS_PORT, 0, index).into())
}

fn find_host(text: &str, wanted: &str) -> Vec<IpAddr> {
    let wanted = wanted.trim_end_matches('.');
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(wanted)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_c_library_does() {
        let text = "# c\nnameserver 10.0.0.1\n nameserver\t2001:db8::1 # x\nsearch a\nnameserver \
                    bad\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let servers: Vec<_> = read_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[2001:db8::1]:53", "10.0.0.2:53"]);
    }

    #[test]
    fn hosts_are_found_by_any_of_their_names() {
        let text = "127.0.0.1 localhost\n10.0.0.1 a.example A # b\n::1 a\n# 10.0.0.2 a\n";
        assert_eq!(find_host(text, "a").len(), 2);
        assert_eq!(find_host(text, "A.example."), [IpAddr::from([10, 0, 0, 1])]);
        assert!(find_host(text, "b").is_empty());
    }
}
