//! Packets with the kernel's own times: of arrival, and of departure by the error queue.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use libc::{c_int, c_void};

/// One message with what the kernel says about it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Stamped {
    /// Bytes written to the buffer.
    pub(crate) length: usize,
    /// Wall-clock time the kernel noted, if it did.
    pub(crate) at: Option<Duration>,
    /// Number of the packet sent on this socket, counted from zero, for stamps of departure.
    pub(crate) number: Option<u32>,
    /// Whether this namespace sent the packet itself; packet sockets say.
    pub(crate) is_outgoing: bool,
}

/// The value of `SO_TIMESTAMPING` that stamps departures, numbered and without the packet, and
/// arrivals, both in software.
pub(crate) const fn send_flags() -> u32 {
    libc::SOF_TIMESTAMPING_TX_SOFTWARE
        | libc::SOF_TIMESTAMPING_RX_SOFTWARE
        | libc::SOF_TIMESTAMPING_SOFTWARE
        | libc::SOF_TIMESTAMPING_OPT_ID
        | libc::SOF_TIMESTAMPING_OPT_TSONLY
}

/// Takes one message and its stamps, without waiting; `None` if none is there.
///
/// `flags` may be `MSG_ERRQUEUE` for the stamps of departures.
pub(crate) fn receive_stamped(
    fd: &impl AsRawFd,
    buffer: &mut [u8],
    flags: c_int,
) -> io::Result<Option<Stamped>> {
    let mut control = Control([0; 256]);
    // SAFETY: `sockaddr_ll` is plain data, for which zero is valid.
    let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` holds integers and pointers, for which zero and null are valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = super::length_of::<libc::sockaddr_ll>();
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len();
    // SAFETY: the header points at live buffers with their true lengths.
    let result =
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, flags | libc::MSG_DONTWAIT) };
    let Ok(length) = usize::try_from(result) else {
        return match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            error => Err(error),
        };
    };
    let mut stamped = Stamped {
        length,
        is_outgoing: c_int::from(from.sll_family) == libc::AF_PACKET
            && from.sll_pkttype == libc::PACKET_OUTGOING,
        ..Stamped::default()
    };
    read_control(&header, &mut stamped);
    Ok(Some(stamped))
}

fn read_control(header: &libc::msghdr, stamped: &mut Stamped) {
    // SAFETY: `header` is what recvmsg has just filled, and its control buffer is still live.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !next.is_null() {
        // SAFETY: the macros give either null or a header that lies whole in the buffer, which is
        // aligned for it.
        let (kind, data) = unsafe {
            (((*next).cmsg_level, (*next).cmsg_type), libc::CMSG_DATA(next).cast::<c_void>())
        };
        match kind {
            (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING | libc::SCM_TIMESTAMPNS) => {
                // SAFETY: both messages begin with one timespec, that of the software stamp; the
                // read asks for no alignment.
                let time = unsafe { data.cast::<libc::timespec>().read_unaligned() };
                stamped.at = wall(time);
            }
            (libc::SOL_IP, libc::IP_RECVERR) => {
                // SAFETY: the message begins with a sock_extended_err, as ip(7) says.
                let error = unsafe { data.cast::<libc::sock_extended_err>().read_unaligned() };
                if error.ee_origin == ORIGIN_TIMESTAMPING {
                    stamped.number = Some(error.ee_data);
                }
            }
            // A message nobody asked for.
            (_, _) => {}
        }
        // SAFETY: as for the first one.
        next = unsafe { libc::CMSG_NXTHDR(header, next) };
    }
}

fn wall(time: libc::timespec) -> Option<Duration> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok()?;
    (seconds > 0 || nanos > 0).then(|| Duration::new(seconds, nanos))
}

/// Control data is a chain of `cmsghdr`, which wants the alignment of a word.
#[repr(align(8))]
struct Control([u8; 256]);

/// `SO_EE_ORIGIN_TIMESTAMPING` of linux/errqueue.h.
const ORIGIN_TIMESTAMPING: u8 = 4;
