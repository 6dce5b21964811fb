use super::*;
use crate::wire::captures::{assert_pieces_agree, capture};
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Answer {
    HandshakeReader::default().handle_bytes(bytes).clone()
}

/// Reads bytes in every way they may arrive.
fn read_in_pieces(bytes: &[u8]) -> Answer {
    assert_pieces_agree(bytes, |pieces| {
        let mut reader = HandshakeReader::default();
        for piece in pieces {
            reader.handle_bytes(piece);
        }
        reader.handle_bytes(&[]).clone()
    })
}

fn certificate(bytes: &[u8]) -> ServerCertificate {
    match read_in_pieces(bytes) {
        Answer::Certificate(certificate) => certificate,
        other => panic!("{other:?}"),
    }
}

fn alert(level: AlertLevel, description: u8) -> Answer {
    Answer::Alert(Alert { level, description: AlertDescription(description) })
}

fn record(content_type: u8, fragment: &[u8]) -> Vec<u8> {
    let len = (fragment.len() as u16).to_be_bytes();
    [&[content_type, 3, 3], &len[..], fragment].concat()
}

fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u32).to_be_bytes();
    [&[message_type], &len[1..], body].concat()
}

/// A ServerHello of TLS 1.2 without extensions.
fn server_hello() -> Vec<u8> {
    message(SERVER_HELLO, &[&[3, 3][..], &[7; 32], &[0, 0xc0, 0x30, 0]].concat())
}

/// A certificate message with certificates of these lengths.
fn certificates(lens: &[usize]) -> Vec<u8> {
    let list: Vec<u8> = lens
        .iter()
        .flat_map(|len| [&(*len as u32).to_be_bytes()[1..], &vec![0x30; *len]].concat())
        .collect();
    message(CERTIFICATE, &[&(list.len() as u32).to_be_bytes()[1..], &list].concat())
}

#[test]
fn real_servers_show_their_certificates() {
    let rsa = capture!("certificates/rsa.der");
    let cases = [
        (capture!("tls/xrdp_tls12.bin"), Version::Tls12, 0xc030, rsa, 1),
        (capture!("tls/xrdp_cbc.bin"), Version::Tls12, 0xc028, rsa, 1),
        (capture!("tls/xrdp_tls10.bin"), Version::Tls10, 0xc014, rsa, 1),
        (
            capture!("tls/xrdp_expired_v1.bin"),
            Version::Tls12,
            0xc030,
            capture!("certificates/expired.der"),
            1,
        ),
        (
            capture!("tls/xrdp_chain.bin"),
            Version::Tls12,
            0xc030,
            capture!("certificates/issued.der"),
            3,
        ),
        (
            capture!("tls/freerdp_nla.bin"),
            Version::Tls12,
            0xc030,
            capture!("certificates/freerdp.der"),
            1,
        ),
    ];
    for (bytes, version, suite, der, list_len) in cases {
        let seen = certificate(bytes);
        let expected = ServerHello { version, cipher_suite: CipherSuite(suite) };
        assert_eq!((seen.server_hello, seen.list_len), (expected, list_len));
        assert!(seen.certificate == der, "another certificate of {} bytes", seen.certificate.len());
    }
}

#[test]
fn server_of_tls_13_only_alerts() {
    // xrdp writes a message of its own behind the alert.
    let bytes = capture!("tls/xrdp_tls13.bin");
    assert_eq!(read_in_pieces(bytes), alert(AlertLevel::Fatal, 70));
    assert_eq!(AlertDescription(70).to_string(), "protocol_version");
}

#[test]
fn other_protocols_are_hinted() {
    let foreign = |bytes: &[u8], hint| assert_eq!(read_in_pieces(bytes), Answer::Foreign { hint });
    foreign(capture!("tls/xrdp_without_x224.bin"), ForeignHint::Other);
    foreign(b"SSH-2.0-OpenSSH_9.2p1\r\n", ForeignHint::Ssh);
    foreign(b"HTTP/1.1 400 Bad Request\r\n", ForeignHint::Http);
    foreign(b"220 mail.example ESMTP\r\n", ForeignHint::Smtp);
    foreign(&[0x80, 0x2e, 1, 0, 2, 0], ForeignHint::Other);
    foreign(&[22, 2, 0, 0, 1, 0], ForeignHint::Other);
    assert_eq!(read(b"SSH-"), Answer::NeedMore, "a hint takes five bytes");
}

#[test]
fn flight_is_read_however_records_cut_it() {
    let flight = [server_hello(), certificates(&[300, 5])].concat();
    let expected = ServerCertificate {
        server_hello: ServerHello { version: Version::Tls12, cipher_suite: CipherSuite(0xc030) },
        certificate: vec![0x30; 300],
        list_len: 2,
    };
    for len in [1, 2, 3, 7, 41, 42, 43, 100, flight.len()] {
        let bytes: Vec<u8> = flight.chunks(len).flat_map(|it| record(HANDSHAKE, it)).collect();
        assert_eq!(certificate(&bytes), expected, "records of {len}");
    }
}

#[test]
fn hello_is_known_before_the_certificate() {
    let mut reader = HandshakeReader::default();
    assert_eq!(reader.handle_bytes(&[]), &Answer::NeedMore);
    assert_eq!(reader.server_hello(), None);
    assert_eq!(reader.handle_bytes(&record(HANDSHAKE, &server_hello())), &Answer::NeedMore);
    assert_eq!(reader.server_hello().map(|hello| hello.version), Some(Version::Tls12));
    let ended = reader.handle_bytes(&record(ALERT, &[2, 40])).clone();
    assert_eq!(ended, alert(AlertLevel::Fatal, 40));
    assert_eq!(reader.handle_bytes(&record(HANDSHAKE, &certificates(&[9]))), &ended, "it stays");
}

#[test]
fn warnings_and_hello_requests_do_not_end_a_flight() {
    let bytes = [
        record(ALERT, &[1, 112]),
        record(HANDSHAKE, &message(HELLO_REQUEST, &[])),
        record(HANDSHAKE, &[server_hello(), message(HELLO_REQUEST, &[])].concat()),
        record(ALERT, &[1, 90]),
        record(HANDSHAKE, &certificates(&[4])),
    ];
    assert_eq!(certificate(&bytes.concat()).list_len, 1);
    assert_eq!(read_in_pieces(&record(ALERT, &[1, 0])), alert(AlertLevel::Warning, 0));
}

#[test]
fn sizes_are_bounded() {
    let hello = record(HANDSHAKE, &server_hello());
    let whole = |len: usize| {
        let message = certificates(&[len]);
        let records = message.chunks(FRAGMENT_LEN_MAX).map(|it| record(HANDSHAKE, it));
        [hello.clone(), records.collect::<Vec<_>>().concat()].concat()
    };
    assert!(matches!(read(&whole(65_000)), Answer::Certificate(_)));
    assert_eq!(read(&whole(65_500)), Answer::TooLarge, "with its headers");
    assert_eq!(read(&whole(1 << 20)), Answer::TooLarge);
    // A length alone is enough: nothing is kept waiting for.
    assert_eq!(read(capture!("hostile/tls/certificate_of_1_mib.bin")), Answer::TooLarge);
    let drip = record(ALERT, &[1, 112]).repeat(BYTES_MAX / 7);
    assert_eq!(read(&drip), Answer::NeedMore);
    assert_eq!(read(&[&drip[..], &drip[..7]].concat()), Answer::TooLarge);
    let mut reader = HandshakeReader::default();
    for byte in drip.iter().chain(&drip) {
        reader.handle_bytes(&[*byte]);
        assert!(reader.record.len() + reader.message.len() <= BYTES_MAX);
    }
    assert_eq!(reader.handle_bytes(&[]), &Answer::TooLarge);
    assert_eq!(reader.record.capacity() + reader.message.capacity(), 0, "nothing is kept");
}

#[test]
fn hostile_flights_are_refused() {
    let cases = [
        ("alert of one byte", capture!("hostile/tls/alert_of_one_byte.bin")),
        ("alert of an unknown level", capture!("hostile/tls/alert_of_unknown_level.bin")),
        ("application data", capture!("hostile/tls/application_data.bin")),
        ("certificate first", capture!("hostile/tls/certificate_first.bin")),
        ("certificate of no bytes", capture!("hostile/tls/certificate_of_no_bytes.bin")),
        ("certificate list beyond", capture!("hostile/tls/certificate_list_beyond.bin")),
        ("certificate list within", capture!("hostile/tls/certificate_list_within.bin")),
        ("compression", capture!("hostile/tls/compression.bin")),
        ("extensions beyond", capture!("hostile/tls/extensions_beyond.bin")),
        ("hello done first", capture!("hostile/tls/hello_done_first.bin")),
        ("no certificates", capture!("hostile/tls/no_certificates.bin")),
        ("record of 16 KiB and one", capture!("hostile/tls/record_too_long.bin")),
        ("record of no bytes", capture!("hostile/tls/record_of_no_bytes.bin")),
        ("record of another version", capture!("hostile/tls/record_of_version_4.bin")),
        ("session of 33 bytes", capture!("hostile/tls/session_too_long.bin")),
        ("suite that was not offered", capture!("hostile/tls/suite_not_offered.bin")),
        ("two hellos", capture!("hostile/tls/two_hellos.bin")),
        ("version that was not offered", capture!("hostile/tls/version_1_3.bin")),
        ("version that does not exist", capture!("hostile/tls/version_2_0.bin")),
    ];
    for (name, bytes) in cases {
        assert_eq!(read_in_pieces(bytes), Answer::Malformed, "{name}");
    }
}

#[test]
fn client_hello_is_well_formed() {
    let random = std::array::from_fn(|at| at as u8);
    let hello = client_hello(random, Some("rdp.example."));
    let mut reader = Reader::new(&hello);
    assert_eq!(reader.array(), Ok([HANDSHAKE, 3, 1]), "a record of version 3.1");
    assert_eq!(usize::from(reader.u16().unwrap()), hello.len() - 5);
    assert_eq!(reader.u8(), Ok(CLIENT_HELLO));
    assert_eq!(reader.u24().unwrap(), hello.len() - 9);
    assert_eq!(reader.array(), Ok([3, 3]), "capped at TLS 1.2");
    assert_eq!(reader.array(), Ok(random));
    assert_eq!(reader.u8(), Ok(0), "no session");
    let suites_len = usize::from(reader.u16().unwrap());
    let suites = reader.take(suites_len).unwrap();
    assert_eq!(suites[suites_len - 2..], [0, 0xff], "secure renegotiation");
    let offered = |suite: u16| suites.chunks(2).any(|it| it == suite.to_be_bytes());
    // ECDHE with GCM and CBC, RSA with CBC and 3DES, and no suite of TLS 1.3.
    assert!([0xc030, 0xc02f, 0xc02b, 0xc028, 0xc027, 0xc014, 0x35, 0x0a].map(offered) == [true; 8]);
    // DHE with CBC, where that is all a server has.
    assert!([0x33, 0x39, 0x67, 0x6b].map(offered) == [true; 4]);
    assert!(!offered(0x1301));
    assert_eq!(reader.array(), Ok([1, 0]), "no compression");
    let extensions_len = usize::from(reader.u16().unwrap());
    assert_eq!(reader.rest().len(), extensions_len);
    let server_name = [&[0, 0, 0, 16, 0, 14, 0, 0, 11][..], b"rdp.example"].concat();
    assert_eq!(reader.take(20), Ok(&server_name[..]));
    let (mut numbers, mut lists) = (Vec::new(), Vec::new());
    while !reader.rest().is_empty() {
        numbers.push(reader.u16().unwrap());
        let len = usize::from(reader.u16().unwrap());
        lists.push(reader.take(len).unwrap());
    }
    assert_eq!(numbers, [10, 11, 13, 23]);
    // P-521 and brainpool; Ed448 and keys for RSA-PSS alone.
    let listed = |list: &[u8], number: u16| list.chunks(2).any(|it| it == number.to_be_bytes());
    assert!([25, 26, 27, 28].map(|group| listed(lists[0], group)) == [true; 4]);
    let signatures = [0x0603, 0x0808, 0x0809, 0x080a, 0x080b];
    assert!(signatures.map(|signature| listed(lists[2], signature)) == [true; 5]);
}

#[test]
fn only_a_name_is_a_server_name() {
    let without = client_hello([9; 32], None);
    let long = ["a"; 127].join(".");
    let too_long = format!("{long}.b");
    for name in ["", ".", "192.0.2.1", "192.0.2.1.", "2001:db8::1", "a b", "rdp\0", "é.example"] {
        assert_eq!(client_hello([9; 32], Some(name)), without, "{name}");
    }
    assert_eq!(long.len(), 253);
    assert_eq!(client_hello([9; 32], Some(&long)).len(), without.len() + 253 + 9);
    assert_eq!(client_hello([9; 32], Some(&too_long)), without);
    assert_eq!(client_hello([9; 32], Some("WIN-LAB01")).len(), without.len() + 9 + 9);
}

#[test]
fn numbers_have_the_names_of_the_registry() {
    assert_eq!(CipherSuite(0xc028).to_string(), "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384");
    assert_eq!(CipherSuite(0x1301).to_string(), "cipher suite 0x1301");
    assert_eq!(AlertDescription(40).to_string(), "handshake_failure");
    assert_eq!(AlertDescription(200).to_string(), "alert 200");
    assert_eq!(AlertLevel::Fatal.as_str(), "fatal");
    let versions = [0x0300, 0x0301, 0x0302, 0x0303, 0x0304].map(Version::from_wire);
    let names = versions.map(|version| version.unwrap().to_string());
    assert_eq!(names, ["SSL 3.0", "TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"]);
    assert!(versions.is_sorted(), "the weakest first");
    assert_eq!([0x0002, 0x02ff, 0x0305, 0x7f1c].map(Version::from_wire), [None; 4]);
}

proptest! {
    #[test]
    fn mutated_flights_never_panic_and_pieces_agree(
        is_chain in any::<bool>(),
        mutations in proptest::collection::vec((0_usize..400, any::<u8>()), 0..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        len in any::<prop::sample::Index>(),
    ) {
        let chain = capture!("tls/xrdp_chain.bin");
        let mut bytes = if is_chain { chain.to_vec() } else { chain[..400].to_vec() };
        for (at, value) in mutations {
            bytes[at] = value;
        }
        let bytes = &bytes[..len.index(bytes.len() + 1)];
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut reader = HandshakeReader::default();
        let mut from = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            reader.handle_bytes(&bytes[from..to]);
            from = to;
        }
        prop_assert_eq!(reader.handle_bytes(&[]), &read(bytes));
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
        if let [content_type, major, _, high, _, ..] = &mut bytes[..] {
            (*content_type, *major, *high) = (HANDSHAKE, 3, 0);
        }
        read(&bytes);
    }

    #[test]
    fn records_that_say_nothing_never_grow_it(
        content_type in 20_u8..25,
        fragment in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = record(content_type, &fragment).repeat(BYTES_MAX / 5 + 1);
        prop_assert_ne!(read(&bytes), Answer::NeedMore);
    }

    #[test]
    fn any_name_gives_a_hello_of_true_lengths(name in ".{0,300}") {
        let hello = client_hello([0; 32], Some(&name));
        prop_assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
    }
}
