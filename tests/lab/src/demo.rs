//! The demonstration itself. Outside a sandbox it starts itself again inside one.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Chain, ChainSpec, Lab, Match, check_machine, is_inside, sandbox_command};

/// Shows how `reachd check` judges a healthy target, four faults and the target healed.
pub(crate) fn run(reachd: Option<PathBuf>) -> Result<ExitCode> {
    let reachd = match reachd {
        Some(path) => path.canonicalize().with_context(|| format!("find {}", path.display()))?,
        None => find_reachd()?,
    };
    if is_inside() {
        Demo::build(reachd)?.show()?;
        return Ok(ExitCode::SUCCESS);
    }
    check_machine()?;
    let own = env::current_exe().context("find the demonstration's own program")?;
    let status = sandbox_command(own)
        .args(["demo", "--reachd"])
        .arg(reachd)
        .status()
        .context("start unshare, which is in the package util-linux")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finds the program beside this one or where cargo puts it.
pub(crate) fn find_reachd() -> Result<PathBuf> {
    let own = env::current_exe().context("find the demonstration's own program")?;
    let candidates = [
        own.with_file_name("reachd"),
        PathBuf::from("target/release/reachd"),
        PathBuf::from("target/debug/reachd"),
    ];
    if let Some(found) = candidates.iter().find(|path| path.is_file()) {
        return found.canonicalize().with_context(|| format!("find {}", found.display()));
    }
    bail!(
        "there is no reachd to show yet. Build it with:\n  cargo build --release\n\
         or name one with --reachd PATH"
    )
}

struct Demo {
    lab: Lab,
    chain: Chain,
    reachd: PathBuf,
}

impl Demo {
    fn build(reachd: PathBuf) -> Result<Self> {
        let mut lab = Lab::new()?;
        let chain = Chain::build(&mut lab, ChainSpec::default())?;
        Ok(Self { lab, chain, reachd })
    }

    fn show(&self) -> Result<()> {
        let Self { lab, chain, .. } = self;
        let target = &chain.lan.target;
        let at = chain.lan.target_at;
        let hops: Vec<String> = chain.hops.iter().map(|hop| hop.v4.to_string()).collect();
        println!(
            "A vantage at {}, routers at {}, and a target at {} that serves RDP.",
            chain.v1_at.v4,
            hops.join(", "),
            at.v4
        );

        let rdp = rdp_confirm(target, RDP)?;
        self.section("1. Healthy", "Nothing is wrong.")?;

        let fault = lab.blackhole_route(chain.r(2), at)?;
        self.section("2. Blackhole", "r2, the provider's edge, drops the target's address.")?;
        fault.heal()?;

        let fault = lab.bridge_drop(&chain.lan.switch, &Match::tcp(RDP).to(at))?;
        self.section("3. Security group", "The switch before the target drops TCP 3389.")?;
        fault.heal()?;

        rdp.stop();
        self.section("4. Port closed", "The target's RDP service has stopped.")?;
        let _rdp = rdp_confirm(target, RDP)?;

        let fault = lab.loss(chain.r(2), LOSS_PERCENT, &Match::all().to(at))?;
        self.section("5. Packet loss", "r2 drops 40 % of the packets toward the target.")?;
        fault.heal()?;

        self.section("6. Healed", "Every fault is gone and the service runs again.")
    }

    /// Prints a heading and lets `reachd` judge; its own exit status is part of the show.
    fn section(&self, title: &str, story: &str) -> Result<()> {
        let target = format!("{}:{RDP}", self.chain.lan.target_at.v4);
        println!("\n{}\n{title}. {story}\n\n$ reachd check {target}\n", "=".repeat(RULE_WIDTH));
        let status = self
            .chain
            .v1
            .command(&self.reachd)
            .args(["check", &target])
            .status()
            .with_context(|| format!("run {}", self.reachd.display()))?;
        println!("\n({status})");
        Ok(())
    }
}

const RDP: u16 = 3389;
const LOSS_PERCENT: f64 = 40.0;
const RULE_WIDTH: usize = 78;
