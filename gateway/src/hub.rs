//! Live seat maps: one room per watched showtime, shared by all who watch it.
//!
//! A client takes from its room a snapshot and then each change as the same shared bytes, drops what is not newer
//! than what it has, and is given a new snapshot when it is too slow for the room's bounded memory. So it delays
//! nobody. A room ends when its last client leaves: clients hold its only strong senders.

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

use crate::house::House;
use crate::limit::Place;
use crate::room::{Frame, Join, Joined, Room};

/// Clients of this gateway: each costs a connection and some 10 KiB. More gateways take more.
const CLIENTS_MAX: usize = 10_000;
/// Proxies give up connections that are silent for 30–60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

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
    /// such showtime, 503 when too many watch already. `place` is the client's network's.
    pub async fn watch(
        &self,
        house: &Arc<House>,
        showtime: Uuid,
        context: Context,
        place: Option<Place>,
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
            _place: place,
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
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
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
