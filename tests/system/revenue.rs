//! What staff see of money by REST: revenue from the ledger, payments that need a look, and who may see them.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::cinema::TestCinema;

fn euros(amount: i64) -> Value {
    json!({"amount": amount, "currency": "EUR"})
}

fn day(away: i64) -> String {
    let day = OffsetDateTime::now_utc() + time::Duration::days(away);
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
    let (kept, given) = (cinema.reserve(&ada, &["A1"]).await, cinema.reserve(&ada, &["A2"]).await);
    for reservation in [&kept, &given] {
        cinema.pay(&ada, reservation, "pm_card_visa").await.expect(201);
        cinema.until_confirmed(&ada, reservation).await;
    }
    cinema.cancel(&ada, &given).await.expect(200);
    cinema.until_status(&ada, &given, "REFUNDED").await;

    let report = async |query: &str| {
        let path = format!("/v1/admin/reports/revenue?from={}&to={}{query}", day(-1), day(1));
        cinema.call(reqwest::Method::GET, &path, Some(&owner), None).await.expect(200)
    };
    let days = report("").await;
    let whole = json!({"gross": euros(4800), "refunded": euros(1200), "disputed": euros(0), "net": euros(3600), "tickets": 3});
    assert_eq!(days["totals"], json!([whole]), "{days}");
    let mut sum = 0;
    for line in days["items"].as_array().unwrap() {
        assert!(line["day"].as_str().is_some_and(|text| text.len() == 10), "{line}");
        sum += line["net"]["amount"].as_i64().unwrap();
    }
    assert_eq!(sum, 3600);
    let showtimes = report("&by=showtime&timeZone=Pacific/Auckland").await;
    assert_eq!((showtimes["total"].as_i64(), &showtimes["totals"]), (Some(2), &json!([whole])));
    let items = showtimes["items"].as_array().unwrap();
    let of = |showtime: &str| items.iter().find(|line| line["showtimeId"] == showtime).unwrap().clone();
    assert_eq!((of(&first)["net"].clone(), of(&first)["tickets"].clone()), (euros(2400), json!(2)));
    assert_eq!(of(&cinema.showtime)["refunded"], euros(1200));
    assert_eq!(of(&cinema.showtime)["tickets"], 1);
    let movies = report("&by=movie&pageSize=1").await;
    assert_eq!((movies["total"].as_i64(), movies["items"].as_array().map(Vec::len)), (Some(2), Some(1)));
    assert_eq!(movies["items"][0]["movieTitle"], "The Long Night");
    let none = format!("/v1/admin/reports/revenue?from={}&to={}", day(-9), day(-8));
    let none = cinema.call(reqwest::Method::GET, &none, Some(&owner), None).await.expect(200);
    assert_eq!((&none["items"], &none["totals"]), (&json!([]), &json!([])));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_is_shown_to_staff_alone_and_bad_questions_are_told_apart() {
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
