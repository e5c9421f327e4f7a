//! Limits of unpaid holds: how many an account and a network may have, how soon again, and what staff see of them. All
//! limits are on, as they are by default.

use std::time::Duration;

use bus::contract::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, OWNER, Person, Plan, TestCinema, answer, id};

/// Two hosts, limits on, behind a proxy that adds the address of the client.
fn limited() -> Plan {
    Plan { reservation_hosts: 2, ..Plan::default() }
        .with("RATE_LIMIT_DISABLED", false)
        .with("TRUSTED_PROXIES", "127.0.0.0/8")
}

impl TestCinema {
    /// Reserves seats from a client address.
    async fn order_from(&self, address: &str, who: &Person, showtime: &str, seats: &[&str]) -> Answer {
        let request = self.http.post(format!("{}/v1/reservations", self.url())).bearer_auth(&who.token);
        let request = request.header("X-Forwarded-For", address).header("Idempotency-Key", seats.join("-"));
        let order = json!({"showtimeId": showtime, "seats": seats});
        answer(request.json(&order).send().await.unwrap()).await.unwrap()
    }

    /// Logs in as the first user, whose e-mail address is verified or not.
    async fn log_in_with_address(&self, is_verified: bool) -> Person {
        let update =
            "update auth.users set verified_at = case when $1 then now() end where email = 'p0@example.org'";
        sqlx::query(update).bind(is_verified).execute(&self.database).await.unwrap();
        self.log_in("p0@example.org", "correct horse").await
    }

    async fn held_seats(&self) -> i64 {
        self.count("select count(*) from reservation.claims").await
    }

    /// Reserves a seat and cancels the reservation.
    async fn reserve_and_cancel(&self, who: &Person, seat: &str) {
        let reservation = self.reserve(who, &[seat]).await;
        self.cancel(who, &reservation).await.expect(200);
    }
}

#[track_caller]
fn refused(answer: &Answer, of: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (409, "hold-limit"), "{}", answer.text);
    assert_eq!(answer.body["limit"]["of"], of, "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_holds_at_most_ten_unpaid_seats_of_a_showtime() {
    let cinema = TestCinema::open_with(limited()).await;
    let ada = cinema.register().await;
    // Six orders of three seats at once over two hosts: three of them fit.
    let orders = ["A", "B", "C", "D", "E", "A"].iter().zip([1, 1, 1, 1, 1, 4]).map(|(row, from)| {
        let seats: Vec<String> = (from..from + 3).map(|number| format!("{row}{number}")).collect();
        let (cinema, ada) = (&cinema, &ada);
        async move { cinema.try_reserve(ada, &seats.iter().map(String::as_str).collect::<Vec<_>>()).await }
    });
    let answers = futures::future::join_all(orders).await;
    let (accepted, others): (Vec<&Answer>, Vec<&Answer>) =
        answers.iter().partition(|a| a.status.as_u16() == 201);
    assert_eq!((accepted.len(), cinema.held_seats().await), (3, 9));
    for answer in others {
        refused(answer, "SEATS");
        assert_eq!(answer.body["limit"]["most"], 10);
    }
    cinema.reserve(&ada, &["E9"]).await;
    refused(&cinema.try_reserve(&ada, &["E10"]).await, "SEATS");
    // Another showtime has a limit of its own, and paid seats do not count.
    let other = cinema.schedule(&["SSSS"], 24 * 3600).await;
    cinema.order_from("127.0.0.1", &ada, &other, &["A1", "A2"]).await.expect(201);
    let paid = id(&accepted[0].body);
    cinema.pay(&ada, &paid, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &paid).await;
    cinema.reserve(&ada, &["E10"]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_two_cancelled_holds_the_third_has_to_wait_until_the_announced_time() {
    let cinema = TestCinema::open_with(limited().with("HOLD_COOLDOWN_SECONDS", 3)).await;
    let (ada, bob, owner) = (cinema.register().await, cinema.register().await, cinema.owner());
    cinema.reserve_and_cancel(&ada, "A1").await;
    cinema.reserve_and_cancel(&ada, "A2").await;
    let refused = cinema.try_reserve(&ada, &["A3"]).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "hold-cooldown"), "{}", refused.text);
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&seconds), "{seconds}");
    let retry_at: Timestamp = serde_json::from_value(refused.body["retryAt"].clone()).unwrap();
    let left = retry_at.unix_micros() - Timestamp::wall_clock().unix_micros();
    assert!((1..=3_000_000).contains(&left), "{left}");
    cinema.reserve(&bob, &["A3"]).await;
    for seat in ["B1", "B2", "B3"] {
        cinema.reserve_and_cancel(&owner, seat).await;
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    cinema.reserve(&ada, &["A4"]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_holds_count_as_unpaid_and_paid_ones_do_not() {
    let plan = limited().with("HOLD_SECONDS", 2).with("HOLD_SECONDS_MAX", 30);
    let cinema = TestCinema::open_with(plan).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    for seat in ["A1", "A2", "A3"] {
        let bought = cinema.buy(&bob, &[seat]).await;
        cinema.cancel(&bob, &bought).await.expect(200);
    }
    cinema.reserve(&bob, &["A4"]).await;
    let (first, second) = (cinema.reserve(&ada, &["B1"]).await, cinema.reserve(&ada, &["B2"]).await);
    for reservation in [&first, &second] {
        cinema.until_status(&ada, reservation, "CANCELLED").await;
    }
    assert_eq!(cinema.try_reserve(&ada, &["B1"]).await.code(), "hold-cooldown");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_of_a_network_share_a_hold_limit_and_the_network_is_deleted_with_the_hold() {
    let cinema = TestCinema::open_with(limited().with("HOLDS_PER_NETWORK_MAX", 3)).await;
    let mut people = Vec::new();
    for _ in 0..6 {
        people.push(cinema.register().await);
    }
    let orders = people.iter().enumerate().map(|(n, who)| {
        let (address, seat) = (format!("203.0.113.{}", n + 1), format!("A{}", n + 1));
        let cinema = &cinema;
        async move { cinema.order_from(&address, who, &cinema.showtime, &[&seat]).await }
    });
    let answers = futures::future::join_all(orders).await;
    assert_eq!(answers.iter().filter(|answer| answer.status.as_u16() == 201).count(), 3);
    answers.iter().filter(|a| a.status.as_u16() != 201).for_each(|answer| refused(answer, "NETWORK"));
    let elsewhere = cinema.order_from("203.0.114.1", &people[0], &cinema.showtime, &["B1"]).await;
    elsewhere.expect(201);
    cinema.order_from("2001:db8::1", &people[1], &cinema.showtime, &["B2"]).await.expect(201);
    let networks = "select count(distinct network) from reservation.reservations";
    assert_eq!(cinema.count(networks).await, 3);
    for (who, answer) in people.iter().zip(&answers).filter(|(_, answer)| answer.status.as_u16() == 201) {
        cinema.cancel(who, &id(&answer.body)).await.expect(200);
    }
    assert_eq!(cinema.count(networks).await, 2, "the network of a hold that has ended is deleted");
    cinema.order_from("203.0.113.9", &people[5], &cinema.showtime, &["C1"]).await.expect(201);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_accounts_cannot_hold_a_hall_and_fifty_people_behind_one_address_get_a_seat_each() {
    let cinema = TestCinema::open_with(limited()).await;
    let hall = cinema.schedule(&["SSSSSSSSSS"; 4], 24 * 3600).await;
    let mut few = Vec::new();
    for row in ["A", "B", "C", "D"] {
        let who = cinema.register().await;
        let seats: Vec<String> = (1..=10).map(|number| format!("{row}{number}")).collect();
        let seats: Vec<&str> = seats.iter().map(String::as_str).collect();
        few.push(cinema.order_from("203.0.113.7", &who, &hall, &seats).await);
    }
    let statuses: Vec<u16> = few.iter().map(|answer| answer.status.as_u16()).collect();
    assert_eq!(statuses, [201, 201, 409, 409]);
    refused(&few[2], "NETWORK");

    let orders = (0..50).map(|n| {
        let cinema = &cinema;
        async move {
            let who = cinema.register().await;
            let seat = format!("{}{}", ["A", "B", "C", "D", "E"][n / 10], n % 10 + 1);
            cinema.order_from("198.51.100.7", &who, &cinema.showtime, &[&seat]).await
        }
    });
    let answers = futures::future::join_all(orders).await;
    let refused: Vec<&str> =
        answers.iter().filter(|a| a.status.as_u16() != 201).map(|a| a.text.as_str()).collect();
    assert!(refused.is_empty(), "{refused:?}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_see_which_accounts_hold_most_seats() {
    let cinema = TestCinema::open_with(limited()).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    cinema.reserve_and_cancel(&ada, "A1").await;
    cinema.order_from("203.0.113.7", &ada, &cinema.showtime, &["A1"]).await.expect(201);
    cinema.order_from("203.0.113.8", &bob, &cinema.showtime, &["B1", "B2", "B3"]).await.expect(201);
    cinema.order_from("198.51.100.8", &bob, &cinema.showtime, &["C1"]).await.expect(201);
    let list = async |query: &str| {
        let path = format!("/v1/admin/holds{query}");
        cinema.call(Method::GET, &path, Some(&cinema.owner()), None).await.expect(200)
    };
    let page = list("").await;
    let row = |at: usize| page["items"][at].clone();
    assert_eq!(page["total"], 2);
    let counts = |row: &Value| (row["seats"].as_i64(), row["holds"].as_i64(), row["unpaidEnded"].as_i64());
    assert_eq!(
        [counts(&row(0)), counts(&row(1))],
        [(Some(4), Some(2), Some(0)), (Some(1), Some(1), Some(1))]
    );
    assert_eq!([&row(0)["email"], &row(1)["email"]], ["p1@example.org", "p0@example.org"]);
    assert_eq!(row(0)["networks"], json!(["198.51.100.0/24", "203.0.113.0/24"]));
    let second = list("?page=2&pageSize=1").await;
    assert_eq!((second["total"].as_i64(), &second["items"][0]), (Some(2), &row(1)));
    let forbidden = cinema.call(Method::GET, "/v1/admin/holds", Some(&ada), None).await;
    assert_eq!(forbidden.status.as_u16(), 403);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn free_seats_need_a_verified_address_and_paid_ones_do_not() {
    let mut cinema = TestCinema::open_with(limited()).await;
    cinema.register().await;
    let ada = cinema.log_in_with_address(false).await;
    cinema.reserve(&ada, &["A1"]).await;
    cinema.showtime = cinema.schedule_at(&["SSSS"], 24 * 3600, [0, 0]).await;
    let unverified = cinema.try_reserve(&ada, &["A1"]).await;
    assert_eq!(
        (unverified.status.as_u16(), unverified.code()),
        (409, "email-unproven"),
        "{}",
        unverified.text
    );
    assert_eq!(cinema.seat("A1").await, "FREE");
    let ada = cinema.log_in_with_address(true).await;
    cinema.reserve(&ada, &["A1"]).await;
    cinema.reserve(&cinema.log_in(OWNER.0, OWNER.1).await, &["A2"]).await;
    cinema.close().await;
}
