//! Real RDP servers, byte by byte up to their certificate.

use super::hello::{Greeting, greet};
use super::*;
use crate::server::{
    Certificate, FreeRdp, FreeRdpSpec, Security, SecurityLayer, TlsOffer, Xrdp, XrdpSpec,
};

/// What a server says to a connection request.
#[derive(Clone, Copy, Debug)]
enum Said {
    /// A confirm without a word about security.
    Plain,
    /// The protocol it selects.
    Selects(u8),
    /// The code of its refusal.
    Fails(u8),
    /// An MCS disconnect in place of a confirm.
    Disconnects,
}

use Said::{Disconnects, Fails, Plain, Selects};

/// The protocols of each request of the tables below; none is a request without negotiation.
const REQUESTS: [Option<u8>; 8] =
    [None, Some(0), Some(1), Some(2), Some(3), Some(8), Some(11), Some(16)];

const TLS_1_0: u16 = 0x301;
const TLS_1_2: u16 = 0x303;

/// What tells the makers of servers apart.
struct Maker {
    reference: [u8; 2],
    flags: u8,
}

const XRDP: Maker = Maker { reference: [0x12, 0x34], flags: 1 };
const FREE_RDP: Maker = Maker { reference: [0, 0], flags: 3 };

impl Maker {
    fn frame(&self, said: Said) -> Vec<u8> {
        let [high, low] = self.reference;
        let confirm = |length| vec![length, 0xd0, 0, 0, high, low, 0];
        let x224 = match said {
            Plain => confirm(6),
            Selects(protocol) => {
                [confirm(14), vec![2, self.flags, 8, 0, protocol, 0, 0, 0]].concat()
            }
            Fails(code) => [confirm(14), vec![3, 0, 8, 0, code, 0, 0, 0]].concat(),
            Disconnects => vec![2, 0xf0, 0x80, 0x21, 0x80],
        };
        tpkt(&x224)
    }
}

/// MS-RDPBCGR 2.2.1.1, in a frame of RFC 1006 6.
fn request(protocols: Option<u8>) -> Vec<u8> {
    match protocols {
        None => tpkt(&[6, 0xe0, 0, 0, 0, 0, 0]),
        Some(protocols) => tpkt(&[14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, protocols, 0, 0, 0]),
    }
}

fn tpkt(x224: &[u8]) -> Vec<u8> {
    [&[3, 0, 0, x224.len() as u8 + 4], x224].concat()
}

fn read_frame(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    stream.read_exact(&mut frame).context("read the head of a frame")?;
    frame.resize(usize::from(u16::from_be_bytes([frame[2], frame[3]])), 0);
    stream.read_exact(&mut frame[4..]).context("read a frame")?;
    Ok(frame)
}

/// Sends one request on a connection of its own, and gives the connection with the answer.
fn ask(from: &Node, at: SocketAddr, protocols: Option<u8>) -> Result<(TcpStream, Vec<u8>)> {
    let mut stream = probe::connect(from, at, SOON)?.context("connect")?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(&request(protocols))?;
    let answer = read_frame(&mut stream)?;
    Ok((stream, answer))
}

fn one_hop(lab: &mut Lab) -> Result<Chain> {
    Chain::build(lab, ChainSpec { routers: 1, target_ttl: WINDOWS_TTL })
}

/// Asks a server each request and compares the answers, byte by byte.
fn check(chain: &Chain, port: u16, maker: &Maker, row: &str, answers: [Said; 8]) -> Result<()> {
    for (protocols, said) in REQUESTS.into_iter().zip(answers) {
        let at = chain.lan.target_at.socket_v4(port);
        let (_, answer) =
            ask(&chain.v1, at, protocols).with_context(|| format!("{row}: {protocols:?}"))?;
        assert_eq!(answer, maker.frame(said), "{row}: {protocols:?} is answered by {said:?}");
    }
    Ok(())
}

#[test]
fn xrdp_answers_every_request_by_its_settings() {
    use Certificate::{Good, Missing};
    use SecurityLayer::{Negotiate, Rdp, Tls};
    let always = |said| [Plain, said, said, said, said, said, said, Disconnects];
    // The protocols are 0 and then alternate between those without and with TLS.
    let by_tls = |without, with| [Plain, without, with, without, with, without, with, Disconnects];
    let table = [
        (Negotiate, Good, by_tls(Selects(0), Selects(1))),
        (Tls, Good, by_tls(Fails(1), Selects(1))),
        (Rdp, Good, always(Selects(0))),
        (Tls, Missing, always(Fails(3))),
        (Negotiate, Missing, always(Selects(0))),
    ];
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        for (layer, certificate, answers) in table {
            let spec = XrdpSpec { layer, certificate, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            let row = format!("{layer:?} with a certificate that is {certificate:?}");
            check(&chain, xrdp.port(), &XRDP, &row, answers)?;
        }
        Ok(())
    });
}

#[test]
fn freerdp_answers_every_request_by_its_settings() {
    let by_tls = |without, with| [without, without, with, without, with, without, with, without];
    let [zero, one, two] = [0, 1, 2].map(Selects);
    let nla = [Fails(5), Fails(5), Fails(5), two, two, Fails(5), two, Fails(5)];
    let any = [zero, zero, one, Fails(2), one, Fails(2), one, Fails(2)];
    let table = [
        (Security::Nla, nla),
        (Security::Tls, by_tls(Fails(1), one)),
        (Security::Rdp, [zero, zero, Fails(2), Fails(2), Fails(2), Fails(2), Fails(2), Fails(2)]),
        (Security::Extended, [Fails(1); 8]),
        (Security::Any, any),
    ];
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        for (security, answers) in table {
            let spec = FreeRdpSpec { security, ..FreeRdpSpec::default() };
            let server = FreeRdp::start(&chain.lan.target, spec)?;
            check(&chain, server.port(), &FREE_RDP, &format!("{security:?}"), answers)?;
        }
        Ok(())
    });
}

#[test]
fn xrdp_speaks_the_tls_it_is_told_to() {
    let hello = |version, suite| Greeting::Hello { version, suite };
    let table = [
        (TlsOffer::Modern, TLS_1_2, hello(TLS_1_2, 0xc030)),
        (TlsOffer::Windows2012R2, TLS_1_2, hello(TLS_1_2, 0xc028)),
        (TlsOffer::Windows2008, TLS_1_2, hello(TLS_1_0, 0xc014)),
        (TlsOffer::Windows2008, TLS_1_0, hello(TLS_1_0, 0xc014)),
        (TlsOffer::Modern, TLS_1_0, Greeting::Alert(70)),
        (TlsOffer::Tls13, TLS_1_2, Greeting::Alert(70)),
    ];
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        for (tls, version_max, expected) in table {
            let layer = SecurityLayer::Tls;
            let spec = XrdpSpec { layer, tls, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            let at = chain.lan.target_at.socket_v6(xrdp.port());
            let (mut stream, _) = ask(&chain.v1, at, Some(3))?;
            let (greeting, _) = greet(&mut stream, version_max)?;
            assert_eq!(greeting, expected, "{tls:?} to a hello of {version_max:#x}");
        }
        Ok(())
    });
}

#[test]
fn freerdp_refuses_old_tls_with_an_alert() {
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        let spec = FreeRdpSpec { security: Security::Tls, ..FreeRdpSpec::default() };
        let server = FreeRdp::start(&chain.lan.target, spec)?;
        let at = chain.lan.target_at.socket_v4(server.port());
        let (mut stream, _) = ask(&chain.v1, at, Some(3))?;
        assert_eq!(greet(&mut stream, TLS_1_0)?.0, Greeting::Alert(80));
        let (mut stream, _) = ask(&chain.v1, at, Some(3))?;
        let expected = Greeting::Hello { version: TLS_1_2, suite: 0xc030 };
        assert_eq!(greet(&mut stream, TLS_1_2)?.0, expected);
        Ok(())
    });
}

#[test]
fn logs_tell_of_negotiation_and_of_no_login() {
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        let node = &chain.lan.target;
        let xrdp = Xrdp::start(node, XrdpSpec { port: 3389, ..XrdpSpec::default() })?;
        let free_rdp = FreeRdp::start(node, FreeRdpSpec { port: 3390, ..FreeRdpSpec::default() })?;
        for port in [xrdp.port(), free_rdp.port()] {
            drop(ask(&chain.v1, chain.lan.target_at.socket_v4(port), Some(3))?);
        }
        let (mut first, mut second) = (String::new(), String::new());
        let noticed = wait_until(SOON, || {
            first = xrdp.log().unwrap_or_default();
            second = free_rdp.log().unwrap_or_default();
            first.contains("DisconnectProviderUltimatum")
                && second.contains("Failed to check FreeRDP file descriptor")
        });
        noticed.with_context(|| format!("{first}\n{second}"))?;
        assert!(first.contains("requested [SSL|HYBRID|RDP], selected [SSL]"), "{first}");
        // The wait for its socket has not connected.
        assert_eq!(first.matches("connection received").count(), 1, "{first}");
        for log in [first, second] {
            let log = log.to_lowercase();
            assert!(!["auth", "login", "logon"].iter().any(|word| log.contains(word)), "{log}");
        }
        Ok(())
    });
}

#[test]
fn certificates_are_what_they_are_said_to_be() {
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("certificate.der").display().to_string();
        for (certificate, is_valid) in [(Certificate::Good, true), (Certificate::Expired, false)] {
            let spec = XrdpSpec { certificate, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            let at = chain.lan.target_at.socket_v4(xrdp.port());
            let (mut stream, _) = ask(&chain.v1, at, Some(1))?;
            let (_, served) = greet(&mut stream, TLS_1_2)?;
            std::fs::write(&file, served)?;
            let openssl = ["openssl", "x509", "-inform", "DER", "-in", &file, "-noout"];
            let read = chain.v1.exec(&[&openssl[..], &["-subject", "-checkend", "0"]].concat())?;
            assert!(read.stdout.contains("CN = WIN-LAB01"), "{read:?}");
            assert_eq!(read.status.success(), is_valid, "{certificate:?}: {read:?}");
        }
        Ok(())
    });
}

#[test]
fn servers_that_stop_leave_no_process_behind() {
    inside(test_name!(), |lab| {
        let chain = one_hop(lab)?;
        let node = &chain.lan.target;
        let processes = || -> Result<usize> {
            let output = Command::new("ip").args(["netns", "pids", node.name()]).output()?;
            ensure!(output.status.success(), "{output:?}");
            Ok(String::from_utf8(output.stdout)?.lines().count())
        };
        assert_eq!(processes()?, 0);
        let xrdp = Xrdp::start(node, XrdpSpec { port: 3389, ..XrdpSpec::default() })?;
        let free_rdp = FreeRdp::start(node, FreeRdpSpec { port: 3390, ..FreeRdpSpec::default() })?;
        // xrdp gives each connection a process, which outlives the first one.
        let at = |port| chain.lan.target_at.socket_v6(port);
        let (mut held, _) = ask(&chain.v1, at(xrdp.port()), Some(3))?;
        let (mut other, _) = ask(&chain.v1, at(free_rdp.port()), Some(3))?;
        assert_eq!(processes()?, 4, "two of xrdp, FreeRDP and its screen");
        drop(xrdp);
        assert_eq!(processes()?, 2);
        assert_eq!(held.read(&mut [0; 1])?, 0, "xrdp's connection has ended");
        drop(free_rdp);
        assert_eq!(processes()?, 0);
        assert_eq!(other.read(&mut [0; 1])?, 0, "FreeRDP's connection has ended");
        Ok(())
    });
}

#[test]
fn missing_programs_are_named_by_their_packages() {
    let tools = [("sh", "dash"), ("no-such-program", "one"), ("nor-this", "two")];
    let error = sandbox::check_tools("a server", &tools).unwrap_err();
    assert_eq!(error.to_string(), "a server needs these packages installed: one, two");
}
