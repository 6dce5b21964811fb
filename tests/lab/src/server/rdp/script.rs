//! What no real RDP server does, and what broken or hostile ones might.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{connection_confirm, read_request, stays_for};

use crate::kernel;
use crate::node::Node;
use crate::server::{PATIENCE, TcpServer, read_until, serve};

/// The server takes TLS.
const CONFIRM: [u8; 19] = connection_confirm(2, 1);

/// What a scripted server answers to an X.224 Connection Request.
///
/// Where a script ends in silence, the connection stays open until the client closes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RdpScript {
    /// A negotiation failure of this code (MS-RDPBCGR 2.2.1.2.2), then silence.
    Fails(u32),
    /// A negotiation response that selects this protocol, asked for or not, then silence.
    Selects(u32),
    /// A TPKT frame of the right length with nonsense inside, then silence.
    GarbageTpkt,
    /// The head of a TPKT frame of 65,535 bytes and a few of those, then silence.
    HugeTpkt,
    /// Lines of text without end, before the client has said anything.
    EndlessBanner,
    /// The right answer, one byte a second.
    SlowLoris,
    /// The first half of the right answer, then silence.
    HalfAnswer,
    /// A negotiation response that selects TLS where it is offered, and this once the client has
    /// said hello.
    Tls(TlsScript),
}

/// What a scripted server does instead of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsScript {
    /// It resets the connection.
    Reset,
    /// It closes the connection in order.
    Close,
    /// It sends warning alerts without end.
    AlertStorm,
    /// It begins a record longer than any may be (RFC 8446 5.1), then is silent.
    HugeRecord,
    /// It sends a ServerHello and a certificate of one megabyte, then is silent.
    HugeCertificate,
    /// It says nothing.
    Silence,
}

/// Serves RDP as the script has it.
pub fn rdp_scripted(node: &Node, port: u16, script: RdpScript) -> Result<TcpServer> {
    serve(node, port, move |stream| play(stream, script))
}

fn play(mut stream: TcpStream, script: RdpScript) -> io::Result<()> {
    let offered = match script {
        RdpScript::EndlessBanner => Some(0),
        _ => read_request(&mut stream, Instant::now() + PATIENCE)?,
    };
    let Some(offered) = offered else { return Ok(()) };
    match script {
        RdpScript::Fails(code) => stream.write_all(&negotiation(FAILURE, code))?,
        RdpScript::Selects(protocol) => stream.write_all(&negotiation(RESPONSE, protocol))?,
        RdpScript::GarbageTpkt => stream.write_all(&GARBAGE)?,
        RdpScript::HugeTpkt => stream.write_all(&HUGE_TPKT)?,
        RdpScript::EndlessBanner => repeat(&mut stream, BANNER)?,
        RdpScript::SlowLoris => drip(&mut stream, &CONFIRM)?,
        RdpScript::HalfAnswer => {
            let (half, _) = CONFIRM.split_at(CONFIRM.len() / 2);
            stream.write_all(half)?;
        }
        RdpScript::Tls(_) if offered & PROTOCOL_SSL as u8 == 0 => {
            stream.write_all(&negotiation(FAILURE, SSL_REQUIRED_BY_SERVER))?;
        }
        RdpScript::Tls(script) => return play_tls(stream, script),
    }
    wait_for_close(&mut stream)
}

fn play_tls(mut stream: TcpStream, script: TlsScript) -> io::Result<()> {
    stream.write_all(&negotiation(RESPONSE, PROTOCOL_SSL))?;
    if read_until(&mut stream, &mut [0; 4096], Instant::now() + PATIENCE)? == 0 {
        return Ok(());
    }
    match script {
        TlsScript::Reset => return kernel::reset_on_close(&stream),
        // What is left unread at a close would make it a reset.
        TlsScript::Close => stream.shutdown(Shutdown::Write)?,
        TlsScript::AlertStorm => repeat(&mut stream, &WARNING_ALERT)?,
        TlsScript::HugeRecord => stream.write_all(&HUGE_RECORD)?,
        TlsScript::HugeCertificate => stream.write_all(&certificate_flight(CERTIFICATE_BYTES))?,
        TlsScript::Silence => {}
    }
    wait_for_close(&mut stream)
}

/// Says the same for ever; the client's end of the connection ends it.
fn repeat(stream: &mut TcpStream, words: &[u8]) -> io::Result<()> {
    let many = words.repeat(REPEATED_AT_ONCE);
    loop {
        stream.write_all(&many)?;
    }
}

fn drip(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        stream.write_all(&[*byte])?;
        if !stays_for(stream, DRIP)? {
            return Ok(());
        }
    }
    Ok(())
}

fn wait_for_close(stream: &mut TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    io::copy(stream, &mut io::sink()).map(drop)
}

/// A connection confirm with this negotiation block (MS-RDPBCGR 2.2.1.2).
fn negotiation(kind: u8, value: u32) -> Vec<u8> {
    let (frame, _) = CONFIRM.split_at(NEGOTIATION_AT);
    let mut answer = frame.to_vec();
    answer.extend([kind, 0, 8, 0]);
    answer.extend(value.to_le_bytes());
    answer
}

/// The records of a TLS 1.2 server's flight up to a certificate of this many bytes.
fn certificate_flight(bytes: u32) -> Vec<u8> {
    let certificate = [&length_24(bytes)[..], &vec![0x30; bytes as usize]].concat();
    let list = [&length_24(bytes + 3)[..], &certificate].concat();
    // RFC 5246 7.4.1.3: version, random, no session, ECDHE-RSA-AES128-GCM-SHA256, no compression.
    let hello = [&[3, 3][..], &[0x5a; 32], &[0, 0xc0, 0x2f, 0]].concat();
    let flight = [handshake(2, &hello), handshake(11, &list)].concat();
    let record = |part: &[u8]| {
        let length = part.len() as u16;
        [&[HANDSHAKE, 3, 3][..], &length.to_be_bytes(), part].concat()
    };
    flight.chunks(RECORD_BYTES_MAX).flat_map(record).collect()
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &length_24(body.len() as u32), body].concat()
}

fn length_24(length: u32) -> [u8; 3] {
    let [_, high, middle, low] = length.to_be_bytes();
    [high, middle, low]
}

/// Where the negotiation block begins in a confirm.
const NEGOTIATION_AT: usize = 11;
const RESPONSE: u8 = 2;
const FAILURE: u8 = 3;
const PROTOCOL_SSL: u32 = 1;
const SSL_REQUIRED_BY_SERVER: u32 = 1;

/// The X.224 length disagrees, and there is no such code.
const GARBAGE: [u8; 19] = [
    0x03, 0x00, 0x00, 0x13, 0xfe, 0x00, 0xde, 0xad, 0xbe, 0xef, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x80,
    0x00, 0x01, 0x55,
];
/// The confirm's bytes go on behind this head.
const HUGE_TPKT: [u8; 11] = [0x03, 0x00, 0xff, 0xff, 0x0e, 0xd0, 0x00, 0x00, 0x12, 0x34, 0x00];
const BANNER: &[u8] = b"220 this line comes again and again\r\n";
const DRIP: Duration = Duration::from_secs(1);
const REPEATED_AT_ONCE: usize = 64;

const HANDSHAKE: u8 = 22;
/// RFC 8446 5.1: a fragment has at most 2^14 bytes.
const RECORD_BYTES_MAX: usize = 1 << 14;
/// Alert, TLS 1.2, two bytes: warning, user_canceled (RFC 8446 6.1).
const WARNING_ALERT: [u8; 7] = [21, 3, 3, 0, 2, 1, 90];
/// A record of 65,535 bytes that begins as a ServerHello would.
const HUGE_RECORD: [u8; 9] = [HANDSHAKE, 3, 3, 0xff, 0xff, 2, 0, 0, 70];
const CERTIFICATE_BYTES: u32 = 1 << 20;
