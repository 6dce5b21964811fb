//! What cannot be done is said: what, where, and what to do.

use std::fs;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Chain, Family, Hook, Match, inside, test_name};

use super::{RDP, SHORT};
use crate::support::{Ran, check, run};

/// Nothing is printed where a program would read it.
fn refused(ran: &Ran, words: &[&str]) -> Result<()> {
    ran.says(2, words)?;
    ensure!(ran.stdout.is_empty(), "printed {}", ran.stdout);
    Ok(())
}

#[test]
fn what_is_wrong_is_said_before_any_probe() {
    inside(test_name!(), |lab| {
        let v1 = lab.host("v1")?;
        let ask = |words: &str| run(check(&v1, words));
        let folder = tempfile::tempdir().context("make a folder")?;
        let broken = folder.path().join("broken.toml");
        fs::write(&broken, "[[target]]\nhost = \"a.test\"\nprot = 3389\n").context("write")?;
        let missing = folder.path().join("missing.toml");
        let (broken, missing) = (broken.display().to_string(), missing.display().to_string());

        refused(&ask("")?, &["HOST"])?;
        refused(&ask("10.9.0.10:0")?, &["10.9.0.10:0", "port"])?;
        refused(&ask("10.9.0.10:99999")?, &["10.9.0.10:99999", "port"])?;
        refused(&ask("[fd00::1")?, &["[fd00::1"])?;
        refused(&ask("10.9.0.10 --timeout 10")?, &["10s"])?;
        refused(&ask("10.9.0.10 --service ftp")?, &["ftp", "rdp"])?;
        refused(&ask("10.9.0.10 -4 -6")?, &["-4", "-6"])?;
        refused(&ask("10.9.0.10 --source 10.1.0.1 --netns x")?, &["--source", "--netns"])?;
        refused(&ask("10.9.0.10 --source here")?, &["here", "--source"])?;
        refused(&ask(&format!("10.9.0.10 --config {missing}"))?, &[&missing, "No such file"])?;
        refused(&ask(&format!("10.9.0.10 --config {broken}"))?, &[&broken, "prot", "port"])?;
        let folder = folder.path().display().to_string();
        refused(&ask(&format!("10.9.0.10 --config {folder}"))?, &[&folder])
    });
}

/// A vantage that is not there: a verdict on ourselves, exit 3, and the name of what is missing.
#[test]
fn a_missing_vantage_is_our_own_fault() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let target = chain.lan.target_at.v4;
        for (option, value) in
            [("--netns", "nowhere"), ("--interface", "eth77"), ("--source", "10.77.0.1")]
        {
            let ran = run(check(&chain.v1, &format!("{target} {option} {value} --json")))?;
            let seen = ran.verdicts()?;
            let [seen] = &seen[..] else { anyhow::bail!("{option}: {ran:?}") };
            seen.is_sound().and_then(|()| seen.is("vantage_fault")).context(option)?;
            ran.says(3, &[value]).context(option)?;
            ensure!(ran.took.as_secs() < 5, "{option} took {:?}", ran.took);
            let ran = run(check(&chain.v1, &format!("{target} {option} {value}")))?;
            ran.says(3, &[value, "doctor"]).context(option)?;
        }
        Ok(())
    });
}

/// Packets that cannot be written are found out before any is sent.
#[test]
fn an_unwritable_capture_is_said() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let target = chain.lan.target_at.v4;
        let meter = lab.filter(
            chain.r(1),
            Hook::Prerouting,
            &Match::all().from(chain.v1_at).family(Family::V4),
            "counter name taken accept",
        )?;
        let ran = run(check(&chain.v1, &format!("{target} --pcap /nowhere/at/all.pcapng")))?;
        refused(&ran, &["/nowhere/at/all.pcapng", "No such file"])?;
        let sent = meter.counters()?.seen;
        ensure!(sent == 0, "{sent} packets were sent before it was noticed");
        Ok(())
    });
}
