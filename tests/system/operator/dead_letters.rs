//! Dead letters from detection to repair: listed, shown, replayed and dropped, over REST and by the command line.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::{execute, expect_failure, expect_success, get, marquee};
use crate::cinema::TestCinema;

/// Waits until there are so many dead letters, and returns the page that lists them.
async fn until_parked(cinema: &TestCinema, count: u64) -> Value {
    let began = Instant::now();
    loop {
        let page = get(cinema, &cinema.owner(), "/v1/admin/dead-letters").await;
        if page["total"] == count {
            return page;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "not {count} dead letters: {page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Makes the database refuse every confirmation, with an error that counts as poison.
const BREAK: &str = "create function reservation.broken() returns trigger language plpgsql as $$
     begin raise exception 'the disk of confirmations is full' using errcode = 'check_violation'; end $$;
     create trigger broken before update on reservation.reservations
     for each row when (new.status = 'CONFIRMED') execute function reservation.broken()";
const REPAIR: &str = "drop trigger broken on reservation.reservations";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_is_listed_shown_and_replayed_when_its_cause_is_fixed() {
    let cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    execute(&cinema, BREAK).await;
    let reservation = cinema.reserve(&ada, &["A1", "A2"]).await;
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    let parked = until_parked(&cinema, 1).await;
    let dead_letter = &parked["items"][0];
    assert_eq!(
        (dead_letter["subject"].as_str(), dead_letter["consumer"].as_str()),
        (Some("payment.success"), Some("reservation"))
    );
    assert!(dead_letter["reason"].as_str().unwrap().contains("disk of confirmations"), "{dead_letter}");
    assert!(dead_letter.get("payload").is_none(), "a list has no payloads: {dead_letter}");
    // It does not block other messages.
    let bob = cinema.register().await;
    cinema.reserve(&bob, &["E1"]).await;

    let path = format!("/v1/admin/dead-letters/{}", dead_letter["sequence"]);
    let shown = get(&cinema, &owner, &path).await;
    assert_eq!(shown["payload"]["reservationId"], reservation, "{shown}");
    let listed = expect_success(&marquee(&cinema, &["dead-letters", "list"]));
    assert!(listed.contains("payment.success → reservation") && listed.contains("1 of 1"), "{listed}");

    // A user without a role may not read dead letters, and number 4711 does not exist.
    for (method, path) in [(Method::GET, path.as_str()), (Method::GET, "/v1/admin/dead-letters")] {
        assert_eq!(cinema.call(method, path, Some(&ada), None).await.status, 403);
    }
    assert_eq!(cinema.call(Method::GET, "/v1/admin/dead-letters/4711", Some(&owner), None).await.status, 404);
    assert_eq!(
        cinema.call(Method::GET, "/v1/admin/dead-letters/first", Some(&owner), None).await.status,
        400
    );

    let replay = format!("{path}/replay");
    let failed = cinema.call(Method::POST, &replay, Some(&owner), None).await;
    assert_eq!((failed.status.as_u16(), failed.code()), (409, "still-poison"), "{}", failed.text);
    assert!(failed.text.contains("disk of confirmations"), "{}", failed.text);
    until_parked(&cinema, 1).await;

    execute(&cinema, REPAIR).await;
    cinema.call(Method::POST, &replay, Some(&owner), None).await.expect(200);
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(
        cinema.call(Method::POST, &replay, Some(&owner), None).await.status,
        404,
        "it is no longer a dead letter"
    );
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_letter_that_stays_poison_is_dropped_and_a_replay_needs_its_host() {
    let cinema = TestCinema::open().await;
    let owner = cinema.owner();
    let nonsense = cinema.publish_unreadable_event().await;
    let dead_letter = until_parked(&cinema, 1).await["items"][0].clone();
    let sequence = dead_letter["sequence"].to_string();
    let shown = expect_success(&marquee(&cinema, &["dead-letters", "show", &sequence]));
    assert!(shown.contains("\"no JSON\""), "{shown}");
    let failed = expect_failure(&marquee(&cinema, &["dead-letters", "replay", "all"]));
    assert!(failed.contains("still-poison"), "{failed}");
    expect_success(&marquee(&cinema, &["dead-letters", "drop", &sequence]));
    until_parked(&cinema, 0).await;

    // A dead letter of a consumer whose host does not run.
    let mut headers = nonsense.headers();
    headers.insert("Marquee-Consumer", "kitchen");
    let bus = &cinema.cinema().bus;
    bus.jetstream
        .publish_with_headers("dlq.movie.created", headers, "{}".into())
        .await
        .unwrap()
        .await
        .unwrap();
    let dead_letter = until_parked(&cinema, 1).await["items"][0].clone();
    let path = format!("/v1/admin/dead-letters/{}", dead_letter["sequence"]);
    let unavailable = cinema.call(Method::POST, &format!("{path}/replay"), Some(&owner), None).await;
    assert_eq!(
        (unavailable.status.as_u16(), unavailable.code()),
        (503, "unavailable"),
        "{}",
        unavailable.text
    );
    cinema.call(Method::DELETE, &path, Some(&owner), None).await.expect(204);
    assert_eq!(cinema.call(Method::DELETE, &path, Some(&owner), None).await.status, 404);
    cinema.close().await;
}
