//! Stripe's HTTP API as a [`Provider`] (docs.stripe.com/api): form bodies, a pinned version, idempotency keys.
//!
//! Invariant: only an answer that Stripe means to be final counts as one. 409 (the key is in use), 429, 5xx, broken
//! connections and refused credentials leave the outcome open.

use std::time::Duration;

use anyhow::Context;
use bus::contract::Money;
use ractor::async_trait;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::objects::{Failure, Intent, Listed, Session, StripeDispute, StripeRefund};
use super::{
    Answer, AttemptView, DisputeView, EventPage, Kind, ListedEvent, Order, Place, Provider, ProviderState,
    Purchase, RefundOrder, RefundView,
};
use crate::config::PaymentSettings;

/// The version whose objects `objects` reads; pinned, so that Stripe's own upgrades change nothing for us.
const VERSION: &str = "2025-09-30.clover";
/// A charge takes one to three seconds; beyond this its outcome is unknown.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The type of the error when a key is used with other parameters than before.
const KEY_SPENT: &str = "idempotency_error";

/// The events that payment handles, at most 20 of them (docs.stripe.com/api/events/list). A declined card is not among them:
/// the page stays open.
const EVENTS: [&str; 9] = [
    "payment_intent.succeeded",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.expired",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
];

const PRODUCT_NAME: &str = "line_items[0][price_data][product_data][name]";
const PRODUCT_DESCRIPTION: &str = "line_items[0][price_data][product_data][description]";

pub struct Stripe {
    client: reqwest::Client,
    settings: PaymentSettings,
}

type Form<'a> = Vec<(&'a str, String)>;

/// An error of the connection with its cause, which may be a certificate that is not trusted.
fn why(error: reqwest::Error) -> String {
    let error = error.without_url();
    bus::tls::refusal(&error).unwrap_or_else(|| bus::tls::with_causes(&error))
}

/// The raw answer, not yet interpreted.
enum Reply<T> {
    Object(T),
    Error(u16, Box<Failure>),
    Unknown(String),
}

impl Stripe {
    pub fn new(settings: PaymentSettings) -> anyhow::Result<Self> {
        let url = reqwest::Url::parse(&settings.api_url).context("PAYMENT_API_URL is not a URL")?;
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(bus::tls::client_config())
            .user_agent("Marquee")
            .timeout(CALL_TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        // The sandbox is reached directly, even where Stripe needs a proxy.
        if matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]")) {
            client = client.no_proxy();
        }
        Ok(Self { client: client.build().context("making the provider's HTTP client")?, settings })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Reply<T> {
        self.send(self.client.get(self.url(path))).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, key: Option<&str>, form: &Form<'_>) -> Reply<T> {
        let request = self.client.post(self.url(path)).form(form);
        self.send(match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        })
        .await
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1/{path}", self.settings.api_url)
    }

    async fn send<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Reply<T> {
        let request = request.bearer_auth(&self.settings.api_key).header("Stripe-Version", VERSION);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Reply::Unknown(why(error)),
        };
        let status = response.status().as_u16();
        let body = match response.bytes().await {
            Ok(body) => body,
            Err(error) => return Reply::Unknown(why(error)),
        };
        match status {
            200 => match serde_json::from_slice(&body) {
                Ok(object) => Reply::Object(object),
                Err(error) => Reply::Unknown(format!("unreadable answer: {error}")),
            },
            401 | 403 => {
                // The call took no effect, and will be repeated with the right credentials: no reason to decline a card.
                tracing::error!(status, "the payment provider refuses our credentials");
                Reply::Unknown(format!("status {status}"))
            }
            400 | 402 | 404 => {
                #[derive(Deserialize)]
                struct Body {
                    error: Failure,
                }
                match serde_json::from_slice::<Body>(&body) {
                    Ok(body) => Reply::Error(status, Box::new(body.error)),
                    Err(_) => Reply::Unknown(format!("status {status} without Stripe's error")),
                }
            }
            _ => Reply::Unknown(format!("status {status}")),
        }
    }

    async fn charge(&self, order: &Order, method: &str) -> Answer<AttemptView> {
        let Some(mut form) = self.intent_form(order) else { return not_whole() };
        form.extend([
            ("payment_method", method.to_owned()),
            ("confirm", "true".to_owned()),
            ("automatic_payment_methods[enabled]", "true".to_owned()),
            ("automatic_payment_methods[allow_redirects]", "never".to_owned()),
            // A direct charge cannot redirect the customer to their bank: a card that requires it is declined at once.
            ("error_on_requires_action", "true".to_owned()),
        ]);
        let reply: Reply<Intent> = self.post("payment_intents", Some(&charge_key(order)), &form).await;
        match reply {
            Reply::Error(402, error) => Answer::Done(AttemptView {
                intent: error.payment_intent.as_ref().map(|intent| intent.id.clone()),
                session: None,
                url: None,
                total: Some(order.total),
                state: ProviderState::Declined { code: error.reason() },
            }),
            reply => reply.into_answer(|intent| intent.view()),
        }
    }

    /// None for an amount that Stripe cannot move.
    fn intent_form(&self, order: &Order) -> Option<Form<'static>> {
        Some(vec![
            ("amount", units(order.total)?),
            ("currency", currency(order.total)),
            ("description", order.description.clone()),
            ("metadata[payment_id]", order.payment_id.to_string()),
            ("metadata[reservation_id]", order.reservation_id.to_string()),
            ("metadata[attempt]", order.attempt.to_string()),
        ])
    }

    async fn open_page(
        &self,
        order: &Order,
        ends_at: i64,
        purchase: Option<&Purchase>,
    ) -> Answer<AttemptView> {
        let Some(amount) = units(order.total) else { return not_whole() };
        let back = format!("{}/reservations/{}", self.settings.public_url, order.reservation_id);
        let mut form: Form = vec![
            ("mode", "payment".to_owned()),
            ("line_items[0][quantity]", "1".to_owned()),
            ("line_items[0][price_data][currency]", currency(order.total)),
            ("line_items[0][price_data][unit_amount]", amount),
            (PRODUCT_NAME, purchase.map_or(&order.description, |purchase| &purchase.name).clone()),
            ("success_url", format!("{back}?session_id={{CHECKOUT_SESSION_ID}}")),
            ("cancel_url", back),
            ("expires_at", ends_at.to_string()),
            ("client_reference_id", order.reservation_id.to_string()),
            ("metadata[payment_id]", order.payment_id.to_string()),
            ("metadata[reservation_id]", order.reservation_id.to_string()),
            ("metadata[attempt]", order.attempt.to_string()),
            ("payment_intent_data[metadata][payment_id]", order.payment_id.to_string()),
            ("payment_intent_data[metadata][reservation_id]", order.reservation_id.to_string()),
            ("payment_intent_data[metadata][attempt]", order.attempt.to_string()),
        ];
        if let Some(Purchase { details, locale, .. }) = purchase {
            form.push((PRODUCT_DESCRIPTION, details.clone()));
            form.push(("locale", locale.as_str().to_owned()));
        }
        if let Some(email) = &order.email {
            form.push(("customer_email", email.clone()));
        }
        let key = format!("page:{}:{}", order.payment_id, order.attempt);
        self.post::<Session>("checkout/sessions", Some(&key), &form).await.into_answer(Session::view)
    }

    /// Without an idempotency key: closing is idempotent, and a replayed answer would hide the current state.
    async fn close_place(&self, place: &Place) -> Answer<AttemptView> {
        let answer = match place {
            Place::Intent(id) => {
                let path = format!("payment_intents/{id}/cancel");
                self.post::<Intent>(&path, None, &Form::new()).await.into_answer(|intent| intent.view())
            }
            Place::Page(id) => {
                let path = format!("checkout/sessions/{id}/expire");
                self.post::<Session>(&path, None, &Form::new()).await.into_answer(Session::view)
            }
        };
        match answer {
            // It cannot be closed because it is paid, or closed already.
            Answer::Refused { .. } => self.look(place).await,
            answer => answer,
        }
    }

    /// A charge that was never answered: uses up its key with an intent that is never confirmed. If the key is used already,
    /// the charge did arrive, and repeating it returns its outcome.
    async fn abandon(&self, order: &Order) -> Answer<AttemptView> {
        let form = match self.intent_form(order) {
            Some(form) => form,
            None => return self.close_if_open(not_whole()).await,
        };
        let barred: Reply<Intent> = self.post("payment_intents", Some(&charge_key(order)), &form).await;
        let answer = match barred {
            Reply::Error(400, error) if error.kind == KEY_SPENT => self.begin(order).await,
            reply => reply.into_answer(|intent| intent.view()),
        };
        self.close_if_open(answer).await
    }

    async fn close_if_open(&self, answer: Answer<AttemptView>) -> Answer<AttemptView> {
        match answer {
            Answer::Done(AttemptView { session: Some(id), state: ProviderState::Open, .. }) => {
                self.close_place(&Place::Page(id)).await
            }
            Answer::Done(AttemptView { intent: Some(id), state: ProviderState::Open, .. }) => {
                self.close_place(&Place::Intent(id)).await
            }
            // The refund was never created.
            Answer::Refused { .. } => Answer::Done(AttemptView {
                intent: None,
                session: None,
                url: None,
                total: None,
                state: ProviderState::Closed,
            }),
            answer => answer,
        }
    }
}

#[async_trait]
impl Provider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn begin(&self, order: &Order) -> Answer<AttemptView> {
        match &order.kind {
            Kind::Token { method: Some(method) } => self.charge(order, method).await,
            Kind::Token { method: None } => Answer::Unknown("the token was deleted".into()),
            Kind::Hosted { ends_at, purchase } => self.open_page(order, *ends_at, purchase.as_ref()).await,
        }
    }

    async fn look(&self, place: &Place) -> Answer<AttemptView> {
        match place {
            Place::Intent(id) => {
                let path = format!("payment_intents/{id}");
                self.get::<Intent>(&path).await.into_answer(|intent| intent.view())
            }
            Place::Page(id) => {
                let path = format!("checkout/sessions/{id}");
                self.get::<Session>(&path).await.into_answer(Session::view)
            }
        }
    }

    async fn close(&self, order: &Order, place: Option<&Place>) -> Answer<AttemptView> {
        match (place, &order.kind) {
            (Some(place), _) => self.close_place(place).await,
            (None, Kind::Token { .. }) => self.abandon(order).await,
            (None, Kind::Hosted { .. }) => {
                let opened = self.begin(order).await;
                self.close_if_open(opened).await
            }
        }
    }

    async fn refund(&self, order: &RefundOrder) -> Answer<RefundView> {
        let Some(amount) = units(order.total) else { return not_whole() };
        let form: Form = vec![
            ("payment_intent", order.intent.clone()),
            ("amount", amount),
            ("metadata[refund_id]", order.refund_id.to_string()),
            ("metadata[try]", order.tries.to_string()),
            ("metadata[payment_id]", order.payment_id.to_string()),
            ("metadata[reservation_id]", order.reservation_id.to_string()),
        ];
        let key = format!("refund:{}:{}", order.refund_id, order.tries);
        #[cfg(feature = "planted")]
        let key = match bus::config::planted("refund-without-key") {
            true => uuid::Uuid::new_v4().to_string(),
            false => key,
        };
        self.post::<StripeRefund>("refunds", Some(&key), &form).await.into_answer(StripeRefund::view)
    }

    async fn look_at_refund(&self, reference: &str) -> Answer<RefundView> {
        self.get::<StripeRefund>(&format!("refunds/{reference}")).await.into_answer(StripeRefund::view)
    }

    async fn find_refund(&self, order: &RefundOrder) -> Answer<RefundView> {
        // A payment has a handful of refunds, so one page holds them all.
        let path = format!("refunds?payment_intent={}&limit=100", order.intent);
        let written = [("refund_id", order.refund_id.to_string()), ("try", order.tries.to_string())];
        let ours = |refund: &StripeRefund| {
            written.iter().all(|(name, value)| refund.metadata.get(*name) == Some(value))
        };
        let listed = self.get::<Listed<StripeRefund>>(&path).await.into_answer(|list| list);
        match listed {
            // The list was not found: that leaves the refund's outcome open.
            Answer::NoSuchObject => Answer::Unknown("no list of refunds".into()),
            listed => listed.then(|list| match list.data.into_iter().find(ours) {
                Some(refund) => Answer::Done(refund.view()),
                None if list.has_more => Answer::Unknown("more refunds than a page".into()),
                None => Answer::NoSuchObject,
            }),
        }
    }

    async fn look_at_dispute(&self, reference: &str) -> Answer<DisputeView> {
        self.get::<StripeDispute>(&format!("disputes/{reference}")).await.into_answer(StripeDispute::view)
    }

    async fn events(&self, since: i64, after: Option<&str>) -> Answer<EventPage> {
        let mut path = format!("events?limit=100&created[gte]={since}");
        for kind in EVENTS {
            path.push_str(&format!("&types[]={kind}"));
        }
        if let Some(after) = after {
            path.push_str(&format!("&starting_after={after}"));
        }
        let listed = self.get::<Listed<serde_json::Value>>(&path).await.into_answer(|list| list);
        let event = |event: serde_json::Value| {
            Some(ListedEvent { id: event["id"].as_str()?.to_owned(), body: event.to_string() })
        };
        listed.then(|list| match list.data.into_iter().map(event).collect() {
            Some(events) => Answer::Done(EventPage { events, has_more: list.has_more }),
            None => Answer::Unknown("an event without an id".into()),
        })
    }

    async fn owner_of(&self, intent: &str) -> Answer<Option<Uuid>> {
        let owner = |intent: Intent| Uuid::parse_str(intent.metadata.get("reservation_id")?).ok();
        self.get::<Intent>(&format!("payment_intents/{intent}")).await.into_answer(owner)
    }
}

impl<T> Reply<T> {
    fn into_answer<S>(self, read: impl FnOnce(T) -> S) -> Answer<S> {
        match self {
            Reply::Object(object) => Answer::Done(read(object)),
            Reply::Error(404, _) => Answer::NoSuchObject,
            // A call with this key took effect; the answer does not show which.
            Reply::Error(_, error) if error.kind == KEY_SPENT => {
                Answer::Unknown("the key was used with other parameters".into())
            }
            Reply::Error(status, error) => Answer::Refused { code: error.reason(), status },
            Reply::Unknown(why) => Answer::Unknown(why),
        }
    }
}

fn charge_key(order: &Order) -> String {
    format!("charge:{}:{}", order.payment_id, order.attempt)
}

/// The amount in Stripe's units; None for one that it cannot move.
fn units(total: Money) -> Option<String> {
    total.currency.to_provider(total.amount).map(|units| units.to_string())
}

/// Nothing was sent: another amount would be charged or given back than the agreed one. Prices and refunds are checked when
/// they are created, so this happens only to an order from before those checks.
fn not_whole<T>() -> Answer<T> {
    Answer::Refused { code: "amount-not-whole".into(), status: 400 }
}

fn currency(total: Money) -> String {
    total.currency.as_str().to_ascii_lowercase()
}
