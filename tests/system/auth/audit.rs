//! The audit log: what is recorded, who may read it, and that no record can be changed.

use bus::Context;
use bus::contract::{Timestamp, movie::MovieCreated};
use bus::event::Outgoing;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{Account, set_role, try_log_in};
use crate::cinema::{Person, TestCinema};
use crate::harness::PASSWORD;

async fn read(cinema: &TestCinema, who: &Person, query: &str) -> Value {
    cinema.call(Method::GET, &format!("/v1/admin/audit{query}"), Some(who), None).await.expect(200)
}

fn kinds(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|record| record["kind"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_super_admin_reads_who_did_what_to_whom() {
    let cinema = TestCinema::open().await;
    let owner = Account::log_in(&cinema, "owner@marquee.example", "the first of all").await;
    let ada = Account::register(&cinema, "ada@example.org").await;
    try_log_in(&cinema, "ada@example.org", "a guess").await.expect(401);
    try_log_in(&cinema, "nobody@example.org", "a guess").await.expect(401);
    let ada = Account::log_in(&cinema, &ada.email, PASSWORD).await;
    let body = json!({"oldPassword": PASSWORD, "newPassword": "battery staple"});
    cinema.call(Method::POST, "/v1/me/password", Some(&ada.person), Some(body)).await.expect(204);
    set_role(&cinema, &owner.person, &ada.id, "ADMIN").await.expect(200);

    let of_ada = read(&cinema, &owner.person, &format!("?userId={}", ada.id)).await;
    assert_eq!(kinds(&of_ada), ["ROLE_CHANGED", "PASSWORD_CHANGED", "LOGIN", "LOGIN_FAILED"], "{of_ada}");
    let change = &of_ada["items"][0];
    assert_eq!((&change["actorId"], &change["userId"]), (&json!(owner.id), &json!(ada.id)));
    assert_eq!(change["details"], json!({"from": "USER", "to": "ADMIN"}));
    assert_eq!(change["ip"], "127.0.0.1");
    assert_eq!(of_ada["total"], 4);

    let failed = read(&cinema, &owner.person, "?kind=LOGIN_FAILED&pageSize=1").await;
    assert_eq!((failed["items"].as_array().unwrap().len(), &failed["total"]), (1, &json!(2)));
    assert_eq!(failed["items"][0]["details"]["email"], "nobody@example.org", "the latest record comes first");
    let at = change["at"].as_str().unwrap();
    let before = read(&cinema, &owner.person, &format!("?userId={}&to={at}", ada.id)).await;
    assert_eq!(before["total"], 3);
    let since = read(&cinema, &owner.person, &format!("?userId={}&from={at}", ada.id)).await;
    assert_eq!(kinds(&since), ["ROLE_CHANGED"]);

    let ada = ada.refresh(&cinema).await;
    assert_eq!(ada.role, "ADMIN");
    cinema.call(Method::GET, "/v1/admin/audit", Some(&ada.person), None).await.expect(403);
    cinema.call(Method::GET, "/v1/admin/audit?kind=NONSENSE", Some(&owner.person), None).await.expect(400);
    let reversed = format!("/v1/admin/audit?from={at}&to={at}");
    cinema.call(Method::GET, &reversed, Some(&owner.person), None).await.expect(422);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_and_price_changes_are_recorded_with_their_author() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.cancel(&ada, &reservation).await.expect(200);
    cinema.until_status(&ada, &reservation, "REFUNDED").await;
    cinema.until_sql("select count(*) from auth.audit where kind = 'REFUND_REQUESTED'", 1).await;
    let refunds = read(&cinema, &owner, "?kind=REFUND_REQUESTED").await;
    let details = &refunds["items"][0]["details"];
    assert_eq!((&details["reservationId"], &details["total"]["amount"]), (&json!(reservation), &json!(1200)));

    // As the movie host publishes it, and a second time as a relay may. A change that keeps the prices is not recorded.
    let by = Uuid::now_v7();
    let price = |amount: u32| json!({"STANDARD": {"amount": amount, "currency": "EUR"}});
    for (previous, times) in [(Some(price(1200)), 2), (None, 1)] {
        let event = json!({
            "showtimeId": Uuid::now_v7(), "movieId": Uuid::now_v7(), "rows": [], "prices": price(1400),
            "previousPrices": previous, "by": by,
        });
        let nothing = MovieCreated { movie_id: by, title: String::new(), genres: vec![], created_by: by };
        let event_of_movie = Outgoing::new("movie", &nothing, Timestamp::wall_clock(), &Context::new());
        let payload = event.to_string().into();
        let update = Outgoing { subject: "showtime.updated".into(), payload, ..event_of_movie };
        for _ in 0..times {
            update.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
        }
    }
    crate::operator::until_all_is_handled(&cinema).await;
    let changes = read(&cinema, &owner, &format!("?userId={by}")).await;
    assert_eq!(kinds(&changes), ["PRICES_CHANGED"]);
    let details = &changes["items"][0]["details"];
    assert_eq!((&details["prices"], &details["previousPrices"]), (&price(1400), &price(1200)));
    assert!(details.get("rows").is_none() && details.get("by").is_none(), "{details}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audit_records_cannot_be_changed_or_deleted() {
    let cinema = TestCinema::open().await;
    let before = cinema.count("select count(*) from auth.audit").await;
    assert!(before > 0, "the login of the owner is recorded");
    for change in ["update auth.audit set actor_id = null", "delete from auth.audit", "truncate auth.audit"] {
        let error = sqlx::query(change).execute(&cinema.database).await.unwrap_err().to_string();
        assert!(error.contains("append-only"), "{change}: {error}");
    }
    assert_eq!(cinema.count("select count(*) from auth.audit").await, before);
    cinema.close().await;
}
