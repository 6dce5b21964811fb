//! The outbox and its commands: what a person sees and settles beside a running daemon.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, server, test_name};
use serde_json::Value;

use super::harness::{Daemon, REACHD, START, until};
use super::scene::{QUICK, Scene};
use super::told::{pair_each, understood};

/// Runs a command on the daemon's store; gives its lines.
fn ask(daemon: &Daemon, words: &[&str]) -> Result<Vec<String>> {
    let folder = daemon.ground()?.path("state");
    let mut command = Command::new(REACHD);
    command.args(words).arg("--store").arg(folder);
    let output = command.output().context("run reachd")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{words:?}: {}: {told}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn documents(daemon: &Daemon, words: &[&str]) -> Result<Vec<Value>> {
    let read = |line: &String| serde_json::from_str(line).context("read a line");
    ask(daemon, words)?.iter().map(read).collect()
}

#[test]
fn a_dead_letter_is_listed_retried_and_delivered() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        // Gone for good.
        scene.receiver.set_status(410);
        let text = format!("{QUICK}{}", scene.target("t", "t", 3389));
        let daemon = super::harness::Ground::new(&scene.chain.v1, &text)?.start()?;
        daemon.until_page("it is well", START, |page| {
            page.class("t").as_deref() == Some("reachable")
        })?;
        scene.servers.retain(|server| server.port() != 3389);
        let list = ["outbox", "list", "--state", "dead", "--json"];
        let dead = until("a dead letter", START + START, || {
            Ok(documents(&daemon, &list)?.into_iter().next())
        })?;
        ensure!(dead["receiver"] == "ops" && dead["last_error"] == "gone", "{dead}");
        ensure!(dead["resolved"] == false && dead["state"] == "dead", "{dead}");
        let name = dead["msg_id"].as_str().context("its name")?.to_owned();
        let open = documents(&daemon, &["incidents", "--json"])?;
        ensure!(open.len() == 1 && open[0]["fingerprint"] == dead["fingerprint"], "{open:?}");
        let id = dead["fingerprint"].as_str().context("its incident")?;
        let told = ask(&daemon, &["incidents", &id[..6]])?;
        ensure!(told.iter().any(|line| line.contains(&name)), "{told:?}");
        ensure!(told[0].contains("firing") && told[0].contains("t: "), "{told:?}");

        scene.receiver.set_status(200);
        let of = [("receiver", "ops")];
        ensure!(daemon.metrics()?.value("reachd_receiver_disabled", &of) == Some(1.0), "not said");
        ensure!(daemon.request("POST", "/-/reload", &[])?.status == 200, "no reload");
        ensure!(daemon.metrics()?.value("reachd_receiver_disabled", &of) == Some(0.0), "still");
        let again = documents(&daemon, &["outbox", "retry", "--json", &name])?;
        ensure!(again == [serde_json::json!({ "retried": 1 })], "{again:?}");
        scene.receiver.wait_for(1, START)?;
        until("nothing is owed", START, || {
            let delivered = ask(&daemon, &["outbox", "list", "--state", "delivered"])?;
            Ok(delivered.iter().any(|line| line.starts_with(&name)).then_some(()))
        })?;
        ensure!(ask(&daemon, &["outbox", "purge", "--all"])? == ["0 dead letters purged"], "more");
        let _rdp = server::rdp_confirm(&scene.chain.lan.target, 3389)?;
        scene.receiver.wait_for(2, START + START)?;
        pair_each(&understood(&scene.receiver)?, &["t"])?;
        let page = daemon.metrics()?;
        ensure!(page.value("reachd_notification_queue_length", &of) == Some(0.0), "queued");
        let oldest = page.value("reachd_notification_oldest_pending_seconds", &of);
        ensure!(oldest == Some(0.0), "{oldest:?}");
        daemon.stop().map(drop)
    });
}

/// A receiver whose deploy went wrong: what it refuses is owed, not lost.
#[test]
fn a_refused_message_waits_and_is_told_once_it_is_taken() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let receiver = server::webhook(&node, 8081)?;
        receiver.set_status(404);
        let target = "[[target]]\nhost = \"127.0.0.1\"\nport = 1\nservice = \"tcp\"\n";
        let daemon = super::harness::Ground::new(&node, &format!("{QUICK}{target}"))?.start()?;
        let list = ["outbox", "list", "--state", "pending", "--json"];
        let row = until("a refused message", START, || {
            let tried = |row: &Value| row["attempts"] == 1;
            Ok(documents(&daemon, &list)?.into_iter().find(tried))
        })?;
        ensure!(row["last_error"] == "answered 404", "{row}");
        let page = daemon.metrics()?;
        let refused = [("receiver", "ops"), ("outcome", "refused")];
        ensure!(page.value("reachd_notifications_total", &refused) == Some(1.0), "not counted");
        receiver.set_status(200);
        receiver.wait_for(1, Duration::from_secs(75))?;
        let tries = receiver.deliveries();
        ensure!(tries.len() == 2 && tries[0].body == tries[1].body, "{tries:#?}");
        daemon.stop().map(drop)
    });
}
