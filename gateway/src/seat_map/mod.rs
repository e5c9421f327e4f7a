//! Live seat maps as server-sent events: one task per watched showtime, shared by all its clients.
//!
//! A client gets a snapshot and then each change as the same shared bytes, and drops what is not newer than what it has.
//! A client too slow for the bounded channel gets a new snapshot instead, so it delays nobody. A showtime's task ends
//! when its last client leaves: the clients hold the only strong senders of its channel.

mod showtime;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::Context;
use bus::contract::Problem;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::hosts::Hosts;
use crate::limit::Place;
use showtime::{Frame, Join, Joined, WatchedShowtime};

/// Clients of this gateway: each costs a connection and some 10 KiB. More gateways take more.
const CLIENTS_MAX: usize = 10_000;
/// Proxies close connections that are silent for 30–60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// All watched showtimes of this gateway.
pub struct SeatMaps {
    hosts: Arc<dyn Hosts>,
    stop: CancellationToken,
    watched: Arc<Watched>,
    clients: Arc<Semaphore>,
}

/// The tasks by showtime.
type Watched = Mutex<HashMap<Uuid, mpsc::WeakSender<Join>>>;

impl SeatMaps {
    /// All streams end when `stop` is cancelled.
    pub fn new(hosts: Arc<dyn Hosts>, stop: CancellationToken) -> Self {
        Self { hosts, stop, watched: Arc::default(), clients: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }

    /// The showtime's live seat map as `text/event-stream`. 404 when there is no such showtime, 503 when too many
    /// clients are connected. `place` counts against the client's network until the stream ends.
    pub async fn watch(
        &self,
        showtime: Uuid,
        context: Context,
        place: Option<Place>,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Problem> {
        let permit = self.clients.clone().try_acquire_owned().map_err(|_| {
            Problem::unavailable("Too many live seat maps are open. Read the seat map instead.")
                .with_retry_after(10)
        })?;
        let task = self.task(showtime);
        let (first, changes) = join(&task, context.clone()).await?;
        metrics::gauge!("seat_map_clients").increment(1.0);
        let client = Client {
            task,
            changes,
            context,
            sequence: first.sequence,
            first: Some(first.wire),
            stop: self.stop.clone(),
            _permit: permit,
            _place: place,
        };
        Ok(futures::stream::unfold(client, |mut client| async move {
            let bytes = client.next().await?;
            Some((bytes, client))
        }))
    }

    /// The showtime's task, started where there is none.
    fn task(&self, showtime: Uuid) -> mpsc::Sender<Join> {
        let mut watched = self.watched.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(task) = watched.get(&showtime).and_then(mpsc::WeakSender::upgrade) {
            return task;
        }
        let (sender, joins) = mpsc::channel(1_024);
        watched.insert(showtime, sender.downgrade());
        let (hosts, stop, all) = (self.hosts.clone(), self.stop.clone(), self.watched.clone());
        tokio::spawn(async move {
            WatchedShowtime::run(hosts, showtime, joins, stop).await;
            let mut watched = all.lock().unwrap_or_else(|e| e.into_inner());
            // Since the last client left, a new task may have been started under the same id.
            if watched.get(&showtime).is_some_and(|task| task.strong_count() == 0) {
                watched.remove(&showtime);
            }
        });
        sender
    }

    #[cfg(test)]
    pub fn watched(&self) -> usize {
        self.watched.lock().unwrap().len()
    }
}

async fn join(task: &mpsc::Sender<Join>, context: Context) -> Joined {
    let (reply, answer) = oneshot::channel();
    let ended = || Problem::unavailable("The live seat map ended. Try again.");
    task.send(Join { context, reply }).await.map_err(|_| ended())?;
    answer.await.map_err(|_| ended())?
}

/// One connected client.
struct Client {
    task: mpsc::Sender<Join>,
    changes: broadcast::Receiver<Frame>,
    context: Context,
    /// The version that the client has.
    sequence: i64,
    /// The snapshot that is sent before anything else.
    first: Option<Bytes>,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl Client {
    /// What is sent next; `None` ends the stream, and the browser reconnects by itself.
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
                Ok(frame) if frame.sequence <= self.sequence => continue,
                Ok(frame) if frame.is_snapshot || frame.sequence == self.sequence + 1 => frame,
                Err(broadcast::error::RecvError::Closed) => return None,
                // The client is too slow, or its snapshot is older than the changes: it gets a new snapshot.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (frame, changes) = join(&self.task, self.context.clone()).await.ok()?;
                    self.changes = changes;
                    frame
                }
            };
            self.sequence = frame.sequence;
            return Some(frame.wire);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("seat_map_clients").decrement(1.0);
    }
}
