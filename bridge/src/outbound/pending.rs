//! The pending events of one target, in stream order: waiting, in flight, confirmed.
//!
//! Invariant: an event that is not confirmed stays, and is published again in stream order after an interruption.
//! A returned message (312) cannot be matched with its own confirm: lapin attaches it to the next confirm, whichever that
//! is. If an event must reach a queue, it stays undecided until everything published up to then is confirmed too; by then
//! its return, which the broker sends before the confirm, has arrived.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use async_nats::jetstream;
use tokio::time::Instant;

use super::message::OutboundEvent;

/// A pending event.
pub(super) struct Item {
    pub event: OutboundEvent,
    pub message: jetstream::Message,
    /// When JetStream was last notified that it is in progress.
    pub progress_at: Instant,
    state: State,
}

enum State {
    Waiting,
    /// `ordinal` counts the messages published on this channel.
    Published {
        ordinal: u64,
        at: Instant,
    },
    /// Confirmed; decided once everything up to this ordinal is confirmed.
    Undecided {
        until: u64,
    },
    Done,
}

/// The result of publishing an event.
pub(super) enum Outcome {
    Published(jetstream::Message),
    /// No queue received it, although one is configured for it.
    Unrouted(jetstream::Message, OutboundEvent),
}

#[derive(Default)]
pub(super) struct PendingEvents {
    items: VecDeque<Item>,
    /// Events published on this channel so far.
    published: u64,
    /// Those of them that are not confirmed.
    in_flight: usize,
    undecided: usize,
    returned: HashSet<String>,
}

impl PendingEvents {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Adds an event. A redelivered event that is still pending is not published a second time.
    pub fn add(&mut self, event: OutboundEvent, message: jetstream::Message, redelivered: bool) {
        if redelivered
            && let Some(item) = self.items.iter_mut().find(|item| item.event.sequence == event.sequence)
        {
            // JetStream accepts only the ack of the newer delivery.
            item.message = message;
            return;
        }
        self.items.push_back(Item { event, message, progress_at: Instant::now(), state: State::Waiting });
    }

    /// The next event to publish, with its ordinal; it counts as published from now on.
    pub fn publish_next(&mut self, window: usize) -> Option<(u64, &OutboundEvent)> {
        if self.in_flight >= window {
            return None;
        }
        // Events are published in order, so the waiting ones are at the end.
        let first = self.items.partition_point(|item| !matches!(item.state, State::Waiting));
        let item = self.items.get_mut(first)?;
        self.published += 1;
        self.in_flight += 1;
        item.state = State::Published { ordinal: self.published, at: Instant::now() };
        Some((self.published, &item.event))
    }

    /// The name of the event that was published with this ordinal.
    pub fn subject(&self, ordinal: u64) -> Option<&str> {
        let is_it =
            |item: &&Item| matches!(item.state, State::Published { ordinal: of, .. } if of == ordinal);
        self.items.iter().find(is_it).map(|item| item.event.subject.as_str())
    }

    /// Records that the message with this id was returned.
    pub fn mark_returned(&mut self, id: String) {
        self.returned.insert(id);
    }

    /// Records a confirm. `must_be_routed`: whether the event must have reached a queue.
    pub fn confirm(
        &mut self,
        ordinal: u64,
        must_be_routed: impl Fn(&OutboundEvent) -> bool,
    ) -> Option<Outcome> {
        let item = self
            .items
            .iter_mut()
            .find(|item| matches!(item.state, State::Published { ordinal: of, .. } if of == ordinal))?;
        self.in_flight -= 1;
        if must_be_routed(&item.event) {
            item.state = State::Undecided { until: self.published };
            self.undecided += 1;
            return None;
        }
        item.state = State::Done;
        let message = item.message.clone();
        self.drop_done();
        Some(Outcome::Published(message))
    }

    /// The outcomes that can be decided by now.
    pub fn decide(&mut self) -> Vec<Outcome> {
        if self.undecided == 0 {
            return Vec::new();
        }
        let open = self.items.iter().find_map(|item| match item.state {
            State::Published { ordinal, .. } => Some(ordinal),
            _ => None,
        });
        let mut outcomes = Vec::new();
        for at in 0..self.items.len() {
            let State::Undecided { until } = self.items[at].state else { continue };
            if open.is_some_and(|open| open <= until) {
                continue;
            }
            self.undecided -= 1;
            let item = &mut self.items[at];
            item.state = State::Done;
            let message = item.message.clone();
            outcomes.push(match self.returned.remove(&item.event.id) {
                true => Outcome::Unrouted(message, item.event.clone()),
                false => Outcome::Published(message),
            });
        }
        self.drop_done();
        outcomes
    }

    /// After the channel was lost: what is not decided waits again, in the same order.
    pub fn reset(&mut self) {
        self.items.retain(|item| !matches!(item.state, State::Done));
        for item in &mut self.items {
            item.state = State::Waiting;
        }
        (self.in_flight, self.undecided) = (0, 0);
        self.returned.clear();
    }

    /// Restarts the time limit of every event in flight.
    pub fn restart_timers(&mut self) {
        for item in &mut self.items {
            if let State::Published { at, .. } = &mut item.state {
                *at = Instant::now();
            }
        }
    }

    /// How long the oldest event in flight has been without a confirm.
    pub fn oldest(&self) -> Option<Duration> {
        let at = |item: &Item| match item.state {
            State::Published { at, .. } => Some(at.elapsed()),
            _ => None,
        };
        self.items.iter().find_map(at)
    }

    /// Events for which no progress was reported for this long.
    pub fn without_progress_for(&mut self, duration: Duration) -> impl Iterator<Item = &mut Item> {
        let is_due = move |item: &&mut Item| {
            !matches!(item.state, State::Done) && item.progress_at.elapsed() >= duration
        };
        self.items.iter_mut().filter(is_due)
    }

    /// Removes and returns everything that is not done, in stream order.
    pub fn drain(&mut self) -> Vec<jetstream::Message> {
        let items = std::mem::take(self).items;
        items.into_iter().filter(|item| !matches!(item.state, State::Done)).map(|item| item.message).collect()
    }

    fn drop_done(&mut self) {
        while self.items.front().is_some_and(|item| matches!(item.state, State::Done)) {
            self.items.pop_front();
        }
    }
}
