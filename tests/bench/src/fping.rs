//! fping, as Debian has it.
//!
//! It numbers its pings from a table of 65,535 entries, each of which is taken for ten seconds. So
//! there are two figures: a burst that fits the table, and what can be kept up for longer. More
//! than that ends with "not enough sequence numbers available" and exit status 4.

use std::fs;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::measured::Measured;
use crate::stage::{PROBER_CPU, Side, Stage};
use crate::sys::{self, Who};

/// Bursts that each fit the table, one process after another, for the time given.
///
/// A burst's time is its processor time where that is less: when a reply is missing fping waits
/// for it at the end with nothing to do, which shall not count against it.
pub(crate) fn burst(targets: u32, seconds: f64) -> Result<Measured> {
    let targets = targets.min(TABLE);
    let count = (TABLE / targets).max(1);
    let list = write_list(targets)?;
    let begun = Instant::now();
    let mut all = Measured::default();
    while begun.elapsed().as_secs_f64() < seconds {
        let (one, status) = run(&[
            "-q",
            "-i",
            "0",
            "-p",
            "10",
            "-c",
            &count.to_string(),
            "-t",
            "500",
            "-b",
            "16",
            "-f",
            &list,
        ])?;
        ensure!(status <= 1, "fping ended with status {status}");
        all.sent += one.sent;
        all.received += one.received;
        all.lost += one.lost;
        all.cpu_user += one.cpu_user;
        all.cpu_sys += one.cpu_sys;
        all.seconds += one.seconds.min(one.cpu_user + one.cpu_sys);
    }
    Ok(all)
}

/// What can be kept up: just below the table's 6,553 a second, for longer than an entry is taken.
pub(crate) fn sustained() -> Result<Measured> {
    let list = write_list(SUSTAINED_TARGETS)?;
    let (measured, status) = at_period("155", &list)?;
    ensure!(status <= 1, "fping ended with status {status} below its ceiling");
    Ok(measured)
}

/// Shows the ceiling: whether fping fails at 7,400 a second for as long.
pub(crate) fn fails_above_ceiling() -> Result<bool> {
    let list = write_list(SUSTAINED_TARGETS)?;
    Ok(at_period("135", &list)?.1 == 4)
}

fn at_period(milliseconds: &str, list: &str) -> Result<(Measured, i32)> {
    run(&["-q", "-i", "0", "-p", milliseconds, "-c", "80", "-t", "100", "-b", "16", "-f", list])
}

fn run(arguments: &[&str]) -> Result<(Measured, i32)> {
    let before = sys::usage(Who::Children)?;
    let begun = Instant::now();
    let output = Stage::command(Side::Prober, PROBER_CPU, "fping")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("start fping")?;
    let mut measured = parse(&String::from_utf8_lossy(&output.stderr));
    measured.seconds = begun.elapsed().as_secs_f64();
    let after = sys::usage(Who::Children)?;
    measured.cpu_user = after.user - before.user;
    measured.cpu_sys = after.system - before.system;
    Ok((measured, output.status.code().unwrap_or(-1)))
}

/// Adds up lines like `10.64.0.1 : xmt/rcv/%loss = 6/6/0%, min/avg/max = 0.03/0.04/0.06`.
fn parse(text: &str) -> Measured {
    let mut measured = Measured::default();
    let counts = text.lines().filter_map(|line| line.split_once("xmt/rcv/%loss = "));
    for (_, counts) in counts {
        let mut counts = counts.split('/').map_while(|word| word.parse::<u64>().ok());
        if let (Some(sent), Some(received)) = (counts.next(), counts.next()) {
            measured.sent += sent;
            measured.received += received;
        }
    }
    measured.lost = measured.sent.saturating_sub(measured.received);
    measured
}

fn write_list(targets: u32) -> Result<String> {
    let path = format!("/run/reachd-bench-fping-{targets}");
    let lines: Vec<String> = (0..targets).map(|index| Stage::target(index).to_string()).collect();
    fs::write(&path, lines.join("\n") + "\n").context("write fping's list of targets")?;
    Ok(path)
}

const TABLE: u32 = 65_000;
const SUSTAINED_TARGETS: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn summary_lines_are_added_up() {
        let text = "\
10.64.0.0 : xmt/rcv/%loss = 6/6/0%, min/avg/max = 0.03/0.04/0.06
10.64.0.1 : xmt/rcv/%loss = 6/4/33%, min/avg/max = 0.03/0.04/0.06
10.64.0.2 : xmt/rcv/%loss = 6/0/100%
fping error: not enough sequence numbers available!
";
        let measured = parse(text);
        assert_eq!((measured.sent, measured.received, measured.lost), (18, 10, 8));
    }
}
