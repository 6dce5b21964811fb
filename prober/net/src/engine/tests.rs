mod ladder;
mod stalls;

use super::steps::tests::step;
use super::*;
use crate::testing::{in_namespace, in_namespace_without, run, runtime};
use reachd_core::monitor::{
    ConnectOrder, Direction, Input, Output, ProbePacket, Purpose, ResolveOrder, SendOrder, TapId,
    VantageState,
};
use reachd_core::target::{FamilyChoice, Service, Target};
use reachd_core::time::{Instant, Stamp};
use reachd_core::vantage::{Binding, Vantage, VantageId};
use std::collections::VecDeque;
use std::net::TcpListener;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(6);

/// A brain that does what a script says and notes what happens; whoever waits hears of every note.
#[derive(Debug, Clone, Default)]
struct Scripted(Arc<Mutex<Script>>, Arc<Notify>);

#[derive(Debug, Default)]
struct Script {
    todo: VecDeque<Output>,
    wake: Option<Instant>,
    log: Vec<String>,
    captured: Vec<(Direction, Vec<u8>)>,
    stamps: Vec<Stamp>,
    counts: Option<(u64, u64)>,
    ticks: u64,
    nap: Duration,
    lag: Duration,
    /// How often the sweep wants to be asked again at once, and how long it thinks each time.
    bursts: u32,
    /// The latest time the brain was told, and by how much that passed a packet told after it.
    told: Option<Instant>,
    ahead: Duration,
}

impl Brain for Scripted {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        let mut script = self.0.lock().unwrap();
        script.told = script.told.max(Some(now));
        match input {
            Input::Captured(captured) => {
                let ahead = script.told.map_or(Duration::ZERO, |told| told.since(captured.at.at));
                script.ahead = script.ahead.max(ahead);
                script.captured.push((captured.direction, captured.bytes.to_vec()));
                script.stamps.push(captured.at);
            }
            Input::CaptureCounts { packets, drops, .. } => script.counts = Some((packets, drops)),
            Input::Tick => {
                script.ticks += 1;
                script.wake = Some(now + Duration::from_millis(20));
                think(std::mem::take(&mut script.nap));
            }
            Input::Lag(lag) => script.lag = script.lag.max(lag),
            other => script.log.push(format!("{other:?}")),
        }
        self.1.notify_waiters();
    }

    fn poll(&mut self) -> Output {
        let mut script = self.0.lock().unwrap();
        let wake = script.wake;
        script.todo.pop_front().unwrap_or(Output::Wait(wake))
    }

    fn poll_burst(&mut self, now: Instant, _burst: &mut Vec<SendOrder>) -> Option<Instant> {
        let mut script = self.0.lock().unwrap();
        script.told = script.told.max(Some(now));
        script.bursts = script.bursts.checked_sub(1)?;
        think(Duration::from_millis(100));
        self.1.notify_waiters();
        Some(now)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { unmatched: 42, ..Snapshot::default() }
    }
}

/// Keeps the engine's thread as busy as a brain that has very much to reckon.
fn think(time: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

impl Scripted {
    fn order(&self, output: Output) {
        self.0.lock().unwrap().todo.push_back(output);
    }

    /// Waits until this holds of the script.
    async fn until(&self, what: &str, holds: impl Fn(&Script) -> bool) {
        let found = self.find(|script| holds(script).then_some(())).await;
        assert!(found.is_some(), "never: {what}");
    }

    /// Looks at the script after every note, until something is found or patience ends.
    async fn find<T>(&self, mut found: impl FnMut(&mut Script) -> Option<T>) -> Option<T> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut news = std::pin::pin!(self.1.notified());
            // What happens between the look and the wait must wake as well.
            news.as_mut().enable();
            if let Some(found) = found(&mut self.0.lock().unwrap()) {
                return Some(found);
            }
            tokio::time::timeout_at(deadline, news).await.ok()?;
        }
    }

    /// Waits until the log has a line with this text.
    async fn heard(&self, text: &str) -> String {
        let line = self.find(|script| {
            let at = script.log.iter().position(|line| line.contains(text));
            at.map(|at| script.log.remove(at))
        });
        let line = line.await;
        line.unwrap_or_else(|| panic!("never heard of {text}: {:?}", self.0.lock().unwrap().log))
    }
}

fn send(flight: u32, to: &str, what: ProbePacket) -> Output {
    Output::Send(SendOrder {
        flight: Flight::Survey(flight),
        vantage: VantageId(0),
        to: to.parse().unwrap(),
        ttl: 64,
        ip_id: 9,
        what,
    })
}

fn echo(flight: u32, to: &str) -> Output {
    let seq = u16::try_from(flight).unwrap();
    send(flight, to, ProbePacket::Echo { id: 3, seq, payload: [7; 24] })
}

fn syn(flight: u32, to: &str, dest_port: u16) -> Output {
    let what = ProbePacket::Syn { source_port: 61_111, dest_port, seq: 77, timestamp: Some(1) };
    send(flight, to, what)
}

fn open(binding: Binding) -> Output {
    let vantage = Vantage { binding, ..Vantage::unbound("v") };
    Output::OpenVantage(VantageId(0), Box::new(vantage))
}

fn connect(flight: u32, to: &str) -> Output {
    Output::Connect(Box::new(ConnectOrder {
        flight: Flight::Survey(flight),
        vantage: VantageId(0),
        to: to.parse().unwrap(),
        service: Service::Tcp,
        expect_banner: None,
        send: None,
        connect_timeout: Duration::from_secs(1),
        service_timeout: Duration::from_secs(1),
    }))
}

/// Orders made before the engine starts are done at once; later ones wait for a turn, so a tick.
fn ticking() -> Scripted {
    let brain = Scripted::default();
    brain.0.lock().unwrap().wake = Some(Instant::ZERO);
    brain
}

#[test]
fn raw_probes_connects_and_names_go_round() {
    if !in_namespace("engine::tests::raw_probes_connects_and_names_go_round") {
        return;
    }
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let brain = ticking();
        brain.order(open(Binding::Any));
        let (engine, _events) =
            start_with(brain.clone(), EngineOptions::default(), &Handle::current()).unwrap();
        let up = brain.heard("Vantage(").await;
        assert!(up.contains("mode: Raw, tap: Some(TapId(0))"), "{up}");
        brain.order(echo(1, "127.0.0.1"));
        brain.order(echo(2, "::1"));
        brain.order(syn(3, "127.0.0.1", 9));
        brain.order(echo(4, "203.0.113.1"));
        let failed = brain.heard("SendFailed").await;
        assert!(failed.contains("Survey(4)") && failed.contains("NoRoute"), "{failed}");
        brain.order(connect(5, &listener.local_addr().unwrap().to_string()));
        assert!(brain.heard("Connected {").await.contains("result: Connected"));
        brain.order(Output::Resolve(ResolveOrder {
            query: QueryId(1),
            vantage: VantageId(0),
            host: "192.0.2.7".to_owned(),
            family: FamilyChoice::Any,
        }));
        assert!(brain.heard("Resolved").await.contains("192.0.2.7"));
        brain.until("all captures are counted", |script| script.counts == Some((12, 0))).await;
        brain.until("it is woken as it asks", |script| script.ticks > 10).await;
        let snapshot = engine.snapshot().await.unwrap();
        assert_eq!(snapshot.unmatched, 42);
        let file = engine.pcapng(Wanted::default(), vec![]).await.unwrap();
        assert!(file.len() > 12 * 60);
        brain.0.lock().unwrap().nap = Duration::from_millis(300);
        brain.until("the nap is noticed", |script| script.lag > Duration::from_millis(270)).await;
        let before = engine.progress();
        brain.until("the loop goes on", |_| engine.progress() > before).await;
        engine.stop().await;
        assert!(engine.is_stopped());
        assert_eq!(engine.snapshot().await.unwrap_err(), AskError::Stopped);
        let script = brain.0.lock().unwrap();
        // Two echoes of four sights each, a SYN and its reset of two each; the connect's port is
        // not in the plan.
        assert_eq!(script.captured.len(), 12, "{:?}", script.captured);
        assert_eq!(script.counts, Some((12, 0)));
        assert!(script.ticks > 10);
        // It was asleep for 300 ms when it wanted to be woken after 20.
        let late = Duration::from_millis(270)..Duration::from_secs(1);
        assert!(late.contains(&script.lag), "{:?}", script.lag);
    });
}

#[test]
fn events_overflow_without_blocking_and_a_plan_widens_the_filter() {
    if !in_namespace("engine::tests::events_overflow_without_blocking_and_a_plan_widens_the_filter")
    {
        return;
    }
    runtime().block_on(async {
        let brain = ticking();
        brain.order(open(Binding::Any));
        for number in 0..10 {
            brain.order(Output::Event(Box::new(Event::Bug { id: "b" })));
            let step = Box::new(step(&format!("{number}"), 1, true));
            brain.order(Output::Event(Box::new(Event::Incident(step))));
        }
        let options = EngineOptions { events_max: 4, ..EngineOptions::default() };
        let (engine, mut events) = start_with(brain.clone(), options, &Handle::current()).unwrap();
        brain.heard("Vantage(").await;
        let target = Target::new("127.0.0.1", 4_567, Service::Tcp);
        let plan = Plan { targets: vec![target], ..Plan::default() };
        engine.plan(plan).await.unwrap();
        brain.heard("Plan(").await;
        assert!(std::net::TcpStream::connect("127.0.0.1:4567").is_err());
        brain.until("all is captured", |script| script.captured.len() >= 4).await;
        engine.stop().await;
        assert_eq!(brain.0.lock().unwrap().captured.len(), 4);
        assert_eq!(events.dropped(), 6);
        let (mut received, mut steps) = (0, 0);
        while let Some(event) = events.recv().await {
            match *event {
                Event::Incident(_) => steps += 1,
                _ => received += 1,
            }
        }
        assert_eq!((received, steps), (4, 10), "a step of an incident is never dropped for others");
    });
}

#[test]
fn a_namespace_that_goes_and_comes_is_told() {
    if !in_namespace("engine::tests::a_namespace_that_goes_and_comes_is_told") {
        return;
    }
    run("mount -t tmpfs none /run; ip netns add x; ip -n x link set lo up");
    runtime().block_on(async {
        let brain = ticking();
        brain.order(open(Binding::Namespace("x".to_owned())));
        let (engine, _events) =
            start_with(brain.clone(), EngineOptions::default(), &Handle::current()).unwrap();
        assert!(brain.heard("Vantage(").await.contains("Up { mode: Raw"));
        brain.order(echo(1, "127.0.0.1"));
        brain.order(connect(2, "127.0.0.1:9"));
        assert!(brain.heard("Connected {").await.contains("Refused"));
        run("ip netns del x");
        let down = brain.heard("Vantage(").await;
        assert!(down.contains("VantageGone") && down.contains("namespace x"), "{down}");
        brain.order(echo(3, "127.0.0.1"));
        assert!(brain.heard("SendFailed").await.contains("VantageGone"));
        run("ip netns add x; ip -n x link set lo up");
        assert!(brain.heard("Vantage(").await.contains("Up { mode: Raw, tap: Some(TapId(1))"));
        brain.order(echo(4, "127.0.0.1"));
        brain.until("all is captured", |script| script.captured.len() >= 8).await;
        engine.stop().await;
        assert_eq!(brain.0.lock().unwrap().captured.len(), 8);
    });
}

const PINGS: &str = "echo '0 0' > /proc/sys/net/ipv4/ping_group_range";

#[test]
fn without_raw_rights_sockets_answer() {
    let test = "engine::tests::without_raw_rights_sockets_answer";
    if !in_namespace_without(test, "-net_raw,-net_admin", PINGS) {
        return;
    }
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let brain = ticking();
        brain.order(open(Binding::Any));
        let (engine, _events) =
            start_with(brain.clone(), EngineOptions::default(), &Handle::current()).unwrap();
        assert!(brain.heard("Vantage(").await.contains("mode: Sockets, tap: None"));
        brain.order(echo(1, "127.0.0.1"));
        let answer = brain.heard("flight: Survey(1)").await;
        assert!(answer.contains("EchoReply { ttl: Some(64) }"), "{answer}");
        assert!(answer.contains("source: Kernel"), "{answer}");
        brain.order(echo(2, "::1"));
        assert!(brain.heard("flight: Survey(2)").await.contains("EchoReply { ttl: Some(64) }"));
        brain.order(syn(3, "127.0.0.1", port));
        assert!(brain.heard("flight: Survey(3)").await.contains("SynAck"));
        brain.order(syn(4, "127.0.0.1", 9));
        assert!(brain.heard("flight: Survey(4)").await.contains("Reset"));
        // A mark needs a capability; only that vantage is refused, with the fix.
        let marked = Vantage { mark: Some(5), ..Vantage::unbound("m") };
        brain.order(Output::OpenVantage(VantageId(0), Box::new(marked)));
        let refused = brain.heard("Vantage(").await;
        assert!(refused.contains("NoPrivilege") && refused.contains("CAP_NET_ADMIN"), "{refused}");
        engine.stop().await;
    });
}

#[test]
fn without_ping_sockets_and_entry_only_those_are_refused() {
    let test = "engine::tests::without_ping_sockets_and_entry_only_those_are_refused";
    let prepare = "mount -t tmpfs none /run; ip netns add x";
    if !in_namespace_without(test, "-net_raw,-net_admin,-sys_admin", prepare) {
        return;
    }
    runtime().block_on(async {
        let brain = ticking();
        brain.order(open(Binding::Namespace("x".to_owned())));
        let (engine, _events) =
            start_with(brain.clone(), EngineOptions::default(), &Handle::current()).unwrap();
        let refused = brain.heard("Vantage(").await;
        assert!(refused.contains("NoPrivilege") && refused.contains("CAP_SYS_ADMIN"), "{refused}");
        brain.order(open(Binding::Any));
        assert!(brain.heard("Vantage(").await.contains("mode: Sockets"));
        brain.order(echo(1, "127.0.0.1"));
        let failed = brain.heard("SendFailed").await;
        assert!(failed.contains("Survey(1)") && failed.contains("NoPrivilege"), "{failed}");
        brain.order(syn(2, "127.0.0.1", 9));
        assert!(brain.heard("flight: Survey(2)").await.contains("Reset"));
        engine.stop().await;
    });
}

#[test]
fn the_monitor_itself_finds_loopback_reachable() {
    if !in_namespace("engine::tests::the_monitor_itself_finds_loopback_reachable") {
        return;
    }
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let monitor = Monitor::new(Purpose::Watch, [1, 2]);
        let (engine, mut events) =
            start(monitor, EngineOptions::default(), &Handle::current()).unwrap();
        let target = Target::new("127.0.0.1", port, Service::Tcp);
        let vantages = vec![Vantage::unbound("here")];
        engine.plan(Plan { targets: vec![target], vantages, ..Plan::default() }).await.unwrap();
        let limit = Duration::from_secs(20);
        let first = tokio::time::timeout(limit, async {
            loop {
                match events.recv().await.map(|event| *event) {
                    Some(Event::Judged { report, .. }) => return report,
                    Some(_) => {}
                    None => panic!("the engine ended"),
                }
            }
        });
        let report = match first.await {
            Ok(report) => report,
            Err(_) => panic!("never judged: {:?}", engine.snapshot().await),
        };
        assert_eq!(report.verdict.class, "reachable", "{report:?}");
        engine.stop().await;
    });
}
