//! One database role for the hosts of each domain: sufficient for their work, and without rights on other domains.

use actors::delivery::RolePasswords;
use actors::migrations::{migrate_with, schemas};
use marquee::local::shared_postgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::cinema::{Plan, TestCinema};

const PASSWORD: &str = "it's a \"password\" with quotes";

fn names() -> impl Iterator<Item = &'static str> {
    schemas().map(|domain| domain.name)
}

/// Creates the roles in the database of a cinema; returns the URL of each domain.
async fn create_roles(cinema: &TestCinema) -> Vec<(&'static str, String)> {
    let postgres = shared_postgres().await.unwrap();
    let database = cinema.database_url().rsplit_once('/').unwrap().1.to_owned();
    let passwords: RolePasswords = names().map(|domain| (domain, PASSWORD.to_owned())).collect();
    let roles = migrate_with(&postgres.superuser_url(&database), &passwords).await.unwrap();
    assert_eq!(roles.len(), names().count());
    let again = migrate_with(&cinema.database_url(), &RolePasswords::new()).await.unwrap();
    assert_eq!(again, roles, "the next migration finds them and needs no superuser");
    let port = postgres.port();
    let password = "it's%20a%20%22password%22%20with%20quotes";
    let url = |role| format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}");
    names().zip(roles.into_iter().map(url)).collect()
}

/// The error code with which Postgres refuses a statement; `None` where it accepts it.
async fn refusal(connection: &mut PgConnection, statement: &str) -> Option<String> {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await;
    match done {
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) => Some(error.code().unwrap_or_default().into_owned()),
        Err(error) => panic!("{statement}: {error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sale_works_with_database_roles_limited_to_their_own_schema() {
    let mut cinema = TestCinema::open_with(Plan { seed: true, ..Plan::default() }).await;
    let roles = create_roles(&cinema).await;
    cinema.stop_hosts().await;
    for (domain, url) in &roles {
        cinema.set(&format!("DATABASE_URL_{}", domain.to_uppercase()), url);
    }
    cinema.start_hosts().await;
    // New accounts, halls, movies and showtimes; a sale, a cancellation, a refund, mails and tickets.
    cinema.showtime = cinema.schedule(&["SSSSSSSSSS"; 2], 48 * 3600).await;
    let ada = cinema.register().await;
    let kept = cinema.buy(&ada, &["A1"]).await;
    cinema.until_mail(&kept, "RESERVATION_CONFIRMED", "SENT").await;
    let cancelled = cinema.buy(&ada, &["A2", "A3"]).await;
    cinema.cancel(&ada, &cancelled).await.expect(200);
    cinema.until_sql("select count(*) from payment.refunds where status = 'COMPLETED'", 1).await;
    let sessions = "select count(*) from pg_stat_activity where datname = current_database() and usename like '%_' || $1";
    for (domain, _) in &roles {
        let count: i64 = sqlx::query_scalar(sessions).bind(domain).fetch_one(&cinema.database).await.unwrap();
        assert!(count > 0, "{domain} does not use its role");
    }
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_role_can_read_and_change_nothing_of_another_domain() {
    const DENIED: Option<&str> = Some("42501");
    let cinema = TestCinema::open().await;
    let roles = create_roles(&cinema).await;
    for (domain, url) in &roles {
        let mut role = PgConnection::connect(url).await.unwrap();
        for other in names().filter(|other| other != domain) {
            for statement in [
                format!("select * from {other}.outbox"),
                format!("delete from {other}.idempotency"),
                format!("select delivery.upkeep('{other}', 0)"),
                format!("select delivery.prepare('{other}')"),
                format!("select delivery.drop_old('{other}', 0)"),
            ] {
                assert_eq!(refusal(&mut role, &statement).await.as_deref(), DENIED, "{domain}: {statement}");
            }
        }
        for statement in [
            format!("create table {domain}.mine (id int)"),
            format!("drop table {domain}.idempotency"),
            format!("alter table {domain}.idempotency add column mine int"),
            format!("delete from {domain}._migrations"),
            "create schema mine".to_owned(),
            "create role mine superuser".to_owned(),
        ] {
            assert_eq!(refusal(&mut role, &statement).await.as_deref(), DENIED, "{domain}: {statement}");
        }
        // The upkeep, which the host runs every hour and at each start.
        let upkeep = format!("select delivery.prepare('{domain}'); select delivery.upkeep('{domain}', 7)");
        assert_eq!(refusal(&mut role, &upkeep).await, None, "{domain}");
        role.close().await.unwrap();
    }
    let (_, notification) = roles.iter().find(|(domain, _)| *domain == "notification").unwrap();
    let mut notification = PgConnection::connect(notification).await.unwrap();
    let hashes = "select email, password_hash from auth.users";
    assert_eq!(refusal(&mut notification, hashes).await.as_deref(), DENIED);
    notification.close().await.unwrap();
    cinema.close().await;
}
