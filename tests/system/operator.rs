//! What an operator does with the command line: dead letters, replays and `fsck` in the folder; settings and keys here.

mod dead_letters;
mod fsck;
mod replay;

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use marquee::local::shared_postgres;
use reqwest::Method;
use serde_json::Value;
use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::cinema::{Person, TestCinema};

/// Runs the program on the servers of a cinema.
pub fn marquee(cinema: &TestCinema, arguments: &[&str]) -> Output {
    let url = cinema.database.connect_options().to_url_lossy().to_string();
    Command::new(env!("CARGO_BIN_EXE_marquee"))
        .args(arguments)
        .env("DATABASE_URL", url)
        .env("NATS_URL", cinema.nats.url())
        .env("NATS_PASSWORD", cinema.nats.password())
        .env("RUST_LOG", "error")
        .output()
        .unwrap()
}

pub fn text(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

#[track_caller]
pub fn expect_success(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

#[track_caller]
pub fn expect_failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

/// Executes statements as a superuser of the database, who may disable constraints.
async fn execute(cinema: &TestCinema, statement: &'static str) {
    let database = cinema.database_url().rsplit_once('/').unwrap().1.to_owned();
    let url = shared_postgres().await.unwrap().superuser_url(&database);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn get(cinema: &TestCinema, who: &Person, path: &str) -> Value {
    cinema.call(Method::GET, path, Some(who), None).await.expect(200)
}

/// One reservation of each kind: sold, refunded, cancelled, and declined. Returns the buyer and the sold one.
async fn sell_for_a_day(cinema: &TestCinema) -> (Person, String) {
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let sold = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &sold, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &sold).await;
    let refunded = cinema.reserve(&bob, &["B1"]).await;
    cinema.pay(&bob, &refunded, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&bob, &refunded).await;
    cinema.cancel(&bob, &refunded).await.expect(200);
    cinema.until_status(&bob, &refunded, "REFUNDED").await;
    let cancelled = cinema.reserve(&bob, &["B2"]).await;
    cinema.cancel(&bob, &cancelled).await.expect(200);
    let declined = cinema.reserve(&bob, &["B3"]).await;
    cinema.pay(&bob, &declined, "pm_card_chargeDeclined").await.expect(402);
    (ada, sold)
}

/// Waits until every consumer has handled all messages of the stream.
pub async fn until_all_is_handled(cinema: &TestCinema) {
    use futures::TryStreamExt;
    let stream = bus::topology::events(&cinema.cinema().bus).await.unwrap();
    let began = Instant::now();
    loop {
        let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap();
        let durable = consumers.iter().filter(|consumer| consumer.config.durable_name.is_some());
        let left: u64 = durable.map(|consumer| consumer.num_pending + consumer.num_ack_pending as u64).sum();
        if left == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{left} messages are not handled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_key_rotation_old_tokens_are_valid_until_the_old_key_is_removed() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let jwks = async |cinema: &TestCinema| {
        let answer = cinema.call(Method::GET, "/.well-known/jwks.json", None, None).await;
        (answer.text, answer.body["keys"].as_array().unwrap().len())
    };
    let (old, _) = jwks(&cinema).await;
    cinema.stop_hosts().await;
    cinema.set("JWT_PRIVATE_KEY", actors::auth::token::generate_pem());
    cinema.set("JWT_PUBLIC_KEYS", old);
    cinema.start_hosts().await;
    get(&cinema, &ada, "/v1/me").await;
    let bob = cinema.register().await;
    get(&cinema, &bob, "/v1/me").await;
    assert_eq!(jwks(&cinema).await.1, 2, "both keys are published");

    cinema.stop_hosts().await;
    cinema.set("JWT_PUBLIC_KEYS", "");
    cinema.start_hosts().await;
    get(&cinema, &bob, "/v1/me").await;
    assert_eq!(cinema.call(Method::GET, "/v1/me", Some(&ada), None).await.code(), "token-invalid");
    assert_eq!(jwks(&cinema).await.1, 1);
    cinema.close().await;
}

#[test]
fn config_prints_the_effective_settings_or_every_error() {
    let run = |environment: &[(&str, &str)]| {
        Command::new(env!("CARGO_BIN_EXE_marquee"))
            .args(["config", "reservation"])
            .env_clear()
            .envs(environment.iter().copied())
            .current_dir(std::env::temp_dir())
            .output()
            .unwrap()
    };
    let good = run(&[
        ("DATABASE_URL", "postgres://u:s3cret@db/marquee"),
        ("NATS_URL", "nats://nats:4222"),
        ("HOLD_SECONDS", "300"),
    ]);
    let shown = expect_success(&good);
    assert!(shown.contains("HOLD_SECONDS=300\n") && shown.contains("postgres://…@db/marquee"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let bad = expect_failure(&run(&[("NATS_URL", "nats://nats:4222"), ("HOLD_SECONDS", "soon")]));
    assert!(bad.contains("DATABASE_URL") && bad.contains("HOLD_SECONDS") && !bad.contains("soon"), "{bad}");
}
