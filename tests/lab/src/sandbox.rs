//! The box a lab runs in: its own user, network, mount and process namespaces.
//!
//! A Rust test has threads before its first line runs, and a process with threads may not enter a
//! user namespace. So a test starts its own executable once more, for itself alone, below
//! `unshare`; [`inside`] does both halves. Whatever happens in there, the kernel takes the box
//! apart when its first process ends: namespaces, devices, filters, servers and stray children.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::lab::Lab;
use crate::{kernel, wait_until};

/// Runs the body of a test in a sandbox of its own.
///
/// Outside, this starts the test executable again for `test_name` only, and fails with the whole
/// output when that fails. Inside, it runs `body` on a fresh [`Lab`]. Write the name as
/// [`test_name!()`](crate::test_name).
///
/// # Panics
///
/// When the body fails or takes longer than [`DEADLINE`], and when no sandbox can be had, unless
/// the environment says `REACHD_LAB=off`.
pub fn inside(test_name: &str, body: impl FnOnce(&mut Lab) -> Result<()>) {
    inside_within(DEADLINE, test_name, body);
}

/// Does what [`inside`] does, with another limit on the time the test may take.
///
/// # Panics
///
/// As [`inside`] does.
pub fn inside_within(limit: Duration, test_name: &str, body: impl FnOnce(&mut Lab) -> Result<()>) {
    let result = if is_inside() {
        println!("{ENTERED} {test_name}");
        Lab::new().and_then(|mut lab| body(&mut lab))
    } else if env::var_os(SWITCH).is_some_and(|value| value == "off") {
        eprintln!("skipped: {SWITCH}=off");
        Ok(())
    } else {
        rerun(test_name, limit)
    };
    // The inner report has the backtrace, if any; the outer one repeats the report.
    let failure = result.err().map(|error| match is_inside() {
        true => format!("{error:?}"),
        false => format!("{error:#}"),
    });
    assert!(failure.is_none(), "{test_name}: {}", failure.unwrap_or_default());
}

/// Builds the command that runs `program` in a fresh sandbox; arguments may follow.
///
/// The caller needs no privilege where the kernel lets users make user namespaces. `/run` is empty
/// in there and `lo` is up. The sandbox dies with the thread that started it.
pub fn sandbox_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--", "sh", "-c", SCRIPT, "sh"])
        .arg(program)
        .env("PATH", search_path());
    kernel::die_with_parent(&mut command);
    command
}

/// Says whether this process runs in a sandbox.
pub fn is_inside() -> bool {
    env::var_os(INSIDE).is_some() && Path::new(MARKER).exists()
}

/// Fails with what to install or allow when this machine cannot run the lab.
pub fn check_machine() -> Result<()> {
    check_tools("the lab", &TOOLS)?;
    if is_inside() {
        return Ok(());
    }
    let output = sandbox_command("true").output().context("start unshare")?;
    if !output.status.success() {
        bail!("{}\n{ADVICE}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Fails with what to install when one of the tools, each with its package, is missing.
pub(crate) fn check_tools(user: &str, tools: &[(&str, &str)]) -> Result<()> {
    let missing: BTreeSet<&str> =
        tools.iter().filter(|(tool, _)| !is_installed(tool)).map(|(_, package)| *package).collect();
    let packages = missing.iter().copied().collect::<Vec<_>>().join(", ");
    ensure!(missing.is_empty(), "{user} needs these packages installed: {packages}");
    Ok(())
}

fn rerun(test_name: &str, limit: Duration) -> Result<()> {
    let executable = env::current_exe().context("find the test executable")?;
    let mut log = tempfile::tempfile().context("make a file for the output")?;
    let mut child = sandbox_command(executable)
        .args(["--exact", test_name, "--nocapture", "--include-ignored", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the output file")?)
        .stderr(log.try_clone().context("share the output file")?)
        .spawn()
        .context("start unshare, which is in the package util-linux")?;

    let mut status = None;
    let waited = wait_until(limit, || {
        status = child.try_wait().transpose();
        status.is_some()
    });
    if waited.is_err() {
        child.kill().context("kill the sandbox")?;
        child.wait().context("reap the sandbox")?;
    }
    let output = read_back(&mut log)?;
    let Some(status) = status else {
        bail!("not finished within {limit:?}; its output:\n{output}");
    };
    if !output.contains(ENTERED) {
        check_machine()?;
        bail!("no test of this name ran: write test_name!(); its output:\n{output}");
    }
    let status = status.context("wait for the sandbox")?;
    ensure!(status.success(), "failed in the sandbox ({status}); its output:\n{output}");
    Ok(())
}

fn read_back(log: &mut File) -> Result<String> {
    let mut bytes = Vec::new();
    log.rewind().and_then(|()| log.read_to_end(&mut bytes)).context("read the output")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_installed(tool: &str) -> bool {
    search_path().split(':').any(|folder| Path::new(folder).join(tool).exists())
}

/// Gives the search path with the system folders that an ordinary user's often lacks.
fn search_path() -> String {
    let inherited = env::var("PATH").unwrap_or_default();
    format!("{inherited}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// How long a test may take, its sandbox included.
pub const DEADLINE: Duration = Duration::from_secs(120);

const SWITCH: &str = "REACHD_LAB";
const INSIDE: &str = "REACHD_LAB_INSIDE";
const MARKER: &str = "/run/reachd-lab";
const ENTERED: &str = "reachd-lab: in the sandbox:";

/// The shell stays as the first process, so that the program has a parent that reaps and its
/// signals work as usual. A fresh `/proc` is refused where the outer one is masked; the old one
/// serves as well, but for looking up a process by its number.
const SCRIPT: &str = "\
mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && : >/run/reachd-lab \
&& ip link set lo up || exit 97
mount -t proc proc /proc 2>/dev/null
export REACHD_LAB_INSIDE=1
\"$@\"
exit $?";

const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    ("sh", "dash"),
];

const ADVICE: &str = "\
the lab may not make its namespaces. Allow user namespaces:
  sysctl -w user.max_user_namespaces=15000
  sysctl -w kernel.unprivileged_userns_clone=1                  (Debian, when it exists)
  sysctl -w kernel.apparmor_restrict_unprivileged_userns=0      (Ubuntu)
in a container, start it with the right to do so; or set REACHD_LAB=off to skip these tests.";
