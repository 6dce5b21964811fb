//! One echo, by surge-ping: for `doctor`, and as an independent witness in tests.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

/// What became of one echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// It came back.
    Answered {
        /// Round-trip time as user space saw it.
        rtt: Duration,
        /// Received hop limit; surge-ping tells it for IPv4 raw sockets only.
        ttl: Option<u8>,
    },
    /// Somebody sent an ICMP error in its place; only raw sockets hear of it.
    Error {
        /// ICMP type.
        ty: u8,
        /// ICMP code.
        code: u8,
    },
    /// Nothing came in time.
    Silent,
}

/// Sends one echo, from `source` if given, and waits for its answer.
///
/// # Errors
///
/// When no ICMP socket may be opened or the kernel refuses to send.
pub async fn oneshot_echo(to: IpAddr, source: Option<IpAddr>, limit: Duration) -> io::Result<Echo> {
    let kind = if to.is_ipv4() { ICMP::V4 } else { ICMP::V6 };
    let mut config = Config::builder().kind(kind);
    if let Some(source) = source {
        config = config.bind(SocketAddr::new(source, 0));
    }
    let client = Client::new(&config.build())?;
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    let [id_high, id_low, seq_high, seq_low] = bytes;
    let id = PingIdentifier(u16::from_be_bytes([id_high, id_low]));
    let sequence = PingSequence(u16::from_be_bytes([seq_high, seq_low]));
    let mut pinger = client.pinger(to, id).await;
    pinger.timeout(limit);
    match pinger.ping(sequence, &[0x72; 24]).await {
        Ok((packet, rtt)) => Ok(read(&packet, rtt)),
        Err(SurgeError::Timeout { .. }) => Ok(Echo::Silent),
        Err(SurgeError::IOError(error)) => Err(error),
        Err(other) => Err(io::Error::other(other)),
    }
}

fn read(packet: &IcmpPacket, rtt: Duration) -> Echo {
    match packet {
        IcmpPacket::V4(packet) => match packet.get_icmp_type().0 {
            0 => Echo::Answered { rtt, ttl: packet.get_ttl() },
            ty => Echo::Error { ty, code: packet.get_icmp_code().0 },
        },
        IcmpPacket::V6(packet) => match packet.get_icmpv6_type().0 {
            129 => Echo::Answered { rtt, ttl: None },
            ty => Echo::Error { ty, code: packet.get_icmpv6_code().0 },
        },
    }
}
