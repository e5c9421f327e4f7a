//! The relay while NATS is killed, wiped, paused or not started yet, and after hosts that were killed before they published.

use std::time::Duration;

use actors::delivery::{Change, Outcome};
use uuid::Uuid;

use super::journal::write_all;
use super::probe::Probe;
use super::{ProbeHost, SOON, bounded, check, connect, database, own_nats, stream_ids, until};

async fn commit_many(host: &ProbeHost, count: usize) {
    let changes = (0..count).map(|_| host.change(Probe::open())).collect();
    for outcome in write_all(host, changes).await {
        assert!(matches!(outcome, Outcome::Committed { .. }), "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_go_on_without_nats_and_every_event_arrives_once_afterwards() {
    let mut nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    commit_many(&host, 100).await;
    nats.kill().await;
    // More notices and events than fit into any queue of the client.
    let began = std::time::Instant::now();
    commit_many(&host, 2_500).await;
    println!("2500 changes without NATS in {:?}", began.elapsed());
    nats.start_again().await.unwrap();
    commit_many(&host, 100).await;
    assert_eq!(host.until_all_is_published(&bus).await.len(), 2_700);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_nats_receives_every_archived_event_again() {
    let mut nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    commit_many(&host, 1_200).await;
    host.until_all_is_published(&bus).await;
    // Published long ago, so that repeating the last minute would not be enough.
    sqlx::query("update journals set safe_to = published_to, next_safe_to = published_to")
        .execute(&host.pool)
        .await
        .unwrap();
    nats.wipe().await.unwrap();
    commit_many(&host, 10).await;
    assert_eq!(host.until_all_is_published(&bus).await.len(), 1_210);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_the_last_minute_that_nats_lost_are_published_again() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let host = ProbeHost::start(&url, &bus).await;
    commit_many(&host, 50).await;
    host.until_all_is_published(&bus).await;
    host.running.stop().await;
    // As after a power cut of NATS: messages that were acknowledged and marked are lost, the stream is still the same.
    let stream = bus.jetstream.get_stream(bus::topology::EVENTS).await.unwrap();
    for sequence in 31..=50 {
        stream.delete_message(sequence).await.unwrap();
    }
    // The duplicate window stores ids, not messages, so it would drop the copies of deleted messages. A server that has
    // lost messages has lost their ids as well; here the window is shortened until the ids expire.
    let mut config = stream.cached_info().config.clone();
    config.duplicate_window = Duration::from_millis(100);
    bus.jetstream.update_stream(config).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stream_ids(&bus).await.len(), 30);

    let next = ProbeHost::start(&url, &bus).await;
    until("the stream has every event again", SOON, async || {
        let ids: std::collections::BTreeSet<String> = stream_ids(&bus).await.into_iter().collect();
        if ids == next.outbox_ids().await { Ok(()) } else { Err(ids.len()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_starts_without_nats_catches_up() {
    let mut nats = own_nats().await;
    let bus = connect(&nats).await;
    nats.kill().await;
    let host = ProbeHost::start(&database().await, &bus).await;
    commit_many(&host, 20).await;
    nats.start_again().await.unwrap();
    assert_eq!(host.until_all_is_published(&bus).await.len(), 20);
}

#[test]
fn events_that_a_killed_host_did_not_publish_are_published_by_the_next_host() {
    let one = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let next = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (url, nats) = next.block_on(async { (database().await, own_nats().await) });
    one.block_on(async {
        let host = ProbeHost::start(&url, &connect(&nats).await).await;
        commit_many(&host, 30).await;
        until("they are published", SOON, async || {
            check(host.count("select count(*) from unsent").await, |n| *n == 0)
        })
        .await;
        nats.pause();
        commit_many(&host, 200).await;
        assert!(host.count("select count(*) from unsent").await > 0);
    });
    // As kill -9: no task is finished and no destructor of a running task is awaited.
    one.shutdown_background();
    nats.resume();
    next.block_on(async {
        let bus = connect(&nats).await;
        let host = ProbeHost::start(&url, &bus).await;
        assert_eq!(host.until_all_is_published(&bus).await.len(), 230);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_sweeps_do_no_harm_and_an_event_without_a_stream_blocks_no_other() {
    let nats = own_nats().await;
    let (url, bus) = (database().await, connect(&nats).await);
    let host = ProbeHost::start(&url, &bus).await;
    let mut insert = Vec::new();
    for n in 0..1_500 {
        let subject = if n == 3 { "nowhere.at.all" } else { "movie.probed" };
        insert.push((Uuid::now_v7(), subject));
    }
    sqlx::query(
        "with life as (
           insert into journals (id, opened_at) values (gen_random_uuid(), now() - interval '1 minute') returning id)
         insert into outbox (day, journal, number, committed_at, event_ids, subjects, events)
         select (now() at time zone 'utc')::date, life.id, 1 + place / 30, now() - interval '20 seconds',
           array_agg(event.id), array_agg(subject), json_agg(json_build_object('id', event.id, 'subject', subject,
             'source', '/marquee/probe', 'time', now(), 'payload', '{}'::json,
             'context', json_build_object('correlation_id', 'a', 'traceparent', 'b')))
         from life, unnest($1::uuid[], $2::text[]) with ordinality as event (id, subject, place)
         group by life.id, place / 30",
    )
    .bind(insert.iter().map(|(id, _)| *id).collect::<Vec<_>>())
    .bind(insert.iter().map(|(_, subject)| *subject).collect::<Vec<_>>())
    .execute(&host.pool)
    .await
    .unwrap();
    let other = ProbeHost::start(&url, &bus).await;
    until("all events with a stream are marked", SOON, async || {
        check(other.count("select count(*) from unsent").await, |left| *left == 1)
    })
    .await;
    let stream = stream_ids(&bus).await;
    assert_eq!(stream.len(), 1_499);
    commit_many(&other, 5).await;
    until("new events are published", SOON, async || check(stream_ids(&bus).await.len(), |n| *n == 1_504))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stops_publishes_everything_and_refuses_later_changes() {
    let nats = own_nats().await;
    let (url, bus) = (database().await, connect(&nats).await);
    let host = ProbeHost::start(&url, &bus).await;
    // By now the relay publishes from memory.
    commit_many(&host, 1).await;
    host.until_all_is_published(&bus).await;
    let journal = host.journal.clone();
    let changes = (0..300).map(|_| host.change(Probe::open())).collect();
    let outcomes = write_all(&host, changes).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
    let ProbeHost { pool, running, .. } = host;
    bounded("the host stops", running.stop()).await;
    let unsent: i64 = sqlx::query_scalar("select count(*) from unsent").fetch_one(&pool).await.unwrap();
    assert_eq!(unsent, 0);
    let late = bounded("the outcome of a late change", journal.commit(Change::new(Probe::open()))).await;
    assert!(matches!(late, Outcome::Failed(bus::Failure::Transient(_))), "{late:?}");
}
