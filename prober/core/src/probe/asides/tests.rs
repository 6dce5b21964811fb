use std::time::Duration;

use super::{About, Asides};
use crate::evidence::{Answer, AnswerKind, InvalidReason, Observation};
use crate::probe::{Engine, Question};
use crate::time::Instant;

const CANARY: About = About::Canary(3391);

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(millis))
}

fn seen(answer: Answer) -> Observation {
    Observation { answer, sent: None, arrived: None }
}

fn echo() -> Answer {
    Answer::EchoReply { ttl: Some(60) }
}

#[test]
fn each_is_asked_once_and_apart() {
    let mut asides = Asides::default();
    for about in [CANARY, About::Alternate(3390), CANARY] {
        asides.ask(at(0), about);
    }
    assert_eq!(asides.poll_ask(at(0)).unwrap().what, Question::Syn { port: 3391 });
    assert!(asides.poll_ask(at(50)).is_none());
    assert_eq!(asides.poll_timeout(), Some(at(100)));
    assert_eq!(asides.poll_ask(at(100)).unwrap().what, Question::Syn { port: 3390 });
    asides.ask(at(200), CANARY);
    assert!(asides.poll_ask(at(10_000)).is_none());
    assert!(!asides.is_done());
    for ask in [0, 1] {
        asides.handle_observation(at(3_100), ask, &seen(Answer::Silence));
    }
    assert!(asides.is_done());
    assert_eq!(asides.fates().canary(), Some(AnswerKind::Silence));
}

#[test]
fn an_unanswered_one_may_be_asked_a_second_time_only() {
    let mut asides = Asides::default();
    let patience = Duration::from_secs(1);
    asides.ask(at(0), CANARY);
    assert!(asides.poll_ask(at(0)).is_some());
    asides.ask_again(at(900), CANARY, patience);
    assert!(asides.poll_ask(at(900)).is_none());
    asides.ask_again(at(1_000), CANARY, patience);
    assert!(asides.poll_ask(at(1_000)).is_some());
    asides.ask_again(at(2_500), CANARY, patience);
    assert!(asides.poll_ask(at(2_500)).is_none());
}

#[test]
fn an_answer_outweighs_silence_and_our_own_faults_say_nothing() {
    let neighbour = About::Neighbour([10, 0, 0, 9].into());
    let mut asides = Asides::default();
    asides.ask(at(0), neighbour);
    asides.ask(at(0), CANARY);
    assert_eq!(asides.elsewhere().collect::<Vec<_>>(), [std::net::IpAddr::from([10, 0, 0, 9])]);
    assert_eq!(asides.poll_ask(at(0)).unwrap().what, Question::Echo);
    assert!(asides.poll_ask(at(100)).is_some());
    asides.handle_observation(at(3_000), 0, &seen(Answer::Silence));
    asides.handle_observation(at(3_000), 1, &seen(Answer::Invalid(InvalidReason::Lag)));
    asides.handle_afterthought(at(3_500), 0, &seen(echo()));
    assert_eq!(asides.fates().canary(), None);
    assert_eq!(asides.fates().0.get(&neighbour), Some(&AnswerKind::EchoReply));
    assert!(!asides.fates().is_host_alive(), "a neighbour's life is not the host's");
}
