use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::monitor::{Baseline, ClosedPort};
use reachd_core::target::TargetName;
use reachd_core::time::Instant;

use super::*;
use crate::clock::WallClock;
use crate::fixture;
use crate::outbox::Outbox;

const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * DAY
}

pub(super) fn incident(version: u64, state: IncidentState) -> IncidentRow {
    let clock = WallClock::anchored(Instant::ZERO, now());
    IncidentRow::new(&fixture::update(version, state), &clock)
}

fn baseline(target: &str) -> BaselineRow {
    let closed_port = Some(ClosedPort::Silent);
    let rtt = Some(Duration::from_micros(12_345));
    let baseline = Baseline {
        echo_answered: true,
        distance: Some(9),
        rtt,
        closed_port,
        service_time: Some(Duration::from_micros(4_321)),
        certificate: Some([0xab; 32]),
        ..Baseline::default()
    };
    BaselineRow::new(&TargetName::new(target), "default", &baseline)
}

fn open(path: &Path) -> Store {
    let (store, warning) = Store::open(path).unwrap();
    assert_eq!(warning, None);
    store
}

#[test]
fn what_was_saved_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/state/reachd.db");
    let firing = incident(2, IncidentState::Firing);
    let mut store = open(&path);
    assert!(store.save_incident(&firing, &[], now()).unwrap());
    store.save_baseline(&baseline("a"), now()).unwrap();
    store.save_baseline(&baseline("b"), now() - 2 * DAY).unwrap();
    store.set_meta("run", "7").unwrap();
    drop(store);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    let mut store = open(&path);
    assert_eq!(store.load_open_incidents().unwrap(), [firing]);
    assert_eq!(store.load_baselines(now(), DAY).unwrap(), [baseline("a")]);
    assert_eq!(baseline("a").baseline().distance, Some(9));
    assert_eq!(baseline("a").baseline().closed_port, Some(ClosedPort::Silent));
    assert_eq!(baseline("a").baseline().rtt, Some(Duration::from_micros(12_345)));
    assert_eq!(store.meta("run").unwrap().as_deref(), Some("7"));
    assert_eq!(store.meta("other").unwrap(), None);
}

#[test]
fn an_older_version_never_overwrites_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let newer = incident(3, IncidentState::Firing);
    assert!(store.save_incident(&newer, &[], now()).unwrap());
    assert!(!store.save_incident(&incident(2, IncidentState::Resolved), &[], now()).unwrap());
    assert!(!store.save_incident(&newer, &[], now()).unwrap());
    assert_eq!(store.load_open_incidents().unwrap(), [newer]);
    assert!(store.save_incident(&incident(4, IncidentState::Resolved), &[], now()).unwrap());
    assert_eq!(store.load_open_incidents().unwrap(), []);
    assert_eq!(store.prune(now() + 2 * DAY, DAY, &[]).unwrap(), 3);
}

#[test]
fn a_row_reads_back_as_it_was_written() {
    let row = incident(4, IncidentState::Resolved);
    let text = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<IncidentRow>(&text).unwrap(), row);
    assert_eq!(row.incident_state(), Some(IncidentState::Resolved));
    assert!(row.alert_kind().is_some());
    assert_eq!(row.resolution.as_deref(), Some("recovered"));
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_one_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let garbage = [b"SQLite format 3\0".to_vec(), vec![0xff; 8000]].concat();
    for (number, content) in [(1, vec![b'x'; 4096]), (2, garbage)] {
        std::fs::write(&path, &content).unwrap();
        let (mut store, warning) = Store::open(&path).unwrap();
        let moved_to = warning.unwrap().moved_to;
        assert_eq!(moved_to, folder.path().join(format!("db.damaged-{number}")));
        assert_eq!(std::fs::read(moved_to).unwrap(), content);
        assert!(store.save_incident(&incident(1, IncidentState::Firing), &[], now()).unwrap());
    }
}

#[test]
fn damage_inside_a_real_store_is_noticed_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    for number in 0..200 {
        store.save_baseline(&baseline(&format!("target-{number:04}")), now()).unwrap();
    }
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length].fill(0xa5);
    std::fs::write(&path, bytes).unwrap();
    let (mut store, warning) = Store::open(&path).unwrap();
    assert!(warning.is_some());
    assert_eq!(store.load_baselines(now(), DAY).unwrap(), []);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    drop(open(&path));
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    let error = Store::open(&path).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 7, .. }));
    let text = error.to_string();
    assert!(text.contains("schema 7") && text.contains("newer release"), "{text}");
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn somebody_elses_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (a)").unwrap();
    assert!(matches!(Store::open(&path).unwrap_err(), StoreError::Foreign { .. }));
}

#[test]
fn a_path_that_cannot_be_written_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [file.join("db"), folder.path().to_owned()] {
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Path { .. }), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}

#[tokio::test]
async fn the_handle_does_what_was_queued_before_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let (handle, thread, warning) = StoreHandle::start(&path).unwrap();
    assert_eq!(warning, None);
    assert!(handle.save_incident(incident(1, IncidentState::Firing), Vec::new()).await.unwrap());
    handle.save_baseline(baseline("a")).await.unwrap();
    assert_eq!(handle.load_baselines(DAY).await.unwrap().len(), 1);
    assert_eq!(handle.load_open_incidents().await.unwrap().len(), 1);
    assert_eq!(handle.prune(DAY, Vec::new()).await.unwrap(), 0);
    drop(handle);
    thread.join().unwrap();
    assert_eq!(open(&path).load_open_incidents().unwrap().len(), 1);
}

#[test]
fn one_row_that_cannot_be_read_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    for target in ["a", "b"] {
        store.save_baseline(&baseline(target), now()).unwrap();
    }
    store.connection.execute("UPDATE baselines SET json = '{' WHERE target = 'a'", []).unwrap();
    assert_eq!(store.load_baselines(now(), DAY).unwrap(), [baseline("b")]);
}

pub(super) fn rendered(receiver: &str, resolved: bool, body: &str) -> Rendered {
    let body = bytes::Bytes::copy_from_slice(body.as_bytes());
    Rendered { receiver: receiver.to_owned(), opened: String::new(), resolved, body }
}

fn states(store: &mut Store) -> Vec<(String, u64, State, u32)> {
    let rows = store.outbox(None).unwrap();
    rows.into_iter().map(|row| (row.receiver, row.version, row.state, row.attempts)).collect()
}

#[test]
fn a_step_and_its_messages_are_saved_together_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    let messages = [rendered("ops", false, "{1}"), rendered("pager", false, "{2}")];
    let firing = incident(2, IncidentState::Firing);
    assert!(store.save_incident(&firing, &messages, now()).unwrap());
    assert!(!store.save_incident(&incident(1, IncidentState::Firing), &messages, now()).unwrap());
    // The last of the three writes fails: the others must not stand.
    let trip = "CREATE TRIGGER trip BEFORE INSERT ON outbox BEGIN SELECT raise(ABORT, 'no'); END";
    store.connection.execute_batch(trip).unwrap();
    let over = incident(3, IncidentState::Resolved);
    assert!(store.save_incident(&over, &[rendered("ops", true, "{3}")], now()).is_err());
    assert_eq!(store.load_open_incidents().unwrap(), [firing]);
    assert_eq!(store.incident_steps(&over.fingerprint).unwrap().len(), 1);
    let pending = |receiver: &str| (receiver.to_owned(), 2, State::Pending, 0);
    assert_eq!(states(&mut store), [pending("ops"), pending("pager")]);
    store.connection.execute_batch("DROP TRIGGER trip").unwrap();
    drop(store);
    let rows = open(&path).outbox_of("ops").unwrap();
    assert_eq!((rows.len(), &rows[0].body[..]), (1, &b"{1}"[..]));
    assert_eq!(rows[0].msg_id, message_id("ops", (&over.fingerprint, 2), ""));
    assert!(rows[0].msg_id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_ne!(rows[0].msg_id, message_id("pager", (&over.fingerprint, 2), ""));
}

fn mark(state: State, attempts: Option<u32>) -> Mark {
    let (not_before_ms, error) = (attempts.map(|_| 5), Some("e".to_owned()));
    Mark { attempts, not_before_ms, error, ..Mark::plain(state) }
}

#[test]
fn what_became_of_a_message_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    let id = incident(1, IncidentState::Firing).fingerprint;
    for (version, state) in [(1, IncidentState::Firing), (2, IncidentState::Resolved)] {
        let message = rendered("ops", version == 2, "{}");
        store.save_incident(&incident(version, state), &[message], now()).unwrap();
    }
    let key = |version| ("ops".to_owned(), id.clone(), version);
    let marks = [
        (key(1), mark(State::Delivered, Some(3))),
        (key(2), mark(State::Pending, Some(2))),
        (("gone".to_owned(), id.clone(), 9), mark(State::Dead, None)),
    ];
    store.mark(&marks.into(), &Outbox::default(), now()).unwrap();
    drop(store);
    let mut store = open(&path);
    let row = |version, state, attempts| ("ops".to_owned(), version, state, attempts);
    let expected = [row(1, State::Delivered, 3), row(2, State::Pending, 2)];
    assert_eq!(states(&mut store), expected);
    let rows = store.outbox_of("ops").unwrap();
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), [2]);
    assert_eq!((rows[0].not_before_ms, rows[0].last_error.as_deref()), (5, Some("e")));
    // A queue that begins with nothing owed still knows what was told last.
    let delivered = [(key(2), mark(State::Delivered, None))].into();
    store.mark(&delivered, &Outbox::default(), now()).unwrap();
    assert_eq!(store.outbox_of("ops").unwrap()[0].state, State::Delivered);
    assert_eq!(store.prune(now() + 2 * DAY, DAY, &[]).unwrap(), 5);
    assert_eq!(states(&mut store), []);
}

#[test]
fn dead_letters_are_revived_unless_what_came_later_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    let id = incident(1, IncidentState::Firing).fingerprint;
    for version in 1..=3 {
        let row = incident(version, IncidentState::Firing);
        let messages = [rendered("ops", false, "{}"), rendered("pager", false, "{}")];
        store.save_incident(&row, &messages, now()).unwrap();
    }
    let key = |receiver: &str, version| (receiver.to_owned(), id.clone(), version);
    let dead = mark(State::Dead, None);
    let marks = [
        (key("ops", 1), dead.clone()),
        (key("ops", 2), mark(State::Delivered, None)),
        (key("ops", 3), dead.clone()),
        (key("pager", 1), dead.clone()),
        (key("pager", 2), dead),
    ];
    store.mark(&marks.into(), &Outbox::default(), now()).unwrap();
    let seen = store.data_version().unwrap();
    // Another process does it.
    let mut other = Store::join(&path).unwrap();
    let names = [message_id("pager", (&id, 2), ""), message_id("ops", (&id, 1), "")];
    assert_eq!(other.retry_dead(Some(&names), now()).unwrap(), 1);
    assert_eq!(other.retry_dead(None, now()).unwrap(), 2);
    assert_eq!(other.retry_dead(None, now()).unwrap(), 0);
    assert_ne!(store.data_version().unwrap(), seen);
    assert_eq!(store.outbox(Some(State::Pending)).unwrap().len(), 4);
    assert_eq!(other.purge_dead(Some(&names)).unwrap(), 1);
    assert_eq!(other.purge_dead(None).unwrap(), 0);
    drop(other);
    let mut reader = Store::read(&path).unwrap();
    assert_eq!(reader.outbox(None).unwrap().len(), 5);
    assert!(reader.set_meta("a", "b").is_err());
}

#[test]
fn a_dead_letter_does_not_raise_an_alarm_that_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let id = incident(1, IncidentState::Firing).fingerprint;
    for (version, state) in [(1, IncidentState::Firing), (2, IncidentState::Resolved)] {
        let message = rendered("ops", version == 2, "{}");
        store.save_incident(&incident(version, state), &[message], now()).unwrap();
    }
    let dead = |version| (("ops".to_owned(), id.clone(), version), mark(State::Dead, None));
    store.mark(&[dead(1), dead(2)].into(), &Outbox::default(), now()).unwrap();
    assert_eq!(store.retry_dead(None, now()).unwrap(), 1);
    let revived = store.outbox(Some(State::Pending)).unwrap();
    assert_eq!(revived.iter().map(|row| row.version).collect::<Vec<_>>(), [2]);
    // Nor if nobody remembers that it is over.
    store.connection.execute("DELETE FROM outbox WHERE version = 2", []).unwrap();
    store.connection.execute("DELETE FROM incidents", []).unwrap();
    assert_eq!(store.retry_dead(None, now()).unwrap(), 0);
}

const SCHEMA_1: &[u8] = include_bytes!("../../testdata/store-schema-1.db");

#[test]
fn a_store_of_schema_1_is_taken_over_and_a_copy_of_it_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    std::fs::write(&path, SCHEMA_1).unwrap();
    assert!(matches!(Store::read(&path), Err(StoreError::OlderSchema { found: 1, .. })));
    let mut store = open(&path);
    let open_one = IncidentRow { version: 2, ..incident(1, IncidentState::Firing) };
    let rows = store.load_incidents().unwrap();
    let names: Vec<_> = rows.iter().map(|row| row.fingerprint.as_str()).collect();
    assert_eq!(names, ["0123456789abcdef", "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"]);
    assert_eq!(rows[0], open_one);
    assert_eq!((rows[1].state.as_str(), rows[2].state.as_str()), ("resolved", "firing"));
    // What that release did not learn yet is not known.
    let learnt = BaselineRow { service_micros: None, certificate_sha256: None, ..baseline("a") };
    assert_eq!(store.load_baselines(now(), DAY).unwrap(), [learnt]);
    assert_eq!(store.load_baselines(now(), 3 * DAY).unwrap().len(), 2);
    assert_eq!(store.meta("run").unwrap().as_deref(), Some("7"));
    assert_eq!(store.meta("delivered/ops/0123456789abcdef").unwrap(), None);
    let told = store.outbox(None).unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|row| (row.receiver.as_str(), row.fingerprint.as_str(), row.version, row.resolved))
        .collect();
    let expected = [
        ("ops", "0123456789abcdef", 1, false),
        ("ops", "aaaaaaaaaaaaaaaa", 1, false),
        ("pager", "aaaaaaaaaaaaaaaa", 2, true),
    ];
    assert_eq!(told, expected);
    drop(store);
    // The way back: the copy is a store of schema 1 as it was.
    let copy = with_suffix(&path, ".schema-1");
    let mode = std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let old = Connection::open(&copy).unwrap();
    let count = |sql: &str| old.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("PRAGMA user_version"), 1);
    assert_eq!(count("SELECT count(*) FROM incident_events"), 5);
    assert_eq!(count("SELECT count(*) FROM meta WHERE key LIKE 'delivered/%'"), 3);
    assert_eq!(open(&path).load_incidents().unwrap().len(), 3);
}

/// The clock jumps a year ahead while a receiver is down.
#[test]
fn what_is_owed_is_not_forgotten_however_old_it_seems() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    for (version, state) in [(1, IncidentState::Firing), (2, IncidentState::Resolved)] {
        let message = |receiver| rendered(receiver, state == IncidentState::Resolved, "{}");
        let messages = [message("ops"), message("left")];
        store.save_incident(&incident(version, state), &messages, now()).unwrap();
    }
    store.prune(now() + 365 * DAY, 30 * DAY, &["ops".to_owned()]).unwrap();
    let owed = [("ops".to_owned(), 1, State::Pending, 0), ("ops".to_owned(), 2, State::Pending, 0)];
    assert_eq!(states(&mut store), owed);
}
