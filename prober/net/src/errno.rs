//! What an errno of our own kernel means as evidence.

use std::io;

use reachd_core::evidence::LocalError;

/// What the errno of sending a packet means.
pub fn of_send(error: &io::Error) -> LocalError {
    match error.raw_os_error() {
        // A drop in our own OUTPUT chain; EACCES is a `prohibit` route or a broadcast address.
        Some(libc::EPERM | libc::EACCES) => LocalError::Blocked,
        Some(libc::EHOSTUNREACH | libc::EHOSTDOWN) => LocalError::GatewaySilent,
        _ => of_any(error),
    }
}

/// What the errno of asking for a route means: there, EHOSTUNREACH is an `unreachable` route.
pub fn of_route(error: &io::Error) -> LocalError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => LocalError::Blocked,
        // EINVAL is what the kernel says for a `blackhole` route.
        Some(libc::EHOSTUNREACH | libc::EINVAL | libc::EAFNOSUPPORT) => LocalError::NoRoute,
        _ => of_any(error),
    }
}

/// What the errno of opening a socket means.
pub fn of_open(error: &io::Error) -> LocalError {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => LocalError::NoPrivilege,
        _ => of_any(error),
    }
}

/// What an errno means whoever gave it.
fn of_any(error: &io::Error) -> LocalError {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::ENETDOWN) => LocalError::NoRoute,
        Some(libc::EADDRNOTAVAIL | libc::ENODEV | libc::ENXIO | libc::ENOENT) => {
            LocalError::VantageGone
        }
        Some(libc::EMSGSIZE) => LocalError::TooLarge,
        Some(
            libc::ENOBUFS
            | libc::EAGAIN
            | libc::ENOMEM
            | libc::EMFILE
            | libc::ENFILE
            | libc::EADDRINUSE,
        ) => LocalError::Exhausted,
        Some(code) => LocalError::Other(code),
        None => LocalError::Other(0),
    }
}
