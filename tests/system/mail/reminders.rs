//! Reminders: one for each showtime and order, however many schedulers run; and the mail that brings a new password.

use bus::contract::auth::{GetResetToken, PasswordResetRequested};
use bus::contract::{Request, Timestamp};
use futures::StreamExt;

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
    let letter = cinema.letter("Today at ");
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
async fn a_showtime_within_the_hour_is_reminded_of_when_the_scheduler_comes_back() {
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
async fn a_new_password_is_asked_for_by_a_link_whose_token_is_in_the_mail_alone() {
    let mut cinema = TestCinema::open_with(Plan::default().with("PUBLIC_URL", "https://kino.example/")).await;
    let reset = PasswordResetRequested {
        reset_id: uuid::Uuid::now_v7(),
        user_id: uuid::Uuid::now_v7(),
        email: "ada@example.org".into(),
        name: "Ada".into(),
        expires_at: Timestamp::wall_clock().plus(std::time::Duration::from_secs(1800)),
    };
    // Answers in the auth host's place, which does not know this reset.
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "auth").unwrap();
    hosts.remove(at).stop().await;
    let bus = &cinema.cinema().bus;
    let mut asked = bus.client.subscribe(GetResetToken::SUBJECT).await.unwrap();
    let client = bus.client.clone();
    let answering = tokio::spawn(async move {
        while let Some(question) = asked.next().await {
            let Some(reply) = question.reply else { continue };
            client.publish(reply, r#"{"token":"s3cret-t0ken"}"#.into()).await.unwrap();
        }
    });
    let event = bus::event::Outgoing::new("auth", &reset, Timestamp::wall_clock(), &bus::Context::new());
    event.send(bus).await.unwrap().await.unwrap();
    cinema
        .until_sql(
            "select count(*) from notification.mails where kind = 'PASSWORD_RESET' and status = 'SENT'",
            1,
        )
        .await;
    answering.abort();
    let letter = cinema.letter("Choose a new password");
    assert_eq!(letter.to, "ada@example.org");
    for part in [&letter.text, &letter.html] {
        assert!(part.contains("https://kino.example/reset?token=s3cret-t0ken"), "{part}");
    }
    let kept = "select count(*) from notification.mails m where m::text like '%s3cret%'";
    assert_eq!(cinema.count(kept).await, 0, "the token is kept");
    cinema.close().await;
}
