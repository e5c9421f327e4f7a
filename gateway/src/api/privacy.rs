//! REST of privacy: a person reads all that is stored about them, and staff erase a person. `DELETE /v1/me` is with the other
//! operations of its path, since one part of a document has all operations of a path.
//!
//! Invariant: the export is gathered in the caller's own name: each host decides what the caller may read, as for any other request.

use std::sync::Arc;

use bus::contract::auth::{EraseUser, Me, Role};
use bus::contract::notification::{ListOwnNotifications, Notification};
use bus::contract::payment::{GetPayment, GetReceipts};
use bus::contract::privacy::{EXPORTED_MAX, ExportedOrder, PersonalData};
use bus::contract::reservation::{GetReservation, ListReservations, Reservation};
use bus::contract::{Page, Paging, Problem, Request, Timestamp};
use bus::token::Identity;
use futures::{StreamExt, TryStreamExt};
use poem_openapi::OpenApi;
use poem_openapi::param::Path;
use uuid::Uuid;

use super::Domain;
use crate::hosts::Hosts;
use crate::payload::{Answer, Answered, Caller, Done, Of, Rest};
use crate::problem::Refused;

/// Orders that are read at once, with two requests each.
const AT_ONCE: usize = 4;
const PAGE: u32 = 100;

pub struct Privacy {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Auth")]
impl Privacy {
    /// Export my data
    ///
    /// One document: the account, the newest 200 orders with their payments and receipts, and the newest 200 mails. A guest gets its own
    /// orders; the token of an order gets this order.
    #[oai(path = "/v1/me/export", method = "get")]
    async fn export(&self, caller: Caller) -> Answered<PersonalData> {
        let data = self.gather(&caller).await?;
        let json = serde_json::to_vec(&data).expect("contract types are plain data and always serialize");
        Ok(Answer::new(json.into()))
    }

    /// Erase a user
    ///
    /// As the user's own erasure, for a person who asked the cinema. The audit keeps the reason. Staff are erased by a SUPER_ADMIN;
    /// the last SUPER_ADMIN cannot be erased.
    #[oai(path = "/v1/users/:id/erase", method = "post")]
    async fn erase_user(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<EraseUser>,
    ) -> Result<Done<204>, Refused> {
        self.hosts.submit_body(&caller, body.with_id(id.0.0)?).await?;
        Ok(Done)
    }
}

impl Privacy {
    async fn gather(&self, caller: &Caller) -> Result<PersonalData, Problem> {
        let token = caller.0.token.as_deref().unwrap_or_default();
        let identity = self.hosts.verify(token).await?;
        let account = match identity.order.is_none() && identity.role > Role::Guest {
            true => Some(self.read(caller, &Me {}).await?),
            false => None,
        };
        let (reservations, more_orders) = self.reservations(caller, &identity).await?;
        let orders = futures::stream::iter(reservations)
            .map(|reservation| self.order(caller, reservation))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (mails, more_mails) = self.mails(caller).await?;
        let has_more = more_orders || more_mails;
        Ok(PersonalData { exported_at: Timestamp::wall_clock(), account, orders, mails, has_more })
    }

    /// The caller's orders, also those of staff, whose lists have everybody's; and whether there are more.
    async fn reservations(
        &self,
        caller: &Caller,
        identity: &Identity,
    ) -> Result<(Vec<Reservation>, bool), Problem> {
        if let Some(order) = identity.order {
            let request = GetReservation { id: order.reservation_id };
            return Ok((vec![self.read(caller, &request).await?], false));
        }
        self.pages(caller, |paging| ListReservations {
            status: None,
            user_id: Some(identity.user_id),
            showtime_id: None,
            when: None,
            code: None,
            paging,
        })
        .await
    }

    async fn mails(&self, caller: &Caller) -> Result<(Vec<Notification>, bool), Problem> {
        self.pages(caller, |paging| ListOwnNotifications { paging }).await
    }

    /// The first items of a list, and whether there are more.
    async fn pages<R, T>(
        &self,
        caller: &Caller,
        request: impl Fn(Paging) -> R,
    ) -> Result<(Vec<T>, bool), Problem>
    where
        R: Request<Answer = Page<T>>,
    {
        let mut items = Vec::new();
        for page in 1.. {
            let answer = self.read(caller, &request(Paging { page, page_size: PAGE })).await?;
            let is_last = answer.items.is_empty();
            items.extend(answer.items);
            if is_last || items.len() as u64 >= answer.total {
                break;
            }
            if items.len() >= EXPORTED_MAX {
                return Ok((items, true));
            }
        }
        Ok((items, false))
    }

    async fn order(&self, caller: &Caller, reservation: Reservation) -> Result<ExportedOrder, Problem> {
        let payment = match &reservation.payment {
            Some(payment) => found(self.read(caller, &GetPayment { id: payment.id }).await)?,
            None => None,
        };
        let request = GetReceipts { reservation_id: reservation.id };
        let receipts = found(self.read(caller, &request).await)?;
        let receipts = receipts.map(|documents| documents.receipts).unwrap_or_default();
        Ok(ExportedOrder { reservation, payment, receipts })
    }

    async fn read<R: Request>(&self, caller: &Caller, request: &R) -> Result<R::Answer, Problem> {
        let json = self.hosts.request(request, &caller.0).await?;
        serde_json::from_slice(&json).map_err(|error| {
            tracing::error!(subject = R::SUBJECT, %error, "an answer for an export is not readable");
            Problem::internal()
        })
    }
}

/// `None` where there is no such thing: a payment that is not opened yet, receipts that are not made or were never due.
fn found<T>(answer: Result<T, Problem>) -> Result<Option<T>, Problem> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(problem) if [404, 409].contains(&problem.status) => Ok(None),
        Err(problem) => Err(problem),
    }
}
