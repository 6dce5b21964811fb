//! A TUN or TAP device whose other end is a file.
#![expect(unsafe_code, reason = "making the device and waiting for it have no safe wrapper in std")]

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_lab::{Node, in_namespace};

/// What travels through a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Packets from the IP header on.
    Tun,
    /// Ethernet frames.
    Tap,
}

/// Makes a device in a node; reading and writing never block.
pub(super) fn open(node: &Node, name: &str, kind: Kind) -> Result<File> {
    in_namespace(node, || open_here(name, kind))?
        .with_context(|| format!("make {kind:?} {name} in {node}"))
}

fn open_here(name: &str, kind: Kind) -> io::Result<File> {
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
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(file) }
}

/// Waits until one of two descriptors can be read, and says for each whether it can.
pub(super) fn wait(fds: [BorrowedFd<'_>; 2], timeout: Option<Duration>) -> io::Result<[bool; 2]> {
    let mut polled =
        fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // A started millisecond counts whole, or a short wait would become a busy loop.
    let timeout = timeout
        .map_or(-1, |wait| i32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX));
    // SAFETY: the pointer and the length describe `polled`, which outlives the call.
    let result = unsafe { libc::poll(polled.as_mut_ptr(), 2, timeout) };
    if result < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok([false; 2])
        } else {
            Err(error)
        };
    }
    Ok(polled.map(|entry| entry.revents != 0))
}
