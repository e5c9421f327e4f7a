//! The reports of tickets and of sales, made from the ticket log: they agree with the ledger, and the files with the JSON.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Answer, Person, Plan, TestCinema, id};
use crate::operator::until_all_is_handled;
use crate::revenue::{day, euros};

impl TestCinema {
    async fn report(&self, kind: &str, query: &str) -> Answer {
        let path = format!("/v1/admin/reports/{kind}?from={}&to={}&pageSize=500{query}", day(-1), day(40));
        self.get(&path, &self.owner()).await
    }

    /// The lines of a report as CSV, by column.
    async fn report_file(&self, kind: &str, query: &str) -> Vec<BTreeMap<String, String>> {
        let answer = self.report(kind, &format!("{query}&format=csv")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/csv; charset=utf-8"));
        assert!(answer.headers["content-disposition"].to_str().unwrap().contains(&format!("{kind}-")));
        let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
        reader.deserialize().collect::<Result<_, _>>().unwrap()
    }

    async fn order_types(&self, who: &Person, tickets: &[(&str, &str)]) -> String {
        let tickets: Vec<Value> =
            tickets.iter().map(|(seat, of)| json!({"seat": seat, "type": of})).collect();
        let body = json!({"showtimeId": self.showtime, "tickets": tickets});
        let order = id(&self.post("/v1/reservations", who, body).await.expect(201));
        self.pay(who, &order, "pm_card_visa").await.expect(201);
        self.until_confirmed(who, &order).await;
        order
    }

    async fn move_to(&self, who: &Person, order: &str, showtime: &str, seats: &[&str]) -> Value {
        let body = json!({"showtimeId": showtime, "seats": seats});
        let answer = self.post(&format!("/v1/reservations/{order}/exchange"), who, body).await;
        assert!(answer.status.is_success(), "{}", answer.text);
        answer.body
    }

    async fn refund_part(&self, who: &Person, order: &str, amount: i64) {
        let payment = id(&self.reservation(who, order).await["payment"]);
        let body = json!({"amount": amount, "reason": "the sound was off"});
        self.post(&format!("/v1/payments/{payment}/refund"), &self.owner(), body).await.expect(202);
    }
}

/// The amount of a field of money.
fn minor(of: &Value) -> i64 {
    of["amount"].as_i64().unwrap_or_else(|| panic!("no money in {of}"))
}

/// Cents of a decimal amount.
fn cents(text: &str) -> i64 {
    let (whole, fraction) = text.split_once('.').unwrap();
    assert_eq!(fraction.len(), 2, "{text}");
    format!("{whole}{fraction}").parse().unwrap()
}

fn taxed(sums: &Value) -> i64 {
    let taxes = sums["taxes"].as_array().unwrap().iter();
    taxes.map(|tax| tax["net"].as_i64().unwrap() + tax["tax"].as_i64().unwrap()).sum()
}

/// Sales of every kind and changes of every kind, all of them settled.
async fn sell_and_change(cinema: &mut TestCinema) {
    let ada = cinema.register().await;
    cinema.create_prices().await;
    cinema.showtime = cinema.schedule_by_card(&["SSSSSSSSSS", "WWSSSSSSSS"], 24 * 3600).await;
    let dear = cinema.schedule_at(&["SSSSSSSS"], 9 * 24 * 3600, [2000, 800]).await;
    let free = cinema.schedule_at(&["SSSS"], 16 * 24 * 3600, [0, 0]).await;
    let family = cinema
        .order_types(&ada, &[("A1", "ADULT"), ("A2", "CHILD"), ("A3", "STUDENT"), ("A4", "CHILD")])
        .await;
    cinema.refund_part(&ada, &family, 333).await;
    let companion = cinema.order_types(&ada, &[("B1", "DISABLED"), ("B3", "COMPANION")]).await;
    // Fewer seats, one of which stays; then all is cancelled.
    let fewer = cinema.order_types(&ada, &[("A5", "ADULT"), ("A6", "ADULT"), ("A7", "CHILD")]).await;
    let showtime = cinema.showtime.clone();
    cinema.move_to(&ada, &fewer, &showtime, &["A5", "A8"]).await;
    cinema.cancel(&ada, &fewer).await.expect(200);
    // Dearer, by a new order.
    let old = cinema.order_types(&ada, &[("A9", "ADULT")]).await;
    let new = id(&cinema.move_to(&ada, &old, &dear, &["A1"]).await);
    cinema.pay(&ada, &new, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &new).await;
    cinema.until_status(&ada, &old, "CANCELLED").await;
    // To another show for less, and staff give back more than the policy.
    let moved = cinema.order_types(&ada, &[("B4", "ADULT"), ("B5", "ADULT")]).await;
    cinema.move_to(&ada, &moved, &dear, &["A3"]).await;
    cinema.refund_part(&ada, &moved, 100).await;
    cinema.cancel(&ada, &companion).await.expect(200);
    // Free ones: one is kept.
    cinema.showtime = free;
    for seats in [["A1", "A2"], ["A3", "A4"]] {
        let order = cinema.reserve(&ada, &seats).await;
        let body = json!({"reservationId": order});
        cinema.post("/v1/payments", &ada, body).await.expect(201);
        cinema.until_confirmed(&ada, &order).await;
        if seats[0] == "A1" {
            cinema.cancel(&ada, &order).await.expect(200);
        }
    }
    cinema.until_published().await;
    until_all_is_handled(cinema).await;
    cinema.until_sql("select count(*) from payment.refunds where status = 'REQUESTED'", 0).await;
    cinema.until_published().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_agree_with_the_ledger_to_the_cent_and_the_files_with_the_reports() {
    let mut cinema = TestCinema::open_with(Plan::default().with("REFUND_PERCENT", 50)).await;
    sell_and_change(&mut cinema).await;

    let revenue = format!("/v1/admin/reports/revenue?from={}&to={}", day(-1), day(1));
    let ledger = cinema.get(&revenue, &cinema.owner()).await.expect(200)["totals"][0].clone();
    let sales = cinema.report("sales", "").await.expect(200);
    let total = &sales["totals"][0];
    assert!(minor(&ledger["refunded"]) > 0);
    assert_eq!((&total["gross"], &total["returned"]), (&ledger["gross"], &ledger["refunded"]), "{sales}");
    assert_eq!((&total["net"], taxed(total)), (&ledger["net"], minor(&ledger["net"])), "{sales}");
    let lines = sales["items"].as_array().unwrap();
    for key in ["gross", "returned", "net", "fees"] {
        assert_eq!(lines.iter().map(|line| minor(&line[key])).sum::<i64>(), minor(&total[key]), "{key}");
    }
    let free: Vec<&Value> = lines.iter().filter(|line| line["paidBy"] == "NONE").collect();
    let tickets = |key: &str| free.iter().map(|line| line[key].as_i64().unwrap()).sum::<i64>();
    assert_eq!((tickets("sold"), tickets("ended")), (4, 2), "{sales}");
    assert!(free.iter().all(|line| line["gross"] == euros(0)));

    let expected = json!({"full": 5, "reduced": 3, "free": 0, "total": 8});
    for by in ["movie", "showtime", "day", "type"] {
        let report = cinema.report("tickets", &format!("&by={by}")).await.expect(200);
        let total = &report["totals"][0];
        assert_eq!((&total["admissions"], &total["net"]), (&expected, &ledger["net"]), "{by}: {report}");
        assert_eq!(total["returned"], ledger["refunded"], "{by}: {report}");
        assert_eq!(taxed(total), minor(&total["gross"]) + minor(&total["fees"]), "{by}: {report}");
        let lines = report["items"].as_array().unwrap();
        for key in ["gross", "fees", "returned", "net"] {
            assert_eq!(
                lines.iter().map(|line| minor(&line[key])).sum::<i64>(),
                minor(&total[key]),
                "{by} {key}"
            );
        }
        let file = cinema.report_file("tickets", &format!("&by={by}")).await;
        assert_eq!(file.len(), lines.len());
        for (row, line) in file.iter().zip(lines) {
            for key in ["gross", "fees", "returned", "net"] {
                assert_eq!(cents(&row[key]), minor(&line[key]), "{by} {key}");
            }
            let counts = ["full", "reduced", "free"].map(|key| (row[key].clone(), &line["admissions"][key]));
            assert!(counts.iter().all(|(text, count)| json!(text.parse::<i64>().unwrap()) == **count));
            for tax in line["taxes"].as_array().unwrap() {
                let rate = tax["rate"].as_i64().unwrap() / 1000;
                assert_eq!(json!(cents(&row[&format!("tax {rate}%")])), tax["tax"]);
                assert_eq!(json!(cents(&row[&format!("net {rate}%")])), tax["net"]);
            }
            let names =
                ["week", "day", "movieId", "movieTitle", "showtimeId", "startsAt", "type", "currency"];
            for name in names.iter().filter(|name| !line[**name].is_null()) {
                assert_eq!(json!(row[*name]), line[*name], "{by} {name}");
            }
        }
    }
    let file = cinema.report_file("sales", "").await;
    for (row, line) in file.iter().zip(lines) {
        assert_eq!((json!(row["day"]), json!(row["paidBy"])), (line["day"].clone(), line["paidBy"].clone()));
        for key in ["gross", "returned", "net", "fees"] {
            assert_eq!(cents(&row[key]), minor(&line[key]), "{key}");
        }
    }
    assert_eq!(file.len(), lines.len());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_line_is_of_one_film_week_and_of_one_show() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let first = cinema.showtime.clone();
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.showtime = cinema.schedule(&["SS"], 8 * 24 * 3600).await;
    cinema.buy(&ada, &["A1"]).await;
    let report = cinema.report("tickets", "&by=showtime&timeZone=Europe/Berlin").await.expect(200);
    let of = |showtime: &str| {
        let lines = report["items"].as_array().unwrap();
        lines.iter().find(|line| line["showtimeId"] == showtime).unwrap().clone()
    };
    let (near, far) = (of(&first), of(&cinema.showtime));
    assert_eq!((&near["admissions"]["full"], &near["gross"]), (&json!(2), &euros(2400)));
    assert_eq!((&far["admissions"]["total"], &far["movieTitle"]), (&json!(1), &json!("The Long Night")));
    let week = |line: &Value| {
        let format = time::macros::format_description!("[year]-[month]-[day]");
        time::Date::parse(line["week"].as_str().unwrap(), &format).unwrap()
    };
    assert_eq!([week(&near).weekday(), week(&far).weekday()], [time::Weekday::Thursday; 2]);
    assert!((7..=14).contains(&(week(&far) - week(&near)).whole_days()));
    let page = cinema.report("tickets", "&by=showtime&page=2").await.expect(200);
    assert_eq!((page["items"].as_array().unwrap().len(), page["total"].as_i64()), (0, Some(2)));
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_are_for_staff_and_of_at_most_fifty_three_weeks() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    for kind in ["tickets", "sales"] {
        let path = |query: &str| format!("/v1/admin/reports/{kind}?{query}");
        let year = path("from=2026-01-01&to=2027-01-06");
        assert_eq!(cinema.call(Method::GET, &year, None, None).await.status, 401);
        assert_eq!(cinema.get(&year, &ada).await.status, 403);
        assert_eq!(cinema.get(&year, &owner).await.expect(200)["items"], json!([]));
        for format in ["", "&format=csv"] {
            let long = cinema.get(&path(&format!("from=2026-01-01&to=2027-01-07{format}")), &owner).await;
            assert_eq!((long.status.as_u16(), long.code()), (422, "report-range"), "{}", long.text);
            assert_eq!(
                (&long.body["errors"][0]["field"], &long.body["errors"][0]["max"]),
                (&json!("to"), &json!(371))
            );
        }
        for (query, status, field) in [
            ("from=2026-02-01&to=2026-01-01", 422, "to"),
            ("from=2026-02-30&to=2026-03-01", 422, "from"),
            ("from=2026-01-01&to=2026-01-02&timeZone=Mars/Olympus", 422, "timeZone"),
            ("from=2026-01-01&to=2026-01-02&pageSize=501", 422, "pageSize"),
            ("from=2026-01-01&to=2026-01-02&format=xls", 400, "format"),
        ] {
            let refused = cinema.get(&path(query), &owner).await;
            assert_eq!(refused.status.as_u16(), status, "{query}: {}", refused.text);
            assert_eq!(refused.body["errors"][0]["field"], field, "{query}: {}", refused.text);
        }
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_number_the_tickets_of_a_showtime_without_a_gap() {
    let mut cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS", "SSSSSSSSSS"], 24 * 3600).await;
    let mut people = Vec::new();
    for _ in 0..5 {
        people.push(cinema.register().await);
    }
    let sale = async |at: usize| {
        let (row, number) = (if at < 5 { 'A' } else { 'B' }, at % 5 * 2 + 1);
        let who = &people[at % 5];
        let order = cinema.buy(who, &[&format!("{row}{number}"), &format!("{row}{}", number + 1)]).await;
        if at.is_multiple_of(3) {
            cinema.cancel(who, &order).await.expect(200);
        }
    };
    futures::future::join_all((0..10).map(sale)).await;
    let numbers: Vec<i64> = sqlx::query_scalar("select number from reservation.tickets order by number")
        .fetch_all(&cinema.database)
        .await
        .unwrap();
    assert_eq!(numbers, (1..=20).collect::<Vec<i64>>());
    assert_eq!(cinema.count("select count(*) from reservation.ticket_ends").await, 8);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_without_tickets_get_them_once_and_end_like_others() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1", "A2"]).await;
    let other = cinema.buy(&ada, &["B1"]).await;
    // As a host of the version before leaves them.
    for sql in ["delete from reservation.tickets", "update reservation.showtimes set tickets = 0"] {
        sqlx::query(sql).execute(&cinema.database).await.unwrap();
    }
    cinema.cancel(&ada, &other).await.expect(200);
    let issue = "select reservation.issue_missing_tickets()";
    assert_eq!([cinema.count(issue).await, cinema.count(issue).await], [2, 0]);
    let sold = cinema.report("tickets", "").await.expect(200);
    assert_eq!(
        (&sold["totals"][0]["admissions"]["full"], &sold["totals"][0]["net"]),
        (&json!(2), &euros(2400))
    );
    cinema.cancel(&ada, &order).await.expect(200);
    cinema.until_status(&ada, &order, "REFUNDED").await;
    let sold = cinema.report("tickets", "").await.expect(200);
    let total = &sold["totals"][0];
    assert_eq!(
        (&total["admissions"]["total"], &total["returned"], &total["net"]),
        (&json!(0), &euros(2400), &euros(0))
    );
    cinema.stop_hosts().await;
}
