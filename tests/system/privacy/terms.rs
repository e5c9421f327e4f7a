//! What is removed by time: addresses some days after the show, network and e-mail addresses of the audit after 90 days, and buyers
//! after their legal term.

use reqwest::Method;
use serde_json::json;
use sqlx::AssertSqlSafe;

use super::{ADDRESS, NAME, PASSWORD};
use crate::cinema::{Plan, TestCinema};
use crate::operator::until_all_is_handled;

/// Makes every show so far begin this many days ago, in all projections.
async fn shows_are_over(cinema: &TestCinema, days: i32) {
    let past = format!("now() - interval '{days} days'");
    for statement in [
        format!("update reservation.reservations set starts_at = {past}"),
        format!("update notification.attendees set starts_at = {past}"),
        format!(
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{{sale,startsAt}}',
               to_jsonb(to_char({past}, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')))"
        ),
    ] {
        sqlx::query(AssertSqlSafe(statement)).execute(&cinema.database).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_go_some_days_after_the_show_and_guests_with_them() {
    let mut cinema = TestCinema::open_with(Plan::default().with("RETENTION_DAYS", 30)).await;
    let guests = "Quillfeather.guest@privacy.example";
    cinema.guest_buys("A1", guests).await;
    let zebedea = cinema.register_zebedea().await;
    cinema.buy(&zebedea, &["B1"]).await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;
    let addresses = "select count(*) from reservation.reservations where email <> ''";

    // Not a day too early. The terms are checked at the start of a host.
    shows_are_over(&cinema, 29).await;
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.count(addresses).await, 2);

    shows_are_over(&cinema, 31).await;
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_no_traces(&[guests]).await;
    cinema.until_sql(addresses, 0).await;
    cinema.until_sql("select count(*) from auth.users where kind = 'GUEST'", 0).await;
    cinema
        .until_sql("select count(*) from payment.payments where checkpoint ->> 'email' is not null", 0)
        .await;
    cinema.until_sql("select count(*) from notification.attendees where email <> ''", 0).await;
    // The account itself stays.
    let zebedea = cinema.log_in(ADDRESS, PASSWORD).await;
    assert_eq!(cinema.get("/v1/me", &zebedea).await.expect(200)["name"], NAME);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_orders_of_a_guest_who_registered_lose_their_address_too() {
    let mut cinema = TestCinema::open_with(Plan::default().with("RETENTION_DAYS", 30)).await;
    let address = "Quillfeather.guest@privacy.example";
    let (_, order) = cinema.guest_buys("A1", address).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let body = json!({"email": address, "password": PASSWORD, "name": NAME, "orderToken": link.token});
    cinema.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201);
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;

    shows_are_over(&cinema, 38).await;
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_sql("select count(*) from reservation.reservations where email <> ''", 0).await;
    assert_eq!(cinema.count("select count(*) from auth.users where kind = 'GUEST'").await, 0);
    // The account itself stays.
    let me = cinema.get("/v1/me", &cinema.log_in(address, PASSWORD).await).await.expect(200);
    assert_eq!(me["name"], NAME);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_loses_addresses_after_ninety_days_and_changes_in_no_other_way() {
    let mut cinema = TestCinema::open().await;
    for (days, number) in [(89, 1), (91, 2)] {
        let record = format!(
            "insert into auth.audit (id, at, kind, ip, details)
             values (gen_random_uuid(), now() - interval '{days} days', 'LOGIN_FAILED', '203.0.113.{number}',
               '{{\"email\": \"old{number}@privacy.example\", \"seconds\": 7}}')"
        );
        sqlx::query(AssertSqlSafe(record)).execute(&cinema.database).await.unwrap();
    }
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    let blanked = "select count(*) from auth.audit where ip is null and details = '{\"seconds\": 7}'";
    cinema.until_sql(blanked, 1).await;
    assert_eq!(cinema.traces(&["old2@privacy.example", "203.0.113.2"]).await, Vec::<String>::new());
    assert!(!cinema.traces(&["old1@privacy.example"]).await.is_empty());
    for change in [
        "update auth.audit set ip = '198.51.100.1'",
        "update auth.audit set details = details - 'seconds'",
        "update auth.audit set details = '{\"email\": \"else@privacy.example\"}'",
        "update auth.audit set kind = 'LOGIN', ip = null",
    ] {
        let error = sqlx::query(change).execute(&cinema.database).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invoice_keeps_its_buyer_for_its_legal_term() {
    let mut cinema = TestCinema::open().await;
    sqlx::raw_sql(
        "insert into payment.buyers (reservation_id, buyer, set_at)
         select gen_random_uuid(), '{\"name\": \"Inkwell GmbH\", \"address\": []}', now() - make_interval(years => years)
         from unnest(array[9, 12]) as years",
    )
    .execute(&cinema.database)
    .await
    .unwrap();
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_sql("select count(*) from payment.buyers", 1).await;
    let kept = "select count(*) from payment.buyers where set_at > now() - interval '10 years'";
    assert_eq!(cinema.count(kept).await, 1);
    cinema.close().await;
}
