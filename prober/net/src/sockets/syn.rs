//! SYN probes as connects that are given up at once.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use reachd_core::evidence::{Answer, LocalError, TcpAnswer};
use reachd_core::monitor::{Flight, SendOrder};
use reachd_core::plan::VERDICT_TIMER;
use reachd_core::time::{Instant, Stamp, StampSource};
use socket2::{Protocol, SockAddr, Socket, Type};

use super::Fate;
use crate::clock::Clock;
use crate::errno;
use crate::errqueue::{self, Fault};
use crate::sys::{self, FamilyOptions, Interest};
use crate::vantage::Place;

/// Connects in flight at most.
const IN_FLIGHT_MAX: usize = 256;

/// What a socket cannot tell of an answer.
const UNSEEN: TcpAnswer = TcpAnswer { ttl: None, window: None, ip_id: None };

/// One connect in flight.
#[derive(Debug)]
struct Syn {
    socket: Socket,
    flight: Flight,
    to: IpAddr,
    sent: Instant,
}

/// All connects in flight of one vantage.
#[derive(Debug, Default)]
pub(super) struct Syns {
    flying: Vec<Syn>,
}

impl Syns {
    pub(super) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let interest = |syn| Interest { fd: Syn::fd(syn), events: libc::POLLOUT };
        self.flying.iter().map(interest)
    }

    pub(super) fn send(
        &mut self,
        order: &SendOrder,
        port: u16,
        place: &Place,
        clock: &Clock,
    ) -> Result<(), LocalError> {
        if self.flying.len() >= IN_FLIGHT_MAX {
            return Err(LocalError::Exhausted);
        }
        let socket = open(order, place).map_err(|error| errno::of_open(&error))?;
        let sent = clock.now();
        match socket.connect(&SockAddr::from(SocketAddr::new(order.to, port))) {
            Ok(()) => {}
            // A refusal at once is left to `read`, which finds it as the socket's end.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINPROGRESS)) => {}
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                return Err(LocalError::Exhausted);
            }
            Err(error) => return Err(errno::of_route(&error)),
        }
        self.flying.push(Syn { socket, flight: order.flight, to: order.to, sent });
        Ok(())
    }

    pub(super) fn read(&mut self, clock: &Clock, fates: &mut Vec<(Fate, IpAddr)>) {
        if self.flying.is_empty() {
            return;
        }
        let interests: Vec<_> = self.interests().collect();
        let mut ready = Vec::new();
        if sys::wait(&interests, Some(Duration::ZERO), &mut ready).is_err() {
            return;
        }
        let now = clock.now();
        let mut ready = ready.into_iter();
        self.flying.retain(|syn| {
            if ready.next().unwrap_or(0) == 0 {
                return now.since(syn.sent) < VERDICT_TIMER;
            }
            fates.extend(syn.end(now).map(|fate| (fate, syn.to)));
            false
        });
    }
}

impl Syn {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// How the connect ended; `None` for the kernel's own timeout, which is silence.
    fn end(&self, now: Instant) -> Option<Fate> {
        let mut sent = Some(Stamp { at: self.sent, source: StampSource::User });
        let mut at = Stamp { at: now, source: StampSource::User };
        let answer = match self.socket.take_error() {
            Ok(None) => {
                if let Ok(info) = sys::tcp_info(&self.socket) {
                    if info.retransmits > 0 {
                        // Which of the SYNs was answered is not known.
                        sent = None;
                    } else {
                        at = Stamp { at: self.sent + info.rtt, source: StampSource::Kernel };
                    }
                }
                Answer::SynAck(UNSEEN)
            }
            Ok(Some(error)) | Err(error) => match self.explain(&error)? {
                Ok(answer) => answer,
                Err(error) => return Some(Fate::Failed { flight: self.flight, error }),
            },
        };
        Some(Fate::Answered { flight: self.flight, sent, answer, at })
    }

    fn explain(&self, error: &io::Error) -> Option<Result<Answer, LocalError>> {
        let mut quote = [0; 128];
        if let Ok(Some(entry)) = errqueue::next(&self.socket, &mut quote) {
            return Some(match entry.fault {
                Fault::Icmp(icmp) => Ok(Answer::Icmp(icmp)),
                Fault::Local(error) => Err(error),
            });
        }
        match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ECONNRESET) => Some(Ok(Answer::Reset(UNSEEN))),
            Some(libc::ETIMEDOUT) => None,
            _ => Some(Err(errno::of_route(error))),
        }
    }
}

/// A socket whose close resets, so that no connection lingers on either side.
fn open(order: &SendOrder, place: &Place) -> io::Result<Socket> {
    let socket = place.socket(order.to, Type::STREAM, Some(Protocol::TCP))?;
    let options = FamilyOptions::of(order.to);
    options.queue_errors(&socket)?;
    options.set_ttl(&socket, order.ttl)?;
    sys::set_int(&socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, 1)?;
    socket.set_linger(Some(Duration::ZERO))?;
    place.bind_source(&socket)?;
    Ok(socket)
}
