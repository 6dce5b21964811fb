//! The error queue of a socket: what the errno hides.
//!
//! ECONNREFUSED is a reset or an ICMP port unreachable, EHOSTUNREACH is one of five ICMP codes or
//! our own neighbour table; only the queue tells which, and from whom.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use reachd_core::evidence::{IcmpAnswer, IcmpKind, LocalError};

use crate::errno;
use crate::sys::message::{self, QueuedError};

/// One entry of an error queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// What the entry says.
    pub fault: Fault,
    /// Where the packet that failed was going.
    pub dest: Option<SocketAddr>,
    /// Bytes of the failed packet's payload in the reader's buffer.
    pub length: usize,
    /// Kernel stamp, nanoseconds of the wall clock, if stamps were asked for.
    pub stamp: Option<u64>,
}

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An ICMP error came in.
    Icmp(IcmpAnswer),
    /// Our own kernel gave up.
    Local(LocalError),
}

/// Takes the next entry off the queue, if there is one.
pub fn next(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Entry>> {
    match message::receive(socket, buffer, true) {
        Ok(received) => Ok(received.error.map(|error| Entry {
            fault: judge(&error, received.ttl),
            dest: received.peer,
            length: received.length,
            stamp: received.stamp,
        })),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a queued error says, taken at its word.
fn judge(error: &QueuedError, ttl: Option<u8>) -> Fault {
    let kind = match error.origin {
        libc::SO_EE_ORIGIN_ICMP => IcmpKind::from_v4(error.ty, error.code),
        libc::SO_EE_ORIGIN_ICMP6 => IcmpKind::from_v6(error.ty, error.code),
        _ => None,
    };
    match (kind, error.offender) {
        (Some(kind), Some(from)) => {
            Fault::Icmp(IcmpAnswer { from, kind, ty: error.ty, code: error.code, ttl })
        }
        _ => Fault::Local(errno::of_send(&io::Error::from_raw_os_error(error.errno))),
    }
}

/// What an ICMP error is evidence of: one that our own kernel wrote is a local fact.
///
/// An error from the destination itself is never ours, even if the destination is this machine.
pub fn attribute(answer: IcmpAnswer, dest: IpAddr, own: &[IpAddr]) -> Fault {
    if answer.from == dest || !own.contains(&answer.from) {
        return Fault::Icmp(answer);
    }
    Fault::Local(match answer.kind {
        // The neighbour did not answer.
        IcmpKind::HostUnreachable => LocalError::GatewaySilent,
        IcmpKind::NetUnreachable => LocalError::NoRoute,
        // A reject rule in our own OUTPUT chain.
        IcmpKind::PortUnreachable | IcmpKind::Prohibited => LocalError::Blocked,
        IcmpKind::TooBig | IcmpKind::TimeExceeded | IcmpKind::Other => LocalError::Other(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn answer(from: [u8; 4], kind: IcmpKind) -> IcmpAnswer {
        IcmpAnswer { from: IpAddr::from(from), kind, ty: 3, code: 1, ttl: None }
    }

    #[test]
    fn only_our_own_errors_are_local_facts() {
        let own = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::from([10, 0, 0, 1])];
        let dest = IpAddr::from([10, 0, 0, 9]);
        let ours = answer([10, 0, 0, 1], IcmpKind::HostUnreachable);
        let theirs = answer([10, 0, 0, 2], IcmpKind::HostUnreachable);
        assert_eq!(attribute(ours, dest, &own), Fault::Local(LocalError::GatewaySilent));
        assert_eq!(attribute(theirs, dest, &own), Fault::Icmp(theirs));
        assert_eq!(attribute(ours, ours.from, &own), Fault::Icmp(ours));
        let reject = answer([10, 0, 0, 1], IcmpKind::Prohibited);
        assert_eq!(attribute(reject, dest, &own), Fault::Local(LocalError::Blocked));
    }

    #[test]
    fn a_local_entry_keeps_its_errno() {
        let entry = |errno| {
            let origin = libc::SO_EE_ORIGIN_LOCAL;
            judge(&QueuedError { errno, origin, ty: 0, code: 0, offender: None }, None)
        };
        assert_eq!(entry(libc::EPROTO), Fault::Local(LocalError::Other(libc::EPROTO)));
        assert_eq!(entry(libc::EMSGSIZE), Fault::Local(LocalError::TooLarge));
    }
}
