//! Accounts that a SUPER_ADMIN disables.

use reqwest::Method;
use serde_json::{Value, json};

use super::account::{Account, set_role, try_log_in};
use crate::cinema::{Answer, Person, TestCinema};
use crate::harness::PASSWORD;

async fn set_disabled(cinema: &TestCinema, by: &Person, id: &str, disabled: bool) -> Answer {
    let path = format!("/v1/users/{id}/disabled");
    cinema.call(Method::PUT, &path, Some(by), Some(json!({"disabled": disabled}))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disabled_account_is_logged_out_at_once_and_can_log_in_again_when_enabled() {
    let cinema = TestCinema::open().await;
    let owner = Account::log_in(&cinema, "owner@marquee.example", "the first of all").await;
    let eve = Account::register(&cinema, "eve@example.org").await;
    let phone = Account::log_in(&cinema, &eve.email, PASSWORD).await;
    let post = |path: &'static str, body: Value| cinema.call(Method::POST, path, None, Some(body));
    set_disabled(&cinema, &eve.person, &owner.id, true).await.expect(403);

    let answer = set_disabled(&cinema, &owner.person, &eve.id, true).await.expect(200);
    assert_eq!((&answer["disabled"], &answer["id"]), (&json!(true), &json!(eve.id)));
    for login in [&eve, &phone] {
        login.until_revoked(&cinema).await;
        assert_eq!(login.try_refresh(&cinema).await.expect(401)["code"], "refresh-token");
    }
    let refused = try_log_in(&cinema, &eve.email, PASSWORD).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (401, "account-disabled"));
    // Without the right password the answer does not reveal that the account is disabled.
    assert_eq!(try_log_in(&cinema, &eve.email, "a guess").await.code(), "credentials");
    // A password reset does not enable the account.
    post("/v1/auth/password/forgot", json!({"email": eve.email})).await.expect(202);
    assert_eq!(cinema.events("user.password_reset_requested").await.len(), 0);
    let found = cinema.call(Method::GET, "/v1/users?email=eve@", Some(&owner.person), None).await.expect(200);
    assert_eq!(found["items"][0]["disabled"], true);

    set_disabled(&cinema, &owner.person, &eve.id, false).await.expect(200);
    Account::log_in(&cinema, &eve.email, PASSWORD).await.me(&cinema).await.expect(200);
    let path = format!("/v1/admin/audit?userId={}", eve.id);
    let audit = cinema.call(Method::GET, &path, Some(&owner.person), None).await.expect(200);
    let kinds: Vec<&Value> =
        audit["items"].as_array().unwrap().iter().map(|record| &record["kind"]).collect();
    for kind in ["ACCOUNT_DISABLED", "ACCOUNT_ENABLED"] {
        assert_eq!(kinds.iter().filter(|found| **found == kind).count(), 1, "{kinds:?}");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_super_admin_who_can_log_in_cannot_be_disabled_or_demoted() {
    let cinema = TestCinema::open().await;
    let owner = Account::log_in(&cinema, "owner@marquee.example", "the first of all").await;
    let refused = set_disabled(&cinema, &owner.person, &owner.id, true).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "last-super-admin"));
    owner.me(&cinema).await.expect(200);
    let ada = Account::register(&cinema, "ada@example.org").await;
    set_role(&cinema, &owner.person, &ada.id, "SUPER_ADMIN").await.expect(200);
    set_disabled(&cinema, &owner.person, &ada.id, true).await.expect(200);
    // A disabled SUPER_ADMIN does not count.
    assert_eq!(set_role(&cinema, &owner.person, &owner.id, "USER").await.code(), "last-super-admin");
    assert_eq!(set_disabled(&cinema, &owner.person, &owner.id, true).await.code(), "last-super-admin");
    cinema.close().await;
}
