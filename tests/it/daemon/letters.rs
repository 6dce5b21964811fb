//! Messages that a receiver will not get: who else is told, and what is left of them.

use anyhow::{Context, Result, ensure};
use reachd_exporters::store::{OutboxRow, State, Store, message_id};
use reachd_lab::{inside, server, test_name};
use serde_json::Value;

use super::harness::{Ground, SOON, START, until};
use super::scene::QUICK;

/// A target that fires at once; `ops` has an heir that wants to hear of nothing else.
const SCENE: &str = "\
dead_letter_to = \"second\"
[[receiver]]
name = \"second\"
url = \"http://127.0.0.1:8082/\"
match = { team = \"nobody\" }
[[target]]
name = \"t\"
host = \"127.0.0.1\"
port = 1
service = \"tcp\"
";

fn rows(ground: &Ground, receiver: &str) -> Result<Vec<OutboxRow>> {
    let mut rows = Store::read(&ground.path("state/reachd.db"))?.outbox(None)?;
    rows.retain(|row| row.receiver == receiver);
    Ok(rows)
}

/// Killed after a message was given up and before anybody was told of that.
#[test]
fn a_second_receiver_is_told_of_a_dead_letter_over_a_kill() {
    inside(test_name!(), |lab| {
        let node = lab.host("v1")?;
        let gone = server::webhook(&node, 8081)?;
        let second = server::webhook(&node, 8082)?;
        gone.set_status(410);
        second.set_status(503);
        let daemon = Ground::new(&node, &format!("{QUICK}{SCENE}"))?.start()?;
        until("it is tried", START, || Ok((!second.deliveries().is_empty()).then_some(())))?;
        let ground = daemon.kill()?;
        let letters = rows(&ground, "ops")?;
        let [letter] = &letters[..] else { anyhow::bail!("{letters:#?}") };
        ensure!(letter.state == State::Dead, "{letter:?}");
        let notices = rows(&ground, "second")?;
        let [notice] = &notices[..] else { anyhow::bail!("{notices:#?}") };
        ensure!(notice.state == State::Pending, "{notice:?}");
        ensure!(notice.fingerprint == format!("dead-{}", letter.msg_id), "{notice:?}");

        second.set_status(200);
        let daemon = ground.start()?;
        let bodies = second.wait_for(1, START)?;
        let body: Value = serde_json::from_str(&bodies[0]).context("read it")?;
        let alert = &body["alerts"][0];
        ensure!(alert["labels"]["alertname"] == "ReachdNotificationDead", "{body}");
        ensure!(alert["labels"]["receiver"] == "ops" && alert["labels"]["target"] == "t", "{body}");
        let summary = alert["annotations"]["summary"].as_str().context("its summary")?;
        for word in ["ops", "t fires", &letter.fingerprint, "waiting since 20", "given up: gone"] {
            ensure!(summary.contains(word), "{word} is not in {summary}");
        }
        let name = message_id("second", (&notice.fingerprint, 1), "");
        for told in second.deliveries() {
            let id = told.headers.iter().find(|(key, _)| key == "webhook-id");
            ensure!(id.is_some_and(|(_, id)| *id == name), "{told:#?}");
            ensure!(told.body == bodies[0], "two texts under one identity: {told:#?}");
        }
        until("it is noted", SOON, || {
            let rows = rows(daemon.ground()?, "second")?;
            Ok(rows.iter().all(|row| row.state == State::Delivered).then_some(()))
        })?;
        // The row of `ops` is as it was: dead, told of once.
        let ground = daemon.kill()?;
        ensure!(rows(&ground, "second")?.len() == 1, "told twice");
        ensure!(gone.deliveries().len() == 1, "{:#?}", gone.deliveries());
        Ok(())
    });
}
