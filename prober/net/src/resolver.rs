//! Names to addresses, asked from the vantage that will probe them.
//!
//! Literal addresses and `/etc/hosts` come first, then the vantage's name servers, or those of
//! `resolv.conf`. Search domains are ignored on purpose: a target's name is taken as it is written,
//! so that it means the same from every vantage.

mod ask;
mod files;
mod reply;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::{Name, RecordType};
use reachd_core::monitor::{Resolution, ResolveOrder};
use reachd_core::target::FamilyChoice;
use tokio::sync::mpsc;

use crate::engine::{Feed, Message};
use crate::jobs;
use crate::vantage::Place;
use ask::Asked;
use reply::Found;

/// Names being resolved at once at most.
const IN_FLIGHT_MAX: usize = 64;
/// Names waiting for their turn at most.
pub(crate) const QUEUE_MAX: usize = 4_096;
/// How long answers may be believed, whatever they say.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(3_600);
/// Addresses taken of one name at most.
const ADDRESSES_MAX: usize = 64;

/// One name to resolve.
#[derive(Debug)]
pub(crate) struct Job {
    /// The name.
    pub(crate) order: ResolveOrder,
    /// Where from.
    pub(crate) place: Place,
    /// The vantage's own name servers; empty means the system's.
    pub(crate) servers: Vec<SocketAddr>,
}

/// Resolves names until the sender is dropped.
pub(crate) async fn serve(orders: mpsc::Receiver<Job>, feed: Feed) {
    let work = |Job { order, place, servers }: Job| {
        let feed = feed.clone();
        async move {
            let result = resolve(&order.host, order.family, &place, &servers).await;
            feed.send(Message::Resolved(order.query, result)).await;
        }
    };
    jobs::serve(orders, IN_FLIGHT_MAX, work).await;
}

/// Resolves one name from a place.
pub async fn resolve(
    host: &str,
    family: FamilyChoice,
    place: &Place,
    servers: &[SocketAddr],
) -> Resolution {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return addresses(vec![address], TTL_MAX, family);
    }
    let hosts = files::hosts(place.namespace_name(), host);
    if !hosts.is_empty() {
        return addresses(hosts, Duration::from_secs(60), family);
    }
    let Ok(mut name) = Name::from_str_relaxed(host) else { return Resolution::NoSuchName };
    name.set_fqdn(true);
    let of_system;
    let servers = if servers.is_empty() {
        of_system = files::name_servers(place.namespace_name());
        &of_system
    } else {
        servers
    };
    let (v4, v6) = match family {
        FamilyChoice::Any => {
            let v4 = ask::ask_all(&name, RecordType::A, place, servers);
            let v6 = ask::ask_all(&name, RecordType::AAAA, place, servers);
            let (v4, v6) = tokio::join!(v4, v6);
            (Some(v4), Some(v6))
        }
        FamilyChoice::V4 => (Some(ask::ask_all(&name, RecordType::A, place, servers).await), None),
        FamilyChoice::V6 => {
            (None, Some(ask::ask_all(&name, RecordType::AAAA, place, servers).await))
        }
    };
    let asked: Vec<Asked> = v4.into_iter().chain(v6).collect();
    match combine(&asked) {
        Some(resolution) => resolution,
        None if ask::any_alive(place, servers).await => Resolution::Timeout,
        None => Resolution::ResolverDead,
    }
}

/// What the answers for the record types asked mean together; `None` for silence.
///
/// Addresses of one family count even if the other failed; "no such name" needs both to say so.
fn combine(asked: &[Asked]) -> Option<Resolution> {
    let mut found = Found { addresses: Vec::new(), ttl: TTL_MAX };
    for one in asked {
        if let Asked::Found(more) = one {
            found.ttl = found.ttl.min(more.ttl);
            found.addresses.extend(&more.addresses);
        }
    }
    if !found.addresses.is_empty() {
        found.addresses.truncate(ADDRESSES_MAX);
        let ttl = found.ttl.clamp(TTL_MIN, TTL_MAX);
        return Some(Resolution::Addresses { addresses: found.addresses, ttl });
    }
    if asked.contains(&Asked::Failed) {
        Some(Resolution::ServerFailure)
    } else if asked.contains(&Asked::Silent) {
        None
    } else {
        Some(Resolution::NoSuchName)
    }
}

/// The addresses of the wanted family, which may be none.
fn addresses(mut addresses: Vec<IpAddr>, ttl: Duration, family: FamilyChoice) -> Resolution {
    addresses.retain(|address| match family {
        FamilyChoice::Any => true,
        FamilyChoice::V4 => address.is_ipv4(),
        FamilyChoice::V6 => address.is_ipv6(),
    });
    if addresses.is_empty() {
        Resolution::NoSuchName
    } else {
        Resolution::Addresses { addresses, ttl }
    }
}

#[cfg(test)]
mod tests;
