//! A look at an RDP server past the handshake: a few connections, one after another, and none of
//! them goes past the challenge of NTLM.
//!
//! The driver makes the connection of [`Look::next_attempt`], tells [`Look`] what came of it and
//! does what the [`Step`] says, until there is no attempt left; [`Look::finish`] gives the result.
//! Of each stage only so much is read as its answer may take, and no look makes more than
//! [`ATTEMPTS_MAX`] connections.

use std::collections::VecDeque;
use std::time::Duration;

use super::exchange::Ending;
use crate::evidence::ConnectResult;
use crate::evidence::rdp::{
    NtlmOutcome, RdpAnswer, RdpDepth, RdpLook, RdpStage, StageFailure, TlsOutcome, TlsShown,
    X224Outcome,
};
use crate::time::Instant;
use crate::wire::certificate::{Certificate, fingerprint_sha256};
use crate::wire::credssp;
use crate::wire::tls::{self, AlertDescription, AlertLevel, CipherSuite, HandshakeReader, Version};
use crate::wire::x224::{self, Protocols, Selection, connection_request};

/// What a look offers, in this order: clients of today first, then what tells the setting.
pub const OFFERS: [Protocols; 4] = [
    Protocols::SSL.with(Protocols::HYBRID),
    Protocols::RDP,
    Protocols::SSL,
    Protocols::SSL.with(Protocols::HYBRID).with(Protocols::HYBRID_EX),
];
/// Connections that a look makes at most: one for each offer, one for a certificate that the first
/// did not show, one for a handshake that is completed.
pub const ATTEMPTS_MAX: usize = OFFERS.len() + 2;
/// No further connection begins so long after the first.
const LONGEST: Duration = Duration::from_secs(4);
/// A stage that is interrupted after so long has gone unanswered; before, it tells nothing.
const ENOUGH: Duration = Duration::from_secs(3);
/// The longest answer to a connection request that is read.
const X224_BYTES_MAX: usize = 1_024;

/// One look in progress.
#[derive(Debug)]
pub struct Look {
    depth: RdpDepth,
    server_name: Option<String>,
    random: [u8; 32],
    offers: VecDeque<Protocols>,
    current: Option<Conversation>,
    done: RdpLook,
    begun: Option<Instant>,
    /// The server stopped to answer: it is asked nothing more.
    over: bool,
    hello_sent: bool,
    handshake_made: bool,
}

/// One connection of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// What its connection request offers.
    pub offered: Protocols,
    /// What follows when the server selects a protocol that uses TLS.
    pub then: Then,
}

/// What follows the answer to a connection request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing: the connection is ended.
    Part,
    /// A ClientHello, for the certificate in the clear.
    Hello,
    /// A whole handshake by the driver's library, and NTLM if that is wanted.
    Handshake {
        /// Whether a NEGOTIATE message follows.
        ntlm: bool,
    },
}

/// What the driver does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read on, within the time that the stage began with.
    Listen,
    /// Send these bytes; a stage begins.
    Send(Vec<u8>),
    /// Complete a handshake of TLS that believes any certificate; a stage begins.
    Handshake,
    /// End the connection.
    Part,
}

/// What a completed handshake showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshaken {
    /// The version as its number travels.
    pub version: u16,
    /// The suite.
    pub cipher_suite: u16,
    /// The server's own certificate in DER.
    pub certificate: Vec<u8>,
}

/// Why a handshake was not completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeError {
    /// No version or suite is shared, or the library takes offence at what came.
    Unsupported,
    /// The server ended it with an alert.
    Alert(AlertDescription),
    /// The connection ended.
    Ended(Ending),
}

#[derive(Debug)]
struct Conversation {
    attempt: Attempt,
    /// When the stage began.
    begun: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Connecting,
    X224 { heard: Vec<u8> },
    Hello(Box<HandshakeReader>, bool),
    Handshaking,
    Ntlm(Box<credssp::AnswerReader>, bool),
    Over,
}

impl Look {
    /// A look of this depth; `random` fills the hello and is no secret.
    pub fn new(depth: RdpDepth, server_name: Option<&str>, random: [u8; 32]) -> Self {
        let offers = if depth == RdpDepth::Off { VecDeque::new() } else { OFFERS.into() };
        Self {
            depth,
            server_name: server_name.map(str::to_owned),
            random,
            offers,
            current: None,
            done: RdpLook::default(),
            begun: None,
            over: false,
            hello_sent: false,
            handshake_made: false,
        }
    }

    /// The connection to make next, `None` when the look is over. A connection that is still open
    /// counts as ended by us.
    pub fn next_attempt(&mut self, now: Instant) -> Option<Attempt> {
        self.current = None;
        let begun = *self.begun.get_or_insert(now);
        if self.over || now.since(begun) > LONGEST {
            return None;
        }
        let attempt = match self.offers.pop_front() {
            Some(offered) => self.first_of(offered),
            None => self.further()?,
        };
        self.done.connections += 1;
        self.current = Some(Conversation { attempt, begun: now, stage: Stage::Connecting });
        Some(attempt)
    }

    /// The first connection with an offer: a hello follows on the first of all.
    fn first_of(&self, offered: Protocols) -> Attempt {
        let hello = self.depth >= RdpDepth::Tls && self.done.answers.is_empty();
        Attempt { offered, then: if hello { Then::Hello } else { Then::Part } }
    }

    /// A connection for what the offers left open, each kind once.
    fn further(&mut self) -> Option<Attempt> {
        let uses_tls = self.selecting(|protocol| protocol != 0);
        if self.depth >= RdpDepth::Tls && !self.hello_sent {
            self.hello_sent = true;
            return Some(Attempt { offered: uses_tls?, then: Then::Hello });
        }
        if std::mem::replace(&mut self.handshake_made, true) {
            return None;
        }
        let credssp = Protocols::HYBRID.with(Protocols::HYBRID_EX).bits();
        let ntlm = self.selecting(|protocol| protocol & credssp != 0);
        let speaks = self.tls_answers() || self.may_be_newer();
        let ntlm = ntlm.filter(|_| self.depth == RdpDepth::Ntlm && speaks);
        let newer = uses_tls.filter(|_| self.may_be_newer());
        let attempt = |offered, ntlm| Attempt { offered, then: Then::Handshake { ntlm } };
        ntlm.map(|offered| attempt(offered, true)).or(newer.map(|offered| attempt(offered, false)))
    }

    /// The first offer of which the server selected a protocol like this, as it may.
    fn selecting(&self, is_wanted: impl Fn(u32) -> bool) -> Option<Protocols> {
        let mut answers = self.done.answers.iter();
        let wanted = answers.find(|answer| match answer.outcome {
            X224Outcome::Selected { protocol, selection, .. } => {
                selection == Selection::Offered && is_wanted(protocol)
            }
            _ => false,
        });
        wanted.map(|answer| answer.offered)
    }

    /// Whether the server speaks TLS at all.
    fn tls_answers(&self) -> bool {
        matches!(self.done.tls, Some(TlsOutcome::Shown(_) | TlsOutcome::Alert(_)))
    }

    /// Whether what our hello came to may mean that the server takes TLS 1.3 only: some alert, and
    /// some end the connection without a word, as Windows does.
    fn may_be_newer(&self) -> bool {
        match &self.done.tls {
            Some(TlsOutcome::Alert(alert)) => {
                let said = alert.description;
                said.is_about_the_offer() || said == AlertDescription::INTERNAL_ERROR
            }
            Some(TlsOutcome::Failed(StageFailure::Closed | StageFailure::Reset)) => true,
            _ => false,
        }
    }

    /// Keeps what a whole handshake that failed says about TLS, where our hello had said nothing
    /// that is about the server.
    fn note_unshared(&mut self, error: HandshakeError) {
        let first = match &self.done.tls {
            Some(TlsOutcome::Alert(alert)) => Some(alert.description),
            _ => None,
        };
        let said = match error {
            HandshakeError::Alert(said) => Some(said),
            HandshakeError::Unsupported => first,
            HandshakeError::Ended(ending) => {
                // Who says that the hello is too old, and then lets one that is not die, shares
                // something; of two ends without a word only a silence says more than the first.
                let too_old = first.is_some_and(AlertDescription::is_about_the_offer);
                let silent = ending == Ending::TimedOut;
                if self.may_be_newer() && (too_old || silent) {
                    self.done.tls = Some(TlsOutcome::Failed(failure(ending, false)));
                }
                return;
            }
        };
        if !self.may_be_newer() || first == Some(AlertDescription::INTERNAL_ERROR) {
            return;
        }
        self.done.tls = Some(match said {
            Some(description) if !description.is_about_the_offer() => {
                TlsOutcome::Alert(tls::Alert { level: AlertLevel::Fatal, description })
            }
            said => TlsOutcome::Unshared(said),
        });
    }

    /// The handshake of TCP was completed after this time, if it is known.
    pub fn handle_connected(&mut self, now: Instant, took: Option<Duration>) -> Step {
        let Some(current) = &mut self.current else { return Step::Part };
        note(&mut self.done, RdpStage::Connect, took.unwrap_or(now.since(current.begun)));
        current.begun = now;
        current.stage = Stage::X224 { heard: Vec::new() };
        Step::Send(connection_request(current.attempt.offered).to_vec())
    }

    /// There was no connection.
    pub fn handle_not_connected(&mut self, result: ConnectResult) {
        self.done.unaccepted.push(result.clone());
        self.answer(X224Outcome::Failed(StageFailure::NotConnected(result)));
    }

    /// Takes what arrived, within TLS once a handshake was completed. `wall` is the time since the
    /// Unix epoch by our own clock.
    pub fn handle_bytes(&mut self, now: Instant, wall: Duration, bytes: &[u8]) -> Step {
        self.done.wall = Some(wall);
        let Some(current) = &mut self.current else { return Step::Part };
        match &mut current.stage {
            Stage::X224 { heard } => {
                let room = X224_BYTES_MAX.saturating_sub(heard.len());
                heard.extend(bytes.iter().take(room));
                let answer = match x224::read_answer(heard) {
                    x224::Answer::NeedMore if heard.len() >= X224_BYTES_MAX => {
                        x224::Answer::Malformed
                    }
                    answer => answer,
                };
                self.handle_x224(now, answer)
            }
            Stage::Hello(reader, heard) => {
                *heard |= !bytes.is_empty();
                let outcome = match reader.handle_bytes(bytes) {
                    tls::Answer::NeedMore => return Step::Listen,
                    tls::Answer::Certificate(shown) => {
                        let hello = shown.server_hello;
                        TlsOutcome::shown(hello.version, hello.cipher_suite, &shown.certificate)
                    }
                    tls::Answer::Alert(alert) => TlsOutcome::Alert(*alert),
                    tls::Answer::Foreign { hint } => TlsOutcome::Foreign(hint.title().into()),
                    tls::Answer::Malformed => TlsOutcome::Malformed,
                    tls::Answer::TooLarge => TlsOutcome::TooLarge,
                };
                self.end_tls(now, outcome)
            }
            Stage::Ntlm(reader, heard) => {
                *heard |= !bytes.is_empty();
                let round_trip = now.since(current.begun);
                let outcome = match reader.handle_bytes(bytes) {
                    credssp::Answer::NeedMore => return Step::Listen,
                    credssp::Answer::Challenge { challenge, .. } => {
                        let there = challenge.timestamp;
                        let skew = there.map(|there| skew(there, wall, round_trip));
                        let challenge = Box::new(challenge.clone());
                        note(&mut self.done, RdpStage::Ntlm, round_trip);
                        NtlmOutcome::Challenged { challenge, skew_nanos: skew }
                    }
                    credssp::Answer::Refused { error_code, .. } => NtlmOutcome::Error(error_code.0),
                    credssp::Answer::Malformed | credssp::Answer::TooLarge => {
                        NtlmOutcome::Malformed
                    }
                };
                self.end_ntlm(outcome)
            }
            Stage::Connecting | Stage::Handshaking | Stage::Over => Step::Part,
        }
    }

    /// Takes the end of a handshake that [`Step::Handshake`] asked for.
    pub fn handle_handshake(
        &mut self,
        now: Instant,
        result: Result<Handshaken, HandshakeError>,
    ) -> Step {
        let Some(current) = &mut self.current else { return Step::Part };
        let ntlm = current.attempt.then == Then::Handshake { ntlm: true };
        let took = now.since(current.begun);
        match result {
            Ok(Handshaken { version, cipher_suite, certificate }) => {
                if ntlm {
                    current.begun = now;
                    current.stage = Stage::Ntlm(Box::default(), false);
                }
                if let Some(version) = Version::from_wire(version)
                    && self.done.shown().is_none()
                {
                    let suite = CipherSuite(cipher_suite);
                    self.done.tls = Some(TlsOutcome::shown(version, suite, &certificate));
                    note(&mut self.done, RdpStage::Tls, took);
                }
                if ntlm { Step::Send(credssp::REQUEST.to_vec()) } else { Step::Part }
            }
            Err(error) => {
                // Where our hello died as well, NTLM was never come to.
                let asked = ntlm && self.tls_answers();
                self.note_unshared(error);
                let ended = match error {
                    HandshakeError::Unsupported | HandshakeError::Alert(_) => {
                        NtlmOutcome::UnsupportedTls
                    }
                    HandshakeError::Ended(ending) => NtlmOutcome::Failed(failure(ending, false)),
                };
                if asked { self.end_ntlm(ended) } else { Step::Part }
            }
        }
    }

    /// The connection ended, or the stage's time ran out.
    pub fn handle_end(&mut self, now: Instant, ending: Ending) {
        let Some(current) = &self.current else { return };
        match &current.stage {
            Stage::X224 { heard } => {
                let failed = failure(ending, !heard.is_empty());
                self.answer(X224Outcome::Failed(failed));
            }
            Stage::Hello(_, heard) => {
                let failed = failure(ending, *heard);
                self.end_tls(now, TlsOutcome::Failed(failed));
            }
            Stage::Ntlm(_, heard) => {
                let failed = failure(ending, *heard);
                self.end_ntlm(NtlmOutcome::Failed(failed));
            }
            Stage::Handshaking => {
                self.handle_handshake(now, Err(HandshakeError::Ended(ending)));
            }
            Stage::Connecting | Stage::Over => {}
        }
    }

    /// There is no time for more, whatever is under way.
    pub fn handle_interrupted(&mut self, now: Instant) {
        if self.current.as_ref().is_some_and(|current| now.since(current.begun) >= ENOUGH) {
            self.handle_end(now, Ending::TimedOut);
        }
        self.current = None;
        self.over = true;
    }

    /// What the look showed.
    pub fn finish(self) -> RdpLook {
        self.done
    }

    fn handle_x224(&mut self, now: Instant, answer: x224::Answer) -> Step {
        let Some(current) = &mut self.current else { return Step::Part };
        let (attempt, took) = (current.attempt, now.since(current.begun));
        let outcome = match answer {
            x224::Answer::NeedMore => return Step::Listen,
            x224::Answer::Confirm { selected: Some(protocol), flags } => {
                let selection = attempt.offered.allows(protocol);
                X224Outcome::Selected { protocol, flags: flags.0, selection }
            }
            x224::Answer::Confirm { selected: None, .. } => X224Outcome::Plain,
            x224::Answer::Failure { code } => X224Outcome::Failure(code),
            x224::Answer::Foreign { hint } => X224Outcome::Foreign(hint.title().into()),
            x224::Answer::Malformed => X224Outcome::Malformed,
        };
        if !matches!(outcome, X224Outcome::Foreign(_) | X224Outcome::Malformed) {
            note(&mut self.done, RdpStage::X224, took);
        }
        let goes_on = matches!(
            outcome,
            X224Outcome::Selected { protocol: 1.., selection: Selection::Offered, .. }
        );
        let (stage, step) = match attempt.then {
            Then::Hello if goes_on => {
                self.hello_sent = true;
                let hello = tls::client_hello(self.random, self.server_name.as_deref());
                (Stage::Hello(Box::default(), false), Step::Send(hello))
            }
            Then::Handshake { .. } if goes_on => (Stage::Handshaking, Step::Handshake),
            Then::Part | Then::Hello | Then::Handshake { .. } => (Stage::Over, Step::Part),
        };
        (current.begun, current.stage) = (now, stage);
        self.answer(outcome);
        step
    }

    /// Keeps the answer to the current offer, the first one to each; where the server has stopped
    /// to answer as an RDP server does, nothing more is asked.
    fn answer(&mut self, outcome: X224Outcome) {
        let Some(current) = &mut self.current else { return };
        let offered = current.attempt.offered;
        let answers = matches!(
            outcome,
            X224Outcome::Selected { .. } | X224Outcome::Plain | X224Outcome::Failure(_)
        );
        if !answers {
            current.stage = Stage::Over;
            self.over = true;
        }
        if self.done.answer_to(offered).is_none() {
            self.done.answers.push(RdpAnswer { offered, outcome });
        }
    }

    fn end_tls(&mut self, now: Instant, outcome: TlsOutcome) -> Step {
        if let Some(current) = &mut self.current {
            current.stage = Stage::Over;
            if matches!(outcome, TlsOutcome::Shown(_)) {
                note(&mut self.done, RdpStage::Tls, now.since(current.begun));
            }
        }
        self.done.tls = Some(outcome);
        Step::Part
    }

    fn end_ntlm(&mut self, outcome: NtlmOutcome) -> Step {
        if let Some(current) = &mut self.current {
            current.stage = Stage::Over;
        }
        self.done.ntlm = Some(outcome);
        Step::Part
    }
}

impl TlsOutcome {
    /// A certificate that was shown, readable or not.
    fn shown(version: Version, cipher_suite: CipherSuite, der: &[u8]) -> Self {
        let certificate = Certificate::parse(der);
        let fingerprint_sha256 = fingerprint_sha256(der);
        Self::Shown(Box::new(TlsShown { version, cipher_suite, certificate, fingerprint_sha256 }))
    }
}

/// Keeps how long a stage took, the first time.
fn note(done: &mut RdpLook, stage: RdpStage, took: Duration) {
    if done.time_of(stage).is_none() {
        done.times.push((stage, took));
    }
}

fn failure(ending: Ending, heard: bool) -> StageFailure {
    match ending {
        Ending::Closed => StageFailure::Closed,
        Ending::Reset => StageFailure::Reset,
        Ending::TimedOut => StageFailure::TimedOut { heard },
    }
}

/// A server's clock minus ours in nanoseconds, taking its stamp for made half a round trip ago.
fn skew(there: Duration, here: Duration, round_trip: Duration) -> i128 {
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    nanos(there) - (nanos(here) - nanos(round_trip / 2))
}

#[cfg(test)]
mod tests;
