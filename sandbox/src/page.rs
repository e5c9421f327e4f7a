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
use crate::words::Words;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem;\
    color:#1a1a2e;background:#f6f6fb}main{background:#fff;padding:2rem;border-radius:12px;\
    box-shadow:0 2px 12px #0001}h1{font-size:1.1rem;font-weight:500;margin:0}.about{margin:.25rem 0;color:#445}.sum{font-size:2rem;margin:.25rem 0 1rem}\
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
            Ok(session) => page(&session, Some(words(&session).not_a_card)),
            Err(_) => unknown(),
        };
    };
    let answer = match provider.change(None, |store, moment| checkout::pay(store, id, card, moment)) {
        Ok(answer) => answer,
        Err(fault) if fault.status == 404 => return unknown(),
        Err(_) => {
            return html(
                Words::of(None),
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
        (Some(Object::Session(session)), Some(fault)) => {
            page(&session, Some(&words(&session).declined(&fault)))
        }
        _ => unknown(),
    }
}

fn words(session: &Session) -> &'static Words {
    Words::of(session.locale.as_deref())
}

fn page(session: &Session, message: Option<&str>) -> Response {
    // Chrome also applies `form-action` to the redirect after a form, so it has to contain the shop's origin.
    let shop = reqwest::Url::parse(&session.return_url()).map(|url| url.origin().ascii_serialization());
    let form_action = shop.map_or_else(|_| "'self'".to_owned(), |origin| format!("'self' {origin}"));
    let words = words(session);
    let bought = bought(session);
    match session.status {
        SessionStatus::Complete => {
            let to = escape(&session.return_url());
            let (paid, go_on) = (words.paid_already, words.go_on);
            let body = format!("{bought}<p>{paid}</p><p><a href=\"{to}\">{go_on}</a></p>");
            html(words, StatusCode::OK, &form_action, &body)
        }
        SessionStatus::Open if unix_now() < session.expires_at => {
            html(words, StatusCode::OK, &form_action, &(bought + &form_of(session, words, message)))
        }
        SessionStatus::Expired | SessionStatus::Open => {
            let body = format!("{bought}<p class=no>{}</p>", words.has_expired);
            html(words, StatusCode::GONE, &form_action, &body)
        }
    }
}

/// What is paid for.
fn bought(session: &Session) -> String {
    let about = session.product_description.as_deref();
    let about = about.map_or_else(String::new, |text| format!("<p class=about>{}</p>", escape(text)));
    format!("<h1>{}</h1>{about}", escape(&session.product_name))
}

fn form_of(session: &Session, words: &Words, message: Option<&str>) -> String {
    let sum = words.sum(session.amount_total, &session.currency);
    let message =
        message.map_or_else(String::new, |text| format!("<p class=no role=alert>{}</p>", escape(text)));
    let back = session
        .cancel_url
        .as_deref()
        .map_or_else(String::new, |url| format!("<p><a href=\"{}\">{}</a></p>", escape(url), words.back));
    let (number, pay, cards) = (words.number, words.pay(&sum), words.cards);
    format!(
        "<p class=sum>{sum}</p>{message}<form method=post><label for=number>{number}</label>\
         <input id=number name=number placeholder=\"4242 4242 4242 4242\" inputmode=numeric autocomplete=off required>\
         <button>{pay}</button></form>{back}<p><small>{cards}</small></p>"
    )
}

fn unknown() -> Response {
    html(Words::of(None), StatusCode::NOT_FOUND, "'self'", "<h1>There is no such payment page.</h1>")
}

fn html(words: &Words, status: StatusCode, form_action: &str, body: &str) -> Response {
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
            "<!doctype html><html lang={}><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>{}</title><style>{STYLE}</style><main>{body}</main></html>",
            words.language, words.title
        ))
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
