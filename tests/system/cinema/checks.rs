//! What the tests observe: statuses, seats, money at the provider and events; and the checks of `close()`.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::AssertSqlSafe;

use super::{Person, TestCinema};
use crate::harness::events_of;

/// Long enough for a busy machine; only a failing test waits so long.
const MAX_WAIT: Duration = Duration::from_secs(45);

impl TestCinema {
    /// Waits, by `?wait=`, until the reservation has this status. Panics with every answer when it never gets it.
    pub async fn until_status(&self, who: &Person, reservation: &str, status: &str) -> Value {
        let began = Instant::now();
        let mut seen = Vec::new();
        let mut version = 0;
        while began.elapsed() < MAX_WAIT {
            let path = format!("/v1/reservations/{reservation}?wait=5&since={version}");
            match self.try_call(Method::GET, &path, Some(who), None, "").await {
                Ok(answer) if answer.status == StatusCode::OK => {
                    version = answer.body["version"].as_i64().unwrap();
                    seen.push(answer.text);
                    if answer.body["status"] == status {
                        return answer.body;
                    }
                    continue;
                }
                Ok(answer) => seen.push(answer.text),
                Err(error) => seen.push(error.to_string()),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{reservation} did not become {status}; the answers were {seen:#?}");
    }

    pub async fn until_confirmed(&self, who: &Person, reservation: &str) -> Value {
        self.until_status(who, reservation, "CONFIRMED").await
    }

    /// The status of a seat in the seat map.
    pub async fn seat(&self, seat: &str) -> String {
        let map = self
            .call(Method::GET, &format!("/v1/showtimes/{}/seats", self.showtime), None, None)
            .await
            .expect(200);
        let seats = map["seats"].as_array().unwrap();
        let found =
            seats.iter().find(|s| s["id"] == seat).unwrap_or_else(|| panic!("no seat {seat} in {map}"));
        found["status"].as_str().unwrap().to_owned()
    }

    /// The money that the provider has for a reservation: captured less refunded, in its minor units.
    pub async fn captured(&self, reservation: &str) -> i64 {
        let sandbox = self.cinema().sandbox.as_ref().unwrap().url();
        let list = |path: &str| {
            let request = self.http.get(format!("{sandbox}{path}")).bearer_auth("sk_test_marquee");
            async move { request.send().await.unwrap().json::<Value>().await.unwrap() }
        };
        let intents = list("/v1/payment_intents?limit=100").await;
        let mut net = 0;
        for intent in intents["data"].as_array().unwrap() {
            if intent["metadata"]["reservation_id"] == reservation && intent["status"] == "succeeded" {
                net += intent["amount_received"].as_i64().unwrap();
                let refunds =
                    list(&format!("/v1/refunds?limit=100&payment_intent={}", intent["id"].as_str().unwrap()))
                        .await;
                let refunded = refunds["data"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|refund| refund["status"] == "succeeded");
                net -= refunded.map(|refund| refund["amount"].as_i64().unwrap()).sum::<i64>();
            }
        }
        net
    }

    /// Waits until the provider has this amount for a reservation.
    pub async fn until_captured(&self, reservation: &str, wanted: i64) {
        let began = Instant::now();
        loop {
            let captured = self.captured(reservation).await;
            if captured == wanted {
                return;
            }
            assert!(began.elapsed() < MAX_WAIT, "the provider has {captured}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a query returns this number.
    pub async fn until_sql(&self, sql: &str, wanted: i64) {
        let began = Instant::now();
        let mut last = None;
        while began.elapsed() < MAX_WAIT {
            last = Some(
                sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.to_owned())).fetch_one(&self.database).await,
            );
            if matches!(&last, Some(Ok(found)) if *found == wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{sql} did not become {wanted}; the last result was {last:?}");
    }

    /// Waits until `fact` is true.
    pub async fn until(&self, what: &str, fact: impl AsyncFn() -> bool) {
        let began = Instant::now();
        while !fact().await {
            assert!(began.elapsed() < MAX_WAIT, "not within {MAX_WAIT:?}: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.database).await.unwrap()
    }

    /// Waits until every committed event is published.
    pub async fn until_published(&self) {
        for domain in actors::migrations::schemas() {
            self.until_sql(&format!("select count(*) from {}.unsent", domain.name), 0).await;
        }
    }

    /// Every committed event of one subject, once each, ordered by id.
    pub async fn events(&self, subject: &str) -> Vec<Value> {
        self.until_published().await;
        let stored = events_of(&self.cinema().bus, subject).await;
        let by_id: std::collections::BTreeMap<String, Value> =
            stored.into_iter().map(|event| (event.id, event.payload)).collect();
        by_id.into_values().collect()
    }

    /// The ticket log agrees with the seats, the orders' money and the refunds, and its numbers have no gap.
    async fn check_tickets(&self) {
        for sql in [
            "select (select count(*) from reservation.claimed_seats where status = 'SOLD')
                  - (select count(*) from reservation.tickets) + (select count(*) from reservation.ticket_ends)",
            "select count(*) from reservation.tickets as t
             where not exists (select from reservation.ticket_ends as e where (e.showtime_id, e.number) = (t.showtime_id, t.number))
               and not exists (select from reservation.claimed_seats as c
                 where (c.showtime_id, c.seat, c.reservation_id) = (t.showtime_id, t.seat, t.reservation_id) and c.status = 'SOLD')",
            "select (select coalesce(sum(total), 0) from reservation.reservations where status = 'CONFIRMED')::int8
                  - (select coalesce(sum(price + fee), 0) from reservation.tickets as t
                     where not exists (select from reservation.ticket_ends as e
                       where (e.showtime_id, e.number) = (t.showtime_id, t.number)))::int8",
            "select (select coalesce(sum((checkpoint #>> '{captured,amount}')::int8
                       + coalesce((checkpoint #>> '{credit,waived,amount}')::int8, 0)), 0)
                     from reservation.reservations where checkpoint ? 'captured')::int8
                  - (select coalesce(sum((capture #>> '{total,amount}')::int8), 0) from reservation.reservations
                     cross join jsonb_array_elements(coalesce(checkpoint -> 'credited', '[]')) as capture)::int8
                  - (select coalesce(sum(price + fee), 0) from reservation.tickets)::int8
                  + (select coalesce(sum(carried), 0) from reservation.ticket_ends)::int8",
            "select (select coalesce(sum((part #>> '{refund,total,amount}')::int8), 0) from reservation.reservations
                     cross join jsonb_array_elements(coalesce(checkpoint -> 'parts', '[]')) as part
                     where checkpoint ? 'captured')::int8
                  + (select coalesce(sum((checkpoint #>> '{state,refund,total,amount}')::int8), 0)
                     from reservation.reservations where checkpoint ? 'captured')::int8
                  - (select coalesce(sum(returned), 0) from reservation.ticket_ends)::int8
                  - (select coalesce(sum(returned), 0) from reservation.ticket_refunds)::int8",
            "select count(*) from reservation.showtimes as show
             where tickets <> (select coalesce(max(number), 0) from reservation.tickets where showtime_id = show.id)
                or tickets <> (select count(*) from reservation.tickets where showtime_id = show.id)",
        ] {
            assert_eq!(self.count(sql).await, 0, "the ticket log disagrees: {sql}");
        }
    }

    /// Ends the test: everything must be published, no dead letter may be left, and the rows must agree.
    pub async fn close(mut self) {
        self.until_published().await;
        let dead_letters = self.cinema().bus.jetstream.get_stream(bus::topology::DLQ).await.unwrap();
        assert_eq!(dead_letters.cached_info().state.messages, 0, "there are dead letters");
        // There is a claim for each seat of a held or sold reservation, and no other.
        self.until_sql(
            "select (select count(*) from reservation.claims)
                  - (select coalesce(sum(cardinality(seats)), 0) from reservation.reservations
                     where status in ('PENDING', 'CONFIRMED'))",
            0,
        )
        .await;
        assert_eq!(
            self.count(
                "select count(*) from reservation.claims c join reservation.reservations r on r.id = c.reservation_id
                 where r.status not in ('PENDING', 'CONFIRMED') or c.showtime_id <> r.showtime_id",
            )
            .await,
            0,
            "claims disagree with their reservations"
        );
        // The ledger agrees with the payments.
        for sql in [
            "select (select coalesce(sum(amount), 0) from payment.postings where account = 'SALES')::int8
                  + (select coalesce(sum(amount + credit + waived - credited), 0) from payment.overview where stage = 'CAPTURED')::int8",
            "select coalesce(sum(amount), 0)::int8 from payment.postings where account = 'CREDIT'",
            "select (select coalesce(sum(amount), 0) from payment.postings where account = 'REFUNDS')::int8
                  - (select coalesce(sum(amount), 0) from payment.refunds
                     where status = 'COMPLETED' and origin = 'ASKED')::int8",
        ] {
            assert_eq!(self.count(sql).await, 0, "the ledger disagrees with the payments: {sql}");
        }
        self.check_tickets().await;
        // The log of each saga has every version.
        assert_eq!(
            self.count(
                "select count(*) from reservation.reservations r
                 where r.version <> (select count(*) from reservation.saga_steps s where s.reservation_id = r.id)",
            )
            .await,
            0,
            "a saga's log has gaps"
        );
        self.stop_hosts().await;
    }
}
