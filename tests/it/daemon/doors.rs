//! A daemon behind TLS and passwords: what a real Prometheus and `reachd status` see of it.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, test_name};

use super::harness::{Ground, LISTEN, REACHD, START, until};
use super::scene::Scene;
use super::scraper::Scraper;

/// bcrypt of `open sesame`, at the lowest cost.
const SESAME: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

#[test]
fn prometheus_scrapes_through_tls_and_a_password() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("[listen]\nweb_config = \"web.yml\"\n{}", scene.target("t", "t", 3389));
        let ground = Ground::new(&scene.chain.v1, &text)?;
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
        ground.write("a.crt", &made.cert.pem())?;
        ground.write("a.key", &made.signing_key.serialize_pem())?;
        let web = format!(
            "tls_server_config: {{ cert_file: a.crt, key_file: a.key }}\n\
             basic_auth_users: {{ prometheus: \"{SESAME}\" }}\n"
        );
        ground.write("web.yml", &web)?;
        let authority = ground.path("a.crt");
        let daemon = ground.launch()?;
        let more = |password: &str| {
            format!(
                "    scheme: https\n    basic_auth: {{ username: prometheus, password: {password} }}\n    \
                 tls_config: {{ ca_file: '{}' }}\n",
                authority.display()
            )
        };
        let scraper = Scraper::start_with(&scene.chain.v1, &more("open sesame"))?;
        until("the target is told", START, || {
            let classes = scraper.classes()?;
            let told = classes.contains(&("t".to_owned(), "reachable".to_owned()));
            Ok(told.then_some(()))
        })?;
        drop(scraper);
        drop(daemon);
        Ok(())
    });
}

#[test]
fn status_gives_its_password_and_says_what_is_missing() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let text = format!("[listen]\nweb_config = \"web.yml\"\n{}", scene.target("t", "t", 3389));
        let ground = Ground::new(&scene.chain.v1, &text)?;
        ground.write("web.yml", &format!("basic_auth_users: {{ ali: \"{SESAME}\" }}\n"))?;
        ground.write("right", "ali:open sesame\n")?;
        ground.write("wrong", "ali:open barley\n")?;
        ground.write("none", "ali\n")?;
        let daemon = ground.start()?;
        ensure!(daemon.get("/metrics")?.status == 401);
        let ask = |file: Option<&str>| -> Result<(Option<i32>, String)> {
            let mut command = scene.chain.v1.command(REACHD);
            command.args(["status", "--address", &LISTEN.to_string()]);
            if let Some(file) = file {
                command.arg("--auth-file").arg(daemon.ground()?.path(file));
            }
            let done = output(&mut command)?;
            Ok((done.0, done.1 + &done.2))
        };
        until("the target is told", START, || {
            let (code, said) = ask(Some("right"))?;
            Ok((code == Some(0) && said.contains("reachable")).then_some(()))
        })?;
        for (file, hint) in [
            (None, "--auth-file FILE"),
            (Some("wrong"), "--auth-file"),
            (Some("none"), "name:password"),
        ] {
            let (code, said) = ask(file)?;
            ensure!(code != Some(0) && said.contains(hint), "{file:?}: {code:?} {said}");
            ensure!(!said.contains("barley"), "{said}");
        }
        Ok(())
    });
}

/// Code, standard output and standard error of a short command.
fn output(command: &mut Command) -> Result<(Option<i32>, String, String)> {
    let done = command.stdin(Stdio::null()).output().context("run it")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((done.status.code(), text(&done.stdout), text(&done.stderr)))
}
