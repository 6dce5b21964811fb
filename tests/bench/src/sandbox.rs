//! The box the bench runs in: namespaces of its own, which the kernel takes apart at the end.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sys;

/// What the bench may change in its box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// The machine's root in a network namespace of its own: every setting of a namespace, buffers
    /// beyond `rmem_max`, and precedence over other work.
    Machine,
    /// Root of a user namespace only.
    UserNamespace,
}

/// Says what this process may change, if it is in a box at all.
pub(crate) fn inside() -> Option<Privilege> {
    let kind = env::var(INSIDE).ok()?;
    Path::new(MARKER).exists().then_some(())?;
    Some(if kind == MACHINE { Privilege::Machine } else { Privilege::UserNamespace })
}

/// Runs this executable again, with the same arguments, in a fresh box, and gives its exit code.
///
/// The machine's root stays that; anybody else becomes root of a user namespace.
pub(crate) fn rerun() -> Result<u8> {
    let executable = env::current_exe().context("find the own executable")?;
    let mut command =
        if sys::is_root() { root_command(&executable) } else { user_command(&executable) };
    command.args(env::args_os().skip(1));
    let status = command.status().context("start unshare, which is in the package util-linux")?;
    // 97 is what the box's script gives when its first lines fail.
    ensure!(status.code() != Some(97), "the box could not be set up");
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn root_command(executable: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
        .args(["--", "sh", "-c", SCRIPT, "sh"])
        .arg(executable)
        .env("PATH", search_path())
        .env(INSIDE, MACHINE);
    sys::die_with_parent(&mut command);
    command
}

fn user_command(executable: &Path) -> Command {
    let mut command = reachd_lab::sandbox_command("sh");
    command.args(["-c", &format!(": >{MARKER}; exec \"$@\""), "sh"]);
    command.arg(executable).env(INSIDE, "user-namespace");
    command
}

/// Says whether a program is installed.
pub(crate) fn is_installed(tool: impl AsRef<OsStr>) -> bool {
    let tool = tool.as_ref();
    env::split_paths(&search_path()).any(|folder| folder.join(tool).exists())
}

/// Gives the search path with the system folders that an ordinary user's often lacks.
fn search_path() -> String {
    let inherited = env::var("PATH").unwrap_or_default();
    format!("{inherited}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

const INSIDE: &str = "REACHD_BENCH_INSIDE";
const MACHINE: &str = "machine";
const MARKER: &str = "/run/reachd-bench";

/// As the lab's script: the shell stays as the first process, which reaps.
const SCRIPT: &str = "\
mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/lock && : >/run/reachd-bench \
&& ip link set lo up || exit 97
mount -t proc proc /proc 2>/dev/null
\"$@\"
exit $?";
