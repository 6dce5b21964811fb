use std::os::unix::fs::MetadataExt as _;

use proptest::prelude::*;

use super::*;
use crate::fixture;

const PLENTY: Limits = Limits { max_bytes: 1 << 30, max_age: Duration::from_secs(14 * 86_400) };
const FINGERPRINT: &str = "0123456789abcdef";

fn date(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// A disk that has room whatever the machine of the test has.
fn archive(folder: &Path, limits: Limits) -> Archive {
    let mut archive = Archive::new(folder.to_owned(), limits, Arc::default());
    archive.spare = |_| Spare { to_write: 0, to_keep: 0 };
    archive
}

fn step(fingerprint: &str, opened: u64, version: u64) -> StepName {
    StepName::new(fingerprint, &Opened::at(date(opened)), version).unwrap()
}

/// A block of a pcapng file.
fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 12).unwrap().to_ne_bytes();
    [&kind.to_ne_bytes()[..], &length, body, &length].concat()
}

/// A pcapng file with a comment, and a packet of so many bytes on an interface, if any.
fn section(mark: u8, bytes: usize) -> Vec<u8> {
    let comment = [&1_u16.to_ne_bytes()[..], &4_u16.to_ne_bytes(), &[b'c', b'0', b'0', mark]];
    let head =
        [&[0x4d, 0x3c, 0x2b, 0x1a][..], &[1, 0, 0, 0], &[0xff; 8], &comment.concat(), &[0; 4]];
    let mut file = block(0x0a0d_0d0a, &head.concat());
    if bytes > 0 {
        // Each on an interface of another name.
        let name = [2, 0, 4, 0, b'i', b'f', b'0', mark, 0, 0, 0, 0];
        file.extend(block(1, &[&[101, 0, 0, 0, 0, 0, 0, 0][..], &name].concat()));
        let packet = vec![mark; bytes.next_multiple_of(4)];
        file.extend(block(6, &[&[0; 20][..], &packet].concat()));
    }
    file
}

fn proof(step: StepName, packets: Vec<u8>) -> Proof {
    let mut proof = Proof::new(step, &fixture::report()).unwrap();
    proof.add_packets(packets);
    proof
}

fn nobody(_: &StepName) -> bool {
    false
}

/// Every file below a folder, with its mode.
fn tree(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = std::fs::symlink_metadata(&path).unwrap().mode() & 0o777;
        found.push((path.display().to_string(), mode));
        if path.is_dir() {
            found.extend(tree(&path));
        }
    }
    found.sort();
    found
}

fn names_in(archive: &Archive) -> Vec<String> {
    archive.steps().map(ToString::to_string).collect()
}

#[test]
fn a_step_is_three_private_files() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("state/evidence");
    let mut archive = archive(&place, PLENTY);
    archive.put(&proof(step(FINGERPRINT, 0, 3), section(7, 40)), date(5), &nobody).unwrap();
    let base = place.join("0123456789abcdef-20231114T221320Z-3");
    let path = |name: &str| base.join(name).display().to_string();
    let expected = [
        (base.display().to_string(), 0o700),
        (path("packets.pcapng"), 0o600),
        (path("trace.txt"), 0o600),
        (path("verdict.json"), 0o600),
    ];
    assert_eq!(tree(&place), expected);
    assert_eq!(std::fs::metadata(&place).unwrap().mode() & 0o777, 0o700);
    let verdict = std::fs::read_to_string(base.join("verdict.json")).unwrap();
    let verdict: serde_json::Value = serde_json::from_str(&verdict).unwrap();
    assert_eq!(verdict, serde_json::to_value(fixture::report()).unwrap());
    let trace = std::fs::read_to_string(base.join("trace.txt")).unwrap();
    assert!(trace.starts_with("192.0.2.10:3389: blackhole, seen 2026-01-02T03:04:05.000Z\n"));
    assert!(trace.contains("\nfrom default"), "{trace}");
    let bytes: u64 = ["packets.pcapng", "trace.txt", "verdict.json"]
        .iter()
        .map(|name| std::fs::metadata(base.join(name)).unwrap().len())
        .sum();
    assert_eq!(archive.bytes(), bytes);
}

#[test]
fn what_a_target_is_called_reaches_no_path_and_no_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("evidence");
    let mut archive = archive(&place, PLENTY);
    for name in ["../../../etc/passwd", "a/b", "\u{0}", "\u{1b}[2J\nroot: ok", "..", "汉字"] {
        let mut update = fixture::update(1, reachd_core::incident::IncidentState::Firing);
        let mut report = fixture::report();
        name.clone_into(&mut report.target.name);
        let proof = Proof::new(step(FINGERPRINT, 0, 1), &report).unwrap();
        archive.put(&proof, date(0), &nobody).unwrap();
        update.report = Some(Arc::new(report));
        for comment in comments(&update) {
            assert!(!comment.contains(char::is_control) && comment.len() <= 1024, "{comment:?}");
        }
        let trace = std::fs::read_to_string(
            place.join("0123456789abcdef-20231114T221320Z-1").join("trace.txt"),
        );
        let strange = |letter: char| letter.is_control() && letter != '\n';
        let trace = trace.unwrap();
        assert!(!trace.contains(strange), "{trace:?}");
        assert!(trace.lines().next().unwrap().ends_with("2026-01-02T03:04:05.000Z"));
    }
    let all: Vec<_> = tree(folder.path()).into_iter().map(|(path, _)| path).collect();
    assert_eq!(all.len(), 1 + 1 + 2, "{all:?}");
    for fingerprint in ["", "..", "a/b", "0123456789ABCDEF", "0-1", "g", &"0".repeat(65)] {
        assert_eq!(StepName::new(fingerprint, &Opened::at(date(0)), 1), None, "{fingerprint}");
    }
}

#[test]
fn a_header_without_packets_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path(), PLENTY);
    for (version, packets) in [(1, section(0, 0)), (2, Vec::new()), (3, vec![0x0a])] {
        archive.put(&proof(step(FINGERPRINT, 0, version), packets), date(0), &nobody).unwrap();
    }
    let with = tree(folder.path()).into_iter().filter(|(path, _)| path.ends_with("pcapng"));
    // What is no section at all is kept as it came: that is for whoever looks into it.
    assert_eq!(with.count(), 1);
}

#[test]
fn the_last_opening_is_served_step_by_step() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path(), PLENTY);
    assert_eq!(packets(folder.path(), FINGERPRINT).unwrap(), None);
    for (opened, version) in [(0, 1), (0, 2), (100, 9), (100, 10), (100, 11)] {
        let mark = u8::try_from(version).unwrap();
        let packets = if version == 11 { section(0, 0) } else { section(mark, 4) };
        archive
            .put(&proof(step(FINGERPRINT, opened, version), packets), date(opened), &nobody)
            .unwrap();
    }
    let other = proof(step("0123aaaa", 0, 1), section(99, 4));
    archive.put(&other, date(0), &nobody).unwrap();
    let whole = packets(folder.path(), FINGERPRINT).unwrap().unwrap();
    let (ninth, tenth) = (section(9, 4), section(10, 4));
    let of = |part: &[u8]| whole.windows(part.len()).filter(|window| *window == part).count();
    // The packets of both, with both comments in one head.
    assert_eq!((of(&ninth[ninth.len() - 36..]), of(&tenth[tenth.len() - 36..])), (1, 1));
    assert_eq!((of(&[b'c', b'0', b'0', 9]), of(&[b'c', b'0', b'0', 10])), (1, 1));
    assert_eq!(whole.len(), ninth.len() + 36 + 8, "one head, one interface, two packets");
    assert_eq!(folders(folder.path(), FINGERPRINT).unwrap().len(), 3);
    let begin = |text: &str| fingerprints(folder.path(), text).unwrap().len();
    assert_eq!((begin("0123"), begin("01234"), begin("0123b"), begin("..")), (2, 1, 0, 0));
    let nowhere = folder.path().join("nowhere");
    assert!(fingerprints(&nowhere, "").unwrap().is_empty());
}

#[test]
fn a_crash_leaves_whole_steps_and_strangers_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = archive(folder.path(), PLENTY);
    first.put(&proof(step(FINGERPRINT, 0, 1), section(1, 4)), date(0), &nobody).unwrap();
    for half in [FRESH, GONE] {
        std::fs::create_dir(folder.path().join(half)).unwrap();
        std::fs::write(folder.path().join(half).join(PACKETS), [0; 99]).unwrap();
    }
    let strangers = ["notes.txt", "0123456789abcdef", "0123456789abcdef-20231114T221320Z-01"];
    strangers.iter().for_each(|name| std::fs::create_dir(folder.path().join(name)).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    let link = folder.path().join("aa-20231114T221320Z-1");
    std::os::unix::fs::symlink(elsewhere.path(), link).unwrap();
    let none = Limits { max_bytes: 1 << 30, max_age: Duration::ZERO };
    let mut second = archive(folder.path(), none);
    second.prepare().unwrap();
    assert_eq!(names_in(&second), ["0123456789abcdef-20231114T221320Z-1"]);
    assert_eq!(second.bytes(), first.bytes());
    let later = SystemTime::now() + Duration::from_secs(3_600);
    second.tend(later, &nobody).unwrap();
    assert_eq!((names_in(&second).len(), second.bytes()), (0, 0));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), strangers.len() + 1, "{left:?}");
}

#[test]
fn a_folder_that_cannot_be_had_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("evidence");
    std::fs::write(&place, "in the way").unwrap();
    let mut archive = archive(&place, PLENTY);
    let proof = proof(step(FINGERPRINT, 0, 1), section(1, 4));
    let error = archive.put(&proof, date(0), &nobody).unwrap_err();
    assert!(matches!(error, EvidenceError::Disk { what: "make", .. }), "{error}");
    std::fs::remove_file(&place).unwrap();
    archive.put(&proof, date(0), &nobody).unwrap();
    // Somebody clears it away under us.
    std::fs::remove_dir_all(&place).unwrap();
    assert!(archive.put(&proof, date(0), &nobody).is_err());
    archive.put(&proof, date(0), &nobody).unwrap();
    assert!(packets(&place, FINGERPRINT).unwrap().is_some());
}

#[test]
fn a_short_disk_is_left_to_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path(), PLENTY);
    for (fingerprint, version) in [("aa", 1), ("bb", 1), ("cc", 1)] {
        let proof = proof(step(fingerprint, 0, version), section(1, 4));
        archive.put(&proof, date(0), &nobody).unwrap();
    }
    archive.spare = |_| Spare { to_write: u64::MAX, to_keep: 0 };
    let more = proof(step("dd", 0, 1), section(1, 4));
    let error = archive.put(&more, date(0), &nobody).unwrap_err();
    assert!(matches!(error, EvidenceError::NoRoom { .. }), "{error}");
    assert_eq!(names_in(&archive).len(), 3);
    archive.spare = |_| Spare { to_write: 0, to_keep: 0 };
    archive.full.store(true, Ordering::Relaxed);
    let error = archive.put(&more, date(0), &|_| true).unwrap_err();
    assert!(matches!(error, EvidenceError::NoRoom { .. }), "{error}");
    archive.full.store(false, Ordering::Relaxed);
    archive.spare = |_| Spare { to_write: u64::MAX, to_keep: u64::MAX };
    let open = |step: &StepName| step.fingerprint() == "bb";
    archive.tend(date(1), &open).unwrap();
    assert_eq!(names_in(&archive), ["bb-20231114T221320Z-1"]);
}

#[test]
fn packets_that_are_too_many_leave_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let texts = u64::try_from(
        proof(step("aa", 0, 1), Vec::new())
            .files()
            .iter()
            .fold(0, |sum, (_, bytes)| sum + bytes.len()),
    )
    .unwrap();
    let limits = Limits { max_bytes: texts + 10, ..PLENTY };
    let mut archive = archive(folder.path(), limits);
    archive.put(&proof(step("aa", 0, 1), section(1, 4)), date(0), &nobody).unwrap();
    assert_eq!(archive.bytes(), texts);
    archive.set_limits(Limits { max_bytes: texts - 1, ..PLENTY });
    let refused = archive.put(&proof(step("bb", 0, 1), section(1, 4)), date(0), &nobody);
    assert!(matches!(refused, Err(EvidenceError::TooLarge { bytes }) if bytes == texts));
}

#[test]
fn of_many_steps_the_opening_and_the_newest_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = archive(folder.path(), PLENTY);
    for version in 1..=20 {
        let proof = proof(step(FINGERPRINT, 0, version), section(1, 4));
        archive.put(&proof, date(version), &|_| true).unwrap();
    }
    let versions: Vec<u64> = names_in(&archive)
        .iter()
        .map(|name| name.rsplit('-').next().unwrap().parse().unwrap())
        .collect();
    assert_eq!(versions, [1, 14, 15, 16, 17, 18, 19, 20]);
}

/// One thing that happens to an archive.
#[derive(Debug, Clone)]
enum Happening {
    /// An incident makes a step, with so many bytes of packets.
    Step { incident: u8, bytes: usize },
    /// An incident is over.
    Over(u8),
    /// Seconds pass, and the archive is tended.
    Passes(u64),
    /// The daemon starts anew.
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0_u8..6, 1_usize..9_000)
            .prop_map(|(incident, bytes)| Happening::Step { incident, bytes }),
        2 => (0_u8..6).prop_map(Happening::Over),
        2 => (1_u64..600).prop_map(Happening::Passes),
        1 => Just(Happening::Restart),
    ]
}

fn is_in(open: &BTreeMap<String, Opened>, step: &StepName) -> bool {
    open.get(step.fingerprint()) == Some(step.opened())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens: no more bytes than allowed lie there; nothing over is older than allowed;
    /// nothing open goes while something over is there; of what is over the oldest goes first.
    #[test]
    fn limits_hold(happenings in prop::collection::vec(happening(), 1..60)) {
        let folder = tempfile::tempdir().unwrap();
        let limits = Limits { max_bytes: 30_000, max_age: Duration::from_secs(1_000) };
        let mut archive = archive(folder.path(), limits);
        archive.prepare().unwrap();
        let mut open: BTreeMap<String, Opened> = BTreeMap::new();
        let (mut now, mut version) = (0, 0);
        for happening in happenings {
            let before = archive.kept.clone().unwrap();
            let mut made = None;
            now += 1;
            match happening {
                Happening::Step { incident, bytes } => {
                    version += 1;
                    let name = format!("{incident:02x}");
                    let opened = open.entry(name.clone()).or_insert(Opened::at(date(now)));
                    made = StepName::new(&name, opened, version);
                    let proof = proof(made.clone().unwrap(), section(1, bytes));
                    let is_open = |step: &StepName| is_in(&open, step);
                    archive.put(&proof, date(now), &is_open).unwrap();
                    let path = folder.path().join(made.as_ref().unwrap().to_string());
                    File::open(path).unwrap().set_modified(date(now)).unwrap();
                }
                Happening::Over(incident) => drop(open.remove(&format!("{incident:02x}"))),
                Happening::Passes(seconds) => now += seconds,
                Happening::Restart => archive = self::archive(folder.path(), limits),
            }
            let is_open = |step: &StepName| is_in(&open, step);
            if made.is_none() {
                archive.tend(date(now), &is_open).unwrap();
            }
            let after = archive.kept.clone().unwrap();
            let on_disk = std::fs::read_dir(folder.path()).unwrap();
            let on_disk: u64 = on_disk.map(|entry| size(&entry.unwrap().path()).unwrap()).sum();
            prop_assert!(on_disk <= limits.max_bytes && on_disk == archive.bytes());
            prop_assert!(made.is_none_or(|made| after.contains_key(&made)));
            for (step, kept) in &after {
                let age = date(now).duration_since(kept.written).unwrap();
                prop_assert!(is_open(step) || age <= limits.max_age);
            }
            let gone = before.iter().filter(|(step, _)| !after.contains_key(*step));
            for (step, kept) in gone {
                let of_many = after.keys().filter(|other| other.is_of(step)).count() == STEPS_MAX;
                let rest = after.iter().filter(|(other, _)| !is_open(other));
                let sooner = rest.filter(|(_, it)| is_open(step) || it.written < kept.written);
                prop_assert!(of_many || sooner.count() == 0, "{step} went first");
            }
        }
    }

    /// Whatever lies in the files: what is put together stays as it is when it is again.
    #[test]
    fn files_are_put_together_or_left_alone(
        files in prop::collection::vec(prop_oneof![
            (any::<u8>(), 0_usize..40).prop_map(|(mark, bytes)| section(mark, bytes)),
            (any::<u8>(), 0_usize..90).prop_map(|(mark, cut)| {
                let file = section(mark, 8);
                file[..cut.min(file.len())].to_vec()
            }),
            prop::collection::vec(any::<u8>(), 0..60),
        ], 0..5),
    ) {
        if let Some(whole) = merge::merge(&files) {
            prop_assert!(whole.len() <= files.concat().len());
            let again = merge::merge(std::slice::from_ref(&whole));
            prop_assert_eq!(again, Some(whole));
        }
    }

    /// Nobody's name is taken for one of ours, and ours are read as they were written.
    #[test]
    fn names_are_read_as_they_were_written(
        fingerprint in "[0-9a-f]{1,64}", seconds in 0_u64..4_000_000_000, version: u64,
        noise in "[-0-9a-fTZ./\u{0}x]{0,50}",
    ) {
        let name = StepName::new(&fingerprint, &Opened::at(date(seconds)), version).unwrap();
        prop_assert_eq!(StepName::parse(&name.to_string()), Some(name));
        if let Some(name) = StepName::parse(&noise) {
            let strange = noise.contains(['/', '.', '\u{0}']);
            prop_assert!(!strange && name.to_string() == noise);
        }
    }
}
