//! Bad input: each kind has its own code, names the field, and leaves nothing behind.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, TestCinema, answer};

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.text);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    for field in ["type", "title", "detail", "requestId"] {
        assert!(answer.body[field].is_string(), "no {field} in {}", answer.text);
    }
    assert_eq!(answer.body["requestId"].as_str(), answer.headers["x-request-id"].to_str().ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_bad_order_has_its_own_code_and_leaves_nothing_behind() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SS-SS"], 3600).await;
    let ada = cinema.register().await;
    let order =
        async |body: Value| cinema.call(Method::POST, "/v1/reservations", Some(&ada), Some(body)).await;
    let seats = |seats: Value| json!({"showtimeId": cinema.showtime, "seats": seats});

    let unknown = order(seats(json!(["A1", "Z9"]))).await;
    assert_problem(&unknown, 422, "seat-unknown");
    assert_eq!(unknown.body["seats"], json!(["Z9"]));
    assert_problem(&order(seats(json!(["A3"]))).await, 422, "seat-unknown");
    let twice = order(seats(json!(["A1", "A1"]))).await;
    assert_problem(&twice, 422, "invalid");
    assert_eq!(twice.body["errors"][0]["field"], "seats[1]");
    let both =
        order(json!({"showtimeId": cinema.showtime, "seats": ["A1"], "bestAvailable": {"count": 1}})).await;
    assert_problem(&both, 422, "invalid");
    assert_problem(&order(seats(json!([]))).await, 422, "invalid");
    assert_problem(&order(seats(json!("A1"))).await, 422, "invalid");
    let with_total = order(json!({"showtimeId": cinema.showtime, "seats": ["A1"], "total": 1})).await;
    assert_problem(&with_total, 422, "invalid");
    assert_problem(
        &order(json!({"showtimeId": uuid::Uuid::now_v7(), "seats": ["A1"]})).await,
        404,
        "not-found",
    );
    let not_an_id = order(json!({"showtimeId": "tonight", "seats": ["A1"]})).await;
    assert_problem(&not_an_id, 422, "invalid");
    assert_eq!(not_an_id.body["errors"][0]["field"], "showtimeId");

    let key = "a key with spaces";
    let body = seats(json!(["A1"]));
    let bad_key =
        cinema.call_with_key(Method::POST, "/v1/reservations", Some(&ada), Some(body.clone()), key).await;
    assert_eq!(bad_key.status.as_u16(), 400, "{}", bad_key.text);
    let url = format!("{}/v1/reservations", cinema.url());
    let post = || cinema.http.post(&url).bearer_auth(&ada.token);
    let without = answer(post().json(&body).send().await.unwrap()).await.unwrap();
    assert_problem(&without, 400, "idempotency-key-missing");
    let keyed = || post().header("Idempotency-Key", "k");
    let not_json =
        keyed().header("content-type", "application/json").body("{\"seats\": [").send().await.unwrap();
    assert_eq!(answer(not_json).await.unwrap().status.as_u16(), 400);
    let text = keyed().header("content-type", "text/plain").body("A1").send().await.unwrap();
    assert_eq!(answer(text).await.unwrap().status.as_u16(), 415);
    let large =
        keyed().header("content-type", "application/json").body("x".repeat(2_000_000)).send().await.unwrap();
    assert_eq!(answer(large).await.unwrap().status.as_u16(), 413);
    let nobody = cinema.call(Method::POST, "/v1/reservations", None, Some(body.clone())).await;
    assert_eq!(nobody.status.as_u16(), 401, "{}", nobody.text);
    let role = cinema.call(Method::POST, "/v1/genres", Some(&ada), Some(json!({"name": "Noir"}))).await;
    assert_eq!(role.status.as_u16(), 403, "{}", role.text);
    let method = cinema.call(Method::DELETE, "/v1/payments", Some(&ada), None).await;
    assert_eq!(method.status.as_u16(), 405);
    assert!(method.headers.contains_key("allow"));
    assert_problem(&cinema.call(Method::GET, "/v2/movies", None, None).await, 404, "no-route");
    assert_eq!(cinema.call(Method::GET, "/v1/reservations/1", Some(&ada), None).await.status.as_u16(), 400);

    assert_eq!(cinema.count("select count(*) from reservation.reservations").await, 0);
    assert_eq!(cinema.count("select count(*) from reservation.claims").await, 0);
    assert_eq!(cinema.count("select count(*) from reservation.idempotency").await, 0);
    assert_eq!(cinema.count("select count(*) from reservation.events").await, 0);
    // The seat can still be reserved afterwards.
    order(body).await.expect(201);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_showtime_that_has_started_sells_no_seats() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SS"], 2).await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1"]).await;
    let began = std::time::Instant::now();
    loop {
        let late = cinema.try_reserve(&ada, &["A2"]).await;
        if late.status.as_u16() == 409 {
            assert_problem(&late, 409, "showtime-started");
            break;
        }
        cinema.cancel(&ada, &crate::cinema::id(&late.expect(201))).await.expect(200);
        assert!(began.elapsed() < std::time::Duration::from_secs(10), "it still sells seats");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_spent_and_missing_tokens_are_refused() {
    let cinema = TestCinema::open().await;
    let account = json!({"email": "ada@example.org", "password": "correct horse", "name": "Ada"});
    let session =
        cinema.call(Method::POST, "/v1/auth/register", None, Some(account.clone())).await.expect(201);
    let taken = cinema
        .call(
            Method::POST,
            "/v1/auth/register",
            None,
            Some(json!({"email": "ADA@example.org", "password": "correct horse", "name": "Ada"})),
        )
        .await;
    assert_problem(&taken, 409, "email-taken");
    let wrong = cinema
        .call(
            Method::POST,
            "/v1/auth/login",
            None,
            Some(json!({"email": "ada@example.org", "password": "wrong horse"})),
        )
        .await;
    let unknown = cinema
        .call(
            Method::POST,
            "/v1/auth/login",
            None,
            Some(json!({"email": "bob@example.org", "password": "wrong horse"})),
        )
        .await;
    assert_problem(&wrong, 401, "credentials");
    assert_eq!(wrong.body["detail"], unknown.body["detail"]);

    let refresh = async |token: &Value| {
        cinema.call(Method::POST, "/v1/auth/refresh", None, Some(json!({"refreshToken": token}))).await
    };
    let second = refresh(&session["refreshToken"]).await.expect(200);
    assert_eq!(refresh(&session["refreshToken"]).await.status.as_u16(), 401, "a spent token");
    assert_eq!(
        refresh(&second["refreshToken"]).await.status.as_u16(),
        401,
        "the reuse has ended the token family"
    );

    let mut forged = session["accessToken"].as_str().unwrap().to_owned();
    forged.replace_range(forged.len() - 6.., "AAAAAA");
    let me = |token: &str| cinema.http.get(format!("{}/v1/me", cinema.url())).bearer_auth(token).send();
    assert_problem(&answer(me(&forged).await.unwrap()).await.unwrap(), 401, "token-invalid");
    assert_problem(&answer(me("x").await.unwrap()).await.unwrap(), 401, "token-invalid");
    assert_problem(&cinema.call(Method::GET, "/v1/me", None, None).await, 401, "token-missing");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_with_invisible_or_direction_changing_characters_and_names_with_line_breaks_are_refused() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let account =
        |email: &str, name: &str| json!({"email": email, "password": "correct horse", "name": name});
    let movie = |title: &str| json!({"title": title, "durationMinutes": 90, "releaseDate": "2026-01-01"});
    let hall = |name: &str| {
        json!({"name": name, "timeZone": "Europe/Berlin",
               "rows": [{"label": "A", "seats": [{"number": 1, "kind": "STANDARD"}]}]})
    };
    for bad in ["\u{200b}", "a\u{202e}b", "a\u{2066}b", "a\nb", "a\rb", "\u{ffff}"] {
        let refused = [
            ("/v1/auth/register", account("ada@example.org", bad), "name"),
            ("/v1/auth/register", account(&format!("{bad}@example.org"), "Ada"), "email"),
            ("/v1/movies", movie(bad), "title"),
            ("/v1/genres", json!({"name": bad}), "name"),
            ("/v1/auditoriums", hall(bad), "name"),
        ];
        for (path, body, field) in refused {
            let answer = cinema.call(Method::POST, path, Some(&owner), Some(body)).await.expect(422);
            assert_eq!(answer["errors"][0]["field"], field, "{path} {bad:?}: {answer}");
        }
    }
    let made = cinema.call(Method::POST, "/v1/movies", Some(&owner), Some(movie("Ζοή: עדה\u{200f}"))).await;
    made.expect(201);
    cinema.close().await;
}
