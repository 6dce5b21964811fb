//! Work must grow with the plan, not with its square.

use reachd_core::judge::Class;
use reachd_core::monitor::Purpose;
use reachd_core::time::Instant;
use reachd_sim::{Action, Cloud, Match, Run, address};

use crate::scene::{plan, rdp, s};

fn thousand(seed: u64) -> Run {
    let world = Cloud { vantages: 1, subnets: 5, hosts: 200, canaries: 0 }.build(seed);
    let hosts = (0..5).flat_map(|net| (10..210).map(move |host| rdp(address(net, host))));
    let plan = plan(&world, hosts.collect());
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run
}

#[test]
fn a_thousand_targets_for_ten_minutes() {
    let mut run = thousand(1);
    run.pass(s(600));
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::Reachable));
    assert!(run.incidents(Instant::ZERO).is_empty());
    // Two probes every ten seconds, a connect with 13 more every five minutes, a first survey.
    let per_target = run.checker.packets / 1_000;
    assert!((130..220).contains(&per_target), "{per_target} packets per target");
}

#[test]
fn a_subnet_of_two_hundred_fails_at_once() {
    let mut run = thousand(2);
    run.pass(s(120));
    run.world.router("g1").rule(Match::default(), Action::Drop);
    // The budget of 500 packets a second to one prefix spreads 200 surveys over half a minute.
    run.pass(s(90));
    let snapshot = run.monitor.snapshot();
    let failing = snapshot.targets.iter().filter(|row| row.class != Class::Reachable).count();
    assert_eq!(failing, 200);
}
