//! The servers of `marquee up` and of all other tests: they start and stop, and keep their data when they are killed.

mod other_users;
mod ownership;
mod processes;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::{BasicProperties, Confirmation};
use marquee::config::MAINTENANCE;
use marquee::local::{
    External, Folder, Nats, Postgres, RabbitMq, Redis, Servers, shared_postgres, shared_rabbitmq,
};
use nix::unistd::{Pid, getpgid};
use sqlx::{Connection, PgConnection};

use processes::{LOOPBACK, descendants, listeners};

async fn until(what: &str, mut fact: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !fact() {
        assert!(Instant::now() < end, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn sql(url: &str, statement: &'static str) -> sqlx::Result<i64> {
    let mut connection = PgConnection::connect(url).await?;
    let answer = sqlx::query_scalar(statement).fetch_one(&mut connection).await;
    connection.close().await?;
    answer
}

async fn nats(server: &Nats) -> async_nats::Client {
    let login =
        async_nats::ConnectOptions::with_user_and_password(MAINTENANCE.into(), server.password().into());
    login.connect(server.url()).await.unwrap()
}

/// The number of messages in the stream SEATS; None when there is no such stream.
async fn messages_stored(server: &Nats) -> Option<u64> {
    let jetstream = async_nats::jetstream::new(nats(server).await);
    let mut stream = jetstream.get_stream("SEATS").await.ok()?;
    Some(stream.info().await.unwrap().state.messages)
}

async fn store_a_message(server: &Nats) {
    let jetstream = async_nats::jetstream::new(nats(server).await);
    let config = async_nats::jetstream::stream::Config {
        name: "SEATS".into(),
        subjects: vec!["test.seats".into()],
        ..Default::default()
    };
    jetstream.get_or_create_stream(config).await.unwrap();
    jetstream.publish("test.seats", "A1".into()).await.unwrap().await.unwrap();
}

fn redis_set_and_get(url: &str) -> redis::RedisResult<i64> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    redis::cmd("SET").arg("seat").arg(7).exec(&mut connection)?;
    redis::cmd("GET").arg("seat").query(&mut connection)
}

async fn channel(url: &str) -> lapin::Channel {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await.unwrap();
    connection.create_channel().await.unwrap()
}

/// Puts one persistent message into the durable queue `seats` and waits for the confirm of RabbitMQ.
async fn queue_a_message(url: &str) {
    let channel = channel(url).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let durable = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare("seats".into(), durable, Default::default()).await.unwrap();
    let properties = BasicProperties::default().with_delivery_mode(2);
    let published =
        channel.basic_publish("".into(), "seats".into(), BasicPublishOptions::default(), b"A1", properties);
    assert!(matches!(published.await.unwrap().await.unwrap(), Confirmation::Ack(None)));
}

/// The number of messages in the queue `seats`; None when there is no such queue.
async fn messages_queued(url: &str) -> Option<u32> {
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel(url).await.queue_declare("seats".into(), passive, Default::default()).await.ok()?;
    Some(queue.message_count())
}

fn is_listening(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

#[tokio::test]
async fn postgres_keeps_its_rows_and_its_port_after_stop_and_kill() {
    let folder = Folder::temporary().unwrap();
    let mut postgres = Postgres::start(&folder.join("postgres").unwrap(), true).await.unwrap();
    let port = postgres.port();
    let url = postgres.create_database("cinema").await.unwrap();
    assert_eq!(postgres.create_database("cinema").await.unwrap(), url, "a second time changes nothing");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("create table seat (n int); insert into seat values (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    drop(connection);

    postgres.stop().await.unwrap();
    assert!(!is_listening(port));
    postgres.start_again().await.unwrap();
    assert_eq!(postgres.port(), port);
    assert_eq!(sql(&url, "select count(*) from seat").await.unwrap(), 1);

    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("insert into seat values (2)").execute(&mut connection).await.unwrap();
    postgres.kill().await;
    assert!(!is_listening(port));
    assert!(connection.ping().await.is_err(), "the process of the connection is killed too");
    // As if the process id in the file now belonged to another process.
    let pid_file = postgres.folder().path().join("data/postmaster.pid");
    let stale = fs::read_to_string(&pid_file).unwrap();
    let (_, rest) = stale.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", std::process::id())).unwrap();
    postgres.start_again().await.unwrap();
    assert_eq!(sql(&url, "select count(*) from seat").await.unwrap(), 2);
    assert_eq!(
        sql(&url, "select count(*) from pg_settings where name = 'fsync' and setting = 'on'").await.unwrap(),
        1
    );
}

#[tokio::test]
async fn nats_keeps_its_streams_after_stop_and_kill_and_loses_them_when_wiped() {
    let folder = Folder::temporary().unwrap();
    let mut server = Nats::start(&folder.join("nats").unwrap()).await.unwrap();
    let port = server.port();
    store_a_message(&server).await;

    server.stop().await.unwrap();
    assert!(!is_listening(port));
    server.start_again().await.unwrap();
    assert_eq!(messages_stored(&server).await, Some(1));

    store_a_message(&server).await;
    server.kill().await;
    assert!(!is_listening(port));
    server.start_again().await.unwrap();
    assert_eq!(messages_stored(&server).await, Some(2));

    server.wipe().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(messages_stored(&server).await, None);
}

#[tokio::test]
async fn redis_starts_empty_after_stop_and_kill() {
    let folder = Folder::temporary().unwrap();
    let mut server = Redis::start(&folder.join("redis").unwrap()).await.unwrap();
    let url = server.url();
    for killed in [false, true] {
        assert_eq!(redis_set_and_get(&url).unwrap(), 7);
        if killed {
            server.kill().await
        } else {
            server.stop().await.unwrap()
        }
        assert!(!is_listening(server.port()));
        server.start_again().await.unwrap();
        let mut connection = redis::Client::open(url.as_str()).unwrap().get_connection().unwrap();
        assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut connection).unwrap(), 0);
    }
}

#[tokio::test]
async fn rabbitmq_keeps_its_messages_and_its_port_after_stop_and_kill() {
    let folder = Folder::temporary().unwrap();
    let mut server = RabbitMq::start(&folder.join("rabbitmq").unwrap()).await.unwrap();
    let (port, url) = (server.port(), server.create_virtual_host().await.unwrap());
    queue_a_message(&url).await;
    assert_eq!(messages_queued(&server.url()).await, None, "a virtual host has its own queues");

    server.stop().await.unwrap();
    assert!(!is_listening(port));
    server.start_again().await.unwrap();
    assert_eq!(messages_queued(&url).await, Some(1));

    queue_a_message(&url).await;
    let family = descendants(server.pid().unwrap());
    assert!(family.len() > 2, "the name service and the child processes: {family:?}");
    server.kill().await;
    assert!(!is_listening(port));
    until("all its processes have ended", || {
        family.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    })
    .await;
    server.start_again().await.unwrap();
    assert_eq!(server.port(), port);
    assert_eq!(messages_queued(&url).await, Some(2));
}

#[tokio::test]
async fn two_rabbitmqs_run_side_by_side_and_listen_on_loopback_only() {
    let shared = shared_rabbitmq().await.unwrap();
    let folder = Folder::temporary().unwrap();
    let other = RabbitMq::start(&folder.join("rabbitmq").unwrap()).await.unwrap();
    queue_a_message(&other.url()).await;
    assert_eq!(messages_queued(&shared.url()).await, None);

    for server in [shared, &other] {
        let foreign: Vec<String> = listeners(&descendants(server.pid().unwrap()))
            .into_iter()
            .filter(|address| !LOOPBACK.iter().any(|loopback| address.starts_with(loopback)))
            .collect();
        assert!(foreign.is_empty(), "it listens on other addresses: {foreign:?}");
    }
}

#[tokio::test]
async fn a_failed_expression_returns_the_error_text_of_rabbitmq() {
    let shared = shared_rabbitmq().await.unwrap();
    let sums = (0..8).map(|n| async move { shared.evaluate(&format!("{n} + {n}.")).await.unwrap() });
    let sums = futures::future::join_all(sums).await;
    assert_eq!(sums, ["0", "2", "4", "6", "8", "10", "12", "14"], "eight expressions at once");
    let error = shared.evaluate("no_such_module:run().").await.unwrap_err().to_string();
    assert!(error.contains("no_such_module"), "{error}");
}

#[tokio::test]
async fn a_paused_server_keeps_its_connections_and_answers_when_resumed() {
    let folder = Folder::temporary().unwrap();
    let postgres = Postgres::start(&folder.join("postgres").unwrap(), false).await.unwrap();
    let mut connection = PgConnection::connect(&postgres.database_url("postgres")).await.unwrap();

    postgres.pause();
    let mut answer = Box::pin(connection.ping());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_err());
    postgres.resume();
    tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap().unwrap();

    let mut server = Nats::start(&folder.join("nats").unwrap()).await.unwrap();
    let client = nats(&server).await;
    server.pause();
    assert!(
        tokio::time::timeout(Duration::from_millis(300), client.flush()).await.is_ok(),
        "a flush needs no answer of the server"
    );
    let jetstream = async_nats::jetstream::new(client);
    let mut answer = Box::pin(jetstream.query_account());
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut answer).await.is_err());
    server.resume();
    tokio::time::timeout(Duration::from_secs(10), answer).await.unwrap().unwrap();

    // A paused server can be stopped as well.
    server.pause();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn each_test_gets_its_own_copy_of_a_template_database() {
    let postgres = shared_postgres().await.unwrap();
    let template = postgres.create_database("prepared").await.unwrap();
    let mut connection = PgConnection::connect(&template).await.unwrap();
    sqlx::raw_sql("create table seat (n int); insert into seat values (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();

    let (one, other) = tokio::try_join!(
        postgres.create_database_from("prepared"),
        postgres.create_database_from("prepared")
    )
    .unwrap();
    assert_ne!(one, other);
    let mut connection = PgConnection::connect(&one).await.unwrap();
    sqlx::raw_sql("insert into seat values (2)").execute(&mut connection).await.unwrap();
    assert_eq!(sql(&one, "select count(*) from seat").await.unwrap(), 2);
    assert_eq!(sql(&other, "select count(*) from seat").await.unwrap(), 1);
}

#[tokio::test]
async fn servers_given_by_url_are_not_started() {
    let folder = Folder::temporary().unwrap();
    let external = External {
        database_url: Some("postgres://elsewhere/cinema".into()),
        nats_url: Some("nats://elsewhere".into()),
        redis_url: Some("redis://elsewhere".into()),
    };
    let servers = Servers::start(&folder, external).await.unwrap();
    assert_eq!(servers.database_url, "postgres://elsewhere/cinema");
    assert_eq!(servers.nats_url, "nats://elsewhere");
    assert_eq!(servers.redis_url.as_deref(), Some("redis://elsewhere"));
    assert!(servers.postgres.is_none() && servers.nats.is_none() && servers.redis.is_none());
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_second_start_in_the_same_folder_names_the_process_that_uses_it() {
    let folder = Folder::temporary().unwrap();
    let servers = Servers::start(&folder, External::default()).await.unwrap();
    let error = Servers::start(&folder, External::default()).await.unwrap_err().to_string();
    assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
    assert!(error.contains(folder.path().to_str().unwrap()), "{error}");

    servers.stop().await.unwrap();
    Servers::start(&folder, External::default()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let folder = Folder::temporary().unwrap().join("postgres").unwrap();
    let mut postgres = Postgres::start(&folder, false).await.unwrap();
    postgres.stop().await.unwrap();
    let postgres_folder = postgres.folder().path().to_owned();
    fs::remove_file(postgres_folder.join("data/global/pg_control")).unwrap();
    let error = postgres.start_again().await.unwrap_err().to_string();
    assert!(error.contains("pg_control") && error.contains("ended while starting"), "{error}");
}

#[tokio::test]
async fn ctrl_c_in_the_terminal_does_not_reach_the_servers() {
    let folder = Folder::temporary().unwrap();
    let nats = Nats::start(&folder.join("nats").unwrap()).await.unwrap();
    let redis = Redis::start(&folder.join("redis").unwrap()).await.unwrap();
    let postgres = shared_postgres().await.unwrap();
    let group = |pid: u32| getpgid(Some(Pid::from_raw(pid.try_into().unwrap()))).unwrap();
    for pid in [nats.pid(), redis.pid(), postgres.pid()] {
        assert_ne!(group(pid.unwrap()), group(std::process::id()));
    }
}

#[tokio::test]
async fn servers_in_two_folders_run_side_by_side() {
    let (one, other) = (Folder::temporary().unwrap(), Folder::temporary().unwrap());
    let (one, other) = tokio::try_join!(
        Servers::start(&one, External::default()),
        Servers::start(&other, External::default())
    )
    .unwrap();
    let (first, second) = (one.nats.as_ref().unwrap(), other.nats.as_ref().unwrap());
    store_a_message(first).await;
    assert_eq!(messages_stored(first).await, Some(1));
    assert_eq!(messages_stored(second).await, None);
    let (to_first, to_second) = (nats(first).await, nats(second).await);
    let mut subscription = to_second.subscribe("test.>").await.unwrap();
    to_first.publish("test.seats", "B1".into()).await.unwrap();
    to_first.flush().await.unwrap();
    to_second.publish("test.seats", "C1".into()).await.unwrap();
    let received = tokio::time::timeout(Duration::from_secs(10), subscription.next()).await;
    assert_eq!(received.unwrap().unwrap().payload, "C1", "a message of the other server arrived");
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}
