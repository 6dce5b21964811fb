//! The `rdp` object of the verdict document: what the newest look at an RDP server showed.
//!
//! Texts in it come from the peer, printable and bounded, and are English where they are ours.

use serde::Serialize;

use crate::evidence::rdp::{
    NtlmOutcome, RdpAnswer, RdpLook, RdpStage, StageFailure, TlsOutcome, TlsShown, X224Outcome,
};
use crate::snapshot::RdpRow;
use crate::time::Instant;
use crate::wire::certificate::Certificate;
use crate::wire::ntlm::Challenge;

/// What looks past the handshake show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RdpPart {
    /// When the look ended, RFC 3339 UTC; filled in at the edge, which knows the wall clock.
    pub at: Option<String>,
    /// The same on the driver's clock; not part of the document.
    #[serde(skip)]
    pub moment: Instant,
    /// What was answered to each connection request, in the order in which they were asked.
    pub answers: Vec<RdpAnswerPart>,
    /// `rdp`, `tls` or `negotiate`; `null` where the answers do not tell.
    pub layer: Option<String>,
    /// `required`, `optional` or `off`; `null` where the answers do not tell.
    pub nla: Option<String>,
    /// What came of TLS; `null` where it was not asked.
    pub tls: Option<RdpTlsPart>,
    /// What came of NTLM; `null` where it was not asked.
    pub ntlm: Option<RdpNtlmPart>,
    /// How long each stage took.
    pub stages: RdpStagesPart,
    /// Connections made.
    pub connections: u32,
}

/// One connection request and what came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RdpAnswerPart {
    /// The protocols offered, as bits (MS-RDPBCGR 2.2.1.1.1).
    pub offered: u32,
    /// `selected`, `plain`, `failure`, `foreign`, `malformed` or why there was nothing to read.
    pub outcome: String,
    /// The protocol selected.
    pub protocol: Option<u32>,
    /// The failure code.
    pub code: Option<u32>,
    /// The particulars.
    pub detail: Option<String>,
}

/// What came of TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RdpTlsPart {
    /// `shown`, `alert`, `unshared`, `foreign`, `malformed`, `too_large` or why there was nothing to
    /// read.
    pub outcome: String,
    /// The particulars: the alert, or why the certificate could not be read.
    pub detail: Option<String>,
    /// The version of the connection.
    pub version: Option<String>,
    /// Its suite.
    pub cipher_suite: Option<String>,
    /// The server's own certificate.
    pub certificate: Option<RdpCertificatePart>,
}

/// A server's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RdpCertificatePart {
    /// The most specific common name.
    pub subject: Option<String>,
    /// The issuer's distinguished name.
    pub issuer: String,
    /// In hexadecimal.
    pub serial: String,
    /// `self_signed`, `self_issued`, `unverified` or `foreign`.
    pub issuance: String,
    /// Start of validity in seconds since the Unix epoch.
    pub not_before: i64,
    /// End of validity in seconds since the Unix epoch.
    pub not_after: i64,
    /// `RSA`, `EC` and so on.
    pub key_type: String,
    /// Its size in bits, if known.
    pub key_bits: Option<u32>,
    /// The algorithm of the signature.
    pub signature: String,
    /// Whether that is broken or nearly so.
    pub weak_signature: bool,
    /// `unrestricted`, `server_auth`, `remote_desktop` or `other`.
    pub purpose: String,
    /// In hexadecimal.
    pub fingerprint_sha256: String,
    /// That of the certificate before, if it changed: since the prober started, or from what had
    /// been learnt.
    pub fingerprint_before_sha256: Option<String>,
}

/// What came of NTLM; texts only where the look goes so deep.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RdpNtlmPart {
    /// `challenged`, `error`, `unsupported_tls`, `malformed` or why there was nothing to read.
    pub outcome: String,
    /// The NTSTATUS of an error.
    pub code: Option<u32>,
    /// The computer's NetBIOS name.
    pub netbios_computer_name: Option<String>,
    /// The domain's NetBIOS name.
    pub netbios_domain_name: Option<String>,
    /// The computer's name in the DNS.
    pub dns_computer_name: Option<String>,
    /// The domain's name in the DNS.
    pub dns_domain_name: Option<String>,
    /// The forest's name in the DNS.
    pub dns_tree_name: Option<String>,
    /// Version and build of the system, as `10.0.17763`.
    pub build: Option<String>,
    /// Its clock minus ours.
    pub clock_skew_seconds: Option<f64>,
}

/// How long each stage took, in seconds; `null` for those that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RdpStagesPart {
    /// The handshake of TCP.
    pub connect: Option<f64>,
    /// The answer to the connection request.
    pub x224: Option<f64>,
    /// The certificate.
    pub tls: Option<f64>,
    /// The challenge.
    pub ntlm: Option<f64>,
}

impl RdpPart {
    /// Writes down what the newest look showed.
    pub fn of(row: &RdpRow) -> Self {
        let look = &row.look;
        let (layer, nla) = look.security();
        Self {
            at: None,
            moment: row.at.at,
            answers: look.answers.iter().map(answer_part).collect(),
            layer: layer.map(|layer| layer.as_str().to_owned()),
            nla: nla.map(|nla| nla.as_str().to_owned()),
            tls: look.tls.as_ref().map(|tls| tls_part(tls, row.fingerprint_before.as_deref())),
            ntlm: look.ntlm.as_ref().map(ntlm_part),
            stages: stages_part(look),
            connections: look.connections,
        }
    }
}

fn stages_part(look: &RdpLook) -> RdpStagesPart {
    let seconds = |stage| look.time_of(stage).map(|time| time.as_secs_f64());
    RdpStagesPart {
        connect: seconds(RdpStage::Connect),
        x224: seconds(RdpStage::X224),
        tls: seconds(RdpStage::Tls),
        ntlm: seconds(RdpStage::Ntlm),
    }
}

/// The word for a stage with nothing to read.
const fn failure(failure: &StageFailure) -> &'static str {
    match failure {
        StageFailure::NotConnected(_) => "not_connected",
        StageFailure::TimedOut { .. } => "timed_out",
        StageFailure::Closed => "closed",
        StageFailure::Reset => "reset",
        StageFailure::Local(_) => "local_error",
    }
}

fn failure_detail(failure: &StageFailure) -> Option<String> {
    match failure {
        StageFailure::Local(error) => Some(error.title().en.to_owned()),
        StageFailure::TimedOut { heard: true } => Some("the answer was not whole".to_owned()),
        StageFailure::NotConnected(_)
        | StageFailure::TimedOut { heard: false }
        | StageFailure::Closed
        | StageFailure::Reset => None,
    }
}

fn answer_part(answer: &RdpAnswer) -> RdpAnswerPart {
    let (outcome, protocol, code, detail) = match &answer.outcome {
        X224Outcome::Selected { protocol, .. } => ("selected", Some(*protocol), None, None),
        X224Outcome::Plain => ("plain", None, None, None),
        X224Outcome::Failure(code) => {
            ("failure", None, Some(code.code()), Some(code.as_str().to_owned()))
        }
        X224Outcome::Foreign(hint) => ("foreign", None, None, Some(hint.en.clone())),
        X224Outcome::Malformed => ("malformed", None, None, None),
        X224Outcome::Failed(cause) => (failure(cause), None, None, failure_detail(cause)),
    };
    let offered = answer.offered.bits();
    RdpAnswerPart { offered, outcome: outcome.to_owned(), protocol, code, detail }
}

fn tls_part(outcome: &TlsOutcome, before: Option<&str>) -> RdpTlsPart {
    let bare = |outcome: &str, detail| RdpTlsPart {
        outcome: outcome.to_owned(),
        detail,
        version: None,
        cipher_suite: None,
        certificate: None,
    };
    match outcome {
        TlsOutcome::Shown(shown) => {
            let TlsShown { version, cipher_suite, certificate, .. } = &**shown;
            RdpTlsPart {
                version: Some(version.to_string()),
                cipher_suite: Some(cipher_suite.to_string()),
                certificate: certificate.as_ref().ok().map(|it| certificate_part(it, before)),
                ..bare("shown", certificate.as_ref().err().map(ToString::to_string))
            }
        }
        TlsOutcome::Alert(alert) => bare("alert", Some(alert.description.to_string())),
        TlsOutcome::Unshared(said) => bare("unshared", said.map(|said| said.to_string())),
        TlsOutcome::Foreign(hint) => bare("foreign", Some(hint.en.clone())),
        TlsOutcome::Malformed => bare("malformed", None),
        TlsOutcome::TooLarge => bare("too_large", None),
        TlsOutcome::Failed(cause) => bare(failure(cause), failure_detail(cause)),
    }
}

fn certificate_part(certificate: &Certificate, before: Option<&str>) -> RdpCertificatePart {
    RdpCertificatePart {
        subject: certificate.subject_common_name.clone(),
        issuer: certificate.issuer.clone(),
        serial: certificate.serial.clone(),
        issuance: certificate.issuance.as_str().to_owned(),
        not_before: certificate.not_before,
        not_after: certificate.not_after,
        key_type: certificate.public_key.algorithm.as_str().to_owned(),
        key_bits: certificate.public_key.bits,
        signature: certificate.signature_algorithm.as_str().to_owned(),
        weak_signature: certificate.signature_algorithm.is_weak(),
        purpose: certificate.purpose.as_str().to_owned(),
        fingerprint_sha256: certificate.fingerprint_sha256.clone(),
        fingerprint_before_sha256: before.map(str::to_owned),
    }
}

fn ntlm_part(outcome: &NtlmOutcome) -> RdpNtlmPart {
    let bare = |outcome: &str, code| RdpNtlmPart {
        outcome: outcome.to_owned(),
        code,
        netbios_computer_name: None,
        netbios_domain_name: None,
        dns_computer_name: None,
        dns_domain_name: None,
        dns_tree_name: None,
        build: None,
        clock_skew_seconds: None,
    };
    match outcome {
        NtlmOutcome::Challenged { challenge, .. } => {
            let Challenge { version, .. } = &**challenge;
            let build = version.map(|it| format!("{}.{}.{}", it.major, it.minor, it.build));
            RdpNtlmPart {
                netbios_computer_name: challenge.netbios_computer_name.clone(),
                netbios_domain_name: challenge.netbios_domain_name.clone(),
                dns_computer_name: challenge.dns_computer_name.clone(),
                dns_domain_name: challenge.dns_domain_name.clone(),
                dns_tree_name: challenge.dns_tree_name.clone(),
                build,
                clock_skew_seconds: outcome.skew_seconds(),
                ..bare("challenged", None)
            }
        }
        NtlmOutcome::Error(status) => bare("error", Some(*status)),
        NtlmOutcome::UnsupportedTls => bare("unsupported_tls", None),
        NtlmOutcome::Malformed => bare("malformed", None),
        NtlmOutcome::Failed(cause) => bare(failure(cause), None),
    }
}
