//! When an erasure is refused, and who may erase whom.

use reqwest::Method;
use sandbox::Switches;
use serde_json::json;

use super::{ADDRESS, NAME, PASSWORD};
use crate::cinema::{Plan, TestCinema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_erases_nobody() {
    let cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    let wrong = cinema.erase(&zebedea, json!({"password": "not my password"})).await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (403, "password-wrong"), "{}", wrong.text);
    assert_eq!(wrong.body["errors"][0]["field"], "password");
    let missing = cinema.erase(&zebedea, json!({})).await;
    assert_eq!((missing.status.as_u16(), &missing.body["errors"][0]["field"]), (422, &json!("password")));
    let anonymous = cinema.call(Method::DELETE, "/v1/me", None, Some(json!({"password": PASSWORD}))).await;
    assert_eq!(anonymous.status, 401);
    let failed = cinema.get("/v1/admin/audit?kind=LOGIN_FAILED", &cinema.owner()).await.expect(200);
    assert_eq!(failed["items"][0]["details"]["at"], "erasure");
    cinema.get("/v1/me", &zebedea).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_order_refund_or_dispute_refuses_an_erasure() {
    let cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    let refused = async |what: &str| {
        let answer = cinema.erase(&zebedea, json!({"password": PASSWORD})).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (409, "erasure-open"), "{what}: {}", answer.text);
    };
    let held = cinema.reserve(&zebedea, &["A1"]).await;
    refused("an unpaid order").await;
    cinema.cancel(&zebedea, &held).await.expect(200);
    cinema.until_status(&zebedea, &held, "CANCELLED").await;

    let paid = cinema.buy(&zebedea, &["B1"]).await;
    cinema.switch(Switches { refunds_fail: true, ..Switches::default() });
    cinema.cancel(&zebedea, &paid).await.expect(200);
    refused("a refund under way").await;
    cinema.until_sql("select count(*) from reservation.reservations where attention", 1).await;
    refused("a refund that failed").await;
    cinema.switch(Switches::default());
    let resume = format!("/v1/admin/sagas/{paid}/resume");
    cinema.post(&resume, &cinema.owner(), json!({})).await.expect(200);
    cinema.until_status(&zebedea, &paid, "REFUNDED").await;

    // Tickets of a show to come are no reason to refuse.
    cinema.buy(&zebedea, &["C1"]).await;
    cinema
        .until("nothing is open", async || {
            cinema.erase(&zebedea, json!({"password": PASSWORD})).await.status.as_u16() == 204
        })
        .await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disputed_payment_refuses_an_erasure_until_it_is_decided() {
    let cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    let order = cinema.reserve(&zebedea, &["A1"]).await;
    cinema.pay(&zebedea, &order, "pm_card_createDispute").await.expect(201);
    cinema.until_confirmed(&zebedea, &order).await;
    cinema.until_sql("select count(*) from payment.disputes where status = 'OPEN'", 1).await;
    let answer = cinema.erase(&zebedea, json!({"password": PASSWORD})).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (409, "erasure-open"), "{}", answer.text);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_host_is_away_nothing_is_half_erased() {
    let mut cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    cinema.buy(&zebedea, &["A1"]).await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "payment").unwrap();
    hosts.remove(at).kill();
    let answer = cinema.erase(&zebedea, json!({"password": PASSWORD})).await;
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text);
    assert_eq!(cinema.get("/v1/me", &zebedea).await.expect(200)["name"], NAME);
    assert_eq!(cinema.count("select count(*) from auth.users where kind = 'ERASED'").await, 0);
    cinema.start_another("payment").await;
    cinema
        .until("payment is back", async || {
            cinema.erase(&zebedea, json!({"password": PASSWORD})).await.status.as_u16() == 204
        })
        .await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_erase_with_a_reason_and_the_last_super_admin_stays() {
    let cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let (owner, admin) = (cinema.owner(), cinema.log_in("staff@marquee.example", "popcorn-2026").await);
    let last = cinema.erase(&owner, json!({"password": crate::cinema::OWNER.1})).await;
    assert_eq!((last.status.as_u16(), last.code()), (409, "last-super-admin"), "{}", last.text);

    let zebedea = cinema.register_zebedea().await;
    let id = |me: &serde_json::Value| me["id"].as_str().unwrap().to_owned();
    let (hers, owners) = (
        id(&cinema.get("/v1/me", &zebedea).await.expect(200)),
        id(&cinema.get("/v1/me", &owner).await.expect(200)),
    );
    let reason = json!({"reason": "asked by letter"});
    let path = |id: &str| format!("/v1/users/{id}/erase");
    let by_user = cinema.post(&path(&hers), &zebedea, reason.clone()).await;
    assert_eq!((by_user.status.as_u16(), by_user.code()), (403, "role"));
    let of_owner = cinema.post(&path(&owners), &admin, reason.clone()).await;
    assert_eq!((of_owner.status.as_u16(), of_owner.code()), (403, "role"), "{}", of_owner.text);
    let without = cinema.post(&path(&hers), &admin, json!({"reason": " "})).await;
    assert_eq!((without.status.as_u16(), &without.body["errors"][0]["field"]), (422, &json!("reason")));
    let unknown = cinema.post(&path(&uuid::Uuid::now_v7().to_string()), &admin, reason.clone()).await;
    assert_eq!(unknown.status, 404);

    cinema.post(&path(&hers), &admin, reason.clone()).await.expect(204);
    assert_eq!(cinema.post(&path(&hers), &admin, reason).await.status, 404, "once");
    let audit = cinema.get("/v1/admin/audit?kind=USER_ERASED", &owner).await.expect(200);
    let record = &audit["items"][0];
    assert_eq!((&record["userId"], &record["details"]["reason"]), (&json!(hers), &json!("asked by letter")));
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    // The address is free again.
    cinema.register_zebedea().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_is_erased_by_the_link_of_an_order_and_an_account_is_not() {
    let cinema = TestCinema::open().await;
    let (guest, order) = cinema.guest_buys("A1", ADDRESS).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let second = cinema.reserve(&guest, &["A2"]).await;
    cinema.set_customer(&guest, &second, "friend@privacy.example").await.expect(200);
    let several = cinema.erase(&link, json!({})).await;
    assert_eq!((several.status.as_u16(), several.code()), (409, "guest-orders"), "{}", several.text);
    cinema.set_customer(&guest, &second, ADDRESS).await.expect(200);
    let open = cinema.erase(&link, json!({})).await;
    assert_eq!((open.status.as_u16(), open.code()), (409, "erasure-open"), "{}", open.text);
    cinema.cancel(&guest, &second).await.expect(200);
    cinema.until_status(&guest, &second, "CANCELLED").await;
    cinema
        .until("nothing is open", async || cinema.erase(&link, json!({})).await.status.as_u16() == 204)
        .await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    let path = format!("/v1/reservations/{order}");
    assert_eq!(cinema.refused(Method::GET, &path, &link).await, (401, "token-revoked".to_owned()));

    let ada = cinema.register().await;
    let own = cinema.buy(&ada, &["B1"]).await;
    let link = cinema.link(&own, "RESERVATION_CONFIRMED").await;
    let refused = cinema.erase(&link, json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "order-has-account"), "{}", refused.text);
    cinema.get("/v1/me", &ada).await.expect(200);
    cinema.close().await;
}
