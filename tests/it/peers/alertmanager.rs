//! Two instances of a real Alertmanager, as one cluster, with a webhook behind them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use reachd_lab::{Node, Running, inside, probe, server, test_name, wait_until};

use crate::daemon::harness::{Ground, START, until};
use crate::daemon::scene::{QUICK, Scene};
use crate::daemon::told::told;

const PROGRAM: &str = "prometheus-alertmanager";

/// A second page after the end would be out after this: the second instance waits three seconds.
const QUIET: Duration = Duration::from_secs(15);

/// Groups are flushed every 20 s, and the second instance sends three seconds later what it saw
/// then. Healed in between, its view is not older than what the first has told: it would else page
/// for what is over, as Alertmanager means it to.
const HEAL_AFTER: Duration = Duration::from_secs(26);

/// A first flush, the wait of the second instance, and a busy machine.
const TOLD: Duration = Duration::from_secs(60);

const ROUTES: &str = "\
route:
  receiver: hook
  group_by: ['...']
  group_wait: 1s
  group_interval: 20s
  repeat_interval: 4h
receivers:
  - name: hook
    webhook_configs:
      - url: http://127.0.0.1:8082/
        send_resolved: true
";

const RECEIVERS: &str = "\
[[receiver]]
name = \"cluster\"
kind = \"alertmanager\"
urls = [\"http://127.0.0.1:9193\", \"http://127.0.0.1:9194/\"]
";

/// One instance; its cluster port stands 10 above that of its API.
fn instance(node: &Node, folder: &Path, (port, other): (u16, u16)) -> Result<Running> {
    let storage = folder.join(port.to_string());
    let words = [
        PROGRAM.to_owned(),
        format!("--config.file={}", folder.join("routes.yml").display()),
        format!("--storage.path={}", storage.display()),
        format!("--web.listen-address=127.0.0.1:{port}"),
        format!("--cluster.listen-address=127.0.0.1:{}", port + 10),
        format!("--cluster.advertise-address=127.0.0.1:{}", port + 10),
        format!("--cluster.peer=127.0.0.1:{}", other + 10),
        "--cluster.peer-timeout=3s".to_owned(),
        "--cluster.settle-timeout=5s".to_owned(),
        "--cluster.gossip-interval=50ms".to_owned(),
        "--cluster.pushpull-interval=1s".to_owned(),
    ];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let running = node.spawn(&words)?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let up = || matches!(probe::connect(node, address, Duration::from_secs(1)), Ok(Ok(_)));
    wait_until(Duration::from_secs(30), up)?;
    Ok(running)
}

/// Whether the program is there; where it is required, it must be.
fn present() -> bool {
    let found = std::process::Command::new(PROGRAM).arg("--version").output().is_ok();
    let required = std::env::var("REACHD_REQUIRE_TOOLS").is_ok_and(|value| value == "1");
    assert!(found || !required, "{PROGRAM} is required and not there");
    found
}

#[test]
fn two_alertmanagers_page_once_over_a_restart_and_tell_the_end() {
    if !present() {
        return;
    }
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let node = &scene.chain.v1;
        let pages = server::webhook(node, 8082)?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("routes.yml"), ROUTES)?;
        let _first = instance(node, folder.path(), (9193, 9194))?;
        let _second = instance(node, folder.path(), (9194, 9193))?;
        let text = format!("{QUICK}{RECEIVERS}{}", scene.target("t", "t", 3389));
        let daemon = Ground::new(node, &text)?.start()?;
        daemon.until_page("t is reachable", START + START, |page| {
            page.class("t").as_deref() == Some("reachable")
        })?;
        scene.servers.retain(|server| server.port() != 3389);
        pages.wait_for(1, TOLD)?;
        let paged = std::time::Instant::now();
        let first = told(&pages)?.remove(0);
        ensure!(first.is("firing", "t"), "{first:?}");
        ensure!(first.label("alertname") == "ReachdTargetUnreachable", "{first:?}");
        ensure!(first.label("class").is_empty(), "{first:?}");
        ensure!(first.annotation("class_now") == "port_closed", "{first:?}");

        let _daemon = daemon.kill()?.start()?;
        until("nobody is paged again", QUIET + TOLD, || {
            let told = told(&pages)?;
            ensure!(told.len() == 1, "paged again: {told:#?}");
            Ok((paged.elapsed() > HEAL_AFTER).then_some(()))
        })?;
        let _rdp = server::rdp_confirm(&scene.chain.lan.target, 3389)?;
        pages.wait_for(2, TOLD)?;
        let healed = std::time::Instant::now();
        until("the end is told once", QUIET + TOLD, || {
            let told = told(&pages)?;
            ensure!(told.len() == 2 && told[1].is("resolved", "t"), "{told:#?}");
            Ok((healed.elapsed() > QUIET).then_some(()))
        })?;
        Ok(())
    });
}
