//! The login by cookie that the web page uses, and the events that the page of staff receives.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use reqwest::header::{COOKIE, SET_COOKIE};

use super::account::{Account, set_role};
use crate::cinema::TestCinema;
use crate::event_stream::EventStream;

/// Sends a cookie; returns the status and the cookie that replaces it.
async fn refresh(cinema: &TestCinema, cookie: &str) -> (u16, String) {
    let request = cinema.http.post(format!("{}/v1/auth/cookie/refresh", cinema.url()));
    let answer = request.header("X-Refresh-Cookie", "true").header(COOKIE, cookie).send().await.unwrap();
    let status = answer.status().as_u16();
    let set = answer.headers().get(SET_COOKIE).map(|set| set.to_str().unwrap().split(';').next().unwrap());
    (status, set.unwrap_or_default().to_owned())
}

async fn log_in(cinema: &TestCinema, email: &str) -> String {
    let account = Account::register(cinema, email).await;
    refresh(cinema, &format!("marquee_refresh={}", account.refresh_token)).await.1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_lost_the_answer_to_its_refresh_keeps_its_login() {
    let cinema = TestCinema::open().await;
    let first = log_in(&cinema, "ada@example.org").await;
    // One of two answers is lost; the browser may have received either.
    for arrives in [0, 1] {
        let begin = if arrives == 0 { first.clone() } else { log_in(&cinema, "bob@example.org").await };
        let (lost, again) = (refresh(&cinema, &begin).await, refresh(&cinema, &begin).await);
        assert_eq!((lost.0, again.0), (200, 200));
        let (used, other) = if arrives == 0 { (lost.1, again.1) } else { (again.1, lost.1) };
        let (status, next) = refresh(&cinema, &used).await;
        assert_eq!(status, 200);
        // The other answer arrived after that and replaced the cookie.
        let (status, late) = refresh(&cinema, &other).await;
        assert_eq!(status, 200, "the two answers count as one");
        assert_eq!(refresh(&cinema, &late).await.0, 200);
        assert_eq!(refresh(&cinema, &other).await.0, 401, "a successor was used: the cookie was stolen");
        assert_eq!(refresh(&cinema, &next).await.0, 401, "the login has ended");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_answers_to_one_cookie_the_second_is_of_no_use_later() {
    let cinema = TestCinema::open().await;
    let begin = log_in(&cinema, "ada@example.org").await;
    let (used, other) = (refresh(&cinema, &begin).await, refresh(&cinema, &begin).await);
    let (status, next) = refresh(&cinema, &used.1).await;
    assert_eq!(status, 200);
    let earlier = "update auth.refresh_tokens set spent_at = spent_at - interval '11 seconds'";
    sqlx::raw_sql(earlier).execute(&cinema.database).await.unwrap();
    assert_eq!(refresh(&cinema, &other.1).await.0, 401, "a browser does not retry so late");
    assert_eq!(refresh(&cinema, &next).await.0, 401, "the login has ended");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reusing_a_cookie_late_or_after_its_successor_was_used_ends_the_login() {
    let cinema = TestCinema::open().await;
    let cookie = log_in(&cinema, "ada@example.org").await;
    let (_, next) = refresh(&cinema, &cookie).await;
    let (status, last) = refresh(&cinema, &next).await;
    assert_eq!(status, 200);
    assert_eq!(refresh(&cinema, &cookie).await.0, 401, "this cookie or its successor was stolen");
    assert_eq!(refresh(&cinema, &last).await.0, 401, "the login has ended");

    let old = log_in(&cinema, "bob@example.org").await;
    let (_, next) = refresh(&cinema, &old).await;
    let earlier = "update auth.refresh_tokens set spent_at = spent_at - interval '11 seconds'";
    sqlx::raw_sql(earlier).execute(&cinema.database).await.unwrap();
    assert_eq!(refresh(&cinema, &old).await.0, 401, "a browser does not retry so late");
    assert_eq!(refresh(&cinema, &next).await.0, 401, "the login has ended");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn staff_receive_every_event_live_until_they_lose_their_role() {
    let cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let bob = Account::register(&cinema, "bob@example.org").await;
    set_role(&cinema, &cinema.owner(), &bob.id, "ADMIN").await.expect(200);
    bob.until_revoked(&cinema).await;
    let bob = bob.refresh(&cinema).await;
    let request = cinema.http.get(format!("{}/v1/admin/events", cinema.url())).bearer_auth(&bob.person.token);
    let mut live = EventStream::open(request).await;
    // Recent events come first.
    live.until(r#""subject":"user.role_changed""#).await;
    let reservation = cinema.buy(&ada, &["D4"]).await;
    live.until(&reservation).await;
    for subject in ["reservation.created", "payment.success", "reservation.confirmed"] {
        live.until(&format!(r#""subject":"{subject}""#)).await;
    }
    let ids: Vec<_> = live.received.lines().filter(|line| line.starts_with("id: ")).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "each event is sent once");

    set_role(&cinema, &cinema.owner(), &bob.id, "USER").await.expect(200);
    until_refused_by_the_gateway(&cinema, &bob.person.token).await;
    let after = cinema.reserve(&ada, &["A1"]).await;
    assert!(!live.read_to_end().await.contains(&after), "an event was sent to a user without the role");
    cinema.cancel(&ada, &after).await.expect(200);
    cinema.close().await;
}

/// Waits until the gateway itself refuses the token for its event stream, no longer than the promised second. A host may
/// know a revocation sooner, and the stream involves no host.
async fn until_refused_by_the_gateway(cinema: &TestCinema, token: &str) {
    let began = Instant::now();
    loop {
        let request = cinema.http.get(format!("{}/v1/admin/events", cinema.url())).bearer_auth(token);
        if request.send().await.unwrap().status() == 401 {
            return;
        }
        assert!(began.elapsed() < Duration::from_secs(1), "accepted for more than a second");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
