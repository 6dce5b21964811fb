use std::ops::Range;

use super::*;
use crate::evidence::rdp::{Nla, SecurityLayer};
use crate::wire::captures::{capture, challenge, utf16le};
use crate::wire::x224::{FailureCode, ForeignHint};

/// Our clock when everything is heard.
const WALL: Duration = Duration::from_secs(1_700_000_000);
/// How long each answer takes.
const TAKES: Duration = Duration::from_millis(40);
const ALL: usize = usize::MAX;

fn response(kind: u8, value: u8) -> Vec<u8> {
    vec![3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, kind, 0, 8, 0, value, 0, 0, 0]
}

fn selects(protocol: u8) -> Vec<u8> {
    response(2, protocol)
}

fn fails(code: u8) -> Vec<u8> {
    response(3, code)
}

/// A server that says the same whenever it is asked the same.
struct Server {
    /// What it answers to 0, 1, 3 and 11.
    x224: [Vec<u8>; 4],
    hello: Vec<u8>,
    handshake: Result<Handshaken, HandshakeError>,
    ntlm: Vec<u8>,
    /// How the connection ends where it says nothing more.
    ending: Ending,
}

impl Server {
    fn new(x224: [Vec<u8>; 4]) -> Self {
        Self {
            x224,
            hello: capture!("tls/xrdp_tls12.bin").to_vec(),
            handshake: Err(HandshakeError::Unsupported),
            ntlm: Vec::new(),
            ending: Ending::TimedOut,
        }
    }

    fn windows() -> Self {
        Self::new([fails(5), fails(5), selects(2), selects(8)])
    }

    fn says(&self, sent: &[u8]) -> &[u8] {
        match sent {
            [3, 0, 0, 19, .., protocols, 0, 0, 0] => {
                let at = [0, 1, 3, 11].iter().position(|offer| offer == protocols).unwrap();
                &self.x224[at]
            }
            [22, ..] => &self.hello,
            sent if *sent == credssp::REQUEST => &self.ntlm,
            _ => panic!("{sent:?}"),
        }
    }

    /// Runs a look against it, its answers in pieces of so many bytes.
    fn look(&self, depth: RdpDepth, piece: usize) -> RdpLook {
        let mut look = Look::new(depth, None, [7; 32]);
        let mut now = Instant::ZERO;
        let mut attempts = 0;
        while look.next_attempt(now).is_some() {
            attempts += 1;
            now = now + TAKES;
            let mut step = look.handle_connected(now, None);
            loop {
                now = now + TAKES;
                step = match step {
                    Step::Send(bytes) => {
                        let mut said = self.says(&bytes).chunks(piece.min(1 << 20));
                        said.find_map(|bytes| {
                            let step = look.handle_bytes(now, WALL, bytes);
                            (step != Step::Listen).then_some(step)
                        })
                        .unwrap_or(Step::Listen)
                    }
                    Step::Handshake => look.handle_handshake(now, self.handshake.clone()),
                    Step::Listen => {
                        look.handle_end(now, self.ending);
                        break;
                    }
                    Step::Part => break,
                };
            }
            assert!(attempts <= ATTEMPTS_MAX);
        }
        let done = look.finish();
        assert_eq!(done.connections, attempts as u32);
        done
    }
}

fn settings(look: &RdpLook) -> (Option<SecurityLayer>, Option<Nla>, u32) {
    let (layer, nla) = look.security();
    (layer, nla, look.connections)
}

#[test]
fn a_server_as_installed_is_asked_four_times() {
    let look = Server::windows().look(RdpDepth::Tls, ALL);
    assert_eq!(settings(&look), (Some(SecurityLayer::Tls), Some(Nla::Required), 4));
    let shown = look.shown().unwrap();
    assert_eq!((shown.version, shown.cipher_suite.0), (Version::Tls12, 0xc030));
    let certificate = shown.certificate.as_ref().unwrap();
    assert_eq!(certificate.subject_common_name.as_deref(), Some("WIN-LAB01"));
    assert_eq!(certificate.fingerprint_sha256, shown.fingerprint_sha256);
    for stage in [RdpStage::Connect, RdpStage::X224, RdpStage::Tls] {
        assert_eq!(look.time_of(stage), Some(TAKES), "{stage:?}");
    }
    assert_eq!((look.time_of(RdpStage::Ntlm), look.ntlm), (None, None));
}

#[test]
fn no_depth_asks_for_more_than_it_says() {
    assert_eq!(Server::windows().look(RdpDepth::Off, ALL), RdpLook::default());
    let look = Server::windows().look(RdpDepth::X224, ALL);
    assert_eq!((settings(&look).2, look.tls), (4, None));
}

#[test]
fn standard_security_has_no_tls_to_look_at() {
    for x224 in [
        [selects(0), fails(2), fails(2), fails(2)],
        // What was offered is not what it takes: no hello follows.
        [selects(0), selects(0), selects(0), selects(0)],
    ] {
        let look = Server::new(x224).look(RdpDepth::Ntlm, ALL);
        assert_eq!(settings(&look), (Some(SecurityLayer::Rdp), Some(Nla::Off), 4));
        assert_eq!((look.tls, look.ntlm), (None, None));
    }
}

#[test]
fn what_was_never_offered_is_a_violation_and_is_not_taken() {
    let look =
        Server::new([selects(0), selects(2), selects(4), selects(3)]).look(RdpDepth::Tls, ALL);
    let outcomes: Vec<_> = look.answers.iter().map(|answer| &answer.outcome).collect();
    let selection = |outcome: &X224Outcome| match outcome {
        X224Outcome::Selected { selection, .. } => *selection,
        other => panic!("{other:?}"),
    };
    use Selection::{Offered, Violation};
    let seen: Vec<_> = outcomes.into_iter().map(selection).collect();
    assert_eq!(seen, [Violation, Offered, Violation, Violation], "3, 0, 1 and 11");
    assert_eq!(look.tls, None);
}

#[test]
fn tls_is_looked_at_on_the_offer_that_is_taken() {
    let look = Server::new([fails(1), selects(1), fails(4), fails(4)]).look(RdpDepth::Tls, ALL);
    assert_eq!(look.connections, 5);
    assert!(look.shown().is_some());
}

#[test]
fn a_server_without_a_certificate_says_so_to_every_offer() {
    let look = Server::new([fails(3), fails(3), fails(3), fails(3)]).look(RdpDepth::Ntlm, ALL);
    let failure = X224Outcome::Failure(FailureCode::SslCertNotOnServer);
    assert!(look.answers.iter().all(|answer| answer.outcome == failure));
    assert_eq!((look.answers.len(), look.tls, look.connections), (4, None, 4));
}

#[test]
fn tls_13_is_reached_by_a_whole_handshake() {
    let mut server = Server::windows();
    server.hello = capture!("tls/xrdp_tls13.bin").to_vec();
    let certificate = capture!("certificates/rsa.der").to_vec();
    server.handshake = Ok(Handshaken { version: 0x304, cipher_suite: 0x1302, certificate });
    let look = server.look(RdpDepth::Tls, ALL);
    let shown = look.shown().unwrap();
    assert_eq!((shown.version, look.connections), (Version::Tls13, 5));
    assert!(shown.certificate.is_ok());
    // Where that dies, this is what became of TLS, and not that the hello was too old.
    for (ending, expected) in [
        (Ending::Reset, StageFailure::Reset),
        (Ending::Closed, StageFailure::Closed),
        (Ending::TimedOut, StageFailure::TimedOut { heard: false }),
    ] {
        server.handshake = Err(HandshakeError::Ended(ending));
        let look = server.look(RdpDepth::Tls, ALL);
        assert_eq!((look.tls, look.connections), (Some(TlsOutcome::Failed(expected)), 5));
    }
    // Who closed the hello and is silent now is silent.
    (server.hello, server.ending) = (Vec::new(), Ending::Closed);
    let look = server.look(RdpDepth::Tls, ALL);
    let silent = TlsOutcome::Failed(StageFailure::TimedOut { heard: false });
    assert_eq!(look.tls, Some(silent));
}

fn alerts(description: u8) -> Vec<u8> {
    vec![21, 3, 3, 0, 2, 2, description]
}

#[test]
fn a_server_of_tls_13_may_end_the_hello_as_it_likes() {
    let certificate = capture!("certificates/rsa.der").to_vec();
    let shaken = Handshaken { version: 0x304, cipher_suite: 0x1302, certificate };
    for (hello, ending) in
        [(Vec::new(), Ending::Closed), (Vec::new(), Ending::Reset), (alerts(80), Ending::Closed)]
    {
        let mut server = Server::windows();
        (server.hello, server.ending) = (hello, ending);
        server.handshake = Ok(shaken.clone());
        let look = server.look(RdpDepth::Tls, ALL);
        assert_eq!(look.shown().map(|shown| shown.version), Some(Version::Tls13), "{ending:?}");
        assert_eq!(look.connections, 5);
    }
    // Who is silent would be so again.
    let mut server = Server::windows();
    (server.hello, server.handshake) = (Vec::new(), Ok(shaken));
    let look = server.look(RdpDepth::Tls, ALL);
    let silent = TlsOutcome::Failed(StageFailure::TimedOut { heard: false });
    assert_eq!((look.tls, look.connections), (Some(silent), 4));
}

#[test]
fn what_is_not_shared_is_not_broken() {
    use HandshakeError::{Alert, Unsupported};
    let said = AlertDescription;
    let fatal = |number| {
        let level = AlertLevel::Fatal;
        TlsOutcome::Alert(tls::Alert { level, description: said(number) })
    };
    let rows = [
        (alerts(40), Alert(said(40)), TlsOutcome::Unshared(Some(said(40)))),
        (alerts(70), Alert(said(47)), TlsOutcome::Unshared(Some(said(47)))),
        (alerts(71), Unsupported, TlsOutcome::Unshared(Some(said(71)))),
        (Vec::new(), Alert(said(40)), TlsOutcome::Unshared(Some(said(40)))),
        (Vec::new(), Unsupported, TlsOutcome::Unshared(None)),
        // A key that the server cannot use.
        (alerts(80), Alert(said(40)), fatal(80)),
        (alerts(80), Unsupported, fatal(80)),
        (alerts(70), Alert(said(80)), fatal(80)),
        (Vec::new(), Alert(said(80)), fatal(80)),
    ];
    for (hello, error, expected) in rows {
        let mut server = Server::windows();
        (server.hello, server.ending) = (hello, Ending::Closed);
        server.handshake = Err(error);
        let look = server.look(RdpDepth::Tls, ALL);
        assert_eq!(look.tls, Some(expected), "{error:?}");
        assert_eq!(look.connections, 5);
    }
}

/// A TSRequest with an NTLM challenge of a clock that is so many seconds ahead of ours.
fn challenged(ahead: u64) -> Vec<u8> {
    let filetime = (WALL.as_secs() + ahead + 11_644_473_600) * 10_000_000;
    let name = utf16le("WIN-LAB01");
    let pairs = [(1, &name[..]), (7, &filetime.to_le_bytes()), (0, &[])];
    let token = challenge(0xe28a_8235, &name, &pairs);
    let wrap = |tag: u8, content: &[u8]| {
        let [high, low] = (content.len() as u16).to_be_bytes();
        [&[tag, 0x82, high, low], content].concat()
    };
    let token = wrap(0xa1, &wrap(0x30, &wrap(0x30, &wrap(0xa0, &wrap(4, &token)))));
    wrap(0x30, &[&[0xa0, 3, 2, 1, 6], &token[..]].concat())
}

#[test]
fn a_challenge_gives_names_and_the_clock() {
    let mut server = Server::windows();
    let certificate = capture!("certificates/rsa.der").to_vec();
    server.handshake = Ok(Handshaken { version: 0x304, cipher_suite: 0x1302, certificate });
    server.ntlm = challenged(90);
    let look = server.look(RdpDepth::Ntlm, ALL);
    assert_eq!(look.connections, 5);
    let Some(NtlmOutcome::Challenged { challenge, skew_nanos }) = &look.ntlm else {
        panic!("{:?}", look.ntlm)
    };
    assert_eq!(challenge.netbios_computer_name.as_deref(), Some("WIN-LAB01"));
    // The challenge was made half of its round trip before it was heard.
    assert_eq!(*skew_nanos, Some(90_020_000_000));
    assert_eq!(look.time_of(RdpStage::Ntlm), Some(TAKES));
    // The hello before was answered in the clear, which is kept.
    assert_eq!(look.shown().unwrap().version, Version::Tls12);
    server.ntlm = vec![0x30, 12, 0xa0, 3, 2, 1, 6, 0xa4, 5, 2, 3, 0x5e, 0, 0];
    let malformed = server.look(RdpDepth::Ntlm, ALL);
    assert!(matches!(malformed.ntlm, Some(NtlmOutcome::Error(_) | NtlmOutcome::Malformed)));
}

#[test]
fn a_library_that_shares_nothing_with_the_server_says_so() {
    let look = Server::windows().look(RdpDepth::Ntlm, ALL);
    assert_eq!((look.ntlm.as_ref(), look.connections), (Some(&NtlmOutcome::UnsupportedTls), 5));
    assert!(look.shown().is_some());
}

#[test]
fn who_does_not_speak_rdp_is_asked_once() {
    let timed_out = X224Outcome::Failed(StageFailure::TimedOut { heard: true });
    let cases: [(&[u8], X224Outcome); 4] = [
        (b"SSH-2.0-OpenSSH_9.2\r\n", X224Outcome::Foreign(ForeignHint::Ssh.title().into())),
        (&[3, 0, 0xff, 0xff], X224Outcome::Malformed),
        (&[3, 0, 0, 9, 2, 0xf0, 0x80, 0x21, 0x80], X224Outcome::Malformed),
        (&[3, 0], timed_out),
    ];
    for (said, expected) in cases {
        let look = Server::new([(); 4].map(|()| said.to_vec())).look(RdpDepth::Ntlm, ALL);
        let [answer] = &look.answers[..] else { panic!("{look:?}") };
        assert_eq!(answer.outcome, expected);
        assert_eq!((look.connections, look.tls), (1, None));
    }
    let mut look = Look::new(RdpDepth::Tls, None, [0; 32]);
    assert!(look.next_attempt(Instant::ZERO).is_some());
    look.handle_not_connected(ConnectResult::Refused);
    assert_eq!(look.next_attempt(Instant::ZERO), None);
    let failed = StageFailure::NotConnected(ConnectResult::Refused);
    assert_eq!(look.finish().answers[0].outcome, X224Outcome::Failed(failed));
}

#[test]
fn a_tls_stage_that_dies_is_told_how() {
    for (ending, failed) in [
        (Ending::Reset, StageFailure::Reset),
        (Ending::Closed, StageFailure::Closed),
        (Ending::TimedOut, StageFailure::TimedOut { heard: false }),
    ] {
        let mut server = Server::windows();
        (server.hello, server.ending) = (Vec::new(), ending);
        server.handshake = Err(HandshakeError::Ended(ending));
        let look = server.look(RdpDepth::Ntlm, ALL);
        assert_eq!(look.tls, Some(TlsOutcome::Failed(failed)));
        // The settings are asked for nevertheless. Who ends the connection may want TLS 1.3.
        let connections = if ending == Ending::TimedOut { 4 } else { 5 };
        assert_eq!((look.answers.len(), look.ntlm, look.connections), (4, None, connections));
    }
}

#[test]
fn hostile_servers_are_read_for_a_bounded_time() {
    let record = |fragment: &[u8]| {
        let [high, low] = (fragment.len() as u16).to_be_bytes();
        [&[22, 3, 3, high, low], fragment].concat()
    };
    let hello = [&[2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x30, 0]].concat();
    let certificate =
        [&[11, 0x10, 0, 3, 0x10, 0, 0, 0x0f, 0xff, 0xfd][..], &[0x30; 8_000]].concat();
    let large = [record(&hello), record(&certificate)].concat();
    let storm = [21, 3, 3, 0, 2, 1, 112].repeat(200_000);
    for (said, expected) in [(large, TlsOutcome::TooLarge), (storm, TlsOutcome::TooLarge)] {
        let mut server = Server::windows();
        server.hello = said;
        assert_eq!(server.look(RdpDepth::Tls, 4_096).tls, Some(expected));
    }
    let mut server = Server::windows();
    server.x224[2] = b"220 ".iter().copied().cycle().take(1 << 20).collect();
    let look = server.look(RdpDepth::Tls, 1);
    assert!(matches!(look.answers[0].outcome, X224Outcome::Foreign(_)));
}

#[test]
fn it_does_not_matter_in_which_pieces_answers_come() {
    let mut server = Server::windows();
    let certificate = capture!("certificates/rsa.der").to_vec();
    server.handshake = Ok(Handshaken { version: 0x303, cipher_suite: 0xc030, certificate });
    server.ntlm = challenged(0);
    let whole = server.look(RdpDepth::Ntlm, ALL);
    let pieces: Range<usize> = 1..40;
    for piece in pieces {
        assert_eq!(server.look(RdpDepth::Ntlm, piece), whole, "pieces of {piece}");
    }
}

#[test]
fn what_is_interrupted_tells_nothing_unless_it_had_time_enough() {
    for (waited, expected) in [(ENOUGH - TAKES, None), (ENOUGH, Some(false))] {
        let mut look = Look::new(RdpDepth::Tls, None, [7; 32]);
        look.next_attempt(Instant::ZERO);
        look.handle_connected(Instant::ZERO, None);
        look.handle_bytes(Instant::ZERO, WALL, &selects(2));
        look.handle_interrupted(Instant::ZERO + waited);
        assert_eq!(look.next_attempt(Instant::ZERO + waited), None);
        let seen = look.finish();
        let silent = expected.map(|heard| TlsOutcome::Failed(StageFailure::TimedOut { heard }));
        assert_eq!((seen.answers.len(), seen.tls), (1, silent));
    }
}
