use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

#[test]
fn rfc_1071_example_holds() {
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(internet(&bytes), !0xddf2);
}

#[test]
fn odd_byte_is_padded_on_the_right() {
    assert_eq!(internet(&[0x12, 0x34, 0x56]), internet(&[0x12, 0x34, 0x56, 0x00]));
    assert_ne!(internet(&[0x12, 0x34, 0x56]), internet(&[0x12, 0x34, 0x00, 0x56]));
}

#[test]
fn carries_wrap_around() {
    assert_eq!(internet(&[0xff; 64]), 0);
    assert_eq!(fold(u64::MAX), 0);
    assert_eq!(fold(0), 0xffff);
}

#[test]
fn pseudo_headers_add_up_as_laid_out() {
    let [source, dest] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    let laid_out = [10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 20];
    assert_eq!(pseudo_header(source.into(), dest.into(), 6, 20), sum(0, &laid_out));
    let [source, dest] = [Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED];
    let mut laid_out = [0; 40];
    laid_out[15] = 1;
    laid_out[33..36].copy_from_slice(&[1, 0, 20]);
    laid_out[39] = 58;
    assert_eq!(pseudo_header(source.into(), dest.into(), 58, 65_556), sum(0, &laid_out));
}

proptest! {
    #[test]
    fn pieces_of_even_length_add_up_to_the_whole(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0_usize..100,
    ) {
        let (head, tail) = bytes.split_at((at * 2).min(bytes.len() & !1));
        prop_assert_eq!(fold(sum(sum(0, head), tail)), internet(&bytes));
    }

    #[test]
    fn sealed_bytes_sum_to_zero_until_a_bit_flips(
        mut bytes in proptest::collection::vec(any::<u8>(), 2..100),
        bit in any::<prop::sample::Index>(),
    ) {
        bytes[..2].fill(0);
        let checksum = internet(&bytes);
        bytes[..2].copy_from_slice(&checksum.to_be_bytes());
        prop_assert_eq!(internet(&bytes), 0);
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(internet(&bytes), 0);
    }
}
