//! The payment host as a process that is killed (`kill -9`) again and again: between a capture and its receipt, and between the
//! numbering of a batch and its commit. No number is missing, and none is there twice.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::numbers::counted;
use crate::cinema::{Person, TestCinema};

/// Kills of each test.
const ROUNDS: usize = 6;
/// Makes the transaction that numbers documents wait for the test's lock: before it commits, or while it commits.
const WAIT: &str = "create function payment.wait_for_test() returns trigger language plpgsql as
      $$ begin perform pg_advisory_xact_lock_shared(4711); return null; end $$";
const IN_THE_STATEMENT: &str = "create trigger wait_for_test after update of number on payment.receipts
      for each row execute function payment.wait_for_test()";
const AT_THE_COMMIT: &str =
    "create constraint trigger wait_for_test after update of number on payment.receipts
      deferrable initially deferred for each row execute function payment.wait_for_test()";
const WAITING: &str =
    "select least(count(*), 1) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted";

/// `marquee host payment` in the place of the cinema's own payment host.
struct PaymentHost(Child);

impl PaymentHost {
    fn start(cinema: &TestCinema) -> Self {
        let environment = cinema.environment();
        let log = cinema.folder.path().join("payment.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command.args(["host", "payment"]).stdout(Stdio::null()).stderr(log);
        for name in [
            "DATABASE_URL",
            "NATS_URL",
            "NATS_PASSWORD",
            "PAYMENT_API_URL",
            "PAYMENT_API_KEY",
            "PAYMENT_WEBHOOK_SECRET",
        ] {
            command.env(name, environment.get(name).unwrap());
        }
        Self(command.spawn().unwrap())
    }

    /// SIGKILL: nothing is finished, nothing is sent.
    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for PaymentHost {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl TestCinema {
    async fn stop_payment(&mut self) {
        let hosts = &mut self.cinema_mut().hosts;
        let at = hosts.iter().position(|host| host.domain() == "payment").unwrap();
        hosts.remove(at).stop().await;
    }

    /// Sends the same request with the same key until a host answers it.
    async fn pay_in_the_end(&self, who: &Person, order: &str) {
        let (key, began) = (uuid::Uuid::new_v4().to_string(), Instant::now());
        let body = json!({"reservationId": order, "paymentMethod": "pm_card_visa"});
        loop {
            let answer =
                self.try_call(Method::POST, "/v1/payments", Some(who), Some(body.clone()), &key).await;
            let seen = match answer {
                Ok(answer) if answer.status.is_success() => return,
                Ok(answer) => answer.text,
                Err(error) => error.to_string(),
            };
            // It was paid by the request whose answer was lost.
            if self.reservation(who, order).await["status"] == "CONFIRMED" {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{order} is not paid: {seen}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Reserves and pays a seat.
    async fn sell(&self, who: &Person, seat: &str) -> String {
        let order = self.reserve(who, &[seat]).await;
        self.pay_in_the_end(who, &order).await;
        order
    }

    /// A connection that holds the lock which the numbering waits for.
    async fn hold_numbering(&self) -> PgConnection {
        let mut connection = PgConnection::connect(&self.database_url()).await.unwrap();
        sqlx::raw_sql("select pg_advisory_lock(4711)").execute(&mut connection).await.unwrap();
        connection
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_host_that_is_killed_between_capture_and_receipt_leaves_no_gap() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.stop_payment().await;
    let mut host = PaymentHost::start(&cinema);
    let mut orders = Vec::new();
    for round in 0..ROUNDS {
        let row = char::from(b'A' + u8::try_from(round % 5).unwrap());
        let first = 3 * (round / 5) + 1;
        let seats: Vec<String> = (first..first + 3).map(|number| format!("{row}{number}")).collect();
        // In every second round already when a payment is open: money may be taken and not recorded yet.
        let table = if round % 2 == 0 { "receipts" } else { "payments" };
        let count = format!("select count(*) from payment.{table}");
        let before: i64 = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&cinema.database).await.unwrap();
        let due = format!("select (count(*) > {before})::int4::int8 from payment.{table}");
        let selling = futures::future::join_all(seats.iter().map(|seat| cinema.sell(&ada, seat)));
        let killing = async {
            cinema.until_sql(&due, 1).await;
            host.kill();
            host = PaymentHost::start(&cinema);
        };
        let (sold, ()) = tokio::join!(selling, killing);
        orders.extend(sold);
    }
    for order in &orders {
        cinema.until_confirmed(&ada, order).await;
        cinema.until_captured(order, 1200).await;
    }
    cinema.until_all_are_numbered().await;
    assert_eq!(cinema.numbers().await, counted(orders.len() as i64, 0));
    cinema.check_receipts().await;
    cinema.close().await;
    drop(host);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_killed_between_numbering_and_commit_leaves_no_gap_and_no_number_twice() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    cinema.stop_payment().await;
    sqlx::raw_sql(WAIT).execute(&cinema.database).await.unwrap();
    for round in 0..ROUNDS {
        // A waiting statement ends without its commit; a waiting commit is done although its host is dead.
        let trigger = if round % 2 == 0 { IN_THE_STATEMENT } else { AT_THE_COMMIT };
        let mut host = PaymentHost::start(&cinema);
        let stopped = cinema.stop_numbering().await;
        let row = char::from(b'A' + u8::try_from(round % 5).unwrap());
        let first = 2 * (round / 5) + 1;
        for number in first..first + 2 {
            cinema.sell(&ada, &format!("{row}{number}")).await;
        }
        let due = "select count(*) from payment.receipts where number is null";
        cinema.until_sql(due, 2).await;
        let lock = cinema.hold_numbering().await;
        sqlx::raw_sql(trigger).execute(&cinema.database).await.unwrap();
        stopped.close().await.unwrap();
        cinema.until_sql(WAITING, 1).await;
        host.kill();
        lock.close().await.unwrap();
        // Whatever the dead host's transaction has become, the next host goes on after it.
        let mut next = PaymentHost::start(&cinema);
        cinema.until_all_are_numbered().await;
        next.kill();
        assert_eq!(cinema.numbers().await, counted(2 * (round as i64 + 1), 0), "round {round}");
        sqlx::raw_sql("drop trigger wait_for_test on payment.receipts")
            .execute(&cinema.database)
            .await
            .unwrap();
    }
    let host = PaymentHost::start(&cinema);
    cinema.check_receipts().await;
    cinema.close().await;
    drop(host);
}
