//! Other users of the machine, who can reach every port of 127.0.0.1 and read every file whose permissions allow it.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sqlx::AssertSqlSafe;

use super::*;

/// A data folder that is not temporary itself, inside of a temporary one.
fn data_folder() -> (Folder, Folder) {
    let outer = Folder::temporary().unwrap();
    let data = Folder::permanent(outer.path().join("data")).unwrap();
    (outer, data)
}

async fn execute(url: &str, statements: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let done = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await;
    connection.close().await?;
    done.map(drop)
}

/// The database URL of somebody who knows the ports and the repository, and no password.
fn guessed(servers: &Servers, login: &str) -> String {
    format!("postgres://{login}@127.0.0.1:{}/marquee", servers.postgres.as_ref().unwrap().port())
}

/// The files below a folder that every user may read.
fn readable_files(folder: &Path) -> Vec<String> {
    let mut open = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let (path, mode) = (entry.path(), entry.metadata().unwrap().mode());
        if path.is_dir() && mode & 0o001 != 0 {
            open.extend(readable_files(&path));
        } else if path.is_file() && mode & 0o004 != 0 {
            open.push(path.display().to_string());
        }
    }
    open
}

#[tokio::test]
async fn another_user_of_the_machine_cannot_log_in_with_credentials_from_the_repository() {
    let (_outer, data) = data_folder();
    let servers = Servers::start(&data, External::default()).await.unwrap();
    for login in ["marquee", "marquee:marquee", "postgres", "postgres:postgres", "root"] {
        let refused = PgConnection::connect(&guessed(&servers, login)).await;
        assert!(refused.is_err(), "Postgres accepts {login}");
    }
    for password in ["marquee", ""] {
        let login = async_nats::ConnectOptions::with_user_and_password("bridge".into(), password.into());
        assert!(login.connect(&servers.nats_url).await.is_err(), "NATS accepts the password {password:?}");
    }
    assert!(async_nats::connect(&servers.nats_url).await.is_err(), "NATS accepts a client without a login");
    let redis = format!("redis://127.0.0.1:{}", servers.redis.as_ref().unwrap().port());
    assert!(redis_set_and_get(&redis).is_err());
    assert_eq!(redis_set_and_get(servers.redis_url.as_deref().unwrap()).unwrap(), 7);
    // No command line contains a password.
    let arguments = fs::read_dir("/proc").unwrap().flatten().filter_map(|process| {
        fs::read(process.path().join("cmdline")).ok().map(|line| String::from_utf8_lossy(&line).into_owned())
    });
    let arguments: Vec<String> = arguments.collect();
    for name in ["postgres/password", "postgres/superuser-password", "nats/password", "redis/password"] {
        let file = data.path().join(name);
        let secret = fs::read_to_string(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600, "{name}");
        assert!(secret.len() > 40 && !arguments.iter().any(|line| line.contains(&secret)), "{name}");
    }
    let mode = fs::metadata(data.path()).unwrap().mode() & 0o777;
    // If root starts the servers, the group of the user `postgres` may enter the folder.
    assert!(mode == 0o700 || mode == 0o710, "{mode:o}");
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn marquee_owns_its_database_and_is_not_a_superuser() {
    let (_outer, data) = data_folder();
    let servers = Servers::start(&data, External::default()).await.unwrap();
    let url = &servers.database_url;
    actors::migrations::migrate(url).await.unwrap();
    assert_eq!(
        sql(url, "select count(*) from pg_roles where rolname = current_user and rolsuper").await.unwrap(),
        0
    );
    let command = "create temp table t (x text); copy t from program 'id'";
    let error = execute(url, command).await.unwrap_err().to_string();
    assert!(error.contains("must be superuser"), "{error}");
    servers.stop().await.unwrap();
}

/// Changes a cluster to what earlier versions created: the superuser `marquee` owns everything and needs no password.
async fn make_as_earlier_versions(data: &Folder) {
    let servers = Servers::start(data, External::default()).await.unwrap();
    let postgres = servers.postgres.as_ref().unwrap();
    actors::migrations::migrate(&postgres.superuser_url("marquee")).await.unwrap();
    execute(
        &postgres.superuser_url("marquee"),
        "create type public.colour as enum ('RED');
         create table public.seat (id bigserial primary key, colour public.colour);
         insert into public.seat (colour) values ('RED');
         alter database marquee owner to postgres; alter schema public owner to postgres;
         create role other superuser login password 'other'",
    )
    .await
    .unwrap();
    let other = guessed(&servers, "other:other");
    execute(&other, "drop role marquee; alter role postgres rename to marquee").await.unwrap();
    let cluster = postgres.folder().path().to_owned();
    servers.stop().await.unwrap();
    fs::write(cluster.join("data/pg_hba.conf"), "host all all 127.0.0.1/32 trust\n").unwrap();
    for name in ["password", "superuser-password"] {
        fs::remove_file(cluster.join(name)).unwrap();
    }
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_data_folder_of_an_earlier_version_is_secured_at_start_and_keeps_its_data() {
    let (_outer, data) = data_folder();
    make_as_earlier_versions(&data).await;
    for _ in 0..2 {
        let servers = Servers::start(&data, External::default()).await.unwrap();
        let url = &servers.database_url;
        assert!(PgConnection::connect(&guessed(&servers, "marquee")).await.is_err(), "still open");
        assert_eq!(sql(url, "select count(*) from public.seat where colour = 'RED'").await.unwrap(), 1);
        let superusers =
            "select count(*) from pg_roles where rolsuper and rolname not in ('postgres', 'other')";
        assert_eq!(sql(url, superusers).await.unwrap(), 0);
        // The statements that later migrations may need.
        actors::migrations::migrate(url).await.unwrap();
        execute(
            url,
            "begin;
             alter table public.seat add column x int; alter type public.colour add value 'BLUE';
             alter table auth.users add column x int; alter table auth.outbox add column x int;
             alter table payment.postings add column x int;
             create or replace function movie.words(name text) returns text[] language sql immutable as 'select null::text[]';
             select delivery.upkeep('auth', 7);
             insert into public.seat default values;
             create schema own; create extension if not exists btree_gist;
             rollback",
        )
        .await
        .unwrap();
        assert_eq!(fs::metadata(data.path()).unwrap().mode() & 0o007, 0);
        servers.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_folder_that_holds_other_files_keeps_its_permissions() {
    let (_outer, data) = data_folder();
    fs::write(data.path().join("holiday.txt"), "").unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let servers = Servers::start(&data, External::default()).await.unwrap();
    assert_eq!(fs::metadata(data.path()).unwrap().mode() & 0o777, 0o755);
    assert_eq!(readable_files(data.path()).iter().filter(|file| file.contains("password")).count(), 0);
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn rabbitmq_refuses_logins_with_other_passwords() {
    let shared = shared_rabbitmq().await.unwrap();
    let url = shared.url();
    let (_, address) = url.rsplit_once('@').unwrap();
    for login in ["guest:guest", "marquee:marquee"] {
        let url = format!("amqp://{login}@{address}");
        let refused = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await;
        assert!(refused.is_err(), "{login}");
    }
    channel(&url).await;
}
