//! Who used the processors: a process, its peak of memory, and everybody else.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::sys::{self, Who};

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Process {
    /// Seconds in user space.
    pub(crate) user: f64,
    /// Seconds in the kernel.
    pub(crate) system: f64,
    /// Resident size now, in bytes.
    pub(crate) rss: u64,
    /// Largest resident size, in bytes.
    pub(crate) rss_peak: u64,
}

impl Process {
    /// Reads another process's use.
    pub(crate) fn of(id: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{id}/{name}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let (user, system) = parse_stat(&read("stat")?).context("read /proc/PID/stat")?;
        let status = read("status")?;
        Ok(Self {
            user,
            system,
            rss: parse_size(&status, "VmRSS:"),
            rss_peak: parse_size(&status, "VmHWM:"),
        })
    }

    /// Reads this process's own use, by getrusage, which counts finer than clock ticks.
    pub(crate) fn ourselves() -> Result<Self> {
        let usage = sys::usage(Who::Ourselves).context("read the own usage")?;
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Ok(Self {
            user: usage.user,
            system: usage.system,
            rss: parse_size(&status, "VmRSS:"),
            rss_peak: usage.rss_peak,
        })
    }
}

/// Measures what others use of the processors between two moments.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    started: Instant,
    machine: Machine,
    running: Vec<u32>,
    ours: f64,
}

impl Watch {
    /// Begins to watch; `running` are processes of ours that are not waited for meanwhile.
    pub(crate) fn start(running: &[u32]) -> Result<Self> {
        let ours = ours(running)?;
        let running = running.to_vec();
        Ok(Self { started: Instant::now(), machine: Machine::now()?, running, ours })
    }

    /// Gives the share of the time that each processor was busy, interrupts included.
    ///
    /// Interrupts that wake an idle processor may be counted as idle time by the kernel, so the
    /// responder's share is a lower bound.
    pub(crate) fn busy_shares(&self) -> Result<Vec<f64>> {
        let now = Machine::now()?.processors;
        let share = |(now, then): (&Processor, &Processor)| {
            let idle = now.idle - then.idle;
            1.0 - idle / (now.total - then.total).max(1.0 / TICKS)
        };
        Ok(now.iter().zip(&self.machine.processors).map(share).collect())
    }

    /// Gives the cores that others used on average, as far as can be told.
    ///
    /// Interrupts are not counted, for they are the responder's work; what the hypervisor gave to
    /// others is.
    pub(crate) fn foreign_cores(&self) -> Result<f64> {
        let wall = self.started.elapsed().as_secs_f64();
        let machine = Machine::now()?;
        let busy = machine.busy - self.machine.busy;
        let ours = ours(&self.running)? - self.ours;
        let stolen = machine.stolen - self.machine.stolen;
        Ok(((busy - ours).max(0.0) + stolen) / wall.max(0.001))
    }
}

/// Waits, for a while, until others leave the processors alone; gives what they last used.
pub(crate) fn wait_for_quiet(patience: Duration) -> Result<f64> {
    let deadline = Instant::now() + patience;
    loop {
        let watch = Watch::start(&[])?;
        thread::sleep(SAMPLE);
        let foreign = watch.foreign_cores()?;
        if foreign < QUIET || Instant::now() >= deadline {
            return Ok(foreign);
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Machine {
    busy: f64,
    stolen: f64,
    processors: Vec<Processor>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Processor {
    idle: f64,
    total: f64,
}

impl Machine {
    fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        parse_machine(&text).context("read /proc/stat")
    }
}

fn ours(running: &[u32]) -> Result<f64> {
    let of = |who| sys::usage(who).map(|usage| usage.user + usage.system);
    // Where /proc is the outer one, our numbers are unknown in it; the process then counts as
    // foreign, which errs on the safe side.
    let one = |id: &u32| Process::of(*id).map_or(0.0, |process| process.user + process.system);
    Ok(of(Who::Ourselves)? + of(Who::Children)? + running.iter().map(one).sum::<f64>())
}

/// Reads what the machine did so far, and each of its processors: lines of `cpu user nice system
/// idle iowait irq softirq steal`, the first of which adds up the others.
fn parse_machine(text: &str) -> Option<Machine> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("cpu")).map(parse_ticks);
    let [user, nice, system, _, _, _, _, stolen] = lines.next()??;
    let processor =
        |ticks: [f64; 8]| Processor { idle: ticks[3] + ticks[4], total: ticks.iter().sum() };
    let processors = lines.map_while(|ticks| ticks.map(processor)).collect();
    Some(Machine { busy: user + nice + system, stolen, processors })
}

/// Reads the seconds behind the name of a processor, which is a number or nothing.
fn parse_ticks(line: &str) -> Option<[f64; 8]> {
    let words = line.split_once(' ')?.1.split_whitespace().take(8);
    let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
    let ticks: [f64; 8] = ticks.try_into().ok()?;
    Some(ticks.map(|ticks| ticks / TICKS))
}

/// Reads user and system time. The name in parentheses may hold anything, so count from its end.
fn parse_stat(text: &str) -> Option<(f64, f64)> {
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut time = || fields.next()?.parse::<f64>().ok().map(|ticks| ticks / TICKS);
    Some((time()?, time()?))
}

fn parse_size(status: &str, key: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.split_whitespace().next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

/// `USER_HZ` is part of the kernel's interface and 100 on every architecture Rust runs on.
const TICKS: f64 = 100.0;

/// A run with more than this many foreign cores is marked as disturbed.
pub(crate) const DISTURBED: f64 = 0.2;

const QUIET: f64 = 0.1;
const SAMPLE: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::{Processor, parse_machine, parse_size, parse_stat};

    #[test]
    fn stat_is_read_behind_a_hostile_name() {
        let text = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_stat(text), Some((1.5, 0.25)));
        assert_eq!(parse_stat("7 (a"), None);
    }

    #[test]
    fn machine_counts_all_but_idle_and_interrupts() {
        let text = "cpu  100 50 200 900 7 8 9 30 0 0\ncpu0 10 0 20 60 10 0 5 0 0 0\nintr 1\n";
        let machine = parse_machine(text).unwrap();
        assert_eq!((machine.busy, machine.stolen), (3.5, 0.3));
        assert_eq!(machine.processors, [Processor { idle: 0.7, total: 1.05 }]);
        assert_eq!(parse_machine("intr 1"), None);
    }

    #[test]
    fn sizes_are_kibibytes() {
        assert_eq!(parse_size("Name:\tx\nVmRSS:\t    64 kB\n", "VmRSS:"), 65_536);
        assert_eq!(parse_size("", "VmRSS:"), 0);
    }
}
