//! What the gateway needs from the rest of the deployment: requests to hosts, change notices, events, token checks.
//!
//! [`Hosts`] is implemented over NATS (`nats.rs`) and, for this crate's tests, by endpoints in the same process. A request
//! always travels as its subject and its JSON, so both implementations see what a host would see.

use std::collections::BTreeSet;
use std::sync::Arc;

use bus::contract::event_feed::Happened;
use bus::contract::{Fields, Problem, Request};
use bus::service::Ask;
use bus::token::Identity;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;

/// The last events, oldest first, and a stream of all events since before they were read: some occur in both.
pub type Events = (Vec<Happened>, BoxStream<'static, Happened>);

/// The hosts of a deployment.
pub trait Hosts: Send + Sync {
    /// Sends a request's JSON to a host of its domain and returns the JSON of the answer.
    fn send<'a>(
        &'a self,
        subject: &'static str,
        payload: Bytes,
        ask: &'a Ask,
    ) -> BoxFuture<'a, Result<Bytes, Problem>>;

    /// Subscribes to change notices. They include every change that the answer to a later ordered request
    /// ([`Ask::ordered`]) does not show.
    fn subscribe(&self, subject: String) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>>;

    /// The last `max` events and all that follow.
    fn events(&self, max: u64) -> BoxFuture<'_, Result<Events, Problem>>;

    /// Verifies an access token.
    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Arc<Identity>, Problem>>;

    /// Changes each time that notices may have been missed.
    fn reconnects(&self) -> watch::Receiver<u64>;

    /// The domains of `expected` of which at least one host answers a ping now.
    fn answering<'a>(&'a self, expected: &'a BTreeSet<&'static str>)
    -> BoxFuture<'a, BTreeSet<&'static str>>;

    /// Whether requests can reach hosts in other processes.
    fn is_connected(&self) -> bool;
}

impl dyn Hosts {
    /// Sends a request and returns the JSON of the answer.
    pub async fn request<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        let payload =
            serde_json::to_vec(request).expect("contract types are plain data and always serialize");
        self.send(R::SUBJECT, payload.into(), ask).await
    }
}

/// 422 with every field that is readable but not valid. The host validates again: it trusts no caller.
pub fn validate<R: Request>(request: &R) -> Result<(), Problem> {
    let mut fields = Fields::default();
    request.validate(&mut fields);
    fields.into_result()
}
