use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reachd_core::incident::IncidentState;
use reachd_core::monitor::Baseline;
use reachd_core::target::TargetName;
use reachd_core::time::Instant;
use tempfile::TempDir;

use super::super::{BaselineRow, IncidentRow, Mark, Rendered, State, Store};
use super::*;
use crate::clock::WallClock;
use crate::fixture;
use crate::outbox::Outbox;

const FLIPS: u64 = 500;
const PAGE: usize = 4096;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// In memory where that can be had: nothing here is about the disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.unwrap()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn random(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// An incident; some have a report, which is longer than a page.
fn incident(number: u64, version: u64, state: IncidentState) -> IncidentRow {
    let clock = WallClock::anchored(Instant::ZERO, now());
    let mut row = IncidentRow::new(&fixture::update(version, state), &clock);
    row.fingerprint = format!("{number:016x}");
    if !number.is_multiple_of(8) {
        row.report = None;
    }
    row
}

/// A few hundred rows, many of them written more than once and some removed again.
fn build(path: &Path) {
    let (mut store, _) = Store::open_with(path, 0).unwrap();
    for number in 0..120 {
        let body = Bytes::from(vec![b'a' + (number % 26) as u8; 50 + 113 * (number as usize % 60)]);
        let message = |resolved| Rendered {
            receiver: "ops".to_owned(),
            opened: String::new(),
            resolved,
            body: body.clone(),
        };
        let firing = incident(number, 1, IncidentState::Firing);
        store.save_incident(&firing, &[message(false)], now()).unwrap();
        if number % 3 == 0 {
            let over = incident(number, 2, IncidentState::Resolved);
            store.save_incident(&over, &[message(true)], now()).unwrap();
        }
        if number % 4 == 0 {
            let key = ("ops".to_owned(), firing.fingerprint.clone(), 1);
            let state = if number % 8 == 0 { State::Delivered } else { State::Pending };
            let error = Some("answered 503".to_owned());
            let (attempts, not_before_ms) = (Some(3), Some(9));
            let mark = Mark { attempts, not_before_ms, error, ..Mark::plain(state) };
            store.mark(&[(key, mark)].into(), &Outbox::default(), now()).unwrap();
        }
        let baseline = Baseline { distance: Some(9), ..Baseline::default() };
        let row = BaselineRow::new(&TargetName::new(&format!("t{number}")), "here", &baseline);
        store.save_baseline(&row, now() - Duration::from_secs(number)).unwrap();
    }
    store.prune(now(), Duration::from_secs(90), &[]).unwrap();
}

/// Everything a store holds but the checksums, each row as bytes.
fn content(store: &mut Store) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::new();
    for table in TABLES {
        for row in table.rows(&store.connection, "", &[]).unwrap() {
            let mut bytes = table.name.as_bytes().to_vec();
            for value in row.split_last().unwrap().1 {
                bytes.push(0xff);
                match value {
                    Value::Text(text) => bytes.extend(text.as_bytes()),
                    Value::Blob(blob) => bytes.extend(blob),
                    other => bytes.extend(format!("{other:?}").as_bytes()),
                }
            }
            all.insert(bytes);
        }
    }
    all
}

/// A bit of the file: anywhere, in the first page, or in the head of some page.
fn bit(seed: u64, length: usize) -> (usize, u8) {
    let dice = |salt, sides: usize| (random(seed * 8 + salt) % sides as u64) as usize;
    let page = dice(0, length / PAGE) * PAGE;
    let byte = match seed % 5 {
        0 => dice(1, 600),
        1 => page + dice(1, 16),
        _ => dice(1, length),
    };
    (byte, 1 << dice(2, 8))
}

/// How many rows are missing after a start on a file with one wrong bit.
fn missing(good: &[u8], expected: &BTreeSet<Vec<u8>>, seed: u64) -> (usize, bool) {
    let folder = folder();
    let path = folder.path().join("db");
    let (byte, mask) = bit(seed, good.len());
    let mut bytes = good.to_vec();
    bytes[byte] ^= mask;
    std::fs::write(&path, &bytes).unwrap();
    let opened = Store::open_with(&path, 0);
    let (mut store, warning) =
        opened.unwrap_or_else(|error| panic!("seed {seed}, byte {byte}: {error}"));
    let found = content(&mut store);
    let wrong = found.difference(expected).map(|row| String::from_utf8_lossy(row));
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "seed {seed}, byte {byte}: rows that were never written: {wrong:?}");
    (expected.difference(&found).count(), warning.is_some())
}

/// A bit belongs to one row at most, or to none: then nothing may be missing.
#[test]
fn five_hundred_flipped_bits_cost_one_row_each_at_most() {
    let folder = folder();
    let path = folder.path().join("db");
    build(&path);
    let good = std::fs::read(&path).unwrap();
    let (mut store, warning) = Store::open_with(&path, 0).unwrap();
    assert_eq!(warning, None);
    let expected = content(&mut store);
    assert!(expected.len() > 300, "{}", expected.len());
    let (good, expected) = (&good, &expected);
    let results: Vec<(usize, bool)> = std::thread::scope(|scope| {
        let share = |from| {
            move || {
                let seeds = (0..FLIPS).filter(|seed| seed % 4 == from);
                seeds.map(|seed| missing(good, expected, seed)).collect::<Vec<_>>()
            }
        };
        let threads: Vec<_> = (0..4).map(|from| scope.spawn(share(from))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let most = results.iter().map(|(missing, _)| *missing).max();
    let lost = results.iter().filter(|(missing, _)| *missing > 0).count();
    let noticed = results.iter().filter(|(_, noticed)| *noticed).count();
    println!("{FLIPS} flips: {noticed} noticed, {lost} cost a row, {most:?} at most");
    assert_eq!(most, Some(1));
    assert!(noticed > 100 && lost < noticed, "{noticed} {lost}");
}

#[test]
fn bad_pages_cost_what_lay_on_them_only() {
    let folder = folder();
    let path = folder.path().join("db");
    build(&path);
    let good = std::fs::read(&path).unwrap();
    let expected = content(&mut Store::open_with(&path, 0).unwrap().0);
    for (index, page) in [0, 1, 7, 20, 33].into_iter().enumerate() {
        let mut bytes = good.clone();
        bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
        std::fs::write(&path, &bytes).unwrap();
        let (mut store, warning) = Store::open_with(&path, 0).unwrap();
        let warning = warning.unwrap();
        assert_eq!(warning.moved_to, with_suffix(&path, &format!(".damaged-{}", index + 1)));
        let found = content(&mut store);
        assert!(found.is_subset(&expected), "page {page}");
        let lost = expected.len() - found.len();
        assert!(lost <= 60, "page {page} cost {lost} rows");
        let counted: usize = warning.saved.values().sum();
        // The release's own row is made anew.
        assert!((found.len() - 1..=found.len()).contains(&counted), "{counted} {}", found.len());
    }
}

/// What was committed and not yet checkpointed is in the log alone.
#[test]
fn rows_of_the_log_are_saved_as_well() {
    let folder = folder();
    let (path, copy) = (folder.path().join("db"), folder.path().join("copy"));
    let (mut store, _) = Store::open_with(&path, 0).unwrap();
    let row = incident(8, 1, IncidentState::Firing);
    store.save_incident(&row, &[], now()).unwrap();
    std::fs::copy(with_suffix(&path, "-wal"), with_suffix(&copy, "-wal")).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[..16].fill(0);
    std::fs::write(&copy, bytes).unwrap();
    let rows = collect(&copy).unwrap();
    assert_eq!(rows[INCIDENTS.name].len(), 1);
    assert_eq!(rows[EVENTS.name].len(), 1);
    drop(store);
}

#[test]
fn a_crash_between_the_renames_is_ended_by_the_next_start() {
    let folder = folder();
    let path = folder.path().join("db");
    build(&path);
    let expected = content(&mut Store::open_with(&path, 0).unwrap().0);
    std::fs::rename(&path, fresh_path(&path)).unwrap();
    // The damaged file's log is still there, whole and of no use to the new file.
    let other = folder.path().join("other");
    let (mut old, _) = Store::open_with(&other, 0).unwrap();
    old.save_incident(&incident(999, 1, IncidentState::Firing), &[], now()).unwrap();
    std::fs::copy(with_suffix(&other, "-wal"), with_suffix(&path, "-wal")).unwrap();
    let (mut store, warning) = Store::open_with(&path, 0).unwrap();
    assert_eq!((content(&mut store), warning), (expected.clone(), None));
    drop(store);
    // One that was never finished is of no use.
    std::fs::write(fresh_path(&path), "half").unwrap();
    assert_eq!(content(&mut Store::open_with(&path, 0).unwrap().0), expected);
    assert!(!fresh_path(&path).exists());
}

#[test]
fn a_file_that_lost_everything_but_its_log_is_kept_and_said() {
    let folder = folder();
    let (live, path) = (folder.path().join("live"), folder.path().join("db"));
    let (mut store, _) = Store::open_with(&live, 0).unwrap();
    store.save_incident(&incident(1, 1, IncidentState::Firing), &[], now()).unwrap();
    std::fs::copy(with_suffix(&live, "-wal"), with_suffix(&path, "-wal")).unwrap();
    std::fs::write(&path, "").unwrap();
    let (mut store, warning) = Store::open_with(&path, 0).unwrap();
    let warning = warning.unwrap();
    assert!(warning.reason.contains("empty"), "{warning:?}");
    assert!(std::fs::metadata(with_suffix(&warning.moved_to, "-wal")).unwrap().len() > 0);
    assert_eq!(warning.saved.get("incidents"), Some(&1));
    assert_eq!(store.load_open_incidents().unwrap().len(), 1);
}
