//! Runs contenders one after another, each with the responder's counters and a look at the noise.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::cpu::{self, DISTURBED};
use crate::measured::Measured;
use crate::own::{Load, Probe, Transmit};
use crate::part::{Part, Started};
use crate::stage::{Stage, Truth};
use crate::{Options, blackbox, fping, null, sandbox, smokeping, surge, tokio_connect};

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Contender {
    /// The null loop.
    Null,
    /// The transmit ceiling with our own IP header.
    SendHeader,
    /// The transmit ceiling of a packet socket.
    SendPacket,
    /// Our echo sweep as it is by default.
    OwnDefault,
    /// Our echo sweep over a packet socket.
    OwnFast,
    /// Our SYN sweep.
    OwnSyn,
    /// The tokio connect loop.
    Connect,
    /// surge-ping at its best.
    Surge,
    /// surge-ping, one task per target.
    SurgeUnbounded,
    /// fping in bursts.
    FpingBurst,
    /// fping for longer than its table lasts.
    FpingSustained,
    /// blackbox_exporter, echo.
    BlackboxIcmp,
    /// blackbox_exporter, connect.
    BlackboxTcp,
    /// smokeping_prober, paced.
    Smokeping,
    /// Our echo sweep at the same pace.
    OwnPaced,
}

impl Contender {
    /// Gives the name used in tables and JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Null => "null loop",
            Self::SendHeader => "send only, raw IP",
            Self::SendPacket => "send only, packet socket",
            Self::OwnDefault => "reachd echo, default",
            Self::OwnFast => "reachd echo, fast",
            Self::OwnSyn => "reachd SYN",
            Self::Connect => "tokio connect, 64",
            Self::Surge => "surge-ping, 256",
            Self::SurgeUnbounded => "surge-ping, unbounded",
            Self::FpingBurst => "fping, bursts",
            Self::FpingSustained => "fping, sustained",
            Self::BlackboxIcmp => "blackbox icmp, 16",
            Self::BlackboxTcp => "blackbox tcp, 16",
            Self::Smokeping => "smokeping, 1/s each",
            Self::OwnPaced => "reachd echo, 1/s each",
        }
    }

    /// Gives the program it needs, which is also the name of its Debian package.
    const fn package(self) -> Option<&'static str> {
        match self {
            Self::FpingBurst | Self::FpingSustained => Some("fping"),
            Self::BlackboxIcmp | Self::BlackboxTcp => Some(blackbox::PROGRAM),
            Self::Smokeping => Some(smokeping::PROGRAM),
            Self::Null
            | Self::SendHeader
            | Self::SendPacket
            | Self::OwnDefault
            | Self::OwnFast
            | Self::OwnSyn
            | Self::Connect
            | Self::Surge
            | Self::SurgeUnbounded
            | Self::OwnPaced => None,
        }
    }

    /// Says whether its probes are echoes, which the responder counts.
    const fn is_echo(self) -> bool {
        !matches!(self, Self::OwnSyn | Self::Connect | Self::BlackboxTcp)
    }
}

/// One run, with what was seen around it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    /// Whose.
    pub(crate) contender: &'static str,
    /// Answered probes in a second.
    pub(crate) rate: f64,
    /// What the prober counted; round trips are left out.
    pub(crate) measured: Measured,
    /// What the responder counted meanwhile.
    pub(crate) truth: Truth,
    /// Losses the prober reports that did not happen, if its probes are echoes.
    pub(crate) false_losses: Option<u64>,
    /// Cores that others used meanwhile.
    pub(crate) foreign_cores: f64,
    /// Share of the time each processor was busy: the prober's is the first, the responder's the
    /// second.
    pub(crate) busy: Vec<f64>,
    /// Whether others used too much, in every attempt.
    pub(crate) is_disturbed: bool,
}

/// The bench at work: the stage, its listener, and every run made so far.
pub(crate) struct Bench {
    /// What the command line says.
    pub(crate) options: Options,
    /// Every run that came to its end.
    pub(crate) runs: Vec<Run>,
    /// Why a contender cannot run at all.
    refused: BTreeMap<Contender, String>,
    /// Dropped with the bench, which ends it.
    sink: Started,
}

impl Bench {
    /// Starts the listener on a stage that stands.
    pub(crate) fn new(options: Options) -> Result<Self> {
        let sink = Part::Sink.start().context("start the listener")?;
        Ok(Self { options, runs: Vec::new(), refused: BTreeMap::new(), sink })
    }

    /// Runs each contender as often as asked, all in turn, beginning with another one each time,
    /// and gives the rounds: one run or the reason for none for each contender.
    pub(crate) fn rounds(&mut self, contenders: &[Contender]) -> Vec<Vec<Result<Run, String>>> {
        let mut rounds = Vec::new();
        for repetition in 0..self.options.repetitions {
            let mut round: Vec<_> = contenders.iter().map(|_| Err(String::new())).collect();
            for step in 0..contenders.len() {
                let place = (repetition + step) % contenders.len();
                round[place] = self.attempt(contenders[place]);
            }
            rounds.push(round);
        }
        rounds
    }

    /// Runs one contender, or gives the reason why it cannot; what failed once is not tried again.
    pub(crate) fn attempt(&mut self, contender: Contender) -> Result<Run, String> {
        if let Some(reason) = self.refused.get(&contender) {
            return Err(reason.clone());
        }
        let run = self.check(contender).and_then(|()| {
            self.watched(contender.name(), contender.is_echo(), |bench| bench.once(contender))
        });
        run.map_err(|error| {
            let reason = format!("{error:#}");
            self.refused.insert(contender, reason.clone());
            reason
        })
    }

    /// Runs something between two looks at the counters, again if others disturbed it.
    pub(crate) fn watched(
        &mut self,
        name: &'static str,
        is_echo: bool,
        work: impl Fn(&Self) -> Result<Measured>,
    ) -> Result<Run> {
        let mut best: Option<Run> = None;
        for _ in 0..ATTEMPTS {
            cpu::wait_for_quiet(PATIENCE)?;
            let before = Stage::truth()?;
            let watch = cpu::Watch::start(&[self.sink.id()])?;
            let measured = work(self)?;
            let foreign_cores = watch.foreign_cores()?;
            let busy = watch.busy_shares()?;
            let truth = Stage::truth()?.since(before);
            let run = Run {
                contender: name,
                rate: measured.rate(),
                false_losses: is_echo.then(|| truth.false_losses(measured.sent, measured.lost)),
                truth,
                foreign_cores,
                busy,
                is_disturbed: foreign_cores > DISTURBED,
                measured,
            };
            self.options.progress(&run);
            let is_good = !run.is_disturbed;
            if best.as_ref().is_none_or(|best| run.foreign_cores < best.foreign_cores) {
                best = Some(run);
            }
            if is_good {
                break;
            }
        }
        let best = best.context("no attempt was made")?;
        self.runs.push(without_times(&best));
        Ok(best)
    }

    fn check(&self, contender: Contender) -> Result<()> {
        let Some(package) = contender.package() else { return Ok(()) };
        ensure!(sandbox::is_installed(package), "{package} is not installed (Debian: {package})");
        Ok(())
    }

    fn once(&self, contender: Contender) -> Result<Measured> {
        let (targets, seconds) = (self.options.targets, self.options.seconds);
        let null = |path| Part::Null(null::Load { path, targets, seconds }).measure();
        let own = |probe, transmit| {
            let load = Load { probe, transmit, targets, rate: None, seconds, keep_rtts: false };
            Part::Own(load).measure()
        };
        let surge = |mode| Part::Surge(surge::Load { mode, targets, seconds }).measure();
        let drive =
            |module| blackbox::run(blackbox::Drive { module, targets, connections: 16, seconds });
        match contender {
            Contender::Null => null(null::Path::Echo),
            Contender::SendHeader => null(null::Path::SendHeader),
            Contender::SendPacket => null(null::Path::SendPacket),
            Contender::OwnDefault => own(Probe::Echo, Transmit::Raw),
            Contender::OwnFast => own(Probe::Echo, Transmit::Packet),
            Contender::OwnSyn => own(Probe::Syn, Transmit::Raw),
            Contender::Connect => {
                Part::Connect(tokio_connect::Load { targets, concurrency: 64, seconds }).measure()
            }
            Contender::Surge => surge(surge::Mode::Bounded(256)),
            Contender::SurgeUnbounded => {
                let (mode, targets) = (surge::Mode::Unbounded, UNBOUNDED_TARGETS);
                Part::Surge(surge::Load { mode, targets, seconds }).measure()
            }
            Contender::FpingBurst => fping::burst(targets, seconds),
            Contender::FpingSustained => fping::sustained(),
            Contender::BlackboxIcmp => drive(blackbox::Module::Icmp),
            Contender::BlackboxTcp => drive(blackbox::Module::TcpConnect),
            Contender::Smokeping => smokeping::run(PACED_TARGETS, seconds.max(3.0)),
            Contender::OwnPaced => Part::Own(paced(PACED_TARGETS, 1.0, seconds.max(3.0))).measure(),
        }
    }
}

/// Our echo sweep over so many targets, each probed every so many seconds.
pub(crate) fn paced(targets: u32, interval: f64, seconds: f64) -> Load {
    Load {
        probe: Probe::Echo,
        transmit: Transmit::Raw,
        targets,
        rate: Some(f64::from(targets) / interval),
        seconds,
        keep_rtts: false,
    }
}

fn without_times(run: &Run) -> Run {
    Run { measured: Measured { rtts: Vec::new(), ..run.measured.clone() }, ..run.clone() }
}

/// How often a run is made anew when others disturb it.
const ATTEMPTS: usize = 3;

/// How long a quiet moment is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

const PACED_TARGETS: u32 = 1_000;

/// At 10,000 tasks a quick machine still keeps up.
const UNBOUNDED_TARGETS: u32 = 100_000;
