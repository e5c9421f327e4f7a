//! Supervision and upkeep: failed workers are restarted, repeated failures end the host, partitions are created and dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actors::delivery::{Change, Outcome};
use actors::host::Stage;
use futures::future::join_all;
use sqlx::ConnectOptions;
use uuid::Uuid;

use super::journal::write_all;
use super::probe::{Act, Probe};
use super::{ProbeHost, bounded, check, connect, database, own_nats};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_panics_is_restarted_and_writes_the_waiting_changes() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    let slow = host.journal.commit(Change::new(Probe::new(Uuid::now_v7(), Act::OpenSlowly)));
    let rest = async {
        // While the first batch is written, the panicking change and then the others wait for the next batches.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let panics = host.journal.commit(Change::new(Probe::new(Uuid::now_v7(), Act::Panic)));
        let mut others: Vec<_> = (0..300).map(|_| host.journal.commit(host.change(Probe::open()))).collect();
        let (panicked, outcomes) = tokio::join!(panics, join_all(others.drain(..)));
        (panicked, outcomes)
    };
    let (slow, (panicked, outcomes)) = bounded("every outcome", async { tokio::join!(slow, rest) }).await;
    assert!(matches!(slow, Outcome::Committed { .. }), "{slow:?}");
    assert!(matches!(panicked, Outcome::Failed(_)), "{panicked:?}");
    let committed = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Committed { .. })).count();
    // The changes in the batch that panicked have failed and are not in the database.
    assert!(committed >= 300 - 256, "{committed}");
    assert_eq!(host.count("select count(*) from accounts").await, committed as i64 + 1);
    let outcomes = write_all(&host, vec![host.change(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
    host.until_all_is_published(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_one_outcome_callback_does_not_affect_the_others() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    // While this change is written, the others wait and form one batch.
    host.journal.write(Change::new(Probe::new(Uuid::now_v7(), Act::OpenSlowly)), |_| ());
    tokio::time::sleep(Duration::from_millis(200)).await;
    host.journal.write(Change::new(Probe::open()), |_| panic!("planned"));
    let outcomes = write_all(&host, (0..20).map(|_| Change::new(Probe::open())).collect()).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
}

#[tokio::test]
async fn a_host_ends_when_its_worker_fails_too_often() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let config = actors::config::HostConfig {
        database_url: database().await,
        jwt_public_keys: bus::contract::auth::KeySet::default(),
    };
    let builder = actors::host::DomainBuilder::connect(&config, bus, "probe").await.unwrap();
    let starts = Arc::new(AtomicUsize::new(0));
    let counted = starts.clone();
    let child = builder.worker(Stage::Intake, "broken", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { anyhow::bail!("planned") }
    });
    // The delays between the restarts take half a minute.
    tokio::time::pause();
    let (_database_up, availability) = tokio::sync::watch::channel(true);
    let mut host = builder.start(availability, move || vec![child.clone()]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(120), host.failed()).await.expect("the budget is spent");
    assert_eq!(starts.load(Ordering::SeqCst), 9);
}

#[tokio::test]
async fn upkeep_creates_partitions_ahead_and_drops_old_ones_only_when_published() {
    let nats = own_nats().await;
    let host = ProbeHost::start(&database().await, &connect(&nats).await).await;
    let ahead = "select count(*) from pg_inherits where inhparent = 'outbox'::regclass
                 and inhrelid::regclass::text >= 'outbox_' || to_char(now() at time zone 'utc', 'YYYYMMDD')";
    assert_eq!(host.count(ahead).await, 8, "today and the next seven days");
    host.running.stop().await;
    let pool = actors::delivery::Database::new(&url_of(&host.pool), "probe").unwrap().pool;
    // Days 20, 15 and 5 ago: published, not published, published.
    sqlx::raw_sql(
        "do $$
         declare day date; ago int; life uuid;
         begin
           foreach ago in array array[20, 15, 5] loop
             day := (now() at time zone 'utc')::date - ago;
             life := gen_random_uuid();
             execute format('create table outbox_%s partition of outbox for values from (%L) to (%L)',
               to_char(day, 'YYYYMMDD'), day, day + 1);
             insert into journals (id, opened_at, published_to) values (life, day, case when ago = 15 then 0 else 1 end);
             insert into outbox (day, journal, number, committed_at, event_ids, subjects)
             values (day, life, 1, day, array[gen_random_uuid()], array['movie.probed']);
           end loop;
         end $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("select delivery.drop_old('probe', 7)").execute(&pool).await.unwrap();
    let left: Vec<i32> = sqlx::query_scalar(
        "select distinct (now() at time zone 'utc')::date - day as ago from outbox where event_ids <> '{}' order by ago",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(left, [5, 15], "an unpublished partition stays however old it is");
    let old = "select count(*) from journals where opened_at < now() - interval '2 days'";
    assert_eq!(
        sqlx::query_scalar::<_, i64>(old).fetch_one(&pool).await.unwrap(),
        1,
        "a journal without rows in the outbox is deleted"
    );
    let indexes: i64 = sqlx::query_scalar(
        "select min(n) from (select count(i.indexrelid) n from pg_inherits p
         left join pg_index i on i.indrelid = p.inhrelid where p.inhparent = 'outbox'::regclass group by p.inhrelid) x",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(indexes, 1, "each partition has the index of the table");
}

/// The database URL of a pool.
fn url_of(pool: &sqlx::PgPool) -> String {
    pool.connect_options().to_url_lossy().to_string()
}

#[tokio::test]
async fn a_domain_that_was_stopped_for_weeks_writes_at_once() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let url = database().await;
    let pool = actors::delivery::Database::new(&url, "probe").unwrap().pool;
    sqlx::raw_sql(
        "do $$ declare old record; begin
           for old in select inhrelid::regclass::text as name from pg_inherits where inhparent = 'outbox'::regclass loop
             execute 'drop table ' || old.name;
           end loop;
         end $$",
    )
    .execute(&pool)
    .await
    .unwrap();
    let host = ProbeHost::start(&url, &bus).await;
    let outcomes = write_all(&host, vec![host.change(Probe::open())]).await;
    assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
    host.until_all_is_published(&bus).await;
}

#[tokio::test]
async fn a_journal_without_a_partition_for_today_creates_it_and_writes() {
    let nats = own_nats().await;
    let bus = connect(&nats).await;
    let host = ProbeHost::start(&database().await, &bus).await;
    host.until_all_is_published(&bus).await;
    sqlx::raw_sql(
        "do $$ declare part record; begin
           for part in select inhrelid::regclass::text as name from pg_inherits where inhparent = 'outbox'::regclass loop
             execute 'drop table ' || part.name;
           end loop;
         end $$",
    )
    .execute(&host.pool)
    .await
    .unwrap();
    let outcomes = write_all(&host, vec![host.change(Probe::open()), host.change(Probe::open())]).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed { .. })), "{outcomes:?}");
    assert_eq!(host.until_all_is_published(&bus).await.len(), 2);
}

#[tokio::test]
async fn upkeep_does_not_block_writers() {
    let nats = own_nats().await;
    let url = database().await;
    let host = ProbeHost::start(&url, &connect(&nats).await).await;
    sqlx::raw_sql(
        "do $$ begin
           execute 'drop table outbox_' || to_char(now() at time zone 'utc' + interval '7 days', 'YYYYMMDD');
         end $$",
    )
    .execute(&host.pool)
    .await
    .unwrap();
    // As if a dump read the table for hours while a partition is missing.
    let mut dump = host.pool.begin().await.unwrap();
    sqlx::query("lock table outbox in access share mode").execute(&mut *dump).await.unwrap();
    let upkeep = sqlx::query("select delivery.make_partitions('probe')").execute(&host.pool);
    let writing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let began = std::time::Instant::now();
        let outcomes = write_all(&host, vec![host.change(Probe::open())]).await;
        assert!(matches!(outcomes[0], Outcome::Committed { .. }), "{outcomes:?}");
        check(began.elapsed(), |took| *took < Duration::from_millis(700))
            .expect("the change was not blocked");
    };
    let (upkeep, ()) = tokio::join!(upkeep, writing);
    upkeep.expect("creating a partition does not wait for readers");
}
