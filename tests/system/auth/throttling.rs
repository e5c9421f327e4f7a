//! Wrong passwords delay further logins from the same network, and nobody else's.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use actors::config::ThrottleSettings;
use bus::contract::auth::{Login, Session};
use bus::service::Ask;
use bus::{Context, Problem};
use marquee::local::{Folder, Redis};
use reqwest::Method;
use serde_json::json;

use super::account::{Account, try_log_in};
use crate::cinema::{Plan, TestCinema};
use crate::harness::{PASSWORD, TestSystem};

const HOME: [u8; 4] = [192, 0, 2, 1];

const THROTTLE: ThrottleSettings = ThrottleSettings {
    free_tries_account: 3,
    free_tries_account_all: 100,
    free_tries_ip: 8,
    redis_url: None,
};

async fn throttled(system: TestSystem, throttle: ThrottleSettings) -> TestSystem {
    system.with_auth_as(move |settings| settings.throttle = Some(throttle)).await
}

async fn try_from(system: &TestSystem, ip: [u8; 4], email: &str, password: &str) -> Result<Session, Problem> {
    let ask = Ask { client_ip: Some(IpAddr::from(ip)), ..Ask::new(Context::new()) };
    let login = Login { email: email.to_owned(), password: password.to_owned(), device_token: None };
    system.bus.ask(&login, &ask).await
}

/// Logs in with a wrong password several times and returns the problem codes.
async fn guess(system: &TestSystem, ip: [u8; 4], email: &str, times: usize) -> Vec<String> {
    let mut codes = Vec::new();
    for _ in 0..times {
        codes.push(try_from(system, ip, email, "a guess").await.unwrap_err().code);
    }
    codes
}

/// Waits until the right password is accepted; it must be refused as throttled until then.
async fn until_logged_in(system: &TestSystem, ip: [u8; 4], email: &str) -> Duration {
    let began = Instant::now();
    loop {
        match try_from(system, ip, email, PASSWORD).await {
            Ok(_) => return began.elapsed(),
            Err(problem) => assert_eq!(problem.code, "login-throttled"),
        }
        assert!(began.elapsed() < Duration::from_secs(10), "still throttled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn wrong_passwords_are_delayed_and_the_right_one_resets_the_count_after_the_delay() {
    let system = throttled(TestSystem::start().await, THROTTLE).await;
    system.register("ada@example.org").await;
    // An unknown account is treated alike.
    for email in ["nobody@example.org", "ada@example.org"] {
        let ip = if email.starts_with("ada") { HOME } else { [192, 0, 2, 2] };
        let codes = guess(&system, ip, email, 5).await;
        let wrong = "credentials";
        assert_eq!(codes, [wrong, wrong, wrong, wrong, "login-throttled"], "{email}");
    }
    let refused = try_from(&system, HOME, "ADA@example.org", PASSWORD).await.unwrap_err();
    assert_eq!(
        (refused.status, refused.retry_after),
        (429, Some(1)),
        "the right password is delayed as well"
    );
    until_logged_in(&system, HOME, "ada@example.org").await;
    assert_eq!(guess(&system, HOME, "ada@example.org", 3).await, ["credentials"; 3], "the count was reset");
    let kinds: Vec<(String, i64)> = sqlx::query_as(
        "select kind, count(*) from auth.audit where user_id is not null and details ->> 'email' = 'ada@example.org'
         group by kind order by kind",
    )
    .fetch_all(&system.database)
    .await
    .unwrap();
    let kinds: Vec<(&str, i64)> = kinds.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(
        kinds,
        [("LOGIN_FAILED", 7), ("LOGIN_THROTTLED", 1)],
        "a delay is recorded once, however many logins it refuses"
    );
    system.finish().await;
}

#[tokio::test]
async fn an_address_that_guesses_at_many_accounts_is_delayed_and_others_are_not() {
    let system = throttled(TestSystem::start().await, THROTTLE).await;
    system.register("ada@example.org").await;
    for number in 0..9 {
        let codes = guess(&system, HOME, &format!("somebody{number}@example.org"), 1).await;
        assert_eq!(codes, ["credentials"], "{number}");
    }
    let refused = try_from(&system, HOME, "ada@example.org", PASSWORD).await.unwrap_err();
    assert_eq!((refused.status, refused.code.as_str()), (429, "login-throttled"));
    try_from(&system, [192, 0, 2, 9], "ada@example.org", PASSWORD)
        .await
        .expect("another address is not delayed");
    system.finish().await;
}

#[tokio::test]
async fn wrong_passwords_from_another_network_do_not_lock_the_owner_out() {
    let system = throttled(TestSystem::start().await, THROTTLE).await;
    system.register("ada@example.org").await;
    let codes = guess(&system, [198, 51, 100, 9], "ada@example.org", 6).await;
    assert!(codes.contains(&"login-throttled".to_owned()), "{codes:?}");
    try_from(&system, HOME, "ada@example.org", PASSWORD).await.expect("another network is not delayed");
    system.finish().await;
}

#[tokio::test]
async fn a_known_device_can_log_in_while_others_guess_and_is_limited_itself() {
    let throttle = ThrottleSettings { free_tries_account_all: 4, free_tries_ip: 1_000, ..THROTTLE };
    let system =
        TestSystem::start().await.with_auth_as(move |settings| settings.throttle = Some(throttle)).await;
    let ada = system.register("ada@example.org").await;
    let eve = system.register("eve@example.org").await;
    for network in 1..=5 {
        guess(&system, [198, 51, network, 9], "ada@example.org", 1).await;
    }
    let log_in = async |device: &Option<String>, password: &str| {
        let ask = Ask { client_ip: Some(IpAddr::from(HOME)), ..Ask::new(Context::new()) };
        let (email, password) = ("ada@example.org".to_owned(), password.to_owned());
        system.bus.ask(&Login { email, password, device_token: device.clone() }, &ask).await
    };
    let code = async |device: &Option<String>| log_in(device, PASSWORD).await.unwrap_err().code;
    assert_eq!(code(&None).await, "login-throttled", "the account was guessed at from many networks");
    assert_eq!(code(&eve.device_token).await, "login-throttled", "the device of another account");
    assert_eq!(code(&Some("made up".to_owned())).await, "login-throttled");
    let again = log_in(&ada.device_token, PASSWORD).await.expect("the device is known");
    assert_eq!(again.device_token, ada.device_token);
    for _ in 0..4 {
        assert_eq!(log_in(&ada.device_token, "a guess").await.unwrap_err().code, "credentials");
    }
    assert_eq!(code(&ada.device_token).await, "login-throttled");
    system.finish().await;
}

#[tokio::test]
async fn hosts_share_the_count_in_redis_and_count_alone_without_it() {
    let mut redis = Redis::start(&Folder::temporary().unwrap()).await.unwrap();
    let throttle = ThrottleSettings { redis_url: Some(redis.url()), ..THROTTLE };
    let one = throttled(TestSystem::start().await, throttle.clone()).await;
    // A request may go to either host.
    let system = throttled(one, throttle).await;
    system.register("ada@example.org").await;
    let codes = guess(&system, HOME, "ada@example.org", 5).await;
    assert_eq!(codes.iter().filter(|code| *code == "login-throttled").count(), 1, "{codes:?}");
    let waited = until_logged_in(&system, HOME, "ada@example.org").await;
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    redis.kill().await;
    try_from(&system, HOME, "ada@example.org", PASSWORD).await.expect("a login does not need Redis");
    // Eleven tries exceed the limit of one of the two hosts, however they are spread.
    let codes = guess(&system, [192, 0, 2, 3], "bob@example.org", 11).await;
    assert!(codes.contains(&"login-throttled".to_owned()), "{codes:?}");
    system.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_throttled_login_says_when_to_retry() {
    let plan = Plan::default().with("RATE_LIMIT_DISABLED", "false").with("LOGIN_TRIES_ACCOUNT", 1);
    let cinema = TestCinema::open_with(plan).await;
    let ada = Account::register(&cinema, "ada@example.org").await;
    for _ in 0..2 {
        assert_eq!(try_log_in(&cinema, "ada@example.org", "a guess").await.code(), "credentials");
    }
    let refused = try_log_in(&cinema, "ada@example.org", PASSWORD).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "login-throttled"), "{}", refused.text);
    assert_eq!(refused.headers["retry-after"], "1");
    // A change of the password with a stolen token is delayed as well.
    let body = json!({"oldPassword": "a guess", "newPassword": "battery staple"});
    let refused = cinema.call(Method::POST, "/v1/me/password", Some(&ada.person), Some(body)).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "login-throttled"), "{}", refused.text);
    let ips: Vec<Option<String>> =
        sqlx::query_scalar("select host(ip) from auth.audit where kind = 'LOGIN_FAILED'")
            .fetch_all(&cinema.database)
            .await
            .unwrap();
    assert!(ips.iter().all(|ip| ip.as_deref() == Some("127.0.0.1")), "{ips:?}");
    cinema.close().await;
}
