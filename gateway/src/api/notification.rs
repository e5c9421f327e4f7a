//! REST of the notification domain: the log of mails, for staff.

use std::sync::Arc;

use bus::contract::Page;
use bus::contract::notification::{
    GetNotification, ListNotifications, Notification, NotificationStatus, ResendFailed, ResendNotification,
    Resent,
};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::{Domain, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Body, Caller, Of};

pub struct Notifications {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Notification")]
impl Notifications {
    /// The mail log
    ///
    /// Newest first. FAILED ones can be sent again.
    #[oai(path = "/v1/notifications", method = "get")]
    async fn list(
        &self,
        caller: Caller,
        /// Only of this reservation.
        #[oai(name = "reservationId")]
        reservation_id: Query<Option<Of<Uuid>>>,
        status: Query<Option<Of<NotificationStatus>>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Notification>> {
        let request = ListNotifications {
            reservation_id: reservation_id.0.map(|id| id.0),
            status: status.0.map(|status| status.0),
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// One mail of the log
    #[oai(path = "/v1/notifications/:id", method = "get")]
    async fn get(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Notification> {
        self.hosts.forward(&caller, GetNotification { id: id.0.0 }).await
    }

    /// Send all failed mails of a period again
    ///
    /// Those that failed between `from` and `to`, the oldest first, at most 10,000; `left` says how many remain. Each is
    /// skipped if it is out of date.
    #[oai(path = "/v1/notifications/resend", method = "post")]
    async fn resend_failed(&self, caller: Caller, body: Body<ResendFailed>) -> Answered<Resent, 202> {
        self.hosts.forward_body(&caller, body).await
    }

    /// Send a mail again
    ///
    /// For one that was sent, skipped or given up. It is skipped again if it is out of date.
    #[oai(path = "/v1/notifications/:id/resend", method = "post")]
    async fn resend(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Notification, 202> {
        self.hosts.forward(&caller, ResendNotification { id: id.0.0 }).await
    }
}
