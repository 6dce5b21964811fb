use super::*;
use crate::wire::captures::capture;
use crate::wire::text::TEXT_LEN_MAX;
use proptest::prelude::*;

fn parse(der: &[u8]) -> Certificate {
    Certificate::parse(der).unwrap()
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// Checks key, signature and who signed; the last tells whether the hash is weak.
fn check(der: &[u8], key: (KeyAlgorithm, u32), signed: (SignatureAlgorithm, Issuance, bool)) {
    let seen = parse(der);
    let (algorithm, bits) = key;
    let (signature, issuance, is_weak) = signed;
    assert_eq!(seen.public_key, PublicKey { algorithm, bits: Some(bits) }, "{signature}");
    assert_eq!(seen.signature_algorithm, signature);
    assert_eq!(seen.signature_algorithm.is_weak(), is_weak, "{signature}");
    assert_eq!(seen.issuance, issuance, "{signature}");
}

#[test]
fn self_signed_certificate_is_read() {
    // Every value is what `openssl x509` prints of the file.
    let expected = Certificate {
        subject_common_name: some("WIN-LAB01"),
        issuer: "CN=WIN-LAB01".to_owned(),
        serial: "78257ada191b680633ab9f9f2f25effcb9f49673".to_owned(),
        issuance: Issuance::SelfSigned,
        not_before: 1_795_682_952,
        not_after: 1_811_234_952,
        public_key: PublicKey { algorithm: KeyAlgorithm::Rsa, bits: Some(2048) },
        signature_algorithm: SignatureAlgorithm::Sha256Rsa,
        purpose: Purpose::ServerAuth,
        fingerprint_sha256: "d4278d59946c06a2002a611527a6c73ec6c9c7b87be7091ab34ce3c32819a6e2"
            .to_owned(),
    };
    assert_eq!(parse(capture!("certificates/rsa.der")), expected);
}

#[test]
fn expired_certificate_of_version_1_is_read() {
    let seen = parse(capture!("certificates/expired.der"));
    assert_eq!((seen.not_before, seen.not_after), (1_735_689_600, 1_751_328_000));
    assert_eq!((seen.serial.as_str(), seen.purpose), ("1000", Purpose::Unrestricted));
    assert_eq!(seen.issuance, Issuance::SelfSigned);
}

#[test]
fn certificate_of_freerdp_is_read() {
    let seen = parse(capture!("certificates/freerdp.der"));
    assert_eq!(seen.subject_common_name, some("WIN-NLA01"));
    assert_eq!((seen.serial.as_str(), seen.purpose), ("03ca109c", Purpose::ServerAuth));
    assert_eq!(seen.not_after - seen.not_before, 1825 * 86_400, "five years of 365 days");
    assert_eq!(seen.issuance, Issuance::SelfSigned);
}

#[test]
fn issued_certificate_names_its_issuer() {
    let seen = parse(capture!("certificates/issued.der"));
    assert_eq!(seen.subject_common_name, some("rdp1.lab.example"));
    assert_eq!(seen.issuer, "CN=Lab Issuing CA,DC=lab,DC=example");
    assert_eq!(seen.issuance, Issuance::Foreign);
    let issuing = parse(capture!("certificates/issuing.der"));
    assert_eq!(issuing.issuer, r"CN=Lab Root\, CA,DC=lab,DC=example");
}

#[test]
fn own_key_must_have_signed_a_self_signed_certificate() {
    let twin = parse(capture!("certificates/twin.der"));
    let seen = parse(capture!("certificates/self_issued.der"));
    assert_eq!(seen.issuer, twin.issuer);
    assert_eq!((twin.issuance, seen.issuance), (Issuance::SelfSigned, Issuance::SelfIssued));
    let mut changed = capture!("certificates/rsa.der").to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(parse(&changed).issuance, Issuance::SelfIssued);
    let names = [Issuance::SelfSigned, Issuance::SelfIssued, Issuance::Unverified];
    assert_eq!(names.map(Issuance::as_str), ["self_signed", "self_issued", "unverified"]);
}

#[test]
fn keys_and_signatures_are_named() {
    use Issuance::{SelfSigned, Unverified};
    use KeyAlgorithm::{Ed448, Ed25519, EllipticCurve, Rsa};
    use SignatureAlgorithm as Signed;
    let p256 = (EllipticCurve, 256);
    check(capture!("certificates/rsa_md5.der"), (Rsa, 2048), (Signed::Md5Rsa, Unverified, true));
    let sha1 = (Signed::Sha1Rsa, SelfSigned, true);
    check(capture!("certificates/rsa1024_sha1.der"), (Rsa, 1024), sha1);
    let sha256 = (Signed::Sha256Rsa, SelfSigned, false);
    check(capture!("certificates/rsa1024_sha256.der"), (Rsa, 1024), sha256);
    let sha384 = (Signed::Sha384Rsa, SelfSigned, false);
    check(capture!("certificates/rsa_sha384.der"), (Rsa, 2048), sha384);
    let sha512 = (Signed::Sha512Rsa, SelfSigned, false);
    check(capture!("certificates/rsa_sha512.der"), (Rsa, 2048), sha512);
    check(capture!("certificates/pss.der"), (Rsa, 2048), (Signed::Pss, Unverified, false));
    check(capture!("certificates/pss_sha1.der"), (Rsa, 2048), (Signed::PssSha1, Unverified, true));
    check(capture!("certificates/p256.der"), p256, (Signed::Sha256Ecdsa, SelfSigned, false));
    check(capture!("certificates/p256_sha1.der"), p256, (Signed::Sha1Ecdsa, Unverified, true));
    let p384 = (EllipticCurve, 384);
    check(capture!("certificates/p384.der"), p384, (Signed::Sha384Ecdsa, SelfSigned, false));
    let p521 = (EllipticCurve, 521);
    check(capture!("certificates/p521.der"), p521, (Signed::Sha512Ecdsa, Unverified, false));
    let ed25519 = (Signed::Ed25519, SelfSigned, false);
    check(capture!("certificates/ed25519.der"), (Ed25519, 256), ed25519);
    check(capture!("certificates/ed448.der"), (Ed448, 456), (Signed::Ed448, Unverified, false));
    assert_eq!(SignatureAlgorithm::Sha256Rsa.to_string(), "sha256WithRSAEncryption");
    assert_eq!([Rsa, EllipticCurve, Ed25519].map(KeyAlgorithm::as_str), ["RSA", "EC", "Ed25519"]);
}

#[test]
fn purposes_are_told_apart() {
    let cases = [
        (capture!("certificates/issued.der"), Purpose::ServerAuth, "server_auth"),
        (capture!("certificates/any_usage.der"), Purpose::ServerAuth, "server_auth"),
        (capture!("certificates/remote_desktop.der"), Purpose::RemoteDesktop, "remote_desktop"),
        (capture!("certificates/client_only.der"), Purpose::Other, "other"),
        (capture!("certificates/no_usage.der"), Purpose::Unrestricted, "unrestricted"),
    ];
    for (der, purpose, name) in cases {
        let seen = parse(der).purpose;
        assert_eq!((seen, seen.as_str()), (purpose, name));
    }
}

#[test]
fn names_of_every_string_type_are_decoded() {
    let name = |der: &[u8]| parse(der).subject_common_name;
    assert_eq!(name(capture!("certificates/bmp.der")), some("服务器-01"));
    assert_eq!(name(capture!("certificates/universal.der")), some("服务器-02"));
    assert_eq!(name(capture!("certificates/t61.der")), some("Büro-01"));
    let broken = parse(capture!("hostile/certificates/name_of_broken_utf8.bin"));
    assert_eq!(broken.subject_common_name, some("a\u{fffd}\u{fffd}\u{fffd}"));
    assert_eq!(broken.issuer, "CN=\u{fffd}A", "a lone surrogate");
}

#[test]
fn names_cannot_forge_what_is_printed() {
    let seen = parse(capture!("certificates/hostile.der"));
    assert_eq!(seen.subject_common_name, some(r"\u{1b}[2J\u{202e}\nok\\"));
    assert_eq!(seen.issuer, r"CN=\u{1b}[2J\u{202e}\nok\\,O=a\, CN\=bank\+x");
    let long = parse(capture!("hostile/certificates/name_of_200_parts.bin"));
    assert!(long.issuer.starts_with("CN=part199,CN=part198,"));
    assert!(long.issuer.ends_with('…') && long.issuer.len() <= TEXT_LEN_MAX + 3);
    let empty = parse(capture!("hostile/certificates/name_of_no_parts.bin"));
    assert_eq!((empty.subject_common_name, empty.issuer.as_str()), (None, ""));
    let unnamed = parse(capture!("hostile/certificates/name_of_long_type.bin"));
    assert_eq!(unnamed.issuer, "?=x");
}

#[test]
fn odd_numbers_are_kept_in_bounds() {
    let plain = parse(capture!("hostile/certificates/nothing_broken.bin"));
    assert_eq!((plain.serial.as_str(), plain.issuance), ("1000", Issuance::SelfIssued));
    let serial = parse(capture!("hostile/certificates/serial_of_2_kib.bin")).serial;
    assert_eq!(serial, "7f".repeat(20) + "…");
    assert_eq!(parse(capture!("hostile/certificates/serial_of_zeros.bin")).serial, "00");
    let key = parse(capture!("hostile/certificates/key_of_16384_bits.bin"));
    assert_eq!((key.public_key.bits, key.issuance), (Some(16_384), Issuance::Unverified));
    let curve = parse(capture!("hostile/certificates/curve_without_parameters.bin")).public_key;
    assert_eq!((curve.algorithm, curve.bits), (KeyAlgorithm::EllipticCurve, None));
    let year_0 = parse(capture!("hostile/certificates/date_of_year_0.bin"));
    assert_eq!((year_0.not_before, year_0.not_after), (-62_167_219_200, 253_402_300_799));
    let signature = |der: &[u8]| parse(der).signature_algorithm;
    let cases = [
        (capture!("hostile/certificates/algorithm_of_long_type.bin"), SignatureAlgorithm::Unknown),
        (capture!("hostile/certificates/pss_of_no_parameters.bin"), SignatureAlgorithm::PssSha1),
        (
            capture!("hostile/certificates/pss_of_broken_parameters.bin"),
            SignatureAlgorithm::Unknown,
        ),
    ];
    for (der, expected) in cases {
        assert_eq!(signature(der), expected);
    }
    let large = parse(capture!("hostile/certificates/key_of_large_exponent.bin"));
    assert_eq!(large.issuance, Issuance::SelfIssued);
    assert_eq!(parse(capture!("hostile/certificates/version_9.bin")).serial, "1000");
}

#[test]
fn broken_certificates_are_refused() {
    use CertificateError::{BadExtensions, BadPublicKey, BadValidity, Malformed};
    let cases = [
        ("month 13", capture!("hostile/certificates/date_of_month_13.bin"), BadValidity),
        ("no digits", capture!("hostile/certificates/date_of_no_digits.bin"), BadValidity),
        ("offset", capture!("hostile/certificates/date_with_offset.bin"), BadValidity),
        ("no RSA key", capture!("hostile/certificates/key_of_no_rsa.bin"), BadPublicKey),
        ("modulus 0", capture!("hostile/certificates/key_of_modulus_0.bin"), BadPublicKey),
        ("usage", capture!("hostile/certificates/usage_of_no_sequence.bin"), BadExtensions),
        ("usage twice", capture!("hostile/certificates/usage_twice.bin"), BadExtensions),
        ("extensions", capture!("hostile/certificates/extensions_of_no_sequence.bin"), Malformed),
        ("no signature", capture!("hostile/certificates/signature_of_no_bits.bin"), Malformed),
        ("unused bits", capture!("hostile/certificates/signature_with_unused_bits.bin"), Malformed),
        ("indefinite", capture!("hostile/certificates/indefinite_length.bin"), Malformed),
        ("nesting", capture!("hostile/certificates/nested_1000_deep.bin"), Malformed),
        ("no certificate", b"\x30\x03\x02\x01\x00", Malformed),
        ("high tag", b"\x3f\x81\x01\x00", Malformed),
    ];
    for (name, der, error) in cases {
        assert_eq!(Certificate::parse(der), Err(error), "{name}");
    }
}

#[test]
fn length_must_be_that_of_the_certificate() {
    let der = capture!("certificates/rsa.der");
    for len in 0..der.len() {
        assert_eq!(Certificate::parse(&der[..len]), Err(CertificateError::Truncated), "{len}");
    }
    let with_more = [der, &[0]].concat();
    assert_eq!(Certificate::parse(&with_more), Err(CertificateError::TrailingData));
    let error = Certificate::parse(&vec![0x30; LEN_MAX + 1]).unwrap_err();
    assert_eq!(error, CertificateError::TooLarge);
    assert_eq!(error.to_string(), "read a certificate of more than 64 KiB");
}

/// Certificates that reach every part of the reader.
fn seeds() -> [&'static [u8]; 6] {
    [
        capture!("certificates/no_usage.der"),
        capture!("certificates/p384.der"),
        capture!("certificates/pss.der"),
        capture!("certificates/remote_desktop.der"),
        capture!("certificates/bmp.der"),
        capture!("certificates/expired.der"),
    ]
}

fn assert_bounded(der: &[u8]) {
    if let Ok(seen) = Certificate::parse(der) {
        let texts = [seen.subject_common_name.unwrap_or_default(), seen.issuer, seen.serial];
        for text in texts {
            assert!(text.len() <= TEXT_LEN_MAX + 3 && !text.contains(char::is_control), "{text}");
        }
        assert_eq!(seen.fingerprint_sha256.len(), 64);
    }
}

proptest! {
    #[test]
    fn mutated_certificates_never_panic(
        seed in 0_usize..6,
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut der = seeds()[seed].to_vec();
        for (at, value) in mutations {
            let at = at.index(der.len());
            der[at] = value;
        }
        assert_bounded(&der);
    }

    #[test]
    fn certificates_with_pieces_of_others_never_panic(
        seeds_chosen in (0_usize..6, 0_usize..6),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        len in 1_usize..60,
    ) {
        let mut der = seeds()[seeds_chosen.0].to_vec();
        let other = seeds()[seeds_chosen.1];
        let from = from.index(other.len() - len);
        let to = to.index(der.len() - len);
        der[to..to + len].copy_from_slice(&other[from..from + len]);
        assert_bounded(&der);
    }

    #[test]
    fn random_bytes_never_panic(mut der in proptest::collection::vec(any::<u8>(), 0..120)) {
        assert_bounded(&der);
        let length = der.len().saturating_sub(2) as u8;
        if let Some(start) = der.get_mut(..2) {
            start.copy_from_slice(&[0x30, length]);
        }
        assert_bounded(&der);
    }
}
