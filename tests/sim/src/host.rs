//! Hosts: what they answer, and what a gateway answers for dead ones.

use std::collections::BTreeMap;
use std::time::Duration;

/// What speaks on an open port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaks {
    /// What is expected there.
    Expected,
    /// The same, but so much later.
    Late(Duration),
    /// Nothing: it accepts and hangs.
    Nothing,
    /// Something else.
    Foreign(String),
    /// A refusal of whatever is offered with this code; for RDP only.
    Refuses(u32),
    /// RDP with its standard security and nothing else.
    PlainOnly,
    /// RDP, but what should show a certificate ends the connection: by reset, or in order.
    TlsDies {
        /// Whether by reset.
        reset: bool,
    },
    /// RDP with a certificate that has expired.
    Expired,
    /// Nothing, and the connection ends: by reset, or in order.
    Closes {
        /// Whether by reset.
        reset: bool,
    },
}

/// The state of a TCP port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    /// It accepts.
    Open(Speaks),
    /// It resets.
    Closed,
    /// It drops.
    Stealth,
    /// It answers with this ICMP error (type and code of the packet's family).
    Refused(u8, u8),
}

/// A host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Whether it answers at all.
    pub alive: bool,
    /// Whether it answers echoes.
    pub echo: bool,
    /// The hop limit its packets start with.
    pub initial_ttl: u8,
    /// Ports that are not like the others.
    pub ports: BTreeMap<u16, Port>,
    /// All other ports.
    pub other_ports: Port,
    /// How long it thinks before every answer.
    pub slow: Duration,
}

impl Host {
    /// A Windows server that speaks RDP.
    pub fn windows() -> Self {
        Self {
            alive: true,
            echo: true,
            initial_ttl: 128,
            ports: BTreeMap::from([(3389, Port::Open(Speaks::Expected))]),
            other_ports: Port::Stealth,
            slow: Duration::from_micros(200),
        }
    }

    /// A Linux server with this port open.
    pub fn linux(port: u16) -> Self {
        Self {
            initial_ttl: 64,
            ports: BTreeMap::from([(port, Port::Open(Speaks::Expected))]),
            other_ports: Port::Closed,
            ..Self::windows()
        }
    }

    /// The state of a port.
    pub fn port(&self, port: u16) -> &Port {
        self.ports.get(&port).unwrap_or(&self.other_ports)
    }

    /// The same host with another state of RDP's port.
    pub fn with_rdp(mut self, port: Port) -> Self {
        self.ports.insert(3389, port);
        self
    }
}

/// What the last router says about an address that nobody has or that is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Absent {
    /// Nothing: the usual cloud.
    #[default]
    Silence,
    /// Host unreachable, after it asked its neighbours in vain for so long.
    Unreachable(Duration),
}
