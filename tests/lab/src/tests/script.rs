//! Scripted RDP servers.

use super::*;
use crate::server::{RdpScript, TlsScript, rdp_scripted};

/// How a connection goes on after the bytes that are looked at.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    Silence,
    Close,
    Reset,
    More,
}

const REQUEST: &[u8] = b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0";
const SELECTS_TLS: &[u8] = b"\x03\0\0\x13\x0e\xd0\0\0\x124\0\x02\0\x08\0\x01\0\0\0";

/// As little of a ClientHello as makes a record.
const HELLO: &[u8] = b"\x16\x03\x01\0\x01\x01";

/// Reads exactly these bytes, and says what comes next.
fn hear(stream: &mut TcpStream, expected: &[u8], case: &str) -> Result<Then> {
    let mut heard = vec![0; expected.len()];
    stream.set_read_timeout(Some(SOON))?;
    stream.read_exact(&mut heard).with_context(|| format!("{case}: read"))?;
    assert_eq!(heard, expected, "{case}");
    stream.set_read_timeout(Some(SILENCE))?;
    match stream.read(&mut [0; 1]) {
        Ok(0) => Ok(Then::Close),
        Ok(_) => Ok(Then::More),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Then::Silence),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(Then::Reset),
        Err(error) => Err(error).with_context(|| case.to_owned()),
    }
}

fn play(lab: &mut Lab, cases: &[(RdpScript, &[u8], Then)]) -> Result<()> {
    let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
    for (script, words, then) in cases {
        let case = format!("{script:?}");
        let _server = rdp_scripted(&chain.lan.target, RDP, *script)?;
        let at = chain.lan.target_at.socket_v4(RDP);
        let mut stream = probe::connect(&chain.v1, at, SOON)?.context("connect")?;
        stream.write_all(REQUEST)?;
        if matches!(script, RdpScript::Tls(_)) {
            assert_eq!(hear(&mut stream, SELECTS_TLS, &case)?, Then::Silence, "{case}");
            stream.write_all(HELLO)?;
        }
        assert_eq!(hear(&mut stream, words, &case)?, *then, "{case}");
    }
    Ok(())
}

#[test]
fn scripted_servers_misspeak_x224() {
    let banner = b"220 this line comes again and again\r\n220 ";
    let fails =
        |code: u8| [b"\x03\0\0\x13\x0e\xd0\0\0\x124\0\x03\0\x08\0", &[code, 0, 0, 0][..]].concat();
    let selects =
        |one: u8| [b"\x03\0\0\x13\x0e\xd0\0\0\x124\0\x02\0\x08\0", &[one, 0, 0, 0][..]].concat();
    inside(test_name!(), |lab| {
        play(
            lab,
            &[
                (RdpScript::Fails(4), &fails(4), Then::Silence),
                (RdpScript::Fails(6), &fails(6), Then::Silence),
                (RdpScript::Selects(4), &selects(4), Then::Silence),
                (RdpScript::Selects(0x40), &selects(0x40), Then::Silence),
                (RdpScript::GarbageTpkt, b"\x03\0\0\x13\xfe\0\xde\xad", Then::More),
                (RdpScript::HugeTpkt, b"\x03\0\xff\xff\x0e\xd0\0\0\x124\0", Then::Silence),
                (RdpScript::EndlessBanner, banner, Then::More),
                (RdpScript::SlowLoris, b"\x03", Then::Silence),
                (RdpScript::SlowLoris, b"\x03\0", Then::Silence),
                (RdpScript::HalfAnswer, b"\x03\0\0\x13\x0e\xd0\0\0\x12", Then::Silence),
            ],
        )
    });
}

#[test]
fn scripted_servers_misspeak_tls() {
    let alerts = b"\x15\x03\x03\0\x02\x01\x5a\x15\x03\x03\0\x02\x01\x5a";
    // A record, a ServerHello, and a certificate message with its list and first certificate.
    let mut certificate = b"\x16\x03\x03\x40\0\x02\0\0\x26\x03\x03".to_vec();
    certificate.extend([0x5a; 32]);
    certificate.extend(b"\0\xc0\x2f\0\x0b\x10\0\x06\x10\0\x03\x10\0\0\x30");
    inside(test_name!(), |lab| {
        play(
            lab,
            &[
                (RdpScript::Tls(TlsScript::Reset), b"", Then::Reset),
                (RdpScript::Tls(TlsScript::Close), b"", Then::Close),
                (RdpScript::Tls(TlsScript::AlertStorm), alerts, Then::More),
                (
                    RdpScript::Tls(TlsScript::HugeRecord),
                    b"\x16\x03\x03\xff\xff\x02\0\0\x46",
                    Then::Silence,
                ),
                (RdpScript::Tls(TlsScript::HugeCertificate), &certificate, Then::More),
                (RdpScript::Tls(TlsScript::Silence), b"", Then::Silence),
            ],
        )
    });
}

#[test]
fn the_huge_certificate_comes_whole() {
    const MESSAGES: usize = 4 + 38 + 4 + 3 + 3 + (1 << 20);
    const FLIGHT: usize = MESSAGES + 5 * MESSAGES.div_ceil(1 << 14);
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })?;
        let script = RdpScript::Tls(TlsScript::HugeCertificate);
        let _server = rdp_scripted(&chain.lan.target, RDP, script)?;
        let at = chain.lan.target_at.socket_v6(RDP);
        let mut stream = probe::connect(&chain.v1, at, SOON)?.context("connect")?;
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(REQUEST)?;
        stream.read_exact(&mut [0; SELECTS_TLS.len()])?;
        stream.write_all(HELLO)?;
        stream.read_exact(&mut vec![0; FLIGHT])?;
        assert_eq!(hear(&mut stream, b"", "the end")?, Then::Silence);
        Ok(())
    });
}
