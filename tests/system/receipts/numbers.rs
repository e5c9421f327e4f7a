//! Numbers have no gaps and no document is missing or there twice: with several hosts, lost connections, an hour away, a replay of
//! all events, and after a long pause.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bus::event_replay::{From, Selection, replay};
use sqlx::Connection;

use crate::cinema::{Person, TestCinema};
use crate::operator::until_all_is_handled;

impl TestCinema {
    /// Numbers by kind, in order.
    pub(super) async fn numbers(&self) -> BTreeMap<String, Vec<i64>> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "select kind, number from payment.receipts where number is not null order by number",
        )
        .fetch_all(&self.database)
        .await
        .unwrap();
        let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for (kind, number) in rows {
            numbers.entry(kind).or_default().push(number);
        }
        numbers
    }

    /// Buys one seat in each of so many orders, at once.
    async fn buy_each(&self, who: &Person, row: char, count: usize) -> Vec<String> {
        let seats: Vec<String> = (1..=count).map(|number| format!("{row}{number}")).collect();
        futures::future::join_all(seats.iter().map(async |seat| self.buy(who, &[seat.as_str()]).await)).await
    }

    async fn cancel_each(&self, who: &Person, orders: &[String]) {
        futures::future::join_all(orders.iter().map(async |order| {
            self.cancel(who, order).await.expect(200);
            self.until_status(who, order, "REFUNDED").await;
        }))
        .await;
    }
}

pub(super) fn counted(receipts: i64, notes: i64) -> BTreeMap<String, Vec<i64>> {
    let kinds = [("RECEIPT", receipts), ("CREDIT_NOTE", notes)];
    kinds
        .into_iter()
        .filter(|(_, last)| *last > 0)
        .map(|(kind, last)| (kind.to_owned(), (1..=last).collect()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_whose_connections_are_cut_leave_no_gap_and_make_nothing_twice() {
    let mut cinema = TestCinema::open().await;
    cinema.start_another("payment").await;
    let ada = cinema.register().await;
    // The host that numbers loses its connection in the middle of it, again and again.
    let is_over = AtomicBool::new(false);
    let cut = async {
        while !is_over.load(Ordering::Relaxed) {
            let ended: Vec<bool> = sqlx::query_scalar(
                "select pg_terminate_backend(a.pid) from pg_stat_activity a
                 join pg_locks l on l.pid = a.pid join pg_class c on c.oid = l.relation
                 where c.relname = 'receipt_series' and l.database = (select oid from pg_database where datname = current_database())
                   and a.pid <> pg_backend_pid()",
            )
            .fetch_all(&cinema.database)
            .await
            .unwrap();
            drop(ended);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let sell = async {
        let orders = cinema.buy_each(&ada, 'A', 10).await;
        let others = cinema.buy_each(&ada, 'B', 10).await;
        cinema.cancel_each(&ada, &orders[..6]).await;
        is_over.store(true, Ordering::Relaxed);
        others
    };
    tokio::join!(cut, sell);
    cinema.until_all_are_numbered().await;
    assert_eq!(cinema.numbers().await, counted(20, 6));
    cinema.check_receipts().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_were_away_make_what_is_due_and_a_replay_of_all_events_makes_nothing_again() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let stopped = cinema.stop_numbering().await;
    let orders = cinema.buy_each(&ada, 'A', 5).await;
    cinema.cancel_each(&ada, &orders[..2]).await;
    cinema.stop_hosts().await;
    stopped.close().await.unwrap();
    assert!(cinema.numbers().await.is_empty());
    sqlx::query("update payment.receipts set due_at = due_at - interval '1 hour'")
        .execute(&cinema.database)
        .await
        .unwrap();
    cinema.start_hosts().await;
    cinema.until_all_are_numbered().await;
    assert_eq!(cinema.numbers().await, counted(5, 2));

    let everything = Selection { from: From::Sequence(1), subject: ">".into(), only: None };
    let replayed = replay(&cinema.cinema().bus, &everything, 1).await.unwrap();
    assert!(replayed.events > 20, "{replayed:?}");
    until_all_is_handled(&cinema).await;
    let more = cinema.buy(&ada, &["B1"]).await;
    cinema.until_receipts(&ada, &more, 1).await;
    assert_eq!(cinema.numbers().await, counted(6, 2));
    cinema.check_receipts().await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_pause_is_made_up_for_in_batches_in_the_order_of_the_sales() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let stopped = cinema.stop_numbering().await;
    cinema.buy(&ada, &["A1"]).await;
    // 260 sales more, each a minute after the one before, as after a pause of hours.
    sqlx::query(
        "insert into payment.receipts (kind, cause, payment_id, reservation_id, amount, currency, content, due_at)
         select kind, gen_random_uuid(), payment_id, reservation_id, amount, currency, content, due_at - make_interval(mins => n)
         from payment.receipts, generate_series(1, 260) as n",
    )
    .execute(&cinema.database)
    .await
    .unwrap();
    stopped.close().await.unwrap();
    cinema.until_all_are_numbered().await;
    assert_eq!(cinema.numbers().await, counted(261, 0));
    let batches: Vec<i64> =
        sqlx::query_scalar("select count(*) from payment.receipts group by issued_at order by issued_at")
            .fetch_all(&cinema.database)
            .await
            .unwrap();
    assert_eq!(batches, [100, 100, 61]);
    let disordered = "select count(*) from (select due_at < lag(due_at) over (order by number) as is_wrong from payment.receipts) as each
                      where is_wrong";
    assert_eq!(cinema.count(disordered).await, 0);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_with_a_number_cannot_be_changed_or_deleted() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let order = cinema.buy(&ada, &["A1"]).await;
    cinema.until_receipts(&ada, &order, 1).await;
    for statement in [
        "update payment.receipts set amount = 1",
        "update payment.receipts set number = 2",
        "delete from payment.receipts",
        "truncate payment.receipts",
    ] {
        let refused = sqlx::query(statement).execute(&cinema.database).await.unwrap_err();
        assert!(refused.to_string().contains("does not change"), "{statement}: {refused}");
    }
    cinema.close().await;
}
