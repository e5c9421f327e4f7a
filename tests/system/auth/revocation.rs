//! How logins end, and which tokens are refused.

use bus::contract::auth::{KeySet, Refresh};
use bus::token::Verifier;
use reqwest::Method;
use serde_json::json;

use super::account::Account;
use crate::cinema::TestCinema;
use crate::harness::{PASSWORD, TestSystem};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_revokes_its_access_token_at_once_and_no_other_login() {
    let cinema = TestCinema::open().await;
    let phone = Account::register(&cinema, "ada@example.org").await;
    let laptop = Account::log_in(&cinema, &phone.email, PASSWORD).await;
    let body = json!({"refreshToken": phone.refresh_token});
    cinema.call(Method::POST, "/v1/auth/logout", Some(&phone.person), Some(body)).await.expect(204);
    phone.until_revoked(&cinema).await;
    laptop.me(&cinema).await.expect(200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_used_twice_revokes_the_access_tokens_of_owner_and_thief_at_once() {
    let cinema = TestCinema::open().await;
    let owner = Account::register(&cinema, "ada@example.org").await;
    let elsewhere = Account::log_in(&cinema, &owner.email, PASSWORD).await;
    let thief = owner.refresh(&cinema).await;
    thief.me(&cinema).await.expect(200);
    owner.try_refresh(&cinema).await.expect(401);
    thief.until_revoked(&cinema).await;
    owner.until_revoked(&cinema).await;
    elsewhere.me(&cinema).await.expect(200);
    cinema.close().await;
}

#[tokio::test]
async fn a_verifier_that_starts_later_loads_the_logins_that_have_ended() {
    let system = TestSystem::start().await.with_auth().await;
    let ada = system.register("ada@example.org").await;
    let logout = bus::contract::auth::Logout { refresh_token: ada.refresh_token.clone() };
    system.ask(&logout, Some(&ada.access_token)).await.unwrap();
    let late = Verifier::new(system.bus.clone(), &KeySet::default());
    let revoked = async |_: &sqlx::PgPool| match late.verify(&ada.access_token).await {
        Err(problem) => problem.code == "token-revoked",
        Ok(_) => false,
    };
    system.until("the verifier has loaded the revocations", revoked).await;
    system.finish().await;
}

#[tokio::test]
async fn a_login_ends_after_ninety_days_even_if_it_was_refreshed() {
    let system = TestSystem::start().await.with_auth().await;
    let ada = system.register("ada@example.org").await;
    let started = async |days: i32| {
        // A minute more, since the clock of a host may be some milliseconds behind the clock of Postgres.
        let moved = "update auth.families set started_at = now() - make_interval(days => $1, mins => 1)";
        sqlx::query(moved).bind(days).execute(&system.database).await.unwrap();
    };
    started(89).await;
    let refresh = |token: &str| Refresh { refresh_token: token.to_owned() };
    let next = system.ask(&refresh(&ada.refresh_token), None).await.unwrap();
    let left: i32 = sqlx::query_scalar(
        "select extract(day from max(expires_at) - now())::int from auth.refresh_tokens where spent_at is null",
    )
    .fetch_one(&system.database)
    .await
    .unwrap();
    assert_eq!(left, 0, "less than a day is left, not a month");
    started(90).await;
    let over = system.ask(&refresh(&next.refresh_token), None).await.unwrap_err();
    assert_eq!((over.status, over.code.as_str()), (401, "refresh-token"));
    system.finish().await;
}

#[tokio::test]
async fn tokens_of_another_issuer_are_refused_even_with_the_same_key() {
    let first = TestSystem::start().await;
    let mut second = TestSystem::start().await;
    second.jwt_private_key.clone_from(&first.jwt_private_key);
    let first = first.with_auth_as(|settings| settings.issuer = "https://kino.example".into()).await;
    let second = second.with_auth_as(|settings| settings.issuer = "https://other.example".into()).await;
    let own = first.register("ada@example.org").await.access_token;
    let foreign = second.register("ada@example.org").await.access_token;
    // The verifier requests its issuer from the auth host.
    let verifier = Verifier::new(first.bus.clone(), &KeySet::default());
    verifier.verify(&own).await.unwrap();
    assert_eq!(verifier.verify(&foreign).await.unwrap_err().code, "token-invalid");
    first.finish().await;
    second.finish().await;
}
