//! The OpenAPI document, whole and per domain, and Swagger UI over it.
//!
//! Signatures come from `api/`, schemas from the contract; [`Documented`] adds what the table of routes contains: operation
//! ids, required roles, the idempotency key, and every problem. Pages are generated when they are first requested, since
//! each contains Swagger UI's 1.6 MB.

use std::collections::{BTreeSet, HashMap};
use std::marker::PhantomData;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bus::contract::{Access, Problem};
use bytes::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::{HeaderValue, Method, header};
use poem::{EndpointExt, Response};
use poem_openapi::registry::{
    MetaApi, MetaMediaType, MetaOperation, MetaOperationParam, MetaParamIn, MetaResponse, MetaSchema,
    MetaSchemaRef, MetaSecurityScheme, Registry,
};
use poem_openapi::{ContactObject, OpenApi, OpenApiService};
use schemars::generate::Contract;
use serde_json::{Map, Value, json};

use crate::api::page_login::REFRESH_COOKIE;
use crate::api::{
    Auth, DeadLetters, EventFeed, MediaFiles, Movies, Notifications, PageLogins, Payments, Prices, Privacy,
    Programmed, Quotes, Receipts, Reports, ReservationStaff, Reservations, Seats, Showtimes, Sites,
};
use crate::routes::{Body, Idempotency, Row, row};
use crate::{example, schema};

const SCHEME: &str = "bearer";
const DESCRIPTION: &str = "Sells cinema seats. Errors are problem details (RFC 9457) with a stable `code`; a field that \
    is not valid is named in `errors`. Send `X-Request-Id` to find a request again in the log; every answer carries one.";

/// An API completed from its rows, for the document only: it has no endpoints.
struct Documented<A>(PhantomData<fn() -> A>);

impl<A: OpenApi> OpenApi for Documented<A> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = A::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            for operation in &mut path.operations {
                if let Some(row) = row(&operation.method, &path.path) {
                    complete(operation, row);
                }
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
        schema::register::<Problem>(registry, Contract::Serialize);
        registry.create_security_scheme(
            SCHEME,
            MetaSecurityScheme {
                ty: "http",
                description: Some("The accessToken of a login."),
                name: None,
                key_in: None,
                scheme: Some("bearer"),
                bearer_format: Some("JWT"),
                flows: None,
                openid_connect_url: None,
            },
        );
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

fn complete(operation: &mut MetaOperation, row: &Row) {
    operation.operation_id = Some(row.operation);
    for parameter in &mut operation.params {
        if let MetaSchemaRef::Inline(schema) = &mut parameter.schema {
            bounds(&parameter.name, schema);
        }
        parameter.required |= parameter.name == REFRESH_COOKIE;
    }
    if row.access != Access::Public {
        operation.security.push(HashMap::from([(SCHEME, Vec::new())]));
    }
    if row.idempotency != Idempotency::None {
        let mut schema = MetaSchema::new("string");
        bounds(bus::service::IDEMPOTENCY_KEY, &mut schema);
        operation.params.push(MetaOperationParam {
            name: bus::service::IDEMPOTENCY_KEY.to_owned(),
            schema: MetaSchemaRef::Inline(Box::new(schema)),
            in_type: MetaParamIn::Header,
            description: Some("The same key and body again get the first answer again, for 24 hours.".into()),
            required: row.idempotency == Idempotency::Required,
            deprecated: false,
            explode: true,
            style: None,
        });
    }
    let mut problems = BTreeSet::from_iter(row.problems());
    if operation.params.iter().any(|parameter| parameter.in_type == MetaParamIn::Query) {
        problems.extend([400, 422]);
    }
    operation.responses.responses.extend(problems.into_iter().map(|status| MetaResponse {
        description: meaning(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType {
            content_type: "application/problem+json",
            schema: schema::reference::<Problem>(),
        }],
        headers: Vec::new(),
    }));
}

/// Adds the required role to each operation's description.
/// Who may do it, and whether it needs a body: by the table of routes.
fn add_rules(document: &mut Value) {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, verbs) in paths {
        for (verb, operation) in verbs.as_object_mut().into_iter().flatten() {
            let method = verb.to_uppercase().parse().ok();
            let Some(row) = method.and_then(|method| row(&method, path)) else { continue };
            let description = operation["description"].as_str().unwrap_or_default();
            operation["description"] = [description, role_text(row.access)].join("\n\n").trim().into();
            if let (Some(body), Body::Json(_)) = (operation.get_mut("requestBody"), row.body) {
                body["required"] = true.into();
            }
        }
    }
}

fn role_text(access: Access) -> &'static str {
    match access {
        Access::Public => "For everybody.",
        Access::Guest => "For guests and every logged-in user.",
        Access::User => "For every logged-in user.",
        Access::Admin => "For ADMIN and SUPER_ADMIN.",
        Access::SuperAdmin => "For SUPER_ADMIN.",
        Access::Internal => "",
    }
}

/// The bounds of parameters in the contract; a name has the same meaning at every endpoint.
fn bounds(name: &str, schema: &mut MetaSchema) {
    let mut numbers = |min: f64, max: f64| {
        (schema.minimum, schema.maximum) = (Some(min), Some(max));
    };
    match name {
        "page" => numbers(1.0, 100_000.0),
        "pageSize" => numbers(1.0, 100.0),
        "wait" => numbers(0.0, 30.0),
        "count" => numbers(1.0, 100.0),
        bus::service::IDEMPOTENCY_KEY => {
            (schema.min_length, schema.max_length) = (Some(1), Some(255));
            schema.pattern = Some("^[!-~]+$".to_owned());
        }
        "date" => schema.format = Some("date"),
        "showTime" | "time" => schema.pattern = Some("^([01][0-9]|2[0-3]):[0-5][0-9]$".to_owned()),
        _ => {}
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Not readable: the JSON, an id, a query parameter, or a missing header",
        401 => "No token, or one that is not valid any more",
        402 => "The card was declined",
        403 => "The role does not allow it",
        404 => "Unknown, or not yours",
        409 => "The current state does not allow it",
        413 => "The body is too large",
        415 => "The body is of another type",
        422 => "Readable, but not valid: see `errors`",
        429 => "Too many requests; `Retry-After` says when to go on",
        503 => "A host or server is unavailable; `Retry-After` says when to try again",
        _ => "An error of the server; the request id finds it in the log",
    }
}

/// The documents by name; the whole document has the empty name.
pub fn documents() -> [(&'static str, Value); 7] {
    type Accounts = (Documented<Auth>, Documented<Privacy>, Documented<PageLogins>);
    type Catalogue = (
        Documented<Movies>,
        Documented<MediaFiles>,
        Documented<Showtimes>,
        Documented<Programmed>,
        Documented<Sites>,
        Documented<Prices>,
    );
    type Seating = (
        Documented<Seats>,
        Documented<Quotes>,
        Documented<Reservations>,
        Documented<ReservationStaff>,
        Documented<Reports>,
    );
    type Money = (Documented<Payments>, Documented<Receipts>);
    type Operations = (Documented<DeadLetters>, Documented<EventFeed>);
    type Whole = (Accounts, Catalogue, Seating, Money, Documented<Notifications>, Operations);
    fn only<A>() -> Documented<A> {
        Documented(PhantomData)
    }
    let accounts = || -> Accounts { (only(), only(), only()) };
    let catalogue = || -> Catalogue { (only(), only(), only(), only(), only(), only()) };
    let seating = || -> Seating { (only(), only(), only(), only(), only()) };
    let money = || -> Money { (only(), only()) };
    let operations = || -> Operations { (only(), only()) };
    let whole: Whole = (accounts(), catalogue(), seating(), money(), only(), operations());
    [
        ("", document(whole, "Marquee")),
        ("auth", document(accounts(), "Marquee: auth")),
        ("movie", document(catalogue(), "Marquee: movie")),
        ("reservation", document(seating(), "Marquee: reservation")),
        ("payment", document(money(), "Marquee: payment")),
        ("notification", document(only::<Notifications>(), "Marquee: notification")),
        ("operation", document(operations(), "Marquee: operation")),
    ]
}

fn document(api: impl OpenApi, title: &str) -> Value {
    // The origin from which the document was loaded: behind a proxy the gateway does not know its address.
    let service = OpenApiService::new(api, title, env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION)
        .contact(ContactObject::new().name("Marquee's developers"))
        .server("/");
    let mut document = serde_json::from_str(&service.spec()).expect("poem-openapi writes JSON");
    schema::unpack(&mut document);
    share_problems(&mut document);
    add_rules(&mut document);
    example::add(&mut document);
    document
}

/// Moves each problem's answer to the components, where poem-openapi repeats it at every endpoint: half of the document.
fn share_problems(document: &mut Value) {
    let mut shared = Map::new();
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
    for (status, answer) in
        operations.filter_map(|operation| operation["responses"].as_object_mut()).flatten()
    {
        if answer["content"].get("application/problem+json").is_some() {
            let reference = json!({"$ref": format!("#/components/responses/{status}")});
            shared.insert(status.clone(), std::mem::replace(answer, reference));
        }
    }
    document["components"]["responses"] = shared.into();
}

/// A document's endpoint.
pub fn json(document: &Value) -> BoxEndpoint<'static> {
    let body = Bytes::from(serde_json::to_vec(document).expect("a JSON value always serializes"));
    make_sync(move |_| Response::builder().content_type("application/json").body(body.clone())).boxed()
}

/// Swagger UI over a document.
pub fn page(document: Value) -> BoxEndpoint<'static> {
    let page = OnceLock::new();
    make_sync(move |_| {
        let (html, policy) = page.get_or_init(|| swagger_ui(&document));
        Response::builder()
            .content_type("text/html; charset=utf-8")
            .header(header::CONTENT_SECURITY_POLICY, policy.clone())
            .body(html.clone())
    })
    .boxed()
}

/// Swagger UI's page with the document in it, and the policy that lets exactly its own scripts and styles run.
fn swagger_ui(document: &Value) -> (Bytes, HeaderValue) {
    let ours = OpenApiService::new(Documented::<Auth>(PhantomData), "", "").swagger_ui_html();
    // poem-openapi renders only documents that it has generated, and ours was changed since.
    let (before, rest) = ours.split_once("let spec = ").expect("Swagger UI's page holds its document");
    let (_, after) = rest.split_once(";\n    let oauth2RedirectUrl").expect("the document is one statement");
    // `<` would let a description end the script.
    let document = document.to_string().replace('<', "\\u003c");
    let html = format!("<!doctype html>{before}let spec = {document};\n    let oauth2RedirectUrl{after}");
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src 'self' data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hashes(&html, "script"),
        hashes(&html, "style"),
    );
    (html.into(), HeaderValue::try_from(policy).expect("hashes are printable"))
}

/// The CSP sources of all inline elements of a kind, found as a browser finds them: to the first end tag.
fn hashes(html: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}"), format!("</{element}"));
    let mut sources = Vec::new();
    let mut rest = html;
    while let Some((_, after)) = rest.split_once(&open) {
        let Some((_, inner)) = after.split_once('>') else { break };
        let Some((text, after)) = inner.split_once(&close) else { break };
        let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
        sources.push(format!("'sha256-{}'", STANDARD.encode(digest.as_ref())));
        rest = after;
    }
    sources.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::ROWS;

    fn operations(document: &Value) -> BTreeSet<(String, String)> {
        let paths = document["paths"].as_object().unwrap();
        paths
            .iter()
            .flat_map(|(path, verbs)| {
                verbs.as_object().unwrap().keys().map(move |verb| (path.clone(), verb.to_uppercase()))
            })
            .collect()
    }

    #[test]
    fn the_document_changes_only_on_purpose() {
        insta::assert_json_snapshot!(documents()[0].1);
    }

    #[test]
    fn table_and_document_agree() {
        let rows: BTreeSet<_> =
            ROWS.iter().map(|row| (row.path.to_owned(), row.verb.method().to_string())).collect();
        assert_eq!(rows.len(), ROWS.len(), "a row is there twice");
        assert!(ROWS.iter().all(|row| row.access != Access::Internal), "hosts' own requests are not routed");
        assert_eq!(operations(&documents()[0].1), rows);
    }

    #[test]
    fn the_domains_documents_together_are_the_whole() {
        let [(_, whole), domains @ ..] = documents();
        let union: BTreeSet<_> = domains.iter().flat_map(|(_, document)| operations(document)).collect();
        assert_eq!(union, operations(&whole));
    }

    #[test]
    fn every_reference_has_its_schema() {
        for (name, document) in documents() {
            let text = document.to_string();
            for reference in text.split("\"#/components/").skip(1) {
                let reference = reference.split('"').next().unwrap();
                assert!(
                    document.pointer(&format!("/components/{reference}")).is_some(),
                    "{name}: {reference}"
                );
            }
            for foreign in ["x-packed", "$defs", "\"const\"", "\"null\"", "patternProperties"] {
                assert!(!text.contains(foreign), "{name}: {foreign} is not of OpenAPI 3.0");
            }
        }
    }

    #[test]
    fn the_page_runs_only_its_own_scripts() {
        let (html, policy) = swagger_ui(&documents()[1].1);
        let html = std::str::from_utf8(&html).unwrap();
        let policy = policy.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 3, "two scripts and a style: {policy}");
        assert!(html.contains("\"/v1/auth/register\"") && !policy.contains("unsafe"));
    }
}
