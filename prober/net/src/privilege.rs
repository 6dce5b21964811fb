//! What we are allowed to do, found out by trying.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// What worked when it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent right")]
pub struct Privileges {
    /// Raw sockets (`CAP_NET_RAW`).
    pub raw: bool,
    /// Packet sockets and so the capture ring (`CAP_NET_RAW`).
    pub packet: bool,
    /// IPv4 ping sockets (`net.ipv4.ping_group_range`).
    pub ping_v4: bool,
    /// IPv6 ping sockets (the same range; false without IPv6).
    pub ping_v6: bool,
    /// Firewall marks (`CAP_NET_ADMIN`; `CAP_NET_RAW` since Linux 5.17).
    pub mark: bool,
    /// Receive buffers beyond the limit (`CAP_NET_ADMIN`).
    pub net_admin: bool,
    /// Entering network namespaces (`CAP_SYS_ADMIN`).
    pub sys_admin: bool,
}

/// Tries everything once; nothing is sent and nothing stays open.
pub fn probe_privileges() -> Privileges {
    let raw = Protocol::from(libc::IPPROTO_RAW);
    Privileges {
        raw: opens(Domain::IPV4, Type::RAW, Some(raw)),
        packet: opens(Domain::PACKET, Type::DGRAM, None),
        ping_v4: opens(Domain::IPV4, Type::DGRAM, Some(Protocol::ICMPV4)),
        ping_v6: opens(Domain::IPV6, Type::DGRAM, Some(Protocol::ICMPV6)),
        mark: with_udp(|socket| socket.set_mark(1).is_ok()),
        net_admin: with_udp(may_force_buffers),
        sys_admin: may_enter_namespaces(),
    }
}

/// Whether an address of ours answers an echo by a ping or raw socket, as a proof of working ICMP.
pub async fn loopback_answers(v6: bool) -> bool {
    let to: IpAddr = if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
    let limit = std::time::Duration::from_secs(1);
    let echo = crate::oneshot::oneshot_echo(to, None, limit).await;
    matches!(echo, Ok(crate::oneshot::Echo::Answered { .. }))
}

fn opens(domain: Domain, ty: Type, protocol: Option<Protocol>) -> bool {
    Socket::new(domain, ty, protocol).is_ok()
}

fn with_udp(test: impl FnOnce(&Socket) -> bool) -> bool {
    Socket::new(Domain::IPV4, Type::DGRAM, None).is_ok_and(|socket| test(&socket))
}

fn may_force_buffers(socket: &Socket) -> bool {
    sys::set_int(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 65_536).is_ok()
}

/// Enters the namespace that we are in already, on a thread of its own.
fn may_enter_namespaces() -> bool {
    let Ok(own) = std::fs::File::open("/proc/thread-self/ns/net") else { return false };
    let thread = std::thread::spawn(move || sys::enter_network_namespace(&own).is_ok());
    thread.join().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{in_namespace, run, runtime};

    #[test]
    fn root_of_a_namespace_has_every_right_in_it() {
        if !in_namespace("privilege::tests::root_of_a_namespace_has_every_right_in_it") {
            return;
        }
        run("echo '0 0' > /proc/sys/net/ipv4/ping_group_range");
        let found = probe_privileges();
        let ping = found.ping_v4 && found.ping_v6;
        assert!(found.raw && found.packet && ping && found.mark && found.sys_admin, "{found:?}");
        let runtime = runtime();
        assert!(runtime.block_on(loopback_answers(false)));
        assert!(runtime.block_on(loopback_answers(true)));
    }
}
