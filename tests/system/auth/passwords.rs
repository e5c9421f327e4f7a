//! Changing and resetting passwords.

use std::time::{Duration, Instant};

use bus::contract::auth::GetResetToken;
use bus::service::Ask;
use bus::{Context, Problem};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::account::{Account, try_log_in};
use crate::cinema::{Answer, Plan, TestCinema};
use crate::harness::PASSWORD;

const NEW: &str = "battery staple";

async fn change(cinema: &TestCinema, who: &Account, old: &str, new: &str) -> Answer {
    let body = json!({"oldPassword": old, "newPassword": new});
    cinema.call(Method::POST, "/v1/me/password", Some(&who.person), Some(body)).await
}

async fn forgot(cinema: &TestCinema, email: &str) -> Answer {
    cinema.call(Method::POST, "/v1/auth/password/forgot", None, Some(json!({"email": email}))).await
}

async fn reset(cinema: &TestCinema, token: &str, password: &str) -> Answer {
    let body = json!({"token": token, "password": password});
    cinema.call(Method::POST, "/v1/auth/password/reset", None, Some(body)).await
}

/// The events for which a mail is sent.
async fn reset_requests(cinema: &TestCinema) -> Vec<Value> {
    cinema.events("user.password_reset_requested").await
}

/// The token of the link in the mail.
async fn token_of(cinema: &TestCinema, request: &Value) -> Result<String, Problem> {
    let reset_id: Uuid = request["resetId"].as_str().unwrap().parse().unwrap();
    let ask = Ask::new(Context::new());
    cinema.cinema().bus.ask(&GetResetToken { reset_id }, &ask).await.map(|answer| answer.token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_ends_every_other_login_at_once() {
    let cinema = TestCinema::open().await;
    let laptop = Account::register(&cinema, "ada@example.org").await;
    let phone = Account::log_in(&cinema, "ada@example.org", PASSWORD).await;
    let wrong = change(&cinema, &laptop, "not the password", NEW).await.expect(422);
    assert_eq!(
        (&wrong["code"], &wrong["errors"][0]["field"]),
        (&json!("old-password"), &json!("oldPassword"))
    );
    change(&cinema, &laptop, PASSWORD, "short").await.expect(422);
    phone.me(&cinema).await.expect(200);

    change(&cinema, &laptop, PASSWORD, NEW).await.expect(204);
    phone.until_revoked(&cinema).await;
    assert_eq!(phone.try_refresh(&cinema).await.expect(401)["code"], "refresh-token");
    laptop.me(&cinema).await.expect(200);
    let laptop = laptop.refresh(&cinema).await;
    laptop.me(&cinema).await.expect(200);
    assert_eq!(try_log_in(&cinema, "ada@example.org", PASSWORD).await.code(), "credentials");
    Account::log_in(&cinema, "ada@example.org", NEW).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_password_is_reset_once_with_the_token_of_the_mail() {
    let cinema = TestCinema::open().await;
    let ada = Account::register(&cinema, "ada@example.org").await;
    for email in ["ADA@example.org", "ada@example.org"] {
        let answer = forgot(&cinema, email).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, ""));
    }
    let requests = reset_requests(&cinema).await;
    assert_eq!(
        (requests.len(), &requests[0]["email"], &requests[0]["userId"]),
        (2, &json!("ada@example.org"), &json!(ada.id))
    );
    let (token, other) =
        (token_of(&cinema, &requests[0]).await.unwrap(), token_of(&cinema, &requests[1]).await.unwrap());
    assert_ne!(token, other);
    let rows: Vec<String> = sqlx::query_scalar(
        "select to_jsonb(r)::text from auth.password_resets r union all select events::text from auth.outbox
         union all select to_jsonb(a)::text from auth.audit a",
    )
    .fetch_all(&cinema.database)
    .await
    .unwrap();
    assert!(rows.iter().all(|row| !row.contains(&token)), "the token is stored");

    assert_eq!(reset(&cinema, &format!("{token}x"), NEW).await.expect(422)["code"], "reset-token");
    assert_eq!(reset(&cinema, &token, "short").await.expect(422)["errors"][0]["field"], "password");
    reset(&cinema, &token, NEW).await.expect(204);
    ada.until_revoked(&cinema).await;
    ada.try_refresh(&cinema).await.expect(401);
    assert_eq!(try_log_in(&cinema, "ada@example.org", PASSWORD).await.code(), "credentials");
    Account::log_in(&cinema, "ada@example.org", NEW).await;
    // Neither the same token nor that of the other mail works afterwards.
    for used in [&token, &other] {
        assert_eq!(reset(&cinema, used, "yet another one").await.expect(422)["code"], "reset-token");
    }
    for request in &requests {
        assert_eq!(token_of(&cinema, request).await.unwrap_err().status, 404);
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_resets_a_password_is_logged_in_and_other_logins_end() {
    let cinema = TestCinema::open().await;
    let ada = Account::register(&cinema, "ada@example.org").await;
    forgot(&cinema, "ada@example.org").await.expect(202);
    let token = token_of(&cinema, &reset_requests(&cinema).await[0]).await.unwrap();
    let reset = async || {
        let body = json!({"token": token, "password": NEW});
        let post = cinema.http.post(format!("{}/v1/auth/cookie/reset", cinema.url()));
        post.header("X-Refresh-Cookie", "true").json(&body).send().await.unwrap()
    };
    let answer = reset().await;
    let cookies: Vec<String> = answer
        .headers()
        .get_all("set-cookie")
        .iter()
        .map(|value| value.to_str().unwrap().to_owned())
        .collect();
    assert!(cookies.iter().any(|cookie| cookie.starts_with("marquee_refresh=")), "{cookies:?}");
    let session: Value = answer.json().await.unwrap();
    assert_eq!((&session["user"]["id"], session["refreshToken"].as_str()), (&json!(ada.id), None));
    let person = crate::cinema::Person { token: session["accessToken"].as_str().unwrap().to_owned() };
    ada.until_revoked(&cinema).await;
    cinema.call(Method::GET, "/v1/me", Some(&person), None).await.expect(200);
    let again = reset().await;
    assert_eq!((again.status().as_u16(), again.headers().get("set-cookie")), (422, None));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_reset_token_is_refused_and_one_used_twice_at_once_changes_one_password() {
    let cinema = TestCinema::open().await;
    Account::register(&cinema, "ada@example.org").await;
    forgot(&cinema, "ada@example.org").await.expect(202);
    let requests = reset_requests(&cinema).await;
    let token = token_of(&cinema, &requests[0]).await.unwrap();
    sqlx::query("update auth.password_resets set expires_at = now()")
        .execute(&cinema.database)
        .await
        .unwrap();
    assert_eq!(reset(&cinema, &token, NEW).await.expect(422)["code"], "reset-token");
    assert_eq!(token_of(&cinema, &requests[0]).await.unwrap_err().status, 404);

    sqlx::query("update auth.password_resets set expires_at = now() + interval '1 minute'")
        .execute(&cinema.database)
        .await
        .unwrap();
    let (one, other) = tokio::join!(reset(&cinema, &token, NEW), reset(&cinema, &token, "yet another one"));
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 422], "{} {}", one.text, other.text);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_request_does_not_reveal_whether_an_account_exists_and_is_limited_per_address() {
    let cinema = TestCinema::open().await;
    Account::register(&cinema, "ada@example.org").await;
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        for (email, times) in [("ada@example.org", &mut known), ("nobody@example.org", &mut unknown)] {
            let began = Instant::now();
            let answer = forgot(&cinema, email).await;
            times.push(began.elapsed());
            assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, ""), "{email}");
        }
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let (known, unknown) = (median(&mut known), median(&mut unknown));
    assert!(known.abs_diff(unknown) < Duration::from_millis(100), "known {known:?}, unknown {unknown:?}");
    assert_eq!(reset_requests(&cinema).await.len(), 3, "three mails an hour");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn common_passwords_and_the_email_address_itself_are_refused_wherever_a_password_is_set() {
    let cinema = TestCinema::open().await;
    let ada = Account::register(&cinema, "ada.lovelace@example.org").await;
    forgot(&cinema, &ada.email).await.expect(202);
    let token = token_of(&cinema, &reset_requests(&cinema).await[0]).await.unwrap();
    for bad in ["password", "PassWord1", "ada.lovelace@example.org", "ADA.Lovelace"] {
        let body = json!({"email": "ada.lovelace@example.org", "password": bad, "name": "Ada"});
        let answers = [
            cinema.call(Method::POST, "/v1/auth/register", None, Some(body)).await,
            change(&cinema, &ada, PASSWORD, bad).await,
            reset(&cinema, &token, bad).await,
        ];
        for (answer, field) in answers.into_iter().zip(["password", "newPassword", "password"]) {
            assert_eq!(answer.expect(422)["errors"][0]["field"], field, "{bad}");
        }
    }
    // The refused passwords have not used up the token.
    reset(&cinema, &token, NEW).await.expect(204);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_with_accents_matches_in_composed_and_decomposed_form() {
    let cinema = TestCinema::open().await;
    let (composed, decomposed) = ("pässwörd-é", "pa\u{308}sswo\u{308}rd-e\u{301}");
    let body = json!({"email": "ada@example.org", "password": composed, "name": "Ada"});
    cinema.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201);
    for typed in [decomposed, composed] {
        Account::log_in(&cinema, "ada@example.org", typed).await;
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_reset_link_is_stored_in_no_mail_record() {
    let cinema = TestCinema::open_with(Plan::default().with("PUBLIC_URL", "http://kino.example/")).await;
    cinema.register().await;
    let post = |path: &'static str, body: Value| cinema.call(Method::POST, path, None, Some(body));
    post("/v1/auth/password/forgot", json!({"email": "p0@example.org"})).await.expect(202);
    let sent = "select count(*) from notification.mails where kind = 'PASSWORD_RESET' and status = 'SENT'";
    cinema.until_sql(sent, 1).await;
    let mail = cinema.mail("Choose a new password");
    assert_eq!(mail.to, "p0@example.org");
    let link = "http://kino.example/reset?token=";
    let token: String = mail.text[mail.text.find(link).unwrap() + link.len()..]
        .chars()
        .take_while(|c| !c.is_whitespace())
        .collect();
    assert!(mail.html.contains(&format!("{link}{token}")), "{}", mail.html);
    let records = sqlx::query_scalar::<_, i64>(
        "select count(*) from notification.mails m where strpos(m::text, $1) > 0",
    );
    assert_eq!(records.bind(&token).fetch_one(&cinema.database).await.unwrap(), 0, "the token is stored");
    post("/v1/auth/password/reset", json!({"token": token, "password": NEW})).await.expect(204);
    cinema.log_in("p0@example.org", NEW).await;
    cinema.close().await;
}
