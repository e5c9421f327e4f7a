//! One watched showtime: hears its changes, puts them in order, and gives each to all who watch.
//!
//! Invariant: it listens before it asks for its first snapshot, so no change falls in between; whoever joins gets a
//! snapshot that was asked for after they came, and all changes since. Snapshots are asked for by one question at
//! a time, which serves all who came before it. A gap that lasts is closed by a new snapshot for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bus::Context;
use bus::contract::Problem;
use bus::contract::reservation::{GetSeatMap, seats_subject};
use bus::service::Ask;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::house::House;

/// Changes that a client may be behind before it gets a new snapshot instead: some seconds of a rush.
const BEHIND_MAX: usize = 256;
/// Messages of several hosts may overtake one another by some milliseconds; what takes longer is lost.
const GAP_MAX: Duration = Duration::from_millis(100);
/// How often a lost change is asked for while no host answers.
const RETRY: Duration = Duration::from_secs(1);
/// Changes kept while one before them is missing; beyond it only a snapshot helps.
const EARLY_MAX: usize = 1_024;

/// One event as it goes over the wire.
#[derive(Clone)]
pub struct Frame {
    pub sequence: i64,
    /// A snapshot, which needs nothing before it.
    pub whole: bool,
    pub wire: Bytes,
}

impl Frame {
    /// `None` where the payload is not a JSON object with a sequence.
    fn new(payload: &[u8], whole: bool) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            sequence: i64,
        }
        let Versioned { sequence } = serde_json::from_slice(payload).ok()?;
        let name = if whole { "snapshot" } else { "seats" };
        let mut wire = Vec::with_capacity(payload.len() + 64);
        wire.extend_from_slice(format!("id: {sequence}\nevent: {name}\ndata: ").as_bytes());
        // A line break would end the event; between JSON's tokens it means nothing.
        wire.extend(payload.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        wire.extend_from_slice(b"\n\n");
        Some(Self { sequence, whole, wire: wire.into() })
    }
}

/// Whether the notice says that this version can only be read.
fn is_reload(payload: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Notice {
        #[serde(default)]
        reload: bool,
    }
    serde_json::from_slice(payload).is_ok_and(|Notice { reload }| reload)
}

/// A snapshot, and all changes after it.
pub type Joined = Result<(Frame, broadcast::Receiver<Frame>), Problem>;

/// Someone who comes to watch.
pub struct Join {
    pub context: Context,
    pub reply: oneshot::Sender<Joined>,
}

/// One watched showtime.
pub struct Room {
    house: Arc<House>,
    showtime: Uuid,
    changes: broadcast::Sender<Frame>,
    /// What all clients have been sent, once there was a snapshot.
    sequence: Option<i64>,
    /// The highest sequence heard of.
    heard: i64,
    /// Changes that came before one that precedes them.
    early: BTreeMap<i64, Frame>,
    /// When the missing change, if any, counts as lost.
    gap_ends: Option<Instant>,
    /// All clients need a new snapshot.
    lost: bool,
    waiting: Vec<Join>,
    /// The question under way, and for whom; their receivers are older than it.
    asking: Option<BoxFuture<'static, Result<Bytes, Problem>>>,
    asked_for: Vec<(Join, broadcast::Receiver<Frame>)>,
}

impl Room {
    /// Serves those who join until all of them have left.
    pub async fn open(house: Arc<House>, showtime: Uuid, mut joins: mpsc::Receiver<Join>) {
        let connections = house.hosts.connections();
        let heard = match house.hosts.listen(seats_subject(showtime)).await {
            Ok(heard) => heard,
            Err(problem) => {
                while let Some(join) = joins.recv().await {
                    let _ = join.reply.send(Err(problem.clone()));
                }
                return;
            }
        };
        let room = Self {
            house,
            showtime,
            changes: broadcast::Sender::new(BEHIND_MAX),
            sequence: None,
            heard: i64::MIN,
            early: BTreeMap::new(),
            gap_ends: None,
            lost: false,
            waiting: Vec::new(),
            asking: None,
            asked_for: Vec::new(),
        };
        room.run(joins, heard, connections).await;
    }

    async fn run(
        mut self,
        mut joins: mpsc::Receiver<Join>,
        mut heard: BoxStream<'static, Bytes>,
        mut connections: watch::Receiver<u64>,
    ) {
        let stop = self.house.stop.clone();
        loop {
            self.ask();
            let gap_ends = self.gap_ends;
            tokio::select! {
                _ = stop.cancelled() => return,
                join = joins.recv() => match join {
                    Some(join) => self.waiting.push(join),
                    None => return,
                },
                change = heard.next() => match change {
                    Some(payload) => self.hear(&payload),
                    None => return,
                },
                answer = async { self.asking.as_mut().expect("guarded").await }, if self.asking.is_some() => {
                    self.asking = None;
                    self.answered(answer);
                }
                _ = async { tokio::time::sleep_until(gap_ends.expect("guarded")).await }, if gap_ends.is_some() => {
                    self.gap_ends = None;
                    self.lost = true;
                }
                Ok(()) = connections.changed() => self.lost = true,
            }
        }
    }

    /// Asks for a snapshot when someone needs one and no question is under way.
    fn ask(&mut self) {
        if self.asking.is_some() || (self.waiting.is_empty() && !self.lost) {
            return;
        }
        let context = self.waiting.first().map(|join| join.context.clone()).unwrap_or_default();
        let changes = &self.changes;
        self.asked_for.extend(self.waiting.drain(..).map(|join| (join, changes.subscribe())));
        let (house, showtime_id) = (self.house.clone(), self.showtime);
        let ask = Ask { ordered: true, ..Ask::new(context) };
        let asking = async move { house.ask(&GetSeatMap { showtime_id }, &ask).await };
        self.asking = Some(asking.boxed());
    }

    fn answered(&mut self, answer: Result<Bytes, Problem>) {
        let snapshot = answer.and_then(|bytes| {
            Frame::new(&bytes, true).ok_or_else(|| {
                tracing::error!(showtime = %self.showtime, "unreadable seat map");
                Problem::internal()
            })
        });
        for (join, receiver) in self.asked_for.drain(..) {
            let _ = join.reply.send(snapshot.clone().map(|frame| (frame, receiver)));
        }
        let snapshot = match snapshot {
            Ok(snapshot) => snapshot,
            Err(_) => {
                if std::mem::take(&mut self.lost) {
                    self.gap_ends = Some(Instant::now() + RETRY);
                }
                return;
            }
        };
        self.heard = self.heard.max(snapshot.sequence);
        match self.sequence {
            None => self.sequence = Some(snapshot.sequence),
            // Others are still owed the changes up to this snapshot, unless those are lost.
            Some(sequence) if self.lost && snapshot.sequence > sequence => {
                self.sequence = Some(snapshot.sequence);
                let _ = self.changes.send(snapshot);
            }
            Some(_) => {}
        }
        self.lost = false;
        self.go_on();
    }

    fn hear(&mut self, payload: &[u8]) {
        let Some(change) = Frame::new(payload, false) else {
            tracing::warn!(showtime = %self.showtime, "unreadable seat change");
            return;
        };
        self.heard = self.heard.max(change.sequence);
        if is_reload(payload) {
            // Seats or prices themselves changed, which only a snapshot shows.
            self.lost |= self.sequence.is_some_and(|sequence| change.sequence > sequence);
            return;
        }
        if self.sequence.is_none_or(|sequence| change.sequence > sequence) {
            self.early.insert(change.sequence, change);
        }
        if self.early.len() > EARLY_MAX {
            self.early.clear();
            self.lost = true;
        }
        self.go_on();
    }

    /// Sends the changes that follow without a gap, and notes a gap where there is one.
    fn go_on(&mut self) {
        let Some(mut sequence) = self.sequence else { return };
        self.early = self.early.split_off(&(sequence + 1));
        while let Some(change) = self.early.remove(&(sequence + 1)) {
            sequence += 1;
            let _ = self.changes.send(change);
        }
        self.sequence = Some(sequence);
        if self.heard <= sequence {
            self.gap_ends = None;
        } else if !self.lost {
            self.gap_ends.get_or_insert(Instant::now() + GAP_MAX);
        }
    }
}
