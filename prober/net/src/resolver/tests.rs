use super::*;
use crate::testing::runtime;
use hickory_proto::op::{Message as Dns, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME};
use hickory_proto::rr::{RData, Record};
use reachd_core::vantage::Vantage;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

fn place() -> Place {
    Place::find(&Vantage::unbound("v")).unwrap()
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// What the test's server says to a question; `None` is silence.
fn reply(question: &Dns, over_tcp: bool) -> Option<Dns> {
    let query = question.queries.first()?.clone();
    let mut reply = question.clone();
    reply.metadata.message_type = MessageType::Response;
    let v4 = |name: &Name, ttl: u32, last: u8| {
        Record::from_rdata(name.clone(), ttl, RData::A(A::new(192, 0, 2, last)))
    };
    let is_v4 = query.query_type == RecordType::A;
    match query.name.to_ascii().to_ascii_lowercase().as_str() {
        "both.test." if is_v4 => {
            reply.add_answer(v4(&query.name, 300, 1));
            reply.add_answer(v4(&query.name, 200, 2));
        }
        "both.test." => {
            let data = RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
            reply.add_answer(Record::from_rdata(query.name.clone(), 100, data));
        }
        "alias.test." if is_v4 => {
            let end = name("end.test.");
            // Out of order, and with a record that is none of this name's.
            reply.add_answer(v4(&name("other.test."), 1, 66));
            reply.add_answer(v4(&end, 900, 3));
            let middle = RData::CNAME(CNAME(name("middle.test.")));
            reply.add_answer(Record::from_rdata(query.name.clone(), 50, middle));
            let last = RData::CNAME(CNAME(end));
            reply.add_answer(Record::from_rdata(name("middle.test."), 500, last));
        }
        "loop.test." => {
            let itself = RData::CNAME(CNAME(query.name.clone()));
            reply.add_answer(Record::from_rdata(query.name.clone(), 50, itself));
        }
        "zero.test." if is_v4 => drop(reply.add_answer(v4(&query.name, 0, 4))),
        "long.test." if is_v4 && over_tcp => drop(reply.add_answer(v4(&query.name, 60, 5))),
        "long.test." => reply.metadata.truncation = true,
        "gone.test." => reply.metadata.response_code = ResponseCode::NXDomain,
        "broken.test." => reply.metadata.response_code = ResponseCode::ServFail,
        "silent.test." | "dead.test." => return None,
        _ => {}
    }
    Some(reply)
}

/// Serves on one port over both transports; a forgery precedes every datagram.
async fn server() -> SocketAddr {
    let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = udp.local_addr().unwrap();
    let tcp = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        loop {
            let (length, peer) = udp.recv_from(&mut buffer).await.unwrap();
            let question = Dns::from_vec(&buffer[..length]).unwrap();
            let Some(reply) = reply(&question, false) else { continue };
            let mut forgery = reply.clone();
            forgery.metadata.id ^= 1;
            forgery.metadata.response_code = ResponseCode::NXDomain;
            udp.send_to(&forgery.to_vec().unwrap(), peer).await.unwrap();
            let mut other = reply.clone();
            other.queries[0].name = name("evil.test.");
            udp.send_to(&other.to_vec().unwrap(), peer).await.unwrap();
            udp.send_to(b"\0garbage", peer).await.unwrap();
            udp.send_to(&reply.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut bytes = vec![0; usize::from(length)];
            stream.read_exact(&mut bytes).await.unwrap();
            let reply = reply(&Dns::from_vec(&bytes).unwrap(), true).unwrap().to_vec().unwrap();
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

fn found(addresses: &[&str], seconds: u64) -> Resolution {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Resolution::Addresses { addresses, ttl: Duration::from_secs(seconds) }
}

#[test]
fn every_kind_of_answer_is_told_apart() {
    runtime().block_on(async {
        let server = server().await;
        // A port without a listener in front: refused at once, so the next one is asked.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let servers = [nobody, server];
        let place = place();
        let ask = |host: &'static str, family| resolve(host, family, &place, &servers);
        let both = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];
        assert_eq!(ask("BOTH.test", FamilyChoice::Any).await, found(&both, 100));
        assert_eq!(ask("both.test.", FamilyChoice::V4).await, found(&both[..2], 200));
        assert_eq!(ask("both.test", FamilyChoice::V6).await, found(&both[2..], 100));
        assert_eq!(ask("alias.test", FamilyChoice::Any).await, found(&["192.0.2.3"], 50));
        assert_eq!(ask("zero.test", FamilyChoice::Any).await, found(&["192.0.2.4"], 1));
        assert_eq!(ask("long.test", FamilyChoice::V4).await, found(&["192.0.2.5"], 60));
        assert_eq!(ask("gone.test", FamilyChoice::Any).await, Resolution::NoSuchName);
        assert_eq!(ask("empty.test", FamilyChoice::Any).await, Resolution::NoSuchName);
        assert_eq!(ask("broken.test", FamilyChoice::Any).await, Resolution::ServerFailure);
        assert_eq!(ask("loop.test", FamilyChoice::V4).await, Resolution::ServerFailure);
        assert_eq!(ask("192.0.2.9", FamilyChoice::Any).await, found(&["192.0.2.9"], 3_600));
        assert_eq!(ask("192.0.2.9", FamilyChoice::V6).await, Resolution::NoSuchName);
        assert_eq!(ask("not a name..", FamilyChoice::Any).await, Resolution::NoSuchName);
        let local = ask("localhost", FamilyChoice::V4).await;
        assert!(matches!(local, Resolution::Addresses { .. }), "{local:?}");
    });
}

#[test]
fn silence_for_one_name_is_not_a_dead_resolver() {
    runtime().block_on(async {
        let server = server().await;
        let place = place();
        let begun = Instant::now();
        let silent = resolve("silent.test", FamilyChoice::V4, &place, &[server]).await;
        assert_eq!(silent, Resolution::Timeout);
        assert!(begun.elapsed() >= Duration::from_secs(4));
        let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
        let dead = resolve("dead.test", FamilyChoice::V4, &place, &[nobody]).await;
        assert_eq!(dead, Resolution::ResolverDead);
    });
}
