//! Keyed secrets: what makes our probes' identifiers impossible to guess.
//!
//! SipHash-2-4 (Aumasson and Bernstein, 2012) is the keyed function; a four-round Feistel network
//! over it makes the 32-bit permutation (Luby and Rackoff, 1988) that hides tokens in sequence
//! numbers, so that an answer leads straight back to what was asked.

use std::net::IpAddr;

/// A key drawn once per run.
#[derive(Clone, Copy)]
pub struct Secret {
    k0: u64,
    k1: u64,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Takes 128 random bits.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { k0: seed[0], k1: seed[1] }
    }

    /// A keyed 64-bit hash of these words.
    pub fn hash(&self, words: &[u64]) -> u64 {
        let mut state = Sip::new(self.k0, self.k1);
        for word in words {
            state.absorb(*word);
        }
        state.absorb((words.len() as u64) << 56);
        state.finish()
    }

    /// A keyed 64-bit hash of an address and some words.
    pub fn hash_address(&self, address: IpAddr, a: u64, b: u64) -> u64 {
        let bits = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        let high = u64::try_from(bits >> 64).unwrap_or_default();
        let low = u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        self.hash(&[high, low, a, b])
    }

    /// Hides a token: a keyed permutation of all 32-bit values, another one for every tweak.
    pub fn permute(&self, token: u32, tweak: u64) -> u32 {
        let (mut left, mut right) = halves(token);
        for round in 0..4 {
            (left, right) = (right, left ^ self.round(right, tweak, round));
        }
        join(left, right)
    }

    /// Finds the token that [`Self::permute`] hid.
    pub fn unpermute(&self, hidden: u32, tweak: u64) -> u32 {
        let (mut left, mut right) = halves(hidden);
        for round in (0..4).rev() {
            (left, right) = (right ^ self.round(left, tweak, round), left);
        }
        join(left, right)
    }

    fn round(&self, half: u16, tweak: u64, round: u64) -> u16 {
        // One word says it all: the tweak is a keyed hash already.
        low16(self.hash(&[tweak ^ u64::from(half) << 16 ^ round << 8]))
    }
}

/// The low 16 bits.
pub(crate) fn low16(word: u64) -> u16 {
    u16::try_from(word & 0xffff).unwrap_or_default()
}

fn halves(word: u32) -> (u16, u16) {
    (low16(u64::from(word >> 16)), low16(u64::from(word)))
}

fn join(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

struct Sip {
    v: [u64; 4],
}

impl Sip {
    fn new(k0: u64, k1: u64) -> Self {
        Self {
            v: [
                k0 ^ 0x736f_6d65_7073_6575,
                k1 ^ 0x646f_7261_6e64_6f6d,
                k0 ^ 0x6c79_6765_6e65_7261,
                k1 ^ 0x7465_6462_7974_6573,
            ],
        }
    }

    fn absorb(&mut self, word: u64) {
        self.v[3] ^= word;
        self.rounds(2);
        self.v[0] ^= word;
    }

    fn finish(mut self) -> u64 {
        self.v[2] ^= 0xff;
        self.rounds(4);
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    fn rounds(&mut self, count: usize) {
        let [mut a, mut b, mut c, mut d] = self.v;
        for _ in 0..count {
            a = a.wrapping_add(b);
            b = b.rotate_left(13) ^ a;
            a = a.rotate_left(32);
            c = c.wrapping_add(d);
            d = d.rotate_left(16) ^ c;
            a = a.wrapping_add(d);
            d = d.rotate_left(21) ^ a;
            c = c.wrapping_add(b);
            b = b.rotate_left(17) ^ c;
            c = c.rotate_left(32);
        }
        self.v = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_the_published_vector() {
        // Appendix A of the SipHash paper: key 00..0f, message 00..0e.
        let secret = Secret::new([0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]);
        let mut sip = Sip::new(secret.k0, secret.k1);
        sip.absorb(0x0706_0504_0302_0100);
        sip.absorb(0x0f0e_0d0c_0b0a_0908 & 0x00ff_ffff_ffff_ffff | 15 << 56);
        assert_eq!(sip.finish(), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn permutation_is_undone() {
        let secret = Secret::new([1, 2]);
        for token in [0, 1, 77, u32::MAX, 0x8000_0000] {
            for tweak in [0, 9, u64::MAX] {
                assert_eq!(secret.unpermute(secret.permute(token, tweak), tweak), token);
            }
        }
        assert_ne!(secret.permute(5, 1), secret.permute(5, 2));
    }
}
