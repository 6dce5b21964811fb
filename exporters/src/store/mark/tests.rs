use reachd_core::incident::IncidentState;

use super::super::tests::{incident, now, rendered};
use super::*;

/// `ops` has an heir; everybody writes a notice's heading.
struct Writer;

impl Scribe for Writer {
    fn heir(&self, receiver: &str) -> Option<String> {
        (receiver == "ops").then(|| "mail".to_owned())
    }

    fn write(&self, receiver: &str, notice: &Notice) -> Option<Rendered> {
        let text = format!("{} | {}", notice.heading.en, notice.summary.en);
        Some(rendered(receiver, notice.resolved, &text))
    }
}

/// A store in which `ops` is owed that so many incidents fire and are over.
fn store(folder: &tempfile::TempDir, incidents: u64) -> Store {
    let (mut store, _) = Store::open(&folder.path().join("db")).unwrap();
    for number in 0..incidents {
        for (version, state) in [(1, IncidentState::Firing), (2, IncidentState::Resolved)] {
            let mut row = incident(version, state);
            row.fingerprint = format!("{number:016x}");
            let message = rendered("ops", state == IncidentState::Resolved, "{}");
            assert!(store.save_incident(&row, &[message], now()).unwrap());
        }
    }
    store
}

fn all(store: &mut Store, state: State) -> Vec<OutboxRow> {
    store.outbox(Some(state)).unwrap()
}

fn marks(rows: &[OutboxRow], mark: &Mark) -> BTreeMap<MarkKey, Mark> {
    rows.iter().map(|row| (row.key(), mark.clone())).collect()
}

fn dead() -> Mark {
    let error = Some("expired: answered 400".to_owned());
    Mark { attempts: Some(7), error, ..Mark::plain(State::Dead) }
}

#[test]
fn a_dead_letter_is_marked_with_the_notice_of_it_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, 1);
    let rows = all(&mut store, State::Pending);
    let marks = marks(&rows[..1], &dead());
    let trip = "CREATE TRIGGER trip BEFORE INSERT ON outbox WHEN new.receiver = 'mail' \
                BEGIN SELECT raise(ABORT, 'no'); END";
    store.connection.execute_batch(trip).unwrap();
    assert!(store.mark(&marks, &Writer, now()).is_err());
    assert_eq!(all(&mut store, State::Pending), rows);
    store.connection.execute_batch("DROP TRIGGER trip").unwrap();
    let owed = store.mark(&marks, &Writer, now()).unwrap();
    let [notice] = &owed[..] else { panic!("{owed:#?}") };
    assert_eq!(notice.fingerprint, format!("dead-{}", rows[0].msg_id));
    assert_eq!((notice.receiver.as_str(), notice.version), ("mail", 1));
    let text = String::from_utf8(notice.body.to_vec()).unwrap();
    let expected = "Not delivered to ops: 192.0.2.10:3389 | Receiver ops was not told that \
                    192.0.2.10:3389 fires (incident 0000000000000000, step 1); waiting since \
                    2026-01-02T03:04:05.000Z, 7 attempts, given up: expired: answered 400. \
                    It is silent.";
    assert_eq!(text.replace(&crate::clock::rfc3339(now()), "2026-01-02T03:04:05.000Z"), expected);
    assert!(all(&mut store, State::Pending).contains(notice));
    // Said once, however often it is written; said again when it dies again.
    assert!(store.mark(&marks, &Writer, now()).unwrap().is_empty());
    assert_eq!(store.retry_dead(None, now()).unwrap(), 1);
    let again = store.mark(&marks, &Writer, now()).unwrap();
    assert_eq!((again.len(), again[0].version), (1, 2));
}

#[test]
fn many_dead_letters_are_one_notice_and_a_few_are_one_each() {
    for (incidents, expected) in [(4, 8), (5, 1), (300, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut store = store(&folder, incidents);
        let rows = all(&mut store, State::Pending);
        let owed = store.mark(&marks(&rows, &dead()), &Writer, now()).unwrap();
        assert_eq!(owed.len(), expected);
        let longest = owed.iter().map(|row| row.body.len()).max().unwrap();
        assert!(longest < 4_000, "{longest}");
        if expected == 1 {
            let text = String::from_utf8(owed[0].body.to_vec()).unwrap();
            assert!(text.contains(&format!("{} messages", 2 * incidents)), "{text}");
        }
    }
}

#[test]
fn what_nobody_inherits_is_dead_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, 1);
    let nobody = crate::outbox::Outbox::default();
    let marks = marks(&all(&mut store, State::Pending), &dead());
    assert!(store.mark(&marks, &nobody, now()).unwrap().is_empty());
    assert_eq!(all(&mut store, State::Dead).len(), 2);
}

#[test]
fn a_digest_takes_the_place_of_what_it_tells_or_nothing_changes() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = store(&folder, 60);
    let rows = all(&mut store, State::Pending);
    let digest = Mark { digest: true, ..Mark::plain(State::Superseded) };
    let marks = marks(&rows, &digest);
    let nobody = crate::outbox::Outbox::default();
    assert!(store.mark(&marks, &nobody, now()).unwrap().is_empty());
    assert_eq!(all(&mut store, State::Pending), rows);
    let owed = store.mark(&marks, &Writer, now()).unwrap();
    assert_eq!(owed.len(), 2, "fifty incidents are told at once");
    assert_eq!(all(&mut store, State::Pending).len(), 2);
    let told = all(&mut store, State::Superseded);
    assert_eq!(told.len(), 120);
    for row in &told {
        let name = row.last_error.as_deref().and_then(|error| error.strip_prefix("told in "));
        assert!(owed.iter().any(|digest| Some(digest.fingerprint.as_str()) == name), "{row:?}");
    }
    let text = String::from_utf8(owed[0].body.to_vec()).unwrap();
    assert!(text.starts_with("50 incidents opened and were over meanwhile | While ops"), "{text}");
    assert!(text.ends_with("; and 30 more.") && owed[0].resolved, "{text}");
    // What is settled is not told again.
    assert!(store.mark(&marks, &Writer, now()).unwrap().is_empty());
}
