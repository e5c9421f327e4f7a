//! The verification of e-mail addresses, and what an unverified address may do.

use bus::Context;
use bus::contract::auth::GetVerificationToken;
use bus::service::Ask;
use reqwest::Method;
use serde_json::{Value, json};

use super::account::{Account, try_log_in};
use crate::cinema::{Answer, Plan, TestCinema};
use crate::harness::PASSWORD;

const ADA: &str = "ada.lovelace@example.org";

async fn post(cinema: &TestCinema, path: &str, body: Value) -> Answer {
    cinema.call(Method::POST, path, None, Some(body)).await
}

/// The token of the link in the only mail whose subject begins with this.
fn link_token(cinema: &TestCinema, subject: &str, page: &str) -> String {
    let mail = cinema.mail(subject);
    let begin = mail.text.find(&format!("{page}?token=")).unwrap_or_else(|| panic!("{}", mail.text));
    let token = mail.text[begin..].split_once('=').unwrap().1;
    token.split_whitespace().next().unwrap().to_owned()
}

async fn until_sent(cinema: &TestCinema, kind: &str, count: i64) {
    let sent = format!("select count(*) from notification.mails where kind = '{kind}' and status = 'SENT'");
    cinema.until_sql(sent.leak(), count).await;
}

fn claims(token: &str) -> Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    let json = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&json).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_in_a_mail_verifies_the_address_and_the_next_token_says_so() {
    let cinema = TestCinema::open().await;
    let ada = Account::register(&cinema, ADA).await;
    assert_eq!(ada.me(&cinema).await.expect(200)["emailVerified"], false);
    assert_eq!(claims(&ada.person.token)["email_verified"], false);
    until_sent(&cinema, "EMAIL_VERIFICATION", 1).await;
    let token = link_token(&cinema, "Confirm your e-mail address", "/verify");
    let rows = "select count(*) from auth.verifications v, notification.mails m
                where strpos(v::text, $1) > 0 or strpos(m::text, $1) > 0";
    let rows: i64 = sqlx::query_scalar(rows).bind(&token).fetch_one(&cinema.database).await.unwrap();
    assert_eq!(rows, 0, "the token is stored");
    let made_up = json!({"token": format!("{token}x")});
    assert_eq!(post(&cinema, "/v1/auth/verify", made_up).await.expect(422)["code"], "verify-token");

    // A second click does no harm.
    for _ in 0..2 {
        post(&cinema, "/v1/auth/verify", json!({"token": token})).await.expect(204);
    }
    assert_eq!(ada.me(&cinema).await.expect(200)["emailVerified"], true);
    let ada = ada.refresh(&cinema).await;
    assert_eq!(claims(&ada.person.token)["email_verified"], true);
    let events = cinema.events("user.email_verified").await;
    assert_eq!(
        (events.len(), &events[0]["takenOver"], &events[0]["userId"]),
        (1, &json!(false), &json!(ada.id))
    );
    // No other mail is sent, and the token of the link can no longer be requested.
    cinema.call(Method::POST, "/v1/auth/verify/resend", Some(&ada.person), None).await.expect(202);
    let requests = cinema.events("user.verification_requested").await;
    assert_eq!(requests.len(), 1);
    let verification_id = requests[0]["verificationId"].as_str().unwrap().parse().unwrap();
    let ask = Ask::new(Context::new());
    let refused = cinema.cinema().bus.ask(&GetVerificationToken { verification_id }, &ask).await;
    assert_eq!(refused.unwrap_err().status, 404);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unverified_address_gets_no_mail_about_held_seats_but_gets_its_tickets() {
    let cinema = TestCinema::open().await;
    let eve = Account::register(&cinema, "victim@example.org").await;
    let held = cinema.reserve(&eve.person, &["A1"]).await;
    let mail = cinema.until_mail(&held, "RESERVATION_CREATED", "SKIPPED").await;
    assert_eq!(mail["reason"], "the address is not proven");
    cinema.cancel(&eve.person, &held).await.expect(200);
    cinema.until_mail(&held, "RESERVATION_CANCELLED", "SKIPPED").await;
    let paid = cinema.buy(&eve.person, &["A2"]).await;
    cinema.until_mail(&paid, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.cancel(&eve.person, &paid).await.expect(200);
    cinema.until_mail(&paid, "RESERVATION_CANCELLED", "SENT").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_reset_takes_an_account_over_from_a_squatter_without_its_holds() {
    let cinema = TestCinema::open().await;
    let name = "PAY 49 EUR at https://evil.example";
    let body = json!({"email": ADA, "password": PASSWORD, "name": name});
    let session = post(&cinema, "/v1/auth/register", body).await.expect(201);
    let squatter = cinema.log_in(ADA, PASSWORD).await;
    let held = cinema.reserve(&squatter, &["A1", "A2"]).await;
    let owner = json!({"email": ADA, "password": "the owner's own", "name": "Ada"});
    assert_eq!(post(&cinema, "/v1/auth/register", owner).await.expect(409)["code"], "email-taken");

    post(&cinema, "/v1/auth/password/forgot", json!({"email": ADA})).await.expect(202);
    until_sent(&cinema, "PASSWORD_RESET", 1).await;
    let token = link_token(&cinema, "Choose a new password", "/reset");
    let body = json!({"token": token, "password": "battery staple"});
    post(&cinema, "/v1/auth/password/reset", body).await.expect(204);
    assert_eq!(try_log_in(&cinema, ADA, PASSWORD).await.code(), "credentials");
    let old = json!({"refreshToken": session["refreshToken"]});
    post(&cinema, "/v1/auth/refresh", old).await.expect(401);
    let ada = Account::log_in(&cinema, ADA, "battery staple").await;
    let me = ada.me(&cinema).await.expect(200);
    assert_eq!((&me["name"], &me["emailVerified"]), (&json!("ada.lovelace"), &json!(true)));
    let cancelled =
        format!("select count(*) from reservation.reservations where id = '{held}' and status = 'CANCELLED'");
    cinema.until_sql(cancelled.leak(), 1).await;
    // The seats can be reserved again, and what the new owner holds stays.
    let own = cinema.reserve(&ada.person, &["A1"]).await;
    cinema.pay(&ada.person, &own, "pm_card_visa").await.expect(201);
    until_sent(&cinema, "PASSWORD_CHANGED", 1).await;
    for subject in ["Choose a new password", "Your password was changed", "Confirm your e-mail address"] {
        let mail = cinema.mail(subject);
        assert!(!mail.text.contains("evil") && !mail.html.contains("evil"), "{}", mail.text);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_a_stranger_can_trigger_are_limited_per_address() {
    let plan = Plan::default().with("RATE_LIMIT_DISABLED", "false").with("MAILS_PER_RECIPIENT_HOUR", 2);
    let cinema = TestCinema::open_with(plan).await;
    let eve = Account::register(&cinema, ADA).await;
    until_sent(&cinema, "EMAIL_VERIFICATION", 1).await;
    for _ in 0..2 {
        cinema.call(Method::POST, "/v1/auth/verify/resend", Some(&eve.person), None).await.expect(202);
    }
    let refused = cinema.call(Method::POST, "/v1/auth/verify/resend", Some(&eve.person), None).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (429, "mails-limit"));
    post(&cinema, "/v1/auth/password/forgot", json!({"email": ADA})).await.expect(202);
    let over = "select count(*) from notification.mails
                where status = 'SKIPPED' and reason = 'the address had 2 such mails within an hour'";
    cinema.until_sql(over, 2).await;
    let paid = cinema.buy(&eve.person, &["A2"]).await;
    cinema.until_mail(&paid, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_change_is_mailed_to_the_address() {
    let cinema = TestCinema::open().await;
    let ada = Account::register(&cinema, ADA).await;
    let body = json!({"oldPassword": PASSWORD, "newPassword": "battery staple"});
    cinema.call(Method::POST, "/v1/me/password", Some(&ada.person), Some(body)).await.expect(204);
    until_sent(&cinema, "PASSWORD_CHANGED", 1).await;
    assert_eq!(cinema.mail("Your password was changed").to, ADA);
    cinema.close().await;
}
