//! A full stream discards events that a consumer has not handled: they are delivered again from the outboxes.

use bus::topology;

use crate::cinema::TestCinema;

/// Makes notification's tables those of a host that was away since before this test's orders.
async fn forget_what_notification_handled(cinema: &TestCinema, stream_created_at: &str) {
    for statement in [
        "truncate notification.mails, notification.attendees, notification.showtimes",
        "delete from notification.consumers",
    ] {
        sqlx::query(statement).execute(&cinema.database).await.unwrap();
    }
    sqlx::query(
        "insert into notification.consumers
           (name, stream_created_at, handled_to, handled_until, seen_to, seen_at, stream_percent)
         values ('notification', $1, 0, now() - interval '1 hour', 0, now() - interval '1 hour', 0)",
    )
    .bind(stream_created_at)
    .execute(&cinema.database)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_the_stream_discarded_unhandled_are_handled_from_the_archives() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let bought = cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_mail(&bought, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.until_published().await;
    let created = {
        let stream = topology::events(&cinema.cinema().bus).await.unwrap();
        stream.purge().await.unwrap();
        stream.cached_info().created.to_string()
    };
    cinema.stop_hosts().await;
    forget_what_notification_handled(&cinema, &created).await;
    cinema.start_hosts().await;
    cinema.until_mail(&bought, "RESERVATION_CONFIRMED", "SENT").await;
    let finished = "select count(*) from notification.consumer_gaps where finished_at is not null and delivered_again > 1";
    cinema.until_sql(finished, 1).await;
    cinema.until_sql("select count(*) from notification.consumer_gaps where finished_at is null", 0).await;
    cinema.close().await;
}
