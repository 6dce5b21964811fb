//! The process's own numbers, read from `/proc/self` when somebody asks.

use std::fs;

use super::line::Series;
use super::{Format, Kind, header};

/// `USER_HZ`: 100 on every architecture we run on (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What the kernel says of this process; what cannot be read is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Facts {
    cpu_seconds: Option<f64>,
    start_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    open_fds: Option<u64>,
    max_fds: Option<u64>,
}

/// Writes the `process_*` families.
pub(super) fn write(format: Format, out: &mut Vec<u8>) {
    let facts = read();
    let number = |out: &mut Vec<u8>, name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            header(out, format, name, kind, help);
            Series::new(out, name).value(value);
        }
    };
    let whole = |out: &mut Vec<u8>, name, help, value: Option<u64>| {
        if let Some(value) = value {
            header(out, format, name, Kind::Gauge, help);
            Series::new(out, name).count(value);
        }
    };
    let cpu = "User and system CPU time spent.";
    number(out, "process_cpu_seconds_total", Kind::Counter, cpu, facts.cpu_seconds);
    let start = "Start time of the process since the Unix epoch.";
    number(out, "process_start_time_seconds", Kind::Gauge, start, facts.start_seconds);
    whole(out, "process_resident_memory_bytes", "Resident memory size.", facts.resident_bytes);
    whole(out, "process_open_fds", "Open file descriptors.", facts.open_fds);
    whole(out, "process_max_fds", "Limit of open file descriptors.", facts.max_fds);
}

fn read() -> Facts {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpu_seconds, since_boot) = stat(&text("/proc/self/stat")).unzip();
    let boot = number_after(&text("/proc/stat"), "btime ");
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    Facts {
        cpu_seconds,
        start_seconds: boot.zip(since_boot).map(|(boot, since)| seconds(boot) + since),
        resident_bytes: number_after(&text("/proc/self/status"), "VmRSS:").map(|kib| kib * 1024),
        // One of them is the directory itself.
        open_fds: open.and_then(|open| u64::try_from(open.saturating_sub(1)).ok()),
        max_fds: number_after(&text("/proc/self/limits"), "Max open files"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are far below 2^53")]
fn seconds(whole: u64) -> f64 {
    whole as f64
}

/// CPU seconds spent and start time since boot, from `/proc/self/stat` (proc(5)). The command name
/// may hold anything, so fields are counted from its closing bracket.
fn stat(text: &str) -> Option<(f64, f64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let field = |index: usize| fields.split_ascii_whitespace().nth(index)?.parse::<u64>().ok();
    let (user, system, start) = (field(11)?, field(12)?, field(19)?);
    Some((seconds(user + system) / TICKS_PER_SECOND, seconds(start) / TICKS_PER_SECOND))
}

/// The number that follows a word at the beginning of a line.
fn number_after(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let line = "42 (a) (b) S 1 42 42 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 1234 1 1";
        assert_eq!(stat(line), Some((2.0, 12.34)));
        assert_eq!(stat("nonsense"), None);
        assert_eq!(number_after("a\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(number_after("Max open files  unlimited  x", "Max open files"), None);
    }

    #[test]
    fn this_process_is_described() {
        let facts = read();
        assert!(facts.resident_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(facts.start_seconds.is_some_and(|at| at > 1e9));
        assert!(facts.open_fds.is_some_and(|open| open >= 3));
    }
}
