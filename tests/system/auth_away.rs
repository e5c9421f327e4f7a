//! Auth is away while a guest buys: what needs it is refused with 503 and leaves nothing behind, what does not need it goes on, and
//! the same request succeeds once auth is back.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, TestCinema, id};

const GUEST: &str = "grace@example.org";

impl TestCinema {
    /// Stops the only host of a domain.
    async fn stop_host(&mut self, domain: &str) {
        let hosts = &mut self.cinema_mut().hosts;
        let at = hosts.iter().position(|host| host.domain() == domain).unwrap();
        hosts.remove(at).stop().await;
    }

    /// Starts a host of a domain in the place of the running one. It does not know the keys of tokens yet.
    async fn replace_host(&mut self, domain: &str) {
        self.stop_host(domain).await;
        self.start_another(domain).await;
    }

    async fn try_hold(&self, guest: &Person, seat: &str, key: &str) -> Answer {
        let body = json!({"showtimeId": self.showtime, "seats": [seat]});
        self.call_with_key(Method::POST, "/v1/reservations", Some(guest), Some(body), key).await
    }

    async fn try_pay(&self, guest: &Person, order: &str, key: &str) -> Answer {
        let body = json!({"reservationId": order, "paymentMethod": "pm_card_visa"});
        self.call_with_key(Method::POST, "/v1/payments", Some(guest), Some(body), key).await
    }

    /// The rows that requests of guests leave: users, orders, claims, payments, and used keys of both domains.
    async fn left_behind(&self) -> [i64; 6] {
        [
            self.count("select count(*) from auth.users").await,
            self.count("select count(*) from reservation.reservations").await,
            self.count("select count(*) from reservation.claims").await,
            self.count("select count(*) from payment.overview").await,
            self.count("select count(*) from reservation.idempotency").await,
            self.count("select count(*) from payment.idempotency").await,
        ]
    }
}

#[track_caller]
fn is_away(answer: &Answer, what: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (503, "unavailable"), "{what}: {}", answer.text);
    assert!(answer.headers.contains_key("retry-after"), "{what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_who_buys_while_auth_is_away_gets_503_and_the_same_requests_succeed_afterwards() {
    let mut cinema = TestCinema::open().await;
    let guest = cinema.guest().await;
    let first = cinema.reserve(&guest, &["A1"]).await;
    // Payment knows the order; nothing else of it is in progress.
    cinema.until_sql("select count(*) from payment.overview", 1).await;
    cinema.stop_host("auth").await;
    let before = cinema.left_behind().await;
    // New hosts ask auth for the keys of the tokens.
    cinema.replace_host("reservation").await;
    cinema.replace_host("payment").await;

    let new = cinema.call(Method::POST, "/v1/auth/guest", None, Some(json!({}))).await;
    is_away(&new, "a new guest");
    is_away(&cinema.try_hold(&guest, "A2", "hold-a2").await, "a hold");
    is_away(&cinema.set_customer(&guest, &first, GUEST).await, "the customer");
    is_away(&cinema.try_pay(&guest, &first, "pay-a1").await, "a payment");
    assert_eq!(cinema.left_behind().await, before, "nothing is half done, and no key is used up");
    assert_eq!((cinema.seat("A1").await, cinema.seat("A2").await), ("HELD".into(), "FREE".into()));
    assert_eq!(cinema.captured(&first).await, 0);

    cinema.start_another("auth").await;
    let hold = cinema.try_hold(&guest, "A2", "hold-a2").await.expect(201);
    let named = cinema.set_customer(&guest, &first, GUEST).await.expect(200);
    assert_eq!(named["customer"]["email"], GUEST);
    let paid = cinema.try_pay(&guest, &first, "pay-a1").await.expect(201);
    cinema.until_confirmed(&guest, &first).await;
    // Repeated, each key gives its first answer.
    assert_eq!(id(&cinema.try_hold(&guest, "A2", "hold-a2").await.expect(201)), id(&hold));
    assert_eq!(id(&cinema.try_pay(&guest, &first, "pay-a1").await.expect(201)), id(&paid));
    assert_eq!(cinema.captured(&first).await, 1200);
    cinema.guest().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_know_the_keys_sell_to_a_guest_without_auth_and_the_mail_follows() {
    let mut cinema = TestCinema::open().await;
    let guest = cinema.guest().await;
    let first = cinema.reserve(&guest, &["A1"]).await;
    cinema.set_customer(&guest, &first, GUEST).await.expect(200);
    // Payment has seen a token of a guest, too.
    cinema.pay(&guest, &first, "pm_card_chargeDeclined").await.expect(402);
    cinema.stop_host("auth").await;
    let second = cinema.reserve(&guest, &["A2"]).await;
    cinema.set_customer(&guest, &second, GUEST).await.expect(200);
    cinema.pay(&guest, &second, "pm_card_visa").await.expect(201);
    let sold: Value = cinema.until_confirmed(&guest, &second).await;
    assert_eq!(sold["customer"]["email"], GUEST);
    cinema.start_another("auth").await;
    // Auth signs the tickets and the link.
    cinema.until_mail(&second, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merge_by_the_mails_link_while_auth_is_away_moves_nothing_and_is_repeated() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let guest = cinema.guest().await;
    let order = cinema.reserve(&guest, &["A1"]).await;
    // The address of the account.
    cinema.set_customer(&guest, &order, "p0@example.org").await.expect(200);
    cinema.pay(&guest, &order, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&guest, &order).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    cinema.reserve(&ada, &["B1"]).await;
    cinema.stop_host("auth").await;
    let merge = json!({"token": link.token});
    let refused = cinema.post("/v1/reservations/merge", &ada, merge.clone()).await;
    is_away(&refused, "a merge");
    let path = format!("/v1/reservations/{order}");
    assert_eq!(cinema.get(&path, &ada).await.status, 404, "nothing has moved");
    assert_eq!(cinema.get(&path, &guest).await.expect(200)["guest"], json!(true));
    cinema.start_another("auth").await;
    let merged = cinema.post("/v1/reservations/merge", &ada, merge).await.expect(200);
    assert_eq!(merged["reservations"][0]["id"], json!(order));
    cinema.get(&path, &ada).await.expect(200);
    cinema.close().await;
}
