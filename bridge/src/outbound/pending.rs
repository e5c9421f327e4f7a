//! The events in hand of one target, in stream order: which wait, which are on their way, which are confirmed.
//!
//! Invariant: what is not confirmed stays, and goes out again in stream order after an interruption.
//! A return (312) says nothing about its own confirm: lapin hands a returned message to whichever confirm comes next. Where
//! it matters whether an event arrived anywhere it stays undecided until all that was published meanwhile is confirmed too;
//! by then its return, which the broker sends first, has been seen.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use async_nats::jetstream;
use tokio::time::Instant;

use super::message::Event;

/// An event in hand.
pub(super) struct Item {
    pub event: Event,
    pub message: jetstream::Message,
    /// When JetStream was last told that it is still in work.
    pub alive: Instant,
    state: State,
}

enum State {
    Waiting,
    /// With its place among all that were published on this channel.
    Published {
        ordinal: u64,
        at: Instant,
    },
    /// Confirmed, and decided once everything up to this place is.
    Undecided {
        until: u64,
    },
    Done,
}

/// What became of an event.
pub(super) enum Outcome {
    Arrived(jetstream::Message),
    /// No queue wanted it, and one should have.
    Nowhere(jetstream::Message, Event),
}

#[derive(Default)]
pub(super) struct Hand {
    items: VecDeque<Item>,
    /// Events published on this channel so far.
    published: u64,
    /// Of them those without a confirm.
    on_the_way: usize,
    undecided: usize,
    returned: HashSet<String>,
}

impl Hand {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn on_the_way(&self) -> usize {
        self.on_the_way
    }

    /// Takes an event. One that is already in hand (JetStream thought it lost) is not published a second time.
    pub fn take(&mut self, event: Event, message: jetstream::Message, repeated: bool) {
        if repeated
            && let Some(known) = self.items.iter_mut().find(|item| item.event.sequence == event.sequence)
        {
            // The newer of the two is the one that counts.
            known.message = message;
            return;
        }
        self.items.push_back(Item { event, message, alive: Instant::now(), state: State::Waiting });
    }

    /// The next event to publish, with its place; it counts as published from now on.
    pub fn publish_next(&mut self, window: usize) -> Option<(u64, &Event)> {
        if self.on_the_way >= window {
            return None;
        }
        // What waits is behind what does not: events are published in order.
        let first = self.items.partition_point(|item| !matches!(item.state, State::Waiting));
        let item = self.items.get_mut(first)?;
        self.published += 1;
        self.on_the_way += 1;
        item.state = State::Published { ordinal: self.published, at: Instant::now() };
        Some((self.published, &item.event))
    }

    /// Notes that a message was returned, if it is one that matters.
    pub fn returned(&mut self, id: String) {
        self.returned.insert(id);
    }

    /// Notes a confirm. `matters`: whether the event must have arrived somewhere.
    pub fn confirmed(&mut self, ordinal: u64, matters: impl Fn(&Event) -> bool) -> Option<Outcome> {
        let item = self
            .items
            .iter_mut()
            .find(|item| matches!(item.state, State::Published { ordinal: of, .. } if of == ordinal))?;
        self.on_the_way -= 1;
        if matters(&item.event) {
            item.state = State::Undecided { until: self.published };
            self.undecided += 1;
            return None;
        }
        item.state = State::Done;
        let message = item.message.clone();
        self.drop_done();
        Some(Outcome::Arrived(message))
    }

    /// What can be decided by now.
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
                true => Outcome::Nowhere(message, item.event.clone()),
                false => Outcome::Arrived(message),
            });
        }
        self.drop_done();
        outcomes
    }

    /// After the channel is gone: what is not decided waits again, in the old order.
    pub fn start_over(&mut self) {
        self.items.retain(|item| !matches!(item.state, State::Done));
        for item in &mut self.items {
            item.state = State::Waiting;
        }
        (self.on_the_way, self.undecided) = (0, 0);
        self.returned.clear();
    }

    /// What is on its way has all its time from now on.
    pub fn wait_anew(&mut self) {
        for item in &mut self.items {
            if let State::Published { at, .. } = &mut item.state {
                *at = Instant::now();
            }
        }
    }

    /// How long the oldest published event has been without a confirm.
    pub fn oldest(&self) -> Option<Duration> {
        let at = |item: &Item| match item.state {
            State::Published { at, .. } => Some(at.elapsed()),
            _ => None,
        };
        self.items.iter().find_map(at)
    }

    /// What JetStream has not heard of for so long.
    pub fn silent_for(&mut self, long: Duration) -> impl Iterator<Item = &mut Item> {
        let is_open =
            move |item: &&mut Item| !matches!(item.state, State::Done) && item.alive.elapsed() >= long;
        self.items.iter_mut().filter(is_open)
    }

    /// Everything that is not done, in stream order.
    pub fn give_back(&mut self) -> Vec<jetstream::Message> {
        let items = std::mem::take(self).items;
        items.into_iter().filter(|item| !matches!(item.state, State::Done)).map(|item| item.message).collect()
    }

    fn drop_done(&mut self) {
        while self.items.front().is_some_and(|item| matches!(item.state, State::Done)) {
            self.items.pop_front();
        }
    }
}
