//! The live stream of events for staff: one subscription a gateway, shared by all clients, and only while there are any.
//!
//! Each client gets the last events and then every new one, once each, as the same shared bytes. A client that is too slow
//! gets the number of events that it missed, so it delays nobody. When the connection to NATS was lost all streams end;
//! a client that reconnects reads the last events from the stream `EVENTS` again. Invariant: before anything is sent the
//! client's token is verified and authorized again, so a revoked role or an ended login ends the stream.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bus::contract::event_feed::{Happened, WatchEvents};
use bus::contract::{Problem, Request};
use bus::token::authorize;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::hosts::Hosts;
use crate::limit::Place;

/// Staff of one cinema who watch at the same time; each costs a connection and its backlog.
const CLIENTS_MAX: usize = 200;
/// Events that are sent first.
pub const LAST: usize = 50;
/// Ids kept to recognize an event that is published again: more than a relay repeats.
const IDS_MAX: usize = 2_000;
/// Events that a client may lag behind: a second of a rush.
const LAG_MAX: usize = 1_024;
/// Proxies close connections that are silent for 30–60 s.
const HEARTBEAT: Duration = Duration::from_secs(15);

type Joined = Result<(VecDeque<Bytes>, broadcast::Receiver<Bytes>), Problem>;
type Join = oneshot::Sender<Joined>;

/// The events as this gateway receives them.
pub struct Feed {
    hosts: Arc<dyn Hosts>,
    stop: CancellationToken,
    /// The running subscription task, if any.
    task: Mutex<Option<mpsc::WeakSender<Join>>>,
    clients: Arc<Semaphore>,
}

impl Feed {
    /// All streams end when `stop` is cancelled.
    pub fn new(hosts: Arc<dyn Hosts>, stop: CancellationToken) -> Self {
        Self { hosts, stop, task: Mutex::default(), clients: Arc::new(Semaphore::new(CLIENTS_MAX)) }
    }

    /// The events as `text/event-stream`, as long as the token suffices. 503 when too many clients are connected or the
    /// events cannot be read. `place` counts against the client's network until the stream ends.
    pub async fn watch(
        &self,
        token: String,
        place: Option<Place>,
    ) -> Result<impl Stream<Item = Bytes> + use<>, Problem> {
        let permit = self.clients.clone().try_acquire_owned().map_err(|_| {
            Problem::unavailable("Too many clients watch the events already.").with_retry_after(10)
        })?;
        let task = self.task();
        let (reply, answer) = oneshot::channel();
        let ended = || Problem::unavailable("The events are not available. Try again shortly.");
        task.send(reply).await.map_err(|_| ended())?;
        let (first, events) = answer.await.map_err(|_| ended())??;
        metrics::gauge!("event_feed_clients").increment(1.0);
        let client = Client {
            hosts: self.hosts.clone(),
            stop: self.stop.clone(),
            token,
            first,
            events,
            _task: task,
            _permit: permit,
            _place: place,
        };
        Ok(futures::stream::unfold(client, |mut client| async move {
            let bytes = client.next().await?;
            Some((bytes, client))
        }))
    }

    /// The running subscription task, or a new one.
    fn task(&self) -> mpsc::Sender<Join> {
        let mut task = self.task.lock().unwrap_or_else(|e| e.into_inner());
        // Closed: the task has ended, and clients still read what it sent before.
        let open = task.as_ref().and_then(mpsc::WeakSender::upgrade).filter(|task| !task.is_closed());
        open.unwrap_or_else(|| {
            let (sender, joins) = mpsc::channel(CLIENTS_MAX);
            *task = Some(sender.downgrade());
            tokio::spawn(receive_events(self.hosts.clone(), joins, self.stop.clone()));
            sender
        })
    }
}

/// Receives events for all clients until the last one has left or events may have been missed.
async fn receive_events(hosts: Arc<dyn Hosts>, mut joins: mpsc::Receiver<Join>, stop: CancellationToken) {
    let mut reconnects = hosts.reconnects();
    let (last, mut following) = match hosts.events(LAST as u64).await {
        Ok(events) => events,
        Err(problem) => {
            joins.close();
            while let Some(join) = joins.recv().await {
                let _ = join.send(Err(problem.clone()));
            }
            return;
        }
    };
    let clients = broadcast::Sender::new(LAG_MAX);
    let mut recent = Recent::default();
    for event in last {
        recent.add(&event);
    }
    loop {
        tokio::select! {
            _ = stop.cancelled() => return,
            join = joins.recv() => match join {
                Some(join) => {
                    let _ = join.send(Ok((recent.last.clone(), clients.subscribe())));
                }
                None => return,
            },
            event = following.next() => match event {
                Some(event) => {
                    if let Some(wire) = recent.add(&event) {
                        let _ = clients.send(wire);
                    }
                }
                None => return,
            },
            Ok(()) = reconnects.changed() => return,
        }
    }
}

/// The last events as they are sent, and the ids of some more.
#[derive(Default)]
struct Recent {
    last: VecDeque<Bytes>,
    ids: HashSet<String>,
    ids_in_order: VecDeque<String>,
}

impl Recent {
    /// The event as it is sent, or nothing where it is a repetition.
    fn add(&mut self, event: &Happened) -> Option<Bytes> {
        if !event.id.is_empty() {
            if !self.ids.insert(event.id.clone()) {
                return None;
            }
            self.ids_in_order.push_back(event.id.clone());
            if self.ids_in_order.len() > IDS_MAX
                && let Some(oldest) = self.ids_in_order.pop_front()
            {
                self.ids.remove(&oldest);
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

/// One connected client.
struct Client {
    hosts: Arc<dyn Hosts>,
    stop: CancellationToken,
    token: String,
    first: VecDeque<Bytes>,
    events: broadcast::Receiver<Bytes>,
    /// The task ends when no client holds its sender any more.
    _task: mpsc::Sender<Join>,
    _permit: OwnedSemaphorePermit,
    _place: Option<Place>,
}

impl Client {
    /// What is sent next; `None` ends the stream.
    async fn next(&mut self) -> Option<Bytes> {
        let bytes = match self.first.pop_front() {
            Some(bytes) => bytes,
            None => {
                let received = tokio::select! {
                    _ = self.stop.cancelled() => return None,
                    received = self.events.recv() => received,
                    _ = tokio::time::sleep(HEARTBEAT) => Ok(Bytes::from_static(b":\n\n")),
                };
                match received {
                    Ok(bytes) => bytes,
                    Err(broadcast::error::RecvError::Lagged(missed)) => {
                        format!("event: missed\ndata: {{\"events\":{missed}}}\n\n").into()
                    }
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        };
        self.is_authorized().await.then_some(bytes)
    }

    async fn is_authorized(&self) -> bool {
        match self.hosts.verify(&self.token).await {
            Ok(identity) => authorize(WatchEvents::ACCESS, false, Some(&identity)).is_ok(),
            Err(_) => false,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        metrics::gauge!("event_feed_clients").decrement(1.0);
    }
}
