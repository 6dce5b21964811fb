//! `reachd notify test`, against receivers that answer what the test says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::harness::REACHD;

/// What must never be printed.
const CANARY: &str = "CANARY-5ec12e7";

/// First lines and bodies of requests.
type Heard = Vec<(String, Value)>;

/// Answers one request per body given here, each 200.
fn receiver(answers: Vec<String>) -> Result<(String, JoinHandle<Result<Heard>>)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/robot/send?access_token={CANARY}", listener.local_addr()?);
    let thread = thread::spawn(move || {
        let mut heard = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept()?;
            let mut reader = BufReader::new(stream.try_clone()?);
            let (mut first, mut length) = (String::new(), 0);
            reader.read_line(&mut first)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line)?;
                let Some((name, value)) = line.trim_end().split_once(": ") else { break };
                if name == "content-length" {
                    length = value.parse()?;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            heard.push((first, serde_json::from_slice(&body)?));
            let length = answer.len();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{answer}")?;
        }
        Ok(heard)
    });
    Ok((url, thread))
}

/// Runs the command on a configuration; gives the exit code and what was printed on both streams.
fn test(configuration: &str, arguments: &[&str]) -> Result<(i32, String, String)> {
    let folder = TempDir::new()?;
    std::fs::write(folder.path().join("secret"), format!("{CANARY}\n"))?;
    std::fs::write(folder.path().join("reachd.toml"), configuration)?;
    let mut command = Command::new(REACHD);
    command.args(["notify", "test"]).args(arguments).arg("--config");
    command.arg(folder.path().join("reachd.toml")).env("CREDENTIALS_DIRECTORY", folder.path());
    let output = command.stdin(Stdio::null()).output().context("run reachd")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (told, said) = (text(&output.stdout), text(&output.stderr));
    ensure!(!told.contains(CANARY) && !said.contains(CANARY), "a secret: {told}{said}");
    Ok((output.status.code().context("killed")?, told, said))
}

#[test]
fn a_sample_is_sent_and_over_and_what_came_back_is_printed() -> Result<()> {
    let good = r#"{"errcode":0,"errmsg":"ok"}"#.to_owned();
    let (url, heard) = receiver(vec![good.clone(), good])?;
    let text = format!(
        "[[receiver]]\nname = \"ding\"\nkind = \"dingtalk\"\nurl = \"{url}\"\n\
         secret_file = \"%d/secret\"\nkeyword = \"值班\"\nlang = \"zh\"\n"
    );
    let (code, told, _) = test(&text, &["ding"])?;
    ensure!(code == 0, "{told}");
    let lines: Vec<_> = told.lines().collect();
    ensure!(lines[0].starts_with("firing    accepted, status 200, code 0, "), "{told}");
    ensure!(lines[1].starts_with("resolved  accepted, status 200, code 0, "), "{told}");
    let heard = heard.join().expect("the receiver panicked")?;
    for (first, body) in &heard {
        ensure!(first.contains("&timestamp=") && first.contains("&sign="), "{first}");
        let text = body["markdown"]["text"].as_str().context("text")?;
        ensure!(text.contains("值班") && text.contains("reachd 的测试"), "{text}");
    }
    Ok(())
}

#[test]
fn a_code_inside_of_200_is_told_and_fails() -> Result<()> {
    let bad = format!(r#"{{"errcode":310000,"errmsg":"keywords not in content {CANARY}"}}"#);
    let (url, heard) = receiver(vec![bad.clone(), bad])?;
    let text = format!("[[receiver]]\nname = \"d\"\nkind = \"dingtalk\"\nurl = \"{url}\"\n");
    let (code, told, _) = test(&text, &["d", "--json"])?;
    ensure!(code == 1, "{told}");
    let document: Value = serde_json::from_str(told.lines().next().context("a line")?)?;
    ensure!(document["outcome"] == "refused" && document["code"] == "310000", "{told}");
    ensure!(document["status"] == 200 && document["step"] == "firing", "{told}");
    let why = document["why"].as_str().context("why")?;
    ensure!(why.ends_with("keywords not in content (hidden)"), "{why}");
    heard.join().expect("the receiver panicked")?;
    Ok(())
}

#[test]
fn a_program_is_a_receiver_too() -> Result<()> {
    let text = "[[receiver]]\nname = \"c\"\nkind = \"command\"\n\
                command = [\"/bin/sh\", \"-c\", \"grep -q '\\\"version\\\":\\\"4\\\"' || exit 65\"]\n";
    let (code, told, said) = test(text, &["c"])?;
    ensure!(code == 0 && told.starts_with("firing    accepted, status 0, "), "{told}{said}");
    Ok(())
}

#[test]
fn what_cannot_be_sent_at_all_is_a_matter_of_configuration() -> Result<()> {
    let text = "[[receiver]]\nname = \"ops\"\nurl = \"http://169.254.169.254/latest\"\n";
    let (code, told, said) = test(text, &["ops"])?;
    ensure!(code == 2 && told.is_empty() && said.contains("link-local"), "{told}{said}");
    let (code, told, said) = test(text, &["nobody"])?;
    ensure!(code == 2 && told.is_empty() && said.contains("it has ops"), "{told}{said}");
    let missing = "[[receiver]]\nname = \"s\"\nkind = \"slack\"\nurl_file = \"%d/nothing\"\n";
    let (code, _, said) = test(missing, &["s"])?;
    ensure!(code == 2 && said.contains("%d/nothing"), "{said}");
    Ok(())
}
