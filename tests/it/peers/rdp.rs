//! Looks past the handshake of real RDP servers, in each setting that they have.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_core::evidence::rdp::{Nla, NtlmOutcome, RdpDepth, RdpLook, X224Outcome};
use reachd_core::evidence::rdp::{RdpStage, SecurityLayer as Layer};
use reachd_core::monitor::{Flight, RdpOrder};
use reachd_core::vantage::{Binding, Vantage, VantageId};
use reachd_core::wire::tls::{CipherSuite, Version};
use reachd_core::wire::x224::{Answer, Protocols, connection_request, read_answer};
use reachd_lab::in_namespace;
use reachd_lab::server::{
    Certificate, FreeRdp, FreeRdpSpec, RdpScript, Security, TlsOffer, TlsScript, rdp_scripted,
};
use reachd_net::connect::rdp;
use reachd_net::vantage::Place;

use serde_json::Value;

use super::{Chain, SecurityLayer, Xrdp, XrdpSpec, chain, check, inside, read, test_name};
use crate::support::REACHD;

/// What a server says to a connection request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Selects(u32),
    Fails(u32),
}

use Said::{Fails, Selects};

const SECOND: i128 = 1_000_000_000;

/// Looks at the target of a chain from its first vantage.
fn look(chain: &Chain, port: u16, depth: RdpDepth) -> Result<RdpLook> {
    let binding = Binding::Namespace(chain.v1.name().to_owned());
    let place = Place::find(&Vantage { binding, ..Vantage::unbound("v1") })?;
    let order = RdpOrder {
        flight: Flight::Survey(1),
        vantage: VantageId(0),
        to: chain.lan.target_at.socket_v4(port),
        depth,
        server_name: None,
        random: [7; 32],
        connect_timeout: Duration::from_secs(3),
        stage_timeout: Duration::from_secs(5),
        limit: Duration::from_secs(60),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(rdp::look(&order, &place)))
}

/// The answers to 0, 1, 3 and 11.
fn answers(seen: &RdpLook) -> Vec<Option<Said>> {
    let both = Protocols::SSL.with(Protocols::HYBRID);
    let offers = [Protocols::RDP, Protocols::SSL, both, both.with(Protocols::HYBRID_EX)];
    let said = |offered| match seen.answer_to(offered) {
        Some(X224Outcome::Selected { protocol, .. }) => Some(Selects(*protocol)),
        Some(X224Outcome::Failure(code)) => Some(Fails(code.code())),
        _ => None,
    };
    offers.into_iter().map(said).collect()
}

fn now() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What `check` says of a server: its class, the likeliest cause, and the notes on security.
fn verdict(chain: &Chain, port: u16) -> Result<(String, String)> {
    let at = format!("10.9.0.10:{port}");
    let document = check(&chain.v1, &[&at, "--service", "rdp"])?;
    let verdict = &document["verdict"];
    let of_security = ["nla_required", "nla_off", "plain_rdp_security", "weak_tls"];
    let notes = verdict["notes"].as_array().into_iter().flatten();
    let notes = notes.filter_map(|note| note["note"].as_str());
    let notes: Vec<_> = notes.filter(|note| of_security.contains(note)).collect();
    assert!(document["vantages"][0]["rdp"].is_object(), "{document}");
    let cause = verdict["causes"][0]["cause"].as_str();
    let class = cause.or(verdict["class"].as_str()).unwrap_or_default();
    assert_remedied(verdict);
    Ok((class.to_owned(), notes.join(" ")))
}

/// What to do about the likeliest cause names what an operator finds in the server.
fn assert_remedied(verdict: &Value) {
    let names = [
        ("certificate_expired", "renew the certificate"),
        ("wrong_service", "owner of the port"),
        ("service_hung", "event log"),
    ];
    let cause = &verdict["causes"][0];
    let remedy = cause["remedy"].as_str().unwrap_or_default();
    if cause["cause"] == "security_layer_mismatch" {
        let told = ["SecurityLayer and UserAuthentication", "client certificate", "what answers"];
        assert!(told.iter().any(|told| remedy.contains(told)), "{verdict}");
    }
    if cause["cause"] == "certificate_broken" {
        let told = ["delete the certificate in the Remote Desktop store", "before you touch the"];
        assert!(told.iter().any(|told| remedy.contains(told)), "{verdict}");
    }
    for (_, named) in names.into_iter().filter(|(name, _)| cause["cause"] == *name) {
        assert!(remedy.contains(named), "{verdict}");
    }
    assert_eq!(remedy.is_empty(), verdict["class"] == "reachable", "{verdict}");
}

/// No login was tried, as far as a server's log tells.
fn assert_no_login(log: &str) {
    let log = log.to_lowercase();
    assert!(!["auth", "login", "logon"].iter().any(|word| log.contains(word)), "{log}");
}

#[test]
fn xrdp_is_seen_in_every_setting() {
    use SecurityLayer::{Negotiate, Rdp, Tls};
    let table = [
        (Negotiate, Certificate::Good, [0, 1, 1, 1].map(Selects), Some(Layer::Negotiate)),
        (Rdp, Certificate::Good, [Selects(0); 4], Some(Layer::Rdp)),
        (Tls, Certificate::Good, [Fails(1), Selects(1), Selects(1), Selects(1)], Some(Layer::Tls)),
        (Tls, Certificate::Missing, [Fails(3); 4], None),
        (Negotiate, Certificate::Missing, [Selects(0); 4], Some(Layer::Rdp)),
    ];
    let verdicts = [
        ("reachable", "nla_off plain_rdp_security"),
        ("reachable", "nla_off plain_rdp_security"),
        ("reachable", "nla_off"),
        ("certificate_broken", ""),
        ("reachable", "nla_off plain_rdp_security"),
    ];
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        for ((layer, certificate, expected, deduced), (class, notes)) in
            table.into_iter().zip(verdicts)
        {
            let spec = XrdpSpec { layer, certificate, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            let seen = look(&chain, xrdp.port(), RdpDepth::Ntlm)?;
            let row = format!("{layer:?}, {certificate:?}: {seen:?}");
            assert_eq!(answers(&seen), expected.map(Some), "{row}");
            assert_eq!(seen.security(), (deduced, deduced.map(|_| Nla::Off)), "{row}");
            // Four questions, and no challenge where NLA is not on offer.
            assert_eq!((seen.connections, &seen.ntlm), (4, &None), "{row}");
            let selects_tls = expected.contains(&Selects(1));
            assert_eq!(seen.shown().is_some(), selects_tls, "{row}");
            assert!(seen.time_of(RdpStage::Connect).is_some(), "{row}");
            let said = verdict(&chain, xrdp.port())?;
            assert_eq!(said, (class.to_owned(), notes.to_owned()), "{row}");
            assert_no_login(&xrdp.log()?);
        }
        Ok(())
    });
}

#[test]
fn xrdp_shows_its_certificate_in_every_version_of_tls() {
    let table = [
        (TlsOffer::Modern, Certificate::Good, Version::Tls12, 0xc030),
        (TlsOffer::Modern, Certificate::Expired, Version::Tls12, 0xc030),
        (TlsOffer::Windows2012R2, Certificate::Good, Version::Tls12, 0xc028),
        (TlsOffer::Windows2008, Certificate::Good, Version::Tls10, 0xc014),
        (TlsOffer::DheCbc, Certificate::Good, Version::Tls12, 0x006b),
        (TlsOffer::Tls13, Certificate::Good, Version::Tls13, 0x1302),
        // Healthy servers with keys that few libraries verify.
        (TlsOffer::Tls13, Certificate::P521, Version::Tls13, 0x1302),
        (TlsOffer::Tls13, Certificate::Pss, Version::Tls13, 0x1302),
    ];
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        for (tls, certificate, version, suite) in table {
            let spec = XrdpSpec { tls, certificate, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            let seen = look(&chain, xrdp.port(), RdpDepth::Tls)?;
            let shown = seen.shown().with_context(|| format!("{tls:?}: {seen:?}"))?;
            assert_eq!((shown.version, shown.cipher_suite), (version, CipherSuite(suite)));
            let of_server = shown.certificate.as_ref().ok().context("a certificate")?;
            assert_eq!(of_server.subject_common_name.as_deref(), Some("WIN-LAB01"));
            let is_expired = of_server.not_after < now();
            assert_eq!(is_expired, certificate == Certificate::Expired, "{of_server:?}");
            assert_eq!(seen.connections, if tls == TlsOffer::Tls13 { 5 } else { 4 });
            let (class, notes) = verdict(&chain, xrdp.port())?;
            assert_eq!(class, if is_expired { "certificate_expired" } else { "reachable" });
            assert_eq!(notes.contains("weak_tls"), version < Version::Tls12, "{notes}");
            assert_no_login(&xrdp.log()?);
        }
        Ok(())
    });
}

#[test]
fn freerdp_is_seen_in_every_setting() {
    let table = [
        (Security::Nla, [Fails(5), Fails(5), Selects(2), Selects(2)], Some(Layer::Tls)),
        (Security::Tls, [Fails(1), Selects(1), Selects(1), Selects(1)], Some(Layer::Tls)),
        (Security::Rdp, [Selects(0), Fails(2), Fails(2), Fails(2)], Some(Layer::Rdp)),
        (Security::Extended, [Fails(1); 4], None),
        (Security::Any, [0, 1, 1, 1].map(Selects), Some(Layer::Negotiate)),
    ];
    let reachable = |notes| ("reachable", notes);
    let verdicts = [
        reachable("nla_required"),
        reachable("nla_off"),
        reachable("nla_off plain_rdp_security"),
        // It refuses every offer, and nobody can log in.
        ("security_layer_mismatch", ""),
        reachable("nla_off plain_rdp_security"),
    ];
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        for ((security, expected, deduced), (class, notes)) in table.into_iter().zip(verdicts) {
            let spec = FreeRdpSpec { security, ..FreeRdpSpec::default() };
            let server = FreeRdp::start(&chain.lan.target, spec)?;
            let seen = look(&chain, server.port(), RdpDepth::Ntlm)?;
            let row = format!("{security:?}: {seen:?}");
            assert_eq!(answers(&seen), expected.map(Some), "{row}");
            let has_nla = security == Security::Nla;
            let nla = if has_nla { Nla::Required } else { Nla::Off };
            assert_eq!(seen.security(), (deduced, deduced.map(|_| nla)), "{row}");
            assert_eq!(seen.connections, if has_nla { 5 } else { 4 }, "{row}");
            let said = verdict(&chain, server.port())?;
            assert_eq!(said, (class.to_owned(), notes.to_owned()), "{row}");
            let Some(NtlmOutcome::Challenged { challenge, skew_nanos }) = &seen.ntlm else {
                assert!(!has_nla, "{row}");
                continue;
            };
            assert!(has_nla, "{row}");
            assert!(challenge.dns_computer_name.is_some(), "{row}");
            // Its clock is ours, in whole seconds.
            assert!(skew_nanos.context("a skew")?.abs() < 2 * SECOND, "{row}");
            assert!(seen.time_of(RdpStage::Ntlm).is_some(), "{row}");
        }
        Ok(())
    });
}

/// What else may be asked: a request without negotiation, HYBRID alone, early authorization alone
/// and authentication by a directory.
const FURTHER: [Option<Protocols>; 4] =
    [None, Some(Protocols::HYBRID), Some(Protocols::HYBRID_EX), Some(Protocols::RDSAAD)];

/// An answer that looks never ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rare {
    /// As negotiation has it.
    Negotiates(Said),
    /// A confirm without negotiation.
    Confirms,
    /// TPKT, but no answer to the request: xrdp ends the session that it never began.
    Parts,
}

/// Asks a server one of [`FURTHER`].
fn ask(chain: &Chain, port: u16, offer: Option<Protocols>) -> Result<Rare> {
    /// X.224 Connection Request without a negotiation block (RFC 1006 section 6).
    const BARE: [u8; 11] = [3, 0, 0, 11, 6, 0xe0, 0, 0, 0, 0, 0];
    let to = chain.lan.target_at.socket_v4(port);
    let mut stream = in_namespace(&chain.v1, || TcpStream::connect(to))??;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    match offer {
        Some(offer) => stream.write_all(&connection_request(offer))?,
        None => stream.write_all(&BARE)?,
    }
    let (mut heard, mut piece) = (Vec::new(), [0; 64]);
    loop {
        let length = stream.read(&mut piece)?;
        ensure!(length > 0, "it closed after {heard:x?}");
        heard.extend_from_slice(&piece[..length]);
        return Ok(match read_answer(&heard) {
            Answer::NeedMore => continue,
            Answer::Confirm { selected: Some(protocol), .. } => Rare::Negotiates(Selects(protocol)),
            Answer::Confirm { selected: None, .. } => Rare::Confirms,
            Answer::Failure { code } => Rare::Negotiates(Fails(code.code())),
            Answer::Malformed => Rare::Parts,
            Answer::Foreign { hint } => anyhow::bail!("{}", hint.title().en),
        });
    }
}

/// The columns of the measured answers that no look asks for.
#[test]
fn servers_answer_rare_requests_as_they_were_measured() {
    use Rare::{Confirms, Negotiates, Parts};
    use SecurityLayer::{Negotiate, Rdp, Tls};
    let xrdp = |said| [Confirms, Negotiates(said), Negotiates(said), Parts];
    let xrdps = [
        (Negotiate, Certificate::Good, xrdp(Selects(0))),
        (Tls, Certificate::Good, xrdp(Fails(1))),
        (Rdp, Certificate::Good, xrdp(Selects(0))),
        (Tls, Certificate::Missing, xrdp(Fails(3))),
        (Negotiate, Certificate::Missing, xrdp(Selects(0))),
    ];
    let freerdps = [
        (Security::Nla, [Fails(5), Selects(2), Fails(5), Fails(5)]),
        (Security::Tls, [Fails(1); 4]),
        (Security::Rdp, [Selects(0), Fails(2), Fails(2), Fails(2)]),
        (Security::Extended, [Fails(1); 4]),
        (Security::Any, [Selects(0), Fails(2), Fails(2), Fails(2)]),
    ];
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        let asked = |port| FURTHER.map(|offer| ask(&chain, port, offer));
        for (layer, certificate, expected) in xrdps {
            let spec = XrdpSpec { layer, certificate, ..XrdpSpec::default() };
            let xrdp = Xrdp::start(&chain.lan.target, spec)?;
            for (answer, expected) in asked(xrdp.port()).into_iter().zip(expected) {
                assert_eq!(answer?, expected, "xrdp {layer:?}, {certificate:?}");
            }
            assert_no_login(&xrdp.log()?);
        }
        for (security, expected) in freerdps {
            let spec = FreeRdpSpec { security, ..FreeRdpSpec::default() };
            let server = FreeRdp::start(&chain.lan.target, spec)?;
            for (answer, expected) in asked(server.port()).into_iter().zip(expected) {
                assert_eq!(answer?, Negotiates(expected), "FreeRDP {security:?}");
            }
        }
        Ok(())
    });
}

/// What is particular about a server stands in the verdict.
fn assert_said(script: RdpScript, verdict: &Value) {
    let said = match script {
        RdpScript::Fails(6) => ["whatever it is offered", "give clients one"],
        RdpScript::Fails(4) => ["whatever it is offered", "what answers on this port"],
        RdpScript::Fails(_) => ["whatever it is offered", "no other client helps"],
        RdpScript::Selects(_) => ["0x4 where 0x3", "what answers on this port"],
        RdpScript::HalfAnswer => ["begins an answer", "9 bytes"],
        RdpScript::Tls(TlsScript::Close) => ["TLS fails", "Schannel"],
        _ => return,
    };
    let verdict = verdict.to_string();
    assert!(said.iter().all(|words| verdict.contains(words)), "{script:?}: {verdict}");
}

/// Whatever a server says, a check of it ends in time, needs little memory, and names what it can.
#[test]
fn hostile_servers_are_named_in_time() {
    /// Data of the process, stacks and all: an allocation beyond it fails, and the check with it.
    const MEMORY: &str = "--data=33554432";
    use RdpScript::{
        EndlessBanner, Fails, GarbageTpkt, HalfAnswer, HugeTpkt, Selects, SlowLoris, Tls,
    };
    let table = [
        (Fails(4), "rdp_refused"),
        (Fails(6), "rdp_refused"),
        // RDSTLS, which nobody offered.
        (Selects(4), "rdp_refused"),
        (GarbageTpkt, "wrong_service"),
        (HugeTpkt, "wrong_service"),
        (EndlessBanner, "wrong_service"),
        (SlowLoris, "service_hung"),
        (HalfAnswer, "service_hung"),
        (Tls(TlsScript::Reset), "certificate"),
        (Tls(TlsScript::Close), "certificate"),
        (Tls(TlsScript::AlertStorm), "certificate"),
        (Tls(TlsScript::HugeRecord), "certificate"),
        (Tls(TlsScript::HugeCertificate), "certificate"),
    ];
    inside(test_name!(), |lab| {
        let chain = chain(lab)?;
        for (script, expected) in table {
            let server = rdp_scripted(&chain.lan.target, 3389, script)?;
            let mut confined = chain.v1.command("prlimit");
            let document = read(confined.args([MEMORY, REACHD, "check", "--json", "10.9.0.10"]))?;
            let verdict = &document["verdict"];
            assert_eq!(verdict["class"], expected, "{script:?}: {document}");
            assert_remedied(verdict);
            assert_said(script, verdict);
            let took = document["seconds"].as_f64().context("a duration")?;
            assert!(took < 12.5, "{script:?} took {took} s");
            // Who resets where a certificate should come is not known from the reset alone.
            let surest = verdict["causes"][0]["probability"].as_f64().context("a cause")?;
            assert!(script != Tls(TlsScript::Reset) || surest <= 0.8, "{verdict}");
            drop(server);
        }
        Ok(())
    });
}
