//! Reads a name server's reply.

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};

/// Aliases followed in one reply at most.
const ALIASES_MAX: usize = 16;

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) addresses: Vec<IpAddr>,
    pub(super) ttl: Duration,
}

/// What one reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name has addresses.
    Found(Found),
    /// The name does not exist or has no such record.
    Nothing,
    /// The server cannot or will not say.
    Failed,
    /// The answer is too long for a datagram.
    Truncated,
}

/// A question for one name, as bytes.
pub(super) fn question(id: u16, name: &Name, ty: RecordType) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name.clone(), ty));
    message.to_vec().ok()
}

/// Reads a reply to our question; `None` if it is not one.
pub(super) fn read(bytes: &[u8], id: u16, name: &Name, ty: RecordType) -> Option<Reply> {
    let message = Message::from_vec(bytes).ok()?;
    if message.metadata.id != id || message.metadata.message_type != MessageType::Response {
        return None;
    }
    let [query] = message.queries.as_slice() else {
        // Servers that fail early may leave the question out; then only the id and the port speak.
        let failed = message.queries.is_empty()
            && !matches!(
                message.metadata.response_code,
                ResponseCode::NoError | ResponseCode::NXDomain
            );
        return failed.then_some(Reply::Failed);
    };
    if query.query_type != ty || !query.name.eq_ignore_root(name) {
        return None;
    }
    if message.metadata.truncation {
        return Some(Reply::Truncated);
    }
    Some(match message.metadata.response_code {
        ResponseCode::NoError => collect(&message, name, ty),
        ResponseCode::NXDomain => Reply::Nothing,
        _ => Reply::Failed,
    })
}

/// Follows the aliases inside the answer to the addresses at their end.
fn collect(message: &Message, name: &Name, ty: RecordType) -> Reply {
    let mut name = name.clone();
    let mut ttl = u32::MAX;
    for _ in 0..=ALIASES_MAX {
        let of_name = || message.answers.iter().filter(|record| record.name.eq_ignore_root(&name));
        let mut addresses = Vec::new();
        for record in of_name() {
            let address: IpAddr = match &record.data {
                RData::A(address) if ty == RecordType::A => address.0.into(),
                RData::AAAA(address) if ty == RecordType::AAAA => address.0.into(),
                _ => continue,
            };
            ttl = ttl.min(record.ttl);
            addresses.push(address);
        }
        if !addresses.is_empty() {
            return Reply::Found(Found { addresses, ttl: Duration::from_secs(ttl.into()) });
        }
        let alias = of_name().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else { return Reply::Nothing };
        ttl = ttl.min(alias_ttl);
        name = target;
    }
    Reply::Failed
}
