//! REST of receipts: what was paid and given back for an order, as JSON and as a PDF, and the buyer whom they are made out to.
//! Payment makes them, reservation decides who may read them, and notification writes the PDF.

use std::sync::Arc;

use bus::contract::notification::PrintReceipt;
use bus::contract::payment::{Buyer, GetReceipts, Receipts as Documents, SetBuyer};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use uuid::Uuid;

use super::Domain;
use crate::hosts::Hosts;
use crate::payload::{Answered, Caller, Of, Rest};
use crate::pdf_file::PdfFile;
use crate::problem::Refused;

pub struct Receipts {
    pub hosts: Arc<dyn Hosts>,
}

#[OpenApi(tag = "Domain::Payment")]
impl Receipts {
    /// Receipts and credit notes
    ///
    /// Of a paid order, oldest first: a receipt of the payment, and a credit note for each refund. They are made within seconds;
    /// until then 404 `receipt-not-ready` with `Retry-After`. An order for which no money was paid has none (409 `not-paid`).
    #[oai(path = "/v1/reservations/:id/receipt", method = "get")]
    async fn get(&self, caller: Caller, id: Path<Of<Uuid>>) -> Answered<Documents> {
        self.hosts.forward(&caller, GetReceipts { reservation_id: id.0.0 }).await
    }

    /// A receipt as a PDF
    ///
    /// In the language of the order. The file is named by its number. With a buyer it is an invoice.
    #[oai(path = "/v1/reservations/:id/receipt.pdf", method = "get")]
    async fn print(
        &self,
        caller: Caller,
        id: Path<Of<Uuid>>,
        /// Of another receipt or credit note of the order than the payment's.
        number: Query<Option<String>>,
    ) -> Result<PdfFile, Refused> {
        let request = PrintReceipt { reservation_id: id.0.0, number: number.0 };
        Ok(PdfFile::of_receipt(&self.hosts.submit(&caller, request).await?)?)
    }

    /// Set the buyer
    ///
    /// Whom the receipts of the order are made out to, before or after they are issued: their numbers and amounts stay. The same
    /// buyer again changes nothing; another one is refused with 409 `buyer-set`.
    #[oai(path = "/v1/reservations/:id/invoice", method = "post")]
    async fn set_buyer(&self, caller: Caller, id: Path<Of<Uuid>>, body: Rest<SetBuyer>) -> Answered<Buyer> {
        self.hosts.forward_body(&caller, body.with_id(id.0.0)?).await
    }
}
