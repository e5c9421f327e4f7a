//! Disputes from the provider to the ledger, resuming a payment, and the lists of staff.

use bus::contract::payment::{
    DisputeStatus, ListPayments, PaymentDisputed, PaymentStatus, RefundFailed, ResumePayment,
};
use bus::contract::{Page, Paging};
use sandbox::{FailCalls, Verdict};

use super::*;

impl PaymentSystem {
    async fn list(&self, wanted: impl FnOnce(&mut ListPayments)) -> Page<Payment> {
        let mut request =
            ListPayments { status: None, reservation_id: None, attention: None, paging: Paging::default() };
        wanted(&mut request);
        let admin = self.token(Uuid::now_v7(), Role::Admin);
        self.servers.ask(&request, Some(&admin)).await.unwrap()
    }

    /// The balance of an account of the ledger.
    async fn booked(&self, account: &str) -> i64 {
        sqlx::query_scalar("select coalesce(sum(amount), 0)::int8 from payment.postings where account = $1")
            .bind(account)
            .fetch_one(&self.servers.database)
            .await
            .unwrap()
    }

    async fn until_disputed(&self, payment: &Payment, status: DisputeStatus) -> Payment {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let shown = self.get(payment.id).await;
            if shown.disputes.first().is_some_and(|dispute| dispute.status == status) {
                return shown;
            }
            assert!(Instant::now() < end, "no {status:?} dispute in {shown:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_dispute_holds_the_money_until_it_is_won() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_createDispute")).await.unwrap();
    let open = system.until_disputed(&paid, DisputeStatus::Open).await;
    assert_eq!(open.disputes[0].total, Some(PRICE));
    assert!(open.attention.is_some_and(|why| why.contains("evidence")));
    assert_eq!(system.list(|list| list.attention = Some(true)).await.total, 1);
    assert_eq!((system.booked("PROVIDER").await, system.booked("DISPUTED").await), (0, 2400));

    system.request_refund(&paid, Uuid::now_v7(), 2400).await;
    let refused: Vec<RefundFailed> = system.published(1).await;
    assert_eq!(refused[0].code.as_deref(), Some("disputed"));
    assert_eq!(system.provider("refunds").await.len(), 0);

    system.switch(Switches { decide_disputes: Some(Verdict::Won), ..Switches::default() });
    let won = system.until_disputed(&paid, DisputeStatus::Won).await;
    assert_eq!((won.status, won.attention), (PaymentStatus::Succeeded, None));
    assert_eq!((system.booked("PROVIDER").await, system.booked("DISPUTED").await), (2400, 0));
    let events: Vec<PaymentDisputed> = system.published(2).await;
    let statuses: Vec<DisputeStatus> = events.iter().map(|event| event.dispute.status).collect();
    assert_eq!(statuses, [DisputeStatus::Open, DisputeStatus::Won]);
    system.close().await;
}

#[tokio::test]
async fn a_lost_dispute_of_a_page_payment_is_booked_as_a_chargeback() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let page = system.pay(reservation, None).await.unwrap();
    assert_eq!(system.pay_on_page(&page, "4000000000000259").await, 303);
    system.until_disputed(&page, DisputeStatus::Open).await;
    system.switch(Switches { decide_disputes: Some(Verdict::Lost), ..Switches::default() });
    system.until_disputed(&page, DisputeStatus::Lost).await;
    assert_eq!((system.booked("PROVIDER").await, system.booked("CHARGEBACKS").await), (0, 2400));
    assert_eq!(system.list(|list| list.attention = Some(true)).await.total, 0);
    system.close().await;
}

#[tokio::test]
async fn resuming_a_payment_queries_the_provider_again_and_clears_the_attention() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let failing = |path: &str| {
        let path_prefix = Some(path.to_owned());
        let fail_calls = Some(FailCalls { status: 503, next: -1, path_prefix, kept: false });
        Switches { webhook_drop: true, fail_calls, ..Switches::default() }
    };
    let paid = system.pay(reservation, Some("pm_card_createDispute")).await.unwrap();
    system.until_disputed(&paid, DisputeStatus::Open).await;
    // The webhook of the verdict is lost, and at first the provider does not answer requests.
    system.switch(Switches { decide_disputes: Some(Verdict::Won), ..failing("/v1/disputes") });
    let is_decided = async |_: &sqlx::PgPool| {
        let events = system.http.get(format!("{}/v1/events?limit=100", system.sandbox.url()));
        let events = events.bearer_auth(API_KEY).send().await.unwrap().text().await.unwrap();
        events.contains("charge.dispute.closed")
    };
    system.servers.until("the verdict", is_decided).await;
    let user = system.token(system.ada, Role::Admin);
    let refused = system.servers.ask(&ResumePayment { id: paid.id }, Some(&user)).await.unwrap_err();
    assert_eq!(refused.status, 403);
    let root = system.token(Uuid::now_v7(), Role::SuperAdmin);
    let resumed = system.servers.ask(&ResumePayment { id: paid.id }, Some(&root)).await.unwrap();
    assert!(resumed.attention.is_some(), "the provider has not answered yet");
    system.switch(Switches { webhook_drop: true, ..Switches::default() });
    system.servers.ask(&ResumePayment { id: paid.id }, Some(&root)).await.unwrap();
    let won = system.until_disputed(&paid, DisputeStatus::Won).await;
    assert_eq!(won.attention, None);
    let missing = system.servers.ask(&ResumePayment { id: Uuid::now_v7() }, Some(&root)).await.unwrap_err();
    assert_eq!(missing.status, 404);
    system.close().await;
}

#[tokio::test]
async fn staff_find_payments_and_read_their_log() {
    let system = PaymentSystem::open().await;
    let (first, second) = (system.reserve().await, system.reserve().await);
    let declined = system.pay(first, Some("pm_card_chargeDeclined")).await.unwrap_err();
    assert_eq!(declined.code, "card-declined");
    let paid = system.pay(first, Some("pm_card_visa")).await.unwrap();
    system
        .servers
        .until("every webhook", async |_| {
            system.provider("events").await.iter().all(|event| event["pending_webhooks"] == 0)
        })
        .await;
    assert_eq!(system.list(|_| ()).await.total, 2);
    let succeeded = system.list(|list| list.status = Some(PaymentStatus::Succeeded)).await;
    assert_eq!((succeeded.total, succeeded.items[0].id), (1, paid.id));
    let of = system.list(|list| list.reservation_id = Some(second)).await;
    assert_eq!((of.total, of.items[0].status), (1, PaymentStatus::Open));

    let log = system.get(paid.id).await.log.unwrap();
    let entries: Vec<&str> = log.iter().map(|line| line.entry.as_str()).collect();
    for entry in ["opened", "attempt", "declined", "captured", "provider event"] {
        assert!(entries.contains(&entry), "no {entry} in {entries:?}");
    }
    assert!(log.is_sorted_by_key(|line| line.at));
    let own = system.token(system.ada, Role::User);
    let own = system.servers.ask(&GetPayment { id: paid.id }, Some(&own)).await.unwrap();
    assert_eq!((own.log, own.attention), (None, None), "a customer does not see the log and the attention");
    system.close().await;
}

#[tokio::test]
async fn postings_sum_to_zero_and_cannot_be_changed() {
    let system = PaymentSystem::open().await;
    let reservation = system.reserve().await;
    let paid = system.pay(reservation, Some("pm_card_visa")).await.unwrap();
    system.request_refund(&paid, Uuid::now_v7(), 1000).await;
    system.until("the refund", reservation, |row| row["status"] == "PARTIALLY_REFUNDED").await;
    system.request_refund(&paid, Uuid::now_v7(), 1400).await;
    system.until("the rest", reservation, |row| row["status"] == "REFUNDED").await;
    let captured = system.provider("payment_intents").await[0]["amount_received"].as_i64().unwrap();
    let refunded: i64 = system.provider("refunds").await.iter().map(|r| r["amount"].as_i64().unwrap()).sum();
    assert_eq!(refunded, captured, "never more than was captured");
    assert_eq!(system.booked("PROVIDER").await, captured - refunded, "the ledger agrees with the provider");
    assert_eq!((system.booked("SALES").await, system.booked("REFUNDS").await), (-2400, 2400));

    let refused = async |sql: &'static str| {
        let refused = sqlx::query(sql).execute(&system.servers.database).await.unwrap_err();
        refused.as_database_error().unwrap().message().to_owned()
    };
    let odd = "insert into payment.postings select payment_id, 'odd', 'FEES', 1, 'EUR', 0, 'odd', now() from payment.postings limit 1";
    assert!(refused(odd).await.contains("do not sum to zero"));
    for sql in [
        "update payment.postings set amount = 1",
        "delete from payment.postings",
        "truncate payment.postings",
    ] {
        assert!(refused(sql).await.contains("only ever added"), "{sql}");
    }
    system.close().await;
}
