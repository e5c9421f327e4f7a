//! The seat lock on a real Redis, which is killed and paused: the lock delays changes and never prevents them.

use std::time::{Duration, Instant};

use actors::delivery::{Change, Outcome};
use marquee::local::{Folder, Redis};

use super::journal::write_all;
use super::probe::{Act, Probe};
use super::{ProbeHost, SOON, check, connect, database, own_nats, until};

async fn own_redis() -> Redis {
    Redis::start(&Folder::temporary().unwrap().join("redis").unwrap()).await.unwrap()
}

fn committed_at(outcome: &Outcome<Probe>) -> bus::contract::Timestamp {
    match outcome {
        Outcome::Committed { at, .. } => *at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_that_another_host_is_writing_is_deferred_to_the_next_batch() {
    let (nats, redis) = (own_nats().await, own_redis().await);
    let (url, bus) = (database().await, connect(&nats).await);
    let one = ProbeHost::start_with(&url, &url, Some(redis.url()), &bus).await;
    let other = ProbeHost::start_with(&url, &url, Some(redis.url()), &bus).await;
    // Redis may be slow at first, and then nothing is locked for 2 s.
    let mut round = 0;
    until("the contended change is written in the next batch", SOON, async || {
        round += 1;
        let key = format!("A{round}");
        let slow = Probe::new(uuid::Uuid::now_v7(), Act::OpenSlowly).locking(&key);
        let (left, right) = tokio::join!(write_all(&one, vec![Change::new(slow)]), async {
            // While the transaction of the first host sleeps.
            tokio::time::sleep(Duration::from_millis(150)).await;
            let contended = Change::new(Probe::open().locking(&key));
            let free = Change::new(Probe::open().locking(&format!("B{round}")));
            write_all(&other, vec![contended, free, Change::new(Probe::open())]).await
        });
        let at: Vec<_> = right.iter().map(committed_at).collect();
        // The other two changes share a batch; the contended one is deferred by one batch, and then Postgres decides.
        if at[1] == at[2] && at[1] < at[0] && at[0] < committed_at(&left[0]) { Ok(()) } else { Err(at) }
    })
    .await;
    // Released after the commit, long before they would expire.
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    until("no lock is left", Duration::from_secs(3), async || {
        let locks: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
        check(locks, Vec::is_empty)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_batches_are_written_with_little_delay() {
    let (nats, mut redis) = (own_nats().await, own_redis().await);
    let (url, bus) = (database().await, connect(&nats).await);
    let host = ProbeHost::start_with(&url, &url, Some(redis.url()), &bus).await;
    let write_twenty = async |what: &str| {
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            let batch = Instant::now();
            let outcomes = write_all(&host, vec![Change::new(Probe::open().locking(&format!("A{n}")))]).await;
            committed_at(&outcomes[0]);
            longest = longest.max(batch.elapsed());
        }
        println!("{what}: 20 batches in {:?}, longest {longest:?}", began.elapsed());
        // A batch waits at most 50 ms for Redis, once or twice in 2 s; the rest is for a busy machine.
        assert!(longest < Duration::from_millis(800), "{what}: {longest:?}");
        assert!(began.elapsed() < Duration::from_secs(3), "{what}: {:?}", began.elapsed());
    };
    write_twenty("running").await;
    redis.pause();
    write_twenty("paused").await;
    redis.resume();
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    write_twenty("resumed").await;
    redis.kill().await;
    write_twenty("killed").await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    write_twenty("still killed").await;
    redis.start_again().await.unwrap();
    write_twenty("started again").await;
    assert_eq!(host.count("select count(*) from accounts").await, 120);
}
