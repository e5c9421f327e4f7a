//! REST of the payment domain: paying for a reservation, and the provider's webhook.
//!
//! Invariant: a webhook's body reaches the host byte for byte, since its signature is over the bytes.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::contract::Problem;
use bus::contract::payment::{GetPayment, Pay, Payment, Refund, Rejection, Webhook};
use bus::contract::reservation::RequestRefund;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path};
use uuid::Uuid;

use super::Domain;
use crate::house::House;
use crate::payload::{Answered, Body, Caller, Done, Of, Raw, Rest};
use crate::problem::Refused;

pub struct Payments {
    pub house: Arc<House>,
}

#[OpenApi(tag = "Domain::Payment")]
impl Payments {
    /// Pay for a reservation
    ///
    /// With a `paymentMethod` it is charged at once; without one the answer's `checkoutUrl` is the page to pay on.
    /// After 402 `card-declined` the seats are still held: try another card.
    #[oai(path = "/v1/payments", method = "post")]
    async fn create(&self, caller: Caller, body: Body<Pay>) -> Answered<Payment, 201> {
        self.house.pass(&caller, body.0).await
    }

    /// One payment
    #[oai(path = "/v1/payments/:id", method = "get")]
    async fn get(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Payment> {
        self.house.pass(&caller, GetPayment { id: id.0.0 }).await
    }

    /// Give money back
    ///
    /// All that is left, without `amount`: then the reservation is cancelled and its seats are free. Less leaves it
    /// CONFIRMED. `amount` is in minor units, or money with its currency.
    #[oai(path = "/v1/payments/:id/refund", method = "post")]
    async fn refund(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        body: Rest<RequestRefund>,
    ) -> Answered<Refund, 202> {
        self.house.pass(&caller, body.with_id(id.0.0)?).await
    }

    /// What the payment provider tells
    ///
    /// For the provider only: the body is its event, signed. The same event twice is done once.
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
        let request = Webhook { body: STANDARD.encode(&body.0), signature };
        self.house.ask(&request, &caller.0).await?;
        Ok(Done)
    }
}
