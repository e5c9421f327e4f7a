//! Guests buy with an e-mail address only: they hold seats first, and say then where the tickets go. The link in the mail is their
//! way back; an account can take their orders over.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Person, Plan, TestCinema, answer, id};

const GUEST: &str = "grace@example.org";

impl TestCinema {
    /// Buys seats as a new guest with this address.
    async fn buy_as_guest(&self, seats: &[&str], email: &str) -> (Person, String) {
        let guest = self.guest().await;
        let order = self.reserve(&guest, seats).await;
        self.set_customer(&guest, &order, email).await.expect(200);
        self.pay(&guest, &order, "pm_card_visa").await.expect(201);
        self.until_confirmed(&guest, &order).await;
        (guest, order)
    }

    async fn register_as(&self, email: &str, more: Value) -> crate::cinema::Answer {
        let mut body = json!({"email": email, "password": "correct horse", "name": "Grace"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call(Method::POST, "/v1/auth/register", None, Some(body)).await
    }

    async fn merge(&self, who: &Person, token: &str) -> crate::cinema::Answer {
        self.post("/v1/reservations/merge", who, json!({"token": token})).await
    }
}

fn person(session: &Value) -> Person {
    Person { token: session["accessToken"].as_str().unwrap().to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_holds_seats_first_and_pays_when_the_address_is_known() {
    let cinema = TestCinema::open().await;
    let guest = cinema.guest().await;
    let held = cinema.try_reserve(&guest, &["A1", "A2"]).await.expect(201);
    let order = id(&held);
    assert_eq!((&held["email"], &held["customer"], &held["guest"]), (&json!(""), &Value::Null, &json!(true)));
    let path = format!("/v1/reservations/{order}");
    let refused = cinema.pay(&guest, &order, "pm_card_visa").await;
    assert_eq!((refused.status.as_u16(), refused.code()), (422, "customer-missing"), "{}", refused.text);
    assert_eq!(refused.body["errors"][0]["field"], "customer");
    let bad = cinema.set_customer(&guest, &order, "grace").await;
    assert_eq!((bad.status.as_u16(), &bad.body["errors"][0]["field"]), (422, &json!("email")));

    // Another guest neither sees nor changes the order, and a guest has no account.
    let other = cinema.guest().await;
    assert_eq!(cinema.get(&path, &other).await.status, 404);
    assert_eq!(cinema.set_customer(&other, &order, "eve@example.org").await.status, 404);
    assert_eq!(cinema.pay(&other, &order, "pm_card_visa").await.status, 404);
    assert_eq!(cinema.cancel(&other, &order).await.status, 404);
    for path in ["/v1/me", "/v1/admin/holds", "/v1/users"] {
        assert_eq!(cinema.get(path, &guest).await.code(), "role", "{path}");
    }
    let own = cinema.get("/v1/reservations", &guest).await.expect(200);
    assert_eq!((&own["total"], &own["items"][0]["id"]), (&json!(1), &json!(order)));

    let body = json!({"email": GUEST, "name": "Grace"});
    let customer_path = format!("{path}/customer");
    let named = cinema.call(Method::PUT, &customer_path, Some(&guest), Some(body.clone())).await.expect(200);
    assert_eq!(named["customer"], body);
    let again = cinema.call(Method::PUT, &customer_path, Some(&guest), Some(body)).await.expect(200);
    assert_eq!(again["version"], named["version"], "a repetition changes nothing");
    cinema.pay(&guest, &order, "pm_card_visa").await.expect(201);
    let paid = cinema.until_confirmed(&guest, &order).await;
    let payment = paid["payment"]["id"].as_str().unwrap();
    cinema.get(&format!("/v1/payments/{payment}"), &guest).await.expect(200);
    assert_eq!(cinema.get(&format!("/v1/payments/{payment}"), &other).await.status, 404);
    assert_eq!(cinema.set_customer(&guest, &order, "eve@example.org").await.code(), "not-pending");

    let mail = cinema.read_mail(&order, "RESERVATION_CONFIRMED").await;
    assert!(mail.to_string().contains(GUEST), "{mail}");
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    assert_eq!(cinema.get(&path, &link).await.expect(200)["status"], "CONFIRMED");
    let sent = "select count(*) from notification.mails where recipient = ''";
    assert_eq!(cinema.count(sent).await, 0, "no mail goes to nobody");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_link_of_a_mail_exchanges_pays_the_difference_and_cancels() {
    let mut cinema = TestCinema::open().await;
    let (_, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [2000, 2000]).await;
    let body = json!({"showtimeId": cinema.showtime, "seats": ["A2"]});
    let dearer = cinema.post(&format!("/v1/reservations/{order}/exchange"), &link, body).await.expect(201);
    let new = id(&dearer);
    assert_eq!((&dearer["exchangeOf"], &dearer["customer"]["email"]), (&json!(order), &json!(GUEST)));
    cinema.pay(&link, &new, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&link, &new).await;
    let own = cinema.link(&new, "RESERVATION_CONFIRMED").await;
    cinema.cancel(&own, &new).await.expect(200);
    cinema.until_status(&own, &new, "REFUNDED").await;
    assert_eq!(cinema.seat("A2").await, "FREE");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paid_order_is_no_way_to_free_seats_without_a_proven_address() {
    let cinema = TestCinema::open_with(Plan::default().with("RATE_LIMIT_DISABLED", "false")).await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let free = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let path = format!("/v1/reservations/{order}/exchange");
    let body = json!({"showtimeId": free, "seats": ["A1"]});
    for who in [&guest, &link] {
        let plan = cinema.get(&format!("{path}?showtimeId={free}&seats=A1"), who).await;
        for refused in [plan, cinema.post(&path, who, body.clone()).await] {
            assert_eq!(
                (refused.status.as_u16(), refused.code()),
                (409, "email-unproven"),
                "{}",
                refused.text
            );
        }
    }
    assert_eq!(cinema.captured(&order).await, 1200);
    assert_eq!(cinema.seat("A1").await, "SOLD");
    cinema.post(&path, &cinema.owner(), body).await.expect(200);
    cinema.until_captured(&order, 0).await;
    cinema.close().await;
}

/// Begins an exchange for a dearer seat of another showtime by the link; returns the link and the unpaid order.
async fn exchanging(cinema: &mut TestCinema, order: &str) -> (Person, String) {
    let link = cinema.link(order, "RESERVATION_CONFIRMED").await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [2000, 2000]).await;
    let body = json!({"showtimeId": cinema.showtime, "seats": ["A2"]});
    let dearer = cinema.post(&format!("/v1/reservations/{order}/exchange"), &link, body).await.expect(201);
    let new = id(&dearer);
    (link, new)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_of_a_wrong_address_takes_no_order_away_by_an_exchange() {
    let mut cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], "grcae@example.org").await;
    let sold = cinema.showtime.clone();
    let (link, new) = exchanging(&mut cinema, &order).await;
    // Staff correct the address of the order while the reader of the wrong one pays the difference.
    let address = json!({"email": GUEST});
    let path = format!("/v1/reservations/{order}");
    cinema.call(Method::PATCH, &path, Some(&cinema.owner()), Some(address)).await.expect(202);
    cinema.pay(&link, &new, "pm_card_visa").await.expect(201);
    let given_back = cinema.until_status(&link, &new, "REFUNDED").await;
    assert_eq!(given_back["reason"], "PAYMENT_FAILED", "{given_back}");
    cinema.until_captured(&new, 0).await;
    let kept = cinema.reservation(&guest, &order).await;
    assert_eq!((&kept["status"], &kept["customer"]["email"]), (&json!("CONFIRMED"), &json!(GUEST)));
    assert_eq!(cinema.captured(&order).await, 1200);
    cinema.showtime = sold;
    assert_eq!(cinema.seat("A1").await, "SOLD");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_goes_to_no_account_during_its_exchange() {
    let mut cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let account = person(&cinema.register_as(GUEST, json!({})).await.expect(201));
    let (link, new) = exchanging(&mut cinema, &order).await;
    let refused = cinema.merge(&account, &link.token).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "exchange-running"), "{}", refused.text);
    cinema.cancel(&link, &new).await.expect(200);
    cinema
        .until("the exchange is over", async || {
            cinema.reservation(&guest, &order).await["exchangingTo"].is_null()
        })
        .await;
    let merged = cinema.merge(&account, &link.token).await.expect(200);
    assert_eq!(merged["reservations"][0]["id"], json!(order));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tickets_that_are_sent_again_are_limited_per_address() {
    let plan = Plan::default().with("RATE_LIMIT_DISABLED", "false").with("MAILS_PER_RECIPIENT_HOUR", 2);
    let cinema = TestCinema::open_with(plan).await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    cinema.until_mail(&order, "RESERVATION_CONFIRMED", "SENT").await;
    // The same address in another case is another text, which may be a correction.
    for email in ["ada@example.org", "Ada@example.org", "ADA@example.org", "aDa@example.org"] {
        let path = format!("/v1/reservations/{order}");
        let address = json!({"email": email});
        cinema.call(Method::PATCH, &path, Some(&guest), Some(address)).await.expect(202);
    }
    let count = |status: &str| {
        format!(
            "select count(*) from notification.mails
             where kind = 'RESERVATION_CONFIRMED' and subject like '%/%' and status = '{status}'"
        )
    };
    cinema.until_sql(&count("QUEUED"), 0).await;
    cinema.until_sql(&format!("select ({}) + ({})", count("SENT"), count("SKIPPED")), 4).await;
    let sent = cinema.count(count("SENT").leak()).await;
    assert!((1..=2).contains(&sent), "{sent} mails were sent to one address");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_corrected_address_voids_earlier_links_and_is_audited() {
    let cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], "grcae@example.org").await;
    let path = format!("/v1/reservations/{order}");
    let wrong = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let address = json!({"email": GUEST});
    let by_link = cinema.call(Method::PATCH, &path, Some(&wrong), Some(address.clone())).await;
    assert_eq!(by_link.code(), "role", "who has the mail may not send the tickets elsewhere");
    let other = cinema.guest().await;
    let by_other = cinema.call(Method::PATCH, &path, Some(&other), Some(address.clone())).await;
    assert_eq!(by_other.status, 404);
    let corrected = cinema.call(Method::PATCH, &path, Some(&guest), Some(address)).await.expect(202);
    assert_eq!(corrected["customer"]["email"], GUEST);

    let revoked = (401, "token-revoked".to_owned());
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/tickets")),
        (Method::POST, format!("{path}/cancel")),
    ] {
        assert_eq!(cinema.refused(method.clone(), &path, &wrong).await, revoked, "{method} {path}");
    }
    let payment = corrected["payment"]["id"].as_str().unwrap();
    assert_eq!(cinema.refused(Method::GET, &format!("/v1/payments/{payment}"), &wrong).await, revoked);
    let readdressed = &cinema.events("reservation.readdressed").await[0];
    assert_eq!(
        (&readdressed["previousEmail"], &readdressed["by"]),
        (&json!("grcae@example.org"), &corrected["userId"])
    );
    cinema.until_sql("select count(*) from auth.audit where kind = 'ADDRESS_CORRECTED'", 1).await;
    let audit = cinema.get("/v1/admin/audit?kind=ADDRESS_CORRECTED", &cinema.owner()).await.expect(200);
    let record = &audit["items"][0];
    assert_eq!(
        (&record["actorId"], &record["details"]["email"], &record["details"]["reservationId"]),
        (&corrected["userId"], &json!(GUEST), &json!(order))
    );
    assert!(record["details"].get("lines").is_none(), "{record}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_corrects_an_address_only_until_the_show() {
    let mut cinema = TestCinema::open().await;
    cinema.showtime = cinema.schedule(&["SS"], 8).await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let correct = async |who: &Person, email: &str| {
        let body = json!({"email": email});
        let path = format!("/v1/reservations/{order}");
        let answer = cinema.call(Method::PATCH, &path, Some(who), Some(body)).await;
        // An order has a code, too.
        if answer.status.is_success() { String::new() } else { answer.code().to_owned() }
    };
    let mut number = 0;
    let began = std::time::Instant::now();
    loop {
        number += 1;
        let code = correct(&guest, &format!("g{number}@example.org")).await;
        if code == "showtime-started" {
            break;
        }
        assert!(code.is_empty() && began.elapsed().as_secs() < 30, "{code}");
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    assert_eq!(correct(&cinema.owner(), "late@example.org").await, "", "staff may do it at any time");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_by_the_link_keeps_the_order_and_the_id() {
    let cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let by_link = json!({"orderToken": link.token});
    let other = cinema.register_as("eve@example.org", by_link.clone()).await;
    assert_eq!((other.status.as_u16(), other.code()), (422, "order-email"), "{}", other.text);
    let forged = cinema.register_as(GUEST, json!({"orderToken": format!("{}x", link.token)})).await;
    assert_eq!((forged.status.as_u16(), forged.code()), (401, "token-invalid"), "{}", forged.text);
    let not_an_order = cinema.register_as(GUEST, json!({"orderToken": guest.token})).await;
    assert_eq!((not_an_order.status.as_u16(), not_an_order.code()), (401, "token-invalid"));

    let session = cinema.register_as(GUEST, by_link.clone()).await.expect(201);
    let ada = person(&session);
    let seen = cinema.reservation(&ada, &order).await;
    assert_eq!((&seen["userId"], &session["user"]["emailVerified"]), (&session["user"]["id"], &json!(false)));
    assert_eq!(cinema.get("/v1/me", &ada).await.expect(200)["role"], "USER");
    cinema.log_in(GUEST, "correct horse").await;
    let path = format!("/v1/reservations/{order}");
    cinema
        .until("the guest's token is void", async || {
            cinema.refused(Method::GET, &path, &guest).await == (401, "token-revoked".to_owned())
        })
        .await;
    let twice = cinema.register_as(GUEST, by_link).await;
    assert_eq!((twice.status.as_u16(), twice.code()), (409, "order-has-account"), "{}", twice.text);
    assert_eq!(cinema.register_as(GUEST, json!({})).await.code(), "email-taken");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_with_several_addresses_does_not_register_by_one_of_them() {
    let cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let second = cinema.reserve(&guest, &["B1"]).await;
    cinema.set_customer(&guest, &second, "friend@example.org").await.expect(200);
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    let refused = cinema.register_as(GUEST, json!({"orderToken": link.token})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "guest-orders"), "{}", refused.text);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_orders_go_to_an_account_in_one_change_and_never_while_paying() {
    let cinema = TestCinema::open().await;
    let (guest, paid) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let held = cinema.reserve(&guest, &["A2"]).await;
    let link = cinema.link(&paid, "RESERVATION_CONFIRMED").await;
    let ada = cinema.register().await;
    cinema.set_customer(&guest, &held, GUEST).await.expect(200);
    cinema.open_payment_page(&guest, &held).await;
    let refused = cinema.merge(&ada, &guest.token).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "merge-while-paying"), "{}", refused.text);
    assert_eq!(cinema.get(&format!("/v1/reservations/{paid}"), &ada).await.status, 404, "nothing has moved");
    cinema.cancel(&guest, &held).await.expect(200);
    cinema.until_status(&guest, &held, "CANCELLED").await;

    for token in [ada.token.as_str(), "no token"] {
        assert_eq!(cinema.merge(&ada, token).await.code(), "guest-token");
    }
    assert_eq!(cinema.merge(&guest, &guest.token).await.code(), "role", "a guest has no account");
    let other_address = cinema.merge(&ada, &link.token).await;
    assert_eq!((other_address.status.as_u16(), other_address.code()), (409, "merge-other-address"));
    let merged = cinema.merge(&ada, &guest.token).await.expect(200);
    assert_eq!(merged["reservations"].as_array().unwrap().len(), 2);
    let order = cinema.reservation(&ada, &paid).await;
    assert_eq!((&order["email"], &order["guest"]), (&json!("p0@example.org"), &Value::Null));
    let payment = order["payment"]["id"].as_str().unwrap();
    cinema.get(&format!("/v1/payments/{payment}"), &ada).await.expect(200);
    let path = format!("/v1/reservations/{paid}");
    assert_eq!(cinema.refused(Method::GET, &path, &link).await, (401, "token-revoked".to_owned()));
    assert_eq!(cinema.get(&path, &guest).await.status, 404);
    assert_eq!(cinema.get(&format!("/v1/payments/{payment}"), &guest).await.status, 404);
    let again = cinema.merge(&ada, &guest.token).await.expect(200);
    assert_eq!(again["reservations"], json!([]), "a repetition changes nothing");
    let events = cinema.events("user.merged").await;
    assert_eq!((events.len(), &events[0]["userId"]), (1, &order["userId"]));
    assert_eq!(events[0]["reservationIds"].as_array().unwrap().len(), 2);
    cinema.until_sql("select count(*) from auth.audit where kind = 'ORDERS_MERGED'", 1).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_its_link_an_order_goes_to_the_account_of_its_address_and_no_accounts_order_goes_anywhere() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let (_, order) = cinema.buy_as_guest(&["A1"], "P0@example.org").await;
    let link = cinema.link(&order, "RESERVATION_CONFIRMED").await;
    assert_eq!(cinema.merge(&ada, &link.token).await.expect(200)["reservations"][0]["id"], json!(order));
    let own = cinema.buy(&ada, &["B1"]).await;
    let link = cinema.link(&own, "RESERVATION_CONFIRMED").await;
    let eve = cinema.register().await;
    let refused = cinema.merge(&eve, &link.token).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "order-has-account"), "{}", refused.text);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_guests_behind_one_address_pass_and_five_hundred_do_not() {
    let plan = Plan { reservation_hosts: 2, ..Plan::default() }
        .with("RATE_LIMIT_DISABLED", false)
        .with("TRUSTED_PROXIES", "127.0.0.0/8");
    let cinema = TestCinema::open_with(plan).await;
    let url = format!("{}/v1/auth/guest", cinema.url());
    let guest = async |address: &str| {
        let request = cinema.http.post(&url).header("X-Forwarded-For", address).json(&json!({}));
        answer(request.send().await.unwrap()).await.unwrap()
    };
    for number in 0..50 {
        let who = person(&guest("203.0.113.7").await.expect(201));
        let seat = format!("{}{}", ["A", "B", "C", "D", "E"][number / 10], number % 10 + 1);
        let request = cinema.http.post(format!("{}/v1/reservations", cinema.url())).bearer_auth(&who.token);
        let request = request.header("X-Forwarded-For", "203.0.113.7").header("Idempotency-Key", "k");
        let order = json!({"showtimeId": cinema.showtime, "seats": [seat]});
        answer(request.json(&order).send().await.unwrap()).await.unwrap().expect(201);
    }
    let more = futures::future::join_all((0..450).map(|_| guest("203.0.113.7"))).await;
    let refused: Vec<_> = more.iter().filter(|answer| answer.status.as_u16() == 429).collect();
    assert!(refused.len() > 200, "{} of 450 were refused", refused.len());
    assert!(refused.iter().all(|answer| answer.code() == "rate-limited"));
    guest("198.51.100.7").await.expect(201);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_without_an_order_is_deleted_after_a_day() {
    let mut cinema = TestCinema::open().await;
    let (guest, order) = cinema.buy_as_guest(&["A1"], GUEST).await;
    let idle = cinema.guest().await;
    cinema.reserve(&idle, &["B1"]).await;
    cinema.guest().await;
    let yesterday = "update auth.users set guest_check_at = now() where kind = 'GUEST'";
    assert_eq!(sqlx::query(yesterday).execute(&cinema.database).await.unwrap().rows_affected(), 3);
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    // The guest who gave an address stays; a hold without one is no order.
    cinema.until_sql("select count(*) from auth.users where kind = 'GUEST'", 1).await;
    cinema.reservation(&guest, &order).await;
    cinema.close().await;
}
