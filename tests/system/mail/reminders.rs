//! Reminders: one for each showtime and order, however many schedulers run; and the mail that brings a new password.

use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_with_tickets_is_reminded_once_however_many_schedulers_run() {
    let plan = Plan::default().with("REMINDER_CRON", "* * * * * *").with("REFUND_UNTIL_MINUTES", 30);
    let mut cinema = TestCinema::open_with(plan).await;
    cinema.start_another("scheduler").await;
    // An hour before the start is in fifteen seconds.
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"], 3615).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let bought = cinema.buy(&ada, &["A1", "A2"]).await;
    let cancelled = cinema.buy(&bob, &["A3"]).await;
    cinema.cancel(&bob, &cancelled).await.expect(200);
    let held = cinema.reserve(&bob, &["A4"]).await;

    cinema.until_mail(&bought, "REMINDER", "SENT").await;
    let letter =
        cinema.letters().into_iter().find(|letter| letter.text.contains("confirmed your order")).unwrap();
    // By the hall's clock, in words that are true now.
    let hall: String = sqlx::query_scalar(
        "select case (s.starts_at at time zone a.time_zone)::date - (now() at time zone a.time_zone)::date
                when 0 then case when extract(hour from s.starts_at at time zone a.time_zone) >= 17
                            then 'Tonight at ' else 'Today at ' end else 'Tomorrow at ' end
         from movie.showtimes s join movie.auditoriums a on a.id = s.auditorium_id where s.id = $1",
    )
    .bind(cinema.showtime.parse::<uuid::Uuid>().unwrap())
    .fetch_one(&cinema.database)
    .await
    .unwrap();
    assert!(letter.subject.starts_with(&hall), "{hall}: {}", letter.subject);
    assert_eq!(letter.to, "p0@example.org");
    assert!(letter.text.contains("A1, A2") && letter.text.contains("The Long Night"), "{}", letter.text);
    for other in [&cancelled, &held] {
        let log = cinema.mail_log(other).await;
        assert!(log.iter().all(|mail| mail["kind"] != "REMINDER"), "{log:#?}");
    }
    let marked = "select count(*) from movie.showtimes where reminded_for = starts_at";
    cinema.until_sql(marked, 1).await;

    // Movie forgets, every scheduler starts anew, and the stream remembers only for two minutes: the id is the same.
    sqlx::query("update movie.showtimes set reminded_for = null").execute(&cinema.database).await.unwrap();
    cinema.close_doors().await;
    cinema.open_doors().await;
    cinema.until_sql(marked, 1).await;
    assert_eq!(cinema.events("movie.reminder").await.len(), 1);
    assert_eq!(cinema.count("select count(*) from notification.mails where kind = 'REMINDER'").await, 1);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reminder_missed_while_the_scheduler_was_down_is_sent_afterwards() {
    // Once a year: as good as down.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_reset_link_is_stored_in_no_mail_record() {
    let cinema = TestCinema::open_with(Plan::default().with("PUBLIC_URL", "http://kino.example/")).await;
    cinema.register().await;
    let post = |path: &'static str, body: Value| cinema.call(Method::POST, path, None, Some(body));
    let asked = post("/v1/auth/password/forgot", json!({"email": "p0@example.org"})).await;
    assert!(asked.status.is_success(), "{}", asked.text);
    let sent = "select count(*) from notification.mails where kind = 'PASSWORD_RESET' and status = 'SENT'";
    cinema.until_sql(sent, 1).await;
    let letter = cinema.letter("Choose a new password");
    assert_eq!(letter.to, "p0@example.org");
    let link = "http://kino.example/reset?token=";
    let token: String = letter.text[letter.text.find(link).unwrap() + link.len()..]
        .chars()
        .take_while(|letter| !letter.is_whitespace())
        .collect();
    assert!(letter.html.contains(&format!("{link}{token}")), "{}", letter.html);
    let kept = sqlx::query_scalar::<_, i64>(
        "select count(*) from notification.mails m where strpos(m::text, $1) > 0",
    );
    assert_eq!(kept.bind(&token).fetch_one(&cinema.database).await.unwrap(), 0, "the token is kept");
    let changed =
        post("/v1/auth/password/reset", json!({"token": token, "password": "battery staple"})).await;
    assert!(changed.status.is_success(), "{}", changed.text);
    cinema.log_in("p0@example.org", "battery staple").await;
    cinema.close().await;
}
