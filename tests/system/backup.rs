//! Backup and restore as a drill on real servers: dumped while it sells, restored into another database beside an empty NATS.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use marquee::local::{Nats, shared_postgres};
use sqlx::PgPool;

use crate::cinema::{Person, TestCinema};
use crate::operator::{expect_failure, expect_success, marquee, text, until_all_is_handled};

/// Longer than `fsck` tolerates work in progress.
const SETTLED_MAX: Duration = Duration::from_secs(120);

/// Runs a script of the repository.
async fn script(name: &str, folder: &std::path::Path, settings: &[(&str, String)]) -> Output {
    let mut command = Command::new(format!("{}/scripts/{name}", env!("CARGO_MANIFEST_DIR")));
    command.arg(folder).envs(settings.iter().map(|(name, value)| (name, value)));
    command.env("MARQUEE", env!("CARGO_BIN_EXE_marquee")).env("RUST_LOG", "error");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// A PATH on which a `pg_dump` is found that is older than every server.
fn with_old_pg_dump(folder: &std::path::Path) -> String {
    let program = folder.join("pg_dump");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&program, "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24 (Debian 9.6.24-1)'\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Sells one seat after another until it is stopped; returns what was confirmed.
async fn sell_until(cinema: &TestCinema, who: &Person, rows: &[char], stop: &AtomicBool) -> Vec<String> {
    let mut sold = Vec::new();
    for seat in rows.iter().flat_map(|row| (1..=10).map(move |number| format!("{row}{number}"))) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        sold.push(cinema.buy(who, &[seat.as_str()]).await);
    }
    sold
}

/// How many mails with tickets name each order's seats.
fn tickets_mailed(cinema: &TestCinema) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for mail in cinema.mails().into_iter().filter(|mail| mail.subject.starts_with("Your tickets:")) {
        let words = mail.text.split(|c: char| !c.is_ascii_alphanumeric());
        let is_seat = |word: &&str| {
            word.starts_with(['A', 'B', 'C', 'D', 'E'])
                && word[1..].parse::<u32>().is_ok_and(|number| number <= 10)
        };
        let seats: std::collections::BTreeSet<&str> = words.filter(is_seat).collect();
        *counts.entry(seats.into_iter().collect::<Vec<_>>().join(",")).or_default() += 1;
    }
    counts
}

/// Moves the cinema to an empty database and an empty NATS; the provider and the folder of mails stay.
async fn move_elsewhere(cinema: &mut TestCinema) -> Vec<(&'static str, String)> {
    let name = format!("restored_{}", uuid::Uuid::now_v7().simple());
    let database = shared_postgres().await.unwrap().create_database(&name).await.unwrap();
    cinema.nats = Nats::start(&cinema.folder.join("other-nats").unwrap()).await.unwrap();
    cinema.database = PgPool::connect_lazy(&database).unwrap();
    let media = cinema.folder.path().join("restored-media").display().to_string();
    let settings = vec![
        ("DATABASE_URL", database),
        ("NATS_URL", cinema.nats.url()),
        ("NATS_PASSWORD", cinema.nats.password().to_owned()),
        ("MEDIA_DIR", media),
    ];
    settings.iter().for_each(|(name, value)| cinema.set(name, value));
    settings
}

/// Waits until `fsck` finds nothing.
async fn until_sound(cinema: &TestCinema) -> String {
    let began = Instant::now();
    loop {
        let checked = marquee(cinema, &["fsck"]);
        if checked.status.success() {
            return text(&checked);
        }
        assert!(began.elapsed() < SETTLED_MAX, "{}", text(&checked));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_made_while_it_sells_is_restored_elsewhere_with_every_order_answered_before_it() {
    let mut cinema = TestCinema::open().await;
    let media = cinema.folder.path().join("media");
    std::fs::create_dir_all(&media).unwrap();
    std::fs::write(media.join("poster.webp"), "a poster").unwrap();
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    let go_on = AtomicBool::new(false);
    let before = sell_until(&cinema, &ada, &['A'], &go_on).await;
    let held = cinema.reserve(&ada, &["E1"]).await;
    for order in &before {
        cinema.until_mail(order, "RESERVATION_CONFIRMED", "SENT").await;
    }

    let backup = cinema.folder.path().join("backup");
    let from = [("DATABASE_URL", cinema.database_url()), ("MEDIA_DIR", media.display().to_string())];
    let dumped = AtomicBool::new(false);
    let (output, during) = tokio::join!(
        async {
            let output = script("backup.sh", &backup, &from).await;
            dumped.store(true, Ordering::Relaxed);
            output
        },
        sell_until(&cinema, &bob, &['B', 'C', 'D'], &dumped)
    );
    expect_success(&output);
    assert!(!during.is_empty(), "nothing was sold while the database was dumped");
    assert!(std::fs::read_to_string(backup.join("SECRETS")).unwrap().contains("JWT_PRIVATE_KEY"));
    // Sold after the dump, so it is lost with the server.
    cinema.buy(&bob, &["E2"]).await;
    cinema
        .until_sql("select count(*) from notification.mails where status = 'QUEUED' and attempts = 0", 0)
        .await;
    cinema.stop_hosts().await;

    let to = move_elsewhere(&mut cinema).await;
    expect_success(&script("restore.sh", &backup, &to).await);
    let again = expect_failure(&script("restore.sh", &backup, &to).await);
    assert!(again.contains("the database is not empty"), "{again}");
    let restored = cinema.folder.path().join("restored-media");
    assert_eq!(std::fs::read_to_string(restored.join("poster.webp")).unwrap(), "a poster");
    // The gateway may run as another user than the script.
    for (path, wanted) in [(restored.clone(), 0o755), (restored.join("poster.webp"), 0o644)] {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & wanted, wanted, "{} has mode {mode:o}", path.display());
    }
    cinema.start_hosts().await;

    // Every outbox publishes its archive into the empty stream, and every consumer handles it.
    let events = "select (select count(*) from reservation.events) + (select count(*) from payment.events)
                       + (select count(*) from movie.events) + (select count(*) from auth.events)";
    let committed = cinema.count(events).await;
    cinema
        .until("every event is in the new stream", async || {
            match cinema.cinema().bus.jetstream.get_stream(bus::topology::EVENTS).await {
                Ok(mut stream) => {
                    stream.info().await.is_ok_and(|info| info.state.messages as i64 >= committed)
                }
                Err(_) => false,
            }
        })
        .await;
    until_all_is_handled(&cinema).await;
    for order in &before {
        assert_eq!(cinema.reservation(&ada, order).await["status"], "CONFIRMED");
        cinema.get(&format!("/v1/reservations/{order}/tickets"), &ada).await.expect(200);
    }
    // What was held is still held, and can be paid.
    cinema.pay(&ada, &held, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &held).await;
    // What was sold after the dump is free again.
    assert_eq!(cinema.seat("E2").await, "FREE");
    let sound = until_sound(&cinema).await;
    assert!(sound.contains("everything is as promised"), "{sound}");

    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    // Orders that were not settled when the dump began are settled again, and mailed again.
    let is_before = |seats: &str| seats.starts_with('A');
    let mailed: Vec<_> = tickets_mailed(&cinema).into_iter().filter(|(seats, _)| is_before(seats)).collect();
    assert!(mailed.len() == before.len() && mailed.iter().all(|(_, mails)| *mails == 1), "{mailed:?}");
    cinema.until_mail(&held, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mails_that_may_have_been_sent_after_the_backup_are_logged_and_sent_only_on_request() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let sold = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&sold, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    cinema.until_sql("select count(*) from notification.mails where status = 'QUEUED'", 0).await;
    let mailed = cinema.mails().len();
    cinema.stop_hosts().await;
    // As in a dump that was made after the sale was committed and before notification handled it.
    for lost in ["truncate notification.mails, notification.attendees", "delete from notification.consumers"]
    {
        sqlx::query(lost).execute(&cinema.database).await.unwrap();
    }
    let backup = cinema.folder.path().join("backup");
    expect_success(&script("backup.sh", &backup, &[("DATABASE_URL", cinema.database_url())]).await);
    let to = move_elsewhere(&mut cinema).await;
    expect_success(&script("restore.sh", &backup, &to).await);
    cinema.start_hosts().await;
    let skipped = cinema.until_mail(&sold, "RESERVATION_CONFIRMED", "SKIPPED").await;
    assert!(skipped["reason"].as_str().unwrap().contains("after the backup"), "{skipped}");
    until_all_is_handled(&cinema).await;
    assert_eq!(cinema.mails().len(), mailed, "a mail was sent twice");
    // A new order gets its mail.
    let next = cinema.buy(&ada, &["A2"]).await;
    cinema.until_mail(&next, "RESERVATION_CONFIRMED", "SENT").await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_backup_and_a_wrong_database_are_refused_before_anything_is_written() {
    let mut cinema = TestCinema::open().await;
    let backup = cinema.folder.path().join("backup");
    expect_success(&script("backup.sh", &backup, &[("DATABASE_URL", cinema.database_url())]).await);
    let again =
        expect_failure(&script("backup.sh", &backup, &[("DATABASE_URL", cinema.database_url())]).await);
    assert!(again.contains("exists"), "{again}");
    let mut dump = std::fs::read(backup.join("database.dump")).unwrap();
    let middle = dump.len() / 2;
    dump[middle] ^= 1;
    std::fs::write(backup.join("database.dump"), dump).unwrap();
    cinema.stop_hosts().await;
    let to = move_elsewhere(&mut cinema).await;
    let refused = expect_failure(&script("restore.sh", &backup, &to).await);
    assert!(refused.contains("the backup is damaged"), "{refused}");
    assert_eq!(cinema.count("select count(*) from pg_namespace where nspname = 'movie'").await, 0);
    let empty = cinema.folder.path().join("of-an-empty-database");
    let refused = expect_failure(&script("backup.sh", &empty, &to[..1]).await);
    assert!(refused.contains("no migrated database") && !empty.exists(), "{refused}");
    let old = cinema.folder.path().join("old-postgres");
    let path = with_old_pg_dump(&old);
    let settings = [to[0].clone(), ("PATH", path), ("MEDIA_DIR", old.display().to_string())];
    let refused = expect_failure(&script("backup.sh", &empty, &settings).await);
    assert!(refused.contains("pg_dump is of version 9.6.24, the server of "), "{refused}");
    assert!(!empty.with_extension("partial").exists(), "the media were copied");
}
