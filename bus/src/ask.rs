//! Sends requests to hosts: within the process where a host of the domain runs in it, else over the NATS services API.

use std::time::Duration;

use async_nats::RequestErrorKind;
use async_nats::service::NATS_SERVICE_ERROR_CODE;
use bytes::Bytes;
use futures::StreamExt;
use tokio::time::Instant;

use crate::connection::Bus;
use crate::context::Context;
use crate::contract::{Problem, Request};
use crate::request::{Answered, Ask, NoAnswer};
use crate::trace::{self, Kind};

/// An echo arrives within a millisecond; without one the request is sent over NATS.
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause before a request that reached nobody is sent again: short, as a restarted host serves within a second.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Bus {
    /// Sends a request and decodes the answer.
    pub async fn ask<R: Request>(&self, request: &R, ask: &Ask) -> Result<R::Answer, Problem> {
        let bytes = self.ask_raw(request, ask).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            tracing::error!(subject = R::SUBJECT, %error, "unreadable answer");
            Problem::internal()
        })
    }

    /// Sends a request and returns the answer's bytes as the host wrote them. 503 if no host serves it, also not some seconds
    /// later, or none answers in time; after a time-out the outcome is unknown.
    pub async fn ask_raw<R: Request>(&self, request: &R, ask: &Ask) -> Result<Bytes, Problem> {
        let payload =
            serde_json::to_vec(request).expect("contract types are plain data and always serialize");
        self.ask_at(R::SUBJECT, payload.into(), ask).await
    }

    /// The same for a request of which only the subject is known.
    pub async fn ask_at(&self, subject: &str, payload: Bytes, ask: &Ask) -> Result<Bytes, Problem> {
        let (span, context) = match trace::is_on() {
            true => trace::begin(Kind::Client, format_args!("ask {subject}"), &ask.context),
            false => (tracing::Span::none(), ask.context.clone()),
        };
        let answered = self.ask_until_served(subject, payload, ask, &context).await;
        answered.unwrap_or_else(|no_answer| {
            trace::fail(&span);
            let request_id = &ask.context.correlation_id;
            // Without a host the caller logs it where it matters. A host that does not answer is logged here.
            match no_answer {
                NoAnswer::NoHost => tracing::debug!(subject, request_id, "no host serves this request"),
                NoAnswer::Failed(why) => tracing::warn!(subject, why, request_id, "no answer"),
            }
            let domain = subject.split('.').nth(1).unwrap_or_default();
            let detail = format!("The {domain} service is not available. Please try again shortly.");
            Err(Problem::unavailable(detail))
        })
    }

    /// A request that reached nobody is sent again while a host restarts, within the request's own time-out.
    async fn ask_until_served(
        &self,
        subject: &str,
        payload: Bytes,
        ask: &Ask,
        context: &Context,
    ) -> Result<Answered, NoAnswer> {
        let deadline = Instant::now() + ask.timeout;
        let mut answered = self.ask_once(subject, payload.clone(), ask, context).await;
        while matches!(answered, Err(NoAnswer::NoHost)) {
            let again_at = Instant::now() + ASK_AGAIN_AFTER;
            if again_at >= deadline.min(self.away.worth_asking_until(subject)) {
                return answered;
            }
            tokio::time::sleep_until(again_at).await;
            let ask = Ask { timeout: deadline - again_at, ..ask.clone() };
            answered = self.ask_once(subject, payload.clone(), &ask, context).await;
        }
        self.away.is_back(subject);
        answered
    }

    async fn ask_once(
        &self,
        subject: &str,
        payload: Bytes,
        ask: &Ask,
        context: &Context,
    ) -> Result<Answered, NoAnswer> {
        let endpoint = match self.in_process.endpoint(subject) {
            Some(_) if ask.ordered && self.is_connected() && !self.echo().await => None,
            endpoint => endpoint,
        };
        match endpoint {
            Some(endpoint) => endpoint.ask(payload, ask, context.clone()).await,
            None => self.ask_over_nats(subject, payload, ask, context).await,
        }
    }

    /// Sends a message to this connection. Once it arrives the server has handled everything that the connection sent before,
    /// such as subscriptions.
    async fn echo(&self) -> bool {
        let inbox = self.client.new_inbox();
        let Ok(mut echoes) = self.client.subscribe(inbox.clone()).await else { return false };
        let echo = async {
            self.client.publish(inbox, Bytes::new()).await.ok()?;
            echoes.next().await
        };
        matches!(tokio::time::timeout(ECHO_TIMEOUT, echo).await, Ok(Some(_)))
    }

    async fn ask_over_nats(
        &self,
        subject: &str,
        payload: Bytes,
        ask: &Ask,
        context: &Context,
    ) -> Result<Answered, NoAnswer> {
        let message = async_nats::Request::new()
            .headers(ask.headers(context))
            .payload(payload)
            .timeout(Some(ask.timeout));
        let reply =
            self.client.send_request(subject.to_owned(), message).await.map_err(|error| {
                match error.kind() {
                    RequestErrorKind::NoResponders => NoAnswer::NoHost,
                    _ => NoAnswer::Failed(error.to_string()),
                }
            })?;
        let is_problem = reply.headers.as_ref().is_some_and(|h| h.get(NATS_SERVICE_ERROR_CODE).is_some());
        if !is_problem {
            return Ok(Ok(reply.payload));
        }
        Ok(Err(serde_json::from_slice(&reply.payload).unwrap_or_else(|_| Problem::internal())))
    }
}
