//! Asks name servers over UDP, and over TCP what is too long for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use socket2::{Protocol, SockAddr, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::reply::{self, Found, Reply};
use crate::vantage::Place;

/// How often each server is asked, and how long each time.
const ATTEMPTS: usize = 2;
const ATTEMPT_LIMIT: Duration = Duration::from_secs(2);
/// Random source ports tried before the choice is left to the kernel.
const PORT_DRAWS: usize = 8;

/// What all servers together said about one record type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// Addresses.
    Found(Found),
    /// No such name, or no such record.
    Nothing,
    /// Those that answered could not say.
    Failed,
    /// Nobody answered.
    Silent,
}

/// Asks the servers in turn until one knows.
pub(super) async fn ask_all(
    name: &Name,
    ty: RecordType,
    place: &Place,
    servers: &[SocketAddr],
) -> Asked {
    let mut worst = Asked::Silent;
    for _ in 0..ATTEMPTS {
        for server in servers {
            let asked = timeout(ATTEMPT_LIMIT, ask(name, ty, place, *server)).await;
            match asked {
                Ok(Ok(Reply::Found(found))) => return Asked::Found(found),
                Ok(Ok(Reply::Nothing)) => return Asked::Nothing,
                Ok(Ok(Reply::Failed | Reply::Truncated)) => worst = Asked::Failed,
                // Silence, or an error that says that the server cannot be reached.
                Ok(Err(_)) | Err(_) => {}
            }
        }
        if worst == Asked::Failed {
            return worst;
        }
    }
    worst
}

/// Whether any of the servers answers for anything: all are asked for the root's name servers.
pub(super) async fn any_alive(place: &Place, servers: &[SocketAddr]) -> bool {
    let root = Name::root();
    for server in servers {
        let asked = timeout(ATTEMPT_LIMIT, ask(&root, RecordType::NS, place, *server)).await;
        if matches!(asked, Ok(Ok(_))) {
            return true;
        }
    }
    false
}

/// Asks one server once.
async fn ask(name: &Name, ty: RecordType, place: &Place, server: SocketAddr) -> io::Result<Reply> {
    let id = random()?;
    let question = reply::question(id, name, ty)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "name cannot be encoded"))?;
    let read = |bytes: &[u8]| reply::read(bytes, id, name, ty);
    match ask_udp(&question, place, server, read).await? {
        Reply::Truncated => ask_tcp(&question, place, server, read).await,
        reply => Ok(reply),
    }
}

async fn ask_udp(
    question: &[u8],
    place: &Place,
    server: SocketAddr,
    read: impl Fn(&[u8]) -> Option<Reply>,
) -> io::Result<Reply> {
    let socket = open(place, server, Type::DGRAM, Protocol::UDP).await?;
    bind_at_random(&socket, place, server)?;
    // Connected, so that the kernel drops what comes from elsewhere and tells of ICMP errors.
    socket.connect(&SockAddr::from(server))?;
    let socket = UdpSocket::from_std(socket.into())?;
    socket.send(question).await?;
    let mut buffer = vec![0; 4_096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What is no reply to our question is a forgery or a stray; the right one may still come.
        if let Some(reply) = buffer.get(..length).and_then(&read) {
            return Ok(reply);
        }
    }
}

async fn ask_tcp(
    question: &[u8],
    place: &Place,
    server: SocketAddr,
    read: impl Fn(&[u8]) -> Option<Reply>,
) -> io::Result<Reply> {
    let socket = open(place, server, Type::STREAM, Protocol::TCP).await?;
    place.bind_source(&socket)?;
    match socket.connect(&SockAddr::from(server)) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        result => result?,
    }
    let mut stream = TcpStream::from_std(socket.into())?;
    stream.writable().await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend(question);
    stream.write_all(&framed).await?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).await?;
    read(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "foreign reply"))
}

async fn open(
    place: &Place,
    server: SocketAddr,
    ty: Type,
    protocol: Protocol,
) -> io::Result<Socket> {
    if !place.serves(server.ip()) {
        return Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
    }
    if place.namespace_name().is_none() {
        return place.socket(server.ip(), ty, Some(protocol));
    }
    let place = place.clone();
    let open = move || place.socket(server.ip(), ty, Some(protocol));
    tokio::task::spawn_blocking(open).await.map_err(io::Error::other)?
}

/// Takes a random source port, which with the random id makes 31 bits to be guessed.
fn bind_at_random(socket: &Socket, place: &Place, server: SocketAddr) -> io::Result<()> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = place.source().unwrap_or(any);
    for _ in 0..PORT_DRAWS {
        let port = random()? | 0x8000;
        match socket.bind(&SockAddr::from(SocketAddr::new(source, port))) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    // The kernel's own choice is random too.
    socket.bind(&SockAddr::from(SocketAddr::new(source, 0)))
}

fn random() -> io::Result<u16> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(u16::from_ne_bytes(bytes))
}
