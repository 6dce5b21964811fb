//! Tests that need a network of their own run in a fresh namespace, by running themselves again.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use reachd_core::monitor::Captured;

use crate::clock::Clock;
use crate::sys::{self, Interest};
use crate::tap::Tap;
use crate::tap::store::Store;

const MARK: &str = "REACHD_NET_IN_NAMESPACE";

/// True inside a fresh user, network and mount namespace with loopback up. Outside, runs the test
/// of this path again inside one, fails as it fails, and gives false: the caller then returns.
pub(crate) fn in_namespace(test: &str) -> bool {
    in_namespace_without(test, "", "true")
}

/// As [`in_namespace`], without some capabilities (`-net_raw,-sys_admin`), but with what `prepare`
/// did before they were given up.
pub(crate) fn in_namespace_without(test: &str, capabilities: &str, prepare: &str) -> bool {
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let drop = match capabilities {
        "" => String::new(),
        some => format!("setpriv --bounding-set={some}"),
    };
    let inside = format!("ip link set lo up; {prepare}; exec {drop} \"$@\"");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "--mount", "--"])
        .args(["sh", "-ec", &inside, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "in its namespace:\n{text}\n{errors}");
    assert!(text.contains("1 passed"), "no such test: {test}\n{text}");
    false
}

/// Reads from a ring for so long as something comes within 200 ms.
pub(crate) fn drain(
    tap: &mut Tap,
    clock: &Clock,
    store: &mut Store,
    mut deliver: impl FnMut(Captured<'_>),
) {
    let mut ready = Vec::new();
    loop {
        let interests = [Interest { fd: tap.as_fd(), events: libc::POLLIN }];
        sys::wait(&interests, Some(Duration::from_millis(200)), &mut ready).unwrap();
        if ready == [0] {
            return;
        }
        while tap.read_block(clock, store, &mut deliver).is_some() {}
    }
}

/// Runs a shell command and insists on its success.
pub(crate) fn run(command: &str) {
    let output = Command::new("sh").args(["-ec", command]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {errors}");
}

/// A tokio runtime for one test.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
