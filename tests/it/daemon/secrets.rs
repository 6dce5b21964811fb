//! Secrets of receivers are shown nowhere, whatever the receivers say back.

use anyhow::{Context as _, Result, ensure};
use reachd_lab::{inside, server, test_name};

use super::harness::{Ground, START, until};
use super::scene::{QUICK, Scene};

/// What stands in every secret.
const CANARY: &str = "CANARY5ec12e7";

/// A receiver that takes nothing, and says in its answer what it was asked.
fn gossip(scene: &Scene) -> Result<server::TcpServer> {
    server::serve(&scene.chain.v1, 8083, |mut stream| {
        use std::io::{Read as _, Write as _};
        let mut heard = vec![0; 8192];
        let read = stream.read(&mut heard)?;
        let heard = String::from_utf8_lossy(&heard[..read]).replace(['\r', '\n', '"', '\\'], " ");
        let body = format!("{{\"errcode\":310000,\"errmsg\":\"no: {heard}\"}}");
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
    })
}

#[test]
fn secrets_are_in_no_log_metric_or_answer_nor_in_the_store() {
    inside(test_name!(), |lab| {
        let mut scene = Scene::build(lab)?;
        let _gossip = gossip(&scene)?;
        let receivers = format!(
            "[[receiver]]\nname = \"ding\"\nkind = \"dingtalk\"\nsecret_file = \"secret\"\n\
             url = \"http://127.0.0.1:8083/robot/send?access_token={CANARY}\"\n\
             [[receiver]]\nname = \"lark\"\nkind = \"feishu\"\nsecret_file = \"secret\"\n\
             url_file = \"url\"\n\
             [[receiver]]\nname = \"pager\"\nkind = \"pagerduty\"\nsecret_file = \"secret\"\n\
             url = \"http://127.0.0.1:8083/v2/enqueue\"\n\
             [[receiver]]\nname = \"mail\"\nkind = \"email\"\nurl = \"smtp://127.0.0.1:8083\"\n\
             from = \"a@example.com\"\nto = [\"b@example.com\"]\ntls = \"if_offered\"\n\
             username = \"a\"\npassword_file = \"secret\"\n"
        );
        let text = format!("{QUICK}{receivers}{}", scene.target("t", "t", 3389));
        let ground = Ground::new(&scene.chain.v1, &text)?.with("RUST_LOG", "debug");
        ground.write("secret", &format!("{CANARY}\n"))?;
        ground.write("url", &format!("http://127.0.0.1:8083/open-apis/bot/v2/hook/{CANARY}\n"))?;
        let daemon = ground.start()?;
        daemon.until_page("t is reachable", START + START, |page| {
            page.class("t").as_deref() == Some("reachable")
        })?;
        scene.servers.retain(|server| server.port() != 3389);
        scene.receiver.wait_for(1, START)?;
        let log = daemon.ground()?.path("log");
        until("both robots' answers are logged", START, || {
            let log = std::fs::read_to_string(&log).context("read the log")?;
            let both = log.contains("code 310000") && log.contains("without a code in the body");
            Ok(both.then_some(()))
        })?;
        for path in ["/metrics", "/", "/api/v1/targets", "/api/v1/incidents"] {
            let answer = daemon.get(path)?;
            ensure!(!answer.text().contains(CANARY), "a secret under {path}");
        }
        let log = std::fs::read_to_string(&log)?;
        ensure!(!log.contains(CANARY), "a secret in the log:\n{log}");
        let ground = daemon.kill()?;
        for file in std::fs::read_dir(ground.path("state"))? {
            let path = file?.path();
            let bytes = if path.is_file() { std::fs::read(&path)? } else { Vec::new() };
            let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            ensure!(!found, "a secret in {}", path.display());
        }
        Ok(())
    });
}
