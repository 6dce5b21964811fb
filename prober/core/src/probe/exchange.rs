//! What is said on a fresh connection, and when enough was heard: the service layer of a connect.
//!
//! The driver connects, writes [`Exchange::request`], feeds what arrives and stops at the first
//! answer. Nothing is read beyond [`READ_LIMIT`] bytes.

use crate::evidence::ServiceAnswer;
use crate::target::Service;
use crate::wire::banner::{BannerAnswer, read_ssh_banner};
use crate::wire::x224::{self, Answer};
use crate::wording::Wording;

/// The most that is ever read from a service.
pub const READ_LIMIT: usize = 2_048;

/// One conversation, from the request to the first whole answer.
#[derive(Debug)]
pub struct Exchange {
    service: Service,
    expect_banner: Option<Vec<u8>>,
    send: Option<Vec<u8>>,
    heard: Vec<u8>,
}

/// How a connection ended before the service answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The peer closed it.
    Closed,
    /// The peer reset it.
    Reset,
    /// Nothing more came in time.
    TimedOut,
}

impl Exchange {
    /// A conversation with this kind of service; `tcp` is only asked when it has something to say.
    pub fn new(service: Service, expect_banner: Option<&str>, send: Option<&str>) -> Self {
        let bytes = |text: &str| text.as_bytes().to_vec();
        Self {
            service,
            expect_banner: expect_banner.map(bytes),
            send: send.map(bytes),
            heard: Vec::new(),
        }
    }

    /// Whether this service is asked anything after the handshake.
    pub const fn asks(&self) -> bool {
        match self.service {
            Service::Rdp | Service::Ssh => true,
            Service::Tcp => self.expect_banner.is_some() || self.send.is_some(),
            Service::Ping => false,
        }
    }

    /// What to send first; empty when the server speaks first.
    pub fn request(&self) -> &[u8] {
        match self.service {
            Service::Rdp => &x224::CONNECTION_REQUEST,
            Service::Tcp => self.send.as_deref().unwrap_or_default(),
            Service::Ssh | Service::Ping => &[],
        }
    }

    /// Takes what arrived; an answer ends the conversation.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Option<ServiceAnswer> {
        let room = READ_LIMIT.saturating_sub(self.heard.len());
        self.heard.extend(bytes.iter().take(room));
        match self.service {
            Service::Rdp => self.read_rdp(),
            Service::Ssh => self.read_ssh(),
            Service::Tcp => self.read_tcp(),
            Service::Ping => Some(ServiceAnswer::NotAsked),
        }
    }

    /// The conversation ended without an answer.
    pub fn handle_end(&self, ending: Ending) -> ServiceAnswer {
        let heard = self.heard.len();
        match ending {
            Ending::Closed => ServiceAnswer::Closed { reset: false, heard },
            Ending::Reset => ServiceAnswer::Closed { reset: true, heard },
            Ending::TimedOut if heard == 0 => ServiceAnswer::Silent,
            Ending::TimedOut => ServiceAnswer::Unfinished { heard },
        }
    }

    fn read_rdp(&self) -> Option<ServiceAnswer> {
        match x224::read_answer(&self.heard) {
            Answer::NeedMore => None,
            Answer::Confirm { selected, .. } => {
                let detail = match selected {
                    None => {
                        Wording::new("X.224 confirm without negotiation", "X.224 确认，未经协商")
                    }
                    Some(0) => Wording::new("standard RDP security", "标准 RDP 安全"),
                    Some(1) => Wording::same("TLS"),
                    Some(2) => Wording::same("CredSSP (NLA)"),
                    Some(8) => Wording::new(
                        "CredSSP with early authorisation (NLA)",
                        "CredSSP 提前授权 (NLA)",
                    ),
                    Some(other) => {
                        Wording::new(format!("protocol {other:#x}"), format!("协议 {other:#x}"))
                    }
                };
                Some(ServiceAnswer::Confirmed { selected, detail })
            }
            Answer::Failure { code } => Some(ServiceAnswer::Refused { code: code.code() }),
            Answer::Foreign { hint } => Some(ServiceAnswer::Foreign { hint: hint.title().into() }),
            Answer::Malformed => {
                let hint = Wording::new("malformed TPKT answer", "TPKT 应答格式错误");
                Some(ServiceAnswer::Foreign { hint })
            }
        }
    }

    fn read_ssh(&self) -> Option<ServiceAnswer> {
        match read_ssh_banner(&self.heard) {
            BannerAnswer::NeedMore => None,
            BannerAnswer::Ssh { software } => {
                let detail = Wording::same(software);
                Some(ServiceAnswer::Confirmed { selected: None, detail })
            }
            BannerAnswer::Foreign(hint) => {
                Some(ServiceAnswer::Foreign { hint: hint.title().into() })
            }
        }
    }

    fn read_tcp(&self) -> Option<ServiceAnswer> {
        let confirmed =
            || ServiceAnswer::Confirmed { selected: None, detail: bytes_came(self.heard.len()) };
        let Some(expected) = &self.expect_banner else {
            return (!self.heard.is_empty()).then(confirmed);
        };
        let compared = expected.iter().zip(&self.heard);
        if compared.clone().any(|(wanted, heard)| wanted != heard) {
            return Some(ServiceAnswer::Foreign {
                hint: Wording::new("another greeting", "问候语不符"),
            });
        }
        (self.heard.len() >= expected.len()).then(confirmed)
    }
}

/// So many bytes, in words.
pub(crate) fn bytes_came(count: usize) -> Wording {
    let plural = if count == 1 { "" } else { "s" };
    Wording::new(format!("{count} byte{plural}"), format!("{count} 字节"))
}
