//! Postgres is killed, paused, cut off and made to refuse writes while changes are written: what is told is true.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actors::delivery::{Change, Outcome};
use bus::Failure;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::journal::write_all;
use super::probe::Probe;
use super::proxy::cutting;
use super::{Probing, SOON, bounded, connect, database, own_nats, own_postgres, seen, until};

/// What the writers were told.
#[derive(Debug, Default)]
struct Told {
    committed: BTreeSet<Uuid>,
    failed: BTreeSet<Uuid>,
    longest: Duration,
}

/// Writers that never rest until told to.
struct Load {
    over: Arc<AtomicBool>,
    writers: JoinSet<Told>,
}

impl Load {
    fn start(probing: &Probing, writers: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for _ in 0..writers {
            let (journal, clock, over) =
                (probing.journal.clone(), probing.builder.clock.clone(), over.clone());
            running.spawn(async move {
                let mut told = Told::default();
                while !over.load(Ordering::SeqCst) {
                    let probe = Probe::open();
                    let id = probe.id;
                    let outbox = vec![super::event(&id.to_string(), clock.now())];
                    let began = Instant::now();
                    match journal.commit(Change { outbox, ..Change::new(probe) }).await {
                        Outcome::Committed { .. } => told.committed.insert(id),
                        Outcome::Failed(Failure::Transient(_)) => told.failed.insert(id),
                        other => panic!("{id}: {other:?}"),
                    };
                    told.longest = told.longest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                told
            });
        }
        Self { over, writers: running }
    }

    async fn stop(mut self) -> Told {
        self.over.store(true, Ordering::SeqCst);
        let mut all = Told::default();
        while let Some(told) = bounded("every writer is told", self.writers.join_next()).await {
            let told = told.unwrap();
            all.committed.extend(told.committed);
            all.failed.extend(told.failed);
            all.longest = all.longest.max(told.longest);
        }
        all
    }
}

async fn assert_told_is_true(probing: &Probing, told: &Told) {
    let there = probing.accounts().await;
    let lost: Vec<_> = told.committed.difference(&there).collect();
    let denied: Vec<_> = told.failed.intersection(&there).collect();
    assert!(lost.is_empty(), "told as committed and not there: {lost:?}");
    assert!(denied.is_empty(), "told as failed and there: {denied:?}");
    assert_eq!(there.len(), told.committed.len(), "there and told nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_no_change_and_every_change_gets_an_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (mut postgres, url) = own_postgres().await;
    let probing = Probing::start(&url, &bus).await;
    let load = Load::start(&probing, 16);
    for _ in 0..3 {
        let before = probing.accounts().await.len();
        until("changes are written", SOON, async || {
            seen(probing.accounts().await.len(), |now| *now >= before + 200)
        })
        .await;
        postgres.kill().await;
        postgres.start_again().await.unwrap();
    }
    // Away for longer than anybody waits.
    postgres.kill().await;
    let mut well = probing.well.clone();
    bounded("the journal notices", well.wait_for(|well| !*well)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    postgres.start_again().await.unwrap();
    bounded("the journal goes on", well.wait_for(|well| *well)).await.unwrap();
    let before = probing.accounts().await.len();
    until("changes are written again", SOON, async || {
        seen(probing.accounts().await.len(), |now| *now >= before + 200)
    })
    .await;
    let told = load.stop().await;
    println!("{} committed, {} failed, longest {:?}", told.committed.len(), told.failed.len(), told.longest);
    assert!(told.failed.len() >= 16, "the last outage was told to everyone who waited");
    assert!(told.longest < Duration::from_secs(10), "{:?}", told.longest);
    assert_told_is_true(&probing, &told).await;
    assert_eq!(probing.until_all_is_out(&bus).await.len(), told.committed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_is_cut_gets_its_true_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let port = marquee::local::shared_postgres().await.unwrap().port();
    let (own, cuts) = cutting(port).await;
    let wire = url.replace(&format!(":{port}/"), &format!(":{own}/"));
    let probing = Probing::start_with(&wire, &url, None, &bus).await;
    let load = Load::start(&probing, 4);
    until("many commits were cut", SOON, async || {
        let counts = [&cuts.before_commit, &cuts.after_commit, &cuts.after_question];
        seen(counts.map(|count| count.load(Ordering::SeqCst)), |counts| {
            counts[0] >= 25 && counts[1] >= 25 && counts[2] >= 10
        })
    })
    .await;
    let told = load.stop().await;
    println!("{} committed, {} failed; {cuts:?}", told.committed.len(), told.failed.len());
    assert!(!told.committed.is_empty());
    assert_told_is_true(&probing, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_backends_never_cause_a_wrong_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let probing = Probing::start(&url, &bus).await;
    let load = Load::start(&probing, 8);
    let mut killer = PgConnection::connect(&url).await.unwrap();
    let mut killed = 0;
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        let hit: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and (query in ('COMMIT', 'BEGIN') or query like 'with %')",
        )
        .fetch_one(&mut killer)
        .await
        .unwrap();
        killed += hit;
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    let told = load.stop().await;
    println!("{killed} killed; {} committed, {} failed", told.committed.len(), told.failed.len());
    assert!(killed >= 10, "only {killed} were killed");
    assert_told_is_true(&probing, &told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_postgres_blocks_no_change_and_every_outcome_is_true() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (postgres, url) = own_postgres().await;
    let probing = Probing::start(&url, &bus).await;
    let load = Load::start(&probing, 8);
    until("changes are written", SOON, async || seen(probing.accounts().await.len(), |now| *now >= 100))
        .await;
    postgres.pause();
    let mut well = probing.well.clone();
    let began = Instant::now();
    bounded("the journal notices", well.wait_for(|well| !*well)).await.unwrap();
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(12), "noticed only after {noticed:?}");
    // New ones meanwhile are told, though what was cut off at its commit still asks.
    for outcome in write_all(&probing, vec![Change::new(Probe::open()), Change::new(Probe::open())]).await {
        assert!(matches!(outcome, Outcome::Failed(Failure::Transient(_))), "{outcome:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    postgres.resume();
    bounded("the journal goes on", well.wait_for(|well| *well)).await.unwrap();
    let before = probing.accounts().await.len();
    until("changes are written again", SOON, async || {
        seen(probing.accounts().await.len(), |now| *now >= before + 100)
    })
    .await;
    let told = load.stop().await;
    println!("noticed after {noticed:?}; longest wait {:?}", told.longest);
    assert_told_is_true(&probing, &told).await;
    probing.until_all_is_out(&bus).await;
}

#[tokio::test]
async fn an_idle_journal_notices_a_paused_postgres_and_its_return() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (postgres, url) = own_postgres().await;
    let mut probing = Probing::start(&url, &bus).await;
    write_all(&probing, vec![Change::new(Probe::open())]).await;
    postgres.pause();
    bounded("notices", probing.well.wait_for(|well| !*well)).await.unwrap();
    postgres.resume();
    bounded("comes back", probing.well.wait_for(|well| *well)).await.unwrap();
    let outcomes = write_all(&probing, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
}

#[tokio::test]
async fn a_read_only_database_counts_as_down_and_produces_no_poison() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let mut probing = Probing::start(&url, &bus).await;
    write_all(&probing, vec![Change::new(Probe::open())]).await;
    let read_only = async |is: &'static str| {
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let name: String =
            sqlx::query_scalar("select current_database()").fetch_one(&mut connection).await.unwrap();
        let set = format!("alter database {name} set default_transaction_read_only = {is}");
        sqlx::query("set transaction_read_only = off").execute(&mut connection).await.unwrap();
        sqlx::query("set default_transaction_read_only = off").execute(&mut connection).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut connection).await.unwrap();
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .execute(&mut connection)
        .await
        .unwrap();
    };
    read_only("on").await;
    bounded("notices", probing.well.wait_for(|well| !*well)).await.unwrap();
    let outcomes = write_all(&probing, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Failed(Failure::Transient(_))), "{outcomes:?}");
    let lured =
        tokio::time::timeout(Duration::from_millis(1_500), probing.well.wait_for(|well| *well)).await.is_ok();
    assert!(!lured, "it lets us in, but is not well");
    read_only("off").await;
    bounded("comes back", probing.well.wait_for(|well| *well)).await.unwrap();
    let outcomes = write_all(&probing, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
}
