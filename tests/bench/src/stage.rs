//! The stage: two network namespaces, a prober's and a responder's, joined by one wire.
//!
//! The responder's kernel answers for a whole /10, on processor 1; everything of the prober,
//! receiving included, is on processor 0. Names and addresses are constants, so that a child
//! process knows them without being told.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::sandbox::{self, Privilege};
use crate::sys;

/// One of the two namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Where probers run.
    Prober,
    /// Where everything is answered.
    Responder,
}

impl Side {
    const fn name(self) -> &'static str {
        match self {
            Self::Prober => "a",
            Self::Responder => "b",
        }
    }
}

/// The names and addresses of the stage, and what could not be set as wished.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// The prober's address.
    pub(crate) source: Ipv4Addr,
    /// The prober's interface.
    pub(crate) interface: &'static str,
    /// The prober's link-layer address.
    pub(crate) hardware: [u8; 6],
    /// The link-layer address of the next hop to every target.
    pub(crate) gateway_hardware: [u8; 6],
    /// What a reader of the figures should know about this machine.
    pub(crate) notes: Vec<String>,
}

/// What the responder and the wire between counted, since they were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Truth {
    /// Echo requests that reached the responder.
    pub(crate) requests: u64,
    /// Echo replies it made.
    pub(crate) replies: u64,
    /// Replies that failed for want of memory, in the responder.
    pub(crate) reply_errors: u64,
    /// Packets dropped on the way out of the responder.
    pub(crate) out_discards: u64,
    /// Packets dropped by a full backlog, on any processor and for anybody.
    pub(crate) backlog_drops: u64,
    /// SYNs dropped by a full queue of the listener.
    pub(crate) listen_drops: u64,
    /// SYNs answered with a cookie.
    pub(crate) syn_cookies: u64,
}

impl Truth {
    /// What was counted since an earlier moment.
    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            replies: self.replies.saturating_sub(earlier.replies),
            reply_errors: self.reply_errors.saturating_sub(earlier.reply_errors),
            out_discards: self.out_discards.saturating_sub(earlier.out_discards),
            backlog_drops: self.backlog_drops.saturating_sub(earlier.backlog_drops),
            listen_drops: self.listen_drops.saturating_sub(earlier.listen_drops),
            syn_cookies: self.syn_cookies.saturating_sub(earlier.syn_cookies),
        }
    }

    /// How many echoes, of so many sent, came back to the prober's side of the wire.
    pub(crate) const fn answered(self) -> u64 {
        // A reply that meets a full backlog is lost on the prober's own side of the wire; which
        // way it went is not told, so it is counted for the prober here and shown beside.
        self.replies.saturating_sub(self.out_discards)
    }

    /// How many of the losses a prober reports did not happen.
    pub(crate) const fn false_losses(self, sent: u64, lost: u64) -> u64 {
        lost.saturating_sub(sent.saturating_sub(self.answered()))
    }
}

impl Stage {
    /// Gives the stage as a child process finds it.
    pub(crate) const fn here() -> Self {
        Self {
            source: Ipv4Addr::new(10, 9, 0, 1),
            interface: "va",
            hardware: [2, 0, 0, 0, 0, 0xa],
            gateway_hardware: [2, 0, 0, 0, 0, 0xb],
            notes: Vec::new(),
        }
    }

    /// Builds the stage in the box this process is in.
    pub(crate) fn build(privilege: Privilege) -> Result<Self> {
        let mut stage = Self::here();
        for side in [Side::Prober, Side::Responder] {
            run(Command::new("ip").args(["netns", "add", side.name()]))?;
            run_in(side, &["ip", "link", "set", "lo", "up"])?;
        }
        run(Command::new("ip").args(WIRE.split(' ')))?;
        for (side, lines) in [(Side::Prober, PROBER), (Side::Responder, RESPONDER)] {
            for line in lines {
                run_in(side, &line.split(' ').collect::<Vec<_>>())?;
            }
            for (key, value) in SETTINGS {
                if run_in(side, &["sysctl", "-qw", &format!("{key}={value}")]).is_err() {
                    stage.note(&format!("{key} could not be set to {value}"));
                }
            }
        }
        stage.steer()?;
        stage.describe(privilege);
        Ok(stage)
    }

    /// Builds the command that runs a program on one side, on the side's processor.
    ///
    /// The process id is the program's own, for every step becomes the next.
    pub(crate) fn command(side: Side, processor: usize, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", side.name(), "taskset", "-c"]);
        command.arg(processor.to_string()).arg(program).stdin(Stdio::null());
        sys::die_with_parent(&mut command);
        command
    }

    /// Gives the target with the given index, counted from the network's first address.
    pub(crate) const fn target(index: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(NETWORK + index)
    }

    /// Gives the index of a target.
    pub(crate) const fn index(target: Ipv4Addr) -> Option<u32> {
        match target.to_bits().checked_sub(NETWORK) {
            Some(index) if index < TARGETS_MAX => Some(index),
            Some(_) | None => None,
        }
    }

    /// Reads what the responder and the wire counted.
    pub(crate) fn truth() -> Result<Truth> {
        let words = ["cat", "/proc/net/snmp", "/proc/net/netstat", "/proc/net/softnet_stat"];
        let text = run_in(Side::Responder, &words)?;
        parse_truth(&text).context("read the responder's counters")
    }

    /// Sends what arrives at the responder to processor 1, and at the prober to processor 0.
    fn steer(&mut self) -> Result<()> {
        for (side, device, mask) in [(Side::Prober, "va", "1"), (Side::Responder, "vb", "2")] {
            let script = format!("echo {mask} > /sys/class/net/{device}/queues/rx-0/rps_cpus");
            if run_in(side, &["sh", "-c", &script]).is_err() {
                self.note(&format!(
                    "{device}: receiving could not be steered to one processor, so that prober \
                     and responder share processor 0: rates are lower, and ratios closer to 1"
                ));
            }
        }
        Ok(())
    }

    fn describe(&mut self, privilege: Privilege) {
        match privilege {
            Privilege::Machine => {}
            Privilege::UserNamespace => self.note(
                "not the machine's root: receive buffers end at rmem_max and runs do not take \
                 precedence over other work",
            ),
        }
        self.note(
            "netdev_max_backlog belongs to the whole machine and is left as it is; what a full \
             backlog dropped is counted and shown",
        );
        if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
            self.note("one processor only: prober and responder share it");
        }
    }

    fn note(&mut self, note: &str) {
        if !self.notes.iter().any(|known| known == note) {
            self.notes.push(note.to_owned());
        }
    }
}

/// Fails with what to install when the stage's own tools are missing.
pub(crate) fn check_tools() -> Result<()> {
    let tools = [("ip", "iproute2"), ("unshare", "util-linux"), ("taskset", "util-linux")];
    let more = [("mount", "mount"), ("sysctl", "procps"), ("sh", "dash")];
    let missing: Vec<&str> = tools
        .into_iter()
        .chain(more)
        .filter(|(tool, _)| !sandbox::is_installed(tool))
        .map(|(_, package)| package)
        .collect();
    ensure!(missing.is_empty(), "the bench needs these packages installed: {}", missing.join(", "));
    Ok(())
}

/// Runs a program to its end on one side; it must succeed. Gives its standard output.
pub(crate) fn run_in(side: Side, words: &[&str]) -> Result<String> {
    run(Command::new("ip").args(["netns", "exec", side.name()]).args(words))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse_truth(text: &str) -> Option<Truth> {
    let value = |table: &str, key: &str| snmp_value(text, table, key);
    Some(Truth {
        requests: value("Icmp:", "InEchos")?,
        replies: value("Icmp:", "OutEchoReps")?,
        reply_errors: value("Icmp:", "OutErrors")?,
        out_discards: value("Ip:", "OutDiscards")?,
        backlog_drops: backlog_drops(text),
        listen_drops: value("TcpExt:", "ListenDrops")?,
        syn_cookies: value("TcpExt:", "SyncookiesSent")?,
    })
}

/// Finds a counter: each table is a line of names and a line of values behind the same word.
fn snmp_value(text: &str, table: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(table));
    let (names, values) = (lines.next()?, lines.next()?);
    let index = names.split_whitespace().position(|name| name == key)?;
    values.split_whitespace().nth(index)?.parse().ok()
}

/// Adds up the second column of `softnet_stat`, whose lines are hexadecimal words only.
fn backlog_drops(text: &str) -> u64 {
    let second = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_row = words.len() >= 10 && words.iter().all(|word| word.len() == 8);
        is_row.then(|| u64::from_str_radix(words[1], 16).ok()).flatten()
    };
    text.lines().filter_map(second).sum()
}

/// How many targets answer.
pub(crate) const TARGETS_MAX: u32 = 1 << 22;

/// The processor of everything that is measured.
pub(crate) const PROBER_CPU: usize = 0;

/// The processor of the responder and of what drives a prober from outside.
pub(crate) const RESPONDER_CPU: usize = 1;

/// 10.64.0.0, of which /10 answers.
const NETWORK: u32 = 0x0a40_0000;

const WIRE: &str = "link add va netns a address 02:00:00:00:00:0a type veth \
                    peer name vb netns b address 02:00:00:00:00:0b";

const PROBER: &[&str] = &[
    "ip addr add 10.9.0.1/24 dev va",
    "ip link set va up",
    "ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:0b dev va nud permanent",
    "ip route add 10.64.0.0/10 via 10.9.0.2",
];

const RESPONDER: &[&str] = &[
    "ip addr add 10.9.0.2/24 dev vb",
    "ip link set vb up",
    "ip neigh replace 10.9.0.1 lladdr 02:00:00:00:00:0a dev vb nud permanent",
    "ip route add local 10.64.0.0/10 dev lo",
];

/// Settings of a namespace. The raw SYNs have ports from 61000 on, which the kernel must not use.
const SETTINGS: [(&str, &str); 8] = [
    ("net.ipv4.ping_group_range", "0 0"),
    ("net.ipv4.ip_local_port_range", "10000 60999"),
    ("net.ipv4.tcp_max_syn_backlog", "65535"),
    ("net.core.somaxconn", "65535"),
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_msgs_per_sec", "1000000"),
];

#[cfg(test)]
mod tests {
    use super::{Stage, Truth, parse_truth};

    #[test]
    fn counters_are_found_by_name() {
        let text = "\
Ip: Forwarding OutDiscards
Ip: 1 4
Icmp: InEchos OutErrors OutEchoReps
Icmp: 100 3 97
IcmpMsg: InType8
IcmpMsg: 100
TcpExt: SyncookiesSent ListenDrops
TcpExt: 5 6
00000001 00000002 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
00000001 0000000a 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000
";
        let truth = parse_truth(text).unwrap();
        let expected = Truth {
            requests: 100,
            replies: 97,
            reply_errors: 3,
            out_discards: 4,
            backlog_drops: 12,
            listen_drops: 6,
            syn_cookies: 5,
        };
        assert_eq!(truth, expected);
        assert_eq!(parse_truth("Ip: x"), None);
    }

    #[test]
    fn losses_are_false_beyond_what_was_not_answered() {
        let truth = Truth { requests: 99, replies: 97, out_discards: 2, ..Truth::default() };
        assert_eq!(truth.false_losses(100, 5), 0);
        assert_eq!(truth.false_losses(100, 7), 2);
    }

    #[test]
    fn index_and_target_are_inverse() {
        assert_eq!(Stage::target(258).to_string(), "10.64.1.2");
        assert_eq!(Stage::index(Stage::target(258)), Some(258));
        assert_eq!(Stage::index([10, 63, 255, 255].into()), None);
        assert_eq!(Stage::index([10, 128, 0, 0].into()), None);
    }
}
