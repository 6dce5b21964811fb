//! What is a loss and what is none: faults that come while somebody looks, and small losses.

use std::collections::BTreeMap;
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::time::Instant;
use reachd_sim::{Action, Cloud, Link, Loss, Match, Port, Run, Speaks, Transport, address};

use crate::scene::{look_for, plan, rdp, s};
use crate::watch::{HOST, class_of, judged};

/// Every class that was judged from a moment on.
fn classes_since(run: &Run, since: Instant) -> Vec<String> {
    let told = run.told.iter().filter(|(at, _)| *at >= since);
    let judged = told.filter_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(report.verdict.class.clone()),
        _ => None,
    });
    judged.collect()
}

/// A look that is under way when the fault comes, so long after the start, sees answers first and
/// then none, which must not be called a loss.
fn no_loss(seed: u64, after: Duration, fault: Match, expected: Class) {
    let world = Cloud { vantages: 1, subnets: 2, hosts: 2, canaries: 0 }.build(seed);
    let mut target = rdp(address(1, 11));
    target.connect_interval = s(6);
    let mut plan = plan(&world, vec![target]);
    plan.budget.connects_per_minute = 60;
    plan.budget.connects_per_hour = 3600;
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(after);
    assert_eq!(class_of(&run), Class::Reachable, "{after:?}");
    let began = run.now;
    run.world.router("e1").rule(fault, Action::Drop);
    run.until(began + s(60));
    assert_eq!(class_of(&run), expected, "{after:?}");
    let classes = classes_since(&run, began);
    let wrong = classes.iter().find(|class| *class == "packet_loss");
    assert!(wrong.is_none(), "{after:?}: {classes:?}");
}

#[test]
fn a_fault_in_the_middle_of_a_look_is_no_loss() {
    for step in 0..60 {
        no_loss(
            step,
            s(40) + Duration::from_millis(100 * step),
            Match::dest(HOST),
            Class::Blackhole,
        );
    }
}

/// The host still echoes.
#[test]
fn a_port_that_is_shut_in_the_middle_of_a_look_is_no_loss() {
    for step in 0..120 {
        let port = Match { transport: Transport::Port(3389), ..Match::dest(HOST) };
        no_loss(step, s(40) + Duration::from_millis(50 * step), port, Class::SecurityGroup);
    }
}

/// Three answers to three SYNs say little of a loss of 1 %, and nothing against health.
#[test]
fn a_small_threshold_makes_no_loss_of_none() {
    let world = Cloud { vantages: 1, subnets: 2, hosts: 2, canaries: 0 }.build(1);
    let mut target = rdp(address(1, 11));
    target.loss_threshold = 0.01;
    let plan = plan(&world, vec![target]);
    let mut run = Run::new(Purpose::Watch, 1, world);
    run.plan(&plan);
    run.pass(s(120));
    assert_eq!(class_of(&run), Class::Reachable);
    assert!(run.wait(s(600), judged("packet_loss")).is_none());
}

/// A dozen probes often get through a small loss unharmed, which takes nothing back.
#[test]
fn a_small_loss_stays_named_until_it_is_over() {
    for seed in 0..12 {
        let world = Cloud { vantages: 2, subnets: 2, hosts: 2, canaries: 0 }.build(seed);
        let plan = plan(&world, vec![rdp(address(1, 11))]);
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(s(60));
        run.world.router("g1").forth = Link::new(Loss::Independent(0.15));
        assert!(run.wait(s(300), judged("packet_loss")).is_some(), "seed {seed}");
        let named = run.now;
        run.pass(s(300));
        let classes = classes_since(&run, named);
        let all = classes.iter().all(|class| class == "packet_loss");
        assert!(all, "seed {seed}: {classes:?}");
        assert_eq!(run.steps(named, IncidentState::Firing).len(), 1, "seed {seed}");
        run.world.router("g1").forth = Link::new(Loss::None);
        assert!(run.wait(s(40), judged("reachable")).is_some(), "seed {seed}");
        run.pass(s(120));
        assert_eq!(class_of(&run), Class::Reachable, "seed {seed}");
        run.checker.check_books(run.now, &run.monitor.snapshot());
    }
}

/// Who has a minute and a half to spare may be told of 5 %: a count that leaves it open goes on.
/// Where the first nineteen probes all return, as they do in two looks of five, nobody asks on.
#[test]
fn a_patient_look_counts_until_a_small_loss_is_clear() {
    let looks = |ratio: f64, threshold: f64| {
        let of = |seed: u64| {
            let mut world = Cloud { vantages: 1, subnets: 1, hosts: 1, canaries: 0 }.build(seed);
            world.router("x1").forth = Link::new(Loss::Independent(ratio));
            let mut target = rdp(address(0, 10));
            target.loss_threshold = threshold;
            let plan = plan(&world, vec![target]);
            let look = look_for(s(90), world, &plan, seed);
            assert!(look.packets() <= 160, "seed {seed}: {} packets", look.packets());
            look.class() == "packet_loss"
        };
        (0..80).filter(|seed| of(*seed)).count()
    };
    let (of_loss, of_health) = (looks(0.05, 0.02), looks(0.01, 0.05));
    assert!(of_loss >= 40 && of_health <= 1, "{of_loss} and {of_health} of 80");
}

/// Whatever is lost of a look at the service, nobody waits longer than is promised (DESIGN
/// section 9), nor where the service is slow besides.
#[test]
fn a_check_through_losses_ends_in_time() {
    let late = |millis| Speaks::Late(Duration::from_millis(millis));
    let services = [Speaks::Expected, late(900), late(2_700)];
    for seed in 0..240 {
        let mut world = Cloud { vantages: 1, subnets: 1, hosts: 1, canaries: 0 }.build(seed);
        let speaks = services[usize::try_from(seed % 3).unwrap()].clone();
        world.host("10.0.0.10").ports.insert(3389, Port::Open(speaks));
        let ratio = [0.1, 0.3, 0.5, 0.7][usize::try_from(seed % 4).unwrap()];
        world.router("x1").forth = Link::new(Loss::Independent(ratio));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look_for(s(25), world, &plan, seed);
        assert!(look.took <= s(12), "seed {seed}: {:?}", look.took);
    }
}

/// Of all packets, or of TCP's, most are lost, requests and their repetitions among them now and
/// then: that is a loss and nothing else, whatever went missing. Eight SYNs and a connection that
/// all came through are none.
#[test]
fn a_heavy_loss_is_called_nothing_else() {
    let mut said = BTreeMap::new();
    // The last of them connects after three seconds and hears nothing for seven.
    for seed in (0..300).chain([1_464]) {
        let mut world = Cloud { vantages: 1, subnets: 1, hosts: 1, canaries: 0 }.build(seed);
        if seed % 2 == 0 {
            world.router("x1").forth = Link::new(Loss::Independent(0.6));
        } else {
            let port = Match { transport: Transport::Port(3389), ..Match::dest("10.0.0.10") };
            world.router("x1").rule(port, Action::DropSome(0.5));
        }
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look_for(s(25), world, &plan, seed);
        assert!(look.took <= s(12), "seed {seed}: {:?}", look.took);
        *said.entry(look.class().to_owned()).or_insert(0) += 1;
    }
    let named = said.remove("packet_loss").unwrap_or(0);
    let open = said.remove("unknown").unwrap_or(0);
    let unseen = said.remove("reachable").unwrap_or(0);
    assert!(said.is_empty(), "{said:?}");
    assert!(unseen <= 4 && open <= 6, "{named} named, {unseen} unseen, {open} open");
}
