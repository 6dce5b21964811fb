//! smokeping_prober, as Debian has it.
//!
//! It cannot be run flat out: each target has its own interval and its own goroutine. So what is
//! compared is the processor time of one probe, at one a second for each target. It is given ping
//! sockets: with raw ones, of which it opens one for each target, every reply is copied to every
//! socket, and a thousand targets are already too many for it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::blackbox::{Server, fetch_in_namespace};
use crate::measured::Measured;
use crate::stage::Stage;

/// Probes each target once a second and measures the prober's process.
pub(crate) fn run(targets: u32, seconds: f64) -> Result<Measured> {
    let listen = format!("--web.listen-address={LISTEN}");
    let mut arguments = vec![
        listen,
        "--config.file=".to_owned(),
        "--no-privileged".to_owned(),
        "--ping.interval=1s".to_owned(),
    ];
    arguments.extend((0..targets).map(|index| Stage::target(index).to_string()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut server = Server::start(PROGRAM, &arguments, LISTEN)?;
    thread::sleep(WARM_UP);

    let first = fetch_in_namespace(LISTEN, "/metrics")?;
    let (before, begun) = (server.usage()?, Instant::now());
    thread::sleep(Duration::from_secs_f64(seconds));
    let (after, elapsed) = (server.usage()?, begun.elapsed());
    // Outside of what is measured, for writing the page costs the prober as well.
    let second = fetch_in_namespace(LISTEN, "/metrics")?;
    let grown = |family: &str| sum(&second, family).saturating_sub(sum(&first, family));
    let (sent, received) =
        (grown("smokeping_requests_total"), grown("smokeping_response_duration_seconds_count"));
    Ok(Measured {
        sent,
        received,
        lost: sent.saturating_sub(received),
        seconds: elapsed.as_secs_f64(),
        cpu_user: after.user - before.user,
        cpu_sys: after.system - before.system,
        rss_bytes: after.rss,
        rss_peak: after.rss_peak,
        ..Measured::default()
    })
}

/// Adds up the samples of a family.
fn sum(page: &str, family: &str) -> u64 {
    let samples = page.lines().filter_map(|line| line.strip_prefix(family));
    let samples = samples.filter(|rest| rest.starts_with(['{', ' ']));
    samples.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// The program's name, which is also its Debian package's.
pub(crate) const PROGRAM: &str = "prometheus-smokeping-prober";

const LISTEN: &str = "127.0.0.1:9374";

/// The prober spreads its first round over an interval.
const WARM_UP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_of_one_family_are_added_up() {
        let page = "# TYPE a counter\na{host=\"x\"} 3\na{host=\"y\"} 4\na_b{host=\"x\"} 9\n";
        assert_eq!(sum(page, "a"), 7);
        assert_eq!(sum(page, "c"), 0);
    }
}
