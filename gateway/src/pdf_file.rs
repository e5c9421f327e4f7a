//! An answer that is a PDF, which a browser saves under a name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::contract::Problem;
use bus::contract::notification::{ReceiptFile, TicketFile};
use poem::http::header;
use poem::{IntoResponse, Response};
use poem_openapi::ApiResponse;
use poem_openapi::registry::{
    MetaMediaType, MetaResponse, MetaResponses, MetaSchema, MetaSchemaRef, Registry,
};
use serde::de::DeserializeOwned;

const PDF: &str = "application/pdf";

pub struct PdfFile {
    content: Vec<u8>,
    /// Of ASCII letters, digits, dashes and dots.
    name: String,
}

impl PdfFile {
    /// The tickets that a host has printed; `json` is its answer.
    pub fn of_tickets(json: &[u8]) -> Result<Self, Problem> {
        let file: TicketFile = read(json)?;
        let name = match file.order_code {
            Some(code) => format!("tickets-{code}.pdf"),
            None => "tickets.pdf".to_owned(),
        };
        Self::decoded(&file.pdf, name)
    }

    /// The receipt or credit note that a host has printed.
    pub fn of_receipt(json: &[u8]) -> Result<Self, Problem> {
        let file: ReceiptFile = read(json)?;
        Self::decoded(&file.pdf, format!("{}.pdf", file.number))
    }

    fn decoded(pdf: &str, name: String) -> Result<Self, Problem> {
        let content = STANDARD.decode(pdf).map_err(|error| unreadable(&error))?;
        Ok(Self { content, name })
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(json).map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "an unreadable file");
    Problem::internal()
}

impl IntoResponse for PdfFile {
    fn into_response(self) -> Response {
        let disposition = format!("attachment; filename=\"{}\"", self.name);
        Response::builder()
            .content_type(PDF)
            .header(header::CONTENT_DISPOSITION, disposition)
            .body(self.content)
    }
}

impl ApiResponse for PdfFile {
    fn meta() -> MetaResponses {
        let schema = MetaSchema { format: Some("binary"), ..MetaSchema::new("string") };
        let content =
            vec![MetaMediaType { content_type: PDF, schema: MetaSchemaRef::Inline(Box::new(schema)) }];
        let response = MetaResponse {
            description: "OK",
            status: Some(200),
            status_range: None,
            content,
            headers: Vec::new(),
        };
        MetaResponses { responses: vec![response] }
    }

    fn register(_: &mut Registry) {}
}
