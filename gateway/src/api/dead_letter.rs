//! REST of operations: messages that their consumer could not handle.
//!
//! No host answers here: the gateway reads the stream of dead letters itself, and has the consumer's host handle one again.

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
    /// Oldest first, without payloads. Nothing else waits for them: a message that is parked holds nobody up.
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

    /// Have it handled again
    ///
    /// Its consumer handles it now, under the event's own id: what it did before it failed is not done twice. Then it is
    /// gone from here. 409 `still-poison` when it failed again: mend the cause first.
    #[oai(path = "/v1/admin/dead-letters/:sequence/replay", method = "post")]
    async fn replay(&self, caller: Caller, sequence: Path<u64>) -> Answered<DeadLetter> {
        self.hosts.forward(&caller, ReplayDeadLetter { sequence: sequence.0 }).await
    }

    /// Give it up
    ///
    /// Nobody will handle it.
    #[oai(path = "/v1/admin/dead-letters/:sequence", method = "delete")]
    async fn give_up(&self, caller: Caller, sequence: Path<u64>) -> Result<Done<204>, Refused> {
        self.hosts.submit(&caller, DropDeadLetter { sequence: sequence.0 }).await?;
        Ok(Done)
    }
}
