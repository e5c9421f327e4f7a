//! Revenue and payments over REST: sums from the ledger, payments that need attention, and who may see them.

use reqwest::Method;
use sandbox::{Switches, Verdict};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cinema::{Person, Plan, TestCinema, id};
use crate::operator::{expect_success, marquee, until_all_is_handled};

pub fn euros(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

pub fn day(days_ahead: i64) -> String {
    let day = OffsetDateTime::now_utc() + time::Duration::days(days_ahead);
    day.format(format_description!("[year]-[month]-[day]")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revenue_adds_up_by_day_movie_and_showtime() {
    let mut cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let two = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &two, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &two).await;
    let first = std::mem::take(&mut cinema.showtime);
    cinema.showtime = cinema.schedule(&["SSS"], 24 * 3600).await;
    let (kept, cancelled) = (cinema.reserve(&ada, &["A1"]).await, cinema.reserve(&ada, &["A2"]).await);
    for reservation in [&kept, &cancelled] {
        cinema.pay(&ada, reservation, "pm_card_visa").await.expect(201);
        cinema.until_confirmed(&ada, reservation).await;
    }
    cinema.cancel(&ada, &cancelled).await.expect(200);
    cinema.until_status(&ada, &cancelled, "REFUNDED").await;

    let report = async |query: &str| {
        let path = format!("/v1/admin/reports/revenue?from={}&to={}{query}", day(-1), day(1));
        cinema.call(reqwest::Method::GET, &path, Some(&owner), None).await.expect(200)
    };
    let days = report("").await;
    let whole = json!({"gross": euros(4800), "refunded": euros(1200), "disputed": euros(0), "net": euros(3600), "tickets": 3});
    assert_eq!(days["totals"], json!([whole]), "{days}");
    let mut sum = 0;
    for row in days["items"].as_array().unwrap() {
        assert!(row["day"].as_str().is_some_and(|text| text.len() == 10), "{row}");
        sum += row["net"]["amount"].as_i64().unwrap();
    }
    assert_eq!(sum, 3600);
    let showtimes = report("&by=showtime&timeZone=Pacific/Auckland").await;
    assert_eq!((showtimes["total"].as_i64(), &showtimes["totals"]), (Some(2), &json!([whole])));
    let items = showtimes["items"].as_array().unwrap();
    let of = |showtime: &str| items.iter().find(|row| row["showtimeId"] == showtime).unwrap().clone();
    assert_eq!((of(&first)["net"].clone(), of(&first)["tickets"].clone()), (euros(2400), json!(2)));
    assert_eq!(of(&cinema.showtime)["refunded"], euros(1200));
    assert_eq!(of(&cinema.showtime)["tickets"], 1);
    let one = report(&format!("&by=showtime&showtimeIds={first}")).await;
    assert_eq!(one["items"], json!([of(&first)]));
    assert_eq!((&one["totals"][0]["net"], &one["total"]), (&euros(2400), &json!(1)), "{one}");
    let both = report(&format!("&by=showtime&showtimeIds={first},{}", cinema.showtime)).await;
    assert_eq!((&both["items"], &both["totals"]), (&showtimes["items"], &showtimes["totals"]));
    let movies = report("&by=movie&pageSize=1").await;
    assert_eq!((movies["total"].as_i64(), movies["items"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert_eq!(movies["items"][0]["movieTitle"], "The Long Night");
    let none = format!("/v1/admin/reports/revenue?from={}&to={}", day(-9), day(-8));
    let none = cinema.call(reqwest::Method::GET, &none, Some(&owner), None).await.expect(200);
    assert_eq!((&none["items"], &none["totals"]), (&json!([]), &json!([])));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revenue_and_payments_are_for_staff_only_and_bad_queries_are_refused() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let get = async |path: &str, who| cinema.call(reqwest::Method::GET, path, who, None).await;
    for path in ["/v1/payments", "/v1/admin/reports/revenue?from=2026-01-01&to=2026-01-31"] {
        assert_eq!(get(path, None).await.status, 401, "{path}");
        assert_eq!(get(path, Some(&ada)).await.status, 403, "{path}");
        get(path, Some(&owner)).await.expect(200);
    }
    let zone = "/v1/admin/reports/revenue?from=2026-01-01&to=2026-01-31&timeZone=Mars/Olympus";
    let refused = get(zone, Some(&owner)).await;
    assert_eq!((refused.status.as_u16(), &refused.body["errors"][0]["field"]), (422, &json!("timeZone")));
    let order = "/v1/admin/reports/revenue?from=2026-02-01&to=2026-01-31";
    assert_eq!(get(order, Some(&owner)).await.status, 422);
    assert_eq!(get("/v1/admin/reports/revenue?from=2026-02-01", Some(&owner)).await.status, 400);
    let ids = "/v1/admin/reports/revenue?from=2026-01-01&to=2026-01-31&showtimeIds=tonight";
    assert_eq!(get(ids, Some(&owner)).await.status, 400);
    assert_eq!(get("/v1/payments?status=RICH", Some(&owner)).await.status, 400);

    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let paid = cinema.pay(&ada, &reservation, "pm_card_createDispute").await.expect(201);
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.until_sql("select count(*) from payment.payments where attention is not null", 1).await;
    let waiting = get("/v1/payments?attention=true", Some(&owner)).await.expect(200);
    assert_eq!((waiting["total"].as_i64(), &waiting["items"][0]["id"]), (Some(1), &paid["id"]));
    let resume = format!("/v1/admin/payments/{}/resume", paid["id"].as_str().unwrap());
    assert_eq!(cinema.call(reqwest::Method::POST, &resume, Some(&ada), None).await.status, 403);
    let resumed = cinema.call(reqwest::Method::POST, &resume, Some(&owner), None).await.expect(200);
    assert_eq!(resumed["disputes"][0]["status"], "OPEN");
    cinema.close().await;
}

/// What the report must contain for a showtime or its movie: the sums of these payments, and the seats that are sold.
struct Expected<'a> {
    payments: &'a [&'a Value],
    tickets: i64,
}

impl Expected<'_> {
    fn row(&self) -> Value {
        let of = |list: &Value, status: &str| -> i64 {
            let counted = list.as_array().unwrap().iter().filter(|item| item["status"] == status);
            counted.map(|item| item["total"]["amount"].as_i64().unwrap()).sum()
        };
        let sum = |of: &dyn Fn(&Value) -> i64| self.payments.iter().map(|payment| of(payment)).sum::<i64>();
        let gross = sum(&|payment| payment["total"]["amount"].as_i64().unwrap());
        let refunded = sum(&|payment| of(&payment["refunds"], "COMPLETED"));
        let disputed = sum(&|payment| of(&payment["disputes"], "LOST"));
        json!({"gross": euros(gross), "refunded": euros(refunded), "disputed": euros(disputed),
            "net": euros(gross - refunded - disputed), "tickets": self.tickets})
    }
}

impl TestCinema {
    async fn revenue(&self, by: &str) -> Value {
        let path = format!("/v1/admin/reports/revenue?from={}&to={}&by={by}", day(-1), day(1));
        self.call(Method::GET, &path, Some(&self.owner()), None).await.expect(200)
    }

    /// The payment of a reservation, as staff see it.
    async fn payment_details(&self, reservation: &str) -> Value {
        let owner = self.owner();
        let payment = id(&self.reservation(&owner, reservation).await["payment"]);
        self.call(Method::GET, &format!("/v1/payments/{payment}"), Some(&owner), None).await.expect(200)
    }

    async fn exchange_to(&self, who: &Person, reservation: &str, showtime: &str, seats: &[&str]) -> Value {
        let path = format!("/v1/reservations/{reservation}/exchange");
        let body = json!({"showtimeId": showtime, "seats": seats});
        let answer = self.call(Method::POST, &path, Some(who), Some(body)).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.body
    }

    /// Waits until all events are handled and all refunds are settled.
    async fn until_idle(&self) {
        self.until_published().await;
        until_all_is_handled(self).await;
        self.until_sql("select count(*) from payment.refunds where status = 'REQUESTED'", 0).await;
        self.until_published().await;
        until_all_is_handled(self).await;
    }
}

/// The sums of a row, without the fields that name its showtime or movie.
fn sums(row: &Value) -> Value {
    let keys = ["gross", "refunded", "disputed", "net", "tickets"];
    keys.into_iter().map(|key| (key.to_owned(), row[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revenue_and_tickets_follow_exchanges_cancellations_refunds_and_disputes_to_each_movie() {
    let cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let first = cinema.showtime.clone();
    let second = cinema.schedule(&["WWWWSSSSSS"], 48 * 3600).await;
    let third = cinema.schedule(&["WW"], 72 * 3600).await;

    // A partial refund by staff, then a cheaper exchange to another movie, and from there to a third.
    let moved = cinema.buy(&ada, &["A1", "A2"]).await;
    let payment = id(&cinema.payment_details(&moved).await);
    let part = json!({"amount": 300, "reason": "the sound was off"});
    let refund = format!("/v1/payments/{payment}/refund");
    cinema.call(Method::POST, &refund, Some(&owner), Some(part)).await.expect(202);
    cinema.exchange_to(&ada, &moved, &second, &["A1", "A2"]).await;
    cinema.exchange_to(&ada, &moved, &third, &["A1"]).await;
    // Fewer seats of the same showtime.
    let fewer = cinema.buy(&ada, &["A4", "A5"]).await;
    cinema.exchange_to(&ada, &fewer, &first, &["A6"]).await;
    // A dearer exchange: the difference is paid, and the old order's money is for the new one's showtime.
    let old = cinema.buy(&ada, &["B1"]).await;
    let new = id(&cinema.exchange_to(&ada, &old, &second, &["A5", "A6"]).await);
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &new).await;
    cinema.until_status(&ada, &old, "CANCELLED").await;
    // Cancelled with half a refund, without one, and after an exchange.
    let half = cinema.buy(&ada, &["C1"]).await;
    cinema.cancel(&ada, &half).await.expect(200);
    cinema.until_status(&ada, &half, "REFUNDED").await;
    let kept = cinema.buy(&ada, &["C2"]).await;
    let cancel = format!("/v1/reservations/{kept}/cancel");
    cinema.call(Method::POST, &cancel, Some(&owner), Some(json!({"refundPercent": 0}))).await.expect(200);
    let exchanged = cinema.buy(&ada, &["C3", "C4"]).await;
    cinema.exchange_to(&ada, &exchanged, &second, &["A7", "A8"]).await;
    cinema.cancel(&ada, &exchanged).await.expect(200);
    cinema.until_status(&ada, &exchanged, "REFUNDED").await;
    // Disputed, exchanged for the same price, and then the dispute is lost.
    let disputed = cinema.reserve(&ada, &["D1"]).await;
    cinema.pay(&ada, &disputed, "pm_card_createDispute").await.expect(201);
    cinema.until_confirmed(&ada, &disputed).await;
    cinema.until_sql("select count(*) from payment.disputes where status = 'OPEN'", 1).await;
    cinema.exchange_to(&ada, &disputed, &second, &["A9"]).await;
    cinema.switch(Switches { decide_disputes: Some(Verdict::Lost), ..Switches::default() });
    cinema.until_sql("select count(*) from payment.disputes where status = 'LOST'", 1).await;
    cinema.until_idle().await;

    let mut paid = Vec::new();
    for reservation in [&moved, &fewer, &old, &new, &half, &kept, &exchanged, &disputed] {
        paid.push(cinema.payment_details(reservation).await);
    }
    let [moved, fewer, old, new, half, kept, exchanged, disputed] = &paid[..] else { unreachable!() };
    let expected = [
        (&first, Expected { payments: &[fewer, half, kept], tickets: 1 }),
        (&second, Expected { payments: &[old, new, exchanged, disputed], tickets: 3 }),
        (&third, Expected { payments: &[moved], tickets: 1 }),
    ];
    let all = Expected { payments: &paid.iter().collect::<Vec<_>>(), tickets: 5 }.row();
    assert_eq!(disputed["disputes"][0]["status"], "LOST");

    let check_reports = async || {
        let report = cinema.revenue("showtime").await;
        assert_eq!(report["totals"], json!([all]), "{report}");
        let rows = report["items"].as_array().unwrap();
        assert_eq!(rows.len(), expected.len(), "{report}");
        let movies = cinema.revenue("movie").await;
        for (showtime, expected) in &expected {
            let row = rows.iter().find(|row| row["showtimeId"] == json!(showtime)).unwrap();
            assert_eq!(sums(row), expected.row(), "{report}");
            let movies = movies["items"].as_array().unwrap();
            let movie = movies.iter().find(|movie| movie["movieId"] == row["movieId"]).unwrap();
            assert_eq!(sums(movie), expected.row());
        }
        let days = cinema.revenue("day").await;
        let tickets = days["items"].as_array().unwrap().iter().map(|day| day["tickets"].as_i64().unwrap());
        assert_eq!((tickets.sum::<i64>(), &days["totals"]), (5, &json!([all])));
    };
    check_reports().await;
    // Payment handles every event of reservation again as if for the first time.
    let again = ["events", "replay", "--from", "1", "--subject", "reservation.>", "--again", "payment"];
    expect_success(&marquee(&cinema, &again));
    cinema.until_idle().await;
    check_reports().await;
    for sql in [
        "update reservation.reservations set updated_at = updated_at - interval '1 hour'",
        "update payment.payments set updated_at = updated_at - interval '1 hour', attention = null",
    ] {
        sqlx::query(sql).execute(&cinema.database).await.unwrap();
    }
    let checked = expect_success(&marquee(&cinema, &["fsck"]));
    assert!(checked.contains("5 seats sold, 5 tickets counted"), "{checked}");
    cinema.close().await;
}
