//! Rate limits, limits of concurrency, and CORS.

use std::time::Duration;

use bus::contract::auth::{CreateGuest, Login, Me};
use bus::contract::event_feed::WatchEvents;
use bus::contract::movie::{ListGenres, ListMovies};
use bus::contract::payment::Webhook;
use bus::contract::reservation::GetSeatMap;
use poem::http::{HeaderValue, Method};
use serde_json::json;

use super::{Gateway, problem, signature};
use crate::cors::Cors;
use crate::entrypoint::HttpConfig;
use crate::limit::{Bounds, Limiter, Quotas};

fn limited() -> Gateway {
    let quotas = Quotas { reads: 2, writes: 1, logins: 1, guests: 1 };
    Gateway::with(HttpConfig::default(), Limiter::new(Some(quotas), None).unwrap())
}

#[tokio::test]
async fn a_client_over_its_quota_gets_429_with_retry_after() {
    let gateway = limited();
    gateway.set_answer::<ListMovies>("{}").set_answer::<ListGenres>("{}").set_answer::<Me>("{}");
    let first = gateway.get("/v1/movies").answer().await;
    assert_eq!(
        (first.status, first.header("ratelimit-limit"), first.header("ratelimit-remaining")),
        (200, "2", "1")
    );
    assert!((1..=30).contains(&first.header("ratelimit-reset").parse().unwrap()));
    assert_eq!(gateway.get("/v1/movies").answer().await.header("ratelimit-remaining"), "0");
    let refused = gateway.get("/v1/movies").answer().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("rate-limited")));
    assert!((1..=30).contains(&refused.header("retry-after").parse().unwrap()));
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    assert_eq!(gateway.get("/v1/genres").answer().await.status, 200, "another route has a quota of its own");
    // A user has one quota for all routes.
    assert_eq!(gateway.get("/v1/me").token("user").answer().await.header("ratelimit-remaining"), "1");
    gateway.get("/v1/reservations").token("user").answer().await;
    assert_eq!(gateway.get("/v1/me").token("user").problem().await, problem(429, "rate-limited"));
    assert_eq!(gateway.received().len(), 5, "a refused request reaches no host");
}

#[tokio::test]
async fn logins_and_invalid_tokens_are_counted_by_address() {
    let gateway = limited();
    gateway.set_answer::<Login>("{}");
    let login = || gateway.post("/v1/auth/login").json(json!({"email": "a@example.org", "password": "x"}));
    assert_eq!(login().answer().await.status, 200);
    assert_eq!(login().problem().await, problem(429, "rate-limited"));
    assert_eq!(gateway.get("/v1/me").token("forged").problem().await, problem(401, "token-invalid"));
    assert_eq!(gateway.get("/v1/me").token("forged").problem().await, problem(429, "rate-limited"));
}

#[tokio::test]
async fn guests_are_counted_by_address_and_none_is_made_without_auth() {
    let gateway = limited();
    let guest = || gateway.post("/v1/auth/guest").json(json!({}));
    // The auth host is away: the page has held nothing yet.
    assert_eq!(guest().problem().await, problem(503, "unavailable"));
    gateway.set_answer::<CreateGuest>("{}");
    assert_eq!(guest().problem().await, problem(429, "rate-limited"));
    let gateway = limited();
    gateway.set_answer::<CreateGuest>("{}");
    assert_eq!(guest_of(&gateway).await, (201, String::new()));
}

/// Status and `Location` of a new guest.
async fn guest_of(gateway: &Gateway) -> (u16, String) {
    let answer = gateway.post("/v1/auth/guest").json(json!({})).answer().await;
    (answer.status, answer.header("location").to_owned())
}

#[tokio::test]
async fn webhooks_and_monitoring_have_no_rate_limit() {
    let gateway = limited();
    gateway.set_answer::<Webhook>("{}");
    for _ in 0..5 {
        let webhook = gateway.post("/v1/payments/webhook").header("Stripe-Signature", &signature());
        assert_eq!(webhook.body("{}").answer().await.status, 200);
        let health = gateway.get("/health/live").answer().await;
        assert_eq!((health.status, health.header("ratelimit-limit")), (200, ""));
    }
}

#[tokio::test]
async fn webhooks_above_the_maximum_in_progress_get_503() {
    let bounds = Bounds { webhooks_in_work_max: Some(2), ..Bounds::default() };
    let gateway = Gateway::bounded(bounds);
    gateway.set_answer::<Webhook>("null").delay_answers(Duration::from_millis(200));
    let webhook = || gateway.post("/v1/payments/webhook").header("Stripe-Signature", &signature());
    let answers = futures::future::join_all((0..4).map(|_| webhook().body("{}").answer())).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 503, 503]);
    assert_eq!(
        (answers[3].json()["code"].as_str(), answers[3].header("retry-after")),
        (Some("overloaded"), "5")
    );
    assert_eq!(gateway.received().len(), 2);
    assert_eq!(webhook().body("{}").answer().await.status, 200, "permits are released");
}

#[tokio::test]
async fn the_live_streams_of_one_network_are_limited() {
    let bounds = Bounds { streams_per_network_max: Some(2), ..Bounds::default() };
    let gateway = Gateway::bounded(bounds);
    gateway.set_answer::<GetSeatMap>(r#"{"sequence":1,"seats":[]}"#).set_answer::<WatchEvents>("[]");
    let watch = |path: &str| gateway.get(path).token("admin").response();
    let seats = "/v1/showtimes/01890a5d-ac96-774b-bcce-b302099a8057/seats/events";
    let (first, second) = (watch(seats).await, watch("/v1/admin/events").await);
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 200));
    let refused = gateway.get(seats).answer().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (429, Some("streams")));
    assert_eq!(refused.header("retry-after"), "10");
    drop(first);
    assert_eq!(watch(seats).await.status(), 200, "a closed stream releases its place");
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_may_call_and_read_answers() {
    let cors = Cors { origins: vec![HeaderValue::from_static("https://kino.example")], any: false };
    let gateway = Gateway::with(HttpConfig { cors, ..HttpConfig::default() }, Limiter::off());
    gateway.set_answer::<ListMovies>("{}");
    let preflight = |origin: &str| {
        let request = gateway.send(Method::OPTIONS, "/v1/movies").header("Origin", origin);
        request.header("Access-Control-Request-Method", "POST")
    };
    let allowed = preflight("https://kino.example").answer().await;
    assert_eq!((allowed.status, allowed.body.as_str()), (204, ""));
    assert_eq!(allowed.header("access-control-allow-origin"), "https://kino.example");
    assert!(allowed.header("access-control-allow-methods").contains("PATCH"));
    assert!(allowed.header("access-control-allow-headers").contains("Idempotency-Key"));
    assert_eq!(preflight("https://evil.example").problem().await, problem(405, "method"));

    let read = gateway.get("/v1/movies").header("Origin", "https://kino.example").answer().await;
    assert_eq!(read.header("access-control-allow-origin"), "https://kino.example");
    assert!(read.header("access-control-expose-headers").contains("ETag"));
    assert_eq!(read.header("access-control-allow-credentials"), "");
    let foreign = gateway.get("/v1/movies").header("Origin", "https://evil.example").answer().await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, ""));
    let refused = gateway.get("/v1/me").header("Origin", "https://kino.example").answer().await;
    assert_eq!(
        (refused.status, refused.header("access-control-allow-origin")),
        (401, "https://kino.example")
    );
}

#[tokio::test]
async fn by_default_no_page_of_another_origin_may_call() {
    let gateway = Gateway::new();
    let preflight = gateway.send(Method::OPTIONS, "/v1/movies").header("Origin", "https://kino.example");
    let preflight = preflight.header("Access-Control-Request-Method", "GET");
    assert_eq!(preflight.problem().await, problem(405, "method"));
}
