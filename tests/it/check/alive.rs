//! The host lives and one port misbehaves: a port for each way, all looked at together.

use std::io::{Read, Write};

use anyhow::Result;
use reachd_lab::server::{self, TcpServer};
use reachd_lab::{
    Chain, ChainSpec, Fault, Injector, Lab, Match, Node, Vpc, VpcSpec, With, inside, rst_injector,
    test_name,
};

use super::{LONG, RDP, SHORT, both};
use crate::support::{Round, Seen, check};

type Expectation = fn(&Seen) -> Result<()>;

/// A port of the target, what is wrong with it and what must be said of it.
struct Case {
    title: &'static str,
    port: u16,
    expect: Expectation,
}

/// What keeps the faults and services of a stage going.
#[derive(Default)]
struct Stage {
    faults: Vec<Fault>,
    servers: Vec<TcpServer>,
    injectors: Vec<Injector>,
    cases: Vec<Case>,
}

impl Stage {
    fn case(&mut self, title: &'static str, port: u16, expect: Expectation) {
        self.cases.push(Case { title, port, expect });
    }

    fn serve(&mut self, target: &Node, port: u16) -> Result<()> {
        self.servers.push(server::rdp_confirm(target, port)?);
        Ok(())
    }
}

#[test]
fn port_faults_behind_three_routers() {
    inside(test_name!(), |lab| look_at_ports(lab, SHORT, "3 routers, TTL 128"));
}

#[test]
fn port_faults_behind_six_routers() {
    inside(test_name!(), |lab| look_at_ports(lab, LONG, "6 routers, TTL 64"));
}

fn look_at_ports(lab: &mut Lab, spec: ChainSpec, variant: &str) -> Result<()> {
    let chain = Chain::build(lab, spec)?;
    let mut stage = Stage::default();
    filtered(lab, &chain, &mut stage)?;
    refused(lab, &chain, &mut stage)?;
    reset_by_the_path(lab, &chain, &mut stage)?;
    rejected(lab, &chain, &mut stage)?;
    answered_wrongly(&chain, &mut stage)?;
    let mut round = Round::default();
    for case in &stage.cases {
        for (family, target) in both(chain.lan.target_at, case.port) {
            let title = format!("{}, {family}, {variant}", case.title);
            round.ask(&title, check(&chain.v1, &format!("{target} --service rdp")), case.expect)?;
        }
    }
    round.finish()
}

fn filtered(lab: &Lab, chain: &Chain, stage: &mut Stage) -> Result<()> {
    let target = &chain.lan.target;
    let packets = |port| Match::tcp(port).to(chain.lan.target_at);
    for port in 4001..=4004 {
        stage.serve(target, port)?;
    }
    stage.faults.extend([
        lab.drop_forward(chain.gateway(), &packets(4001))?,
        lab.drop_prerouting(chain.r(2), &packets(4002))?,
        lab.drop_input(target, &packets(4003))?,
        lab.bridge_drop(&chain.lan.switch, &packets(4004))?,
        // No listener, and a firewall that hides so: what Windows calls stealth.
        lab.drop_output(target, &Match::tcp_from(4005).and("tcp flags & rst == rst"))?,
        // The same, when something else listens: the accept that is swallowed on its way out.
        lab.drop_output(target, &Match::tcp_from(4006))?,
    ]);
    let filtered: Expectation = |seen| {
        seen.surely("security_group", 0.9)?;
        seen.no_single_cause()?;
        seen.shows("syn", "silent")
    };
    stage.case("dropped in forward at the gateway", 4001, filtered);
    stage.case("dropped in prerouting at hop 2", 4002, filtered);
    stage.case("dropped by the host's firewall", 4003, filtered);
    stage.case("dropped by the switch", 4004, filtered);
    stage.case("service stopped under stealth", 4005, filtered);
    stage.case("all answers of the port dropped", 4006, filtered);
    Ok(())
}

fn refused(lab: &Lab, chain: &Chain, stage: &mut Stage) -> Result<()> {
    let packets = Match::tcp(4012).to(chain.lan.target_at);
    stage.faults.push(lab.reject_input(&chain.lan.target, &packets, With::TcpReset)?);
    let closed: Expectation = |seen| {
        seen.surely("port_closed", 0.9)?;
        seen.shows("reset_distance", "same")
    };
    stage.case("nothing listens", 4011, closed);
    stage.case("reset by the host's firewall", 4012, closed);
    Ok(())
}

fn reset_by_the_path(lab: &Lab, chain: &Chain, stage: &mut Stage) -> Result<()> {
    let packets = |port| Match::tcp(port).to(chain.lan.target_at);
    for port in 4021..=4023 {
        stage.serve(&chain.lan.target, port)?;
    }
    stage.faults.extend([
        lab.reject_forward(chain.gateway(), &packets(4021), With::TcpReset)?,
        lab.reject_forward(chain.r(1), &packets(4022), With::TcpReset)?,
    ]);
    stage.injectors.push(rst_injector(chain.r(2), 4023)?);
    let elsewhere: Expectation = |seen| {
        seen.surely("reset_injected", 0.9)?;
        seen.shows("reset_distance", "different")
    };
    stage.case("reset by the gateway", 4021, elsewhere);
    stage.case("reset by the first router", 4022, elsewhere);
    stage.case("a forged reset beside the answer", 4023, |seen| {
        seen.surely("reset_injected", 0.9)?;
        seen.shows("double_answer", "two_answers")
    });
    Ok(())
}

fn rejected(lab: &Lab, chain: &Chain, stage: &mut Stage) -> Result<()> {
    let packets = |port| Match::tcp(port).to(chain.lan.target_at);
    let (gateway, target) = (chain.gateway(), &chain.lan.target);
    stage.faults.extend([
        lab.reject_forward(gateway, &packets(4031), With::AdminProhibited)?,
        lab.reject_forward(chain.r(2), &packets(4032), With::PortUnreachable)?,
        lab.reject_input(target, &packets(4033), With::PortUnreachable)?,
        lab.reject_input(target, &packets(4034), With::AdminProhibited)?,
    ]);
    let prohibited: Expectation = |seen| {
        seen.surely("rejected", 0.8)?;
        seen.shows("unreachable", "prohibited")
    };
    let unreachable: Expectation = |seen| {
        seen.surely("rejected", 0.8)?;
        seen.shows("unreachable", "port_unreachable")
    };
    stage.case("prohibited by the gateway", 4031, prohibited);
    stage.case("port unreachable from hop 2", 4032, unreachable);
    stage.case("port unreachable from the host", 4033, unreachable);
    stage.case("prohibited by the host", 4034, prohibited);
    Ok(())
}

fn answered_wrongly(chain: &Chain, stage: &mut Stage) -> Result<()> {
    let target = &chain.lan.target;
    stage.serve(target, RDP)?;
    stage.servers.extend([
        server::silent(target, 4041)?,
        server::no_accept(target, 4042, 8)?,
        bad_request(target, 4043)?,
        server::ssh_banner(target, 4044)?,
    ]);
    let hung: Expectation = |seen| seen.surely("service_hung", 0.8);
    let wrong: Expectation = |seen| seen.surely("wrong_service", 0.8);
    stage.case("accepts and says nothing", 4041, hung);
    stage.case("never accepts", 4042, hung);
    stage.case("HTTP instead of RDP", 4043, wrong);
    stage.case("SSH instead of RDP", 4044, wrong);
    // In the middle of all that, the healthy port stays healthy.
    stage.case("healthy", RDP, |seen| seen.surely("reachable", 0.9));
    Ok(())
}

/// What web servers say to the first bytes of RDP.
fn bad_request(node: &Node, port: u16) -> Result<TcpServer> {
    server::serve(node, port, |mut stream| {
        // The first byte is wrong already.
        stream.read_exact(&mut [0])?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    })
}

/// The sides of a host firewall, a security group in the switch and a drop at the cloud's edge
/// cannot be told apart, and are not.
#[test]
fn a_cloud_security_group_is_no_more_than_that() {
    inside(test_name!(), |lab| {
        let vpc = Vpc::build(lab, VpcSpec::default())?;
        let at = vpc.lan.target_at;
        let mut servers = Vec::new();
        for port in 4001..=4003 {
            servers.push(server::rdp_confirm(&vpc.lan.target, port)?);
        }
        let _faults = [
            lab.bridge_drop(&vpc.lan.switch, &Match::tcp(4001).to(at))?,
            lab.drop_forward(&vpc.edge, &Match::tcp(4002).to(at))?,
            lab.drop_input(&vpc.lan.target, &Match::tcp(4003).to(at))?,
        ];
        let mut round = Round::default();
        let places = [(4001, "switch"), (4002, "edge"), (4003, "host")];
        for (port, place) in places {
            for (family, target) in both(at, port) {
                let title = format!("VPC, dropped at the {place}, {family}");
                let command = check(&vpc.v1, &format!("{target} --service rdp"));
                round.ask(&title, command, |seen| {
                    seen.surely("security_group", 0.9)?;
                    seen.no_single_cause()
                })?;
            }
        }
        round.finish()
    });
}
