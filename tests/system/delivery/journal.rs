//! The journal without faults: group commit, rejections, duplicates, idempotency keys.

use std::time::Duration;

use actors::delivery::{Change, IdempotencyKey, IdempotencyWrite, Outcome};
use bus::Failure;
use bytes::Bytes;
use futures::future::join_all;
use futures::{FutureExt, StreamExt};
use sqlx::Connection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::probe::{Act, Probe, Rejection};
use super::{ProbeHost, bounded, check, connect, database, own_nats, until};

/// Passes all changes to the journal at once, in order, and returns their outcomes in the same order.
pub async fn write_all(host: &ProbeHost, changes: Vec<Change<Probe>>) -> Vec<Outcome<Probe>> {
    let outcomes: Vec<oneshot::Receiver<Outcome<Probe>>> = changes
        .into_iter()
        .map(|change| {
            let (sender, outcome) = oneshot::channel();
            host.journal.write(change, move |outcome| {
                let _ = sender.send(outcome);
            });
            outcome
        })
        .collect();
    bounded("every outcome", join_all(outcomes)).await.into_iter().map(|outcome| outcome.unwrap()).collect()
}

fn committed(outcomes: &[Outcome<Probe>]) -> usize {
    outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_changes_share_transactions_and_each_gets_its_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    let before = host.count("select count(*) from outbox").await;
    let commits = (0..500).map(|_| {
        let journal = host.journal.clone();
        let change = host.change(Probe::open());
        tokio::spawn(async move { journal.commit(change).await })
    });
    let outcomes = bounded("every outcome", join_all(commits)).await;
    let outcomes: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap()).collect();
    assert_eq!(committed(&outcomes), 500);
    let batches = host.count("select count(*) from outbox").await - before;
    assert!(batches <= 100, "{batches} transactions for 500 changes");
    assert_eq!(host.count("select count(*) from accounts").await, 500);
    assert_eq!(host.until_all_is_published(&bus).await.len(), 500);
}

#[tokio::test]
async fn changes_with_a_delay_are_batched_and_an_urgent_change_commits_them_early() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let delayed = |seconds| Change { max_delay: Duration::from_secs(seconds), ..Change::new(Probe::open()) };
    // So far apart that without a delay each would have a transaction of its own.
    let one_by_one = (0..8).map(|number| {
        let (journal, change) = (host.journal.clone(), delayed(2));
        async move {
            tokio::time::sleep(Duration::from_millis(30 * number)).await;
            journal.commit(change).await
        }
    });
    let outcomes = bounded("every outcome", join_all(one_by_one)).await;
    assert_eq!(committed(&outcomes), 8, "{outcomes:?}");
    assert_eq!(host.count("select count(distinct xmin::text) from accounts").await, 1);
    // Without the urgent change these would be committed after an hour.
    let outcomes = write_all(&host, vec![delayed(3_600), delayed(3_600), Change::new(Probe::open())]).await;
    assert_eq!(committed(&outcomes), 3, "{outcomes:?}");
}

#[tokio::test]
async fn changes_of_one_key_are_written_in_order() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let mut changes = Vec::new();
    for version in 0..6 {
        changes.extend(ids.iter().map(|id| match version {
            0 => Change::new(Probe::new(*id, Act::Open { owner: id.to_string(), version: 1 })),
            _ => Change::new(Probe::raise(*id, version)),
        }));
    }
    let outcomes = write_all(&host, changes).await;
    // A change out of order would be stale.
    assert_eq!(committed(&outcomes), 60, "{outcomes:?}");
    assert_eq!(host.count("select count(*) from accounts where version = 6").await, 10);
}

#[tokio::test]
async fn a_bad_change_fails_alone_and_the_rest_of_its_batch_is_written() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    write_all(&host, vec![host.change(Probe::open_for("ada"))]).await;

    let mut changes: Vec<_> = (0..60).map(|_| host.change(Probe::open())).collect();
    changes[10] = Change::new(Probe::open_for("ada"));
    changes[20] = Change::new(Probe::poison());
    changes[30] = Change::new(Probe::raise(Uuid::now_v7(), 7));
    for bad in [10, 20, 30] {
        let event = host.event(&changes[bad].rows);
        changes[bad].outbox.push(event);
    }
    let outcomes = write_all(&host, changes).await;

    assert!(matches!(outcomes[10], Outcome::Rejected(Rejection::OwnerHasAnAccount)), "{:?}", outcomes[10]);
    assert!(
        matches!(&outcomes[20], Outcome::Failed(Failure::Poison(why)) if why.contains("versions_are_positive")),
        "{:?}",
        outcomes[20]
    );
    assert!(matches!(outcomes[30], Outcome::Stale), "{:?}", outcomes[30]);
    assert_eq!(committed(&outcomes), 57, "{outcomes:?}");
    assert_eq!(host.count("select count(*) from accounts").await, 58);
    assert_eq!(host.count("select count(*) from events").await, 58, "a refused change leaves no event");
    assert_eq!(host.until_all_is_published(&bus).await.len(), 58);
}

#[tokio::test]
async fn stale_changes_are_reported_and_the_rest_of_the_batch_stays_together() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let mut changes: Vec<_> = (0..100).map(|_| Change::new(Probe::open())).collect();
    for stale in [40, 60, 80] {
        changes[stale] = Change::new(Probe::raise(Uuid::now_v7(), 7));
    }
    let batches = "select count(*) from outbox";
    let before = host.count(batches).await;
    let outcomes = write_all(&host, changes).await;
    assert_eq!(committed(&outcomes), 97, "{outcomes:?}");
    for stale in [40, 60, 80] {
        assert!(matches!(outcomes[stale], Outcome::Stale), "{:?}", outcomes[stale]);
    }
    // The first change may be committed alone, and a batch may end at any change.
    let transactions = host.count(batches).await - before;
    assert!(transactions <= 5, "{transactions} transactions for 97 changes");
}

#[tokio::test]
async fn a_refused_change_releases_its_row_locks_before_its_outcome_is_sent() {
    let nats = own_nats().await;
    let url = database().await;
    let host = ProbeHost::start(&url, &connect(&nats).await).await;
    let probe = Probe::open();
    write_all(&host, vec![Change::new(probe.clone())]).await;
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::query("set lock_timeout = '150ms'").execute(&mut other).await.unwrap();
    let outcomes = write_all(&host, vec![Change::new(Probe::new(probe.id, Act::RaiseAndReportStale))]).await;
    assert!(matches!(outcomes[0], Outcome::Stale), "{outcomes:?}");
    sqlx::query("update probe.accounts set version = 9 where id = $1")
        .bind(probe.id)
        .execute(&mut other)
        .await
        .expect("the row is not locked");
}

#[tokio::test]
async fn hosts_that_deadlock_both_commit() {
    let nats = own_nats().await;
    let (url, bus) = (database().await, connect(&nats).await);
    let (one, other) = (ProbeHost::start(&url, &bus).await, ProbeHost::start(&url, &bus).await);
    let (a, b) = (Probe::open(), Probe::open());
    write_all(&one, vec![Change::new(a.clone()), Change::new(b.clone())]).await;

    let cross =
        |first: Uuid, then: Uuid| vec![Change::new(Probe::new(first, Act::RaiseAlsoSlowly { other: then }))];
    let (left, right) =
        tokio::join!(write_all(&one, cross(a.id, b.id)), write_all(&other, cross(b.id, a.id)));
    assert_eq!((committed(&left), committed(&right)), (1, 1), "{left:?} {right:?}");
    assert_eq!(one.count("select count(*) from accounts where version = 3").await, 2);
    until("Postgres counts the deadlock", super::SOON, async || {
        let deadlocks =
            one.count("select deadlocks from pg_stat_database where datname = current_database()").await;
        check(deadlocks, |deadlocks| *deadlocks >= 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hosts_that_write_over_one_version_one_wins_and_the_other_is_stale() {
    let nats = own_nats().await;
    let (url, bus) = (database().await, connect(&nats).await);
    let (one, other) = (ProbeHost::start(&url, &bus).await, ProbeHost::start(&url, &bus).await);
    let accounts: Vec<Probe> = (0..100).map(|_| Probe::open()).collect();
    write_all(&one, accounts.iter().cloned().map(Change::new).collect()).await;
    let raise = |account: &Probe| Change::new(Probe::raise(account.id, 1));
    let forward = accounts.iter().map(raise).collect();
    let backward = accounts.iter().rev().map(raise).collect();
    let (left, mut right) = tokio::join!(write_all(&one, forward), write_all(&other, backward));
    right.reverse();
    for (n, pair) in left.iter().zip(&right).enumerate() {
        let is_once = matches!(
            pair,
            (Outcome::Committed { .. }, Outcome::Stale) | (Outcome::Stale, Outcome::Committed { .. })
        );
        assert!(is_once, "{n}: {pair:?}");
    }
    assert_eq!(one.count("select count(*) from accounts where version = 2").await, 100);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_even_in_the_same_batch() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let key = IdempotencyKey { user_id: Uuid::now_v7(), route: "rpc.probe.open", key: "k".to_owned() };
    for probe in [Probe::open_for("ada"), Probe::new(Uuid::now_v7(), Act::OpenSlowly)] {
        let key = IdempotencyKey { key: probe.id.to_string(), ..key.clone() };
        let change = |answer: &'static str| Change {
            idempotency: Some(IdempotencyWrite::Claim {
                key: key.clone(),
                request_hash: [1; 32],
                response: Some(Bytes::from(answer)),
            }),
            ..Change::new(probe.clone())
        };
        let outcomes = write_all(&host, vec![change("first"), change("second")]).await;
        assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
        match &outcomes[1] {
            Outcome::Repeated(stored) => assert_eq!(stored.response.as_deref(), Some(b"first".as_slice())),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_change_with_an_event_too_large_for_the_stream_is_not_written() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    let mut large = host.change(Probe::open());
    large.outbox[0].payload = format!("{:?}", "x".repeat(1_100_000)).into();
    let outcomes = write_all(&host, vec![large, host.change(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Failed(Failure::Poison(_))), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Committed { .. }), "{outcomes:?}");
    assert_eq!(host.until_all_is_published(&bus).await.len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_repeats_its_first_answer_for_a_day() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let user_id = Uuid::now_v7();
    let key = |name: &str| IdempotencyKey { user_id, route: "rpc.probe.open", key: name.to_owned() };
    let claim = |name: &str, hash: u8, response: Option<&'static str>| Change {
        idempotency: Some(IdempotencyWrite::Claim {
            key: key(name),
            request_hash: [hash; 32],
            response: response.map(Bytes::from),
        }),
        ..Change::new(Probe::open())
    };
    let settle = |write| Change { idempotency: Some(write), ..Change::new(Probe::open()) };
    let one = async |change| write_all(&host, vec![change]).await.remove(0);
    let repeated = |outcome: &Outcome<Probe>, hash: u8, response: Option<&str>| match outcome {
        Outcome::Repeated(stored) => {
            assert_eq!(stored.request_hash, [hash; 32]);
            assert_eq!(stored.response.as_deref(), response.map(str::as_bytes));
        }
        other => panic!("{other:?}"),
    };

    // Claimed and answered in one change; repeated with the same and with another request.
    assert!(matches!(one(claim("a", 1, Some("first"))).await, Outcome::Committed { .. }));
    repeated(&one(claim("a", 1, Some("second"))).await, 1, Some("first"));
    repeated(&one(claim("a", 2, Some("third"))).await, 1, Some("first"));
    // Claimed without an answer, then completed.
    let both = write_all(&host, vec![claim("b", 1, None), claim("b", 1, None)]).await;
    assert!(matches!(both[0], Outcome::Committed { .. }), "{both:?}");
    repeated(&both[1], 1, None);
    one(settle(IdempotencyWrite::Complete { key: key("b"), response: Bytes::from("done") })).await;
    repeated(&one(claim("b", 1, None)).await, 1, Some("done"));
    // A deleted key can be claimed again.
    one(claim("c", 1, None)).await;
    one(settle(IdempotencyWrite::Forget { key: key("c") })).await;
    assert!(matches!(one(claim("c", 1, None)).await, Outcome::Committed { .. }));
    // Claimed and settled in one batch, in either order.
    write_all(
        &host,
        vec![
            claim("d", 1, None),
            settle(IdempotencyWrite::Complete { key: key("d"), response: Bytes::from("at once") }),
            settle(IdempotencyWrite::Forget { key: key("c") }),
            claim("c", 3, Some("anew")),
        ],
    )
    .await;
    repeated(&one(claim("d", 1, None)).await, 1, Some("at once"));
    repeated(&one(claim("c", 3, None)).await, 3, Some("anew"));
    // After a day the key can be claimed again.
    sqlx::query(
        "update idempotency set created_at = created_at - interval '24 hours 1 second' where key = 'a'",
    )
    .execute(&host.pool)
    .await
    .unwrap();
    assert!(matches!(one(claim("a", 2, Some("next day"))).await, Outcome::Committed { .. }));
    repeated(&one(claim("a", 2, None)).await, 2, Some("next day"));
    // One account for each committed change: 7 claims, 4 settlements.
    assert_eq!(host.count("select count(*) from accounts").await, 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_published_before_its_commit() {
    let nats = own_nats().await;
    let (url, bus) = (database().await, connect(&nats).await);
    let host = ProbeHost::start(&url, &bus).await;
    let mut published = bus.client.subscribe("movie.>").await.unwrap();
    bus.client.flush().await.unwrap();
    write_all(&host, vec![Change::new(Probe::open_for("ada"))]).await;

    let mut changes = Vec::new();
    for n in 0..90 {
        changes.push(host.change(match n % 3 {
            0 => Probe::open(),
            1 => Probe::open_for("ada"),
            _ => Probe::poison(),
        }));
    }
    let writing = write_all(&host, changes);
    let receiving = async {
        for n in 0..30 {
            let message = bounded("an event", published.next()).await.unwrap();
            let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            let id: Uuid = event["probe"].as_str().unwrap().parse().unwrap();
            assert!(host.accounts().await.contains(&id), "event {n} came before its row");
        }
    };
    let (outcomes, ()) = tokio::join!(writing, receiving);
    assert_eq!(committed(&outcomes), 30, "{outcomes:?}");
    assert_eq!(host.until_all_is_published(&bus).await.len(), 30);
    bus.client.flush().await.unwrap();
    // On a busy machine the sweep may publish an event twice, but never one of a refused change.
    let accounts = host.accounts().await;
    while let Some(Some(message)) = published.next().now_or_never() {
        let event: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        let id: Uuid = event["probe"].as_str().unwrap().parse().unwrap();
        assert!(accounts.contains(&id), "an event of a refused change was published");
    }
}

#[tokio::test]
async fn a_change_of_a_row_locked_for_long_fails_as_transient_and_the_others_commit() {
    let nats = own_nats().await;
    let url = database().await;
    let host = ProbeHost::start(&url, &connect(&nats).await).await;
    let probe = Probe::open();
    write_all(&host, vec![Change::new(probe.clone())]).await;
    let mut other = sqlx::PgConnection::connect(&url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("select from probe.accounts where id = $1 for update")
        .bind(probe.id)
        .execute(&mut *lock)
        .await
        .unwrap();

    let changes =
        vec![Change::new(Probe::open()), Change::new(Probe::raise(probe.id, 1)), Change::new(Probe::open())];
    let outcomes = write_all(&host, changes).await;
    assert!(matches!(outcomes[1], Outcome::Failed(Failure::Transient(_))), "{outcomes:?}");
    assert_eq!(committed(&outcomes), 2, "{outcomes:?}");
    lock.rollback().await.unwrap();
    assert_eq!(committed(&write_all(&host, vec![Change::new(Probe::raise(probe.id, 1))]).await), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_changes_with_an_event_each_are_published_within_seconds() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    let started = std::time::Instant::now();
    let mut outcomes = Vec::new();
    for _ in 0..8 {
        let changes = (0..250).map(|_| host.change(Probe::open())).collect();
        outcomes.extend(write_all(&host, changes).await);
    }
    assert_eq!(committed(&outcomes), 2_000);
    let written = started.elapsed();
    until("all are published", Duration::from_secs(30), async || {
        check(host.count("select count(*) from unsent").await, |left| *left == 0)
    })
    .await;
    let published = started.elapsed();
    println!("2000 changes written in {written:?}, their events published in {published:?}");
    assert!(published < Duration::from_secs(5), "took {published:?}");
}
