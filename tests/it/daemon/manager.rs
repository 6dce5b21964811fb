//! Under a service manager: what it is told, and how the daemon ends.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, server, test_name};

use super::harness::{Daemon, Ground, SOON, START, record, until};
use super::scene::{QUICK, Scene};

/// The watchdog's limit in the tests.
const WATCHDOG: Duration = Duration::from_secs(4);
/// An end takes no longer, whoever hangs.
const STOP: Duration = Duration::from_secs(5);

/// A service manager that only listens.
struct Manager {
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    /// Listens on a socket in the daemon's folder.
    fn listen(ground: Ground) -> Result<(Self, Ground)> {
        let path = ground.path("notify");
        let socket = UnixDatagram::bind(&path).context("bind the notify socket")?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&heard);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                shared.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), text));
            }
        });
        let limit = WATCHDOG.as_micros().to_string();
        let path = path.display().to_string();
        let ground = ground.with("NOTIFY_SOCKET", &path).with("WATCHDOG_USEC", &limit);
        Ok((Self { heard }, ground))
    }

    fn heard(&self) -> Vec<(Instant, String)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// When each message with this line came.
    fn times(&self, line: &str) -> Vec<Instant> {
        let has = |text: &str| text.lines().any(|one| one == line);
        self.heard().into_iter().filter(|(_, text)| has(text)).map(|(at, _)| at).collect()
    }

    fn wait_for(&self, line: &str, count: usize, within: Duration) -> Result<Vec<Instant>> {
        until(&format!("{count} times {line}"), within, || {
            let times = self.times(line);
            Ok((times.len() >= count).then_some(times))
        })
    }
}

#[test]
fn the_manager_hears_of_every_step() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let (manager, ground) = Manager::listen(Ground::new(&scene.chain.v1, &text)?)?;
        let mut daemon = ground.launch()?;
        let ready = manager.wait_for("READY=1", 1, START)?;
        ensure!(daemon.get("/-/ready")?.status == 200, "told ready before it was");
        record(&format!("manager: ready after {:.2} s", (ready[0] - daemon.begun).as_secs_f64()));

        let pets = manager.wait_for("WATCHDOG=1", 5, 4 * WATCHDOG)?;
        for pair in pets.windows(2) {
            let gap = pair[1] - pair[0];
            ensure!(gap <= WATCHDOG / 2, "{gap:?} between two signs of life");
        }
        for (round, text) in [(1, text.clone()), (2, "broken".to_owned()), (3, text)] {
            daemon.ground()?.write("reachd.toml", &text)?;
            daemon.signal("HUP")?;
            let reloading = manager.wait_for("RELOADING=1", round, SOON)?;
            let ready = manager.wait_for("READY=1", 1 + round, SOON)?;
            ensure!(reloading[round - 1] <= ready[round], "ready before the reload");
        }
        let clocked =
            |text: &String| text.contains("RELOADING=1") && text.contains("MONOTONIC_USEC=");
        ensure!(manager.heard().iter().any(|(_, text)| clocked(text)), "{:#?}", manager.heard());
        daemon.signal("TERM")?;
        manager.wait_for("STOPPING=1", 1, SOON)?;
        let (status, _) = daemon.wait_exit(SOON)?;
        ensure!(status.code() == Some(0), "{status}");
        ensure!(manager.times("STOPPING=1").len() == 1, "{:#?}", manager.heard());
        Ok(())
    });
}

/// A receiver that takes a message and never answers, and clients of ours that hang.
#[test]
fn an_end_waits_for_nobody() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let hung = server::silent(&scene.chain.v1, 8083)?;
        let text = format!(
            "{QUICK}[[receiver]]\nname = \"hung\"\nurl = \"http://127.0.0.1:8083/\"\n{}{}{}",
            scene.target("t", "t", 3389),
            scene.target("n1", "n1", 3389),
            scene.target("n2", "n2", 3389),
        );
        let mut daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        scene.receiver.wait_for(1, START)?;
        until("the hung receiver has a message", SOON, || Ok((hung.accepted() > 0).then_some(())))?;
        let mut half = daemon.connect()?;
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").context("half a request")?;
        let idle = daemon.connect()?;

        // Surveys of what just died are under way.
        scene.servers.clear();
        let _hole = lab.blackhole_route(scene.chain.gateway(), scene.chain.lan.target_at)?;
        until("a survey is under way", SOON, || surveys(&daemon))?;
        daemon.signal("TERM")?;
        let (status, took) = daemon.wait_exit(SOON)?;
        record(&format!("manager: SIGTERM to the end {:.2} s", took.as_secs_f64()));
        ensure!(status.code() == Some(0), "{status}");
        ensure!(took <= STOP, "the end took {took:?}");
        drop((half, idle));
        Ok(())
    });
}

/// Whether a port that just closed was noticed, so that its survey goes on.
fn surveys(daemon: &Daemon) -> Result<Option<()>> {
    let page = daemon.metrics()?;
    Ok((page.class("n1").as_deref() == Some("port_closed")).then_some(()))
}

#[test]
fn an_interrupt_ends_it_as_well() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let mut daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
        daemon.signal("INT")?;
        let (status, took) = daemon.wait_exit(SOON)?;
        ensure!(status.code() == Some(0) && took <= STOP, "{status} after {took:?}");
        Ok(())
    });
}
