//! The kernel calls that neither std nor socket2 wraps, each behind a safe function.
#![expect(unsafe_code, reason = "these kernel calls have no safe wrapper in std or socket2")]

mod batch;
mod stamp;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use libc::{c_int, c_void, socklen_t};

pub(crate) use batch::{Destination, Inbox, Outbox};
pub(crate) use stamp::{receive_stamped, send_flags};

/// Processor time of this process, or of its children that were waited for, and the largest
/// resident size.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Seconds in user space.
    pub(crate) user: f64,
    /// Seconds in the kernel.
    pub(crate) system: f64,
    /// Largest resident size, in bytes.
    pub(crate) rss_peak: u64,
}

/// Whose usage is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Who {
    /// This process, all its threads.
    Ourselves,
    /// The children that were waited for.
    Children,
}

/// Reads the processor time used so far.
pub(crate) fn usage(who: Who) -> io::Result<Usage> {
    let who = match who {
        Who::Ourselves => libc::RUSAGE_SELF,
        Who::Children => libc::RUSAGE_CHILDREN,
    };
    // SAFETY: `rusage` holds only integers, for which zero is valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is live and writable over the call.
    check(unsafe { libc::getrusage(who, &raw mut usage) })?;
    Ok(Usage {
        user: seconds(usage.ru_utime),
        system: seconds(usage.ru_stime),
        rss_peak: u64::try_from(usage.ru_maxrss).unwrap_or_default() * 1_024,
    })
}

/// Asks to be scheduled before the machine's other work; refused without privilege.
pub(crate) fn prefer() -> io::Result<()> {
    // SAFETY: setpriority takes integers only; 0 stands for the calling process.
    check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) }).map(drop)
}

/// Arranges that the kernel kills the child when the thread that spawns it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let arm = || {
        // SAFETY: prctl(PR_SET_PDEATHSIG) takes a plain integer.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
    };
    // SAFETY: the closure makes one async-signal-safe call and allocates nothing.
    unsafe { command.pre_exec(arm) };
}

/// Says whether this process is the machine's root, not merely that of a user namespace.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Sets a socket option whose value is the C struct `T`.
pub(crate) fn set_option<T: Copy>(
    fd: &impl AsRawFd,
    level: c_int,
    name: c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is a live, initialised `T` and the length passed is that of `T`; the kernel
    // only reads it.
    let result = unsafe {
        let value = std::ptr::from_ref(value).cast::<c_void>();
        libc::setsockopt(fd.as_raw_fd(), level, name, value, length_of::<T>())
    };
    check(result).map(drop)
}

/// Gives a socket room for a burst of replies; gives the size reached, in bytes.
///
/// Only the machine's root may go beyond `rmem_max`.
pub(crate) fn widen(socket: &socket2::Socket, bytes: c_int) -> io::Result<usize> {
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes).is_err() {
        socket.set_recv_buffer_size(usize::try_from(bytes).unwrap_or_default())?;
    }
    socket.recv_buffer_size()
}

/// Waits until something can be read; gives whether it can.
pub(crate) fn wait_readable(fd: &impl AsRawFd, timeout: Duration) -> io::Result<bool> {
    let mut polled = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `polled` and `timeout` are live; a null signal mask leaves the mask alone.
    let result = unsafe { libc::ppoll(&raw mut polled, 1, &raw const timeout, std::ptr::null()) };
    Ok(check(result)? > 0)
}

/// The index of an interface in the caller's network namespace.
pub(crate) fn interface_index(name: &str) -> io::Result<c_int> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: `name` is a NUL-terminated string that lives over the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => c_int::try_from(index).map_err(io::Error::other),
    }
}

/// Binds a packet socket to everything that passes one interface, both ways.
pub(crate) fn bind_packet(socket: &socket2::Socket, interface: &str) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain data, for which zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    address.sll_ifindex = interface_index(interface)?;
    // SAFETY: `address` is live and the length passed is its own.
    check(unsafe {
        let length = length_of::<libc::sockaddr_ll>();
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length)
    })
    .map(drop)
}

/// Makes a TUN device whose packets are read from and written to the file given.
pub(crate) fn open_tun(name: &str) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: `ifreq` is plain data, for which zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (slot, byte) in request.ifr_name.iter_mut().take(room).zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
    // SAFETY: TUNSETIFF reads and writes one `ifreq`, which is live.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    // SAFETY: fcntl with F_SETFL takes integers only.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok(file)
}

/// Turns a libc result into an `io::Result`.
fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The length of a `T` as the socket calls want it.
fn length_of<T>() -> socklen_t {
    socklen_t::try_from(size_of::<T>()).unwrap_or(socklen_t::MAX)
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

/// Well before ordinary work, well behind the kernel's own threads.
const NICE: c_int = -15;
