//! Events published again by `marquee events replay`.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;

use super::{expect_success, marquee, sell_for_a_day, until_all_is_handled};
use crate::cinema::TestCinema;

/// The number and the hash of the rows of each table, without the tables that record deliveries and publications.
async fn tables(cinema: &TestCinema) -> BTreeMap<String, (i64, String)> {
    let names: Vec<String> = sqlx::query_scalar(
        "select schemaname || '.' || tablename from pg_tables
         where schemaname in ('auth', 'movie', 'reservation', 'payment', 'notification')
           and tablename not in ('journals', 'relay', 'outbox') and tablename not like 'outbox_2%'
         union all select schemaname || '.' || viewname from pg_views where viewname = 'events'",
    )
    .fetch_all(&cinema.database)
    .await
    .unwrap();
    let mut tables = BTreeMap::new();
    for name in names {
        let query = format!(
            "select count(*), coalesce(md5(string_agg(t::text, '|' order by t::text)), '') from {name} t"
        );
        let dump = sqlx::query_as(AssertSqlSafe(query)).fetch_one(&cinema.database).await.unwrap();
        tables.insert(name, dump);
    }
    tables
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_replayed_after_a_day_of_sales_change_no_row() {
    let cinema = TestCinema::open().await;
    let (ada, sold) = sell_for_a_day(&cinema).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    // Mails are sent after their events are handled.
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let before = tables(&cinema).await;
    let events = cinema.events("payment.success").await.len();
    assert_eq!(events, 2);

    let printed = expect_success(&marquee(&cinema, &["events", "replay", "--from", "1", "--subject", ">"]));
    assert!(printed.contains("events published again"), "{printed}");
    let published_again = |count: usize| format!("{count} events published again");
    // Copies are not published again, wherever the second replay begins.
    let printed = expect_success(&marquee(
        &cinema,
        &["events", "replay", "--from", "2020-01-01T00:00:00Z", "--subject", "payment.success"],
    ));
    assert!(printed.contains(&published_again(2)), "{printed}");
    until_all_is_handled(&cinema).await;
    assert_eq!(tables(&cinema).await, before);

    // With `--again` one consumer alone handles the events again; a finished saga does not change.
    let version = cinema.reservation(&ada, &sold).await["version"].clone();
    let again = ["events", "replay", "--from", "1", "--subject", "payment.success", "--again", "reservation"];
    let printed = expect_success(&marquee(&cinema, &again));
    assert!(printed.contains(&published_again(2)), "{printed}");
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.reservation(&ada, &sold).await["version"], version);
    assert_eq!(cinema.captured(&sold).await, 2400);
    cinema.close().await;
}
