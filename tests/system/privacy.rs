//! A person has their data, and has it erased: what is exported, when an erasure is refused, and that nothing of the person is left
//! in any table or mail, also after a replay of all events.

mod exports;
mod refusals;
mod terms;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::cinema::{Answer, Person, TestCinema};
use crate::operator::{expect_success, marquee, until_all_is_handled};
use crate::revenue::day;

/// A name and an address that nothing else contains.
pub const NAME: &str = "Zebedea Quillfeather";
pub const ADDRESS: &str = "Zebedea.Quill@privacy.example";
pub const PASSWORD: &str = "correct horse";

impl TestCinema {
    /// Opens an account whose address is proven.
    pub async fn register_zebedea(&self) -> Person {
        let body = json!({"email": ADDRESS, "password": PASSWORD, "name": NAME});
        self.call(Method::POST, "/v1/auth/register", None, Some(body)).await.expect(201);
        let verify = "update auth.users set verified_at = now() where email = $1";
        sqlx::query(verify).bind(ADDRESS).execute(&self.database).await.unwrap();
        self.log_in(ADDRESS, PASSWORD).await
    }

    pub async fn erase(&self, who: &Person, body: Value) -> Answer {
        self.call(Method::DELETE, "/v1/me", Some(who), Some(body)).await
    }

    /// Buys a seat as a new guest with this address and name.
    pub async fn guest_buys(&self, seat: &str, email: &str) -> (Person, String) {
        let guest = self.guest().await;
        let order = self.reserve(&guest, &[seat]).await;
        let customer = json!({"email": email, "name": NAME});
        let path = format!("/v1/reservations/{order}/customer");
        self.call(Method::PUT, &path, Some(&guest), Some(customer)).await.expect(200);
        self.pay(&guest, &order, "pm_card_visa").await.expect(201);
        self.until_confirmed(&guest, &order).await;
        (guest, order)
    }

    /// The tables of all domains, and the files of mails, that contain one of these texts, in any case.
    pub async fn traces(&self, texts: &[&str]) -> Vec<String> {
        let tables: Vec<String> = sqlx::query_scalar(
            "select format('%I.%I', table_schema, table_name) from information_schema.tables
             where table_type = 'BASE TABLE' and table_schema in ('auth', 'movie', 'reservation', 'payment', 'notification')",
        )
        .fetch_all(&self.database)
        .await
        .unwrap();
        assert!(tables.len() > 30, "only {tables:?}");
        let mut found = Vec::new();
        for table in tables {
            // Binary columns are shown in hexadecimal digits.
            let query = format!(
                "select count(*) from {table} as found where exists (
                   select from unnest($1::text[]) as needle where position(lower(needle) in lower(found::text)) > 0
                     or position(encode(convert_to(needle, 'UTF8'), 'hex') in found::text) > 0)"
            );
            let rows: i64 =
                sqlx::query_scalar(AssertSqlSafe(query)).bind(texts).fetch_one(&self.database).await.unwrap();
            if rows > 0 {
                found.push(format!("{rows} rows of {table}"));
            }
        }
        for file in std::fs::read_dir(self.folder.path().join("mail")).unwrap() {
            let path = file.unwrap().path();
            let mail = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).to_lowercase();
            if texts.iter().any(|text| mail.contains(&text.to_lowercase())) {
                found.push(path.display().to_string());
            }
        }
        found
    }

    /// Waits until nothing contains the texts.
    pub async fn until_no_traces(&self, texts: &[&str]) {
        let began = std::time::Instant::now();
        loop {
            let found = self.traces(texts).await;
            if found.is_empty() {
                return;
            }
            assert!(began.elapsed().as_secs() < 45, "traces are left: {found:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        }
    }

    pub async fn until_no_mail_waits(&self) {
        self.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    }

    /// Every report of today and the days around it.
    async fn all_reports(&self) -> Vec<Value> {
        let owner = self.owner();
        let (from, to) = (day(-1), day(1));
        let mut reports = Vec::new();
        for kind in ["revenue", "tickets", "sales"] {
            let path = format!("/v1/admin/reports/{kind}?from={from}&to={to}");
            reports.push(self.get(&path, &owner).await.expect(200));
        }
        let span = "from=2020-01-01T00:00:00Z&to=2200-01-01T00:00:00Z";
        let path = format!("/v1/admin/reports/occupancy?{span}");
        reports.push(self.get(&path, &owner).await.expect(200));
        reports
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_person_leaves_no_trace_and_reports_stay_to_the_cent() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let zebedea = cinema.register_zebedea().await;
    let kept = cinema.buy(&zebedea, &["A1", "A2"]).await;
    let returned = cinema.buy(&zebedea, &["B1"]).await;
    cinema.cancel(&zebedea, &returned).await.expect(200);
    cinema.until_status(&zebedea, &returned, "REFUNDED").await;
    let buyer = json!({"name": "Inkwell GmbH", "address": ["Lindenallee 5"]});
    cinema.post(&format!("/v1/reservations/{kept}/invoice"), &zebedea, buyer).await.expect(200);
    cinema.until_receipts(&zebedea, &kept, 1).await;
    cinema.until_receipts(&zebedea, &returned, 2).await;
    // An answer to staff has the address, too.
    cinema
        .call(Method::POST, "/v1/auth/login", None, Some(json!({"email": ADDRESS, "password": "wrong one"})))
        .await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;
    let before = cinema.all_reports().await;
    assert!(!cinema.traces(&[ADDRESS]).await.is_empty() && !cinema.traces(&[NAME]).await.is_empty());

    cinema.erase(&zebedea, json!({"password": PASSWORD})).await.expect(204);
    cinema
        .until("the token is void", async || cinema.get("/v1/me", &zebedea).await.status.as_u16() == 401)
        .await;
    let login = json!({"email": ADDRESS, "password": PASSWORD});
    assert_eq!(cinema.call(Method::POST, "/v1/auth/login", None, Some(login)).await.status, 401);
    // That failed login is recorded under the address again, as for any address without an account.
    sqlx::query("update auth.audit set details = details - array['email', 'previousEmail']")
        .execute(&cinema.database)
        .await
        .unwrap();
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.all_reports().await, before);

    // The order stays without the person, and the invoice with its buyer.
    let order = cinema.reservation(&owner, &kept).await;
    assert_eq!((&order["status"], &order["email"]), (&json!("CONFIRMED"), &json!("")));
    assert_eq!(order.get("customer"), None, "{order}");
    let receipts = cinema.until_receipts(&owner, &kept, 1).await;
    assert_eq!(receipts[0]["buyer"]["name"], "Inkwell GmbH");
    let mails = cinema.get(&format!("/v1/notifications?reservationId={kept}"), &owner).await.expect(200);
    let mail = &mails["items"][0];
    assert_eq!(mail.get("recipient"), None, "{mail}");
    let resend = format!("/v1/notifications/{}/resend", mail["id"].as_str().unwrap());
    let refused = cinema.post(&resend, &owner, json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.code()), (409, "notification-erased"), "{}", refused.text);
    let whole = "select count(*) from payment.provider_events where body::jsonb ? 'data'";
    assert_eq!(cinema.count(whole).await, 0, "the provider's events have amounts only");
    let of_no_payment = "select count(*) from payment.provider_events where payment_id is null";
    assert!(cinema.count(of_no_payment).await > 0, "charges name no payment of ours");
    let amounts =
        "select count(*) from payment.provider_events where body::jsonb #>> '{amounts,currency}' = 'eur'";
    assert!(cinema.count(amounts).await > 0);
    let audit = cinema.get("/v1/admin/audit?kind=USER_ERASED", &owner).await.expect(200);
    assert_eq!(audit["items"][0]["details"], json!({"cause": "OWNER"}));

    // A replay of everything brings nothing back.
    expect_success(&marquee(&cinema, &["events", "replay", "--from", "1", "--subject", ">"]));
    for consumer in ["reservation", "payment", "notification", "auth"] {
        let replay = ["events", "replay", "--from", "1", "--subject", ">", "--again", consumer];
        expect_success(&marquee(&cinema, &replay));
    }
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.traces(&[ADDRESS, NAME]).await, Vec::<String>::new());
    cinema.until_no_mail_waits().await;
    assert_eq!(cinema.all_reports().await, before);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_during_an_erasure_finishes_it_when_it_is_back() {
    let mut cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    cinema.buy(&zebedea, &["A1"]).await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "notification").unwrap();
    hosts.remove(at).kill();
    cinema.erase(&zebedea, json!({"password": PASSWORD})).await.expect(204);
    cinema.until_sql("select count(*) from payment.erased_users", 1).await;
    cinema.until_sql("select count(*) from reservation.reservations where email <> ''", 0).await;
    let of_the_host_that_is_away = "select count(*) from notification.mails where recipient is not null";
    assert!(cinema.count(of_the_host_that_is_away).await > 0);
    cinema.start_another("notification").await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_change_in_flight_stored_of_an_erased_person_is_removed() {
    let mut cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    cinema.buy(&zebedea, &["A1"]).await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;
    cinema.erase(&zebedea, json!({"password": PASSWORD})).await.expect(204);
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    // As a request does that was checked before the erasure and is committed after it.
    sqlx::query("update reservation.reservations set email = $1")
        .bind(ADDRESS)
        .execute(&cinema.database)
        .await
        .unwrap();
    // It is looked for every hour, and at the start.
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guests_orders_that_went_to_an_account_are_erased_with_it() {
    let cinema = TestCinema::open().await;
    let other = "Quillfeather.at.work@privacy.example";
    let (guest, _) = cinema.guest_buys("A1", other).await;
    let zebedea = cinema.register_zebedea().await;
    cinema.post("/v1/reservations/merge", &zebedea, json!({"token": guest.token})).await.expect(200);
    cinema.until_sql("select count(*) from auth.audit where kind = 'ORDERS_MERGED'", 1).await;
    until_all_is_handled(&cinema).await;
    cinema.until_no_mail_waits().await;
    cinema.erase(&zebedea, json!({"password": PASSWORD})).await.expect(204);
    cinema.until_no_traces(&[ADDRESS, NAME, other]).await;
    expect_success(&marquee(&cinema, &["events", "replay", "--from", "1", "--subject", ">"]));
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.traces(&[ADDRESS, NAME, other]).await, Vec::<String>::new());
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_about_an_erased_person_are_deleted() {
    let cinema = TestCinema::open().await;
    let zebedea = cinema.register_zebedea().await;
    let me = cinema.get("/v1/me", &zebedea).await.expect(200);
    // Its seats are no list, so that its consumers park it.
    let payload = json!({"userId": me["id"], "email": ADDRESS, "seats": 7}).to_string();
    let event = bus::event::Outgoing {
        id: uuid::Uuid::now_v7(),
        subject: "reservation.created".into(),
        source: "/marquee/reservation".into(),
        time: bus::contract::Timestamp::wall_clock(),
        payload: payload.into(),
        context: bus::Context::new(),
    };
    event.send(&cinema.cinema().bus).await.unwrap().await.unwrap();
    let parked = async || {
        let letters = cinema.get("/v1/admin/dead-letters", &cinema.owner()).await.expect(200);
        letters["total"].as_i64().unwrap()
    };
    cinema.until("payment and notification have parked it", async || parked().await == 2).await;
    cinema.erase(&zebedea, json!({"password": PASSWORD})).await.expect(204);
    cinema.until("the dead letters are deleted", async || parked().await == 0).await;
    cinema.until_no_traces(&[ADDRESS, NAME]).await;
    cinema.close().await;
}
