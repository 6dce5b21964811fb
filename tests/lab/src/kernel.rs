//! The few system calls that std does not wrap, each behind a safe function.

#![allow(
    unsafe_code,
    reason = "namespaces, packet sockets and parent-death signals have no safe wrapper in std"
)]

use std::fs::File;
use std::io;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use crate::tun::Kind;

/// What a packet socket says about where a packet was going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Travel {
    /// It arrived from a wire.
    Incoming,
    /// This namespace sent it.
    Outgoing,
}

/// Moves the calling thread into the network namespace that `file` stands for.
pub(crate) fn enter_net_namespace(file: &File) -> io::Result<()> {
    // SAFETY: setns takes a descriptor that `file` keeps open, and touches no memory of ours.
    check(unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Arranges that the kernel kills the child when the thread that spawns it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    let arm = move || {
        // SAFETY: prctl(PR_SET_PDEATHSIG) takes a plain integer.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // SAFETY: getppid has no arguments and cannot fail.
        let now = unsafe { libc::getppid() };
        if u32::try_from(now) == Ok(parent) {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(libc::ESRCH))
        }
    };
    // SAFETY: the closure makes two async-signal-safe calls and allocates nothing.
    unsafe { command.pre_exec(arm) };
}

/// Makes a TUN or TAP device in the namespace of the calling thread.
pub(crate) fn tunnel(name: &str, kind: Kind) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
    let file = options.open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data for which all zeroes is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = libc::IFNAMSIZ - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    let kind = match kind {
        Kind::Tun => libc::IFF_TUN,
        Kind::Tap => libc::IFF_TAP,
    };
    request.ifr_ifru.ifru_flags = (kind | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the descriptor is open, and the request outlives the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    Ok(file)
}

/// Waits until one of the descriptors can be read, and says for each whether it can.
///
/// No timeout means to wait for ever.
pub(crate) fn wait_readable<const N: usize>(
    descriptors: [BorrowedFd<'_>; N],
    timeout: Option<Duration>,
) -> io::Result<[bool; N]> {
    let mut polled = descriptors.map(|descriptor| libc::pollfd {
        fd: descriptor.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    let timeout_ms = match timeout {
        None => -1,
        // A started millisecond counts whole, or a short wait would become a busy loop.
        Some(wait) => i32::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
    };
    // SAFETY: the pointer and the length describe `polled`, which outlives the call.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), N as libc::nfds_t, timeout_ms) };
    match check(result) {
        Ok(_) => Ok(polled.map(|entry| entry.revents != 0)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok([false; N]),
        Err(error) => Err(error),
    }
}

/// Sets the length of the accept queue of a socket that already listens.
pub(crate) fn set_backlog(listener: &TcpListener, backlog: u16) -> io::Result<()> {
    // SAFETY: listen takes a descriptor that `listener` keeps open, and an integer.
    check(unsafe { libc::listen(listener.as_raw_fd(), i32::from(backlog)) }).map(drop)
}

/// Arranges that closing the connection sends a reset, whatever was read or not.
pub(crate) fn reset_on_close(stream: &TcpStream) -> io::Result<()> {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: the descriptor is open, and the value lives for the call with its true length.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// Kills every process of a group.
pub(crate) fn kill_group(group: u32) -> io::Result<()> {
    signal_group(group, libc::SIGKILL)
}

/// Says whether a process of the group is left; a dead one counts until it is reaped.
pub(crate) fn group_exists(group: u32) -> bool {
    signal_group(group, 0).is_ok()
}

fn signal_group(group: u32, signal: i32) -> io::Result<()> {
    let group = i32::try_from(group).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: kill takes two integers.
    check(unsafe { libc::kill(-group, signal) }).map(drop)
}

/// Opens a packet socket that sees every packet of this namespace from the IP header on.
pub(crate) fn packet_socket() -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    open(
        libc::AF_PACKET,
        libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        i32::from(protocol),
    )
}

/// Opens a socket that sends packets whose IP header the caller wrote.
pub(crate) fn raw_socket(target: IpAddr) -> io::Result<OwnedFd> {
    let family = match target {
        IpAddr::V4(_) => libc::AF_INET,
        IpAddr::V6(_) => libc::AF_INET6,
    };
    open(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::IPPROTO_RAW)
}

/// Takes the next packet off a packet socket, or `None` when none waits.
pub(crate) fn receive_packet(
    socket: &OwnedFd,
    buffer: &mut [u8],
) -> io::Result<Option<(usize, Travel)>> {
    // SAFETY: sockaddr_ll is plain data for which all zeroes is valid.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut from_len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: both buffers are live for the call and their true lengths are passed.
    let result = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            0,
            (&raw mut from).cast(),
            &raw mut from_len,
        )
    };
    match usize::try_from(result) {
        Ok(length) if from.sll_pkttype == libc::PACKET_OUTGOING => {
            Ok(Some((length, Travel::Outgoing)))
        }
        Ok(length) => Ok(Some((length, Travel::Incoming))),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        },
    }
}

/// Sends a packet that carries its own IP header.
pub(crate) fn send_raw(socket: &OwnedFd, packet: &[u8], target: IpAddr) -> io::Result<()> {
    match target {
        IpAddr::V4(target) => {
            // SAFETY: sockaddr_in is plain data for which all zeroes is valid.
            let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            to.sin_family = libc::AF_INET as libc::sa_family_t;
            to.sin_addr.s_addr = u32::from_ne_bytes(target.octets());
            send_to(socket, packet, &to)
        }
        IpAddr::V6(target) => {
            // SAFETY: sockaddr_in6 is plain data for which all zeroes is valid.
            let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
            to.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            to.sin6_addr.s6_addr = target.octets();
            send_to(socket, packet, &to)
        }
    }
}

fn send_to<A>(socket: &OwnedFd, packet: &[u8], to: &A) -> io::Result<()> {
    // SAFETY: the packet and the address are live for the call and their true lengths are passed.
    let result = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            std::ptr::from_ref(to).cast(),
            size_of::<A>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: socket takes integers only.
    let descriptor = check(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: the kernel has just given us this descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
