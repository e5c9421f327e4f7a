//! The web page's addresses and files, and its logins by cookie.

use bus::contract::Problem;
use bus::contract::auth::{Login, Logout, RefreshPage, Register};
use poem::http::Method;
use serde_json::json;

use super::{Gateway, problem};
use crate::entrypoint::HttpConfig;
use crate::limit::Limiter;

const SESSION: &str = r#"{"user": {"id": "01920000-0000-7000-8000-000000000001", "email": "a@b.c", "name": "A", "role": "USER",
    "createdAt": "2026-05-01T18:30:00Z"}, "accessToken": "access", "refreshToken": "secret", "expiresIn": 900, "deviceToken": "device"}"#;

fn login() -> serde_json::Value {
    json!({"email": "a@b.c", "password": "correct horse"})
}

#[tokio::test]
async fn every_address_of_the_page_answers_with_the_shell_and_no_inline_script_may_run() {
    let gateway = Gateway::new();
    for path in [
        "/",
        "/movies/01920000-0000-7000-8000-000000000001",
        "/showtimes/01920000-0000-7000-8000-000000000001",
        "/reservations/01920000-0000-7000-8000-000000000001?session_id=x",
        "/tickets",
        "/reset?token=x",
        "/staff/sales",
    ] {
        let answer = gateway.get(path).answer().await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{path}"
        );
        assert_eq!(answer.header("cache-control"), "no-cache");
        assert!(answer.body.contains("/app.js\"") && !answer.body.contains("{assets}"), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
    }
    for path in ["/nothing", "/movies/1"] {
        let lost = gateway.get(path).header("Accept", "text/html").answer().await;
        assert_eq!((lost.status, lost.header("content-type")), (404, "text/html; charset=utf-8"), "{path}");
    }
    let accepts = |method, path| gateway.send(method, path).header("Accept", "text/html");
    assert_eq!(accepts(Method::GET, "/v1/nothing").problem().await, problem(404, "no-route"));
    assert_eq!(accepts(Method::POST, "/nothing").problem().await, problem(404, "no-route"));
}

#[tokio::test]
async fn the_shell_is_in_the_chosen_language_or_else_in_the_browsers() {
    let gateway = Gateway::new();
    let cases = [
        ("", "", "en"),
        ("fr, *", "", "en"),
        ("de-AT, en;q=0.8", "", "de"),
        ("de", "a=b; marquee.language=en", "en"),
        ("en", "marquee.language=de; marquee_device=x", "de"),
        ("de", "marquee.language=fr", "de"),
    ];
    for (accepted, cookie, wanted) in cases {
        // Pages that are and pages that are not, which a browser gets with 404.
        for path in ["/", "/login", "/movies/1", "/nothing"] {
            let request = gateway.get(path).header("Accept", "text/html");
            let answer = request.header("Accept-Language", accepted).header("Cookie", cookie).answer().await;
            let other = if wanted == "en" { "de" } else { "en" };
            let case = format!("{path} {accepted} {cookie}: {}", answer.body);
            assert!(answer.body.contains(&format!("<html lang=\"{wanted}\">")), "{case}");
            assert!(answer.body.contains(&format!("/text/{wanted}.js\"")), "{case}");
            assert!(!answer.body.contains(&format!("/{other}.js\"")), "{case}");
            assert!(!answer.body.contains(&format!("-{other}.js\"")), "{case}");
            assert_eq!(answer.header("vary"), "Accept-Language, Cookie", "{path}");
        }
    }
}

#[tokio::test]
async fn a_file_is_cached_forever_only_under_its_own_versions_address() {
    let gateway = Gateway::new();
    let shell = gateway.get("/").answer().await;
    let begin = shell.body.find("/assets/").unwrap();
    let app = shell.body[begin..].split('"').next().unwrap().replace("icon.svg", "app.js");
    let now = gateway.get(&app).answer().await;
    assert_eq!((now.status, now.header("content-type")), (200, "text/javascript; charset=utf-8"));
    assert_eq!(now.header("cache-control"), "public, max-age=31536000, immutable");
    let held = gateway.get(&app).header("If-None-Match", now.header("etag")).answer().await;
    assert_eq!((held.status, held.body.as_str()), (304, ""));
    let old = gateway.get("/assets/old/app.js").answer().await;
    assert_eq!((old.status, old.header("cache-control")), (200, "no-cache"));
    for gone in ["/assets/old/nothing.js", "/assets/old/../Cargo.toml", "/assets/old/%2e%2e/Cargo.toml"] {
        assert_eq!(gateway.get(gone).problem().await, problem(404, "no-route"), "{gone}");
    }
}

#[tokio::test]
async fn a_login_from_the_page_gives_the_refresh_token_to_no_script() {
    let gateway = Gateway::new();
    gateway
        .set_answer::<Login>(SESSION)
        .set_answer::<Register>(SESSION)
        .set_answer::<RefreshPage>(SESSION)
        .set_answer::<Logout>("null");
    let page = |path: &str| gateway.post(path).header("X-Refresh-Cookie", "true");
    let answer = page("/v1/auth/cookie/login").json(login()).answer().await;
    assert_eq!((answer.status, answer.json()["accessToken"].as_str()), (200, Some("access")));
    assert!(!answer.body.contains("secret") && !answer.body.contains("device"), "{}", answer.body);
    let cookie = "marquee_refresh=secret; HttpOnly; SameSite=Strict; Path=/v1/auth/cookie; Max-Age=2592000";
    assert_eq!(answer.header("set-cookie"), cookie);
    let person = json!({"email": "a@b.co", "password": "correct horse", "name": "A"});
    let made = page("/v1/auth/cookie/register").json(person).answer().await;
    assert_eq!((made.status, made.header("set-cookie"), made.header("location")), (201, cookie, "/v1/me"));

    let again = page("/v1/auth/cookie/refresh").header("Cookie", "a=b; marquee_refresh=old").answer().await;
    assert_eq!((again.status, again.header("set-cookie")), (200, cookie));
    assert_eq!(gateway.received().pop().unwrap().request, json!({"refreshToken": "old"}));
    let out =
        page("/v1/auth/cookie/logout").token("user").header("Cookie", "marquee_refresh=old").answer().await;
    assert_eq!(out.status, 204);
    assert!(
        out.header("set-cookie").starts_with("marquee_refresh=; ")
            && out.header("set-cookie").contains("Max-Age=0")
    );
}

#[tokio::test]
async fn the_refresh_cookie_is_valid_only_with_the_pages_header() {
    let gateway = Gateway::new();
    gateway.set_answer::<RefreshPage>(SESSION).set_answer::<Login>(SESSION);
    let refresh = || gateway.post("/v1/auth/cookie/refresh").header("Cookie", "marquee_refresh=old");
    assert_eq!(refresh().problem().await, problem(400, "refresh-cookie"));
    assert_eq!(refresh().header("X-Refresh-Cookie", "false").problem().await, problem(400, "refresh-cookie"));
    let login = gateway.post("/v1/auth/cookie/login").json(login()).problem().await;
    assert_eq!(login, problem(400, "refresh-cookie"));
    assert!(gateway.received().is_empty(), "a host received a request");
    let none = gateway.post("/v1/auth/cookie/refresh").header("X-Refresh-Cookie", "true").problem().await;
    assert_eq!(none, problem(401, "refresh-cookie"));
}

#[tokio::test]
async fn with_an_https_url_the_cookie_is_secure() {
    let gateway = Gateway::with(HttpConfig { is_secure: true, ..HttpConfig::default() }, Limiter::off());
    gateway.set_answer::<Login>(SESSION);
    let page = gateway.post("/v1/auth/cookie/login").header("X-Refresh-Cookie", "true").json(login());
    let set = page.answer().await.header("set-cookie").to_owned();
    assert!(set.starts_with("__Secure-marquee_refresh=secret; ") && set.ends_with("; Secure"), "{set}");
}

#[tokio::test]
async fn a_planted_cookie_logs_nobody_out_and_a_page_without_https_cannot_plant_one() {
    let gateway = Gateway::with(HttpConfig { is_secure: true, ..HttpConfig::default() }, Limiter::off());
    gateway.set_rejection::<RefreshPage>(Problem::unauthorized("refresh-token", "unknown"));
    let refresh = |cookie: &'static str| {
        let request = gateway.post("/v1/auth/cookie/refresh").header("X-Refresh-Cookie", "true");
        request.header("Cookie", cookie).problem()
    };
    let cookies = "__Secure-marquee_refresh=planted; marquee_refresh=http; __Secure-marquee_refresh=right";
    assert_eq!(refresh(cookies).await, problem(401, "refresh-token"));
    let tried: Vec<_> = gateway.received().into_iter().map(|received| received.request).collect();
    assert_eq!(tried, [json!({"refreshToken": "planted"}), json!({"refreshToken": "right"})]);
    assert_eq!(refresh("marquee_refresh=http").await, problem(401, "refresh-cookie"));
}

#[tokio::test]
async fn a_login_on_a_known_device_sends_the_device_token() {
    let gateway = Gateway::new();
    gateway.set_answer::<Login>(SESSION);
    let page = gateway.post("/v1/auth/cookie/login").header("X-Refresh-Cookie", "true");
    page.header("Cookie", "marquee_device=known").json(login()).answer().await;
    assert_eq!(gateway.received().pop().unwrap().request["deviceToken"], "known");
}
