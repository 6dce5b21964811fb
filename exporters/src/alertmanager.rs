//! Alertmanager's API, version 2: level-triggered. Every instance of a cluster is told every 30 s
//! what is open, and for a quarter of an hour what is over.
//!
//! There is no queue and nothing is kept on disk: a push that fails is made up for by the next, and
//! after a restart what is still open is offered again. An alert that nobody repeats ends in
//! Alertmanager by itself after two minutes. The guarantee of delivery is the webhook's; this path
//! leaves grouping, silences and the choice of people to Alertmanager.
//!
//! Labels are an alert's identity there, so they hold nothing that changes or that two daemons with
//! one plan could see differently: the class is an annotation. Tasks: one per receiver
//! ([`AlertmanagerTask::run`], owned by the caller) and one request per instance, owned by it.

mod board;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use reachd_core::incident::IncidentUpdate;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::board::Board;
use crate::carry::gate::Seat;
use crate::carry::{CarrierError, Poster, Route};
use crate::outbox::Exporter;
use crate::prometheus::NotificationOutcome;
use crate::store::{OutboxRow, Rendered};
use crate::webhook::delivery::Outcome;
use crate::webhook::payload::Context;
use crate::webhook::{Settings, Surroundings};

/// How often each instance is told.
const EVERY: Duration = Duration::from_secs(30);

/// How soon an instance is told again that did not listen.
const AGAIN: Duration = Duration::from_secs(5);

/// Makes a receiver of all instances of a cluster, by the URLs of their roots.
pub fn alertmanager(
    settings: Settings,
    urls: &[String],
    surroundings: Surroundings,
) -> Result<(Arc<Alertmanager>, AlertmanagerTask), CarrierError> {
    let mut instances = Vec::new();
    for url in urls {
        let route = Route { url: api(url), ..settings.route() };
        let poster = Arc::new(Poster::new(&settings.name, &route)?);
        instances.push(Instance { poster, due: Instant::now(), busy: false, behind: false });
    }
    surroundings.metrics.add_receiver(&settings.name);
    let seat = Arc::new(surroundings.gate.seat());
    let near = Arc::new(Alertmanager {
        settings,
        surroundings,
        board: Mutex::new(Board::default()),
        news: Notify::new(),
    });
    Ok((Arc::clone(&near), AlertmanagerTask { near, seat, instances }))
}

/// Where an instance takes alerts.
fn api(root: &str) -> String {
    let root = root.trim_end_matches('/');
    let root = root.strip_suffix("/api/v2/alerts").unwrap_or(root);
    format!("{}/api/v2/alerts", root.strip_suffix("/api/v2").unwrap_or(root))
}

/// Tells each instance of a cluster once that this update is so; what came of it, in their order.
pub async fn tell_once(
    settings: &Settings,
    urls: &[String],
    (update, context): (&IncidentUpdate, &Context<'_>),
) -> Result<Vec<crate::carry::Carried>, CarrierError> {
    let mut board = Board::default();
    let now = SystemTime::now();
    board.put(update, context, now);
    let mut told = Vec::new();
    for url in urls {
        let poster = Poster::new(&settings.name, &Route { url: api(url), ..settings.route() })?;
        for body in board.bodies(now) {
            told.push(poster.post(body.into()).await);
        }
    }
    Ok(told)
}

/// The near end: what is open.
pub struct Alertmanager {
    settings: Settings,
    surroundings: Surroundings,
    board: Mutex<Board>,
    news: Notify,
}

impl Exporter for Alertmanager {
    fn name(&self) -> &str {
        &self.settings.name
    }

    /// Nothing is queued: what is open is told again and again.
    fn render(&self, _update: &IncidentUpdate) -> Option<Rendered> {
        None
    }

    fn heard(&self, fingerprint: &str) -> bool {
        self.lock().is_open(fingerprint)
    }

    fn queue(&self, _incident: (&str, u64), _message: &Rendered) {}

    fn restore(&self, _row: &OutboxRow) {}

    fn note(&self, update: &IncidentUpdate) {
        self.tell(update);
    }
}

impl Alertmanager {
    /// Takes a step of an incident's life; every instance hears of it soon.
    pub fn tell(&self, update: &IncidentUpdate) {
        let mut board = self.lock();
        // Whatever is told as open must be told as over, and its annotations kept true.
        let wanted = || self.settings.wants(update) || self.settings.wants_late(update);
        if !board.is_open(&update.fingerprint) && !wanted() {
            return;
        }
        let context = Context {
            receiver: &self.settings.name,
            language: self.settings.language,
            external_url: &self.surroundings.external_url,
            clock: self.surroundings.clock.clone(),
        };
        board.put(update, &context, SystemTime::now());
        drop(board);
        self.news.notify_one();
    }

    /// Goes on with what another told, in whose place this one comes: an alert that nobody repeats
    /// would end in Alertmanager, and people would be told that it is over.
    pub fn inherit(&self, elder: &Self) {
        let rows = elder.lock().clone();
        *self.lock() = rows;
        self.news.notify_one();
    }

    /// The board is never left half-changed.
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Instance {
    poster: Arc<Poster>,
    due: Instant,
    busy: bool,
    /// It has not taken the last news.
    behind: bool,
}

/// The far end: pushes to the instances, and owns the requests in flight.
pub struct AlertmanagerTask {
    near: Arc<Alertmanager>,
    seat: Arc<Seat>,
    instances: Vec<Instance>,
}

impl AlertmanagerTask {
    /// Pushes until `stop`, then until every instance has the last news or `drain` has passed.
    /// Gives the number of instances that have not.
    pub async fn run(mut self, stop: impl Future<Output = ()>, drain: Duration) -> usize {
        let mut pushes: JoinSet<(usize, Result<(), Miss>)> = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        let mut deadline: Option<Instant> = None;
        loop {
            self.push(&mut pushes);
            let behind = self.instances.iter().filter(|instance| instance.behind).count();
            self.near.surroundings.metrics.queue(&self.near.settings.name, behind, None);
            if deadline.is_some_and(|at| behind == 0 || at <= Instant::now()) {
                return behind;
            }
            let idle = self.instances.iter().filter(|instance| !instance.busy);
            let next = idle.map(|instance| instance.due).min();
            let next = [next, deadline].into_iter().flatten().min();
            tokio::select! {
                () = &mut stop, if deadline.is_none() => deadline = Some(Instant::now() + drain),
                () = self.near.news.notified() => self.hurry(),
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)),
                    if next.is_some() => {}
                Some(ended) = pushes.join_next() => self.book(ended.ok()),
            }
        }
    }

    fn hurry(&mut self) {
        for instance in &mut self.instances {
            (instance.due, instance.behind) = (Instant::now(), true);
        }
    }

    /// Begins a push to every instance that is due.
    fn push(&mut self, pushes: &mut JoinSet<(usize, Result<(), Miss>)>) {
        let now = Instant::now();
        let due = |instance: &Instance| !instance.busy && instance.due <= now;
        if !self.instances.iter().any(due) {
            return;
        }
        let bodies = self.near.lock().bodies(SystemTime::now());
        for (index, instance) in self.instances.iter_mut().enumerate() {
            if instance.busy || instance.due > now {
                continue;
            }
            (instance.due, instance.behind) = (now + EVERY, !bodies.is_empty());
            if bodies.is_empty() {
                continue;
            }
            instance.busy = true;
            let (poster, bodies) = (Arc::clone(&instance.poster), bodies.clone());
            let seat = Arc::clone(&self.seat);
            pushes.spawn(async move {
                let _pass = seat.enter().await;
                (index, deliver(&poster, bodies).await)
            });
        }
    }

    fn book(&mut self, ended: Option<(usize, Result<(), Miss>)>) {
        let (receiver, metrics) = (&self.near.settings.name, &self.near.surroundings.metrics);
        // A push that panicked is a bug of ours; nobody knows which it was, so all are free again.
        let Some((index, result)) = ended else {
            self.instances.iter_mut().for_each(|instance| instance.busy = false);
            return;
        };
        let Some(instance) = self.instances.get_mut(index) else { return };
        instance.busy = false;
        let now = Instant::now();
        match result {
            Ok(()) => {
                // News may have come meanwhile: then it is due already.
                instance.behind = instance.due <= now;
                metrics.notified(receiver, NotificationOutcome::Delivered);
                debug!(receiver, instance = index, "Alertmanager took what is open");
            }
            Err(Miss::Away(why)) => {
                (instance.due, instance.behind) = (now + AGAIN, true);
                metrics.notified(receiver, NotificationOutcome::Retried);
                info!(receiver, instance = index, %why, "Alertmanager did not take what is open");
            }
            // Hurry does not help: the same is told again with the next push.
            Err(Miss::Refused(why)) => {
                instance.behind = true;
                metrics.notified(receiver, NotificationOutcome::Retried);
                warn!(receiver, instance = index, %why, "Alertmanager refused some of what is open");
            }
        }
    }
}

/// Why an instance does not have everything.
enum Miss {
    /// It does not answer, or has no time.
    Away(String),
    /// It takes no such thing.
    Refused(String),
}

/// Posts all bodies. One that is refused does not keep those behind it back: of its alerts the
/// instance has taken all but the bad ones.
async fn deliver(poster: &Poster, bodies: Vec<Vec<u8>>) -> Result<(), Miss> {
    let mut done = Ok(());
    for body in bodies {
        match poster.post(body.into()).await.outcome {
            Outcome::Accepted => {}
            Outcome::Retry { why, .. } => return Err(Miss::Away(why)),
            Outcome::Refused { why } => done = Err(Miss::Refused(why)),
            Outcome::Gone => done = Err(Miss::Refused("answered 410".to_owned())),
        }
    }
    done
}

#[cfg(test)]
mod tests;
