//! Starting against servers that somebody else runs: TLS with a private certificate authority, other logins, too little
//! storage, the wrong protocol; and signals during the start.

mod poolers;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use marquee::local::{Folder, Nats, Postgres, shared_postgres, temporary_password};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::harness::template;

/// Less than the half minute for which the program waits for a server that does not answer.
const AT_ONCE: Duration = Duration::from_secs(15);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/startup").join(name)
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

fn program(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
    command
        .args(arguments)
        .env("RUST_LOG", "info,sqlx=warn,async_nats=off")
        // Settings that some commands need besides their servers.
        .env("PAYMENT_API_URL", "http://127.0.0.1:9")
        .envs([("PAYMENT_API_KEY", "x"), ("PAYMENT_WEBHOOK_SECRET", "x"), ("RECONCILE_SECONDS", "1")])
        .env("NATS_PASSWORD", temporary_password())
        .env("HTTP_ADDR", "127.0.0.1:0")
        .env("MEDIA_DIR", std::env::temp_dir().join("marquee-startup-media"))
        .env_remove("SSL_CERT_FILE")
        .envs(settings.iter().copied())
        .stdin(Stdio::null());
    command
}

fn text(output: &Output) -> String {
    [output.stdout.as_slice(), output.stderr.as_slice()].map(String::from_utf8_lossy).concat()
}

async fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let mut command = program(arguments, settings);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status, text(&output))
}

#[track_caller]
fn expect_success((status, text): (ExitStatus, String)) -> String {
    assert!(status.success(), "{text}");
    text
}

/// Runs a command that must end with exit code 1 and these reasons, at once.
async fn expect_refusal(arguments: &[&str], settings: &[(&str, &str)], reasons: &[&str]) {
    let began = Instant::now();
    let (status, text) = run(arguments, settings).await;
    assert_eq!(status.code(), Some(1), "{arguments:?}: {text}");
    for reason in reasons {
        assert!(text.contains(reason), "{arguments:?} does not name {reason}: {text}");
    }
    assert!(began.elapsed() < AT_ONCE, "{arguments:?} waited {:?}: {text}", began.elapsed());
    assert!(!text.contains("s3cret"), "{text}");
}

/// A process that is killed at the end of the test.
struct Running {
    child: Child,
    log: std::sync::Arc<std::sync::Mutex<String>>,
}

impl Running {
    fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut child =
            program(arguments, settings).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let (mut stderr, written) = (child.stderr.take().unwrap(), log.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut bytes) {
                written.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { child, log }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    async fn until(&mut self, what: &str, mut fact: impl FnMut(&str) -> bool) {
        let began = Instant::now();
        while !fact(&self.log()) {
            assert!(began.elapsed() < Duration::from_secs(30), "not within 30 s: {what}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends SIGTERM; returns the exit status and how long the end took.
    async fn terminate(&mut self) -> (ExitStatus, Duration) {
        let began = Instant::now();
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, began.elapsed());
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not end: {}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A TLS server with a certificate of the private authority, which records every client that accepts it.
struct TlsServer {
    child: Child,
    port: u16,
    accepted: PathBuf,
}

impl TlsServer {
    fn start(folder: &Folder, name: &str) -> Self {
        let accepted = folder.path().join(name);
        let mut child = Command::new("python3")
            .arg(fixture("tls_server.py"))
            .args([path("server.pem"), path("server.key")])
            .arg(&accepted)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, port: line.trim().parse().unwrap(), accepted }
    }

    fn was_trusted(&self) -> bool {
        self.accepted.exists()
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn nats() -> Nats {
    Nats::start(&Folder::temporary().unwrap()).await.unwrap()
}

/// A database with every schema.
async fn database() -> String {
    shared_postgres().await.unwrap().create_database_from(template().await).await.unwrap()
}

/// A Postgres with TLS and a certificate of the private authority.
async fn postgres_with_tls() -> (Postgres, String) {
    let postgres = Postgres::start(&Folder::temporary().unwrap(), false).await.unwrap();
    let url = postgres.create_database("kino").await.unwrap();
    let mut connection = PgConnection::connect(&postgres.superuser_url("kino")).await.unwrap();
    let folder: String = sqlx::query_scalar("select current_setting('data_directory')")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    // Written by the server itself, since it must own the key file and nobody else may read it.
    for (from, to) in [("server.pem", "own.pem"), ("server.key", "own.key")] {
        let pem = std::fs::read_to_string(fixture(from)).unwrap();
        let lines = format!("select line from unnest(string_to_array(trim('{pem}', E'\\n'), E'\\n')) line");
        let copy = format!("copy ({lines}) to program 'umask 077; cat > {folder}/{to}'");
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut connection).await.unwrap();
    }
    for set in [
        "alter system set ssl_cert_file = 'own.pem'",
        "alter system set ssl_key_file = 'own.key'",
        "alter system set ssl = on",
        "select pg_reload_conf()",
    ] {
        sqlx::raw_sql(set).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
    let url = url.replace("127.0.0.1", "localhost") + "?sslmode=verify-full";
    // The reloaded settings apply a moment later.
    let trusting = format!("{url}&sslrootcert={}", path("ca.pem"));
    let began = Instant::now();
    while let Err(error) = PgConnection::connect(&trusting).await {
        assert!(began.elapsed() < Duration::from_secs(10), "no TLS: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    (postgres, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_and_nats_with_a_private_certificate_authority_are_trusted_by_one_setting() {
    let (_postgres, database_url) = postgres_with_tls().await;
    let tls =
        format!("\ntls {{ cert_file: \"{}\", key_file: \"{}\" }}\n", path("server.pem"), path("server.key"));
    let nats = Nats::start_with(&Folder::temporary().unwrap(), |conf| conf.to_owned() + &tls).await.unwrap();
    let nats_url = nats.url().replace("nats://127.0.0.1", "tls://localhost");
    let ca = path("ca.pem");
    let both = [("DATABASE_URL", &*database_url), ("NATS_URL", &*nats_url)];

    let mut ended = expect_success(run(&["migrate"], &[both[0], both[1], ("CA_CERT_FILE", &*ca)]).await);
    assert!(ended.contains("every schema") && ended.contains("every stream"), "{ended}");
    // The variable of OpenSSL and other programs works as well.
    ended = expect_success(run(&["migrate"], &[both[0], both[1], ("SSL_CERT_FILE", &*ca)]).await);
    assert!(ended.contains("every stream"), "{ended}");

    let not_trusted = ["UnknownIssuer", "not trusted", "CA_CERT_FILE"];
    expect_refusal(&["migrate"], &both[..1], &not_trusted).await;
    expect_refusal(&["host", "movie"], &[both[0], ("NATS_URL", &*self::nats().await.url())], &not_trusted)
        .await;
    expect_refusal(&["dead-letters", "list"], &both[1..], &not_trusted).await;
    expect_refusal(&["gateway"], &both[1..], &not_trusted).await;
    let missing = [both[0], ("CA_CERT_FILE", "/nowhere/ca.pem")];
    expect_refusal(&["migrate"], &missing, &["CA_CERT_FILE must be a readable PEM file"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_the_mail_server_the_provider_and_rabbitmq_are_trusted_by_the_same_setting() {
    let (nats, database_url, folder) = (nats().await, database().await, Folder::temporary().unwrap());
    let (nats_url, ca) = (nats.url(), path("ca.pem"));
    let base = [("DATABASE_URL", &*database_url), ("NATS_URL", &*nats_url)];
    let cases: [(&[&str], &str, &str, bool); 4] = [
        (&["gateway"], "REDIS_URL", "rediss://localhost:PORT", false),
        (&["host", "payment"], "PAYMENT_API_URL", "https://localhost:PORT", false),
        (&["host", "notification"], "SMTP_URL", "smtps://u:s3cret@localhost:PORT", true),
        (&["host", "bridge"], "AMQP_URL", "amqps://u:s3cret@localhost:PORT", true),
    ];
    for (arguments, setting, url, is_needed_to_start) in cases {
        let server = TlsServer::start(&folder, &arguments.join("-"));
        let url = url.replace("PORT", &server.port.to_string());
        let untrusted = [base[0], base[1], (setting, &*url)];
        if is_needed_to_start {
            expect_refusal(arguments, &untrusted, &["not trusted", "CA_CERT_FILE"]).await;
        } else {
            // It runs without this server or waits for it; the log has the reason.
            let mut running = Running::start(arguments, &untrusted);
            running.until("the reason in the log", |log| log.contains("not trusted")).await;
        }
        assert!(!server.was_trusted(), "{arguments:?} trusts an authority that is not configured");

        let mut running =
            Running::start(arguments, &[base[0], base[1], (setting, &*url), ("CA_CERT_FILE", &*ca)]);
        running.until("trusted", |_| server.was_trusted()).await;
    }
}

/// A server that greets every client as a mail server does, and reads nothing.
async fn mail_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.write_all(b"220 kino ESMTP\r\n").await;
            open.push(connection);
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_cannot_succeed_ends_at_once_with_the_reason() {
    let (nats, database_url, port) = (nats().await, database().await, mail_server().await);
    let nats_url = nats.url();
    let (good_database, good_nats) = (("DATABASE_URL", &*database_url), ("NATS_URL", &*nats_url));
    let of_port = |scheme: &str| format!("{scheme}://u:s3cret@127.0.0.1:{port}/x");

    let other = of_port("postgres");
    expect_refusal(&["migrate"], &[("DATABASE_URL", &*other)], &["no Postgres"]).await;
    expect_refusal(&["host", "movie"], &[("DATABASE_URL", &*other), good_nats], &["no Postgres"]).await;
    let other = of_port("nats");
    expect_refusal(&["host", "scheduler"], &[("NATS_URL", &*other)], &["no NATS server"]).await;
    let other = of_port("amqp");
    expect_refusal(&["host", "bridge"], &[good_nats, ("AMQP_URL", &*other)], &["not RabbitMQ"]).await;

    let (server, _) = database_url.rsplit_once('/').unwrap();
    let missing = format!("{server}/nowhere");
    expect_refusal(
        &["host", "movie"],
        &[("DATABASE_URL", &*missing), good_nats],
        &["\"nowhere\" does not exist"],
    )
    .await;
    let without_tls = format!("{database_url}?sslmode=require");
    expect_refusal(
        &["host", "movie"],
        &[("DATABASE_URL", &*without_tls), good_nats],
        &["does not support TLS"],
    )
    .await;
    let login = ("NATS_PASSWORD", "s3cret");
    expect_refusal(&["host", "movie"], &[good_database, good_nats, login], &["login is refused"]).await;
    // The URL requires TLS, which this server does not support.
    let plain = format!("smtps://127.0.0.1:{port}");
    let mail = [good_database, good_nats, ("SMTP_URL", &*plain)];
    expect_refusal(&["host", "notification"], &mail, &["does not speak TLS"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_every_command_even_during_its_start() {
    // A server that accepts connections and never sends anything.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let (nats, folder) = (nats().await, Folder::temporary().unwrap());
    let (working, hung) = (nats.url(), format!("nats://127.0.0.1:{port}"));
    let database = format!("postgres://m:m@127.0.0.1:{port}/m");
    let data = folder.path().join("up").display().to_string();
    let cases: [(&[&str], &str, i32); 9] = [
        (&["host", "movie"], &working, 0),
        (&["host", "scheduler"], &hung, 0),
        (&["gateway"], &hung, 0),
        (&["up", "--data", &data], &working, 0),
        // These commands have not done their work.
        (&["migrate"], &working, 1),
        (&["seed"], &working, 1),
        (&["fsck"], &working, 1),
        (&["dead-letters", "list"], &hung, 1),
        (&["events", "replay", "--from", "1", "--subject", "movie.>"], &hung, 1),
    ];
    let key = actors::auth::token::generate_pem();
    for (arguments, nats_url, code) in cases {
        let settings = [("DATABASE_URL", &*database), ("NATS_URL", nats_url), ("JWT_PRIVATE_KEY", &*key)];
        let mut running = Running::start(arguments, &settings);
        let connected = tokio::time::timeout(Duration::from_secs(30), silent.accept()).await;
        let _open = connected.unwrap_or_else(|_| panic!("{arguments:?} does not connect: {}", running.log()));
        let (status, took) = running.terminate().await;
        // A process that handles no SIGTERM has no exit code here, and as process 1 of a container would ignore the signal.
        assert_eq!(status.code(), Some(code), "{arguments:?}: {status}, {}", running.log());
        assert!(took < Duration::from_secs(3), "{arguments:?} took {took:?}");
        // Drops further connections of the process that has ended.
        while tokio::time::timeout(Duration::from_millis(50), silent.accept()).await.is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_migrations_all_succeed() {
    let postgres = shared_postgres().await.unwrap();
    for round in 0..3 {
        let nats = nats().await;
        let name = format!("migrated_at_once_{round}_{}", uuid::Uuid::now_v7().simple());
        let (database, nats_url) = (postgres.create_database(&name).await.unwrap(), nats.url());
        let settings = [("DATABASE_URL", &*database), ("NATS_URL", &*nats_url)];
        let all = (0..5).map(|_| run(&["migrate"], &settings));
        for ended in futures::future::join_all(all).await {
            assert!(expect_success(ended).contains("every stream is up to date"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nats_with_too_little_storage_is_reported_with_the_needed_size_and_the_setting_that_lowers_it() {
    let small = |conf: &str| conf.replace("max_file_store: 10GB", "max_file_store: 5GB");
    let nats = Nats::start_with(&Folder::temporary().unwrap(), small).await.unwrap();
    let (database, nats_url) = (database().await, nats.url());
    let settings = [("DATABASE_URL", &*database), ("NATS_URL", &*nats_url)];
    let reason = ["stream EVENTS", "8589934592 bytes", "max_file_store", "NATS_EVENTS_MAX_BYTES"];
    expect_refusal(&["migrate"], &settings, &reason).await;
    expect_refusal(&["host", "movie"], &settings, &reason).await;

    let less = [settings[0], settings[1], ("NATS_EVENTS_MAX_BYTES", "1073741824")];
    expect_success(run(&["migrate"], &less).await);
    let mut host = Running::start(&["host", "movie"], &less);
    host.until("it starts", |log| log.contains("host started")).await;
    assert!(!host.log().contains("another version"), "{}", host.log());
    // The size of an existing stream is changed by `migrate` only.
    expect_success(
        run(&["migrate"], &[settings[0], settings[1], ("NATS_EVENTS_MAX_BYTES", "2147483648")]).await,
    );
    let too_much = [
        settings[0],
        settings[1],
        ("NATS_EVENTS_MAX_BYTES", "1073741824"),
        ("NATS_DLQ_MAX_BYTES", "8589934592"),
    ];
    expect_refusal(&["migrate"], &too_much, &["stream DLQ", "NATS_DLQ_MAX_BYTES"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_to_nats_by_nkey_or_creds_file_work() {
    let database = database().await;
    let seed = std::fs::read_to_string(fixture("operator.creds")).unwrap();
    let seed = seed.lines().find(|line| line.starts_with("SU")).unwrap();
    let nkey = |conf: &str| {
        let user = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";
        let changed =
            conf.replace("user: maintenance, password: $NATS_PASSWORD_MAINTENANCE", &format!("nkey: {user}"));
        assert_ne!(changed, conf);
        changed
    };
    let nats = Nats::start_with(&Folder::temporary().unwrap(), nkey).await.unwrap();
    let nats_url = nats.url();
    let settings = [("DATABASE_URL", &*database), ("NATS_URL", &*nats_url)];
    let login = |login| [settings[0], settings[1], login];
    expect_success(run(&["migrate"], &login(("NATS_NKEY", seed))).await);
    expect_refusal(&["migrate"], &settings, &["login is refused"]).await;
    let unknown = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZA";
    expect_refusal(&["migrate"], &login(("NATS_NKEY", unknown)), &["cannot connect to NATS"]).await;

    // With accounts by JWT instead of users in the configuration.
    let accounts = std::fs::read_to_string(fixture("accounts.conf")).unwrap();
    let by_jwt = |conf: &str| conf.split("authorization {").next().unwrap().to_owned() + &accounts;
    let nats = Nats::start_with(&Folder::temporary().unwrap(), by_jwt).await.unwrap();
    let (nats_url, creds) = (nats.url(), path("operator.creds"));
    let settings = [("DATABASE_URL", &*database), ("NATS_URL", &*nats_url)];
    expect_success(run(&["migrate"], &[settings[0], settings[1], ("NATS_CREDS", &*creds)]).await);
    expect_refusal(&["migrate"], &settings, &["login is refused"]).await;
}
