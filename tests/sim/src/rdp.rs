//! RDP servers of the virtual Internet, and looks at them: real bytes through the real engine.

use std::time::Duration;

use reachd_core::evidence::rdp::RdpLook;
use reachd_core::evidence::{ConnectResult, LocalError};
use reachd_core::monitor::RdpOrder;
use reachd_core::probe::exchange::Ending;
use reachd_core::probe::rdp::{HandshakeError, Look, Step};
use reachd_core::time::Instant;
use reachd_core::wire::packet::{Body, Checksums, Packet};

use crate::connect::{Answered, REQUESTS, SYNS, behind, read};
use crate::host::Speaks;
use crate::random::Random;
use crate::world::{LocalFault, World};

/// The wall clock when virtual time begins: the certificates of the captures are valid then.
const EPOCH: Duration = Duration::from_secs(1_800_000_000);
/// First flights of real servers, with a certificate that is valid and one that has expired.
const FLIGHT: &[u8] = include_bytes!("../../captures/rdp/tls/xrdp_tls12.bin");
const EXPIRED: &[u8] = include_bytes!("../../captures/rdp/tls/xrdp_expired_v1.bin");

/// The first byte of a ClientHello: a record of the handshake.
const HELLO: u8 = 22;

/// What a server says to a segment.
pub(crate) enum Said {
    Nothing,
    Closes,
    Resets,
    Words(Vec<u8>),
}

/// X.224 Connection Confirm with `RDP_NEG_RSP` or `RDP_NEG_FAILURE`: MS-RDPBCGR 2.2.1.2.
fn confirm(kind: u8, value: u32) -> Said {
    let mut words = vec![3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, kind, 0, 8, 0];
    words.extend(value.to_le_bytes());
    Said::Words(words)
}

/// The protocols that a connection request offers.
fn offered(request: &[u8]) -> u32 {
    request.last_chunk().map_or(0, |bits| u32::from_le_bytes(*bits))
}

/// What a server says that demands NLA: a protocol with CredSSP, or failure 5.
fn demand_nla(request: &[u8]) -> Said {
    match offered(request) {
        offered if offered & 8 != 0 => confirm(2, 8),
        offered if offered & 2 != 0 => confirm(2, 2),
        _ => confirm(3, 5),
    }
}

impl Speaks {
    /// What is said on this port to these bytes.
    pub(crate) fn says(&self, port: u16, heard: &[u8]) -> Said {
        let is_hello = heard.first() == Some(&HELLO);
        match self {
            Self::Nothing => Said::Nothing,
            Self::Closes { reset: true } => Said::Resets,
            Self::Closes { reset: false } => Said::Closes,
            Self::Refuses(code) => confirm(3, *code),
            Self::PlainOnly => match offered(heard) {
                0 => confirm(2, 0),
                _ => confirm(3, 2),
            },
            Self::Foreign(_) => Said::Words(b"HTTP/1.0 400 Bad Request\r\n\r\n".to_vec()),
            Self::TlsDies { reset: true } if is_hello => Said::Resets,
            Self::TlsDies { reset: false } if is_hello => Said::Closes,
            Self::Expired if is_hello => Said::Words(EXPIRED.to_vec()),
            Self::Expected | Self::Late(_) if port == 22 => {
                Said::Words(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())
            }
            Self::Expected | Self::Late(_) if is_hello => Said::Words(FLIGHT.to_vec()),
            Self::Expected | Self::Late(_) | Self::TlsDies { .. } | Self::Expired => {
                demand_nla(heard)
            }
        }
    }
}

impl World {
    /// Makes one look; gives how long it took.
    pub fn look(&mut self, now: Instant, from: &str, order: &RdpOrder) -> (Duration, RdpLook) {
        let mut look = Look::new(order.depth, order.server_name.as_deref(), order.random);
        let mut at = now;
        // Looks draw from a stream of their own: what happens to all else does not depend on them.
        let others = self.random.clone();
        self.random = Random::new(now.as_nanos() ^ others.clone().next());
        while look.next_attempt(at).is_some() {
            at = self.attempt(at, from, (order, &mut look), now + order.limit);
        }
        self.random = others;
        (at.since(now), look.finish())
    }

    /// Makes one connection of a look; gives when it ended.
    fn attempt(
        &mut self,
        now: Instant,
        from: &str,
        (order, look): (&RdpOrder, &mut Look),
        end: Instant,
    ) -> Instant {
        let fault = self.places.get(from).map_or(LocalFault::None, |place| place.fault);
        if let Some(error) = fault.refuses(order.to.ip(), Some(order.to.port())) {
            look.handle_not_connected(ConnectResult::Local(error));
            return now;
        }
        let mute = matches!(fault, LocalFault::Swallows | LocalFault::EatsAnswers);
        let answered = self.first_answer(now, from, &SYNS, |world| world.dial(from, order.to));
        let answered = answered.filter(|it| !mute && it.at() <= order.connect_timeout);
        let answered_at = answered.as_ref().map_or(order.connect_timeout, Answered::at);
        if now + answered_at > end {
            look.handle_interrupted(end);
            return end;
        }
        let Some(answered) = answered else {
            look.handle_not_connected(ConnectResult::TimedOut);
            return now + order.connect_timeout;
        };
        let result = read(&answered.first.bytes).unwrap_or(ConnectResult::TimedOut);
        if result != ConnectResult::Connected {
            look.handle_not_connected(result);
            return now + answered.at();
        }
        let accepted = answered.first.bytes.clone();
        let mut at = now + answered.at();
        let mut step = look.handle_connected(at, Some(answered.first.after));
        loop {
            let segment = match &step {
                Step::Part => return at,
                Step::Send(bytes) => match behind(&accepted, bytes) {
                    Some((request, _)) => Some(request),
                    None => {
                        look.handle_not_connected(ConnectResult::Local(LocalError::Other(0)));
                        return at;
                    }
                },
                Step::Handshake => behind(&accepted, &[HELLO]).map(|(hello, _)| hello),
                Step::Listen => None,
            };
            let heard = segment.and_then(|segment| self.say(at, (from, order), &segment));
            at = at + heard.as_ref().map_or(order.stage_timeout, Answered::at);
            if at > end {
                look.handle_interrupted(end);
                return end;
            }
            let bytes = heard.as_ref().map(|heard| &heard.first.bytes[..]);
            step = match step {
                // No server here completes a handshake, and who ends a hello ends any.
                Step::Handshake => {
                    let error = came(bytes)
                        .map_or_else(HandshakeError::Ended, |_| HandshakeError::Unsupported);
                    look.handle_handshake(at, Err(error))
                }
                _ => hear(look, at, bytes),
            };
        }
    }
}

impl World {
    /// Sends a segment of a look's conversation; gives what came back in time.
    fn say(
        &mut self,
        now: Instant,
        (from, order): (&str, &RdpOrder),
        segment: &[u8],
    ) -> Option<Answered> {
        self.talking = true;
        let heard = self.first_answer(now, from, &REQUESTS, |_| Some(segment.to_vec()));
        self.talking = false;
        heard.filter(|heard| heard.at() <= order.stage_timeout)
    }
}

/// Hands what came back to the engine.
fn hear(look: &mut Look, at: Instant, bytes: Option<&[u8]>) -> Step {
    match came(bytes) {
        Ok(payload) => look.handle_bytes(at, EPOCH + at.since_start(), &payload),
        Err(ending) => {
            look.handle_end(at, ending);
            Step::Part
        }
    }
}

/// What a packet says, or how it ends the connection.
fn came(bytes: Option<&[u8]>) -> Result<Vec<u8>, Ending> {
    let packet = bytes.and_then(|bytes| Packet::parse(bytes, Checksums::Verify).ok());
    match packet.map(|packet| packet.body) {
        Some(Body::Tcp(segment)) if segment.flags.rst() => Err(Ending::Reset),
        Some(Body::Tcp(segment)) if segment.flags.fin() => Err(Ending::Closed),
        Some(Body::Tcp(segment)) if !segment.payload.is_empty() => Ok(segment.payload.to_vec()),
        _ => Err(Ending::TimedOut),
    }
}
