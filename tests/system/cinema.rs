//! A whole cinema on real servers of its own, and people who use it by REST alone. Helpers are named as what a user does.
//!
//! `close()` fails the test when something was left behind: an unsent event, a dead letter, a seat or money that does
//! not add up.

#[path = "budget/meter.rs"]
pub mod meter;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actors::seed::Passwords;
use bus::config::Environment;
use futures::StreamExt;
use marquee::cinema::{Cinema, Opening};
use marquee::local::{Folder, Nats, Postgres, Redis, shared_postgres};
use reqwest::{Method, StatusCode};
use sandbox::Switches;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::harness::template;
use meter::Meter;

/// E-mail and password of the first SUPER_ADMIN.
pub const OWNER: (&str, &str) = ("owner@marquee.example", "the first of all");

/// What a test cinema is opened with; the rest is as in `marquee up`.
pub struct Plan {
    pub reservation_hosts: usize,
    /// Asks within the process do not go over NATS.
    pub neighbours: bool,
    pub environment: Vec<(&'static str, String)>,
    /// A Postgres of its own, which the test may kill.
    pub own_postgres: bool,
    pub redis: bool,
    /// With the demo's accounts and catalogue.
    pub seed: bool,
    /// With a count of the exchanges with Postgres and of the messages through NATS.
    pub metered: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            reservation_hosts: 1,
            neighbours: false,
            environment: Vec::new(),
            own_postgres: false,
            redis: false,
            seed: false,
            metered: false,
        }
    }
}

impl Plan {
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }
}

pub struct TestCinema {
    pub nats: Nats,
    pub postgres: Option<Postgres>,
    pub redis: Option<Redis>,
    pub database: PgPool,
    pub http: reqwest::Client,
    pub folder: Folder,
    pub showtime: String,
    pub meter: Option<Meter>,
    /// The port of NATS's monitoring.
    pub nats_monitor: Option<u16>,
    environment: Environment,
    plan: Plan,
    open: Option<Cinema>,
    owner: Option<Person>,
    people: AtomicU64,
}

/// Someone who is logged in.
#[derive(Clone)]
pub struct Person {
    pub token: String,
}

/// What the gateway answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Value,
    pub text: String,
    pub headers: reqwest::header::HeaderMap,
}

impl Answer {
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "answered {}", self.text);
        self.body
    }
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl TestCinema {
    pub async fn open() -> Self {
        Self::open_with(Plan::default()).await
    }

    /// Opens a cinema with one hall of five rows (A–E) of ten seats, and one showtime in a day.
    pub async fn open_with(plan: Plan) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = Folder::temporary().unwrap();
        let nats_folder = folder.join("nats").unwrap();
        let nats_monitor = if plan.metered { Some(free_port().await) } else { None };
        let nats = Nats::start_with(&nats_folder, |configuration| match nats_monitor {
            Some(port) => format!("{configuration}\nhttp: \"127.0.0.1:{port}\"\n"),
            None => configuration.to_owned(),
        });
        let nats = nats.await.unwrap();
        let (postgres, url) = if plan.own_postgres {
            let postgres = Postgres::start(&folder.join("postgres").unwrap(), true).await.unwrap();
            let url = postgres.create_database("marquee").await.unwrap();
            (Some(postgres), url)
        } else {
            (None, shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap())
        };
        let redis =
            if plan.redis { Some(Redis::start(&folder.join("redis").unwrap()).await.unwrap()) } else { None };
        let (meter, hosts_url) = if plan.metered { metered(&url).await } else { (None, url.clone()) };
        let environment = Environment::default()
            .or("DATABASE_URL", &hosts_url)
            .or("NATS_URL", nats.url())
            .or("NATS_PASSWORD", nats.password())
            .or("HTTP_ADDR", "127.0.0.1:0")
            .or("MEDIA_DIR", folder.path().join("media").to_string_lossy())
            .or("JWT_PRIVATE_KEY", actors::auth::token::generate_pem())
            .or("PAYMENT_WEBHOOK_SECRET", "whsec_test")
            .or("PAYMENT_API_KEY", "sk_test_marquee")
            .or("MAIL_DIR", folder.path().join("mail").display().to_string())
            .or("OPEN_HOLDS_MAX", "1000")
            .or("HOLD_MAIL_AFTER_SECONDS", "0")
            .or("RATE_LIMIT_DISABLED", "true")
            .or("SUPER_ADMIN_EMAIL", OWNER.0)
            .or("SUPER_ADMIN_PASSWORD", OWNER.1);
        let environment = redis.iter().fold(environment, |e, redis| e.or("REDIS_URL", redis.url()));
        let environment = plan.environment.iter().fold(environment, |mut e, (name, value)| {
            e.set(name, value);
            e
        });
        let mut cinema = Self {
            nats,
            postgres,
            redis,
            database: PgPool::connect_lazy(&url).unwrap(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(40)).build().unwrap(),
            folder,
            showtime: String::new(),
            meter,
            nats_monitor,
            environment,
            plan,
            open: None,
            owner: None,
            people: AtomicU64::new(0),
        };
        cinema.open_doors().await;
        cinema.owner = Some(cinema.log_in(OWNER.0, OWNER.1).await);
        cinema.showtime = cinema.schedule(&["SSSSSSSSSS"; 5], 24 * 3600).await;
        cinema
    }

    /// Starts hosts, provider and gateway on the servers that are there.
    pub async fn open_doors(&mut self) {
        let opening = Opening {
            environment: self.environment.clone(),
            sandbox_log: Some(self.folder.path().join("sandbox.jsonl")),
            reservation_hosts: self.plan.reservation_hosts,
            neighbours: self.plan.neighbours,
            seed: self.plan.seed.then_some(Passwords::Demo),
        };
        self.open = Some(Cinema::open(opening).await.unwrap());
    }

    pub fn database_url(&self) -> String {
        self.environment.get("DATABASE_URL").unwrap()
    }

    /// From the next opening on.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.set(name, value);
    }

    /// Stops all of them in order.
    pub async fn close_doors(&mut self) {
        if let Some(cinema) = self.open.take() {
            cinema.close().await;
        }
    }

    /// One more host of a domain, as in production, where several share the work.
    pub async fn start_another(&mut self, domain: &str) {
        let mut environment = self.environment.clone();
        let nats = marquee::config::nats_among_others(&mut environment, domain);
        let bus = bus::Bus::connect(nats).await.unwrap();
        let host = marquee::hosts::start(domain, &mut environment, bus, None).await.unwrap();
        self.cinema_mut().hosts.push(host);
    }
    pub fn cinema(&self) -> &Cinema {
        self.open.as_ref().unwrap()
    }

    pub fn cinema_mut(&mut self) -> &mut Cinema {
        self.open.as_mut().unwrap()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.cinema().gateway.addr())
    }

    pub fn switch(&self, switches: Switches) {
        self.cinema().sandbox.as_ref().unwrap().set_switches(switches);
    }

    /// Sends what was withheld by `webhook_drop`.
    pub async fn flush_webhooks(&self) {
        let sandbox = self.cinema().sandbox.as_ref().unwrap().url();
        let flushed = self.http.post(format!("{sandbox}/sandbox/webhooks/flush")).send().await.unwrap();
        assert!(flushed.status().is_success());
    }

    pub fn owner(&self) -> Person {
        self.owner.clone().unwrap()
    }

    pub async fn log_in(&self, email: &str, password: &str) -> Person {
        let body = json!({"email": email, "password": password});
        person(self.call(Method::POST, "/v1/auth/login", None, Some(body)).await.expect(200))
    }

    /// A new moviegoer, whose address is proven.
    pub async fn register(&self) -> Person {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        let body =
            json!({"email": format!("p{number}@example.org"), "password": "correct horse", "name": "Ada"});
        let session = self.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201);
        let proven = "update auth.users set verified_at = now() where id = $1::uuid";
        sqlx::query(proven).bind(session["user"]["id"].as_str()).execute(&self.database).await.unwrap();
        // The access token says so from the next refresh on.
        let body = json!({"refreshToken": session["refreshToken"]});
        person(self.call(Method::POST, "/v1/auth/refresh", None, Some(body)).await.expect(200))
    }

    /// A hall with these rows (`S` standard, `W` wheelchair, `-` gap) and a showtime in it, `seconds` from now.
    pub async fn schedule(&self, rows: &[&str], seconds: i64) -> String {
        self.schedule_at(rows, seconds, [1200, 800]).await
    }

    /// The same, where a standard seat and a wheelchair space cost so many cents.
    pub async fn schedule_at(&self, rows: &[&str], seconds: i64, prices: [i64; 2]) -> String {
        let seat = |(at, kind): (usize, char)| {
            let kind = match kind {
                'W' => "WHEELCHAIR",
                '-' => "GAP",
                _ => "STANDARD",
            };
            json!({"number": at + 1, "kind": kind})
        };
        let rows: Vec<Value> = rows
            .iter()
            .zip('A'..)
            .map(|(row, label)| json!({"label": label, "seats": row.chars().enumerate().map(seat).collect::<Vec<_>>()}))
            .collect();
        self.schedule_priced(json!(rows), seconds, prices).await
    }

    /// A hall with this layout and a showtime in it, `seconds` from now.
    pub async fn schedule_layout(&self, rows: Value, seconds: i64) -> String {
        self.schedule_priced(rows, seconds, [1200, 800]).await
    }

    async fn schedule_priced(&self, rows: Value, seconds: i64, [standard, wheelchair]: [i64; 2]) -> String {
        let owner = self.owner();
        let price = |amount: i64| json!({"amount": amount, "currency": "EUR"});
        let prices = json!({"STANDARD": price(standard), "WHEELCHAIR": price(wheelchair), "COMPANION": price(500), "LOVESEAT": price(1500)});
        // Names that may be seen in the README's pictures.
        static HALLS: AtomicU64 = AtomicU64::new(5);
        let number = HALLS.fetch_add(1, Ordering::Relaxed);
        let hall = json!({"name": format!("Hall {number}"), "timeZone": "Europe/Berlin", "rows": rows});
        let hall = self.call(Method::POST, "/v1/auditoriums", Some(&owner), Some(hall)).await.expect(201);
        let movie = json!({"title": "The Long Night", "durationMinutes": 90, "releaseDate": "2026-01-01"});
        let movie = self.call(Method::POST, "/v1/movies", Some(&owner), Some(movie)).await.expect(201);
        let starts = time::OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let starts = starts.format(&time::format_description::well_known::Rfc3339).unwrap();
        let showtime =
            json!({"movieId": movie["id"], "auditoriumId": hall["id"], "startsAt": starts, "prices": prices});
        let showtime =
            self.call(Method::POST, "/v1/showtimes", Some(&owner), Some(showtime)).await.expect(201);
        showtime["id"].as_str().unwrap().to_owned()
    }

    pub async fn call(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
    ) -> Answer {
        let key = uuid::Uuid::new_v4().to_string();
        self.call_with_key(method, path, who, body, &key).await
    }

    pub async fn call_with_key(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
        key: &str,
    ) -> Answer {
        self.try_call(method, path, who, body, key).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// As [`Self::call_with_key`], where the gateway may be away.
    pub async fn try_call(
        &self,
        method: Method,
        path: &str,
        who: Option<&Person>,
        body: Option<Value>,
        key: &str,
    ) -> reqwest::Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.url()));
        if let Some(person) = who {
            request = request.bearer_auth(&person.token);
        }
        if method == Method::POST {
            request = request.header("Idempotency-Key", key);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        answer(request.send().await?).await
    }

    pub async fn try_reserve(&self, who: &Person, seats: &[&str]) -> Answer {
        let body = json!({"showtimeId": self.showtime, "seats": seats});
        self.call(Method::POST, "/v1/reservations", Some(who), Some(body)).await
    }

    /// Reserves and returns the reservation's id.
    pub async fn reserve(&self, who: &Person, seats: &[&str]) -> String {
        id(&self.try_reserve(who, seats).await.expect(201))
    }

    pub async fn pay(&self, who: &Person, reservation: &str, token: &str) -> Answer {
        let body = json!({"reservationId": reservation, "paymentMethod": token});
        self.call(Method::POST, "/v1/payments", Some(who), Some(body)).await
    }

    /// Reserves, pays and waits until it is confirmed.
    pub async fn buy(&self, who: &Person, seats: &[&str]) -> String {
        let reservation = self.reserve(who, seats).await;
        self.pay(who, &reservation, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &reservation).await;
        reservation
    }

    /// Opens the provider's page and returns its address.
    pub async fn open_pay_page(&self, who: &Person, reservation: &str) -> String {
        let body = json!({"reservationId": reservation});
        let payment = self.call(Method::POST, "/v1/payments", Some(who), Some(body)).await.expect(201);
        payment["checkoutUrl"].as_str().unwrap_or_else(|| panic!("no checkoutUrl in {payment}")).to_owned()
    }

    /// Fills the provider's page in and sends it; tells whether the provider took the money.
    pub async fn pay_on_page(&self, page: &str, card: &str) -> bool {
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let form = [("card", card), ("card_number", card), ("number", card)];
        let answer = client.post(page).form(&form).send().await.unwrap();
        answer.status() == StatusCode::SEE_OTHER
    }

    pub async fn reservation(&self, who: &Person, reservation: &str) -> Value {
        self.call(Method::GET, &format!("/v1/reservations/{reservation}"), Some(who), None).await.expect(200)
    }

    pub async fn cancel(&self, who: &Person, reservation: &str) -> Answer {
        self.call(Method::POST, &format!("/v1/reservations/{reservation}/cancel"), Some(who), None).await
    }

    /// Waits, by `?wait=`, until the reservation has this status; tells what it saw when it does not come.
    pub async fn until_status(&self, who: &Person, reservation: &str, status: &str) -> Value {
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut version = 0;
        while began.elapsed() < Duration::from_secs(45) {
            let path = format!("/v1/reservations/{reservation}?wait=5&since={version}");
            let key = String::new();
            let Ok(answer) = self.try_call(Method::GET, &path, Some(who), None, &key).await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            if answer.status != StatusCode::OK {
                seen.push(answer.text);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            version = answer.body["version"].as_i64().unwrap();
            seen.push(answer.text);
            if answer.body["status"] == status {
                return answer.body;
            }
        }
        panic!("{reservation} did not become {status}; saw {seen:#?}");
    }

    pub async fn until_confirmed(&self, who: &Person, reservation: &str) -> Value {
        self.until_status(who, reservation, "CONFIRMED").await
    }

    /// The seat map as id → status.
    pub async fn seat(&self, seat: &str) -> String {
        let map = self
            .call(Method::GET, &format!("/v1/showtimes/{}/seats", self.showtime), None, None)
            .await
            .expect(200);
        let seats = map["seats"].as_array().unwrap();
        let found =
            seats.iter().find(|s| s["id"] == seat).unwrap_or_else(|| panic!("no seat {seat} in {map}"));
        found["status"].as_str().unwrap().to_owned()
    }

    /// What the provider holds for a reservation: captured less refunded, in minor units.
    pub async fn captured(&self, reservation: &str) -> i64 {
        let sandbox = self.cinema().sandbox.as_ref().unwrap().url();
        let list = |path: &str| {
            let request = self.http.get(format!("{sandbox}{path}")).bearer_auth("sk_test_marquee");
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let intents = list("/v1/payment_intents?limit=100").await;
        let mut net = 0;
        for intent in intents["data"].as_array().unwrap() {
            if intent["metadata"]["reservation_id"] == reservation && intent["status"] == "succeeded" {
                net += intent["amount_received"].as_i64().unwrap();
                let refunds =
                    list(&format!("/v1/refunds?limit=100&payment_intent={}", intent["id"].as_str().unwrap()))
                        .await;
                let given = refunds["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|refund| refund["status"] == "succeeded");
                net -= given.map(|refund| refund["amount"].as_i64().unwrap()).sum::<i64>();
            }
        }
        net
    }

    /// Waits until a query that returns a number returns this one.
    pub async fn until_sql(&self, sql: &'static str, wanted: i64) {
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < Duration::from_secs(45) {
            last = Some(sqlx::query_scalar::<_, i64>(sql).fetch_one(&self.database).await);
            if matches!(&last, Some(Ok(found)) if *found == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql} did not become {wanted}; last {last:?}");
    }

    /// Waits for what `seen` sees.
    pub async fn until(&self, what: &str, seen: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !seen().await {
            assert!(began.elapsed() < Duration::from_secs(45), "not seen: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database).await.unwrap()
    }

    /// Every event of one subject that the stream holds, by id.
    pub async fn events(&self, subject: &str) -> Vec<Value> {
        let stream = bus::topology::events(&self.cinema().bus).await.unwrap();
        let config = async_nats::jetstream::consumer::pull::OrderedConfig {
            filter_subject: subject.to_owned(),
            ..Default::default()
        };
        let consumer = stream.create_consumer(config).await.unwrap();
        let mut messages = consumer.messages().await.unwrap();
        let mut events: std::collections::BTreeMap<String, Value> = Default::default();
        while let Ok(Some(Ok(message))) =
            tokio::time::timeout(Duration::from_millis(500), messages.next()).await
        {
            let id = message.headers.as_ref().and_then(|h| h.get("ce-id")).map(|id| id.to_string()).unwrap();
            events.insert(id, serde_json::from_slice(&message.payload).unwrap());
        }
        events.into_values().collect()
    }

    /// Ends the test: everything must have come to rest and add up.
    pub async fn close(mut self) {
        for schema in actors::migrations::schemas().map(|domain| domain.name) {
            let unsent = match schema {
                "notification" => "select count(*) from notification.unsent",
                "auth" => "select count(*) from auth.unsent",
                "movie" => "select count(*) from movie.unsent",
                "reservation" => "select count(*) from reservation.unsent",
                _ => "select count(*) from payment.unsent",
            };
            self.until_sql(unsent, 0).await;
        }
        let dead = self.cinema().bus.jetstream.get_stream(bus::topology::DLQ).await.unwrap();
        assert_eq!(dead.cached_info().state.messages, 0, "dead letters were left");
        // a claim for each seat of a held or sold reservation, and no other
        self.until_sql(
            "select (select count(*) from reservation.claims)
                  - (select coalesce(sum(cardinality(seats)), 0) from reservation.reservations
                     where status in ('PENDING', 'CONFIRMED'))",
            0,
        )
        .await;
        assert_eq!(
            self.count(
                "select count(*) from reservation.claims c join reservation.reservations r on r.id = c.reservation_id
                 where r.status not in ('PENDING', 'CONFIRMED') or c.showtime_id <> r.showtime_id",
            )
            .await,
            0,
            "claims disagree with their reservations"
        );
        // the ledger agrees with the payments
        for sql in [
            "select (select coalesce(sum(amount), 0) from payment.postings where account = 'SALES')::int8
                  + (select coalesce(sum(amount), 0) from payment.overview where stage = 'CAPTURED')::int8",
            "select (select coalesce(sum(amount), 0) from payment.postings where account = 'REFUNDS')::int8
                  - (select coalesce(sum(amount), 0) from payment.refunds
                     where status = 'COMPLETED' and origin = 'ASKED')::int8",
        ] {
            assert_eq!(self.count(sql).await, 0, "the ledger disagrees with the payments: {sql}");
        }
        // a saga's log has every version
        assert_eq!(
            self.count(
                "select count(*) from reservation.reservations r
                 where r.version <> (select count(*) from reservation.saga_steps s where s.reservation_id = r.id)",
            )
            .await,
            0,
            "a saga's log has gaps"
        );
        self.close_doors().await;
    }
}

/// The way to a database over a meter.
async fn metered(url: &str) -> (Option<Meter>, String) {
    let address = reqwest::Url::parse(url).unwrap();
    let (meter, port) = Meter::start(address.port().unwrap()).await;
    let mut counted = address;
    counted.set_port(Some(port)).unwrap();
    counted.set_host(Some("127.0.0.1")).unwrap();
    (Some(meter), counted.to_string())
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

pub async fn answer(response: reqwest::Response) -> reqwest::Result<Answer> {
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await?;
    Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), text, headers })
}

fn person(session: Value) -> Person {
    Person { token: session["accessToken"].as_str().unwrap().to_owned() }
}

pub fn id(of: &Value) -> String {
    of["id"].as_str().unwrap_or_else(|| panic!("no id in {of}")).to_owned()
}
