//! Headers of every answer, also after a failure; pages that need no host.

use std::time::Duration;

use bus::contract::movie::ListMovies;
use poem::http::Method;

use super::{Gateway, problem};
use crate::entrypoint::HttpConfig;
use crate::limit::Limiter;

#[tokio::test]
async fn every_answer_has_security_headers_and_a_request_id() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>("{}");
    for path in ["/v1/movies", "/v1/nothing", "/v1/me", "/", "/docs", "/openapi.json", "/health/live"] {
        let answer = gateway.get(path).header("X-Request-Id", "me-1.2_3").answer().await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(!answer.header("content-security-policy").contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-request-id"), "me-1.2_3", "{path}");
    }
    let answer = gateway.get("/v1/me").header("X-Request-Id", "not one!").answer().await;
    assert_eq!(answer.header("x-request-id").len(), 36, "a request id is generated");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn request_id_and_trace_reach_the_host() {
    let gateway = Gateway::new();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let sending = gateway.get("/v1/movies").header("X-Request-Id", "order-1");
    sending.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01")).answer().await;
    let context = gateway.received().pop().unwrap().ask.context;
    assert_eq!(context.correlation_id, "order-1");
    assert!(context.traceparent.contains(trace));
}

#[tokio::test]
async fn a_panic_is_a_blank_500() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>("panic");
    let answer = gateway.get("/v1/movies").answer().await;
    assert_eq!(answer.json()["code"], "internal");
    assert!(!answer.body.contains("set to panic"));
}

#[tokio::test]
async fn unknown_paths_get_a_problem_that_explains_the_api() {
    let gateway = Gateway::new();
    for path in ["/v1", "/v1/", "/v1/movies/", "/nothing", "/docs/nothing", "/v1//movies", "/v1/%2e%2e/x"] {
        assert_eq!(gateway.get(path).problem().await, problem(404, "no-route"), "{path}");
    }
    let answer = gateway.get("/v2/movies").answer().await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("only version 1"));
}

#[tokio::test]
async fn with_an_https_url_browsers_must_use_https() {
    let secure = Gateway::with(HttpConfig { is_secure: true, ..HttpConfig::default() }, Limiter::off());
    for path in ["/", "/v1/nothing", "/health/live"] {
        let answer = secure.get(path).answer().await;
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000", "{path}");
    }
    let plain = Gateway::new();
    assert_eq!(plain.get("/").answer().await.header("strict-transport-security"), "");
}

#[tokio::test]
async fn a_path_is_found_in_every_spelling() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>("{}");
    assert_eq!(gateway.get("/v1/%6Dovies").answer().await.status, 200);
    assert_eq!(gateway.get("/v1%2Fmovies").problem().await, problem(404, "no-route"));
    for path in ["/v1/movies%00", "/media/a%0ab", "/%c2%85"] {
        assert_eq!(gateway.get(path).problem().await, problem(400, "bad-path"), "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_like_get() {
    let gateway = Gateway::new();
    assert_eq!(gateway.send(Method::HEAD, "/health/live").answer().await.status, 200);
}

#[tokio::test]
async fn readiness_names_the_missing_parts() {
    let gateway = Gateway::new();
    let answer = gateway.get("/health/ready").answer().await;
    assert_eq!((answer.status, answer.json()["parts"]["nats"]["ready"].as_bool()), (200, Some(true)));
    assert!(answer.json().get("degraded").is_none());
    gateway.shared.stop.cancel();
    let answer = gateway.get("/health/ready").answer().await;
    assert_eq!((answer.status, answer.header("content-type")), (503, "application/problem+json"));
    assert_eq!(answer.json()["code"], "not-ready");
    assert_eq!(answer.json()["requestId"], answer.header("x-request-id"));
    assert_eq!(answer.json()["parts"]["gateway"]["ready"], false);
}

#[tokio::test]
async fn a_missing_domain_is_named_and_takes_no_gateway_out_of_service() {
    let gateway = Gateway::new();
    gateway.stop_hosts(&["payment"]);
    let answer = gateway.get("/health/ready").answer().await;
    assert_eq!((answer.status, answer.json()["degraded"].clone()), (200, serde_json::json!(["payment"])));
    assert_eq!(answer.json()["parts"]["payment"]["ready"], false);
    gateway.stop_hosts(&[]);
    let seen = async {
        while gateway.get("/health/ready").answer().await.json().get("degraded").is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), seen).await.expect("a host that starts is noticed at once");

    let alone = Gateway::new();
    let domains =
        crate::routes::ROWS.iter().filter_map(|row| row.subject?.strip_prefix("rpc.")?.split('.').next());
    alone.stop_hosts(&domains.collect::<Vec<_>>());
    let answer = alone.get("/health/ready").answer().await;
    assert_eq!((answer.status, answer.json()["code"].clone()), (503, "not-ready".into()));
}

#[tokio::test]
async fn documents_and_their_pages_are_served() {
    let gateway = Gateway::new();
    for domain in ["", "/auth", "/movie", "/reservation", "/payment", "/notification", "/operation"] {
        let page = gateway.get(&format!("/docs{domain}")).answer().await;
        assert!(
            page.status == 200 && page.header("content-security-policy").contains("'sha256-"),
            "{domain}"
        );
        let document = gateway.get(&format!("/openapi{domain}.json")).answer().await;
        assert_eq!(document.json()["openapi"], "3.0.0", "{domain}");
    }
}
