//! `marquee doctor`: what it says of a healthy deployment and of each disturbance, and that it ends in time.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::cinema::TestCinema;
use crate::operator::{expect_failure, expect_success, marquee, text, until_all_is_handled};

/// Longer than all checks together may take when two servers do not answer.
const ALL_CHECKS_MAX: Duration = Duration::from_secs(40);

/// Runs it on the servers of a cinema, with other settings.
fn doctor_with(cinema: &TestCinema, settings: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_marquee"))
        .arg("doctor")
        .env("DATABASE_URL", cinema.database_url())
        .env("NATS_URL", cinema.nats.url())
        .env("NATS_PASSWORD", cinema.nats.password())
        .env("RUST_LOG", "error")
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

/// The line of a check.
#[track_caller]
fn line<'a>(printed: &'a str, check: &str) -> &'a str {
    let is_of = |line: &&str| line.split_whitespace().nth(1) == Some(check);
    printed.lines().find(is_of).unwrap_or_else(|| panic!("no check {check}: {printed}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_finds_nothing_wrong_with_a_healthy_deployment() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1"]).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    let healthy = expect_success(&marquee(&cinema, &["doctor"]));
    for check in [
        "settings",
        "unknown-settings",
        "nats",
        "nats-rights",
        "nats-storage",
        "stream-room",
        "hosts",
        "versions",
        "lag",
        "dead-letters",
        "postgres",
        "database-rights",
        "migrations",
        "days-ahead",
        "outboxes",
        "clocks",
    ] {
        assert!(line(&healthy, check).starts_with("ok "), "{check}: {healthy}");
    }
    assert!(healthy.contains(", 0 failures"), "{healthy}");
    assert!(line(&healthy, "hosts").contains("gateway 1") && line(&healthy, "hosts").contains("scheduler 1"));

    // A message that nobody can handle is a warning.
    cinema.publish_unreadable_event().await;
    let began = Instant::now();
    loop {
        let printed = expect_success(&marquee(&cinema, &["doctor"]));
        if line(&printed, "dead-letters").starts_with("warn") {
            assert!(printed.contains("marquee dead-letters list"), "{printed}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{printed}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut cinema = cinema;
    cinema.stop_hosts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_a_domain_without_a_host_and_the_events_that_wait_for_it() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    let is_notification = |host: &actors::host::Host| host.domain() == "notification";
    let at = cinema.cinema().hosts.iter().position(is_notification).unwrap();
    cinema.cinema_mut().hosts.remove(at).stop().await;
    cinema.buy(&ada, &["A1"]).await;
    let printed = expect_failure(&marquee(&cinema, &["doctor"]));
    assert!(line(&printed, "hosts").starts_with("FAIL hosts"), "{printed}");
    assert!(printed.contains("no process answers for notification"), "{printed}");
    assert!(printed.contains("something is wrong: hosts"), "{printed}");
    // Within ten seconds the events that nobody takes are old.
    let began = Instant::now();
    loop {
        let printed = expect_failure(&marquee(&cinema, &["doctor"]));
        let lag = line(&printed, "lag");
        if lag.starts_with("warn") || lag.starts_with("FAIL") {
            assert!(lag.contains("notification ") && lag.contains(" waiting"), "{printed}");
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(45), "{printed}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    cinema.start_another("notification").await;
    until_all_is_handled(&cinema).await;
    let printed = expect_success(&marquee(&cinema, &["doctor"]));
    assert!(line(&printed, "lag").starts_with("ok "), "{printed}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_names_a_pending_migration_and_the_command_that_applies_it() {
    let cinema = TestCinema::open().await;
    let (schema, last) =
        actors::migrations::versions().into_iter().find(|(schema, _)| *schema == "movie").unwrap();
    let last = last.last().unwrap();
    let forget = "with gone as (delete from movie._migrations where version = $1 returning *) select count(*) from gone";
    let gone: i64 = sqlx::query_scalar(forget).bind(last.number).fetch_one(&cinema.database).await.unwrap();
    assert_eq!(gone, 1);
    let printed = expect_failure(&marquee(&cinema, &["doctor"]));
    let expected = format!("1 migration pending: {schema} {:04}_{}", last.number, last.name);
    assert!(line(&printed, "migrations").contains(&expected), "{printed}");
    assert!(printed.contains("run `marquee migrate`"), "{printed}");
    let mut cinema = cinema;
    cinema.stop_hosts().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_without_postgres_or_nats_says_so_and_checks_the_rest_in_time() {
    let cinema = TestCinema::open().await;
    let printed =
        expect_failure(&doctor_with(&cinema, &[("DATABASE_URL", "postgres://u:s3cret@127.0.0.1:1/marquee")]));
    assert!(line(&printed, "postgres").starts_with("FAIL"), "{printed}");
    assert!(line(&printed, "outboxes").contains("not checked: Postgres does not answer"), "{printed}");
    assert!(line(&printed, "hosts").starts_with("ok "), "{printed}");
    assert!(line(&printed, "clocks").contains("without Postgres"), "{printed}");
    assert!(!printed.contains("s3cret"), "{printed}");

    let printed = expect_failure(&doctor_with(&cinema, &[("NATS_URL", "nats://127.0.0.1:1")]));
    assert!(line(&printed, "nats").starts_with("FAIL"), "{printed}");
    assert!(line(&printed, "migrations").starts_with("ok "), "{printed}");

    // Both accept connections and never say anything.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let (postgres, nats) = (format!("postgres://u@{addr}/marquee"), format!("nats://{addr}"));
    let began = Instant::now();
    let printed = expect_failure(&doctor_with(&cinema, &[("DATABASE_URL", &postgres), ("NATS_URL", &nats)]));
    assert!(began.elapsed() < ALL_CHECKS_MAX, "{:?}: {printed}", began.elapsed());
    assert!(line(&printed, "postgres").contains("no answer within 5 s"), "{printed}");
    assert!(line(&printed, "nats").starts_with("FAIL"), "{printed}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_ends_at_a_wrong_setting_and_warns_of_a_misspelt_one() {
    let cinema = TestCinema::open().await;
    let output = doctor_with(&cinema, &[("HOLD_SECONDS", "s3cret"), ("REMINDER_CRON", "soon")]);
    let printed = expect_failure(&output);
    assert!(
        printed.contains("HOLD_SECONDS must be a number") && printed.contains("REMINDER_CRON must be"),
        "{printed}"
    );
    assert!(output.stdout.is_empty() && !printed.contains("s3cret"), "{printed}");
    let output = doctor_with(
        &cinema,
        &[("PUBLIC_URL", "https://kino.example"), ("PAYMENT_API_KEY", "sk_test_marquee")],
    );
    assert!(expect_failure(&output).contains("PAYMENT_API_KEY is published"), "{}", text(&output));
    cinema.until_published().await;
    let printed = text(&doctor_with(&cinema, &[("HOLD_SECOND", "600")]));
    assert!(line(&printed, "unknown-settings").contains("HOLD_SECOND (is HOLD_SECONDS meant?)"), "{printed}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_with_the_rights_of_one_host_says_what_it_cannot_see() {
    let cinema = TestCinema::open().await;
    let name = cinema.database_url().rsplit_once('/').unwrap().1.to_owned();
    let postgres = marquee::local::shared_postgres().await.unwrap();
    let passwords = [("movie", "a password".to_owned())].into_iter().collect();
    actors::migrations::migrate_with(&postgres.superuser_url(&name), &passwords).await.unwrap();
    let url = format!("postgres://{name}_movie:a%20password@127.0.0.1:{}/{name}", postgres.port());
    let printed = text(&doctor_with(&cinema, &[("DATABASE_URL", &url)]));
    assert!(line(&printed, "database-rights").contains("rows of movie"), "{printed}");
    assert!(line(&printed, "migrations").contains("not checked: only the owner"), "{printed}");
    assert!(line(&printed, "outboxes").contains("does not see auth, reservation"), "{printed}");
    cinema.close().await;
}
