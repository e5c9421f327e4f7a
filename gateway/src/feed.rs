//! The live stream of events for staff: one listener a gateway, shared by all who watch, and only while somebody does.
//!
//! Each takes the last events and then every new one as the same shared bytes, once each. One that is too slow is told how
//! many it missed, so that it delays nobody; when the connection to NATS was lost all streams end, and whoever comes back
//! takes the last events from the stream `EVENTS` itself. Invariant: before anything is sent the watcher's token still
//! holds and still suffices, so that a role that is taken away, or a login that ends, is the stream's end.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::contract::event_feed::{Happened, WatchEvents};
use bus::contract::{Problem, Request};
use bus::token::authorize;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};

use crate::house::House;
use crate::limit::Place;

/// Staff of one cinema who look at the same time; each costs a connection and what it is behind.
const CLIENTS_MAX: usize = 200;
/// Events that are sent first.
pub const LAST: usize = 50;
/// Ids by which an event that is published again is known: more than a relay repeats.
const KNOWN_MAX: usize = 2_000;
/// Events that a client may be behind, a second of a rush.
const BEHIND_MAX: usize = 1_024;
/// Proxies give up connections that are silent for 30–60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Joined = Result<(VecDeque<Bytes>, broadcast::Receiver<Bytes>), Problem>;
type Join = oneshot::Sender<Joined>;

/// The events as this gateway hears them.
pub struct Feed {
    desk: Mutex<Option<mpsc::WeakSender<Join>>>,
    clients: Arc<Semaphore>,
}

impl Feed {
    pub fn new() -> Self {
        Self { desk: Mutex::default(), clients: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }

    /// The events as `text/event-stream`, as long as the token suffices. 503 when too many watch already, or when the events
    /// are away.
    pub async fn watch(
        &self,
        house: &Arc<House>,
        token: String,
        place: Option<Place>,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Problem> {
        let permit =
            self.clients.clone().try_acquire_owned().map_err(|_| {
                Problem::unavailable("Too many watch the events already.").with_retry_after(10)
            })?;
        let desk = self.desk(house);
        let (reply, answer) = oneshot::channel();
        let gone = || Problem::unavailable("The events are away. Try again shortly.");
        desk.send(reply).await.map_err(|_| gone())?;
        let (first, heard) = answer.await.map_err(|_| gone())??;
        metrics::gauge!("event_feed_clients").increment(1.0);
        let house = house.clone();
        let client = Client { house, token, first, heard, _desk: desk, _permit: permit, _place: place };
        Ok(futures::stream::unfold(client, |mut client| async move {
            let bytes = client.next().await?;
            Some((bytes, client))
        }))
    }

    /// Whom to ask: who listens already, or one who begins to.
    fn desk(&self, house: &Arc<House>) -> mpsc::Sender<Join> {
        let mut desk = self.desk.lock().unwrap_or_else(|e| e.into_inner());
        // Closed: its listener ended while clients still read what it left them.
        let open = desk.as_ref().and_then(mpsc::WeakSender::upgrade).filter(|desk| !desk.is_closed());
        open.unwrap_or_else(|| {
            let (sender, joins) = mpsc::channel(CLIENTS_MAX);
            *desk = Some(sender.downgrade());
            tokio::spawn(listen(house.clone(), joins));
            sender
        })
    }
}

/// Hears events for those who join, until all of them have left or events may have been missed.
async fn listen(house: Arc<House>, mut joins: mpsc::Receiver<Join>) {
    let mut connections = house.hosts.connections();
    let (last, mut heard) = match house.hosts.events(LAST as u64).await {
        Ok(found) => found,
        Err(problem) => {
            joins.close();
            while let Some(join) = joins.recv().await {
                let _ = join.send(Err(problem.clone()));
            }
            return;
        }
    };
    let changes = broadcast::Sender::new(BEHIND_MAX);
    let mut tape = Tape::default();
    for event in last {
        tape.add(&event);
    }
    loop {
        tokio::select! {
            _ = house.stop.cancelled() => return,
            join = joins.recv() => match join {
                Some(join) => {
                    let _ = join.send(Ok((tape.last.clone(), changes.subscribe())));
                }
                None => return,
            },
            event = futures::StreamExt::next(&mut heard) => match event {
                Some(event) => {
                    if let Some(wire) = tape.add(&event) {
                        let _ = changes.send(wire);
                    }
                }
                None => return,
            },
            Ok(()) = connections.changed() => return,
        }
    }
}

/// The last events as they are sent, and the ids of some more.
#[derive(Default)]
struct Tape {
    last: VecDeque<Bytes>,
    known: HashSet<String>,
    order: VecDeque<String>,
}

impl Tape {
    /// As it is sent, or nothing when it was there already.
    fn add(&mut self, event: &Happened) -> Option<Bytes> {
        if !event.id.is_empty() {
            if !self.known.insert(event.id.clone()) {
                return None;
            }
            self.order.push_back(event.id.clone());
            if self.order.len() > KNOWN_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        let json = serde_json::to_string(event).expect("an event is plain data and always serializes");
        let wire = Bytes::from(format!("id: {}\nevent: event\ndata: {json}\n\n", event.id));
        self.last.push_back(wire.clone());
        if self.last.len() > LAST {
            self.last.pop_front();
        }
        Some(wire)
    }
}

/// One who watches.
struct Client {
    house: Arc<House>,
    token: String,
    first: VecDeque<Bytes>,
    heard: broadcast::Receiver<Bytes>,
    /// The listener ends when nobody holds it any more.
    _desk: mpsc::Sender<Join>,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl Client {
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = match self.first.pop_front() {
            Some(bytes) => bytes,
            None => {
                let heard = tokio::select! {
                    _ = self.house.stop.cancelled() => return None,
                    heard = self.heard.recv() => heard,
                    _ = tokio::time::sleep(HEARTBEAT) => Ok(Bytes::from_static(b":\n\n")),
                };
                match heard {
                    Ok(bytes) => bytes,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        format!("event: missed\ndata: {{\"events\":{missed}}}\n\n").into()
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        self.may_watch().await.then_some(bytes)
    }

    async fn may_watch(&self) -> bool {
        match self.house.hosts.verify(&self.token).await {
            Ok(identity) => authorize(WatchEvents::ACCESS, Some(&identity)).is_ok(),
            Err(_) => false,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("event_feed_clients").decrement(1.0);
    }
}
