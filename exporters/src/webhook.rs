//! Alerts to a URL: one receiver, its queue and its task.
//!
//! [`webhook`] makes a pair: the [`Webhook`] takes updates (as an [`Exporter`]) and never waits,
//! the [`WebhookTask`] delivers them. Between them stands a [`Delivery`] behind a mutex that is
//! held for the time of a queue operation only. What the queue did comes out as [`Change`]s. They
//! feed the metrics here, and are where a durable outbox plugs in: write `Queued` before it is
//! sent, mark the others, and hand undelivered [`Message`]s back through [`Webhook::restore`]
//! after a start.

pub mod client;
pub mod delivery;
pub mod payload;
pub mod settings;
pub mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_core::time::Instant;
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{debug, error, info, warn};

use self::client::{Carrier, ClientError};
use self::delivery::{Change, Delivery, Limits, Message, MessageId, Next, Outcome};
use self::payload::Context;
pub use self::settings::{Language, Matcher, SendMode, Settings};
use crate::clock::WallClock;
use crate::outbox::Exporter;
use crate::prometheus::{NotificationOutcome, SelfMetrics};

/// Hears of a delivery.
pub type OnDelivered = Arc<dyn Fn(&str, &MessageId) + Send + Sync>;

/// What every receiver of the daemon has in common.
#[derive(Clone)]
pub struct Surroundings {
    /// Where people reach the daemon's own pages, without a trailing slash; may be empty.
    pub external_url: String,
    /// The wall clock.
    pub clock: WallClock,
    /// Where notifications are counted.
    pub metrics: Arc<SelfMetrics>,
    /// Told of every delivery: receiver and message. It must not wait.
    pub delivered: OnDelivered,
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
    let webhook = Arc::new(Webhook {
        settings,
        carrier,
        surroundings,
        delivery: Mutex::new(Delivery::new(Limits::default(), seed)),
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
    surroundings: Surroundings,
    delivery: Mutex<Delivery>,
    wake: Notify,
    origin: tokio::time::Instant,
}

impl Exporter for Webhook {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn offer(&self, update: &IncidentUpdate) {
        let resolved = match update.state {
            IncidentState::Pending => return,
            IncidentState::Firing => false,
            IncidentState::Resolved => true,
        };
        let told = resolved && self.lock().is_open(&update.fingerprint);
        if !told && !self.settings.wants(update) {
            return;
        }
        let context = Context {
            receiver: &self.settings.name,
            language: self.settings.language,
            external_url: &self.surroundings.external_url,
            clock: self.surroundings.clock,
        };
        let id = MessageId { fingerprint: update.fingerprint.clone(), version: update.version };
        let body = self.carrier.dialect().render(update, &context).into();
        self.restore(Message { id, resolved, body });
    }
}

impl Webhook {
    /// Queues a rendered message, as one that was not delivered before a restart.
    pub fn restore(&self, message: Message) {
        let now = self.now();
        let mut delivery = self.lock();
        delivery.offer(now, message);
        self.book(delivery);
        self.wake.notify_one();
    }

    /// Messages that are not delivered yet.
    pub fn queued(&self) -> usize {
        self.lock().queued()
    }

    fn now(&self) -> Instant {
        Instant::from_start(self.origin.elapsed())
    }

    /// The queue is never left half-changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Delivery> {
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what the queue did since last time.
    fn book(&self, mut delivery: MutexGuard<'_, Delivery>) {
        let (changes, queued) = (delivery.take_changes(), delivery.queued());
        let (metrics, receiver) = (&self.surroundings.metrics, self.settings.name.as_str());
        // Under the lock, so that the last one to change the queue is the last one to tell.
        metrics.queue_length(receiver, queued);
        drop(delivery);
        for change in changes {
            match change {
                Change::Queued(id) | Change::Superseded(id) => debug!(receiver, %id, "Queued"),
                Change::Delivered(id) => {
                    metrics.notified(receiver, NotificationOutcome::Delivered);
                    (self.surroundings.delivered)(receiver, &id);
                    debug!(receiver, %id, "Notification delivered");
                }
                Change::Retried(id) => {
                    metrics.notified(receiver, NotificationOutcome::Retried);
                    debug!(receiver, %id, "Notification will be tried again");
                }
                Change::Dead(id, reason) => {
                    metrics.notified(receiver, NotificationOutcome::Dead);
                    error!(receiver, %id, reason = reason.as_str(), "Notification given up");
                }
                Change::Disabled => {
                    error!(receiver, "Receiver answered 410 Gone: not used until the next reload");
                }
            }
        }
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
                    let id = message.id.clone();
                    let attempt = async move { carrier.carry(&message).await.outcome };
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
        if let Outcome::Retry { why, .. } | Outcome::Refused { why } = &outcome {
            info!(receiver = self.webhook.settings.name.as_str(), %id, %why, "Delivery failed");
        }
        let now = self.webhook.now();
        let mut delivery = self.webhook.lock();
        delivery.settle(now, &id, &outcome);
        self.webhook.book(delivery);
    }
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
