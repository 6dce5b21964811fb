use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as StdStream};
use std::time::Instant as StdInstant;

use reachd_core::evidence::ConnectResult;
use reachd_core::evidence::rdp::{RdpDepth, StageFailure, TlsOutcome, X224Outcome};
use reachd_core::monitor::Flight;
use reachd_core::vantage::{Vantage, VantageId};
use socket2::SockRef;

use super::*;
use crate::testing::runtime;

const STAGE: Duration = Duration::from_millis(300);
/// What the machine may add to a time that is counted on.
const SLACK: Duration = Duration::from_secs(5);
/// The server takes TLS.
const CONFIRM: [u8; 19] = [3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, 2, 0, 8, 0, 1, 0, 0, 0];
const REQUEST_LEN: usize = 19;

fn order(to: SocketAddr) -> RdpOrder {
    RdpOrder {
        flight: Flight::Survey(1),
        vantage: VantageId(0),
        to,
        depth: RdpDepth::Ntlm,
        server_name: None,
        random: [7; 32],
        connect_timeout: Duration::from_secs(3),
        stage_timeout: STAGE,
        limit: Duration::from_secs(60),
    }
}

/// Serves every connection so, and looks at it; gives what was seen and how long it took.
fn look_at(serve: fn(StdStream) -> std::io::Result<()>) -> (RdpLook, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // What becomes of it is the look's to say.
            std::thread::spawn(move || drop(serve(stream)));
        }
    });
    let place = Place::find(&Vantage::unbound("v")).unwrap();
    let begun = StdInstant::now();
    let seen = runtime().block_on(look(&order(to), &place));
    (seen, begun.elapsed())
}

/// Takes the request, confirms TLS and takes the start of what follows.
fn confirm(stream: &mut StdStream) -> std::io::Result<()> {
    stream.read_exact(&mut [0; REQUEST_LEN])?;
    stream.write_all(&CONFIRM)?;
    stream.read_exact(&mut [0; 5])
}

#[test]
fn a_byte_now_and_then_does_not_stretch_a_stage() {
    let (seen, took) = look_at(|mut stream| {
        for byte in CONFIRM.iter().cycle() {
            stream.write_all(&[*byte])?;
            // Until the client leaves, or so long.
            stream.set_read_timeout(Some(STAGE / 3))?;
            if stream.read(&mut [0; 64]).is_ok_and(|length| length == 0) {
                break;
            }
        }
        Ok(())
    });
    let failed = StageFailure::TimedOut { heard: true };
    assert_eq!(seen.answers[0].outcome, X224Outcome::Failed(failed));
    assert_eq!(seen.connections, 1);
    assert!(took < STAGE + SLACK, "{took:?}");
}

#[test]
fn how_tls_ends_is_told_apart() {
    let closes = look_at(|mut stream| {
        confirm(&mut stream)?;
        // Unread bytes would make it a reset.
        stream.set_read_timeout(Some(STAGE / 10))?;
        let _ = stream.read_to_end(&mut Vec::new());
        stream.shutdown(std::net::Shutdown::Write)
    });
    assert_eq!(closes.0.tls, Some(TlsOutcome::Failed(StageFailure::Closed)));
    let resets = look_at(|mut stream| {
        confirm(&mut stream)?;
        SockRef::from(&stream).set_linger(Some(Duration::ZERO))
    });
    assert_eq!(resets.0.tls, Some(TlsOutcome::Failed(StageFailure::Reset)));
    let silent = look_at(|mut stream| {
        confirm(&mut stream)?;
        stream.read_to_end(&mut Vec::new()).map(drop)
    });
    assert_eq!(silent.0.tls, Some(TlsOutcome::Failed(StageFailure::TimedOut { heard: false })));
    // Each offer was answered in its turn.
    assert_eq!((silent.0.answers.len(), silent.0.connections), (4, 4));
}

#[test]
fn a_flight_without_end_is_left() {
    let (seen, took) = look_at(|mut stream| {
        confirm(&mut stream)?;
        // A ServerHello, and a certificate message that says it is of a megabyte.
        let hello = [&[2, 0, 0, 38, 3, 3][..], &[7; 32], &[0, 0xc0, 0x30, 0]].concat();
        let record = |fragment: &[u8]| {
            let [high, low] = (fragment.len() as u16).to_be_bytes();
            [&[22, 3, 3, high, low], fragment].concat()
        };
        stream.write_all(&record(&hello))?;
        stream.write_all(&record(&[11, 0x10, 0, 3, 0x10, 0, 0]))?;
        loop {
            stream.write_all(&record(&[0x30; 8_192]))?;
        }
    });
    assert_eq!(seen.tls, Some(TlsOutcome::TooLarge));
    assert!(took < STAGE * 6 + SLACK, "{took:?}");
}

#[test]
fn alerts_without_end_are_left() {
    let (seen, _) = look_at(|mut stream| {
        confirm(&mut stream)?;
        let storm = [21, 3, 3, 0, 2, 1, 112].repeat(1_000);
        loop {
            stream.write_all(&storm)?;
        }
    });
    assert_eq!(seen.tls, Some(TlsOutcome::TooLarge));
}

#[test]
fn where_nobody_listens_nothing_more_is_asked() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = free.local_addr().unwrap();
    drop(free);
    let place = Place::find(&Vantage::unbound("v")).unwrap();
    let seen = runtime().block_on(look(&order(to), &place));
    let refused = StageFailure::NotConnected(ConnectResult::Refused);
    assert_eq!(seen.answers[0].outcome, X224Outcome::Failed(refused));
    assert_eq!(seen.connections, 1);
}

#[test]
fn a_look_ends_when_its_time_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = listener.local_addr().unwrap();
    let patient = RdpOrder { stage_timeout: SLACK * 2, limit: STAGE, ..order(to) };
    let place = Place::find(&Vantage::unbound("v")).unwrap();
    let begun = StdInstant::now();
    let seen = runtime().block_on(look(&patient, &place));
    assert_eq!((seen.answers.len(), seen.connections), (0, 1));
    assert!(begun.elapsed() < STAGE + SLACK, "{:?}", begun.elapsed());
}
