//! What is measured: groups of contenders, and the rows of DESIGN section 9 made of them.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::accuracy::{self, Errors, Tun, Watch};
use crate::bench::{Bench, Contender, Run, paced};
use crate::daemon::{self, Whole};
use crate::measured::Measured;
use crate::own::Load;
use crate::part::Part;
use crate::scrape::{self, Page};
use crate::stage::TARGETS_MAX;
use crate::table::{Budget, Row};
use crate::{fping, stats};

/// Contenders that are run in turn, and the rows that come of it.
pub(crate) struct Group {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// Does it.
    pub(crate) run: fn(&mut Bench) -> Vec<Row>,
}

/// All groups, in the order they are run in.
pub(crate) const GROUPS: [Group; 13] = [
    Group { name: "null", about: "echo sweep against the bare kernel loop", run: null },
    Group { name: "syn", about: "SYN sweep against a tokio connect loop", run: syn },
    Group { name: "surge", about: "echo sweep against surge-ping", run: surge },
    Group { name: "fping", about: "echo sweep against fping's bursts", run: fping_burst },
    Group { name: "fping-sustained", about: "against what fping keeps up", run: fping_sustained },
    Group { name: "blackbox", about: "against blackbox_exporter", run: blackbox },
    Group { name: "smokeping", about: "cost of a probe against smokeping_prober", run: smokeping },
    Group { name: "false-loss", about: "losses that did not happen", run: false_loss },
    Group { name: "memory", about: "bytes for a target", run: memory },
    Group { name: "accuracy", about: "reported round trips against true ones", run: accuracy },
    Group { name: "idle", about: "a small deployment", run: idle },
    Group { name: "scrape", about: "a page of metrics", run: scrape },
    Group { name: "daemon", about: "the whole daemon over many targets", run: daemon },
];

type Rounds = [Vec<Result<Run, String>>];

fn null(bench: &mut Bench) -> Vec<Row> {
    let contenders = [
        Contender::OwnDefault,
        Contender::Null,
        Contender::OwnFast,
        Contender::SendHeader,
        Contender::SendPacket,
    ];
    let rounds = bench.rounds(&contenders);
    let user = values(&rounds, 0, |run| run.measured.user_micros_per_probe());
    let rate = |name, place| {
        let rates = values(&rounds, place, |run| run.rate);
        Row::sample(name, "1/s", &rates, Budget::Open, reason(&rounds, &[place]))
    };
    vec![
        ratio("echo default / null loop", &rounds, (0, 1), Budget::AtLeast(0.95)),
        Row::sample(
            "echo default, user time",
            "us",
            &user,
            Budget::AtMost(0.5),
            reason(&rounds, &[0]),
        ),
        ratio("echo fast / null loop", &rounds, (2, 1), Budget::AtLeast(1.3)),
        rate("null loop", 1),
        rate("send only, raw IP", 3),
        rate("send only, packet socket", 4),
    ]
}

fn syn(bench: &mut Bench) -> Vec<Row> {
    let rounds = bench.rounds(&[Contender::OwnSyn, Contender::Connect]);
    vec![ratio("SYN sweep / tokio connect", &rounds, (0, 1), Budget::AtLeast(7.0))]
}

fn surge(bench: &mut Bench) -> Vec<Row> {
    let mut rows = against(bench, Contender::Surge, "surge-ping", [1.6, 2.0]);
    let run = bench.attempt(Contender::SurgeUnbounded);
    let share = run.map(|run| {
        let share =
            run.false_losses.unwrap_or_default() as f64 / (run.measured.sent as f64).max(1.0);
        share * 100.0
    });
    let row = Row::fact("surge-ping unbounded, false loss", "%", share, Budget::Open);
    rows.push(row.with("100,000 tasks at once, default buffer"));
    rows
}

fn fping_burst(bench: &mut Bench) -> Vec<Row> {
    against(bench, Contender::FpingBurst, "fping burst", [1.8, 2.5])
}

fn fping_sustained(bench: &mut Bench) -> Vec<Row> {
    let rows = against(bench, Contender::FpingSustained, "fping sustained", [15.0, 20.0]);
    // Without fping there is nothing to show.
    let proof = match bench.attempt(Contender::FpingSustained) {
        Ok(_) => match fping::fails_above_ceiling() {
            Ok(true) => "above 6,553/s it ended with status 4, as known",
            Ok(false) => "above 6,553/s it went on: this version has no such ceiling",
            Err(_) => "the ceiling could not be shown",
        },
        Err(_) => "",
    };
    rows.into_iter().map(|row| row.with(proof)).collect()
}

fn blackbox(bench: &mut Bench) -> Vec<Row> {
    let mut rows = against(bench, Contender::BlackboxIcmp, "blackbox icmp", [60.0, 80.0]);
    let rounds = bench.rounds(&[Contender::OwnSyn, Contender::BlackboxTcp]);
    rows.push(ratio("SYN sweep / blackbox tcp_connect", &rounds, (0, 1), Budget::Open));
    rows
}

fn smokeping(bench: &mut Bench) -> Vec<Row> {
    let rounds = bench.rounds(&[Contender::OwnPaced, Contender::Smokeping]);
    let costs = pairs(&rounds, (1, 0), |run| run.measured.micros_per_probe());
    let theirs = values(&rounds, 1, |run| run.measured.micros_per_probe());
    let open = Budget::Open;
    vec![
        Row::sample(
            "smokeping_prober / echo, time per probe",
            "ratio",
            &costs,
            open,
            reason(&rounds, &[0, 1]),
        ),
        Row::sample("smokeping_prober, 1,000 at 1/s", "us", &theirs, open, reason(&rounds, &[1])),
    ]
}

/// Runs both of our echo sweeps against a peer; the budgets are the default's and the fast one's.
fn against(bench: &mut Bench, peer: Contender, name: &str, [default, fast]: [f64; 2]) -> Vec<Row> {
    let rounds = bench.rounds(&[Contender::OwnDefault, peer, Contender::OwnFast]);
    let rates = values(&rounds, 1, |run| run.rate);
    vec![
        ratio(&format!("echo default / {name}"), &rounds, (0, 1), Budget::AtLeast(default)),
        ratio(&format!("echo fast / {name}"), &rounds, (2, 1), Budget::AtLeast(fast)),
        Row::sample(name, "1/s", &rates, Budget::Open, reason(&rounds, &[1])),
    ]
}

fn false_loss(bench: &mut Bench) -> Vec<Row> {
    let seconds = if bench.options.quick { 5.0 } else { 60.0 };
    let run = null_rate(bench).and_then(|rate| {
        let load = Load { rate: Some(rate * 0.7), ..paced(100_000, 1.0, seconds) };
        own(bench, "reachd echo, 0.7 of null", load)
    });
    let detail = run.as_ref().map_or_else(
        |_| String::new(),
        |run| {
            format!(
                "{} sent, {} lost, {} invalid; the responder answered {}, {} dropped by backlogs",
                run.measured.sent,
                run.measured.lost,
                run.measured.invalid,
                run.truth.answered(),
                run.truth.backlog_drops
            )
        },
    );
    let invalid = run.clone().map(|run| run.measured.invalid as f64);
    let falsely = run.map(|run| run.false_losses.unwrap_or_default() as f64);
    vec![
        Row::fact("false losses, 100,000 targets", "probes", falsely, Budget::AtMost(0.0))
            .with(detail),
        Row::fact("invalid in that run", "probes", invalid, Budget::Open),
    ]
}

fn memory(bench: &mut Bench) -> Vec<Row> {
    // Every row must have been used once, or its memory may not exist yet.
    let mut size = |targets: u32| {
        let rate = null_rate(bench)? / 2.0;
        let seconds = f64::from(targets) / rate + 1.0;
        let load = Load { rate: Some(rate), ..paced(targets, 1.0, seconds) };
        own(bench, "reachd echo, memory", load)
    };
    let (few, run) = (size(1_000), size(1_000_000));
    let bytes = |run: &Run| run.measured.rss_bytes as f64;
    let many = run.as_ref().map(bytes).map_err(Clone::clone);
    let slope = few.and_then(|few| many.clone().map(|many| (many - bytes(&few)) / 999_000.0));
    let falsely = run.as_ref().map(|run| run.false_losses.unwrap_or_default() as f64);
    let asked = run.as_ref().map(|run| {
        let Measured { sent, received, lost, .. } = run.measured;
        format!("{sent} sent, {received} answered, {lost} lost; {} replies", run.truth.replies)
    });
    vec![
        Row::fact("state of a row", "bytes", slope, Budget::AtMost(192.0))
            .with("from resident sizes"),
        Row::fact(
            "a million rows, resident",
            "MB",
            many.map(|size| size / 1e6),
            Budget::AtMost(400.0),
        ),
        Row::fact(
            "false losses, a million rows",
            "probes",
            falsely.map_err(Clone::clone),
            Budget::AtMost(0.0),
        )
        .with(asked.unwrap_or_default()),
    ]
}

fn accuracy(bench: &mut Bench) -> Vec<Row> {
    let seconds = bench.options.seconds;
    let slow = accuracy::Load { targets: 5_000, rate: 1_000.0, seconds };
    let reference = text(witnessed(1, || Part::Reference(slow).measure()));
    let delayed = text(behind_tun(|| Part::Reference(slow).measure()));

    let half = null_rate(bench).map(|rate| rate / 2.0);
    let ours = half.clone().and_then(|rate| {
        let load = each_once(rate, seconds);
        text(witnessed(16, || Part::Own(load).measure()))
    });
    // A row's first probe is due at once: lateness is counted from the second on.
    let lag = half.and_then(|rate| {
        let interval = f64::from(bench.options.targets) / rate;
        let load = paced(bench.options.targets, interval, seconds);
        let run = own(bench, "reachd echo, half load", load)?;
        run.measured.lag_p99.map(|lag| lag * 1e6).ok_or_else(|| "not told".to_owned())
    });
    let ours_tun = text(behind_tun(|| Part::Own(each_once(10_000.0, seconds)).measure()));
    let most = Budget::AtMost(20.0);
    vec![
        errors("round trip at half load, against the wire's stamps: p99 of error", &ours, most),
        errors("round trip behind a TUN peer, 10,000/s: p99 of error", &ours_tun, most),
        Row::fact("schedule lag at half load, p99", "us", lag, Budget::Open),
        errors("check: error-queue stamps against the wire's: p99", &reference, Budget::Open),
        errors("check: error-queue stamps behind the TUN peer: p99", &delayed, Budget::Open),
    ]
}

fn idle(bench: &mut Bench) -> Vec<Row> {
    let seconds = if bench.options.quick { 10.0 } else { 30.0 };
    let run = own(bench, "reachd echo, idle", paced(1_000, 10.0, seconds));
    let share = run.map(|run| {
        (run.measured.cpu_user + run.measured.cpu_sys) / run.measured.seconds.max(1e-9) * 100.0
    });
    vec![Row::fact("1,000 targets at 10 s", "% of a core", share, Budget::AtMost(1.0))]
}

fn scrape(bench: &mut Bench) -> Vec<Row> {
    let page = |targets, is_compact| {
        let page: Result<Page> = Part::Scrape(scrape::Load { targets, is_compact }).run();
        text(page)
    };
    let repetitions = bench.options.repetitions;
    let (mut compact, mut full, mut slopes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bytes, mut failure) = ([0, 0], None);
    for _ in 0..repetitions {
        match (page(10_000, true), page(100_000, true), page(100_000, false)) {
            (Ok(small), Ok(large), Ok(whole)) => {
                compact.push(large.seconds * 1e3);
                full.push(whole.seconds * 1e3);
                slopes.push(large.seconds / small.seconds / 10.0);
                bytes = [large.bytes, whole.bytes];
            }
            (Err(reason), _, _) | (_, Err(reason), _) | (_, _, Err(reason)) => {
                failure = Some(reason);
            }
        }
    }
    let reason = failure.as_deref();
    let megabytes = bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6));
    let [compact_size, full_size] = megabytes;
    vec![
        Row::sample("100,000 targets, compact", "ms", &compact, Budget::AtMost(500.0), reason)
            .with(compact_size),
        Row::sample("100,000 targets, full", "ms", &full, Budget::Open, reason).with(full_size),
        // Linear is 1; caches that no longer hold everything may cost half as much again.
        Row::sample(
            "compact, 100,000 / 10,000, per target",
            "ratio",
            &slopes,
            Budget::AtMost(1.5),
            reason,
        ),
    ]
}

fn daemon(_: &mut Bench) -> Vec<Row> {
    let few = daemon_rows(10_000, Budget::Open);
    few.into_iter().chain(daemon_rows(100_000, Budget::AtMost(500.0))).collect()
}

fn daemon_rows(targets: u32, page: Budget) -> Vec<Row> {
    let whole = text(daemon::run(targets));
    let fact = |what: &str, unit, of: fn(&Whole) -> f64| {
        let value = whole.as_ref().map(of).map_err(Clone::clone);
        Row::fact(format!("daemon, {targets}: {what}"), unit, value, Budget::Open)
    };
    let (scrapes, reason) = match &whole {
        Ok(whole) => (whole.scrapes.clone(), None),
        Err(reason) => (Vec::new(), Some(reason.as_str())),
    };
    let size = whole.as_ref().map(|whole| format!("{:.1} MB", whole.bytes as f64 / 1e6));
    let sent = whole.as_ref().map(|whole| format!("of {}", whole.sent));
    vec![
        fact("ready after", "s", |whole| whole.ready),
        Row::sample(format!("daemon, {targets}: page"), "ms", &scrapes, page, reason)
            .with(size.unwrap_or_default()),
        fact("reload of 10", "s", |whole| whole.reload),
        fact("resident", "MB", |whole| whole.rss as f64 / 1e6),
        fact("steady", "% of a core", |whole| whole.share * 100.0),
        fact("lost", "probes", |whole| whole.lost as f64).with(sent.unwrap_or_default()),
    ]
}

/// Gives the null loop's rate: the median of the runs there are, else of one made for it.
fn null_rate(bench: &mut Bench) -> Result<f64, String> {
    let name = Contender::Null.name();
    let known = bench.runs.iter().filter(|run| run.contender == name);
    let rates: Vec<f64> = known.map(|run| run.rate).collect();
    match stats::estimate(&rates) {
        Some(estimate) => Ok(estimate.median),
        None => bench.attempt(Contender::Null).map(|run| run.rate),
    }
}

fn own(bench: &mut Bench, name: &'static str, load: Load) -> Result<Run, String> {
    text(bench.watched(name, true, |_| Part::Own(load).measure()))
}

/// Our echo sweep with a target for each probe, so that the target names the probe.
fn each_once(rate: f64, seconds: f64) -> Load {
    let targets = ((rate * seconds) as u32).clamp(1, TARGETS_MAX);
    Load { rate: Some(rate), keep_rtts: true, ..paced(targets, 1.0, seconds) }
}

fn witnessed(every: u32, prober: impl Fn() -> Result<Measured>) -> Result<Errors> {
    let witness = Part::Witness(Watch { every }).start()?;
    let measured = prober()?;
    let truth: Measured = witness.finish()?;
    accuracy::compare(&measured.rtts, &truth.rtts).context("no probe was seen by both")
}

fn behind_tun(prober: impl Fn() -> Result<Measured>) -> Result<Errors> {
    let peer = Part::Tun(Tun { delay: Duration::from_millis(1) }).start()?;
    let measured = prober()?;
    let truth: Measured = peer.finish()?;
    accuracy::compare(&measured.rtts, &truth.rtts).context("no probe was seen by both")
}

fn errors(name: &str, errors: &Result<Errors, String>, budget: Budget) -> Row {
    let row = Row::fact(name, "us", errors.clone().map(|errors| errors.size_p99), budget);
    match errors {
        Err(_) => row,
        Ok(Errors { count, p1, p50, size_max, size_p99: _ }) => row.with(format!(
            "{count} compared; error p1 {p1:+.1}, median {p50:+.1}, largest {size_max:.1} us"
        )),
    }
}

fn ratio(name: &str, rounds: &Rounds, places: (usize, usize), budget: Budget) -> Row {
    let ratios = pairs(rounds, places, |run| run.rate);
    Row::sample(name, "ratio", &ratios, budget, reason(rounds, &[places.0, places.1]))
}

/// Gives the ratio of two contenders for each round in which both ran.
fn pairs(rounds: &Rounds, (own, peer): (usize, usize), of: fn(&Run) -> f64) -> Vec<f64> {
    let both = rounds.iter().filter_map(|round| match (&round[own], &round[peer]) {
        (Ok(own), Ok(peer)) => Some(of(own) / of(peer)),
        (Err(_), _) | (_, Err(_)) => None,
    });
    both.collect()
}

fn values(rounds: &Rounds, place: usize, of: fn(&Run) -> f64) -> Vec<f64> {
    rounds.iter().filter_map(|round| round[place].as_ref().ok().map(of)).collect()
}

fn reason<'a>(rounds: &'a Rounds, places: &[usize]) -> Option<&'a str> {
    let mut failures = rounds.iter().flat_map(|round| {
        places.iter().filter_map(|place| round[*place].as_ref().err().map(String::as_str))
    });
    failures.next()
}

fn text<T>(result: Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{error:#}"))
}
