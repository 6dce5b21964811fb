//! A TLS client that says hello and reads the clear part of the answer, as little as it needs.

use super::*;

/// What a server says to a ClientHello.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// The version and the cipher suite it chose, as the protocol numbers them.
    Hello { version: u16, suite: u16 },
    /// The description of the alert with which it refused (RFC 8446 6).
    Alert(u8),
}

/// Says hello with versions up to this one, at most TLS 1.2, and reads the greeting.
///
/// With a hello comes the first certificate: up to TLS 1.2 it is not encrypted.
pub(super) fn greet(stream: &mut TcpStream, version_max: u16) -> Result<(Greeting, Vec<u8>)> {
    stream.write_all(&client_hello(version_max))?;
    let mut handshake = Vec::new();
    loop {
        let mut header = [0; 5];
        stream.read_exact(&mut header).context("read the head of a record")?;
        let mut fragment = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut fragment).context("read a record")?;
        match header[0] {
            ALERT => return Ok((Greeting::Alert(fragment[1]), Vec::new())),
            HANDSHAKE => handshake.extend(fragment),
            other => bail!("a record of type {other}"),
        }
        if let Some(greeting) = read_flight(&handshake) {
            return Ok(greeting);
        }
    }
}

/// Reads the ServerHello and the first certificate once both are whole (RFC 5246 7.4).
fn read_flight(bytes: &[u8]) -> Option<(Greeting, Vec<u8>)> {
    let (hello, rest) = message(bytes, 2)?;
    let after_session = 35 + usize::from(*hello.get(34)?);
    let greeting = Greeting::Hello {
        version: u16::from_be_bytes([hello[0], hello[1]]),
        suite: u16::from_be_bytes([hello[after_session], hello[after_session + 1]]),
    };
    let (list, _) = message(rest, 11)?;
    let (certificate, _) = sized(&list[3..])?;
    Some((greeting, certificate.to_vec()))
}

/// Splits off a handshake message of this kind.
fn message(bytes: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    assert_eq!(*first, kind, "the order of messages");
    sized(rest)
}

/// Splits off what follows a length of three bytes.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<3>()?;
    let length = u32::from_be_bytes([0, length[0], length[1], length[2]]);
    rest.split_at_checked(length as usize)
}

fn client_hello(version_max: u16) -> Vec<u8> {
    let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let body = [
        &version_max.to_be_bytes()[..],
        &[0x11; 32],
        &[0],
        &block(&suites),
        &[1, 0],
        &block(&EXTENSIONS),
    ]
    .concat();
    let message = [&[1, 0][..], &block(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &block(&message)].concat()
}

fn block(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// ECDHE-RSA with GCM, then with CBC and SHA-2, then with CBC and SHA-1, and AES with plain RSA.
const SUITES: [u16; 8] = [0xc030, 0xc02f, 0xc028, 0xc027, 0xc014, 0xc013, 0x0035, 0x002f];

/// The groups x25519 and secp256r1, uncompressed points, RSA signatures with SHA-2 and SHA-1.
const EXTENSIONS: [u8; 32] = [
    0, 10, 0, 6, 0, 4, 0, 29, 0, 23, 0, 11, 0, 2, 1, 0, 0, 13, 0, 12, 0, 10, 8, 4, 8, 5, 4, 1, 5,
    1, 2, 1,
];
