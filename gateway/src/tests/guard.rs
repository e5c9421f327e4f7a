//! Which requests are refused, and in which order that is checked; what of the others reaches the host.

use bus::contract::Problem;
use bus::contract::auth::{GetKeys, Login, Logout, Me};
use bus::contract::movie::{GetMovie, ListMovies};
use bus::contract::payment::{Pay, Webhook};
use bus::contract::reservation::{CancelReservation, CreateReservation, GetReservation, ListReservations};
use poem::http::Method;
use serde_json::{Value, json};

use super::{Gateway, METRICS_TOKEN, problem, signature};
use crate::routes::{ROWS, Row};

const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn reservation() -> serde_json::Value {
    json!({"showtimeId": ID, "seats": ["C5", "C6"]})
}

#[tokio::test]
async fn a_request_is_checked_in_a_fixed_order() {
    let gateway = Gateway::new();
    let large = "x".repeat(20_000);
    // The first request has every fault; each following one corrects the first of them.
    let path = "/v1/reservations";
    assert_eq!(gateway.post("/v1/nothing").body(large.clone()).problem().await, problem(404, "no-route"));
    let wrong_method = gateway.send(Method::PUT, path).body(large.clone());
    assert_eq!(wrong_method.problem().await, problem(405, "method"));
    assert_eq!(gateway.post(path).body(large.clone()).problem().await, problem(401, "token-missing"));
    let forged = gateway.post(path).token("forged").body(large.clone());
    assert_eq!(forged.problem().await, problem(401, "token-invalid"));
    let no_admin = gateway.post("/v1/movies").token("user").body(large.clone());
    assert_eq!(no_admin.problem().await, problem(403, "role"));
    let too_large = gateway.post(path).token("user").body(large);
    assert_eq!(too_large.problem().await, problem(413, "too-large"));
    let no_type = gateway.post(path).token("user").body("{");
    assert_eq!(no_type.problem().await, problem(415, "content-type"));
    let no_key = gateway.post(path).token("user").header("Content-Type", "application/json").body("{");
    assert_eq!(no_key.problem().await, problem(400, "idempotency-key-missing"));
    let sending = || gateway.post(path).token("user").header("Idempotency-Key", "k");
    let no_json = sending().header("Content-Type", "application/json; charset=utf-8").body("{");
    assert_eq!(no_json.problem().await, problem(400, "json"));
    let unknown_field = json!({"showtimeId": ID, "seats": ["C5"], "price": 1});
    assert_eq!(sending().json(unknown_field).problem().await, problem(422, "invalid"));
    let twice = json!({"showtimeId": ID, "seats": ["C5", "C5"]});
    assert_eq!(sending().json(twice).problem().await, problem(422, "invalid"));
    assert!(gateway.received().is_empty(), "no host received a request");
    assert_eq!(sending().json(reservation()).problem().await, problem(503, "unavailable"));
    assert_eq!(gateway.received().len(), 1);
}

#[tokio::test]
async fn an_invalid_field_is_named() {
    let gateway = Gateway::new();
    let sending = || gateway.post("/v1/reservations").token("user").header("Idempotency-Key", "k");
    let answer = sending().json(json!({"showtimeId": ID, "seats": ["C5", "5C"]})).answer().await;
    assert_eq!(answer.json()["errors"][0]["field"], "seats[1]");
    let answer = sending().json(json!({"showtimeId": "x", "seats": []})).answer().await;
    assert_eq!(answer.json()["errors"][0]["field"], "showtimeId");
}

#[tokio::test]
async fn a_body_without_a_content_length_has_the_same_maximum() {
    let gateway = Gateway::new();
    let chunks = futures::stream::iter((0..100).map(|_| Ok::<_, std::io::Error>("x".repeat(1_000))));
    let sending = gateway.post("/v1/auth/login").header("Content-Type", "application/json");
    let sent = sending.body(poem::Body::from_bytes_stream(chunks));
    assert_eq!(sent.problem().await, problem(413, "too-large"));
}

#[tokio::test]
async fn a_body_in_several_chunks_is_read_whole() {
    let gateway = Gateway::new();
    gateway.set_answer::<Login>("{}");
    let pieces = [r#"{"email":"ada@exa"#, r#"mple.org","passw"#, r#"ord":"secret-secret"}"#];
    let pieces = futures::stream::iter(pieces.map(Ok::<_, std::io::Error>));
    let sending = gateway.post("/v1/auth/login").header("Content-Type", "application/json");
    assert_eq!(sending.body(poem::Body::from_bytes_stream(pieces)).answer().await.status, 200);
    assert_eq!(gateway.received()[0].request["email"], "ada@example.org");
}

#[tokio::test]
async fn a_405_lists_the_allowed_methods() {
    let gateway = Gateway::new();
    let allowed = async |path| gateway.send(Method::DELETE, path).answer().await.header("allow").to_owned();
    assert_eq!(allowed("/v1/movies").await, "GET, HEAD, POST");
    assert_eq!(allowed("/v1/payments/webhook").await, "POST");
    assert_eq!(allowed("/health/live").await, "GET, HEAD");
}

#[tokio::test]
async fn tokens_are_verified_and_passed_on_only_where_a_role_is_required() {
    let gateway = Gateway::new();
    gateway.set_answer::<ListMovies>("{}").set_answer::<Me>("{}");
    assert_eq!(gateway.get("/v1/movies").token("forged").answer().await.status, 200);
    assert_eq!(gateway.get("/v1/me").token("user").answer().await.status, 200);
    let tokens: Vec<_> = gateway.received().into_iter().map(|received| received.ask.token).collect();
    assert_eq!(tokens, [None, Some("user".to_owned())]);
    let answer = gateway.get("/v1/me").token("forged").answer().await;
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    let answer = gateway.get("/v1/me").answer().await;
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"marquee\"");
    let basic = gateway.get("/v1/me").header("Authorization", "Basic YTpi");
    assert_eq!(basic.problem().await, problem(401, "token-invalid"));
    assert_eq!(gateway.get("/v1/me").token("away").problem().await, problem(503, "unavailable"));
}

#[tokio::test]
async fn an_idempotency_key_is_passed_on_or_refused() {
    let gateway = Gateway::new();
    gateway.set_answer::<Pay>(r#"{"id":"p"}"#).set_answer::<CancelReservation>("{}");
    let pay = |key: &str| {
        let sending = gateway.post("/v1/payments").token("user").header("Idempotency-Key", key);
        sending.json(json!({"reservationId": ID}))
    };
    assert_eq!(pay("with space").problem().await, problem(400, "idempotency-key-invalid"));
    assert_eq!(pay(&"k".repeat(256)).problem().await, problem(400, "idempotency-key-invalid"));
    assert_eq!(pay("").problem().await, problem(400, "idempotency-key-invalid"));
    assert_eq!(pay(&"k".repeat(255)).answer().await.status, 201);
    let cancel = || gateway.post(&format!("/v1/reservations/{ID}/cancel")).token("user");
    assert_eq!(cancel().answer().await.status, 200);
    assert_eq!(cancel().header("Idempotency-Key", "c").answer().await.status, 200);
    let keys: Vec<_> = gateway.received().into_iter().map(|received| received.ask.idempotency_key).collect();
    assert_eq!(keys, [Some("k".repeat(255)), None, Some("c".into())]);
}

#[tokio::test]
async fn control_characters_in_a_query_are_refused_at_the_gateway() {
    let gateway = Gateway::new();
    for query in ["name=a%00b", "genre=%00", "na%00me=a", "name=%1b%5b2J", "name=a%7f", "name=%c2%85"] {
        let answer = gateway.get(&format!("/v1/movies?{query}")).answer().await;
        assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("invalid")), "{query}");
    }
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn a_body_with_control_characters_or_duplicate_keys_is_refused_at_the_gateway() {
    let gateway = Gateway::new();
    let register = |body: &'static str| {
        gateway.post("/v1/auth/register").header("Content-Type", "application/json").body(body).answer()
    };
    let answer = register(r#"{"email":"a\u0000@b.example","password":"long-enough","name":"x"}"#).await;
    assert_eq!((answer.status, &answer.json()["errors"][0]["field"]), (422, &json!("email")));
    let answer = register(r#"{"email":"a@b.example","password":"long-enough","name":"x","name":"y"}"#).await;
    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("json")));
    let path = format!("/v1/reservations/{ID}/cancel");
    let twice = gateway.post(&path).token("user").header("Content-Type", "application/json");
    assert_eq!(twice.body(r#"{"reason":"a","reason":"b"}"#).problem().await, problem(400, "json"));
    assert!(gateway.received().is_empty());
}

#[tokio::test]
async fn metrics_need_the_token_or_a_staff_login() {
    let gateway = Gateway::new();
    let metrics = || gateway.get("/metrics");
    assert_eq!(metrics().problem().await, problem(401, "token-missing"));
    assert_eq!(metrics().token("forged").problem().await, problem(401, "token-invalid"));
    assert_eq!(metrics().token("user").problem().await, problem(403, "role"));
    for reader in ["admin", METRICS_TOKEN] {
        let answer = metrics().token(reader).answer().await;
        assert!(answer.status == 200 && answer.header("content-type").starts_with("text/plain"), "{reader}");
    }
}

#[tokio::test]
async fn invalid_ids_and_query_parameters_are_named() {
    let gateway = Gateway::new();
    gateway
        .set_answer::<GetMovie>("{}")
        .set_answer::<ListReservations>("{}")
        .set_answer::<GetReservation>("{}");
    assert_eq!(gateway.get("/v1/movies/batman").problem().await, problem(400, "bad-id"));
    assert_eq!(gateway.get(&format!("/v1/movies/{ID}")).answer().await.status, 200);
    for (query, field) in [
        ("page=x", "page"),
        ("page=-1", "page"),
        ("pageSize=1e3", "pageSize"),
        ("status=LOST", "status"),
        ("userId=me", "userId"),
    ] {
        let answer = gateway.get(&format!("/v1/reservations?{query}")).token("user").answer().await;
        assert_eq!(
            (answer.status, answer.json()["errors"][0]["field"].as_str()),
            (400, Some(field)),
            "{query}"
        );
    }
    let answer = gateway.get("/v1/reservations?pageSize=101").token("user").answer().await;
    assert_eq!((answer.status, answer.json()["errors"][0]["field"].as_str()), (422, Some("pageSize")));
    let path = format!("/v1/reservations?status=PENDING&userId={ID}&page=2&pageSize=5&unknown=1");
    assert_eq!(gateway.get(&path).token("user").answer().await.status, 200);
    let request = gateway.received().pop().unwrap().request;
    assert_eq!(request, json!({"status": "PENDING", "userId": ID, "paging": {"page": 2, "pageSize": 5}}));
    for query in ["wait=31", "wait=soon", "wait=1&since=x"] {
        let path = format!("/v1/reservations/{ID}?{query}");
        assert_eq!(gateway.get(&path).token("user").problem().await, problem(400, "bad-query"), "{query}");
    }
}

#[tokio::test]
async fn an_answer_is_passed_on_byte_for_byte() {
    let gateway = Gateway::new();
    let odd = "{ \"b\":1,\n\"a\":  2.50 }";
    gateway.set_answer::<CreateReservation>(odd).set_answer::<Logout>("null");
    let sending = gateway.post("/v1/reservations").token("user").header("Idempotency-Key", "k");
    let answer = sending.json(reservation()).answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (201, odd));
    assert_eq!(answer.header("content-type"), "application/json");
    let answer =
        gateway.post("/v1/auth/logout").token("user").json(json!({"refreshToken": "r"})).answer().await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
}

#[tokio::test]
async fn a_hosts_rejection_is_passed_on_with_its_details() {
    let gateway = Gateway::new();
    let taken = Problem::new(409, "seats-taken", "Someone else was faster with these seats.");
    gateway.set_rejection::<CreateReservation>(
        taken.with_seats(vec![bus::contract::SeatId::new("C", 5)]).with_retry_after(3),
    );
    let sending = gateway.post("/v1/reservations").token("user").header("Idempotency-Key", "k");
    let answer = sending.header("X-Request-Id", "mine").json(reservation()).answer().await;
    assert_eq!(answer.json()["seats"], json!(["C5"]));
    assert_eq!(answer.json()["requestId"], "mine");
    assert_eq!(answer.header("retry-after"), "3");
}

#[tokio::test]
async fn a_body_must_not_have_fields_of_the_path() {
    let gateway = Gateway::new();
    gateway.set_answer::<CancelReservation>("{}");
    let cancel = || gateway.post(&format!("/v1/reservations/{ID}/cancel")).token("user");
    assert_eq!(cancel().json(json!({"id": ID})).problem().await, problem(422, "invalid"));
    assert_eq!(cancel().json(json!({"why": "?"})).problem().await, problem(422, "invalid"));
    assert_eq!(cancel().json(json!([1])).problem().await, problem(422, "invalid"));
    assert_eq!(cancel().body("reason").problem().await, problem(415, "content-type"));
    assert_eq!(cancel().json(json!({"reason": "ill"})).answer().await.status, 200);
    assert_eq!(gateway.received()[0].request, json!({"id": ID, "reason": "ill"}));
}

#[tokio::test]
async fn a_webhook_arrives_byte_for_byte() {
    use base64::Engine;
    let gateway = Gateway::new();
    gateway.set_answer::<Webhook>("null");
    let body = "{ \"type\" : \"x\" }\n";
    let webhook = || gateway.post("/v1/payments/webhook").body(body);
    assert_eq!(webhook().problem().await, problem(400, "bad-signature"));
    let signature = signature();
    assert_eq!(webhook().header("Stripe-Signature", &signature).answer().await.status, 200);
    let request = gateway.received().pop().unwrap().request;
    assert_eq!(request["signature"], signature);
    let sent = base64::engine::general_purpose::STANDARD.decode(request["body"].as_str().unwrap()).unwrap();
    assert_eq!(sent, body.as_bytes());
    let large = gateway.post("/v1/payments/webhook").header("Stripe-Signature", &signature);
    assert_eq!(large.body("x".repeat(256 * 1024 + 1)).problem().await, problem(413, "too-large"));
    let expired = webhook().header("Stripe-Signature", &signature.replace("t=", "t=9"));
    assert_eq!(expired.problem().await, problem(400, "bad-signature"));
    assert_eq!(
        gateway.received().len(),
        1,
        "a request without a plausible signature never leaves the gateway"
    );
}

#[tokio::test]
async fn public_keys_stay_available_without_their_host() {
    let gateway = Gateway::new();
    assert_eq!(gateway.get("/.well-known/jwks.json").problem().await, problem(503, "unavailable"));
    gateway.set_answer::<GetKeys>(r#"{"keys":[]}"#);
    let answer = gateway.get("/.well-known/jwks.json").answer().await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "public, max-age=60"));
    gateway.set_rejection::<GetKeys>(Problem::unavailable("away"));
    assert_eq!(gateway.get("/.well-known/jwks.json").answer().await.body, r#"{"keys":[]}"#);
}

#[tokio::test]
async fn every_row_names_the_request_that_its_endpoint_sends() {
    let gateway = Gateway::new();
    let ticket_type = json!({"code": "ADULT", "name": {"en": "Adult"}, "channels": ["WEB"], "active": true});
    let price_card = json!({"name": "Day", "currency": "EUR", "prices": {"ADULT": {"STANDARD": 1200}}});
    let with_version = |mut body: Value| {
        body["version"] = json!(1);
        body
    };
    let bodies = [
        json!({"email": "ada@example.org", "password": "secret-secret", "name": "Ada"}),
        json!({"email": "ada@example.org", "password": "secret-secret"}),
        json!({"refreshToken": "r"}),
        json!({"email": "ada@example.org"}),
        json!({"token": "t", "password": "secret-secret"}),
        json!({"oldPassword": "secret-secret", "newPassword": "secret-secret"}),
        json!({"token": "t"}),
        json!({"role": "ADMIN"}),
        json!({"disabled": true}),
        json!({"title": "Metropolis", "durationMinutes": 153, "releaseDate": "1927-01-10"}),
        json!({"name": "Drama"}),
        json!({"name": "One", "timeZone": "Europe/Berlin", "rows": [{"label": "A", "seats": [{"number": 1, "kind": "STANDARD"}]}]}),
        json!({"movieId": ID, "auditoriumId": ID, "startsAt": "2026-05-01T18:30:00Z",
            "prices": {"STANDARD": {"amount": 1200, "currency": "EUR"}}}),
        json!({"movieId": ID, "auditoriumId": ID, "from": "2026-05-01", "to": "2026-05-07", "times": ["20:15"],
            "prices": {"STANDARD": {"amount": 1200, "currency": "EUR"}}}),
        json!({"ids": [ID]}),
        ticket_type.clone(),
        with_version(ticket_type),
        price_card.clone(),
        with_version(price_card),
        json!({"slug": "main", "name": "Kino", "timeZone": "UTC", "currency": "EUR", "languages": ["en"],
            "refundPolicy": {"untilMinutes": 120, "percent": 100}, "version": 1}),
        json!({"tickets": [{"seat": "C5", "type": "ADULT"}]}),
        reservation(),
        json!({"startsAt": "2026-05-01T18:30:00Z"}),
        json!({"reason": "ill"}),
        json!({"name": "Ada Ltd", "address": ["1 Main Street"]}),
        json!({"reservationId": ID}),
        json!({"from": "2026-05-01T00:00:00Z", "to": "2026-05-02T00:00:00Z"}),
        // A request without a body accepts an empty one.
        json!({}),
    ];
    // Uploads are multipart and are stored before a request is sent; they have tests of their own.
    let has_request =
        |row: &&Row| row.subject.is_some() && !matches!(row.body, crate::routes::Body::Upload(_));
    for row in ROWS.iter().filter(has_request) {
        let mut path = row.path.replace("{id}", ID).replace("{sequence}", "7").replace("{reservationId}", ID);
        match row.operation {
            "findBestSeats" => path.push_str("?count=2"),
            "reportRevenue" | "reportTickets" | "reportSales" => {
                path.push_str("?from=2026-05-01&to=2026-05-07")
            }
            "planExchange" | "planCancellation" => path.push_str("?seats=C5,C6"),
            "matchPriceCard" => path.push_str("?weekday=MONDAY&time=17:30"),
            "reportOccupancy" => path.push_str("?from=2026-05-01T00:00:00Z&to=2026-05-07T00:00:00Z"),
            _ => {}
        }
        let mut subjects = Vec::new();
        // Only the body that fits is sent to a host; the gateway refuses the others.
        for body in &bodies {
            let sending = gateway.send(row.verb.method(), &path).token("root");
            let sending = sending.header("Idempotency-Key", "k").header("Stripe-Signature", &signature());
            let sending = sending.header("X-Refresh-Cookie", "true").header("Cookie", "marquee_refresh=r");
            let before = gateway.received().len();
            sending.json(body.clone()).answer().await;
            subjects.extend(gateway.received()[before..].iter().map(|received| received.subject));
        }
        subjects.dedup();
        assert_eq!(subjects, [row.subject.unwrap()], "{} {}", row.verb.method(), row.path);
    }
}
