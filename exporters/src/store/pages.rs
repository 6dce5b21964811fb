//! Rows out of the bare pages of a damaged file, without `SQLite`: page by page, cell by cell.
//!
//! The file format is that of <https://www.sqlite.org/fileformat2.html>, sections 1.5, 1.6, 2.1 and
//! 4. Nothing that is read here is believed: what makes a row a row is its checksum. Where a page's
//! own head agrees with itself, its cells are those that it points to; where it does not, a cell
//! may begin at any byte of it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::types::Value;

/// Bytes of a page; every file of ours has these.
const PAGE: usize = 4096;

/// The first byte of a leaf that holds rows.
const LEAF: u8 = 0x0d;

/// Local payload at most, and at least when it overflows (section 1.6).
const LOCAL_MAX: usize = PAGE - 35;
const LOCAL_MIN: usize = (PAGE - 12) * 32 / 255 - 23;
const OVERFLOW: usize = PAGE - 4;

/// No row of ours is as large as this.
const ROW_MAX: usize = 64 << 20;

/// Columns that a row of ours may have.
const COLUMNS_MAX: usize = 32;

/// The pages of a file as they were last committed: those of the log before those of the file.
pub(super) struct Pages {
    file: File,
    count: usize,
    logged: BTreeMap<usize, Vec<u8>>,
}

impl Pages {
    /// Opens a file and reads its log, if there is one. Nothing is changed.
    pub(super) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::open(path)?;
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        let logged = std::fs::read(super::with_suffix(path, "-wal")).unwrap_or_default();
        let logged = committed(&logged);
        let last = logged.last_key_value().map_or(0, |(number, _)| number + 1);
        Ok(Self { file, count: length.div_ceil(PAGE).max(last), logged })
    }

    /// Hands every row that can be read to `take`; whether it is one of ours is for that to say.
    pub(super) fn rows(&self, mut take: impl FnMut(Vec<Value>)) {
        for number in 0..self.count {
            let Some(page) = self.page(number) else { continue };
            let start = if number == 0 { 100 } else { 0 };
            match cells(&page, start) {
                Some(places) => {
                    let rows = places.iter().filter_map(|place| self.cell(&page, *place));
                    rows.for_each(&mut take);
                }
                None if may_be_leaf(byte(&page, start)) => {
                    let places = first_content(&page, start)..PAGE;
                    places.filter_map(|place| self.cell(&page, place)).for_each(&mut take);
                }
                None => {}
            }
        }
    }

    /// A page; `None` where the disk does not give it.
    fn page(&self, number: usize) -> Option<Vec<u8>> {
        if let Some(page) = self.logged.get(&number) {
            return Some(page.clone());
        }
        let mut page = vec![0; PAGE];
        let offset = u64::try_from(number.checked_mul(PAGE)?).ok()?;
        let mut filled = 0;
        while filled < PAGE {
            let rest = page.get_mut(filled..)?;
            let more = u64::try_from(filled).ok()?;
            match self.file.read_at(rest, offset + more) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(_) => return None,
            }
        }
        (filled > 0).then_some(page)
    }

    /// The row of the cell that begins here.
    fn cell(&self, page: &[u8], place: usize) -> Option<Vec<Value>> {
        let (length, body) = frame(page, place)?;
        // Most places begin nothing: the head tells before overflow pages are read.
        let (head, _) = varint(page, body)?;
        let head = usize::try_from(head).ok()?;
        if head < 2 || head > length || head > 9 * COLUMNS_MAX {
            return None;
        }
        let local = local(length);
        let mut payload = page.get(body..body.checked_add(local)?)?.to_vec();
        let mut next = number(page.get(body + local..), 4);
        while payload.len() < length {
            let more = self.page(usize::try_from(next?).ok()?.checked_sub(1)?)?;
            next = number(Some(&more), 4);
            let rest = (length - payload.len()).min(OVERFLOW);
            payload.extend_from_slice(more.get(4..4 + rest)?);
        }
        record(&payload)
    }
}

fn byte(page: &[u8], at: usize) -> u8 {
    page.get(at).copied().unwrap_or_default()
}

/// A big-endian number of so many bytes.
fn number(bytes: Option<&[u8]>, length: usize) -> Option<u64> {
    let bytes = bytes?.get(..length)?;
    Some(bytes.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)))
}

/// A variable-length integer and its length.
fn varint(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut sum = 0_u64;
    for index in 0..9 {
        let byte = *bytes.get(at + index)?;
        if index == 8 {
            return Some(((sum << 8) | u64::from(byte), 9));
        }
        sum = (sum << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((sum, index + 1));
        }
    }
    None
}

/// The payload's length and where it begins, behind the row's number.
fn frame(page: &[u8], place: usize) -> Option<(usize, usize)> {
    let (length, first) = varint(page, place)?;
    let length = usize::try_from(length).ok().filter(|length| (4..=ROW_MAX).contains(length))?;
    let (_, second) = varint(page, place + first)?;
    Some((length, place + first + second))
}

/// How much of a payload lies in its cell.
fn local(length: usize) -> usize {
    if length <= LOCAL_MAX {
        return length;
    }
    let local = LOCAL_MIN + (length - LOCAL_MIN) % OVERFLOW;
    if local <= LOCAL_MAX { local } else { LOCAL_MIN }
}

/// Whether a byte is the mark of a leaf but for one bit.
fn may_be_leaf(mark: u8) -> bool {
    (mark ^ LEAF).count_ones() <= 1
}

/// Where the cells of a leaf begin; `None` when the page does not add up: cells, free blocks,
/// fragments and the gap before them fill it exactly.
fn cells(page: &[u8], start: usize) -> Option<Vec<usize>> {
    if !may_be_leaf(byte(page, start)) {
        return None;
    }
    let field = |at: usize| number(page.get(start + at..), 2).and_then(|n| usize::try_from(n).ok());
    let (count, content) = (field(3)?, field(5)?);
    let pointers = start + 8;
    let end = pointers + 2 * count;
    if content < end || content > PAGE {
        return None;
    }
    let mut used = content + usize::from(byte(page, start + 7));
    let mut places = Vec::with_capacity(count);
    for index in 0..count {
        let place = number(page.get(pointers + 2 * index..), 2)?;
        let place = usize::try_from(place).ok().filter(|place| *place >= content)?;
        let (length, body) = frame(page, place)?;
        let local = local(length);
        let overflow = if local < length { 4 } else { 0 };
        // A cell takes four bytes at least, to become a free block some day.
        used += (body - place + local + overflow).max(4);
        places.push(place);
    }
    let mut free = field(1)?;
    let mut hops = 0;
    while free != 0 {
        used += usize::try_from(number(page.get(free + 2..), 2)?).ok()?;
        free = usize::try_from(number(page.get(free..), 2)?).ok()?;
        hops += 1;
        if hops > PAGE / 4 {
            return None;
        }
    }
    (used == PAGE).then_some(places)
}

/// Where cells begin by the head or by the pointers, whichever is lower: what lies below may be
/// left of rows that moved on.
fn first_content(page: &[u8], start: usize) -> usize {
    let field = |at: usize| number(page.get(at..), 2).and_then(|n| usize::try_from(n).ok());
    let pointers = start + 8;
    let count = field(start + 3).unwrap_or_default().min((PAGE - pointers) / 2);
    let places = (0..count).filter_map(|index| field(pointers + 2 * index));
    let lowest = places.chain(field(start + 5)).filter(|place| *place >= pointers).min();
    lowest.unwrap_or(pointers)
}

/// The values of a record (section 2.1).
fn record(payload: &[u8]) -> Option<Vec<Value>> {
    let (head, mut at) = varint(payload, 0)?;
    let head = usize::try_from(head).ok()?;
    let mut body = head;
    let mut values = Vec::new();
    while at < head {
        let (kind, length) = varint(payload, at)?;
        at += length;
        if at > head || values.len() == COLUMNS_MAX {
            return None;
        }
        let (value, size) = value(kind, payload.get(body..)?)?;
        body += size;
        values.push(value);
    }
    (body == payload.len()).then_some(values)
}

fn value(kind: u64, bytes: &[u8]) -> Option<(Value, usize)> {
    let integer = |length: usize| {
        let raw = number(Some(bytes), length)?;
        let shift = 64 - 8 * length;
        // Two's complement of that length.
        let signed = i64::from_be_bytes((raw << shift).to_be_bytes()) >> shift;
        Some((Value::Integer(signed), length))
    };
    match kind {
        0 => Some((Value::Null, 0)),
        1..=4 => integer(usize::try_from(kind).ok()?),
        5 => integer(6),
        6 => integer(8),
        7 => Some((Value::Real(f64::from_bits(number(Some(bytes), 8)?)), 8)),
        8 => Some((Value::Integer(0), 0)),
        9 => Some((Value::Integer(1), 0)),
        10 | 11 => None,
        _ => {
            let length = usize::try_from((kind - 12) / 2).ok()?;
            let bytes = bytes.get(..length)?.to_vec();
            let value = match kind % 2 {
                0 => Value::Blob(bytes),
                _ => Value::Text(String::from_utf8(bytes).ok()?),
            };
            Some((value, length))
        }
    }
}

/// The pages of a write-ahead log up to its last whole commit (section 4), by number from zero.
fn committed(log: &[u8]) -> BTreeMap<usize, Vec<u8>> {
    const HEAD: usize = 32;
    const FRAME: usize = 24;
    let mut pages = BTreeMap::new();
    let word = |at: usize| number(log.get(at..), 4);
    let big = match word(0) {
        Some(0x377f_0682) => false,
        Some(0x377f_0683) => true,
        Some(_) | None => return pages,
    };
    let salts = (word(16), word(20));
    let mut sums = log.get(..24).map_or((0, 0), |head| checksum((0, 0), head, big));
    let mut open = Vec::new();
    let mut at = HEAD;
    while let (Some(head), Some(page)) =
        (log.get(at..at + FRAME), log.get(at + FRAME..at + FRAME + PAGE))
    {
        sums = checksum(checksum(sums, head.get(..8).unwrap_or_default(), big), page, big);
        let told = (word(at + 16), word(at + 20));
        if (word(at + 8), word(at + 12)) != salts
            || told != (Some(u64::from(sums.0)), Some(u64::from(sums.1)))
        {
            break;
        }
        let place = word(at).and_then(|number| usize::try_from(number).ok()?.checked_sub(1));
        open.extend(place.map(|place| (place, page.to_vec())));
        // Not zero: the last of a commit.
        if word(at + 4) != Some(0) {
            pages.extend(open.drain(..));
        }
        at += FRAME + PAGE;
    }
    pages
}

fn checksum((mut first, mut second): (u32, u32), bytes: &[u8], big: bool) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let (left, right) = pair.split_at(4);
        let word = |bytes: &[u8]| {
            let bytes: [u8; 4] = bytes.try_into().unwrap_or_default();
            if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
        };
        first = first.wrapping_add(word(left)).wrapping_add(second);
        second = second.wrapping_add(word(right)).wrapping_add(first);
    }
    (first, second)
}
