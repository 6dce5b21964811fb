//! The token of a probe, and the keyed numbers in its packet that lead an answer back to it.
//!
//! A token is a row's slot and the generation of its probe. An echo carries it openly in identifier
//! and sequence number, so that the identifier is constant per row, and is proven by its payload. A
//! SYN hides it in the sequence number by a keyed permutation, tweaked by destination and port, so
//! that the acknowledgement alone leads to the row and proves it. Both find their row by index.

use std::net::IpAddr;

use crate::secret::{Secret, low16};

/// The first source port of the sweep's SYNs; the ports below it, from
/// [`FIRST_PORT`](crate::monitor::FIRST_PORT) on, are the surveys'.
pub const SWEEP_PORT: u16 = 62_000;
/// Source ports of the sweep.
const PORTS: u32 = u16::MAX as u32 - SWEEP_PORT as u32 + 1;
const GENERATION_BITS: u32 = 12;
const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;
/// Rows of one sweep at most: the slots that a token can name.
pub const ROWS_MAX: usize = 1 << (u32::BITS - GENERATION_BITS);

/// One probe of the sweep: a slot (20 bits) and the generation of its probe (12 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(u32);

impl Token {
    /// The probe of this generation, taken modulo 4096, in this slot.
    pub const fn new(slot: u32, generation: u16) -> Self {
        Self(slot << GENERATION_BITS | (generation as u32 & GENERATION_MASK))
    }

    /// The row's slot.
    pub const fn slot(self) -> u32 {
        self.0 >> GENERATION_BITS
    }

    /// How many generations this probe is older than `current`.
    pub(super) const fn age(self, current: u16) -> u32 {
        (current as u32).wrapping_sub(self.0) & GENERATION_MASK
    }

    /// Identifier and sequence number of its echo.
    pub(super) fn to_echo(self) -> (u16, u16) {
        (low16(u64::from(self.0 >> 16)), low16(u64::from(self.0)))
    }

    /// The probe whose echo has these numbers.
    pub(super) fn from_echo(id: u16, seq: u16) -> Self {
        Self(u32::from(id) << 16 | u32::from(seq))
    }
}

/// What makes an echo's packet its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EchoMarks {
    pub(super) proof: [u8; 8],
    pub(super) ip_id: u16,
}

/// What makes a SYN's packet its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SynMarks {
    pub(super) isn: u32,
    pub(super) source_port: u16,
    pub(super) ip_id: u16,
}

/// The marks of an echo to this address.
pub(super) fn echo_marks(secret: &Secret, to: IpAddr, token: Token) -> EchoMarks {
    let hash = secret.hash_address(to, u64::from(token.0), 16);
    // Whoever sees one of the two in our packet sees the other as well.
    EchoMarks { proof: hash.to_be_bytes(), ip_id: ip_id(hash.rotate_left(23)) }
}

/// What all SYNs to one address and port have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    secret: Secret,
    tweak: u64,
}

impl Flow {
    /// The flow to this address and port.
    pub(super) fn to(secret: &Secret, to: IpAddr, port: u16) -> Self {
        Self { secret: *secret, tweak: secret.hash_address(to, u64::from(port), 17) }
    }

    /// The marks of a SYN.
    pub(super) fn marks(&self, token: Token) -> SynMarks {
        SynMarks {
            isn: self.secret.permute(token.0, self.tweak),
            source_port: self.source_port(token),
            ip_id: self.ip_id(token),
        }
    }

    /// The source port: it moves on by one with every generation, so that many flows are tried over
    /// time, and none comes back before its predecessor is long forgotten.
    pub(super) fn source_port(&self, token: Token) -> u16 {
        let start = u32::from(low16(self.tweak >> 32));
        let source_port = (start + (token.0 & GENERATION_MASK)) % PORTS;
        SWEEP_PORT + low16(u64::from(source_port))
    }

    /// The IPv4 identification.
    pub(super) fn ip_id(&self, token: Token) -> u16 {
        ip_id(self.secret.hash(&[self.tweak ^ u64::from(token.0) << 24]))
    }

    /// The probe whose SYN had this sequence number.
    pub(super) fn unhide(&self, isn: u32) -> Token {
        Token(self.secret.unpermute(isn, self.tweak))
    }
}

/// Linux replaces an identification of 0 by its own on raw sockets.
fn ip_id(hash: u64) -> u16 {
    low16(hash).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_from_both_kinds_of_packet() {
        let secret = Secret::new([3, 4]);
        let to: IpAddr = "192.0.2.7".parse().unwrap();
        for (slot, generation) in [(0, 0), (1, 4_095), (0xf_ffff, 77), (12_345, 5_000)] {
            let token = Token::new(slot, generation);
            let (id, seq) = token.to_echo();
            assert_eq!(Token::from_echo(id, seq), token);
            assert_eq!(id, Token::new(slot, generation.wrapping_add(1)).to_echo().0);
            let flow = Flow::to(&secret, to, 3389);
            let marks = flow.marks(token);
            assert_eq!(flow.unhide(marks.isn), token);
            assert!(marks.source_port >= SWEEP_PORT);
            assert_ne!(Flow::to(&secret, to, 3390).unhide(marks.isn), token);
            assert_eq!(token.slot(), slot);
        }
    }

    #[test]
    fn ages_count_over_the_turn_of_the_generation() {
        assert_eq!(Token::new(9, 4_095).age(4_095), 0);
        assert_eq!(Token::new(9, 4_095).age(4_097), 2);
        assert_eq!(Token::new(9, 2).age(1), 4_095);
    }

    #[test]
    fn no_source_port_comes_back_soon() {
        let (secret, to) = (Secret::new([5, 6]), "2001:db8::1".parse().unwrap());
        let ports: std::collections::BTreeSet<u16> = (0..3_000)
            .map(|generation| Flow::to(&secret, to, 22).source_port(Token::new(8, generation)))
            .collect();
        assert_eq!(ports.len(), 3_000);
    }
}
