//! `recvmsg` and `sendmsg` with their control messages: error queue, hop limit, time stamp.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use libc::{c_int, c_void};
use socket2::{SockAddr, SockAddrStorage};

use super::length_of;

/// Room for control messages: error, offender, hop limit and stamp need less than half of it.
pub(super) const CONTROL_LEN: usize = 256;

/// Storage for control messages, aligned as `cmsghdr` needs.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_LEN]);

/// One received datagram or queued error.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Received {
    /// Bytes written to the buffer.
    pub(crate) length: usize,
    /// The sender; of a queued error the destination that it was sent to.
    pub(crate) peer: Option<SocketAddr>,
    /// Received hop limit.
    pub(crate) ttl: Option<u8>,
    /// Receive stamp in nanoseconds of the wall clock.
    pub(crate) stamp: Option<u64>,
    /// The queued error, if this is one.
    pub(crate) error: Option<QueuedError>,
}

/// One entry of a socket's error queue (ip(7), `sock_extended_err`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueuedError {
    /// The errno the kernel made of it.
    pub(crate) errno: i32,
    /// `SO_EE_ORIGIN_*`.
    pub(crate) origin: u8,
    /// ICMP type.
    pub(crate) ty: u8,
    /// ICMP code.
    pub(crate) code: u8,
    /// Who sent the ICMP message.
    pub(crate) offender: Option<IpAddr>,
}

/// Receives without blocking; `errors` reads the error queue instead of the data.
pub(crate) fn receive(fd: impl AsFd, buffer: &mut [u8], errors: bool) -> io::Result<Received> {
    let mut control = Control([0; CONTROL_LEN]);
    let mut storage = SockAddrStorage::zeroed();
    let mut part =
        libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    // SAFETY: `msghdr` holds only integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut storage).cast::<c_void>();
    header.msg_namelen = length_of::<SockAddrStorage>();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast::<c_void>();
    header.msg_controllen = CONTROL_LEN;
    let queue = if errors { libc::MSG_ERRQUEUE } else { 0 };
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: every pointer in `header` points to live storage of the length given beside it.
    let length = unsafe { libc::recvmsg(fd, &raw mut header, libc::MSG_DONTWAIT | queue) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut received = Received { length, ..Received::default() };
    if header.msg_namelen > 0 {
        // SAFETY: the kernel wrote an address of `msg_namelen` bytes into `storage`.
        let address = unsafe { SockAddr::new(storage, header.msg_namelen) };
        received.peer = address.as_socket();
    }
    // SAFETY: `control` is what `header` points to, and the kernel has written it.
    unsafe {
        each_control(&header, |level, ty, data| read_one(level, ty, data, &mut received));
    }
    Ok(received)
}

/// Walks the control messages that the kernel wrote: level, type and data of each.
///
/// # Safety
///
/// `header.msg_control` points to live storage of at most [`CONTROL_LEN`] bytes, and a receiving
/// call has written `msg_controllen` bytes of control messages there.
pub(super) unsafe fn each_control(
    header: &libc::msghdr,
    mut read: impl FnMut(c_int, c_int, &[u8]),
) {
    // SAFETY: `header.msg_control` holds `msg_controllen` bytes written by the kernel.
    let mut message = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !message.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR only give headers that lie whole inside the
        // control bytes.
        let (head, data) = unsafe { (&*message, libc::CMSG_DATA(message)) };
        // SAFETY: CMSG_LEN only computes.
        let head_len = unsafe { libc::CMSG_LEN(0) } as usize;
        let length = head.cmsg_len.saturating_sub(head_len).min(CONTROL_LEN);
        // SAFETY: the kernel wrote `cmsg_len` bytes for this message, header included.
        let data = unsafe { std::slice::from_raw_parts(data, length) };
        read(head.cmsg_level, head.cmsg_type, data);
        // SAFETY: as for CMSG_FIRSTHDR.
        message = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
}

fn read_one(level: c_int, ty: c_int, data: &[u8], received: &mut Received) {
    match (level, ty) {
        (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
            let ttl = data.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
            received.ttl = ttl.and_then(|ttl| u8::try_from(ttl).ok());
        }
        (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => received.stamp = read_stamp(data),
        (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) => {
            received.error = read_error(data);
        }
        _ => {}
    }
}

/// Reads a `timespec` of two machine words.
pub(super) fn read_stamp(data: &[u8]) -> Option<u64> {
    let word = size_of::<libc::c_long>();
    let read = |at: usize| {
        let bytes = data.get(at..at + word)?;
        Some(libc::c_long::from_ne_bytes(bytes.try_into().ok()?))
    };
    let (seconds, nanos) = (u64::try_from(read(0)?).ok()?, u64::try_from(read(word)?).ok()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

/// Reads a `sock_extended_err` and the offender's address behind it.
fn read_error(data: &[u8]) -> Option<QueuedError> {
    let errno = u32::from_ne_bytes(*data.first_chunk()?);
    let fixed = size_of::<libc::sock_extended_err>();
    let offender = data.get(fixed..)?;
    Some(QueuedError {
        errno: i32::try_from(errno).ok()?,
        origin: *data.get(4)?,
        ty: *data.get(5)?,
        code: *data.get(6)?,
        offender: read_offender(offender),
    })
}

/// Reads the address of a `sockaddr_in` or `sockaddr_in6`.
fn read_offender(data: &[u8]) -> Option<IpAddr> {
    let family = u16::from_ne_bytes(*data.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let bytes: [u8; 4] = data.get(4..8)?.try_into().ok()?;
            Some(Ipv4Addr::from(bytes).into())
        }
        libc::AF_INET6 => {
            let bytes: [u8; 16] = data.get(8..24)?.try_into().ok()?;
            Some(IpAddr::from(Ipv6Addr::from(bytes)).to_canonical())
        }
        _ => None,
    }
}

/// Sends one datagram with this hop limit, without blocking.
pub(crate) fn send_with_ttl(
    fd: impl AsFd,
    bytes: &[u8],
    to: SocketAddr,
    ttl: u8,
) -> io::Result<()> {
    let address = SockAddr::from(to);
    let mut control = Control([0; CONTROL_LEN]);
    let mut part =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(), iov_len: bytes.len() };
    // SAFETY: `msghdr` holds only integers and pointers, for which zero is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = address.as_ptr().cast_mut().cast::<c_void>();
    header.msg_namelen = address.len();
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast::<c_void>();
    // SAFETY: CMSG_SPACE only computes.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(4) } as usize;
    let (level, ty) = match to {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_TTL),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT),
    };
    // SAFETY: `control` is zeroed, aligned for `cmsghdr` and longer than `msg_controllen`, which
    // has room for one message of four bytes; so CMSG_FIRSTHDR is not null and its data writable.
    unsafe {
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        (*message).cmsg_level = level;
        (*message).cmsg_type = ty;
        (*message).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(message).cast::<c_int>().write_unaligned(ttl.into());
    }
    let fd = fd.as_fd().as_raw_fd();
    // SAFETY: every pointer in `header` points to live storage of the length given beside it; the
    // kernel only reads it.
    let sent = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
