//! REST of operations: messages that their consumer could not handle.
//!
//! No host answers these: the gateway reads the stream of dead letters itself; for a replay it sends a request to the
//! consumer's host (`nats.rs`, `bus::dead_letter`).

use std::sync::Arc;

use bus::contract::Page;
use bus::contract::dead_letter::{
    DeadLetter, DropDeadLetter, GetDeadLetter, ListDeadLetters, ReplayDeadLetter,
};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Caller, Done};
use crate::problem::Refused;

pub struct DeadLetters {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Operation")]
impl DeadLetters {
    /// Messages that their consumer could not handle
    ///
    /// Oldest first, without payloads. A parked message does not delay others.
    #[oai(path = "/v1/admin/dead-letters", method = "get")]
    async fn list(
        &self,
        caller: Caller,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<DeadLetter>> {
        let request = ListDeadLetters { paging: paging(page.0, page_size.0) };
        self.hosts.forward(&caller, request).await
    }

    /// One of them, with its payload
    #[oai(path = "/v1/admin/dead-letters/:sequence", method = "get")]
    async fn get(&self, caller: Caller, sequence: Path<u64>) -> Answered<DeadLetter> {
        self.hosts.forward(&caller, GetDeadLetter { sequence: sequence.0 }).await
    }

    /// Replay a dead letter
    ///
    /// Its consumer handles it now, under the event's own id, so nothing is done twice. Then it is deleted here. 409
    /// `still-poison` when it fails again: fix the cause first.
    #[oai(path = "/v1/admin/dead-letters/:sequence/replay", method = "post")]
    async fn replay(&self, caller: Caller, sequence: Path<u64>) -> Answered<DeadLetter> {
        self.hosts.forward(&caller, ReplayDeadLetter { sequence: sequence.0 }).await
    }

    /// Drop a dead letter
    ///
    /// It is deleted without being handled.
    #[oai(path = "/v1/admin/dead-letters/:sequence", method = "delete")]
    async fn delete(&self, caller: Caller, sequence: Path<u64>) -> Result<Done<204>, Refused> {
        self.hosts.submit(&caller, DropDeadLetter { sequence: sequence.0 }).await?;
        Ok(Done)
    }
}
