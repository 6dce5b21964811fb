//! The few kernel calls that neither std nor socket2 wraps, each behind a safe function.
#![expect(unsafe_code, reason = "these kernel calls have no safe wrapper in std or socket2")]

pub(crate) mod batch;
pub(crate) mod catch;
pub(crate) mod message;
pub(crate) mod ring;
#[cfg(test)]
pub(crate) mod tun;

use std::ffi::CString;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};

/// Turns a libc result into an `io::Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The length of a `T` as the socket calls want it.
fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}

/// Sets a socket option whose value is the C struct `T`.
fn set_option<T: Copy>(fd: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is a live, initialised `T` and the length passed is that of `T`; the kernel
    // only reads it.
    let result = unsafe {
        let value = std::ptr::from_ref(value).cast::<c_void>();
        libc::setsockopt(fd.as_raw_fd(), level, name, value, length_of::<T>())
    };
    check(result).map(drop)
}

/// Sets an integer socket option.
pub(crate) fn set_int(fd: impl AsFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    set_option(fd.as_fd(), level, name, &value)
}

/// Moves the calling thread, and only it, into the network namespace behind `fd`.
pub(crate) fn enter_network_namespace(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: setns takes no memory of ours; the descriptor is open while borrowed.
    let result = unsafe { libc::setns(fd.as_fd().as_raw_fd(), libc::CLONE_NEWNET) };
    check(result).map(drop)
}

/// The index of an interface in the caller's network namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: `name` is a NUL-terminated string that lives over the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 { Err(io::Error::last_os_error()) } else { Ok(index) }
}

/// Dissolves a datagram socket's association, so that the next connect chooses a source anew.
pub(crate) fn disconnect(fd: impl AsFd) -> io::Result<()> {
    let family = libc::sa_family_t::try_from(libc::AF_UNSPEC).unwrap_or_default();
    let address = libc::sockaddr { sa_family: family, sa_data: [0; 14] };
    // SAFETY: `address` is a whole `sockaddr` and the length passed is its own.
    let result = unsafe {
        libc::connect(fd.as_fd().as_raw_fd(), &raw const address, length_of::<libc::sockaddr>())
    };
    check(result).map(drop)
}

/// Packets that a socket has dropped since it was made, counted in 32 bits.
pub(crate) fn socket_drops(fd: impl AsFd) -> io::Result<u32> {
    /// `SK_MEMINFO_DROPS` and `SK_MEMINFO_VARS` of `linux/sock_diag.h`.
    const DROPS_AT: usize = 8;
    const WORDS: usize = 9;
    let mut words = [0_u32; WORDS];
    let mut length = length_of::<[u32; WORDS]>();
    // SAFETY: `words` and `length` are live and writable, and `length` says how long `words` is.
    let result = unsafe {
        let words = words.as_mut_ptr().cast::<c_void>();
        let fd = fd.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_MEMINFO, words, &raw mut length)
    };
    check(result)?;
    Ok(words[DROPS_AT])
}

/// Lets only these ICMPv6 types into a raw socket (RFC 3542 section 3.2).
pub(crate) fn pass_icmp_v6(fd: impl AsFd, types: &[u8]) -> io::Result<()> {
    /// `ICMPV6_FILTER` of `linux/icmpv6.h`.
    const ICMP6_FILTER: c_int = 1;
    // A bit that is set blocks its type.
    let mut blocked = [u32::MAX; 8];
    for ty in types {
        blocked[usize::from(ty >> 5)] &= !(1 << (ty & 31));
    }
    set_option(fd.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &blocked)
}

/// What the kernel measured of an established connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TcpInfo {
    /// Smoothed round-trip time; of a fresh connection that of the handshake.
    pub(crate) rtt: Duration,
    /// Retransmissions over the connection's life.
    pub(crate) retransmits: u32,
}

/// Reads `TCP_INFO`.
pub(crate) fn tcp_info(fd: impl AsFd) -> io::Result<TcpInfo> {
    // SAFETY: `tcp_info` holds only integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = length_of::<libc::tcp_info>();
    // SAFETY: `info` and `length` are live and writable, and `length` says how long `info` is; an
    // older kernel writes less, which leaves zeros.
    let result = unsafe {
        let info = (&raw mut info).cast::<c_void>();
        let fd = fd.as_fd().as_raw_fd();
        libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info, &raw mut length)
    };
    check(result)?;
    Ok(TcpInfo {
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        retransmits: info.tcpi_total_retrans,
    })
}

/// A new event counter, non-blocking.
pub(crate) fn event_counter() -> io::Result<OwnedFd> {
    // SAFETY: eventfd takes no memory of ours.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// One descriptor to wait for.
pub(crate) struct Interest<'a> {
    /// The descriptor.
    pub(crate) fd: BorrowedFd<'a>,
    /// `POLLIN` and the like.
    pub(crate) events: i16,
}

/// Waits until a descriptor is ready or the time is over; gives what is ready, in order.
///
/// A signal ends the wait early with nothing ready.
pub(crate) fn wait(
    interests: &[Interest<'_>],
    timeout: Option<Duration>,
    ready: &mut Vec<i16>,
) -> io::Result<()> {
    let mut fds: Vec<libc::pollfd> = interests
        .iter()
        .map(|one| libc::pollfd { fd: one.fd.as_raw_fd(), events: one.events, revents: 0 })
        .collect();
    let timeout = timeout.map(timespec);
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = libc::nfds_t::try_from(fds.len()).unwrap_or_default();
    // SAFETY: `fds` has `count` entries, `timeout` is null or points to a live timespec, and a
    // null signal mask leaves the mask alone.
    let result = unsafe { libc::ppoll(fds.as_mut_ptr(), count, timeout, std::ptr::null()) };
    ready.clear();
    match check(result) {
        Ok(_) => ready.extend(fds.iter().map(|fd| fd.revents)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            ready.resize(fds.len(), 0);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn timespec(duration: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: libc::time_t::try_from(duration.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// The IP level and the protocol family's own names of common options.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FamilyOptions {
    level: c_int,
    recverr: c_int,
    recvttl: c_int,
    ttl: c_int,
    mtu_discover: c_int,
}

impl FamilyOptions {
    /// The options of the address's family.
    pub(crate) const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self {
                level: libc::IPPROTO_IP,
                recverr: libc::IP_RECVERR,
                recvttl: libc::IP_RECVTTL,
                ttl: libc::IP_TTL,
                mtu_discover: libc::IP_MTU_DISCOVER,
            },
            IpAddr::V6(_) => Self {
                level: libc::IPPROTO_IPV6,
                recverr: libc::IPV6_RECVERR,
                recvttl: libc::IPV6_RECVHOPLIMIT,
                ttl: libc::IPV6_UNICAST_HOPS,
                mtu_discover: libc::IPV6_MTU_DISCOVER,
            },
        }
    }

    /// Queues ICMP errors with all their details (ip(7), `IP_RECVERR`).
    pub(crate) fn queue_errors(self, fd: impl AsFd) -> io::Result<()> {
        set_int(fd, self.level, self.recverr, 1)
    }

    /// Tells the hop limit of what is received.
    pub(crate) fn tell_ttl(self, fd: impl AsFd) -> io::Result<()> {
        set_int(fd, self.level, self.recvttl, 1)
    }

    /// Sends every size that the link takes, whole, whatever the kernel believes of the path: once
    /// a router said "too big" it would else refuse such packets itself for ten minutes.
    pub(crate) fn probe_sizes(self, fd: impl AsFd) -> io::Result<()> {
        // `IPV6_PMTUDISC_PROBE` has the same value.
        set_int(fd, self.level, self.mtu_discover, libc::IP_PMTUDISC_PROBE)
    }

    /// Sets the hop limit of what is sent.
    pub(crate) fn set_ttl(self, fd: impl AsFd, ttl: u8) -> io::Result<()> {
        set_int(fd, self.level, self.ttl, ttl.into())
    }
}
