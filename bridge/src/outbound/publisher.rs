//! The RabbitMQ side of one target: a channel in confirm mode, opened again whenever it is lost.
//!
//! Invariant: messages reach the channel in the order in which they were given. Opening declares the exchange and binds the
//! service queues, so that nothing is published before those who wait for it are there again.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Target;
use super::message::Event;
use crate::call::{Declined, close, declare_topic, within};
use crate::session::{Link, delay};
use crate::{Session, service_queue};

/// What the pipe tells.
pub(super) enum Happened {
    /// It takes messages again.
    Opened,
    /// The broker has, or refuses, what was published with this number.
    Confirmed(u64, Confirmation),
    /// The channel is gone, and with it what was not confirmed.
    Broken,
}

pub(super) struct Pipe {
    session: Session,
    target: Target,
    link: watch::Receiver<Link>,
    state: State,
    /// Times in a row that it broke before anything was confirmed.
    tries: u32,
    /// The broker could not keep an event, and has confirmed none since.
    refused: bool,
    confirms: FuturesUnordered<BoxFuture<'static, (u64, lapin::Result<Confirmation>)>>,
}

enum State {
    Closed { until: Instant },
    Opening(BoxFuture<'static, Result<Channel, Declined>>, u64),
    Open(Channel, u64),
}

impl Pipe {
    pub fn new(session: Session, target: Target) -> Self {
        Self {
            link: session.link(),
            session,
            target,
            state: State::Closed { until: Instant::now() },
            tries: 0,
            refused: false,
            confirms: FuturesUnordered::new(),
        }
    }

    /// Whether messages may be given to it: a broker with an alarm reads nothing, and what is given would heap up here.
    pub fn takes(&self) -> bool {
        matches!(self.state, State::Open(..)) && self.link.borrow().blocked.is_none()
    }

    /// How many may be on their way. After a refusal one is enough to try: what is refused by one queue has reached all others, and
    /// reaches them again with every try.
    pub fn window(&self, at_best: usize) -> usize {
        if self.refused { 1 } else { at_best }
    }

    /// Publishes without waiting; [`next`](Self::next) tells what became of it.
    pub async fn send(&mut self, ordinal: u64, event: &Event) {
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
        // The first poll puts the message into the channel's queue: that is what keeps the order.
        match futures::poll!(&mut publishing) {
            std::task::Poll::Ready(done) => self.confirms.push(futures::future::ready(done).boxed()),
            std::task::Poll::Pending => self.confirms.push(publishing),
        }
    }

    /// The next thing that happens; may be dropped and asked again.
    pub async fn next(&mut self) -> Happened {
        loop {
            match &mut self.state {
                State::Closed { until } => {
                    tokio::time::sleep_until(*until).await;
                    let up = self.link.wait_for(|link| link.up && link.blocked.is_none()).await;
                    let Ok(epoch) = up.map(|link| link.epoch) else { return std::future::pending().await };
                    self.state =
                        State::Opening(open(self.session.clone(), self.target.clone()).boxed(), epoch);
                }
                State::Opening(opening, epoch) => {
                    let epoch = *epoch;
                    match opening.await {
                        Ok(channel) => {
                            if !self.refused {
                                self.complain(None);
                            }
                            self.state = State::Open(channel, epoch);
                            return Happened::Opened;
                        }
                        Err(declined) => self.refused(&declined),
                    }
                }
                State::Open(_, epoch) => {
                    let epoch = *epoch;
                    let confirmed = tokio::select! {
                        biased;
                        Some(confirmed) = self.confirms.next() => Some(confirmed),
                        _ = self.link.wait_for(|link| !link.up || link.epoch != epoch) => None,
                    };
                    return match confirmed {
                        Some((ordinal, Ok(confirmation))) => {
                            if confirmation.is_ack() {
                                self.kept();
                            }
                            Happened::Confirmed(ordinal, confirmation)
                        }
                        Some((_, Err(error))) => {
                            self.break_off(&error.to_string());
                            Happened::Broken
                        }
                        None => {
                            self.close(Duration::ZERO);
                            Happened::Broken
                        }
                    };
                }
            }
        }
    }

    /// Leaves the channel; another one is opened after a while.
    pub fn break_off(&mut self, why: &str) {
        self.tries += 1;
        let delay = delay(self.tries, rand::random());
        tracing::warn!(target = self.target.consumer, why, ?delay, "the channel to RabbitMQ is given up");
        self.close(delay);
    }

    /// The same, and the whole connection with it: it is open and does nothing.
    pub fn give_up(&mut self, why: &str) {
        if let State::Open(_, epoch) = self.state {
            self.session.give_up(epoch, why);
        }
        self.break_off(why);
    }

    /// The broker could not keep an event (basic.nack): a queue is full and refuses, or its replicas are away. Events are one
    /// after the other, so all wait for it.
    pub fn refuse(&mut self) {
        self.refused = true;
        let why = format!("RabbitMQ could not keep an event on {} (basic.nack)", self.target.exchange);
        self.complain(Some(format!("{why}: a queue is full, or its replicas are away")));
        self.break_off(&why);
    }

    fn kept(&mut self) {
        self.tries = 0;
        if std::mem::take(&mut self.refused) {
            self.complain(None);
        }
    }

    /// Opening failed. Where RabbitMQ has the exchange otherwise only an operator can help, who finds out by the health
    /// and the log; it is tried again all the same, since that is when it is mended.
    fn refused(&mut self, declined: &Declined) {
        if matches!(declined, Declined::Different { .. }) {
            tracing::error!(target = self.target.consumer, %declined, "nothing is published there");
            self.complain(Some(declined.to_string()));
        }
        self.break_off(&declined.to_string());
    }

    fn close(&mut self, delay: Duration) {
        self.confirms = FuturesUnordered::new();
        self.state = State::Closed { until: Instant::now() + delay };
    }

    fn complain(&self, complaint: Option<String>) {
        self.session.complain(self.target.consumer, complaint);
    }
}

async fn open(session: Session, target: Target) -> Result<Channel, Declined> {
    let declaring = session.channel_aside().await?;
    declare_topic(&declaring, &target.exchange).await?;
    close(declaring).await?;
    if target.in_envelope {
        // A queue that is not there yet holds nobody up.
        service_queue::bind_all(&session).await;
    }
    let channel = session.channel().await?;
    within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}
