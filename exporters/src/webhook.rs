//! Alerts to a URL: one receiver, its queue and its task.
//!
//! [`webhook`] makes a pair: the [`Webhook`] takes messages (as an [`Exporter`]) and never waits,
//! the [`WebhookTask`] delivers them. Between them stands a [`Delivery`] behind a mutex that is
//! held for the time of a queue operation only. What the queue did comes out as [`Change`]s: they
//! feed the metrics, and are written back into the store's outbox, whose rows fill the queue after
//! a start.

pub mod client;
pub mod delivery;
pub mod payload;
pub mod settings;
pub mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_core::time::Instant;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use self::client::{Carrier, ClientError};
use self::delivery::{Change, Delivery, Late, Limits, Message, MessageId, Next, Outcome, Owed};
use self::payload::Context;
pub use self::settings::{Language, Matcher, SendMode, Settings};
use crate::carry::gate::{Gate, Seat};
use crate::clock::{WallClock, unix_millis};
use crate::outbox::Exporter;
use crate::prometheus::{NotificationOutcome, SelfMetrics};
use crate::receiver::Notice;
use crate::store::{Mark, OutboxRow, Rendered, State, WriteBack};

/// What every receiver of the daemon has in common.
#[derive(Clone)]
pub struct Surroundings {
    /// Where people reach the daemon's own pages, without a trailing slash; may be empty.
    pub external_url: String,
    /// The wall clock.
    pub clock: WallClock,
    /// Where notifications are counted.
    pub metrics: Arc<SelfMetrics>,
    /// Where what becomes of messages is left, on its way to the store.
    pub write_back: Arc<WriteBack>,
    /// What every delivery passes.
    pub gate: Gate,
}

/// Makes a receiver: the exporter to offer updates to, and the task that delivers them. `seed`
/// spreads the retries; give every receiver another one.
pub fn webhook(
    settings: Settings,
    surroundings: Surroundings,
    seed: u64,
) -> Result<(Arc<Webhook>, WebhookTask), ClientError> {
    let carrier = Arc::new(client::carrier(&settings)?);
    surroundings.metrics.add_receiver(&settings.name);
    let limits = Limits { backlog: settings.backlog, ..Limits::default() };
    let webhook = Arc::new(Webhook {
        settings,
        carrier,
        seat: Arc::new(surroundings.gate.seat()),
        surroundings,
        delivery: Mutex::new(Delivery::new(limits, seed)),
        wake: Notify::new(),
        origin: tokio::time::Instant::now(),
    });
    let task = WebhookTask { webhook: Arc::clone(&webhook) };
    Ok((webhook, task))
}

/// The near end of a receiver.
pub struct Webhook {
    settings: Settings,
    carrier: Arc<Carrier>,
    seat: Arc<Seat>,
    surroundings: Surroundings,
    delivery: Mutex<Delivery>,
    wake: Notify,
    origin: tokio::time::Instant,
}

impl Exporter for Webhook {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn render(&self, update: &IncidentUpdate) -> Option<Rendered> {
        let resolved = match update.state {
            IncidentState::Pending => return None,
            IncidentState::Firing => false,
            IncidentState::Resolved => true,
        };
        let open = self.lock().is_open(&update.fingerprint);
        let late = || !open && self.settings.wants_late(update);
        let owed = resolved && open;
        if !(owed || self.settings.wants(update) || late()) {
            return None;
        }
        let body = self.carrier.dialect().render(update, &self.context()).into();
        self.lock().announce(&update.fingerprint, resolved);
        let opened = self.surroundings.clock.rfc3339(update.started);
        Some(Rendered { receiver: self.settings.name.clone(), opened, resolved, body })
    }

    fn heard(&self, fingerprint: &str) -> bool {
        self.lock().is_open(fingerprint)
    }

    fn dead_letter_to(&self) -> Option<&str> {
        self.settings.dead_letter_to.as_deref()
    }

    fn render_notice(&self, notice: &Notice) -> Option<Rendered> {
        let body = self.carrier.dialect().render_notice(notice, &self.context()).into();
        let (receiver, resolved) = (self.settings.name.clone(), notice.resolved);
        Some(Rendered { receiver, opened: String::new(), resolved, body })
    }

    fn is_disabled(&self) -> bool {
        self.lock().is_disabled()
    }

    fn queue(&self, (fingerprint, version): (&str, u64), message: &Rendered) {
        let name = message.id((fingerprint, version));
        let id = MessageId { fingerprint: fingerprint.to_owned(), version };
        let (resolved, body) = (message.resolved, message.body.clone());
        let mut delivery = self.lock();
        delivery.offer(self.now(), Message { id, name, resolved, body, late: Late::default() });
        self.book(delivery);
        self.wake.notify_one();
    }

    fn settle_summed(&self, (fingerprint, version): (&str, u64)) {
        let id = MessageId { fingerprint: fingerprint.to_owned(), version };
        let mut delivery = self.lock();
        delivery.settle_summed(&id);
        self.book(delivery);
        self.wake.notify_one();
    }

    fn restore(&self, row: &OutboxRow) {
        self.restore_all(std::slice::from_ref(row));
    }

    fn restore_all(&self, rows: &[OutboxRow]) {
        let mut delivery = self.lock();
        rows.iter().for_each(|row| self.take_back(&mut delivery, row));
        self.book(delivery);
        self.wake.notify_one();
    }
}

impl Webhook {
    fn take_back(&self, delivery: &mut Delivery, row: &OutboxRow) {
        let wall = unix_millis(SystemTime::now());
        let span = |from: i64, to: i64| {
            Duration::from_millis(u64::try_from(to.saturating_sub(from)).unwrap_or_default())
        };
        match row.state {
            State::Delivered | State::Dead | State::Superseded => {
                let id = MessageId { fingerprint: row.fingerprint.clone(), version: row.version };
                delivery.remember(&id, row.resolved);
            }
            State::Pending => {
                let age = span(row.enqueued_ms, wall);
                // Written in the future: the clock went back, and its dates say nothing.
                let sane = row.updated_ms <= wall;
                let wait = if sane { span(wall, row.not_before_ms) } else { Duration::ZERO };
                let id = MessageId { fingerprint: row.fingerprint.clone(), version: row.version };
                let message = Message {
                    id,
                    name: row.msg_id.clone(),
                    resolved: row.resolved,
                    body: row.body.clone(),
                    late: Late::default(),
                };
                let (attempts, last_error) = (row.attempts, row.last_error.clone());
                let owed = Owed { message, attempts, age, wait, last_error };
                delivery.restore(self.now(), owed);
            }
        }
    }

    /// Messages that are not delivered yet.
    pub fn queued(&self) -> usize {
        self.lock().queued()
    }

    fn context(&self) -> Context<'_> {
        Context {
            receiver: &self.settings.name,
            language: self.settings.language,
            external_url: &self.surroundings.external_url,
            clock: self.surroundings.clock.clone(),
        }
    }

    fn now(&self) -> Instant {
        Instant::from_start(self.origin.elapsed())
    }

    /// The queue is never left half-changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts and notes what the queue did since last time.
    fn book(&self, mut delivery: MutexGuard<'_, Delivery>) {
        let (changes, queued) = (delivery.take_changes(), delivery.queued());
        let oldest = delivery.oldest(self.now());
        let (metrics, receiver) = (&self.surroundings.metrics, self.settings.name.as_str());
        // Under the lock, so that the last one to change the queue is the last one to tell.
        metrics.queue(receiver, queued, oldest);
        for change in &changes {
            self.note(change);
        }
        drop(delivery);
        for change in changes {
            match change {
                Change::Queued(id) => debug!(receiver, %id, "Queued"),
                Change::Superseded(id) => {
                    metrics.notified(receiver, NotificationOutcome::Superseded);
                    debug!(receiver, %id, "Notification superseded by a newer one");
                }
                Change::Digested(id) => {
                    metrics.notified(receiver, NotificationOutcome::Superseded);
                    debug!(receiver, %id, "Notification is told in a digest");
                }
                Change::Delivered(id, attempts) => {
                    metrics.notified(receiver, NotificationOutcome::Delivered);
                    debug!(receiver, %id, attempts, "Notification delivered");
                }
                Change::Retried(id, trial) if trial.refused => {
                    metrics.notified(receiver, NotificationOutcome::Refused);
                    warn!(receiver, %id, why = trial.why, "Receiver refuses a notification");
                }
                Change::Retried(id, _) => {
                    metrics.notified(receiver, NotificationOutcome::Retried);
                    debug!(receiver, %id, "Notification will be tried again");
                }
                Change::Dead(id, death) => {
                    metrics.notified(receiver, NotificationOutcome::Dead);
                    error!(receiver, %id, reason = %death, "Notification given up");
                }
                Change::Disabled => {
                    metrics.receiver_disabled(receiver);
                    error!(receiver, "Receiver answered 410 Gone: not used until the next reload");
                }
            }
        }
    }

    /// Leaves a change for the store.
    fn note(&self, change: &Change) {
        let plain = Mark::plain;
        let (id, mark) = match change {
            Change::Queued(_) | Change::Disabled => return,
            Change::Superseded(id) => (id, plain(State::Superseded)),
            Change::Digested(id) => (id, Mark { digest: true, ..plain(State::Superseded) }),
            Change::Delivered(id, attempts) => {
                (id, Mark { attempts: Some(*attempts), ..plain(State::Delivered) })
            }
            Change::Dead(id, death) => {
                let attempts = (death.attempts > 0).then_some(death.attempts);
                (id, Mark { attempts, error: Some(death.to_string()), ..plain(State::Dead) })
            }
            Change::Retried(id, trial) => {
                let wait = trial.again.since(self.now());
                let again = SystemTime::now().checked_add(wait).unwrap_or(SystemTime::UNIX_EPOCH);
                let mark = Mark {
                    attempts: Some(trial.attempts),
                    not_before_ms: Some(unix_millis(again)),
                    error: Some(trial.why.clone()),
                    ..plain(State::Pending)
                };
                (id, mark)
            }
        };
        let key = (self.settings.name.clone(), id.fingerprint.clone(), id.version);
        self.surroundings.write_back.leave(key, mark);
    }
}

/// Requests in flight and whose they are.
#[derive(Default)]
struct Flights {
    tasks: JoinSet<Outcome>,
    messages: HashMap<Id, MessageId>,
}

/// The far end of a receiver; owns every request in flight.
pub struct WebhookTask {
    webhook: Arc<Webhook>,
}

impl WebhookTask {
    /// Delivers until `stop`, then until the queue is empty or `drain` has passed. Gives the number
    /// of messages that were not delivered.
    pub async fn run(self, stop: impl Future<Output = ()>, drain: Duration) -> usize {
        let mut flights = Flights::default();
        let mut stop = std::pin::pin!(stop);
        let mut deadline: Option<tokio::time::Instant> = None;
        loop {
            let wake_at = self.launch(&mut flights);
            let stopping = deadline.is_some();
            if stopping && self.webhook.queued() == 0 {
                break;
            }
            tokio::select! {
                () = &mut stop, if !stopping => {
                    deadline = Some(tokio::time::Instant::now() + drain);
                }
                () = until(deadline), if stopping => break,
                () = self.webhook.wake.notified() => {}
                () = until(wake_at) => {}
                Some(ended) = flights.tasks.join_next_with_id() => self.land(&mut flights, ended),
            }
        }
        let left = self.webhook.queued();
        if left > 0 {
            let receiver = self.webhook.settings.name.as_str();
            warn!(receiver, left, "Stopped with notifications that are not delivered");
        }
        left
    }

    /// Sends everything that is due; gives the moment to look again.
    fn launch(&self, flights: &mut Flights) -> Option<tokio::time::Instant> {
        loop {
            let now = self.webhook.now();
            let mut delivery = self.webhook.lock();
            let next = delivery.poll(now);
            self.webhook.book(delivery);
            match next {
                Next::Send(message) => {
                    let carrier = Arc::clone(&self.webhook.carrier);
                    let (id, seat) = (message.id.clone(), Arc::clone(&self.webhook.seat));
                    let attempt = attempt(carrier, seat, message);
                    let task = flights.tasks.spawn(attempt);
                    flights.messages.insert(task.id(), id);
                }
                Next::Wait(at) => return at.map(|at| self.webhook.origin + at.since_start()),
            }
        }
    }

    fn land(&self, flights: &mut Flights, ended: Result<(Id, Outcome), JoinError>) {
        let (task, outcome) = match ended {
            Ok((task, outcome)) => (task, outcome),
            // A panic is a bug of ours; the message is not lost for it.
            Err(error) => {
                (error.id(), Outcome::Retry { after: None, why: "a panic of ours".to_owned() })
            }
        };
        let Some(id) = flights.messages.remove(&task) else { return };
        if let Outcome::Retry { why, .. } = &outcome {
            info!(receiver = self.webhook.settings.name.as_str(), %id, %why, "Delivery failed");
        }
        let now = self.webhook.now();
        let mut delivery = self.webhook.lock();
        delivery.settle(now, &id, &outcome);
        self.webhook.book(delivery);
    }
}

/// One attempt, once it is its turn among those of all receivers.
async fn attempt(carrier: Arc<Carrier>, seat: Arc<Seat>, mut message: Message) -> Outcome {
    let begun = tokio::time::Instant::now();
    let _pass = seat.enter().await;
    message.late.queued += begun.elapsed();
    carrier.carry(&message).await.outcome
}

/// Waits until a moment; for ever without one.
async fn until(at: Option<tokio::time::Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
