//! Reminders: one for each showtime and order, however many schedulers run.

use crate::cinema::{Plan, TestCinema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_with_tickets_is_reminded_once_however_many_schedulers_run() {
    let plan = Plan::default().with("REMINDER_CRON", "* * * * * *").with("REFUND_UNTIL_MINUTES", 30);
    let mut cinema = TestCinema::open_with(plan).await;
    cinema.start_another("scheduler").await;
    // The reminder, an hour before the start, is due in fifteen seconds.
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 3615).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let bought = cinema.buy(&ada, &["A1", "A2"]).await;
    let cancelled = cinema.buy(&bob, &["A3"]).await;
    cinema.cancel(&bob, &cancelled).await.expect(200);
    let held = cinema.reserve(&bob, &["A4"]).await;

    cinema.until_mail(&bought, "REMINDER", "SENT").await;
    let mail = cinema.mails().into_iter().find(|mail| mail.text.contains("confirmed your order")).unwrap();
    // In the time zone of the hall.
    let when: String = sqlx::query_scalar(
        "select case (s.starts_at at time zone a.time_zone)::date - (now() at time zone a.time_zone)::date
                when 0 then case when extract(hour from s.starts_at at time zone a.time_zone) >= 17
                            then 'Tonight at ' else 'Today at ' end else 'Tomorrow at ' end
         from movie.showtimes s join movie.auditoriums a on a.id = s.auditorium_id where s.id = $1",
    )
    .bind(cinema.showtime.parse::<uuid::Uuid>().unwrap())
    .fetch_one(&cinema.database)
    .await
    .unwrap();
    assert!(mail.subject.starts_with(&when), "{when}: {}", mail.subject);
    assert_eq!(mail.to, "p0@example.org");
    assert!(mail.text.contains("A1, A2") && mail.text.contains("The Long Night"), "{}", mail.text);
    for other in [&cancelled, &held] {
        let log = cinema.mail_log(other).await;
        assert!(log.iter().all(|mail| mail["kind"] != "REMINDER"), "{log:#?}");
    }
    let marked = "select count(*) from movie.showtimes where reminded_for = starts_at";
    cinema.until_sql(marked, 1).await;

    // The mark of the movie host is lost and every scheduler starts again. The stream deduplicates for two minutes only,
    // but the id of the event is the same, so no second mail is sent.
    sqlx::query("update movie.showtimes set reminded_for = null").execute(&cinema.database).await.unwrap();
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_sql(marked, 1).await;
    assert_eq!(cinema.events("movie.reminder").await.len(), 1);
    assert_eq!(cinema.count("select count(*) from notification.mails where kind = 'REMINDER'").await, 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_missed_while_the_scheduler_was_down_is_sent_afterwards() {
    // A scheduler that runs once a year is as good as stopped.
    let mut cinema = TestCinema::open_with(Plan::default().with("REMINDER_CRON", "0 0 0 1 1 *")).await;
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 3000).await;
    let ada = cinema.register().await;
    let bought = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&bought, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.set("REMINDER_CRON", "* * * * * *");
    cinema.start_another("scheduler").await;
    cinema.until_mail(&bought, "REMINDER", "SENT").await;
    cinema.close().await;
}
