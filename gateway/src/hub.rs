//! Live seat maps: one subscription per showtime, shared by all who watch it.
//!
//! Each watched showtime is a room: a task that hears the changes, puts them in order, and fans each out as the
//! same bytes to all its clients. It subscribes before its first snapshot, so no change falls in between; clients
//! drop what is not newer than theirs. Snapshots are asked for by one question at a time, which serves all who came
//! before it was asked. A gap that lasts is closed by a new snapshot for all, a slow client by one of its own.
//! A room ends when its last client leaves: clients hold its only strong senders.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Context;
use bus::contract::Problem;
use bus::contract::reservation::{GetSeatMap, seats_subject};
use bus::service::Ask;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::house::House;

/// Clients of this gateway: each costs a connection and some 10 KiB. More gateways take more.
pub const CLIENTS_MAX: usize = 10_000;
/// Changes that a client may be behind before it gets a new snapshot instead: some seconds of a rush.
const BEHIND_MAX: usize = 256;
/// Messages of several hosts may overtake one another by some milliseconds; what takes longer is lost.
const GAP_MAX: Duration = Duration::from_millis(100);
/// How often a lost change is asked for while no host answers.
const RETRY: Duration = Duration::from_secs(1);
/// Proxies give up connections that are silent for 30–60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Changes kept while one before them is missing; beyond it only a snapshot helps.
const EARLY_MAX: usize = 1_024;

/// One event as it goes over the wire.
#[derive(Clone)]
struct Frame {
    sequence: i64,
    /// A snapshot, which needs nothing before it.
    whole: bool,
    wire: Bytes,
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

/// A snapshot, and all changes after it.
type Joined = Result<(Frame, broadcast::Receiver<Frame>), Problem>;

struct Join {
    context: Context,
    reply: oneshot::Sender<Joined>,
}

/// All rooms of this gateway.
pub struct Hub {
    rooms: Arc<Rooms>,
    clients: Arc<Semaphore>,
}

type Rooms = Mutex<HashMap<Uuid, mpsc::WeakSender<Join>>>;

impl Hub {
    pub fn new() -> Self {
        Self { rooms: Arc::default(), clients: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }

    /// The showtime's live seat map as `text/event-stream`; it ends when the gateway stops. 404 when there is no
    /// such showtime, 503 when too many watch already.
    pub async fn watch(
        &self,
        house: &Arc<House>,
        showtime: Uuid,
        context: Context,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Problem> {
        let permit = self.clients.clone().try_acquire_owned().map_err(|_| {
            Problem::unavailable("Too many live seat maps are open. Ask for the seat map instead.")
                .with_retry_after(10)
        })?;
        let room = self.room(house, showtime);
        let (first, changes) = join(&room, context.clone()).await?;
        metrics::gauge!("seat_map_clients").increment(1.0);
        let client = Client {
            room,
            changes,
            context,
            last: first.sequence,
            first: Some(first.wire),
            stop: house.stop.clone(),
            _permit: permit,
        };
        Ok(futures::stream::unfold(client, |mut client| async move {
            let bytes = client.next().await?;
            Some((bytes, client))
        }))
    }

    fn room(&self, house: &Arc<House>, showtime: Uuid) -> mpsc::Sender<Join> {
        let mut rooms = self.rooms.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(room) = rooms.get(&showtime).and_then(mpsc::WeakSender::upgrade) {
            return room;
        }
        let (sender, joins) = mpsc::channel(1_024);
        rooms.insert(showtime, sender.downgrade());
        let (house, all) = (house.clone(), self.rooms.clone());
        tokio::spawn(async move {
            Room::open(house, showtime, joins).await;
            let mut rooms = all.lock().unwrap_or_else(|e| e.into_inner());
            // A new room may have taken the place since the last client left.
            if rooms.get(&showtime).is_some_and(|room| room.strong_count() == 0) {
                rooms.remove(&showtime);
            }
        });
        sender
    }

    #[cfg(test)]
    pub fn rooms(&self) -> usize {
        self.rooms.lock().unwrap().len()
    }
}

async fn join(room: &mpsc::Sender<Join>, context: Context) -> Joined {
    let (reply, answer) = oneshot::channel();
    let gone = || Problem::unavailable("The live seat map ended. Try again.");
    room.send(Join { context, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?
}

/// One who watches.
struct Client {
    room: mpsc::Sender<Join>,
    changes: broadcast::Receiver<Frame>,
    context: Context,
    last: i64,
    first: Option<Bytes>,
    stop: tokio_util::sync::CancellationToken,
    _permit: OwnedSemaphorePermit,
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let heartbeat = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(heartbeat);
        loop {
            let frame = tokio::select! {
                _ = self.stop.cancelled() => return None,
                frame = self.changes.recv() => frame,
                _ = &mut heartbeat => return Some(Bytes::from_static(b":\n\n")),
            };
            let frame = match frame {
                Ok(frame) if frame.sequence <= self.last => continue,
                Ok(frame) if frame.whole || frame.sequence == self.last + 1 => frame,
                Err(broadcast::error::RecvError::Closed) => return None,
                // Too slow, or given a snapshot older than the room: a new one. Failing that the stream ends, and
                // the browser comes back by itself.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (frame, changes) = join(&self.room, self.context.clone()).await.ok()?;
                    self.changes = changes;
                    frame
                }
            };
            self.last = frame.sequence;
            return Some(frame.wire);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("seat_map_clients").decrement(1.0);
    }
}

/// One watched showtime.
struct Room {
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
    async fn open(house: Arc<House>, showtime: Uuid, mut joins: mpsc::Receiver<Join>) {
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
        mut connections: tokio::sync::watch::Receiver<u64>,
    ) {
        connections.mark_unchanged();
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
        let asking = async move { house.ask(&GetSeatMap { showtime_id }, &Ask::new(context)).await };
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
