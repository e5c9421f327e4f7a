//! The RabbitMQ side of one target: a channel in confirm mode, reopened whenever it is lost.
//!
//! Invariant: messages reach the channel in the order of the calls to [`Publisher::send`]. Opening declares the exchange and
//! binds the service queues, so that nothing is published before its recipients are bound again.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Target;
use super::message::OutboundEvent;

use crate::call::{DeclareError, close, declare_topic, with_timeout};
use crate::session::{ConnectionState, delay};
use crate::{Session, service_queue};

/// What [`Publisher::next`] reports.
pub(super) enum Progress {
    /// Messages can be sent.
    Opened,
    /// The broker's confirm (ack or nack) for the message with this ordinal.
    Confirmed(u64, Confirmation),
    /// The channel is lost, with everything that was not confirmed.
    Broken,
}

pub(super) struct Publisher {
    session: Session,
    target: Target,
    connection: watch::Receiver<ConnectionState>,
    state: State,
    /// Consecutive channels that were lost before anything was confirmed.
    tries: u32,
    /// The event that the broker refused last (nack), if it has confirmed none since.
    refused: Option<String>,
    confirms: FuturesUnordered<BoxFuture<'static, (u64, lapin::Result<Confirmation>)>>,
}

enum State {
    Closed { until: Instant },
    Opening(BoxFuture<'static, Result<Channel, DeclareError>>, u64),
    Open(Channel, u64),
}

impl Publisher {
    pub fn new(session: Session, target: Target) -> Self {
        Self {
            connection: session.state(),
            session,
            target,
            state: State::Closed { until: Instant::now() },
            tries: 0,
            refused: None,
            confirms: FuturesUnordered::new(),
        }
    }

    /// Whether messages can be sent. A broker with an alarm reads nothing, so messages would accumulate in memory.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Open(..)) && self.connection.borrow().blocked.is_none()
    }

    /// How many messages may be in flight. One after a refusal: a message that one queue refuses is delivered to all others,
    /// again with every attempt.
    pub fn window(&self, configured: usize) -> usize {
        if self.refused.is_some() { 1 } else { configured }
    }

    /// Publishes without waiting; [`next`](Self::next) reports the confirm.
    pub async fn send(&mut self, ordinal: u64, event: &OutboundEvent) {
        let State::Open(channel, _) = &self.state else { return };
        let (channel, exchange) = (channel.clone(), self.target.exchange.clone());
        let key = event.subject.clone();
        let properties = event.properties(&self.session.settings().bridge_id);
        let body = event.body(self.target.in_envelope);
        let mut publishing = async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            let published =
                channel.basic_publish(exchange.into(), key.into(), options, &body, properties).await;
            match published {
                Ok(confirm) => (ordinal, confirm.await),
                Err(error) => (ordinal, Err(error)),
            }
        }
        .boxed();
        // The first poll puts the message into the channel's queue, which keeps the order.
        match futures::poll!(&mut publishing) {
            std::task::Poll::Ready(done) => self.confirms.push(futures::future::ready(done).boxed()),
            std::task::Poll::Pending => self.confirms.push(publishing),
        }
    }

    /// The next progress. Cancel safe.
    pub async fn next(&mut self) -> Progress {
        loop {
            match &mut self.state {
                State::Closed { until } => {
                    tokio::time::sleep_until(*until).await;
                    let up = self.connection.wait_for(|state| state.up && state.blocked.is_none()).await;
                    let Ok(epoch) = up.map(|state| state.epoch) else { return std::future::pending().await };
                    let opening = open(self.session.clone(), self.target.clone(), self.refused.clone());
                    self.state = State::Opening(opening.boxed(), epoch);
                }
                State::Opening(opening, epoch) => {
                    let epoch = *epoch;
                    match opening.await {
                        Ok(channel) => {
                            if self.refused.is_none() {
                                self.report(None);
                            }
                            self.state = State::Open(channel, epoch);
                            return Progress::Opened;
                        }
                        Err(error) => self.opening_failed(&error),
                    }
                }
                State::Open(_, epoch) => {
                    let epoch = *epoch;
                    let confirmed = tokio::select! {
                        biased;
                        Some(confirmed) = self.confirms.next() => Some(confirmed),
                        _ = self.connection.wait_for(|state| !state.up || state.epoch != epoch) => None,
                    };
                    return match confirmed {
                        Some((ordinal, Ok(confirmation))) => {
                            if confirmation.is_ack() {
                                self.set_confirmed();
                            }
                            Progress::Confirmed(ordinal, confirmation)
                        }
                        Some((_, Err(error))) => {
                            self.reopen(&error.to_string());
                            Progress::Broken
                        }
                        None => {
                            self.close(Duration::ZERO);
                            Progress::Broken
                        }
                    };
                }
            }
        }
    }

    /// Closes the channel; another one is opened after a delay.
    pub fn reopen(&mut self, why: &str) {
        self.tries += 1;
        let delay = delay(self.tries, rand::random());
        tracing::warn!(target = self.target.consumer, why, ?delay, "the channel to RabbitMQ is reopened");
        self.close(delay);
    }

    /// The same for the whole connection, which is open and does not work.
    pub fn abandon_connection(&mut self, why: &str) {
        if let State::Open(_, epoch) = self.state {
            self.session.abandon(epoch, why);
        }
        self.reopen(why);
    }

    /// The broker refused an event (basic.nack): a queue is full, or its replicas are unavailable. Because of the order all
    /// later events wait for it. Opening the next channel finds out which queue it may be.
    pub fn set_refused(&mut self, event: String) {
        let why = refusal(&event, &self.target, None);
        if self.refused.replace(event).is_none() {
            self.report(Some(why.clone()));
        }
        self.reopen(&why);
    }

    fn set_confirmed(&mut self) {
        self.tries = 0;
        if self.refused.take().is_some() {
            self.report(None);
        }
    }

    /// Opening failed. An exchange with other properties has to be corrected by an operator, so it is reported in the health
    /// and the log; it is retried so that publishing continues once it is corrected.
    fn opening_failed(&mut self, error: &DeclareError) {
        if matches!(error, DeclareError::Mismatch { .. }) {
            tracing::error!(target = self.target.consumer, %error, "nothing is published there");
            self.report(Some(error.to_string()));
        }
        self.reopen(&error.to_string());
    }

    fn close(&mut self, delay: Duration) {
        self.confirms = FuturesUnordered::new();
        self.state = State::Closed { until: Instant::now() + delay };
    }

    fn report(&self, problem: Option<String>) {
        self.session.set_degraded(self.target.consumer, problem);
    }
}

/// Why an event is not on RabbitMQ, with the service queue that is most likely full: a nack does not name the queue.
fn refusal(event: &str, target: &Target, fullest: Option<(String, u32)>) -> String {
    let exchange = &target.exchange;
    let which = match fullest {
        Some((queue, messages)) => format!("; most likely {queue}, which has {messages} messages"),
        None => format!("; rabbitmqctl list_queues shows the queues that are bound to {event}"),
    };
    format!(
        "RabbitMQ could not keep {event} on {exchange} (basic.nack): a queue is full, or its replicas are unavailable{which}"
    )
}

async fn open(session: Session, target: Target, refused: Option<String>) -> Result<Channel, DeclareError> {
    let declaring = session.secondary_channel().await?;
    declare_topic(&declaring, &target.exchange).await?;
    close(declaring).await?;
    if target.in_envelope {
        // A queue that does not exist yet does not prevent publishing.
        service_queue::bind_all(&session).await;
    }
    if let Some(event) = refused {
        let fullest = if target.in_envelope { service_queue::fullest(&session, &event).await } else { None };
        session.set_degraded(target.consumer, Some(refusal(&event, &target, fullest)));
    }
    let channel = session.channel().await?;
    with_timeout(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}
