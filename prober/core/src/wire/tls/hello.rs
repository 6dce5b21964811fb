//! The ClientHello that asks for a certificate in the clear.

use super::names::CipherSuite;
use std::net::IpAddr;

const RECORD_VERSION: [u8; 2] = [3, 1];
const CLIENT_VERSION: [u8; 2] = [3, 3];
/// RFC 5746 section 3.3: strict servers refuse clients that do not signal secure renegotiation.
const EMPTY_RENEGOTIATION_INFO_SCSV: u16 = 0x00ff;
/// RFC 1035 section 2.3.4, without the trailing dot and the length bytes.
const HOST_NAME_LEN_MAX: usize = 253;

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const EC_POINT_FORMATS: u16 = 11;
const SIGNATURE_ALGORITHMS: u16 = 13;
const EXTENDED_MASTER_SECRET: u16 = 23;

/// x25519, secp256r1, secp384r1, secp521r1, x448 (RFC 8422 section 5.1.1), and brainpoolP256r1,
/// P384r1 and P512r1 (RFC 7027). Nothing is computed: each makes one more kind of key that a
/// server may show.
const GROUPS: [u16; 8] = [29, 23, 24, 25, 30, 26, 27, 28];
/// ECDSA, RSA-PSS, RSA, Ed25519 and Ed448 with SHA-2, RSA-PSS of keys that are for it alone, then
/// what old servers know (RFC 8446 section 4.2.3).
const SIGNATURES: [u16; 16] = [
    0x0403, 0x0503, 0x0603, 0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601, 0x0807, 0x0808, 0x0809,
    0x080a, 0x080b, 0x0203, 0x0201,
];

/// Builds a ClientHello in one record (RFC 5246 section 7.4.1.2), capped at TLS 1.2 because TLS
/// 1.3 encrypts the certificate.
///
/// An address is no server name (RFC 6066 section 3), so the extension is left out for one, and
/// for what cannot be a name at all.
pub fn client_hello(random: [u8; 32], server_name: Option<&str>) -> Vec<u8> {
    let mut record = vec![super::HANDSHAKE];
    record.extend(RECORD_VERSION);
    vector::<2>(&mut record, |record| {
        record.push(super::CLIENT_HELLO);
        vector::<3>(record, |hello| {
            hello.extend(CLIENT_VERSION);
            hello.extend(random);
            vector::<1>(hello, |_no_session| {});
            vector::<2>(hello, |suites| {
                let offered = CipherSuite::OFFERED.iter().map(|(suite, _)| suite.0);
                let numbers = offered.chain([EMPTY_RENEGOTIATION_INFO_SCSV]);
                suites.extend(numbers.flat_map(u16::to_be_bytes));
            });
            vector::<1>(hello, |compression| compression.push(super::COMPRESSION_NULL));
            vector::<2>(hello, |all| extensions(all, server_name.and_then(host_name)));
        });
    });
    record
}

fn extensions(out: &mut Vec<u8>, host_name: Option<&str>) {
    if let Some(name) = host_name {
        extension(out, SERVER_NAME, |body| {
            vector::<2>(body, |list| {
                list.push(0);
                vector::<2>(list, |out| out.extend(name.as_bytes()));
            });
        });
    }
    let list = |numbers: &[u16]| numbers.iter().copied().flat_map(u16::to_be_bytes).collect();
    let (groups, signatures): (Vec<u8>, Vec<u8>) = (list(&GROUPS), list(&SIGNATURES));
    extension(out, SUPPORTED_GROUPS, |body| vector::<2>(body, |out| out.extend(groups)));
    extension(out, EC_POINT_FORMATS, |body| vector::<1>(body, |out| out.push(0)));
    extension(out, SIGNATURE_ALGORITHMS, |body| vector::<2>(body, |out| out.extend(signatures)));
    // RFC 7627: servers under FIPS rules refuse TLS 1.2 without it.
    extension(out, EXTENDED_MASTER_SECRET, |_empty| {});
}

fn extension(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend(number.to_be_bytes());
    vector::<2>(out, write);
}

/// Writes a vector with a length of so many bytes before it (RFC 5246 section 4.3).
fn vector<const LENGTH_LEN: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write(out);
    // The longest hello takes 550 bytes, so the high bytes that are cut off are zero.
    let length = out.len().saturating_sub(start).to_be_bytes();
    let cut = length.len().saturating_sub(LENGTH_LEN);
    out.splice(start..start, length.into_iter().skip(cut));
}

/// Gives the name that can stand in a server name extension.
fn host_name(name: &str) -> Option<&str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = (1..=HOST_NAME_LEN_MAX).contains(&name.len())
        && name.bytes().all(is_letter)
        && name.parse::<IpAddr>().is_err();
    is_name.then_some(name)
}
