//! Which source address the kernel would use toward a destination.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::time::Instant;
use socket2::{SockAddr, Socket, Type};

use super::place::{FAMILIES, Place};
use crate::errno;
use crate::sys;

/// How long an answer is believed where the kernel's news are not heard.
const BELIEVED_FOR: Duration = Duration::from_secs(10);

/// Destinations remembered at most; beyond that the old ones are forgotten together.
const REMEMBERED_MAX: usize = 262_144;

/// Any port will do: a datagram socket's connect sends nothing.
const SOME_PORT: u16 = 9;

/// Asks the kernel's routing by connecting datagram sockets, and remembers what it said.
#[derive(Debug)]
pub struct SourceCache {
    asker: SourceAsker,
    known: HashMap<IpAddr, (Instant, Result<IpAddr, LocalError>)>,
    epoch: u32,
}

impl SourceCache {
    /// Makes the asking sockets; the caller is in the place's namespace.
    pub(super) fn open_inside(place: &Place) -> io::Result<Self> {
        Ok(Self { asker: SourceAsker::open_inside(place)?, known: HashMap::new(), epoch: 0 })
    }

    /// The source address toward a destination, or the local fact that forbids one.
    pub fn toward(&mut self, dest: IpAddr, now: Instant) -> Result<IpAddr, LocalError> {
        if let Some((at, answer)) = self.known.get(&dest)
            && now.since(*at) < BELIEVED_FOR
        {
            return *answer;
        }
        let answer = self.asker.ask(dest);
        if self.known.len() >= REMEMBERED_MAX {
            self.known.clear();
        }
        self.known.insert(dest, (now, answer));
        answer
    }

    /// Forgets everything if it is of another epoch: addresses or routes changed since, and a probe
    /// that leaves with an address we no longer own draws no answer.
    pub(super) fn keep_up(&mut self, epoch: u32) {
        if std::mem::replace(&mut self.epoch, epoch) != epoch {
            self.known.clear();
        }
    }

    /// Forgets what was said of one destination, because sending there failed.
    pub(super) fn forget_one(&mut self, dest: IpAddr) {
        self.known.remove(&dest);
    }
}

/// Asks the kernel's routing by connecting datagram sockets, anew each time.
#[derive(Debug)]
pub(crate) struct SourceAsker {
    place: Place,
    sockets: Vec<Socket>,
}

impl SourceAsker {
    /// Makes the asking sockets; the caller is in the place's namespace.
    pub(crate) fn open_inside(place: &Place) -> io::Result<Self> {
        let mut sockets = Vec::new();
        for family in FAMILIES {
            match place.socket_inside(family, Type::DGRAM, None) {
                Ok(socket) => {
                    if place.serves(family) {
                        place.bind_source(&socket)?;
                    }
                    sockets.push(socket);
                }
                // A kernel without IPv6: only that family fails.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { place: place.clone(), sockets })
    }

    /// The source address toward a destination, or the local fact that forbids one.
    pub(crate) fn ask(&self, dest: IpAddr) -> Result<IpAddr, LocalError> {
        if !self.place.serves(dest) {
            return Err(LocalError::NoRoute);
        }
        let index = usize::from(dest.is_ipv6());
        let socket = self.sockets.get(index).ok_or(LocalError::NoRoute)?;
        ask_socket(&self.place, socket, dest).map_err(|error| errno::of_route(&error))
    }
}

fn ask_socket(place: &Place, socket: &Socket, dest: IpAddr) -> io::Result<IpAddr> {
    // Otherwise the address chosen last time would stay. It unties the device, too.
    sys::disconnect(socket)?;
    place.bind_device(socket)?;
    socket.connect(&SockAddr::from(SocketAddr::new(dest, SOME_PORT)))?;
    let local = socket.local_addr()?.as_socket();
    local.map(|local| local.ip()).ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
}
