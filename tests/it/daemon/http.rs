//! The HTTP interface of a daemon at work: probes on demand, state, proof, and hostile clients.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_lab::{inside, server, test_name};

use super::harness::{Daemon, Ground, REACHD, SOON, START, lint, pipe, record, until};
use super::page::Page;
use super::scene::{QUICK, Scene};

const TIMEOUT: &str = "X-Prometheus-Scrape-Timeout-Seconds";

fn start(scene: &Scene, more: &str) -> Result<Daemon> {
    let text =
        format!("{QUICK}{more}{}{}", scene.target("t", "t", 3389), scene.target("n2", "n2", 3389),);
    let daemon = Ground::new(&scene.chain.v1, &text)?.start()?;
    daemon.until_page("both have a verdict", START, |page| {
        page.class("t").as_deref() == Some("reachable")
            && page.class("n2").as_deref() == Some("port_closed")
    })?;
    Ok(daemon)
}

/// Probes on demand and gives the page, which must be clean.
fn probe(daemon: &Daemon, target: &str, module: &str) -> Result<Page> {
    let answer = daemon.get(&format!("/probe?target={target}&module={module}"))?;
    ensure!(answer.status == 200, "{target} {module}: {} {}", answer.status, answer.text());
    lint(&answer.text())?;
    Page::parse(&answer.text())
}

fn expect(page: &Page, success: f64, class: &str) -> Result<()> {
    let found = page.value("probe_success", &[]);
    ensure!(found == Some(success), "probe_success {found:?}: {}", page.text);
    let is_class = page.value("reachd_probe_class", &[("class", class)]) == Some(1.0);
    ensure!(is_class, "not {class}: {}", page.text);
    let took = page.value("probe_duration_seconds", &[]);
    ensure!(took.is_some_and(|took| took >= 0.0), "no duration: {}", page.text);
    Ok(())
}

#[test]
fn planned_targets_are_probed_from_state_and_others_refused() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let lan = &scene.chain.lan;
        let daemon = start(&scene, "")?;
        let (t, n1, n2) = (lan.target_at.v4, lan.n1_at.v4, lan.n2_at.v4);
        expect(&probe(&daemon, "t", "rdp")?, 1.0, "reachable")?;
        for module in ["rdp", "tcp_connect", "full"] {
            expect(&probe(&daemon, &format!("{t}:3389"), module)?, 1.0, "reachable")?;
            expect(&probe(&daemon, &format!("{n2}:3389"), module)?, 0.0, "port_closed")?;
        }
        expect(&probe(&daemon, &t.to_string(), "icmp")?, 1.0, "reachable")?;
        expect(&probe(&daemon, &n2.to_string(), "icmp")?, 1.0, "port_closed")?;

        // From state: not one packet more than the watch itself sends.
        let accepted = scene.servers.first().context("a server")?.accepted();
        for _ in 0..30 {
            probe(&daemon, "t", "rdp")?;
        }
        let more = scene.servers.first().context("a server")?.accepted() - accepted;
        ensure!(more <= 2, "{more} connections for 30 probes of a planned target");

        for (target, module) in [(n1.to_string(), "rdp"), (format!("{t}:22"), "tcp_connect")] {
            let path = format!("/probe?target={target}&module={module}");
            let answer = daemon.get(&path)?;
            ensure!(answer.status == 403, "{path}: {} {}", answer.status, answer.text());
            ensure!(answer.text().contains("[probe_api]"), "no fix: {}", answer.text());
        }
        for wrong in
            ["", "?target=t", "?module=rdp", "?target=t&module=http_2xx", "?target=a/b&module=rdp"]
        {
            let answer = daemon.get(&format!("/probe{wrong}"))?;
            ensure!(answer.status == 400, "{wrong}: {} {}", answer.status, answer.text());
        }
        Ok(())
    });
}

#[test]
fn allowed_addresses_are_probed_within_the_scrapes_time() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let lan = &scene.chain.lan;
        let daemon = start(&scene, &format!("[probe_api]\nallow = [\"{}/32\"]\n", lan.n1_at.v4))?;
        let n1 = lan.n1_at.v4;
        expect(&probe(&daemon, &n1.to_string(), "rdp")?, 1.0, "reachable")?;
        expect(&probe(&daemon, &n1.to_string(), "ssh_banner")?, 1.0, "reachable")?;
        expect(&probe(&daemon, &format!("{n1}:22"), "tcp_connect")?, 1.0, "reachable")?;
        expect(&probe(&daemon, &n1.to_string(), "icmp")?, 1.0, "reachable")?;
        expect(&probe(&daemon, &format!("{n1}:99"), "tcp_connect")?, 0.0, "port_closed")?;
        let path = format!("/probe?target={}:22&module=tcp_connect", lan.target_at.v4);
        ensure!(daemon.get(&path)?.status == 403, "an address beside the allowed one is probed");

        let _hole = lab.blackhole_route(scene.chain.gateway(), lan.n1_at)?;
        for seconds in [2.0, 4.0] {
            let begun = Instant::now();
            let header = format!("{TIMEOUT}: {seconds}");
            let path = format!("/probe?target={n1}&module=rdp");
            let answer = daemon.request("GET", &path, &[&header])?;
            let took = begun.elapsed();
            record(&format!("http: /probe with {seconds} s took {:.2} s", took.as_secs_f64()));
            ensure!(
                took < Duration::from_secs_f64(seconds),
                "{took:?} with a limit of {seconds} s"
            );
            ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
            let page = Page::parse(&answer.text())?;
            ensure!(page.value("probe_success", &[]) == Some(0.0), "{}", page.text);
            lint(&page.text)?;
        }
        Ok(())
    });
}

#[test]
fn state_and_proof_are_told() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let daemon = start(&scene, "")?;
        let body = daemon.json("/api/v1/targets")?;
        let targets = body["targets"].as_array().context("targets")?;
        ensure!(targets.len() == 2, "{body}");
        for target in targets {
            fits_schema(&target["report"])?;
        }
        scene.receiver.wait_for(1, SOON)?;
        let incidents = daemon.json("/api/v1/incidents")?;
        let [incident] = &incidents["incidents"].as_array().context("incidents")?[..] else {
            anyhow::bail!("not one incident: {incidents}")
        };
        ensure!(incident["class"] == "port_closed" && incident["state"] == "firing", "{incident}");
        let id = incident["fingerprint"].as_str().context("a fingerprint")?;
        let answer = daemon.get(&format!("/api/v1/incidents/{id}/evidence.pcapng"))?;
        ensure!(answer.status == 200, "{}", answer.text());
        packets_show_a_reset(&daemon, &answer.body, &scene.chain.lan.n2_at.v4.to_string())?;
        evidence_is_saved(&scene, &daemon, id)?;
        for none in ["0123456789abcdef", "..%2f..%2fetc%2fpasswd", "%00"] {
            let answer = daemon.get(&format!("/api/v1/incidents/{none}/evidence.pcapng"))?;
            ensure!(answer.status == 404, "{none}: {}", answer.status);
        }
        let page = daemon.get("/")?;
        ensure!(page.status == 200 && page.text().contains("port closed"), "{}", page.text());
        status_agrees(&scene)
    });
}

pub(super) fn fits_schema(report: &serde_json::Value) -> Result<()> {
    let path = super::harness::repository("deploy/schema/verdict.schema.json");
    let schema = std::fs::read_to_string(path).context("read the schema")?;
    let schema = serde_json::from_str(&schema).context("read the schema")?;
    let validator = jsonschema::validator_for(&schema).map_err(|e| anyhow::anyhow!("{e}"))?;
    let errors: Vec<_> = validator.iter_errors(report).map(|error| error.to_string()).collect();
    ensure!(errors.is_empty(), "{errors:#?}");
    Ok(())
}

/// As nobody in particular, for as root tcpdump would become somebody a sandbox does not know.
pub(super) fn packets_show_a_reset(daemon: &Daemon, packets: &[u8], host: &str) -> Result<()> {
    let path = daemon.ground()?.path("evidence.pcapng");
    std::fs::write(&path, packets).context("write the packets")?;
    let path = path.display().to_string();
    let (read, told) = pipe("unshare", &["--user", "tcpdump", "-nr", &path], b"")?;
    ensure!(read, "tcpdump cannot read it: {told}");
    let of = |text: String| told.lines().filter(|line| line.contains(&text)).count();
    let asked = of(format!("> {host}.3389: Flags [S]"));
    let reset = told.lines().filter(|l| l.contains(&format!("{host}.3389 >")) && l.contains("[R"));
    ensure!(asked > 0 && reset.count() > 0, "no SYN and reset of {host}: {told}");
    let hosts: Vec<&str> = told.lines().filter(|line| line.contains(" IP ")).collect();
    // Routers on the way quote a packet to the host; only a longer listing shows that.
    let concerns = |line: &&str| line.contains(host) || line.contains("time exceeded");
    let foreign = hosts.into_iter().find(|line| !concerns(line));
    ensure!(foreign.is_none(), "a packet of somebody else: {foreign:?}");
    Ok(())
}

/// `reachd evidence` writes the same, and nothing over what is there.
fn evidence_is_saved(scene: &Scene, daemon: &Daemon, id: &str) -> Result<()> {
    let path = daemon.ground()?.path("saved.pcapng").display().to_string();
    let save = |id: &str| scene.chain.v1.exec(&[REACHD, "evidence", id, "--pcap", &path]);
    let saved = save(&id[..6])?;
    ensure!(saved.status.success(), "{saved:?}");
    let packets = std::fs::read(&path).context("read what was saved")?;
    ensure!(packets.starts_with(b"\x0a\x0d\x0d\x0a"), "no pcapng");
    let again = save(id)?;
    ensure!(!again.status.success() && again.stderr.contains("saved.pcapng"), "{again:?}");
    let unknown = save("ffffff")?;
    ensure!(unknown.stderr.contains("no open incident"), "{unknown:?}");
    ensure!(std::fs::read(&path).context("read it again")? == packets, "written over");
    Ok(())
}

fn status_agrees(scene: &Scene) -> Result<()> {
    let run = |words: &[&str]| scene.chain.v1.exec(&[&[REACHD, "status"], words].concat());
    let all = run(&[])?;
    ensure!(all.status.code() == Some(1), "{all:?}");
    for line in ["t ", "n2 ", "reachable", "port_closed"] {
        ensure!(all.stdout.contains(line), "{line} is not in {}", all.stdout);
    }
    let one = run(&["t"])?;
    ensure!(one.status.code() == Some(0) && one.stdout.lines().count() == 1, "{one:?}");
    let json = run(&["n2", "--json"])?;
    let document: serde_json::Value = serde_json::from_str(&json.stdout).context("its JSON")?;
    ensure!(document["class"] == "port_closed" && json.status.code() == Some(1), "{document}");
    let stranger = run(&["nobody"])?;
    ensure!(
        stranger.status.code() == Some(2) && stranger.stderr.contains("nobody"),
        "{stranger:?}"
    );
    let nowhere = run(&["--address", "127.0.0.1:1"])?;
    let says = nowhere.stderr.contains("127.0.0.1:1") && nowhere.stderr.contains("reachd run");
    ensure!(nowhere.status.code() == Some(2) && says, "{nowhere:?}");
    Ok(())
}

/// What a hostile client sends; the connection is then held open.
fn hostile() -> Vec<Vec<u8>> {
    vec![
        Vec::new(),
        b"GET /metrics HTTP/1.1\r\nHost: ".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        [b"GET /".as_slice(), &[b'a'; 100_000]].concat(),
        [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'b'; 100_000]].concat(),
        b"POST /-/reload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n".to_vec(),
        b"POST /-/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"
            .to_vec(),
        b"\x00\xff\xfe\x00\r\n\r\n".to_vec(),
        b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n".repeat(2_000),
    ]
}

#[test]
fn hostile_clients_disturb_nobody() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let daemon = start(&scene, "")?;
        let invalid =
            |page: &Page| page.sum("reachd_probe_packets_invalid_total", &[("target", "t")]);
        let sent = |page: &Page| page.sum("reachd_probe_packets_sent_total", &[("target", "t")]);
        let before = daemon.metrics()?;
        let begun = Instant::now();

        let mut held = Vec::new();
        for _ in 0..10 {
            for bytes in hostile() {
                let mut stream = daemon.connect()?;
                stream.set_write_timeout(Some(Duration::from_millis(200))).context("a timeout")?;
                stream.set_nonblocking(true).context("nonblocking")?;
                // Being refused is what is hoped for; nothing is ever read.
                drop(stream.write(&bytes));
                held.push(stream);
            }
        }
        ensure!(held.len() == 90, "{} connections", held.len());
        // Whoever hangs is dropped after ten seconds, and then there is room for the honest.
        let page = until("a scrape among hostile clients", 3 * SOON, || Ok(daemon.metrics().ok()))?;
        record(&format!(
            "http: served {:.1} s after 90 hostile clients",
            begun.elapsed().as_secs_f64()
        ));
        let page = until("ten seconds of probes", 3 * SOON, || {
            let page = daemon.metrics().unwrap_or_else(|_| page.clone());
            Ok((sent(&page) >= sent(&before) + 20.0).then_some(page))
        })?;
        ensure!(invalid(&page) == invalid(&before), "samples were spoilt: {:#?}", page.story());
        ensure!(page.class("t").as_deref() == Some("reachable"), "{:#?}", page.story());
        ensure!(page.sum("reachd_bugs_total", &[]) == 0.0, "a bug counts");
        // An interval of a second, jittered by a twentieth, and a second at each end.
        let least = (begun.elapsed().as_secs_f64() / 1.05 - 2.0) * 2.0;
        ensure!(sent(&page) - sent(&before) >= least, "probing stalled");
        drop(held);
        Ok(())
    });
}

#[test]
fn requests_at_once_are_bounded_and_probing_goes_on() {
    inside(test_name!(), |lab| {
        let scene = Scene::build(lab)?;
        let daemon = start(&scene, "")?;
        let _unused = server::sink(&scene.chain.v1, 8099)?;
        let mut streams = Vec::new();
        for _ in 0..60 {
            let mut stream = daemon.connect()?;
            stream.write_all(b"GET /metrics HTTP/1.0\r\nHost: a\r\n\r\n").context("ask")?;
            streams.push(stream);
        }
        let (mut served, mut refused) = (0, 0);
        for mut stream in streams {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).context("read an answer")?;
            match super::harness::Answer::read(&bytes)?.status {
                200 => served += 1,
                503 => refused += 1,
                other => anyhow::bail!("answered {other}"),
            }
        }
        ensure!(served >= 1 && served + refused == 60, "{served} served, {refused} refused");
        ensure!(daemon.metrics()?.class("t").as_deref() == Some("reachable"), "disturbed");
        let output = Command::new(REACHD).arg("--version").output().context("run reachd")?;
        let version = String::from_utf8_lossy(&output.stdout).trim().replace("reachd ", "");
        let page = daemon.metrics()?;
        ensure!(
            page.value("reachd_build_info", &[("version", &version)]) == Some(1.0),
            "{version}"
        );
        Ok(())
    });
}
