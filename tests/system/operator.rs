//! An operator's day: a message that nobody could handle, events once more, checks of the promises.

use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use marquee::local::shared_postgres;
use reqwest::Method;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::cinema::{Person, Plan, TestCinema, id};

/// Runs the program against the cinema's servers.
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

fn text(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

#[track_caller]
pub fn well(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(output));
    text(output)
}

#[track_caller]
fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{}", text(output));
    text(output)
}

/// As the database's superuser, who may switch a constraint off.
async fn sql(cinema: &TestCinema, statement: &'static str) {
    let database = cinema.database_url().rsplit_once('/').unwrap().1.to_owned();
    let url = shared_postgres().await.unwrap().superuser_url(&database);
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn get(cinema: &TestCinema, who: &Person, path: &str) -> Value {
    cinema.call(Method::GET, path, Some(who), None).await.expect(200)
}

/// Waits until so many letters are parked, and returns the page.
async fn until_parked(cinema: &TestCinema, count: u64) -> Value {
    let began = Instant::now();
    loop {
        let page = get(cinema, &cinema.owner(), "/v1/admin/dead-letters").await;
        if page["total"] == count {
            return page;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not {count} dead letters: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The database refuses what follows from this payment, for a cause that can be mended.
const BREAK: &str = "create function reservation.broken() returns trigger language plpgsql as $$
     begin raise exception 'the disk of confirmations is full' using errcode = 'check_violation'; end $$;
     create trigger broken before update on reservation.reservations
     for each row when (new.status = 'CONFIRMED') execute function reservation.broken()";
const MEND: &str = "drop trigger broken on reservation.reservations";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_shown_and_replayed_when_its_cause_is_fixed() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    sql(&cinema, BREAK).await;
    let reservation = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    let parked = until_parked(&cinema, 1).await;
    let letter = &parked["items"][0];
    assert_eq!(
        (letter["subject"].as_str(), letter["consumer"].as_str()),
        (Some("payment.success"), Some("reservation"))
    );
    assert!(letter["reason"].as_str().unwrap().contains("disk of confirmations"), "{letter}");
    assert!(letter.get("payload").is_none(), "a list has no payloads: {letter}");
    // It stops nobody.
    let bob = cinema.register().await;
    cinema.reserve(&bob, &["E1"]).await;

    let path = format!("/v1/admin/dead-letters/{}", letter["sequence"]);
    let shown = get(&cinema, &owner, &path).await;
    assert_eq!(shown["payload"]["reservationId"], reservation, "{shown}");
    let listed = well(&marquee(&cinema, &["dead-letters", "list"]));
    assert!(listed.contains("payment.success → reservation") && listed.contains("1 of 1"), "{listed}");

    // A moviegoer has no business here, and there is no letter 4711.
    for (method, path) in [(Method::GET, path.as_str()), (Method::GET, "/v1/admin/dead-letters")] {
        assert_eq!(cinema.call(method, path, Some(&ada), None).await.status, 403);
    }
    assert_eq!(cinema.call(Method::GET, "/v1/admin/dead-letters/4711", Some(&owner), None).await.status, 404);
    assert_eq!(
        cinema.call(Method::GET, "/v1/admin/dead-letters/first", Some(&owner), None).await.status,
        400
    );

    let replay = format!("{path}/replay");
    let failed = cinema.call(Method::POST, &replay, Some(&owner), None).await;
    assert_eq!((failed.status.as_u16(), failed.code()), (409, "still-poison"), "{}", failed.text);
    assert!(failed.text.contains("disk of confirmations"), "{}", failed.text);
    until_parked(&cinema, 1).await;

    sql(&cinema, MEND).await;
    cinema.call(Method::POST, &replay, Some(&owner), None).await.expect(200);
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(
        cinema.call(Method::POST, &replay, Some(&owner), None).await.status,
        404,
        "it is none any more"
    );
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_stays_poison_is_dropped_and_a_replay_needs_its_host() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let nonsense = bus::event::Outgoing {
        id: uuid::Uuid::now_v7(),
        subject: "payment.success".into(),
        source: "/marquee/payment".into(),
        time: bus::contract::Timestamp::wall_clock(),
        payload: "no JSON".into(),
        context: bus::Context::new(),
    };
    nonsense.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
    let letter = until_parked(&cinema, 1).await["items"][0].clone();
    let sequence = letter["sequence"].to_string();
    let shown = well(&marquee(&cinema, &["dead-letters", "show", &sequence]));
    assert!(shown.contains("\"no JSON\""), "{shown}");
    let still = refused(&marquee(&cinema, &["dead-letters", "replay", "all"]));
    assert!(still.contains("still-poison"), "{still}");
    well(&marquee(&cinema, &["dead-letters", "drop", &sequence]));
    until_parked(&cinema, 0).await;

    // A letter of a consumer that nobody runs.
    let mut headers = nonsense.headers();
    headers.insert("Marquee-Consumer", "kitchen");
    let bus = &cinema.cinema().bus;
    bus.jetstream
        .publish_with_headers("dlq.movie.created", headers, "{}".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let letter = until_parked(&cinema, 1).await["items"][0].clone();
    let path = format!("/v1/admin/dead-letters/{}", letter["sequence"]);
    let away = cinema.call(Method::POST, &format!("{path}/replay"), Some(&owner), None).await;
    assert_eq!((away.status.as_u16(), away.code()), (503, "unavailable"), "{}", away.text);
    cinema.call(Method::DELETE, &path, Some(&owner), None).await.expect(204);
    assert_eq!(cinema.call(Method::DELETE, &path, Some(&owner), None).await.status, 404);
    cinema.close().await;
}

/// A day in short: sold, paid on the page, cancelled, refunded, declined, left to expire.
async fn a_day_of_sales(cinema: &TestCinema) -> (Person, String) {
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

/// Every table's rows as one hash, but for those that say how often something was tried.
async fn tables(cinema: &TestCinema) -> BTreeMap<String, (i64, String)> {
    let names: Vec<String> = sqlx::query_scalar(
        "select schemaname || '.' || tablename from pg_tables
         where schemaname in ('auth', 'movie', 'reservation', 'payment', 'notification')
           and tablename not in ('journals', 'relay', 'outbox') and tablename not like 'outbox_2%'
         union all select schemaname || '.' || viewname from pg_views where viewname = 'events'",
    )
    .fetch_all(&cinema.database)
    .await
    .unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let query = format!(
            "select count(*), coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {name} t"
        );
        let dump = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&cinema.database).await.unwrap();
        tables.insert(name, dump);
    }
    tables
}

/// Waits until every consumer has handled what the stream holds.
pub async fn until_all_is_heard(cinema: &TestCinema) {
    use futures::TryStreamExt;
    let stream = bus::topology::events(&cinema.cinema().bus).await.unwrap();
    let began = Instant::now();
    loop {
        let consumers: Vec<_> = stream.consumers().try_collect().await.unwrap();
        let durable = consumers.iter().filter(|one| one.config.durable_name.is_some());
        let left: u64 = durable.map(|one| one.num_pending + one.num_ack_pending as u64).sum();
        if left == 0 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{left} messages are not handled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_replayed_after_a_day_of_sales_change_no_row() {
    let cinema = TestCinema::open().await;
    let (ada, sold) = a_day_of_sales(&cinema).await;
    cinema.until_sql("select count(*) from reservation.unsent", 0).await;
    cinema.until_sql("select count(*) from payment.unsent", 0).await;
    until_all_is_heard(&cinema).await;
    // Mails are sent and marked after all is heard.
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let before = tables(&cinema).await;
    let events = cinema.events("payment.success").await.len();
    assert_eq!(events, 2);

    let said = well(&marquee(&cinema, &["events", "replay", "--from", "1", "--subject", ">"]));
    assert!(said.contains("events published again"), "{said}");
    let stream_says = |count: usize| format!("{count} events published again");
    // Copies are not copied again, wherever the second run begins.
    let said = well(&marquee(
        &cinema,
        &["events", "replay", "--from", "2020-01-01T00:00:00Z", "--subject", "payment.success"],
    ));
    assert!(said.contains(&stream_says(2)), "{said}");
    until_all_is_heard(&cinema).await;
    assert_eq!(tables(&cinema).await, before);

    // For one consumer alone; a finished saga changes nothing.
    let version = cinema.reservation(&ada, &sold).await["version"].clone();
    let again = ["events", "replay", "--from", "1", "--subject", "payment.success", "--again", "reservation"];
    let said = well(&marquee(&cinema, &again));
    assert!(said.contains(&stream_says(2)), "{said}");
    until_all_is_heard(&cinema).await;
    assert_eq!(cinema.reservation(&ada, &sold).await["version"], version);
    assert_eq!(cinema.captured(&sold).await, 2400);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_finds_nothing_after_a_day_of_sales_and_then_finds_each_planted_corruption() {
    let cinema = TestCinema::open_with(Plan::default()).await;
    let (_, sold) = a_day_of_sales(&cinema).await;
    cinema.until_sql("select count(*) from reservation.unsent", 0).await;
    cinema.until_sql("select count(*) from payment.unsent", 0).await;
    let healthy = well(&marquee(&cinema, &["fsck"]));
    assert!(healthy.contains("everything is as promised"), "{healthy}");
    assert!(healthy.contains("2 seats sold in 1 confirmed reservations"), "{healthy}");

    // As if nobody had touched anything for an hour, so that nothing is taken for being under way.
    sql(
        &cinema,
        "update reservation.reservations set updated_at = updated_at - interval '1 hour';
         update payment.payments set updated_at = updated_at - interval '1 hour'",
    )
    .await;
    let healthy = well(&marquee(&cinema, &["fsck"]));
    assert!(!healthy.contains("FAIL"), "{healthy}");

    let corruptions: [(&str, &'static str, &'static str); 15] = [
        (
            "outbox-days",
            "do $$ begin execute 'alter table auth.outbox_' || to_char(now() at time zone 'utc' + interval '2 days', 'YYYYMMDD')
               || ' rename to away'; end $$",
            "do $$ begin execute 'alter table auth.away rename to outbox_'
               || to_char(now() at time zone 'utc' + interval '2 days', 'YYYYMMDD'); end $$",
        ),
        (
            "one-owner",
            "alter table reservation.claims drop constraint one_owner;
             insert into reservation.claims select showtime_id, 'A1', reservation_id from reservation.claims where seat = 'A1'",
            "delete from reservation.claims a using reservation.claims b where a.seat = b.seat and a.ctid > b.ctid;
             alter table reservation.claims add constraint one_owner primary key (showtime_id, seat)",
        ),
        (
            "claims",
            "update reservation.claims set seat = 'D9' where seat = 'A2'",
            "update reservation.claims set seat = 'A2' where seat = 'D9'",
        ),
        (
            "paid",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint - 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint + 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2399'",
        ),
        (
            "paid",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint + 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint - 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2401'",
        ),
        (
            "paid",
            "update reservation.reservations set checkpoint = jsonb_set(checkpoint, '{terms,lines,0,price,amount}', '1')
             where status = 'CONFIRMED'",
            "update reservation.reservations set checkpoint = jsonb_set(checkpoint, '{terms,lines,0,price,amount}', '1200')
             where status = 'CONFIRMED'",
        ),
        (
            "kept-for-nothing",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{refunds,0,status}', '\"FAILED\"')
             where checkpoint #>> '{refunds,0,status}' = 'COMPLETED'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{refunds,0,status}', '\"COMPLETED\"')
             where checkpoint #>> '{refunds,0,status}' = 'FAILED'",
        ),
        (
            "captured-twice",
            "update payment.payments set checkpoint = jsonb_insert(checkpoint, '{attempts,0}',
               '{\"number\": 99, \"state\": \"CAPTURED\", \"intent\": \"pi_unknown\"}')
             where checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = checkpoint #- '{attempts,0}'
             where checkpoint #>> '{attempts,0,number}' = '99'",
        ),
        (
            "saga-log",
            "update reservation.reservations set version = version + 1 where status = 'CONFIRMED'",
            "update reservation.reservations set version = version - 1 where status = 'CONFIRMED'",
        ),
        (
            "outbox",
            "update reservation.outbox set committed_at = committed_at - interval '2 minutes';
             update reservation.journals set published_to = published_to - 1000",
            "update reservation.journals set published_to = published_to + 1000",
        ),
        (
            "deadlines",
            "alter table payment.payments disable trigger all;
             update payment.payments set next_check_at = now() - interval '5 minutes' where checkpoint #>> '{stage,is}' = 'CAPTURED'",
            "update payment.payments set next_check_at = null where checkpoint #>> '{stage,is}' = 'CAPTURED';
             alter table payment.payments enable trigger all",
        ),
        (
            "tickets",
            "insert into payment.postings (payment_id, transaction, account, amount, currency, tickets, entry, at, showtime_id)
             select payment_id, 'planted', account, 0, currency, 1, 'planted', now(), showtime_id
             from payment.postings where tickets = 2",
            "insert into payment.postings (payment_id, transaction, account, amount, currency, tickets, entry, at, showtime_id)
             select payment_id, 'mended', account, 0, currency, -1, 'mended', now(), showtime_id
             from payment.postings where transaction = 'planted'",
        ),
        (
            "tickets",
            "alter table payment.postings disable trigger postings_stay;
             update payment.payments set checkpoint = jsonb_set(checkpoint, '{sale,tickets}', '1')
             where checkpoint #>> '{sale,tickets}' = '2' and checkpoint #>> '{stage,is}' = 'CAPTURED';
             update payment.postings set tickets = 1 where tickets = 2",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{sale,tickets}', '2')
             where checkpoint #>> '{sale,tickets}' = '1' and checkpoint #>> '{stage,is}' = 'CAPTURED';
             update payment.postings set tickets = 2 where tickets = 1 and transaction like 'capture:%'
               and payment_id in (select id from payment.overview where tickets = 2);
             alter table payment.postings enable trigger postings_stay",
        ),
        (
            "shows",
            "alter table payment.postings disable trigger postings_stay;
             update payment.postings set showtime_id = payment_id where account = 'REFUNDS'",
            "update payment.postings b set showtime_id = p.showtime_id from payment.overview p
             where p.id = b.payment_id and account = 'REFUNDS';
             alter table payment.postings enable trigger postings_stay",
        ),
        (
            "attention",
            "update reservation.reservations set attention = true where status = 'REFUNDED'",
            "update reservation.reservations set attention = false",
        ),
    ];
    // The house is closed: nobody mends behind our back, as hosts would (an unpublished event, a deadline).
    let mut cinema = cinema;
    cinema.close_doors().await;
    for (check, plant, mend) in corruptions {
        sql(&cinema, plant).await;
        let found = refused(&marquee(&cinema, &["fsck"]));
        assert!(found.contains(&format!("FAIL {check} ")), "{plant}\n{found}");
        sql(&cinema, mend).await;
        let healthy = marquee(&cinema, &["fsck"]);
        assert!(healthy.status.success(), "mended: {mend}\n{}", text(&healthy));
    }
    cinema.open_doors().await;
    assert_eq!(cinema.reservation(&cinema.owner(), &sold).await["status"], "CONFIRMED");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_on_a_busy_system_reports_no_work_in_progress() {
    let cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let sell = async {
        for row in ["A", "B", "C"] {
            let ada = cinema.register().await;
            let seats: Vec<String> = (1..=6).map(|n| format!("{row}{n}")).collect();
            futures::future::join_all(seats.iter().map(async |seat| {
                let answer = cinema.try_reserve(&ada, &[seat]).await.expect(201);
                let reservation = id(&answer);
                cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
                cinema.until_confirmed(&ada, &reservation).await;
                cinema.cancel(&ada, &reservation).await.expect(200);
                cinema.until_status(&ada, &reservation, "REFUNDED").await;
            }))
            .await;
        }
    };
    let check = async {
        let url = cinema.database.connect_options().to_url_lossy().to_string();
        loop {
            for check in actors::fsck::check(&url).await.unwrap() {
                assert_eq!(check.found, 0, "{check:?}");
            }
        }
    };
    tokio::select! { () = sell => {}, () = check => {} }
    for check in actors::fsck::check(cinema.database.connect_options().to_url_lossy().as_str()).await.unwrap()
    {
        assert_eq!(check.found, 0, "{check:?}");
    }
    cinema.close().await;
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
    cinema.close_doors().await;
    cinema.set("JWT_PRIVATE_KEY", actors::auth::token::generate_pem());
    cinema.set("JWT_PUBLIC_KEYS", old);
    cinema.open_doors().await;
    get(&cinema, &ada, "/v1/me").await;
    let bob = cinema.register().await;
    get(&cinema, &bob, "/v1/me").await;
    assert_eq!(jwks(&cinema).await.1, 2, "others verify tokens of both");

    cinema.close_doors().await;
    cinema.set("JWT_PUBLIC_KEYS", "");
    cinema.open_doors().await;
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
    let shown = well(&good);
    assert!(shown.contains("HOLD_SECONDS=300\n") && shown.contains("postgres://…@db/marquee"), "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let bad = refused(&run(&[("NATS_URL", "nats://nats:4222"), ("HOLD_SECONDS", "soon")]));
    assert!(bad.contains("DATABASE_URL") && bad.contains("HOLD_SECONDS") && !bad.contains("soon"), "{bad}");
}
