//! The rest of the house as the gateway sees it: hosts that answer, notices that come by, tokens that prove someone.
//!
//! Invariant: nothing in this crate speaks NATS but this file.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bus::Bus;
use bus::contract::currency::Currencies;
use bus::contract::event_feed::Happened;
use bus::contract::{Currency, Fields, Problem, Request};
use bus::dead_letter::Command;
use bus::event_feed;
use bus::service::Ask;
use bus::token::{Identity, Verifier};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio_util::sync::CancellationToken;

use crate::challenge::Challenge;
use crate::feed::Feed;
use crate::hub::Hub;
use crate::limit::{Bounds, Limiter, Networks, Place};
use crate::media::MediaRoom;
use crate::payload::{Answer, Answered, Caller};

/// Questions at hosts at once. A host takes 1,024 of one endpoint; beyond this a queue would only grow, and whoever
/// waits in it gives up before the answer comes.
const ASKED_MAX: usize = 2_048;

/// A host answers a ping within a millisecond; one that does not within this is as good as away.
const PING_MAX: Duration = Duration::from_millis(300);

/// A restarted NATS server is back within a second; what takes longer is an outage, and is told.
const RECONNECT: Duration = Duration::from_secs(2);

/// Who answers.
pub enum Hosts {
    Nats {
        bus: Box<Bus>,
        verifier: Verifier,
    },
    /// A stand-in without a server behind it.
    #[cfg(test)]
    Told(Arc<crate::tests::Told>),
}

impl Hosts {
    async fn ask<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        match self {
            Self::Nats { bus, .. } => {
                if !bus.nearby.answers(R::SUBJECT) {
                    reach(bus).await?;
                }
                bus.ask_raw(request, ask).await
            }
            #[cfg(test)]
            Self::Told(told) => told.answer(request, ask).await,
        }
    }

    /// Carries out a request about dead letters, which no host answers.
    async fn dead_letters<C: Command>(&self, command: &C, ask: &Ask) -> Result<Bytes, Problem> {
        match self {
            Self::Nats { bus, .. } => {
                reach(bus).await?;
                command.carry_out(bus, &ask.context).await
            }
            #[cfg(test)]
            Self::Told(told) => told.answer(command, ask).await,
        }
    }

    /// Notices on a subject: of all that changes after the answer to an ordered question ([`Ask::ordered`]) that is asked
    /// when this has returned.
    pub async fn listen(&self, subject: String) -> Result<BoxStream<'static, Bytes>, Problem> {
        match self {
            Self::Nats { bus, .. } => match bus.client.subscribe(subject).await {
                Ok(notices) => Ok(notices.map(|message| message.payload).boxed()),
                Err(error) => {
                    tracing::warn!(%error, "not subscribed");
                    Err(Problem::unavailable("Live changes are away. Try again shortly."))
                }
            },
            #[cfg(test)]
            Self::Told(told) => Ok(told.notices(subject)),
        }
    }

    /// The last events, the oldest first, and all from before that reading on: some come twice.
    pub async fn events(&self, most: u64) -> Result<(Vec<Happened>, BoxStream<'static, Happened>), Problem> {
        match self {
            Self::Nats { bus, .. } => {
                let heard = event_feed::listen(bus).await?;
                Ok((event_feed::last(bus, most).await?, heard))
            }
            #[cfg(test)]
            Self::Told(told) => told.events(most).await,
        }
    }

    pub async fn verify(&self, token: &str) -> Result<Arc<Identity>, Problem> {
        match self {
            Self::Nats { verifier, .. } => verifier.verify(token).await,
            #[cfg(test)]
            Self::Told(told) => told.verify(token),
        }
    }

    /// Changes after each time that notices may have been missed.
    pub fn connections(&self) -> watch::Receiver<u64> {
        match self {
            Self::Nats { bus, .. } => bus.connections(),
            #[cfg(test)]
            Self::Told(told) => told.connections.subscribe(),
        }
    }

    /// The domains of `expected` of which some host answers a ping now.
    pub async fn present(&self, expected: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        match self {
            Self::Nats { bus, .. } => ping(bus, expected).await.unwrap_or_default(),
            #[cfg(test)]
            Self::Told(told) => told.present(expected),
        }
    }

    pub fn is_connected(&self) -> bool {
        match self {
            Self::Nats { bus, .. } => bus.is_connected(),
            #[cfg(test)]
            Self::Told(_) => true,
        }
    }
}

/// Asks every service at once (NATS services API), until all that are expected have answered or time is up.
async fn ping(bus: &Bus, expected: &BTreeSet<&'static str>) -> anyhow::Result<BTreeSet<&'static str>> {
    #[derive(serde::Deserialize)]
    struct Pong<'a> {
        name: &'a str,
    }
    let inbox = bus.client.new_inbox();
    let mut pongs = bus.client.subscribe(inbox.clone()).await?;
    bus.client.publish_with_reply("$SRV.PING", inbox, Bytes::new()).await?;
    let mut present = BTreeSet::new();
    let until = tokio::time::Instant::now() + PING_MAX;
    while present.len() < expected.len()
        && let Ok(Some(pong)) = tokio::time::timeout_at(until, pongs.next()).await
    {
        let pong = serde_json::from_slice::<Pong<'_>>(&pong.payload);
        present.extend(pong.ok().and_then(|pong| expected.get(pong.name)));
    }
    Ok(present)
}

/// Waits for the connection where it is lost. A question is not sent into the void: it would be kept, and done
/// long after its asker was told that it was not.
async fn reach(bus: &Bus) -> Result<(), Problem> {
    if bus.is_connected() {
        return Ok(());
    }
    let mut connections = bus.connections();
    match tokio::time::timeout(RECONNECT, connections.wait_for(|_| bus.is_connected())).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Problem::unavailable("The connection to the hosts is lost. Try again shortly.")),
    }
}

/// What all endpoints share.
pub struct House {
    pub hosts: Hosts,
    pub hub: Hub,
    pub feed: Feed,
    pub limiter: Limiter,
    pub media: MediaRoom,
    /// The answer to `GET /v1/currencies`, which the contract's table gives.
    pub currencies: Bytes,
    /// Asked before some requests, where one is set; see [`crate::challenge`].
    pub challenge: OnceLock<Box<dyn Challenge>>,
    /// Cancelled when the gateway stops: waits end, streams end, readiness says no.
    pub stop: CancellationToken,
    /// Live seat maps and event feeds, by network.
    pub streams: Arc<Networks>,
    asked: Semaphore,
    /// Webhooks at their host; `None`: as many as come.
    webhooks: Option<Semaphore>,
}

impl House {
    pub fn new(
        hosts: Hosts,
        limiter: Limiter,
        media: MediaRoom,
        currency: Currency,
        bounds: &Bounds,
    ) -> Arc<Self> {
        let currencies =
            serde_json::to_vec(&Currencies::with_default(currency)).expect("plain fields always serialize");
        Arc::new(Self {
            hosts,
            hub: Hub::new(),
            feed: Feed::new(),
            limiter,
            media,
            currencies: currencies.into(),
            challenge: OnceLock::new(),
            stop: CancellationToken::new(),
            streams: Networks::new(bounds.streams_per_network_max),
            asked: Semaphore::new(ASKED_MAX),
            webhooks: bounds.webhooks_in_work_max.map(Semaphore::new),
        })
    }

    /// A live stream's place for the caller's network; 429 when it has as many as it may. A call without an address (a
    /// test's) is not counted.
    pub fn stream_place(&self, caller: &Caller) -> Result<Option<Place>, Problem> {
        let Some(address) = caller.0.client_ip else { return Ok(None) };
        let place = self.streams.enter(address).ok_or_else(|| {
            metrics::counter!("streams_refused_total").increment(1);
            let detail = "Too many live streams go to your network. Ask for the seat map instead.";
            Problem::new(429, "streams", detail).with_retry_after(10)
        });
        place.map(Some)
    }

    /// A place in work for a webhook, until it is dropped; 503 when all are taken. The provider sends it again.
    pub fn begin_webhook(&self) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let Some(webhooks) = &self.webhooks else { return Ok(None) };
        webhooks.try_acquire().map(Some).map_err(|_| {
            metrics::counter!("webhooks_refused_total", "why" => "overloaded").increment(1);
            let busy = Problem::unavailable("Too many webhooks at once.").with_retry_after(5);
            Problem { code: "overloaded".into(), ..busy }
        })
    }

    /// Asks the request's host; 503 when too many are asked already.
    pub async fn ask<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        let Ok(_asked) = self.asked.try_acquire() else {
            metrics::counter!("gateway_overloaded_total").increment(1);
            return Err(Problem {
                code: "overloaded".into(),
                ..Problem::unavailable("Too many requests at once.")
            });
        };
        self.hosts.ask(request, ask).await
    }

    /// As [`Self::pass`], for a request about dead letters.
    pub async fn pass_dead_letters<C: Command>(&self, caller: &Caller, command: C) -> Answered<C::Answer> {
        valid(&command)?;
        Ok(Answer::new(self.hosts.dead_letters(&command, &caller.0).await?))
    }

    /// Validates a request, asks its host and passes the answer on.
    pub async fn pass<R: Request, const STATUS: u16>(
        &self,
        caller: &Caller,
        request: R,
    ) -> Answered<R::Answer, STATUS> {
        valid(&request)?;
        Ok(Answer::new(self.ask(&request, &caller.0).await?))
    }
}

/// 422 with every field that is readable but not valid. The host checks again: it trusts no asker.
pub fn valid<R: Request>(request: &R) -> Result<(), Problem> {
    let mut fields = Fields::default();
    request.validate(&mut fields);
    fields.into_result()
}
