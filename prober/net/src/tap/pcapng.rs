//! Kept packets as a pcapng file (draft-ietf-opsawg-pcapng) that Wireshark and tcpdump read.

use std::io::{self, Write};

use reachd_core::monitor::{Direction, TapId};

use super::store::{Store, Wanted};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
/// `LINKTYPE_RAW`: the packet begins with its IPv4 or IPv6 header.
const LINKTYPE_RAW: u16 = 101;
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const EPB_FLAGS: u16 = 2;
/// Stamps in units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Writes the wanted packets with these comments on the file; gives their number.
pub fn write_pcapng(
    out: &mut impl Write,
    store: &Store,
    wanted: &Wanted,
    comments: &[String],
) -> io::Result<usize> {
    write_block(out, SECTION_HEADER, &section_header(comments))?;
    let mut first = None;
    let mut count = 0;
    for (record, bytes) in store.packets(wanted) {
        let key = (record.tap, record.interface);
        if first.is_none() {
            write_block(out, INTERFACE_DESCRIPTION, &interface(key))?;
        }
        // libpcap 1.10 refuses a second interface of this link type: packets of others say so.
        let elsewhere = *first.get_or_insert(key) != key;
        let stamp = u64::try_from(record.wall.as_nanos()).unwrap_or(u64::MAX);
        let mut body = Vec::with_capacity(bytes.len() + 40);
        put(&mut body, 0);
        put(&mut body, u32::try_from(stamp >> 32).unwrap_or(u32::MAX));
        put(&mut body, u32::try_from(stamp & 0xffff_ffff).unwrap_or(u32::MAX));
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        put(&mut body, length);
        put(&mut body, record.wire_len.max(length));
        body.extend(&bytes);
        pad(&mut body);
        let direction: u32 = match record.direction {
            Direction::Received => 1,
            Direction::Sent => 2,
        };
        if elsewhere {
            put_option(&mut body, OPT_COMMENT, name(key).as_bytes());
        }
        put_option(&mut body, EPB_FLAGS, &direction.to_ne_bytes());
        put_option(&mut body, 0, &[]);
        write_block(out, ENHANCED_PACKET, &body)?;
        count += 1;
    }
    Ok(count)
}

fn section_header(comments: &[String]) -> Vec<u8> {
    let mut body = Vec::new();
    put(&mut body, MAGIC);
    body.extend(1_u16.to_ne_bytes());
    body.extend(0_u16.to_ne_bytes());
    // The section's length is not told.
    body.extend(u64::MAX.to_ne_bytes());
    for comment in comments {
        put_option(&mut body, OPT_COMMENT, comment.as_bytes());
    }
    put_option(&mut body, SHB_USERAPPL, b"reachd");
    put_option(&mut body, 0, &[]);
    body
}

/// Which ring saw it, on which interface.
fn name((tap, index): (TapId, u32)) -> String {
    format!("tap{}-if{index}", tap.0)
}

fn interface(key: (TapId, u32)) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LINKTYPE_RAW.to_ne_bytes());
    body.extend(0_u16.to_ne_bytes());
    put(&mut body, 0);
    put_option(&mut body, IF_NAME, name(key).as_bytes());
    put_option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
    put_option(&mut body, 0, &[]);
    body
}

fn write_block(out: &mut impl Write, ty: u32, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 12).map_err(io::Error::other)?.to_ne_bytes();
    out.write_all(&ty.to_ne_bytes())?;
    out.write_all(&length)?;
    out.write_all(body)?;
    out.write_all(&length)
}

fn put(body: &mut Vec<u8>, value: u32) {
    body.extend(value.to_ne_bytes());
}

/// Appends an option; a value longer than the format allows is cut.
fn put_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    body.extend(code.to_ne_bytes());
    body.extend(length.to_ne_bytes());
    body.extend(value.iter().take(usize::from(length)));
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
