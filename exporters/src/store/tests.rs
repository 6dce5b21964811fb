use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::monitor::{Baseline, ClosedPort};
use reachd_core::target::TargetName;
use reachd_core::time::Instant;

use super::*;
use crate::clock::WallClock;
use crate::fixture;

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + 1000 * DAY
}

fn incident(version: u64, state: IncidentState) -> IncidentRow {
    let clock = WallClock::anchored(Instant::ZERO, now());
    IncidentRow::new(&fixture::update(version, state), clock)
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
    assert!(store.save_incident(&firing, now()).unwrap());
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
fn what_a_receiver_took_last_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut store = open(&path);
    let fingerprint = incident(1, IncidentState::Firing).fingerprint;
    let told =
        |store: &mut Store, receiver: &str| store.last_delivered(receiver, &fingerprint).unwrap();
    store.save_incident(&incident(1, IncidentState::Firing), now()).unwrap();
    assert_eq!(told(&mut store, "ops"), None);
    store.note_delivered("ops", &fingerprint, 1).unwrap();
    store.save_incident(&incident(2, IncidentState::Resolved), now()).unwrap();
    assert_eq!(told(&mut store, "ops").as_deref(), Some("firing"));
    drop(store);
    let mut store = open(&path);
    store.note_delivered("ops", &fingerprint, 2).unwrap();
    assert_eq!(told(&mut store, "ops").as_deref(), Some("resolved"));
    assert_eq!(told(&mut store, "other"), None);
    assert_eq!(store.load_incidents().unwrap().len(), 1);
    assert!(store.load_open_incidents().unwrap().is_empty());
}

#[test]
fn an_older_version_never_overwrites_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder.path().join("db"));
    let newer = incident(3, IncidentState::Firing);
    assert!(store.save_incident(&newer, now()).unwrap());
    assert!(!store.save_incident(&incident(2, IncidentState::Resolved), now()).unwrap());
    assert!(!store.save_incident(&newer, now()).unwrap());
    assert_eq!(store.load_open_incidents().unwrap(), [newer]);
    assert!(store.save_incident(&incident(4, IncidentState::Resolved), now()).unwrap());
    assert_eq!(store.load_open_incidents().unwrap(), []);
    assert_eq!(store.prune(now() + 2 * DAY, DAY).unwrap(), 3);
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
        assert!(store.save_incident(&incident(1, IncidentState::Firing), now()).unwrap());
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
    assert!(handle.save_incident(incident(1, IncidentState::Firing)).await.unwrap());
    handle.save_baseline(baseline("a")).await.unwrap();
    assert_eq!(handle.load_baselines(DAY).await.unwrap().len(), 1);
    assert_eq!(handle.load_open_incidents().await.unwrap().len(), 1);
    assert_eq!(handle.prune(DAY).await.unwrap(), 0);
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
