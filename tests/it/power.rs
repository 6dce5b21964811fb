//! The store under power cuts: what it acknowledged is there afterwards.
//!
//! It lies on an ext4 image that is mounted by a loop device. A writer acknowledges each commit on
//! its standard output; it is stopped at a random moment, and the image is copied: the copy has
//! only what has reached the device by then, as a disk has whose power goes. Then the writer is
//! killed, the copy mounted (its journal replayed) and the store on it opened. That this harness
//! sees a loss at all is shown by a writer that does not wait for the disk.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use reachd_exporters::store::{IncidentRow, Rendered, Store, SubjectRow, TextRow};
use reachd_lab::test_name;
use tempfile::TempDir;

/// How many cuts; `REACHD_POWER_CYCLES` says otherwise.
const CYCLES: u64 = 30;
/// Cuts of the writer that does not wait; one that costs something is enough.
const CONTROLS: u64 = 20;
const IMAGE: &str = "64M";

/// Which part of the test this process plays: `box` or a kind of writer.
const ROLE: &str = "REACHD_POWER_ROLE";
/// Where the writer writes.
const PLACE: &str = "REACHD_POWER_PLACE";
const DURABLE: &str = "durable";
const HASTY: &str = "hasty";
/// The durable one, on a disk that fails to sync now and then.
const FAULTY: &str = "faulty";
const FAULTS: u64 = 10;
/// From the eighth on every third sync fails, without having been done.
const INJECT: &str = "inject=fsync,fdatasync:error=EIO:when=8+3";

/// Runs a program that must succeed.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("start {program}"))?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{program} {arguments:?}: {told}");
    Ok(())
}

/// This test once more, in another role; `program` is to run it.
fn again(mut program: Command, test: &str, role: &str) -> Command {
    program.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role);
    program
}

/// An incident at one step of its life.
fn step(version: u64) -> IncidentRow {
    let text = || TextRow { en: "It is silent.".repeat(20), zh: "无应答。".to_owned() };
    IncidentRow {
        fingerprint: format!("{:016x}", version % 7),
        version,
        state: "firing".to_owned(),
        alertname: "ReachdVantageFault".to_owned(),
        subject: SubjectRow::Vantage { name: "here".to_owned() },
        severity: "critical".to_owned(),
        class: "vantage_fault".to_owned(),
        class_now: "vantage_fault".to_owned(),
        started: "2026-01-02T03:04:05.000Z".to_owned(),
        ended: None,
        resolution: None,
        flaps: 0,
        summary: text(),
        next_step: text(),
        member: false,
        report: None,
    }
}

fn acknowledge(version: u64) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "ack {version}").context("acknowledge")?;
    out.flush().context("acknowledge")
}

/// Saves steps with a message each until it is killed.
fn write_durably(place: &Path) -> Result<()> {
    let mut store = Store::open(place)?.0;
    for version in 1.. {
        let body = Bytes::from(vec![b'x'; 700]);
        let message =
            Rendered { receiver: "ops".to_owned(), opened: String::new(), resolved: false, body };
        // As the daemon does: what cannot be saved is tried again.
        while let Err(error) = save(&mut store, version, &message) {
            ensure!(format!("{error:#}").contains("I/O"), "{error:#}");
            eprintln!("failed {version}");
        }
        acknowledge(version)?;
    }
    Ok(())
}

fn save(store: &mut Store, version: u64, message: &Rendered) -> Result<()> {
    let messages = std::slice::from_ref(message);
    let saved = store.save_incident(&step(version), messages, SystemTime::now())?;
    ensure!(saved, "{version} was saved before");
    Ok(())
}

/// The same rows' worth without waiting for the disk.
fn write_hastily(place: &Path) -> Result<()> {
    let database = rusqlite::Connection::open(place)?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.execute_batch("CREATE TABLE steps (version INTEGER PRIMARY KEY, body BLOB)")?;
    for version in 1_u64.. {
        let row = rusqlite::params![i64::try_from(version)?, vec![b'x'; 1500]];
        database.execute("INSERT INTO steps VALUES (?1, ?2)", row)?;
        acknowledge(version)?;
    }
    Ok(())
}

/// A mounted image; unmounted when dropped.
struct Disk {
    folder: PathBuf,
}

impl Disk {
    fn mount(image: &Path, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).context("make a folder")?;
        let (from, to) = (image.display().to_string(), folder.display().to_string());
        run("mount", &["-o", "loop", &from, &to])?;
        Ok(Self { folder: folder.to_owned() })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The kernel takes down what is left with the namespace.
        let _ = Command::new("umount").arg(&self.folder).status();
    }
}

/// Signals a writer, by name.
fn signal(child: &Child, name: &str) -> Result<()> {
    run("sh", &["-c", "kill -\"$0\" \"$1\"", name, &child.id().to_string()])
}

/// The last acknowledged version at the moment of the cut.
fn cut(ground: &Path, test: &str, kind: &str, life: Duration) -> Result<u64> {
    let (base, image, copy) = (ground.join("base"), ground.join("image"), ground.join("copy"));
    let [from, to, last] = [&base, &image, &copy].map(|path| path.display().to_string());
    run("cp", &["--sparse=always", &from, &to])?;
    let disk = Disk::mount(&image, &ground.join("disk"))?;
    let own = std::env::current_exe().context("find the test")?;
    let program = if kind == FAULTY {
        let mut strace = Command::new("strace");
        // The tracer is nobody's child, so that the writer is ours.
        strace.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"]);
        strace.args(["-e", INJECT]).arg(own).stderr(File::create(ground.join("failed"))?);
        strace
    } else {
        Command::new(own)
    };
    let mut command = again(program, test, kind);
    command.env(PLACE, disk.folder.join("db")).stdout(Stdio::piped());
    let mut child = command.spawn().context("start a writer")?;
    let mut told = BufReader::new(child.stdout.take().context("its output")?);
    let mut line = String::new();
    while !line.starts_with("ack ") {
        line.clear();
        ensure!(told.read_line(&mut line).context("wait for it")? > 0, "the writer ended");
    }
    let reader = std::thread::spawn(move || {
        let mut rest = String::new();
        // A word may be cut off by the end.
        let _ = told.read_to_string(&mut rest);
        line + &rest
    });
    // The moment of the cut is what is drawn: any condition would spare some moments.
    sleep(life);
    signal(&child, "STOP")?;
    run("cp", &["--sparse=always", &to, &last])?;
    signal(&child, "KILL")?;
    child.wait().context("reap the writer")?;
    let told = reader.join().ok().context("read its output")?;
    let whole = told.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut acks = whole.lines().filter_map(|line| line.strip_prefix("ack ")?.parse().ok());
    acks.next_back().context("nothing was acknowledged")
}

/// How many acknowledged versions a cut cost.
fn lost(ground: &Path, kind: &str, acknowledged: u64) -> Result<u64> {
    let disk = Disk::mount(&ground.join("copy"), &ground.join("after"))?;
    let place = disk.folder.join("db");
    if kind == HASTY {
        let database = rusqlite::Connection::open(&place)?;
        let last = database.query_row("SELECT max(version) FROM steps", [], |row| row.get(0));
        let last: Option<i64> = last.unwrap_or(None);
        return Ok(acknowledged.saturating_sub(u64::try_from(last.unwrap_or(0))?));
    }
    let (mut store, damage) = Store::open(&place)?;
    ensure!(damage.is_none(), "the cut damaged the store: {damage:?}");
    let messages = store.outbox(None)?;
    let steps = store.load_incidents()?;
    let newest = steps.iter().map(|step| step.version).max().unwrap_or(0);
    let told: Vec<u64> = messages.iter().map(|message| message.version).collect();
    let missing = (1..=newest).filter(|version| !told.contains(version)).count();
    ensure!(missing == 0, "{missing} steps without their message");
    Ok(acknowledged.saturating_sub(newest))
}

/// Both kinds of writers, in a mount namespace of our own.
fn cuts(test: &str, cycles: u64) -> Result<()> {
    let memory = Path::new("/dev/shm");
    let folder = TempDir::new_in(if memory.is_dir() { memory } else { Path::new("/tmp") });
    let folder = folder.context("make a folder")?;
    let base = folder.path().join("base").display().to_string();
    run("truncate", &["-s", IMAGE, &base])?;
    run("mkfs.ext4", &["-q", &base])?;
    let mut seed = 1_u64;
    let mut life = || {
        // Knuth's constants (MMIX); the upper bits are the good ones.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(10 + (seed >> 33) % 120)
    };
    let mut total = 0;
    for cycle in 0..cycles {
        let acknowledged = cut(folder.path(), test, DURABLE, life())?;
        let lost = lost(folder.path(), DURABLE, acknowledged)?;
        ensure!(lost == 0, "cut {cycle}: {lost} of {acknowledged} acknowledged steps are lost");
        total += acknowledged;
    }
    let (faults, survived) = faulty_cuts(folder.path(), test, &mut life)?;
    let mut harmful = 0;
    for _ in 0..CONTROLS {
        let acknowledged = cut(folder.path(), test, HASTY, life())?;
        harmful += u64::from(lost(folder.path(), HASTY, acknowledged)? > 0);
    }
    crate::daemon::harness::record(&format!(
        "power: {cycles} cuts, 0 of {total} acknowledged steps lost; 0 of {survived} beside \
         {faults} failed syncs; {harmful} of {CONTROLS} cuts of the hasty writer lost some"
    ));
    ensure!(harmful > 0, "the harness cannot see a loss");
    Ok(())
}

/// Cuts while syncs fail: how many of these, and how many steps were acknowledged all the same.
fn faulty_cuts(
    ground: &Path,
    test: &str,
    life: &mut impl FnMut() -> Duration,
) -> Result<(usize, u64)> {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: syncs that fail need strace");
        return Ok((0, 0));
    }
    let (mut faults, mut total) = (0, 0);
    for cycle in 0..FAULTS {
        let acknowledged = cut(ground, test, FAULTY, 4 * life())?;
        let lost = lost(ground, FAULTY, acknowledged)?;
        ensure!(lost == 0, "cut {cycle}: {lost} of {acknowledged} are lost with failed syncs");
        let failed = fs::read_to_string(ground.join("failed")).context("read what failed")?;
        faults += failed.lines().filter(|line| line.starts_with("failed ")).count();
        total += acknowledged;
    }
    ensure!(faults > 0, "no sync failed");
    Ok((faults, total))
}

#[test]
fn nothing_acknowledged_is_lost_over_power_cuts() -> Result<()> {
    let test = test_name!();
    let role = std::env::var(ROLE).unwrap_or_default();
    let place = || std::env::var_os(PLACE).map(PathBuf::from).context("where to write");
    let cycles = std::env::var("REACHD_POWER_CYCLES").ok().and_then(|text| text.parse().ok());
    match role.as_str() {
        DURABLE | FAULTY => return write_durably(&place()?),
        HASTY => return write_hastily(&place()?),
        "box" => return cuts(test, cycles.unwrap_or(CYCLES)),
        _ => {}
    }
    let probe = "f=$(mktemp) && truncate -s 8M \"$f\" && mkfs.ext4 -q \"$f\" && d=$(mktemp -d) \
                 && mount -o loop \"$f\" \"$d\"; code=$?; umount \"$d\" 2>/dev/null; \
                 rm -rf \"$f\" \"$d\"; exit $code";
    let private = ["--mount", "--propagation", "private", "--"];
    let able = Command::new("unshare").args(private).args(["sh", "-c", probe]).output();
    let able = able.context("start unshare")?;
    if !able.status.success() {
        let why = String::from_utf8_lossy(&able.stderr).trim().to_owned();
        eprintln!("skipped: loop mounts do not work here: {why}");
        return Ok(());
    }
    let mut unshare = Command::new("unshare");
    unshare.args(private).arg(std::env::current_exe().context("find the test")?);
    let output = again(unshare, test, "box").output().context("start unshare")?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}");
    Ok(())
}
