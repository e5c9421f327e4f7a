//! Postgres is killed, paused, disconnected and read-only while changes are written: every outcome must be true.

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
use super::proxy;
use super::{ProbeHost, SOON, bounded, check, connect, database, own_nats, own_postgres, until};

/// The outcomes of the changes of all writers.
#[derive(Debug, Default)]
struct Outcomes {
    committed: BTreeSet<Uuid>,
    failed: BTreeSet<Uuid>,
    longest: Duration,
}

/// Writers that commit changes without a pause until they are stopped.
struct Load {
    over: Arc<AtomicBool>,
    writers: JoinSet<Outcomes>,
}

impl Load {
    fn start(host: &ProbeHost, writers: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut running = JoinSet::new();
        for _ in 0..writers {
            let (journal, clock, over) = (host.journal.clone(), host.builder.clock.clone(), over.clone());
            running.spawn(async move {
                let mut outcomes = Outcomes::default();
                while !over.load(Ordering::SeqCst) {
                    let probe = Probe::open();
                    let id = probe.id;
                    let outbox = vec![super::event(&id.to_string(), clock.now())];
                    let began = Instant::now();
                    match journal.commit(Change { outbox, ..Change::new(probe) }).await {
                        Outcome::Committed { .. } => outcomes.committed.insert(id),
                        Outcome::Failed(Failure::Transient(_)) => outcomes.failed.insert(id),
                        other => panic!("{id}: {other:?}"),
                    };
                    outcomes.longest = outcomes.longest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                outcomes
            });
        }
        Self { over, writers: running }
    }

    async fn stop(mut self) -> Outcomes {
        self.over.store(true, Ordering::SeqCst);
        let mut all = Outcomes::default();
        while let Some(outcomes) = bounded("every writer ends", self.writers.join_next()).await {
            let outcomes = outcomes.unwrap();
            all.committed.extend(outcomes.committed);
            all.failed.extend(outcomes.failed);
            all.longest = all.longest.max(outcomes.longest);
        }
        all
    }
}

async fn assert_outcomes_are_true(host: &ProbeHost, outcomes: &Outcomes) {
    let existing = host.accounts().await;
    let lost: Vec<_> = outcomes.committed.difference(&existing).collect();
    let denied: Vec<_> = outcomes.failed.intersection(&existing).collect();
    assert!(lost.is_empty(), "committed and not in the database: {lost:?}");
    assert!(denied.is_empty(), "failed and in the database: {denied:?}");
    assert_eq!(existing.len(), outcomes.committed.len(), "in the database without an outcome");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_loses_no_change_and_every_change_gets_an_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (mut postgres, url) = own_postgres().await;
    let host = ProbeHost::start(&url, &bus).await;
    let load = Load::start(&host, 16);
    for _ in 0..3 {
        let before = host.accounts().await.len();
        until("changes are written", SOON, async || {
            check(host.accounts().await.len(), |now| *now >= before + 200)
        })
        .await;
        postgres.kill().await;
        postgres.start_again().await.unwrap();
    }
    // Down for longer than a change waits.
    postgres.kill().await;
    let mut database_up = host.database_up.clone();
    bounded("the journal notices", database_up.wait_for(|is_up| !*is_up)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    postgres.start_again().await.unwrap();
    bounded("the journal goes on", database_up.wait_for(|is_up| *is_up)).await.unwrap();
    let before = host.accounts().await.len();
    until("changes are written again", SOON, async || {
        check(host.accounts().await.len(), |now| *now >= before + 200)
    })
    .await;
    let outcomes = load.stop().await;
    println!(
        "{} committed, {} failed, longest {:?}",
        outcomes.committed.len(),
        outcomes.failed.len(),
        outcomes.longest
    );
    assert!(outcomes.failed.len() >= 16, "every waiting change fails in the last outage");
    assert!(outcomes.longest < Duration::from_secs(10), "{:?}", outcomes.longest);
    assert_outcomes_are_true(&host, &outcomes).await;
    assert_eq!(host.until_all_is_published(&bus).await.len(), outcomes.committed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_connection_is_cut_gets_its_true_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let port = marquee::local::shared_postgres().await.unwrap().port();
    let (own, cuts) = proxy::start(port).await;
    let proxied = url.replace(&format!(":{port}/"), &format!(":{own}/"));
    let host = ProbeHost::start_with(&proxied, &url, &bus).await;
    let load = Load::start(&host, 4);
    until("many commits were cut", SOON, async || {
        let counts = [&cuts.before_commit, &cuts.after_commit, &cuts.after_query];
        check(counts.map(|count| count.load(Ordering::SeqCst)), |counts| {
            counts[0] >= 25 && counts[1] >= 25 && counts[2] >= 10
        })
    })
    .await;
    let outcomes = load.stop().await;
    println!("{} committed, {} failed; {cuts:?}", outcomes.committed.len(), outcomes.failed.len());
    assert!(!outcomes.committed.is_empty());
    assert_outcomes_are_true(&host, &outcomes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminated_backends_never_cause_a_wrong_outcome() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let host = ProbeHost::start(&url, &bus).await;
    let load = Load::start(&host, 8);
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
    let outcomes = load.stop().await;
    println!("{killed} killed; {} committed, {} failed", outcomes.committed.len(), outcomes.failed.len());
    assert!(killed >= 10, "only {killed} were killed");
    assert_outcomes_are_true(&host, &outcomes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_postgres_blocks_no_change_and_every_outcome_is_true() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (postgres, url) = own_postgres().await;
    let host = ProbeHost::start(&url, &bus).await;
    let load = Load::start(&host, 8);
    until("changes are written", SOON, async || check(host.accounts().await.len(), |now| *now >= 100)).await;
    postgres.pause();
    let mut database_up = host.database_up.clone();
    let began = Instant::now();
    bounded("the journal notices", database_up.wait_for(|is_up| !*is_up)).await.unwrap();
    let noticed = began.elapsed();
    assert!(noticed < Duration::from_secs(12), "noticed only after {noticed:?}");
    // New changes get an outcome although the host still queries the outcome of an interrupted commit.
    for outcome in write_all(&host, vec![Change::new(Probe::open()), Change::new(Probe::open())]).await {
        assert!(matches!(outcome, Outcome::Failed(Failure::Transient(_))), "{outcome:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    postgres.resume();
    bounded("the journal goes on", database_up.wait_for(|is_up| *is_up)).await.unwrap();
    let before = host.accounts().await.len();
    until("changes are written again", SOON, async || {
        check(host.accounts().await.len(), |now| *now >= before + 100)
    })
    .await;
    let outcomes = load.stop().await;
    println!("noticed after {noticed:?}; longest wait {:?}", outcomes.longest);
    assert_outcomes_are_true(&host, &outcomes).await;
    host.until_all_is_published(&bus).await;
}

#[tokio::test]
async fn an_idle_journal_notices_a_paused_postgres_and_its_return() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let (postgres, url) = own_postgres().await;
    let mut host = ProbeHost::start(&url, &bus).await;
    write_all(&host, vec![Change::new(Probe::open())]).await;
    postgres.pause();
    bounded("notices", host.database_up.wait_for(|is_up| !*is_up)).await.unwrap();
    postgres.resume();
    bounded("comes back", host.database_up.wait_for(|is_up| *is_up)).await.unwrap();
    let outcomes = write_all(&host, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
}

#[tokio::test]
async fn a_read_only_database_counts_as_down_and_produces_no_poison() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let mut host = ProbeHost::start(&url, &bus).await;
    write_all(&host, vec![Change::new(Probe::open())]).await;
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
    bounded("notices", host.database_up.wait_for(|is_up| !*is_up)).await.unwrap();
    let outcomes = write_all(&host, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Failed(Failure::Transient(_))), "{outcomes:?}");
    let is_up = tokio::time::timeout(Duration::from_millis(1_500), host.database_up.wait_for(|is_up| *is_up))
        .await
        .is_ok();
    assert!(!is_up, "a database that accepts connections but no writes counts as up");
    read_only("off").await;
    bounded("comes back", host.database_up.wait_for(|is_up| *is_up)).await.unwrap();
    let outcomes = write_all(&host, vec![Change::new(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
}
