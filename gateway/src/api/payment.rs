//! REST of the payment domain: paying for a reservation, the provider's webhook, and payments, refunds and revenue for staff.
//!
//! Invariant: a webhook's body reaches the host byte for byte, since the signature covers its bytes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::contract::payment::{
    GetPayment, ListPayments, Pay, Payment, PaymentStatus, Refund, Rejection, ReportRevenue, ResumePayment,
    RevenueBy, RevenueReport, Webhook,
};
use bus::contract::reservation::RequestRefund;
use bus::contract::{Page, Problem};
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use tokio::sync::{Semaphore, SemaphorePermit};
use uuid::Uuid;

use super::{Domain, ids, paging};
use crate::hosts::Hosts;
use crate::payload::{Answered, Body, Caller, Done, Of, Raw, Rest};
use crate::problem::Refused;

pub struct Payments {
    hosts: Arc<dyn Hosts>,
    /// Webhooks that may be sent to their host at once; `None`: unlimited.
    webhooks: Option<Semaphore>,
}

impl Payments {
    pub fn new(hosts: Arc<dyn Hosts>, webhooks_max: Option<usize>) -> Self {
        Self { hosts, webhooks: webhooks_max.map(Semaphore::new) }
    }

    /// A permit to send a webhook; 503 when all are taken. The provider sends it again.
    fn begin_webhook(&self) -> Result<Option<SemaphorePermit<'_>>, Problem> {
        let Some(webhooks) = &self.webhooks else { return Ok(None) };
        webhooks.try_acquire().map(Some).map_err(|_| {
            metrics::counter!("webhooks_refused_total", "why" => "overloaded").increment(1);
            let busy = Problem::unavailable("Too many webhooks at once.").with_retry_after(5);
            Problem { code: "overloaded".into(), ..busy }
        })
    }
}

#[OpenApi(tag = "Domain::Payment")]
impl Payments {
    /// Pay for a reservation
    ///
    /// With a `paymentMethod` it is charged at once; without one the answer's `checkoutUrl` is the page to pay on.
    /// After 402 `card-declined` the seats are still held: try another card. After too many declined cards only the hosted
    /// page is accepted (409 `declines-limit`). A free order has SUCCEEDED at once.
    #[oai(path = "/v1/payments", method = "post")]
    async fn create(&self, caller: Caller, body: Body<Pay>) -> Answered<Payment, 201> {
        self.hosts.forward_body(&caller, body).await
    }

    /// One payment
    #[oai(path = "/v1/payments/:id", method = "get")]
    async fn get(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Payment> {
        self.hosts.forward(&caller, GetPayment { id: id.0.0 }).await
    }

    /// All payments
    ///
    /// Newest first. With `attention=true` only those that need attention.
    #[oai(path = "/v1/payments", method = "get")]
    async fn list(
        &self,
        caller: Caller,
        status: Query<Option<Of<PaymentStatus>>>,
        #[oai(name = "reservationId")] reservation_id: Query<Option<Of<Uuid>>>,
        attention: Query<Option<bool>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<Page<Payment>> {
        let request = ListPayments {
            status: status.0.map(|status| status.0),
            reservation_id: reservation_id.0.map(|id| id.0),
            attention: attention.0,
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// Check with the provider again
    ///
    /// Everything of a payment that has not settled. Its `attention` ends when it settles, or at once where nothing is open.
    #[oai(path = "/v1/admin/payments/:id/resume", method = "post")]
    async fn resume(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Payment> {
        self.hosts.forward(&caller, ResumePayment { id: id.0.0 }).await
    }

    /// Revenue
    ///
    /// From the ledger, by the day on which the money moved. `net` is `gross` less `refunded` and `disputed`; there is a
    /// line for each currency. An exchange moves money and tickets to the other show on its day; `tickets` are the seats that
    /// are sold, whatever was paid back. What comes to nothing is no line.
    #[oai(path = "/v1/admin/reports/revenue", method = "get")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn revenue(
        &self,
        caller: Caller,
        /// The first day, `YYYY-MM-DD`.
        from: Query<String>,
        /// The last day, at most a year later.
        to: Query<String>,
        /// `day` without it.
        by: Query<Option<Of<RevenueBy>>>,
        /// Where the days begin and end, such as Europe/Berlin; UTC without it.
        #[oai(name = "timeZone")]
        time_zone: Query<Option<String>>,
        /// Only of these showtimes: at most 100 ids, separated by commas.
        #[oai(name = "showtimeIds")]
        showtime_ids: Query<Option<String>>,
        /// Counted from 1.
        page: Query<Option<u32>>,
        /// At most 100; 20 without it.
        #[oai(name = "pageSize")]
        page_size: Query<Option<u32>>,
    ) -> Answered<RevenueReport> {
        let request = ReportRevenue {
            by: by.0.map_or(RevenueBy::Day, |by| by.0),
            from: from.0,
            to: to.0,
            time_zone: time_zone.0.unwrap_or_else(|| "UTC".into()),
            showtime_ids: ids(showtime_ids.0, "showtimeIds")?,
            paging: paging(page.0, page_size.0),
        };
        self.hosts.forward(&caller, request).await
    }

    /// Refund a payment
    ///
    /// Without `amount` all that is left: then the reservation is cancelled and its seats are released. After a partial refund it
    /// stays CONFIRMED. `amount` is in minor units, or money with its currency.
    #[oai(path = "/v1/payments/:id/refund", method = "post")]
    async fn refund(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<RequestRefund>,
    ) -> Answered<Refund, 202> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }

    /// Webhook of the payment provider
    ///
    /// For the provider only: the body is its signed event. A repeated event is handled once.
    #[oai(path = "/v1/payments/webhook", method = "post")]
    async fn webhook(
        &self,
        caller: Caller,
        /// `t=` the time of signing, `v1=` the signature.
        #[oai(name = "Stripe-Signature")]
        signature: Header<Option<String>>,
        body: Raw,
    ) -> Result<Done<200>, Refused> {
        let Some(signature) = signature.0 else { return Err(Problem::from(Rejection::BadSignature).into()) };
        let _permit = self.begin_webhook()?;
        let request = Webhook { body: STANDARD.encode(&body.0), signature };
        self.hosts.request(&request, &caller.0).await?;
        Ok(Done)
    }
}
