use std::fs;

use proptest::prelude::*;

use super::keeper::Keeper;
use super::*;
use crate::fixture;
use crate::room::Spare;

fn hour(target: &str, hour: i64, vantage: &str) -> Hour {
    let (target, vantage) = (target.to_owned(), vantage.to_owned());
    let counts =
        Hour { looks: 10, reachable: 9, sent: 21, received: 16, lost: 4, ..Hour::default() };
    Hour { target, hour, vantage, rtt_count: 16, rtt_micros: 32_000, ..counts }
}

fn change(target: &str, at_ms: i64) -> Change {
    Change {
        target: target.to_owned(),
        at_ms,
        before: "reachable".to_owned(),
        class: "port_closed".to_owned(),
        confidence: 0.9,
        summary: "The port is closed.".to_owned(),
    }
}

fn batch(hours: &[Hour], changes: &[Change]) -> Batch {
    Batch { hours: hours.to_vec(), changes: changes.to_vec() }
}

/// One that has room whatever the machine of the test has.
fn keeper(path: &Path) -> Keeper {
    let mut keeper = Keeper::new(path.to_owned(), fixture::metrics(), Default::default());
    keeper.spare = |_| Spare { to_write: 0, to_keep: 0 };
    keeper
}

fn now() -> i64 {
    unix_hour(SystemTime::now())
}

/// What a fresh batch adds is there.
fn works(path: &Path) {
    let mut keeper = keeper(path);
    keeper.add(&batch(&[hour("fresh", now(), "v")], &[]));
    let told = History::read(path).unwrap().of_target("fresh").unwrap().unwrap();
    assert_eq!(told.hours, [hour("fresh", now(), "v")]);
}

#[test]
fn parts_of_an_hour_add_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut history = History::open(&path).unwrap();
    let all = [hour("a", 500_000, "v"), hour("a", 500_000, "w"), hour("b", 500_000, "v")];
    history.add(&batch(&all, &[change("a", 7)])).unwrap();
    history.add(&batch(&all[..1], &[change("a", 9)])).unwrap();
    drop(history);
    let history = History::read(&path).unwrap();
    let told = history.of_target("a").unwrap().unwrap();
    assert_eq!(told.changes, [change("a", 9), change("a", 7)]);
    let [v, w] = &told.hours[..] else { panic!("{told:?}") };
    assert_eq!((v.sent, v.lost, v.looks, v.rtt_micros), (42, 8, 20, 64_000));
    assert_eq!(w, &all[1]);
    assert_eq!(history.of_target("v").unwrap(), None, "a vantage is no target");
    let document = told.document();
    assert_eq!(document["hours"][0]["loss"], 0.2);
    assert_eq!(document["hours"][0]["availability"], 0.9);
    assert_eq!(document["hours"][0]["rtt_mean_seconds"], 0.002);
    assert_eq!(document["hours"][0]["hour"], "2027-01-15T08:00:00.000Z");
    assert_eq!(document["changes"][1]["at"], "1970-01-01T00:00:00.007Z");
    let unknown = Hour::default();
    assert_eq!((unknown.availability(), unknown.loss(), unknown.rtt_seconds()), (None, None, None));
}

#[test]
fn age_and_size_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let mut history = History::open(&folder.path().join(FILE)).unwrap();
    let date = |hour: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(hour).unwrap() * HOUR)
    };
    let first = 500_000;
    for at in first..first + 200 {
        let names = (0..40).map(|number| format!("{at}-{number}"));
        let hours: Vec<_> = names.map(|name| hour(&name, at, "v")).collect();
        history.add(&batch(&hours, &[change("c", at * 3_600_000)])).unwrap();
    }
    let all = history.bytes().unwrap();
    history.max_bytes = all / 2;
    history.prune(date(first + 200)).unwrap();
    let left = history.bytes().unwrap();
    assert!(left <= all / 2 && left > all / 4, "{left} of {all}");
    assert_eq!(history.of_target(&format!("{first}-0")).unwrap(), None);
    assert!(history.of_target(&format!("{}-0", first + 199)).unwrap().is_some());
    let names: i64 =
        history.connection.query_row("SELECT count(*) FROM names", [], |row| row.get(0)).unwrap();
    let hours: i64 =
        history.connection.query_row("SELECT count(*) FROM hours", [], |row| row.get(0)).unwrap();
    assert_eq!(names, hours + 2, "names of what is gone are gone");
    history.prune(date(first + 199) + MAX_AGE).unwrap();
    let told = history.of_target("c").unwrap().unwrap();
    assert_eq!(told.changes, [change("c", (first + 199) * 3_600_000)]);
    history.prune(date(first + 201) + MAX_AGE).unwrap();
    assert_eq!(history.of_target("c").unwrap(), None);
    // The present hour stays, however large.
    history.add(&batch(&[hour("d", first, "v")], &[])).unwrap();
    history.max_bytes = 0;
    history.prune(date(first)).unwrap();
    assert!(history.of_target("d").unwrap().is_some());
}

#[test]
fn what_is_no_history_of_ours_is_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let aside = folder.path().join("history.db.broken");
    for (number, bytes) in [vec![0x5a; 8_192], b"SQLite format 3\0".repeat(600)].iter().enumerate()
    {
        fs::write(&path, bytes).unwrap();
        works(&path);
        assert_eq!(&fs::read(&aside).unwrap(), bytes, "{number}");
    }
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap();
    drop(other);
    works(&path);
    let other = Connection::open(&aside).unwrap();
    let version: i64 = other.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, SCHEMA_VERSION + 1);
    fs::write(&path, []).unwrap();
    works(&path);
}

#[test]
fn what_cannot_be_had_is_done_without_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    let mut keeper = keeper(&path);
    let one = batch(&[hour("a", now(), "v")], &[]);
    let known = || {
        let read = History::read(&path).and_then(|history| history.of_target("a"));
        read.ok().flatten().map(|told| told.hours.len())
    };
    fs::create_dir(&path).unwrap();
    fs::write(path.join("somebody's"), "own").unwrap();
    keeper.add(&one);
    assert!(path.join("somebody's").exists(), "it was no file of ours");
    fs::remove_dir_all(&path).unwrap();
    keeper.add(&one);
    assert_eq!(known(), Some(1));
    // Somebody else holds it.
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    keeper.add(&one);
    other.execute_batch("ROLLBACK").unwrap();
    // No room.
    keeper.spare = |_| Spare { to_write: 0, to_keep: u64::MAX };
    keeper.add(&one);
    let sent = || History::read(&path).unwrap().of_target("a").unwrap().unwrap().hours[0].sent;
    assert_eq!(sent(), 21);
    keeper.spare = |_| Spare { to_write: 0, to_keep: 0 };
    keeper.add(&one);
    assert_eq!(sent(), 42);
    assert!(!folder.path().join("history.db.broken").exists());
}

/// Its rows are sound; it only calls one of them otherwise.
#[test]
fn tables_that_are_not_ours_are_moved_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE);
    for rename in ["hours RENAME looks TO lookz", "changes RENAME confidence TO confidencd"] {
        drop(History::open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        other.execute_batch(&format!("ALTER TABLE {rename}")).unwrap();
        drop(other);
        works(&path);
        fs::remove_file(folder.path().join("history.db.broken")).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Whichever bit flips: nothing panics, and what comes after is kept.
    #[test]
    fn one_flipped_bit_stops_nothing(place: u32, bit in 0_u8..8, log in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut history = History::open(&path).unwrap();
        let hours: Vec<_> = (0..60).map(|at| hour(&format!("t{}", at % 7), now() - at, "v")).collect();
        history.add(&batch(&hours, &[change("t1", 1), change("t2", 2)])).unwrap();
        if log {
            // The daemon was killed: its log lies beside the file.
            let copy = folder.path().join("copy");
            fs::copy(&path, &copy).unwrap();
            let wal = fs::read(folder.path().join("history.db-wal")).unwrap();
            drop(history);
            fs::rename(&copy, &path).unwrap();
            fs::write(folder.path().join("history.db-wal"), wal).unwrap();
        } else {
            drop(history);
        }
        let broken = if log { folder.path().join("history.db-wal") } else { path.clone() };
        let mut bytes = fs::read(&broken).unwrap();
        let at = usize::try_from(place).unwrap() % bytes.len();
        bytes[at] ^= 1 << bit;
        fs::write(&broken, bytes).unwrap();
        if let Ok(history) = History::read(&path) {
            drop(history.of_target("t1"));
        }
        works(&path);
    }
}
