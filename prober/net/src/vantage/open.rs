//! An opened vantage: its sockets, and what it refuses to be without.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reachd_core::evidence::LocalError;
use reachd_core::monitor::SendOrder;
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, Mode, Vantage};
use reachd_core::wording::Wording;
use socket2::{Protocol, SockAddr, Socket, Type};

use super::place::{FAMILIES, Place};
use super::source::SourceCache;
use crate::clock::Clock;
use crate::errno;
use crate::sys::FamilyOptions;
use crate::transmit::{Journal, Transmit};

/// Why a vantage cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", detail.en)]
pub struct Refusal {
    /// As evidence.
    pub error: LocalError,
    /// For people, with the fix where one is known.
    pub detail: Wording,
}

impl Refusal {
    /// The kernel refused to do this; in Chinese the error is told by its kind and number.
    pub fn of(doing: &Wording, error: &io::Error) -> Self {
        let evidence = errno::of_open(error);
        let number = error.raw_os_error().map(|number| format!("（错误号 {number}）"));
        let (kind, number) = (evidence.title().zh, number.unwrap_or_default());
        let detail = Wording::new(
            format!("{}: {error}", doing.en),
            format!("{}失败：{kind}{number}", doing.zh),
        );
        Self { error: evidence, detail }
    }
}

/// A vantage that can send.
#[derive(Debug)]
pub struct OpenedVantage {
    /// What it was asked to be.
    pub spec: Vantage,
    /// Where its sockets are made.
    pub place: Place,
    /// How much it can see; all but [`Mode::Sockets`] need a receiver besides.
    pub mode: Mode,
    sources: SourceCache,
    raw: Vec<Option<Socket>>,
    transmit: Option<Transmit>,
}

impl OpenedVantage {
    /// Opens the vantage's sockets; the mode is the best that our rights allow.
    pub fn open(spec: &Vantage) -> Result<Self, Refusal> {
        let place = Place::find(spec).map_err(|error| refuse(spec, &error))?;
        let opened = place.enter(|| {
            let sources = SourceCache::open_inside(&place)?;
            let raw = match open_raw(&place) {
                Ok(raw) => Some(raw),
                Err(error) if errno::of_open(&error) == LocalError::NoPrivilege => None,
                Err(error) => return Err(error),
            };
            let transmit = match raw {
                Some(_) => Some(Transmit::open_inside(&place, spec.transmit)?),
                None => None,
            };
            Ok((sources, raw, transmit))
        });
        let (sources, raw, transmit) = opened.map_err(|error| refuse(spec, &error))?;
        let mode = if raw.is_some() { Mode::Raw } else { Mode::Sockets };
        let raw = raw.unwrap_or_default();
        Ok(Self { spec: spec.clone(), place, mode, sources, raw, transmit })
    }

    /// Falls back to sockets because no receiver can be had.
    pub fn give_up_raw(&mut self) {
        self.raw.clear();
        self.transmit = None;
        self.mode = Mode::Sockets;
    }

    /// The raw sockets that its packets leave by.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &Socket> + Clone {
        let bursts = self.transmit.iter().flat_map(Transmit::sockets);
        self.raw.iter().flatten().chain(bursts)
    }

    /// Writes down what leaves from now on.
    pub(crate) fn keep_journal(&mut self, clock: &Clock) {
        self.transmit.iter_mut().for_each(|transmit| transmit.keep_journal(clock));
    }

    /// What has left, if it is written down.
    pub(crate) fn journal(&mut self) -> Option<&mut Journal> {
        self.transmit.as_mut().and_then(Transmit::journal)
    }

    /// The source address toward a destination, or the local fact that forbids one.
    pub fn source_toward(&mut self, dest: IpAddr, now: Instant) -> Result<IpAddr, LocalError> {
        if let Some(transmit) = &mut self.transmit {
            self.sources.keep_up(transmit.hear_news(now));
        }
        self.sources.toward(dest, now)
    }

    /// Sends a burst of the sweep; adds what our own side refused: index in the burst, and why.
    pub fn send_burst(
        &mut self,
        orders: &[SendOrder],
        now: Instant,
        failed: &mut Vec<(usize, LocalError)>,
    ) {
        match &mut self.transmit {
            Some(transmit) => transmit.send(orders, now, failed),
            None => failed.extend((0..orders.len()).map(|at| (at, LocalError::NoPrivilege))),
        }
    }

    /// Sends one packet through the raw socket of its family.
    pub fn send_raw(&mut self, order: &SendOrder, now: Instant) -> Result<(), LocalError> {
        let source = self.source_toward(order.to, now)?;
        let bytes = order.emit(source).ok_or(LocalError::Other(libc::EAFNOSUPPORT))?;
        let index = usize::from(order.to.is_ipv6());
        let socket = self.raw.get(index).and_then(Option::as_ref).ok_or(LocalError::NoRoute)?;
        let to = SockAddr::from(SocketAddr::new(order.to, 0));
        let mut journal = self.transmit.as_mut().and_then(Transmit::journal);
        if let Some(journal) = &mut journal {
            journal.begin();
        }
        match socket.send_to_with_flags(&bytes, &to, libc::MSG_DONTWAIT) {
            Ok(_) => {
                journal.into_iter().for_each(|journal| journal.note(&bytes));
                Ok(())
            }
            Err(error) => {
                // Whatever was believed of the route led here.
                self.sources.forget_one(order.to);
                Err(errno::of_send(&error))
            }
        }
    }
}

/// One sending socket per family; the caller is in the namespace.
pub(crate) fn open_raw(place: &Place) -> io::Result<Vec<Option<Socket>>> {
    let mut sockets = Vec::new();
    for family in FAMILIES {
        let protocol = Protocol::from(libc::IPPROTO_RAW);
        match place.socket_inside(family, Type::RAW, Some(protocol)) {
            Ok(socket) => {
                FamilyOptions::of(family).probe_sizes(&socket)?;
                if place.serves(family) {
                    place.bind_source(&socket)?;
                }
                sockets.push(Some(socket));
            }
            Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => sockets.push(None),
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

/// Explains why a vantage cannot be opened.
fn refuse(spec: &Vantage, error: &io::Error) -> Refusal {
    let evidence = errno::of_open(error);
    let no_privilege = evidence == LocalError::NoPrivilege;
    let detail = match &spec.binding {
        Binding::Namespace(name) if no_privilege => Wording::new(
            format!(
                "may not enter network namespace {name}: grant CAP_SYS_ADMIN and allow namespaces \
                 of kind net (the shipped drop-in does both), or run one process inside it"
            ),
            format!(
                "无权进入网络命名空间 {name}：请授予 CAP_SYS_ADMIN 并放行 net 命名空间（随附的 \
                 drop-in 已包含两者），或在其中单独运行一个进程"
            ),
        ),
        _ if no_privilege && spec.mark.is_some() => Wording::new(
            "may not set a firewall mark: grant CAP_NET_ADMIN (CAP_NET_RAW does since Linux 5.17) or \
             remove `mark`",
            "无权设置防火墙标记：请授予 CAP_NET_ADMIN（Linux 5.17 起 CAP_NET_RAW 即可），或去掉 `mark`",
        ),
        _ => return Refusal::of(&opening(&spec.binding), error),
    };
    Refusal { error: evidence, detail }
}

fn opening(binding: &Binding) -> Wording {
    match binding {
        Binding::Namespace(name) => Wording::new(
            format!("open network namespace {name}"),
            format!("打开网络命名空间 {name} "),
        ),
        Binding::Interface(name) => {
            Wording::new(format!("open interface {name}"), format!("打开网卡 {name} "))
        }
        Binding::Source(address) => {
            Wording::new(format!("bind source address {address}"), format!("绑定源地址 {address} "))
        }
        Binding::Any => Wording::new("open sockets", "打开套接字"),
    }
}
