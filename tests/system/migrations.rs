//! Databases that this version cannot migrate are refused with one plain sentence.

use marquee::local::shared_postgres;
use sqlx::{Connection, Executor, PgConnection};

use crate::harness::template;

/// What a start says after `change` to a migrated database.
async fn refusal_after(change: &str) -> String {
    let url = shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute(sqlx::AssertSqlSafe(change.to_owned())).await.unwrap();
    connection.close().await.unwrap();
    actors::migrations::migrate(&url).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_database_of_before_the_first_release_is_refused_with_what_to_do() {
    let message = refusal_after("update auth._migrations set checksum = '\\x00'").await;
    assert_eq!(
        message,
        "this database was made by a version before 0.1.0, which cannot be upgraded: empty the database, or delete the \
         data folder"
    );
    // Those versions had more files than one.
    let added = "insert into movie._migrations (version, description, success, checksum, execution_time)
                 select 60, 'length', true, '\\x00', 0; update movie._migrations set checksum = '\\x00'";
    assert_eq!(refusal_after(added).await, message);
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_with_what_to_do() {
    let added = "insert into movie._migrations (version, description, success, checksum, execution_time)
                 select 9999, 'later', true, '\\x00', 0";
    let message = refusal_after(added).await;
    assert!(message.starts_with("this database was made by a newer version of Marquee"), "{message}");
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let url = shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap();
    actors::migrations::migrate(&url).await.unwrap();
}

/// A database that has a migration is refused when its text differs, so that each upgrade would fail.
#[test]
fn migrations_of_released_versions_are_not_edited() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let mut check = std::process::Command::new("sha384sum");
    let done = check.args(["--check", "--strict", "--quiet", "released.sha384"]).current_dir(folder).output();
    let done = done.expect("sha384sum, of coreutils");
    assert!(
        done.status.success(),
        "a released migration was edited: undo that and add a new file\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
}
