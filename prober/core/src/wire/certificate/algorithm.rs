//! Keys and signatures: what they are, how strong, and what can check them.

use super::CertificateError;
use ring::signature as check;
use std::fmt;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::oid_registry as registry;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::RSAPublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// A public key (RFC 5280 section 4.1.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    /// What it is for.
    pub algorithm: KeyAlgorithm,
    /// Its size in bits, `None` where that is not known.
    pub bits: Option<u32>,
}

/// The algorithm of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// RSA (RFC 3279 section 2.3.1, RFC 4055 section 1.2).
    Rsa,
    /// Elliptic curves (RFC 5480 section 2).
    EllipticCurve,
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// Ed448 (RFC 8410).
    Ed448,
    /// DSA (RFC 3279 section 2.3.2).
    Dsa,
    /// None of these.
    Other,
}

/// The algorithm of a certificate's signature (RFC 5280 section 4.1.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignatureAlgorithm {
    /// MD2 with RSA.
    Md2Rsa,
    /// MD4 with RSA.
    Md4Rsa,
    /// MD5 with RSA.
    Md5Rsa,
    /// SHA-1 with RSA.
    Sha1Rsa,
    /// SHA-224 with RSA.
    Sha224Rsa,
    /// SHA-256 with RSA.
    Sha256Rsa,
    /// SHA-384 with RSA.
    Sha384Rsa,
    /// SHA-512 with RSA.
    Sha512Rsa,
    /// RSASSA-PSS with SHA-1, the default of its parameters (RFC 4055 section 3.1).
    PssSha1,
    /// RSASSA-PSS with a stronger hash.
    Pss,
    /// SHA-1 with DSA.
    Sha1Dsa,
    /// SHA-1 with ECDSA.
    Sha1Ecdsa,
    /// SHA-224 with ECDSA.
    Sha224Ecdsa,
    /// SHA-256 with ECDSA.
    Sha256Ecdsa,
    /// SHA-384 with ECDSA.
    Sha384Ecdsa,
    /// SHA-512 with ECDSA.
    Sha512Ecdsa,
    /// Ed25519.
    Ed25519,
    /// Ed448.
    Ed448,
    /// None of these.
    Unknown,
}

static SIGNATURES: [(Oid<'static>, SignatureAlgorithm); 19] = [
    (registry::OID_PKCS1_MD2WITHRSAENC, SignatureAlgorithm::Md2Rsa),
    (registry::OID_PKCS1_MD4WITHRSAENC, SignatureAlgorithm::Md4Rsa),
    (registry::OID_PKCS1_MD5WITHRSAENC, SignatureAlgorithm::Md5Rsa),
    (registry::OID_MD5_WITH_RSA, SignatureAlgorithm::Md5Rsa),
    (registry::OID_PKCS1_SHA1WITHRSA, SignatureAlgorithm::Sha1Rsa),
    (registry::OID_SHA1_WITH_RSA, SignatureAlgorithm::Sha1Rsa),
    (registry::OID_PKCS1_SHA224WITHRSA, SignatureAlgorithm::Sha224Rsa),
    (registry::OID_PKCS1_SHA256WITHRSA, SignatureAlgorithm::Sha256Rsa),
    (registry::OID_PKCS1_SHA384WITHRSA, SignatureAlgorithm::Sha384Rsa),
    (registry::OID_PKCS1_SHA512WITHRSA, SignatureAlgorithm::Sha512Rsa),
    (registry::OID_PKCS1_RSASSAPSS, SignatureAlgorithm::Pss),
    (registry::OID_SIG_DSA_WITH_SHA1, SignatureAlgorithm::Sha1Dsa),
    (oid!(1.2.840.10045.4.1), SignatureAlgorithm::Sha1Ecdsa),
    (registry::OID_SIG_ECDSA_WITH_SHA224, SignatureAlgorithm::Sha224Ecdsa),
    (registry::OID_SIG_ECDSA_WITH_SHA256, SignatureAlgorithm::Sha256Ecdsa),
    (registry::OID_SIG_ECDSA_WITH_SHA384, SignatureAlgorithm::Sha384Ecdsa),
    (registry::OID_SIG_ECDSA_WITH_SHA512, SignatureAlgorithm::Sha512Ecdsa),
    (registry::OID_SIG_ED25519, SignatureAlgorithm::Ed25519),
    (registry::OID_SIG_ED448, SignatureAlgorithm::Ed448),
];

impl PublicKey {
    pub(super) fn read(key: &SubjectPublicKeyInfo<'_>) -> Result<Self, CertificateError> {
        let algorithm = KeyAlgorithm::read(&key.algorithm.algorithm);
        let bits = match algorithm {
            KeyAlgorithm::Rsa => {
                let (_, key) = RSAPublicKey::from_der(&key.subject_public_key.data)
                    .map_err(|_| CertificateError::BadPublicKey)?;
                bits(key.modulus)
            }
            KeyAlgorithm::EllipticCurve => curve_bits(&key.algorithm),
            KeyAlgorithm::Ed25519 => Some(256),
            KeyAlgorithm::Ed448 => Some(456),
            KeyAlgorithm::Dsa | KeyAlgorithm::Other => None,
        };
        Ok(Self { algorithm, bits })
    }
}

impl KeyAlgorithm {
    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::EllipticCurve => "EC",
            Self::Ed25519 => "Ed25519",
            Self::Ed448 => "Ed448",
            Self::Dsa => "DSA",
            Self::Other => "other",
        }
    }

    fn read(algorithm: &Oid<'_>) -> Self {
        let known = [
            (registry::OID_PKCS1_RSAENCRYPTION, Self::Rsa),
            (registry::OID_PKCS1_RSASSAPSS, Self::Rsa),
            (registry::OID_KEY_TYPE_EC_PUBLIC_KEY, Self::EllipticCurve),
            (registry::OID_SIG_ED25519, Self::Ed25519),
            (registry::OID_SIG_ED448, Self::Ed448),
            (registry::OID_KEY_TYPE_DSA, Self::Dsa),
        ];
        known.iter().find(|(oid, _)| oid == algorithm).map_or(Self::Other, |(_, known)| *known)
    }
}

impl SignatureAlgorithm {
    /// Gives the name of RFC 3279, 4055, 5758 or 8410.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md2Rsa => "md2WithRSAEncryption",
            Self::Md4Rsa => "md4WithRSAEncryption",
            Self::Md5Rsa => "md5WithRSAEncryption",
            Self::Sha1Rsa => "sha1WithRSAEncryption",
            Self::Sha224Rsa => "sha224WithRSAEncryption",
            Self::Sha256Rsa => "sha256WithRSAEncryption",
            Self::Sha384Rsa => "sha384WithRSAEncryption",
            Self::Sha512Rsa => "sha512WithRSAEncryption",
            Self::PssSha1 => "id-RSASSA-PSS (SHA-1)",
            Self::Pss => "id-RSASSA-PSS",
            Self::Sha1Dsa => "id-dsa-with-sha1",
            Self::Sha1Ecdsa => "ecdsa-with-SHA1",
            Self::Sha224Ecdsa => "ecdsa-with-SHA224",
            Self::Sha256Ecdsa => "ecdsa-with-SHA256",
            Self::Sha384Ecdsa => "ecdsa-with-SHA384",
            Self::Sha512Ecdsa => "ecdsa-with-SHA512",
            Self::Ed25519 => "id-Ed25519",
            Self::Ed448 => "id-Ed448",
            Self::Unknown => "unknown",
        }
    }

    /// Whether collisions of its hash can be made: MD2, MD4, MD5 and SHA-1.
    pub const fn is_weak(self) -> bool {
        match self {
            Self::Md2Rsa | Self::Md4Rsa | Self::Md5Rsa => true,
            Self::Sha1Rsa | Self::PssSha1 | Self::Sha1Dsa | Self::Sha1Ecdsa => true,
            Self::Sha224Rsa | Self::Sha256Rsa | Self::Sha384Rsa | Self::Sha512Rsa => false,
            Self::Sha224Ecdsa | Self::Sha256Ecdsa | Self::Sha384Ecdsa => false,
            Self::Sha512Ecdsa | Self::Pss | Self::Ed25519 | Self::Ed448 | Self::Unknown => false,
        }
    }

    pub(super) fn read(algorithm: &AlgorithmIdentifier<'_>) -> Self {
        let known = SIGNATURES.iter().find(|(oid, _)| *oid == algorithm.algorithm);
        match known.map_or(Self::Unknown, |(_, known)| *known) {
            Self::Pss => {
                let parameters = algorithm.parameters.as_ref().map(RsaSsaPssParams::try_from);
                match parameters {
                    None => Self::PssSha1,
                    Some(Ok(it)) if *it.hash_algorithm_oid() == registry::OID_HASH_SHA1 => {
                        Self::PssSha1
                    }
                    Some(Ok(_)) => Self::Pss,
                    Some(Err(_)) => Self::Unknown,
                }
            }
            known => known,
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Gives what checks such a signature with such a key, `None` where nothing does.
pub(super) fn verifier(
    signature: SignatureAlgorithm,
    key: PublicKey,
) -> Option<&'static dyn check::VerificationAlgorithm> {
    use KeyAlgorithm::{EllipticCurve, Rsa};
    use SignatureAlgorithm as Signed;
    Some(match (signature, key.algorithm, key.bits?) {
        (Signed::Sha1Rsa, Rsa, 1024..=8192) => &check::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        (Signed::Sha256Rsa, Rsa, 1024..=8192) => {
            &check::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY
        }
        (Signed::Sha384Rsa, Rsa, 2048..=8192) => &check::RSA_PKCS1_2048_8192_SHA384,
        (Signed::Sha512Rsa, Rsa, 1024..=8192) => {
            &check::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY
        }
        (Signed::Sha256Ecdsa, EllipticCurve, 256) => &check::ECDSA_P256_SHA256_ASN1,
        (Signed::Sha384Ecdsa, EllipticCurve, 256) => &check::ECDSA_P256_SHA384_ASN1,
        (Signed::Sha256Ecdsa, EllipticCurve, 384) => &check::ECDSA_P384_SHA256_ASN1,
        (Signed::Sha384Ecdsa, EllipticCurve, 384) => &check::ECDSA_P384_SHA384_ASN1,
        (Signed::Ed25519, KeyAlgorithm::Ed25519, _) => &check::ED25519,
        _ => return None,
    })
}

/// Counts the bits of an unsigned number in network byte order.
fn bits(number: &[u8]) -> Option<u32> {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    let significant = number.get(zeros..)?;
    let first = significant.first()?;
    let bits = u32::try_from(significant.len()).ok()?.checked_mul(8)?;
    Some(bits.saturating_sub(first.leading_zeros()))
}

/// Gives the size of a named curve (RFC 5480 section 2.1.1.1).
fn curve_bits(algorithm: &AlgorithmIdentifier<'_>) -> Option<u32> {
    let curve = algorithm.parameters.as_ref()?.as_oid().ok()?;
    let known = [
        (registry::OID_EC_P256, 256),
        (registry::OID_NIST_EC_P384, 384),
        (registry::OID_NIST_EC_P521, 521),
    ];
    known.iter().find(|(oid, _)| *oid == curve).map(|(_, bits)| *bits)
}
