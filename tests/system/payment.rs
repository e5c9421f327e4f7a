//! The payment domain on real servers: NATS, Postgres, and the sandbox as the provider. A stand-in answers the requests to
//! reservation, and a small HTTP server forwards webhooks as the gateway does.

mod declines;
mod disputes;
mod faults;
mod paying;
mod reconciliation;
mod refunds;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::auth::token::Signer;
use actors::config::{DeclineLimits, PaymentSettings, SellerSettings};
use actors::host::Host;
use base64::Engine;
use bus::config::Environment;
use bus::contract::auth::{Claims, Role};
use bus::contract::payment::{EndPayment, GetPayment, Pay, Payment, PaymentEnd, Webhook};
use bus::contract::reservation::{
    BeginPayment, CancelReason, GetReservation, PaymentBegun, RefundRequested, ReservationCancelled,
    ReservationCreated, Sale,
};
use bus::contract::{Currency, Event, Locale, Money, SeatId, Timestamp, seat_list};
use bus::event::Outgoing;
use bus::service::{Ask, Call, Server, json};
use bus::token::{ISSUER, Verifier};
use bus::{Context, Problem, topology};
use bytes::Bytes;
use marquee::local::Folder;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Request, Response};
use sandbox::Switches;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::harness::TestSystem;

const API_KEY: &str = "sk_test_payment";
const SECRET: &str = "whsec_payment";
const PRICE: Money = Money { amount: 2400, currency: Currency::EUR };

/// Payment hosts with everything that they need.
struct PaymentSystem {
    servers: TestSystem,
    hosts: Vec<Host>,
    sandbox: sandbox::Running,
    signer: Signer,
    ada: Uuid,
    reservations: Reservations,
    http: reqwest::Client,
    stop: CancellationToken,
    reconcile: Duration,
    declines: Option<DeclineLimits>,
    _folder: Folder,
}

/// The reservations of the stand-in, each with the problem with which it refuses a payment, if it does.
type Reservations = Arc<Mutex<HashMap<Uuid, (ReservationCreated, Option<Problem>)>>>;

impl PaymentSystem {
    async fn open() -> Self {
        Self::open_reconciling(Duration::from_secs(60)).await
    }

    /// With this interval between reads of the provider's events.
    async fn open_reconciling(reconcile: Duration) -> Self {
        Self::open_with(reconcile, None).await
    }

    async fn open_with(reconcile: Duration, declines: Option<DeclineLimits>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut servers = TestSystem::start().await;
        let signer = Signer::from_pem(&servers.jwt_private_key).unwrap();
        servers.config.jwt_public_keys = signer.keys().clone();
        topology::ensure_streams(&servers.bus).await.unwrap();
        let folder = Folder::temporary().unwrap();
        let sandbox = sandbox::start(sandbox::Config {
            addr: ([127, 0, 0, 1], 0).into(),
            log_file: folder.path().join("sandbox.jsonl"),
            webhook_url: None,
            webhook_secret: SECRET.into(),
            api_key: API_KEY.into(),
            public_url: None,
        });
        let sandbox = sandbox.await.unwrap();
        let (reservations, stop) = (Reservations::default(), CancellationToken::new());
        start_reservation_stand_in(&servers, reservations.clone(), stop.clone()).await;
        sandbox.set_webhook_url(start_webhook_forwarder(servers.bus.clone()).await);
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let http = http.build().unwrap();
        let ada = Uuid::now_v7();
        let hosts = Vec::new();
        let mut system = Self {
            servers,
            hosts,
            sandbox,
            signer,
            ada,
            reservations,
            http,
            stop,
            reconcile,
            declines,
            _folder: folder,
        };
        system.start_host().await;
        system
    }

    async fn start_host(&mut self) {
        let settings = PaymentSettings {
            api_url: self.sandbox.url(),
            api_key: API_KEY.into(),
            webhook_secret: SECRET.into(),
            public_url: "http://cinema.test".into(),
            reconcile: self.reconcile,
            declines: self.declines,
            retention: None,
            records_years: 10,
            is_sandbox: false,
            seller: SellerSettings::read(&mut Environment::default()),
        };
        let builder = self.servers.builder("payment").await;
        self.hosts.push(actors::payment::spawn(builder, settings).await.unwrap());
    }

    fn token(&self, user: Uuid, role: Role) -> String {
        let now = Timestamp::wall_clock().unix_seconds();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: ISSUER.into(),
            sub: user,
            sid: Uuid::now_v7(),
            email: "ada@example.org".into(),
            name: "Ada".into(),
            role,
            email_verified: true,
            epoch: 0,
            iat: now,
            exp: now + 900,
        };
        self.signer.sign(&claims).unwrap()
    }

    /// Adds a reservation to the stand-in without publishing it.
    fn create_reservation(&self) -> Uuid {
        let now = Timestamp::wall_clock();
        let created = ReservationCreated {
            reservation_id: Uuid::now_v7(),
            code: None,
            version: 1,
            user_id: self.ada,
            email: "ada@example.org".into(),
            showtime_id: Uuid::now_v7(),
            movie_id: Uuid::now_v7(),
            movie_title: "Metropolis".into(),
            starts_at: now.plus(Duration::from_secs(86_400)),
            seats: vec![SeatId::new("A", 1), SeatId::new("A", 2)],
            lines: vec![],
            fees: vec![],
            total: PRICE,
            expires_at: now.plus(Duration::from_secs(600)),
            locale: Locale::En,
            site_id: bus::contract::site::DEFAULT_SITE,
            access: 0,
            exchange_of: None,
            credit: None,
            due: None,
        };
        let id = created.reservation_id;
        self.reservations.lock().unwrap().insert(id, (created, None));
        id
    }

    fn created(&self, reservation: Uuid) -> ReservationCreated {
        self.reservations.lock().unwrap()[&reservation].0.clone()
    }

    /// Creates and publishes a reservation, and waits until payment has its row.
    async fn reserve(&self) -> Uuid {
        let reservation = self.create_reservation();
        self.publish(&self.created(reservation)).await;
        self.until("the payment's row", reservation, |row| row["status"] == "OPEN").await;
        reservation
    }

    /// Publishes an event of reservation; returns its sequence in the stream.
    async fn publish<E: Event>(&self, event: &E) -> u64 {
        let event = Outgoing::new("reservation", event, Timestamp::wall_clock(), &Context::new());
        event.send(&self.servers.bus).await.unwrap().await.unwrap().sequence
    }

    async fn pay_raw(&self, reservation: Uuid, method: Option<&str>, key: &str) -> Result<Bytes, Problem> {
        let pay = Pay { reservation_id: reservation, payment_method: method.map(str::to_owned) };
        let ask = Ask {
            token: Some(self.token(self.ada, Role::User)),
            idempotency_key: Some(key.to_owned()),
            ..Ask::new(Context::new())
        };
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            match self.servers.bus.ask_raw(&pay, &ask).await {
                // A host that has just been started has not subscribed yet.
                Err(problem) if problem.detail.contains("away or slow") && Instant::now() < end => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                answered => return answered,
            }
        }
    }

    async fn pay(&self, reservation: Uuid, method: Option<&str>) -> Result<Payment, Problem> {
        let answer = self.pay_raw(reservation, method, &Uuid::now_v7().to_string()).await?;
        Ok(serde_json::from_slice(&answer).unwrap())
    }

    async fn get(&self, payment: Uuid) -> Payment {
        let admin = self.token(Uuid::now_v7(), Role::Admin);
        self.servers.ask(&GetPayment { id: payment }, Some(&admin)).await.unwrap()
    }

    async fn end(&self, reservation: Uuid) -> PaymentEnd {
        let payment_id = self.row(reservation).await["id"].as_str().unwrap().parse().unwrap();
        self.servers.ask(&EndPayment { reservation_id: reservation, payment_id }, None).await.unwrap()
    }

    async fn cancel(&self, reservation: Uuid) {
        let reservation = self.created(reservation);
        self.publish(&ReservationCancelled {
            reason: CancelReason::UserRequest,
            credited: vec![],
            reservation,
        })
        .await;
    }

    async fn request_refund(&self, payment: &Payment, refund_id: Uuid, amount: i64) {
        let (payment_id, reservation_id) = (payment.id, payment.reservation_id);
        let total = Money { amount, ..PRICE };
        let reason = "USER_REQUEST".into();
        let (by, version) = (None, 2);
        let provider_ref = None;
        let event = RefundRequested {
            refund_id,
            reservation_id,
            payment_id,
            total,
            provider_ref,
            reason,
            by,
            version,
        };
        self.publish(&event).await;
    }

    /// Pays with a card number on the provider's page.
    async fn pay_on_page(&self, payment: &Payment, card: &str) -> StatusCode {
        let page = payment.checkout_url.as_deref().unwrap();
        self.http.post(page).form(&[("number", card)]).send().await.unwrap().status()
    }

    /// A list of the provider, newest first.
    async fn provider(&self, list: &str) -> Vec<Value> {
        let url = format!("{}/v1/{list}", self.sandbox.url());
        let answer = self.http.get(url).bearer_auth(API_KEY).send().await.unwrap();
        let list: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        list["data"].as_array().unwrap().clone()
    }

    fn switch(&self, switches: Switches) {
        self.sandbox.set_switches(switches);
    }

    /// The row of a payment as JSON; empty where there is none.
    async fn row(&self, reservation: Uuid) -> Value {
        sqlx::query_scalar(
            "select coalesce((select to_jsonb(p) from payment.overview p where reservation_id = $1), '{}')",
        )
        .bind(reservation)
        .fetch_one(&self.servers.database)
        .await
        .unwrap()
    }

    async fn until(&self, what: &str, reservation: Uuid, fact: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let row = self.row(reservation).await;
            if fact(&row) {
                return row;
            }
            assert!(Instant::now() < end, "not within 40 s: {what}; the row is {row:#}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.servers.database).await.unwrap()
    }

    /// The events of this subject, of which payment must have committed exactly so many.
    async fn published<E: Event>(&self, count: usize) -> Vec<E> {
        let events = self.servers.events(count).await;
        let all = "select count(*) from payment.events where subject = $1";
        let all: i64 =
            sqlx::query_scalar(all).bind(E::SUBJECT).fetch_one(&self.servers.database).await.unwrap();
        assert_eq!(all, count as i64, "{}", E::SUBJECT);
        events
    }

    /// Ends the test: everything must be published, and no dead letter may be left.
    async fn close(self) {
        for host in self.hosts {
            host.stop().await;
        }
        self.stop.cancel();
        self.sandbox.stop().await;
        self.servers.finish().await;
    }
}

/// Answers the requests of payment to reservation.
async fn start_reservation_stand_in(
    servers: &TestSystem,
    reservations: Reservations,
    stop: CancellationToken,
) {
    let verifier = Verifier::new(servers.bus.clone(), &servers.config.jwt_public_keys);
    let mut server = Server::start(&servers.bus, "reservation", verifier, stop).await.unwrap();
    let begin = move |call: Call<BeginPayment>| {
        let found = reservations.lock().unwrap().get(&call.request.reservation_id).cloned();
        let caller = call.caller().map(|identity| identity.user_id);
        async move {
            let (created, refusal) = found.ok_or_else(|| Problem::not_found("reservation"))?;
            if created.user_id != caller? {
                return Err(Problem::not_found("reservation"));
            }
            match refusal {
                Some(problem) => Err(problem),
                None => json(&PaymentBegun {
                    reservation_id: created.reservation_id,
                    user_id: created.user_id,
                    email: created.email,
                    description: format!("{} · {}", created.movie_title.clone(), seat_list(&created.seats)),
                    total: created.total,
                    credit: None,
                    expires_at: created.expires_at,
                    sale: Some(Sale {
                        showtime_id: created.showtime_id,
                        movie_id: created.movie_id,
                        movie_title: created.movie_title,
                        starts_at: created.starts_at,
                        tickets: created.seats.len() as u16,
                    }),
                    seats: created.seats,
                    lines: created.lines,
                    fees: created.fees,
                    code: created.code,
                    exchange_of: None,
                    locale: bus::contract::Locale::En,
                    site_id: bus::contract::site::DEFAULT_SITE,
                }),
            }
        }
    };
    server.serve(begin).await.unwrap();
    // Payment asks for the order of a caller who is not the payment's owner: here nobody may see it.
    let get = |_: Call<GetReservation>| async { Err(Problem::not_found("reservation")) };
    server.serve(get).await.unwrap();
    tokio::spawn(server.ended());
}

/// Receives webhooks over HTTP and forwards them to the host, byte for byte.
async fn start_webhook_forwarder(bus: bus::Bus) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/payments/webhook", listener.local_addr().unwrap());
    let server = poem::Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
    tokio::spawn(server.run(WebhookForwarder(bus)));
    url
}

struct WebhookForwarder(bus::Bus);

impl Endpoint for WebhookForwarder {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let signature = request.header("stripe-signature").unwrap_or_default().to_owned();
        let body = request.take_body().into_bytes().await.unwrap();
        let webhook = Webhook { body: base64::engine::general_purpose::STANDARD.encode(&body), signature };
        let status = match self.0.ask(&webhook, &Ask::new(Context::new())).await {
            Ok(()) => 200,
            Err(problem) => problem.status,
        };
        Ok(Response::builder().status(StatusCode::from_u16(status).unwrap()).finish())
    }
}
