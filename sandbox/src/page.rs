//! The pay page, in place of Stripe Checkout. Plain HTML that works without JavaScript.
//! Invariant: all text from outside is escaped, and the content security policy allows no scripts.

use std::sync::LazyLock;

use base64::Engine;
use poem::http::{StatusCode, header};
use poem::{Response, ResponseBuilder};
use ring::digest::{SHA256, digest};

use crate::cards;
use crate::checkout;
use crate::form::Form;
use crate::model::{Object, Session, SessionStatus};
use crate::provider::{Provider, unix_now};
use crate::rules::counted;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem;\
    color:#1a1a2e;background:#f6f6fb}main{background:#fff;padding:2rem;border-radius:12px;\
    box-shadow:0 2px 12px #0001}h1{font-size:1.1rem;font-weight:500;margin:0}.sum{font-size:2rem;margin:.25rem 0 1rem}\
    label{display:block;margin:1rem 0 .25rem}input{width:100%;box-sizing:border-box;padding:.6rem;font:inherit;\
    border:1px solid #bbc;border-radius:6px}button{width:100%;margin-top:1rem;padding:.7rem;font:inherit;border:0;\
    border-radius:6px;background:#4338ca;color:#fff;cursor:pointer}.no{background:#fde8e8;color:#8b1a1a;\
    padding:.6rem;border-radius:6px}small{color:#667}";

static STYLE_HASH: LazyLock<String> =
    LazyLock::new(|| base64::engine::general_purpose::STANDARD.encode(digest(&SHA256, STYLE.as_bytes())));

/// GET: the form, or a message if the session is not open.
pub fn show(provider: &Provider, id: &str) -> Response {
    match provider.read(|store| checkout::find(store, id).cloned()) {
        Ok(session) => page(&session, None),
        Err(_) => unknown(),
    }
}

/// POST: pays; a success redirects to the shop's page.
pub fn pay(provider: &Provider, id: &str, form: &Form) -> Response {
    let Some(card) = form.get("number").and_then(cards::by_number) else {
        return match provider.read(|store| checkout::find(store, id).cloned()) {
            Ok(session) => page(&session, Some("This is not one of the test cards below.")),
            Err(_) => unknown(),
        };
    };
    let answer = match provider.change(None, |store, moment| checkout::pay(store, id, card, moment)) {
        Ok(answer) => answer,
        Err(fault) if fault.status == 404 => return unknown(),
        Err(_) => {
            return html(
                StatusCode::INTERNAL_SERVER_ERROR,
                "'self'",
                "<h1>Something went wrong. Please try again.</h1>",
            );
        }
    };
    match (answer.object, answer.fault) {
        (Some(Object::Session(session)), None) => Response::builder()
            .status(StatusCode::SEE_OTHER)
            .header(header::LOCATION, session.return_url())
            .header(header::CACHE_CONTROL, "no-store")
            .finish(),
        (Some(Object::Session(session)), Some(fault)) => page(&session, Some(&fault.message)),
        _ => unknown(),
    }
}

fn page(session: &Session, message: Option<&str>) -> Response {
    // Chrome also applies `form-action` to the redirect after a form, so it has to contain the shop's origin.
    let shop = reqwest::Url::parse(&session.return_url()).map(|url| url.origin().ascii_serialization());
    let form_action = shop.map_or_else(|_| "'self'".to_owned(), |origin| format!("'self' {origin}"));
    let sum = sum(session.amount_total, &session.currency);
    let name = escape(&session.product_name);
    let overdue = unix_now() >= session.expires_at;
    match session.status {
        SessionStatus::Complete => {
            let to = escape(&session.return_url());
            let body = format!(
                "<h1>{name}</h1><p>This has been paid already.</p><p><a href=\"{to}\">Continue</a></p>"
            );
            html(StatusCode::OK, &form_action, &body)
        }
        SessionStatus::Open if !overdue => {
            let message = message
                .map_or_else(String::new, |text| format!("<p class=no role=alert>{}</p>", escape(text)));
            let back = session.cancel_url.as_deref().map_or_else(String::new, |url| {
                format!("<p><a href=\"{}\">Cancel and go back</a></p>", escape(url))
            });
            let body = format!(
                "<h1>{name}</h1><p class=sum>{sum}</p>{message}<form method=post>\
                 <label for=number>Card number</label>\
                 <input id=number name=number value=\"4242 4242 4242 4242\" inputmode=numeric autocomplete=off required>\
                 <button>Pay {sum}</button></form>{back}\
                 <p><small>Test payments only, no money moves. 4000 0000 0000 0002 is declined, \
                 4000 0000 0000 9995 lacks the funds, 4000 0000 0000 0069 has expired, \
                 4000 0000 0000 0259 pays and disputes it.</small></p>"
            );
            html(StatusCode::OK, &form_action, &body)
        }
        SessionStatus::Expired | SessionStatus::Open => {
            let body =
                format!("<h1>{name}</h1><p class=no>This payment page has expired. Nothing was charged.</p>");
            html(StatusCode::GONE, &form_action, &body)
        }
    }
}

fn unknown() -> Response {
    html(StatusCode::NOT_FOUND, "'self'", "<h1>There is no such payment page.</h1>")
}

fn html(status: StatusCode, form_action: &str, body: &str) -> Response {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action {form_action}; base-uri 'none'; frame-ancestors 'none'",
        *STYLE_HASH
    );
    let builder: ResponseBuilder =
        Response::builder().status(status).content_type("text/html; charset=utf-8");
    builder
        .header(header::CONTENT_SECURITY_POLICY, policy)
        .header(header::CACHE_CONTROL, "no-store")
        .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header(header::REFERRER_POLICY, "no-referrer")
        .body(format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>Pay (sandbox)</title><style>{STYLE}</style><main>{body}</main></html>"
        ))
}

/// `EUR 24.00`, with Stripe's number of decimals.
fn sum(units: i64, currency: &str) -> String {
    let code = currency.to_ascii_uppercase();
    let plain = counted(currency).map_or_else(|| units.to_string(), |currency| currency.plain(units));
    format!("{code} {plain}")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
