//! `marquee fsck` finds each corruption and nothing else.

use sqlx::ConnectOptions;

use super::{execute, expect_failure, expect_success, marquee, sell_for_a_day, text};
use crate::cinema::{Plan, TestCinema, id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_finds_nothing_after_a_day_of_sales_and_then_finds_each_planted_corruption() {
    let cinema = TestCinema::open_with(Plan::default()).await;
    let (_, sold) = sell_for_a_day(&cinema).await;
    cinema.until_published().await;
    let healthy = expect_success(&marquee(&cinema, &["fsck"]));
    assert!(healthy.contains("everything is as promised"), "{healthy}");
    assert!(healthy.contains("2 seats sold in 1 confirmed reservations"), "{healthy}");

    // Makes the rows an hour older, so that nothing counts as in progress.
    execute(
        &cinema,
        "update reservation.reservations set updated_at = updated_at - interval '1 hour';
         update payment.payments set updated_at = updated_at - interval '1 hour'",
    )
    .await;
    let healthy = expect_success(&marquee(&cinema, &["fsck"]));
    assert!(!healthy.contains("FAIL"), "{healthy}");

    let corruptions: [(&str, &'static str, &'static str); 22] = [
        (
            "discarded",
            "insert into notification.consumer_gaps (consumer, found_at, first_sequence, last_sequence, since, until)
             values ('notification', now() - interval '1 hour', 1, 5, now() - interval '2 hours', now())",
            "delete from notification.consumer_gaps",
        ),
        (
            "outbox-days",
            "do $$ begin execute 'alter table auth.outbox_' || to_char(now() at time zone 'utc' + interval '2 days', 'YYYYMMDD')
               || ' rename to away'; end $$",
            "do $$ begin execute 'alter table auth.away rename to outbox_'
               || to_char(now() at time zone 'utc' + interval '2 days', 'YYYYMMDD'); end $$",
        ),
        (
            "one-owner",
            "alter table reservation.claims drop constraint one_owner;
             insert into reservation.claims select showtime_id, 'A1', reservation_id from reservation.claims where seat = 'A1'",
            "delete from reservation.claims a using reservation.claims b where a.seat = b.seat and a.ctid > b.ctid;
             alter table reservation.claims add constraint one_owner primary key (showtime_id, seat)",
        ),
        (
            "claims",
            "update reservation.claims set seat = 'D9' where seat = 'A2'",
            "update reservation.claims set seat = 'A2' where seat = 'D9'",
        ),
        (
            "paid",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint - 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint + 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2399'",
        ),
        (
            "paid",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint + 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{total,amount}',
               to_jsonb((checkpoint #>> '{total,amount}')::bigint - 1))
             where checkpoint #>> '{stage,is}' = 'CAPTURED' and checkpoint #>> '{total,amount}' = '2401'",
        ),
        (
            "paid",
            "update reservation.reservations set checkpoint = jsonb_set(checkpoint, '{terms,lines,0,price,amount}', '1')
             where status = 'CONFIRMED'",
            "update reservation.reservations set checkpoint = jsonb_set(checkpoint, '{terms,lines,0,price,amount}', '1200')
             where status = 'CONFIRMED'",
        ),
        (
            "kept-for-nothing",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{refunds,0,status}', '\"FAILED\"')
             where checkpoint #>> '{refunds,0,status}' = 'COMPLETED'",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{refunds,0,status}', '\"COMPLETED\"')
             where checkpoint #>> '{refunds,0,status}' = 'FAILED'",
        ),
        (
            "captured-twice",
            "update payment.payments set checkpoint = jsonb_insert(checkpoint, '{attempts,0}',
               '{\"number\": 99, \"state\": \"CAPTURED\", \"intent\": \"pi_unknown\"}')
             where checkpoint #>> '{total,amount}' = '2400'",
            "update payment.payments set checkpoint = checkpoint #- '{attempts,0}'
             where checkpoint #>> '{attempts,0,number}' = '99'",
        ),
        (
            "saga-log",
            "update reservation.reservations set version = version + 1 where status = 'CONFIRMED'",
            "update reservation.reservations set version = version - 1 where status = 'CONFIRMED'",
        ),
        (
            "outbox",
            "update reservation.outbox set committed_at = committed_at - interval '2 minutes';
             update reservation.journals set published_to = published_to - 1000",
            "update reservation.journals set published_to = published_to + 1000",
        ),
        (
            "deadlines",
            "alter table payment.payments disable trigger all;
             update payment.payments set next_check_at = now() - interval '5 minutes' where checkpoint #>> '{stage,is}' = 'CAPTURED'",
            "update payment.payments set next_check_at = null where checkpoint #>> '{stage,is}' = 'CAPTURED';
             alter table payment.payments enable trigger all",
        ),
        (
            "tickets",
            "insert into payment.postings (payment_id, transaction, account, amount, currency, tickets, entry, at, showtime_id)
             select payment_id, 'planted', account, 0, currency, 1, 'planted', now(), showtime_id
             from payment.postings where tickets = 2",
            "insert into payment.postings (payment_id, transaction, account, amount, currency, tickets, entry, at, showtime_id)
             select payment_id, 'repaired', account, 0, currency, -1, 'repaired', now(), showtime_id
             from payment.postings where transaction = 'planted'",
        ),
        (
            "tickets",
            "update reservation.showtimes set tickets = tickets + 1 where tickets > 0",
            "update reservation.showtimes set tickets = tickets - 1 where tickets > 0",
        ),
        (
            "tickets",
            "update reservation.tickets set price = price + 1
             where (showtime_id, number) not in (select showtime_id, number from reservation.ticket_ends)",
            "update reservation.tickets set price = price - 1
             where (showtime_id, number) not in (select showtime_id, number from reservation.ticket_ends)",
        ),
        (
            "tickets",
            "update reservation.tickets set seat = 'D9' where seat = 'A2'",
            "update reservation.tickets set seat = 'A2' where seat = 'D9'",
        ),
        (
            "tickets",
            "alter table payment.postings disable trigger postings_stay;
             update payment.payments set checkpoint = jsonb_set(checkpoint, '{sale,tickets}', '1')
             where checkpoint #>> '{sale,tickets}' = '2' and checkpoint #>> '{stage,is}' = 'CAPTURED';
             update payment.postings set tickets = 1 where tickets = 2",
            "update payment.payments set checkpoint = jsonb_set(checkpoint, '{sale,tickets}', '2')
             where checkpoint #>> '{sale,tickets}' = '1' and checkpoint #>> '{stage,is}' = 'CAPTURED';
             update payment.postings set tickets = 2 where tickets = 1 and transaction like 'capture:%'
               and payment_id in (select id from payment.overview where tickets = 2);
             alter table payment.postings enable trigger postings_stay",
        ),
        (
            "shows",
            "alter table payment.postings disable trigger postings_stay;
             update payment.postings set showtime_id = payment_id where account = 'REFUNDS'",
            "update payment.postings b set showtime_id = p.showtime_id from payment.overview p
             where p.id = b.payment_id and account = 'REFUNDS';
             alter table payment.postings enable trigger postings_stay",
        ),
        (
            "receipts",
            "update payment.receipt_series set last_number = last_number + 1 where kind = 'RECEIPT'",
            "update payment.receipt_series set last_number = last_number - 1 where kind = 'RECEIPT'",
        ),
        (
            "receipts",
            "alter table payment.receipts disable trigger user;
             update payment.receipts set number = number + 7 where kind = 'RECEIPT' and number = 1",
            "update payment.receipts set number = number - 7 where kind = 'RECEIPT' and number = 8;
             alter table payment.receipts enable trigger user",
        ),
        (
            "receipts",
            "alter table payment.receipts disable trigger user;
             update payment.receipts set cause = payment_id where kind = 'CREDIT_NOTE'",
            "update payment.receipts set cause = (select id from payment.refunds) where kind = 'CREDIT_NOTE';
             alter table payment.receipts enable trigger user",
        ),
        (
            "attention",
            "update reservation.reservations set attention = true where status = 'REFUNDED'",
            "update reservation.reservations set attention = false",
        ),
    ];
    cinema.until_sql("select count(*) from payment.receipts where number is null", 0).await;
    // Without hosts, which would repair some corruptions themselves (an unpublished event, a missed deadline).
    let mut cinema = cinema;
    cinema.stop_hosts().await;
    for (check, plant, repair) in corruptions {
        execute(&cinema, plant).await;
        let found = expect_failure(&marquee(&cinema, &["fsck"]));
        assert!(found.contains(&format!("FAIL {check} ")), "{plant}\n{found}");
        execute(&cinema, repair).await;
        let healthy = marquee(&cinema, &["fsck"]);
        assert!(healthy.status.success(), "after the repair {repair}\n{}", text(&healthy));
    }
    cinema.start_hosts().await;
    assert_eq!(cinema.reservation(&cinema.owner(), &sold).await["status"], "CONFIRMED");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fsck_on_a_busy_system_reports_no_work_in_progress() {
    let cinema = TestCinema::open_with(Plan { reservation_hosts: 2, ..Plan::default() }).await;
    let sell = async {
        for row in ["A", "B", "C"] {
            let ada = cinema.register().await;
            let seats: Vec<String> = (1..=6).map(|n| format!("{row}{n}")).collect();
            futures::future::join_all(seats.iter().map(async |seat| {
                let answer = cinema.try_reserve(&ada, &[seat]).await.expect(201);
                let reservation = id(&answer);
                cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
                cinema.until_confirmed(&ada, &reservation).await;
                cinema.cancel(&ada, &reservation).await.expect(200);
                cinema.until_status(&ada, &reservation, "REFUNDED").await;
            }))
            .await;
        }
    };
    let check = async {
        let url = cinema.database.connect_options().to_url_lossy().to_string();
        loop {
            for check in actors::fsck::check(&url).await.unwrap() {
                assert_eq!(check.found, 0, "{check:?}");
            }
        }
    };
    tokio::select! { () = sell => {}, () = check => {} }
    for check in actors::fsck::check(cinema.database.connect_options().to_url_lossy().as_str()).await.unwrap()
    {
        assert_eq!(check.found, 0, "{check:?}");
    }
    cinema.close().await;
}
