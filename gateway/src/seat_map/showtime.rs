//! One watched showtime: receives its changes, puts them in order, and sends each to all clients.
//!
//! Invariant: it subscribes before it requests its first snapshot, so no change is missed in between. A client that joins
//! gets a snapshot that was requested after it joined, and all changes since. At most one snapshot request is in
//! flight; it serves all clients that joined before it was sent. A gap that lasts is closed by a new snapshot for all.

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
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::hosts::Hosts;

/// Changes that a client may lag behind before it gets a new snapshot instead: some seconds of a rush.
const LAG_MAX: usize = 256;
/// Notices of several hosts may overtake one another by some milliseconds; one that is later than this is lost.
const GAP_MAX: Duration = Duration::from_millis(100);
/// Pause between snapshot requests while no host answers.
const RETRY: Duration = Duration::from_secs(1);
/// Changes kept while an earlier one is missing; beyond this a snapshot is requested.
const EARLY_MAX: usize = 1_024;

/// One server-sent event.
#[derive(Clone)]
pub struct Frame {
    pub sequence: i64,
    /// It does not build on the frame before.
    pub is_snapshot: bool,
    pub wire: Bytes,
}

impl Frame {
    /// `None` where the payload is not a JSON object with a sequence.
    fn new(payload: &[u8], is_snapshot: bool) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Versioned {
            sequence: i64,
        }
        let Versioned { sequence } = serde_json::from_slice(payload).ok()?;
        let name = if is_snapshot { "snapshot" } else { "seats" };
        let mut wire = Vec::with_capacity(payload.len() + 64);
        wire.extend_from_slice(format!("id: {sequence}\nevent: {name}\ndata: ").as_bytes());
        // A line break would end the event; between JSON's tokens it means nothing.
        wire.extend(payload.iter().map(|&byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        wire.extend_from_slice(b"\n\n");
        Some(Self { sequence, is_snapshot, wire: wire.into() })
    }
}

/// Whether a notice only says that the seat map must be read again.
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

/// A client that joins, or needs a new snapshot.
pub struct Join {
    pub context: Context,
    pub reply: oneshot::Sender<Joined>,
}

/// The task of one watched showtime.
pub struct WatchedShowtime {
    hosts: Arc<dyn Hosts>,
    showtime: Uuid,
    changes: broadcast::Sender<Frame>,
    /// The version that all clients have been sent, once there was a snapshot.
    sequence: Option<i64>,
    /// The highest version of any notice or snapshot.
    latest: i64,
    /// Changes that arrived before one that precedes them.
    early: BTreeMap<i64, Frame>,
    /// When the missing change, if any, counts as lost.
    gap_ends: Option<Instant>,
    /// All clients need a new snapshot.
    needs_snapshot: bool,
    joining: Vec<Join>,
    /// The snapshot request in flight, and the clients it serves; their receivers are older than the request.
    request: Option<BoxFuture<'static, Result<Bytes, Problem>>>,
    served: Vec<(Join, broadcast::Receiver<Frame>)>,
}

impl WatchedShowtime {
    /// Serves clients until all of them have left, `stop` is cancelled, or the subscription ends.
    pub async fn run(
        hosts: Arc<dyn Hosts>,
        showtime: Uuid,
        mut joins: mpsc::Receiver<Join>,
        stop: CancellationToken,
    ) {
        let reconnects = hosts.reconnects();
        let notices = match hosts.subscribe(seats_subject(showtime)).await {
            Ok(notices) => notices,
            Err(problem) => {
                while let Some(join) = joins.recv().await {
                    let _ = join.reply.send(Err(problem.clone()));
                }
                return;
            }
        };
        let watched = Self {
            hosts,
            showtime,
            changes: broadcast::Sender::new(LAG_MAX),
            sequence: None,
            latest: i64::MIN,
            early: BTreeMap::new(),
            gap_ends: None,
            needs_snapshot: false,
            joining: Vec::new(),
            request: None,
            served: Vec::new(),
        };
        watched.serve(joins, notices, reconnects, stop).await;
    }

    async fn serve(
        mut self,
        mut joins: mpsc::Receiver<Join>,
        mut notices: BoxStream<'static, Bytes>,
        mut reconnects: watch::Receiver<u64>,
        stop: CancellationToken,
    ) {
        loop {
            self.request_snapshot();
            let gap_ends = self.gap_ends;
            tokio::select! {
                _ = stop.cancelled() => return,
                join = joins.recv() => match join {
                    Some(join) => self.joining.push(join),
                    None => return,
                },
                notice = notices.next() => match notice {
                    Some(payload) => self.receive(&payload),
                    None => return,
                },
                answer = async { self.request.as_mut().expect("guarded").await }, if self.request.is_some() => {
                    self.request = None;
                    self.handle_snapshot(answer);
                }
                _ = async { tokio::time::sleep_until(gap_ends.expect("guarded")).await }, if gap_ends.is_some() => {
                    self.gap_ends = None;
                    self.needs_snapshot = true;
                }
                Ok(()) = reconnects.changed() => self.needs_snapshot = true,
            }
        }
    }

    /// Requests a snapshot where a client needs one and no request is in flight.
    fn request_snapshot(&mut self) {
        if self.request.is_some() || (self.joining.is_empty() && !self.needs_snapshot) {
            return;
        }
        let context = self.joining.first().map(|join| join.context.clone()).unwrap_or_default();
        let changes = &self.changes;
        self.served.extend(self.joining.drain(..).map(|join| (join, changes.subscribe())));
        let (hosts, showtime_id) = (self.hosts.clone(), self.showtime);
        let ask = Ask { ordered: true, ..Ask::new(context) };
        let request = async move { hosts.request(&GetSeatMap { showtime_id }, &ask).await };
        self.request = Some(request.boxed());
    }

    fn handle_snapshot(&mut self, answer: Result<Bytes, Problem>) {
        let snapshot = answer.and_then(|bytes| {
            Frame::new(&bytes, true).ok_or_else(|| {
                tracing::error!(showtime = %self.showtime, "the seat map in the host's answer is not readable");
                Problem::internal()
            })
        });
        for (join, receiver) in self.served.drain(..) {
            let _ = join.reply.send(snapshot.clone().map(|frame| (frame, receiver)));
        }
        let Ok(snapshot) = snapshot else {
            if std::mem::take(&mut self.needs_snapshot) {
                self.gap_ends = Some(Instant::now() + RETRY);
            }
            return;
        };
        self.latest = self.latest.max(snapshot.sequence);
        match self.sequence {
            None => self.sequence = Some(snapshot.sequence),
            // Where nothing was lost, the other clients still get the changes up to this snapshot one by one.
            Some(sequence) if self.needs_snapshot && snapshot.sequence > sequence => {
                self.sequence = Some(snapshot.sequence);
                let _ = self.changes.send(snapshot);
            }
            Some(_) => {}
        }
        self.needs_snapshot = false;
        self.send_in_order();
    }

    fn receive(&mut self, payload: &[u8]) {
        let Some(change) = Frame::new(payload, false) else {
            tracing::warn!(showtime = %self.showtime, "a seat change is not readable");
            return;
        };
        self.latest = self.latest.max(change.sequence);
        if is_reload(payload) {
            // The seats or prices themselves changed, which only a snapshot shows.
            self.needs_snapshot |= self.sequence.is_some_and(|sequence| change.sequence > sequence);
            return;
        }
        if self.sequence.is_none_or(|sequence| change.sequence > sequence) {
            self.early.insert(change.sequence, change);
        }
        if self.early.len() > EARLY_MAX {
            self.early.clear();
            self.needs_snapshot = true;
        }
        self.send_in_order();
    }

    /// Sends the changes that follow without a gap, and sets a deadline for a gap that remains.
    fn send_in_order(&mut self) {
        let Some(mut sequence) = self.sequence else { return };
        self.early = self.early.split_off(&(sequence + 1));
        while let Some(change) = self.early.remove(&(sequence + 1)) {
            sequence += 1;
            let _ = self.changes.send(change);
        }
        self.sequence = Some(sequence);
        if self.latest <= sequence {
            self.gap_ends = None;
        } else if !self.needs_snapshot {
            self.gap_ends.get_or_insert(Instant::now() + GAP_MAX);
        }
    }
}
