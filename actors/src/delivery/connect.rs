//! How Postgres is reached: reads `DATABASE_URL`, connects for hosts and commands, and checks the server first.
//!
//! Invariant: a server that is too old, or one behind a connection pooler in transaction mode, is refused before anything is
//! written. This file decides which errors no waiting repairs, for starts only: a running host treats every error of a
//! connection as an outage.

use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use bus::address::Address;
use bus::contract::Timestamp;
use bus::{retry, tls};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};

use super::{is_away, within};
use crate::delivery::Database;

/// The oldest major version that has all that is used: the body of a SQL function after `return` came with 14.
pub const LEAST_VERSION: i32 = 14;

/// One try: a database that is frozen, or behind a network that drops everything, never refuses.
const TRY_MAX: Duration = Duration::from_secs(3);

/// How long a session may wait for another one that holds a transaction open, before that counts as sharing a connection.
const SHARED_MAX: Duration = Duration::from_secs(1);
/// Rounds of the check for a pooler: other hosts that start now may take the connection that a round expects to be shared.
const POOLER_ROUNDS: usize = 3;

const NO_POOLER: &str = "DATABASE_URL leads to a connection pooler (such as pgbouncer) in transaction mode, in which a session's settings, \
                         locks and prepared statements are lost or another's: give it the address of Postgres itself, or of a \
                         pooler in session mode";

/// A setting of a session and its value.
pub type Setting = (&'static str, &'static str);

/// The options of a connection to `DATABASE_URL`.
pub fn options(url: &str) -> anyhow::Result<PgConnectOptions> {
    let address = Address::parse(url).map_err(|why| anyhow::anyhow!("DATABASE_URL {why}"))?;
    let given =
        ["sslrootcert", "ssl-root-cert", "ssl-ca"].iter().any(|name| address.parameter(name).is_some());
    let options =
        PgConnectOptions::from_str(&for_sqlx(address)).context("DATABASE_URL is not a Postgres address")?;
    let options = match tls::besides_pem().filter(|_| !given) {
        Some(pem) => options.ssl_root_cert_from_pem(pem.into_bytes()),
        None => options,
    };
    // Poolers refuse this parameter of the startup message; since Postgres 12 numbers are exact without it.
    Ok(options.extra_float_digits(None).disable_statement_logging())
}

/// Connects and sets the session.
pub async fn open(options: &PgConnectOptions, settings: Vec<Setting>) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    set(&mut connection, settings).await?;
    Ok(connection)
}

/// Sets the session by a statement, which a pooler passes on.
pub async fn set(connection: &mut PgConnection, settings: Vec<Setting>) -> Result<(), sqlx::Error> {
    let (names, values): (Vec<&str>, Vec<&str>) = settings.into_iter().unzip();
    let statement =
        "select set_config(name, value, false) from unnest($1::text[], $2::text[]) as setting (name, value)";
    sqlx::query(statement).bind(names).bind(values).execute(connection).await?;
    Ok(())
}

/// The address in a form that sqlx reads correctly: an IPv6 host is a parameter, since sqlx would look up the name `[::1]`.
fn for_sqlx(mut address: Address) -> String {
    if !address.host.contains(':') {
        let host = address.host.clone();
        return address.canonical(&host);
    }
    let host = address.host.clone();
    // First, so that a host among the parameters wins, as it does otherwise.
    address.query.insert(0, ("host".to_owned(), host));
    address.canonical("localhost")
}

/// Connects for a command. Waits for a server that is just starting.
pub async fn connect(url: &str) -> anyhow::Result<PgConnection> {
    let options = options(url)?;
    let connect = async || {
        let opened = async {
            let mut connection = PgConnection::connect_with(&options).await?;
            check_server(&mut connection, None).await?;
            refuse_shared_sessions(&mut connection, &options).await?;
            Ok(connection)
        };
        within(TRY_MAX, opened).await
    };
    until_there(None, connect).await
}

/// Connects as a host does, checks the server, and returns the database's time.
pub async fn first_look(database: &Database) -> anyhow::Result<Timestamp> {
    let domain = database.domain;
    let connect = async || {
        let looked = async {
            let mut connection = database.open(&[]).await?;
            let now = check_server(&mut connection, Some(domain)).await?;
            refuse_shared_sessions(&mut connection, database.options()).await?;
            connection.close().await?;
            Ok(now)
        };
        within(TRY_MAX, looked).await
    };
    until_there(Some(domain), connect).await
}

async fn until_there<T>(
    domain: Option<&str>,
    connect: impl AsyncFn() -> Result<T, sqlx::Error>,
) -> anyhow::Result<T> {
    let may_pass = |error: &sqlx::Error| is_away(error) && refusal(error).is_none();
    match retry::until_there("the database", domain, connect, may_pass).await {
        Ok(done) => Ok(done),
        Err(error) => Err(match refusal(&error) {
            Some(why) => anyhow::anyhow!("the database at DATABASE_URL refuses: {why}"),
            None => anyhow::Error::new(error).context("the database does not answer at DATABASE_URL"),
        }),
    }
}

/// Refuses servers that Marquee does not run on. `schema` is the session's expected `search_path`, if the connection sets one.
async fn check_server(connection: &mut PgConnection, schema: Option<&str>) -> Result<Timestamp, sqlx::Error> {
    let statement = "select clock_timestamp(), current_setting('server_version_num')::int, \
                     current_setting('server_version'), current_setting('server_encoding'), \
                     current_setting('search_path')";
    let (now, version, name, encoding, path): (time::OffsetDateTime, i32, String, String, String) =
        sqlx::query_as(statement).fetch_one(connection).await?;
    if let Some(what) = too_old(version, &name).or_else(|| of_another_encoding(&encoding)) {
        return Err(sqlx::Error::Configuration(what.into()));
    }
    // The session accepted our settings but does not have them: the next statement ran in another session.
    if schema.is_some_and(|schema| path != schema) {
        return Err(sqlx::Error::Configuration(NO_POOLER.into()));
    }
    Ok(now.into())
}

/// Refuses a pooler that lends a connection to Postgres for one transaction. A second session holds a transaction open: if it
/// took the connection that the first one used, the first one is moved to another, or waits.
async fn refuse_shared_sessions(
    first: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), sqlx::Error> {
    let mut second = PgConnection::connect_with(options).await?;
    for _ in 0..POOLER_ROUNDS {
        let before = server_process(first).await?;
        sqlx::raw_sql("begin").execute(&mut second).await?;
        let held = server_process(&mut second).await?;
        let mut asked = pin!(server_process(first));
        let after = match tokio::time::timeout(SHARED_MAX, &mut asked).await {
            Ok(after) => Some(after?),
            Err(_) => None,
        };
        sqlx::raw_sql("rollback").execute(&mut second).await?;
        if after.is_none() {
            // It answers once the other transaction has ended; a server that hangs does not, and the try's limit ends it.
            asked.await?;
        }
        if held == before || after != Some(before) {
            return Err(sqlx::Error::Configuration(NO_POOLER.into()));
        }
    }
    second.close().await
}

async fn server_process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(connection).await
}

fn too_old(version: i32, name: &str) -> Option<String> {
    // 140005 is 14.5.
    let is_old = version / 10_000 < LEAST_VERSION;
    is_old.then(|| {
        format!(
            "Postgres {name} is too old: Marquee needs version {LEAST_VERSION} or newer; nothing was changed"
        )
    })
}

/// Titles may contain any character.
fn of_another_encoding(encoding: &str) -> Option<String> {
    let other = encoding != "UTF8";
    other.then(|| {
        format!("the database has the encoding {encoding}: Marquee needs one of UTF8; nothing was changed")
    })
}

/// Why a server refuses permanently; `None` when it is away, or may accept us later.
pub fn refusal(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Configuration(what) => Some(what.to_string()),
        sqlx::Error::Tls(what) => Some(tls::refusal(error).unwrap_or_else(|| what.to_string())),
        sqlx::Error::Io(_) => tls::refusal(error),
        sqlx::Error::Protocol(what) => Some(format!("what answers there is no Postgres ({what})")),
        sqlx::Error::Database(refused) => {
            let code = refused.code().unwrap_or_default();
            refused_by(&code).then(|| match &*code {
                // A statement of another client of the pooler, on a connection that we were given later.
                "08P01" | "42P05" | "26000" => format!("{NO_POOLER} ({refused})"),
                _ => refused.to_string(),
            })
        }
        _ => None,
    }
}

/// 28 the login, 3D000 no such database, 0A000 another version of the protocol, 42 no rights, 08P01 an unknown setting of the
/// session, 42P05 and 26000 a prepared statement that is another's.
fn refused_by(code: &str) -> bool {
    ["28", "3D000", "0A000", "42", "08P01", "26000"].iter().any(|class| code.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sqlx has no getter for the password, but writes it into the address that it makes.
    fn read_back(url: &str) -> Address {
        let text = options(url).unwrap().to_url_lossy().to_string();
        Address::parse(&text).unwrap_or_else(|why| panic!("{text}: {why}"))
    }

    #[test]
    fn every_character_of_a_password_reaches_postgres() {
        for c in (1u8..128).map(char::from).chain(['é']) {
            let password = format!("ab{c}cd");
            let encoded: String = password.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let url = format!("postgresql://kino-app:{encoded}@db:5432/kino-prod");
            assert!(read_back(&url).password == Some(password), "{c:?} encoded");
        }
        for c in ",;!$&'()*+=:@-._~".chars() {
            let url = format!("postgresql://kino-app:ab{c}cd@db:5432/kino-prod");
            assert!(read_back(&url).password == Some(format!("ab{c}cd")), "{c:?} as it is");
        }
        let by_parameter = read_back("postgres:///kino?user=kino&password=a+b%2Bc&host=db");
        assert!(by_parameter.password.as_deref() == Some("a+b+c"), "a plus is a plus");
    }

    #[test]
    fn hosts_are_names_addresses_and_sockets() {
        let host = |url: &str| options(url).unwrap().get_host().to_owned();
        assert_eq!(host("postgres://kino@[::1]:5433/kino"), "::1");
        assert_eq!(host("postgres://kino@[::1]:5433/kino?host=db"), "db");
        assert_eq!(host("postgres://kino@10.0.0.7/kino"), "10.0.0.7");
        assert_eq!(options("postgres://kino@[::1]:5433/kino").unwrap().get_port(), 5433);
        for url in ["postgres://kino@%2Frun%2Fpg:5433/kino", "postgres:///kino?host=/run/pg&user=kino"] {
            let socket = options(url).unwrap().get_socket().cloned();
            assert_eq!(socket.as_deref(), Some(std::path::Path::new("/run/pg")), "{url}");
        }
    }

    #[test]
    fn a_postgres_before_the_least_version_is_refused_by_name() {
        let what = too_old(130_014, "13.14").unwrap();
        assert!(what.contains("13.14") && what.contains("14 or newer"), "{what}");
        assert!(too_old(140_000, "14.0").is_none() && too_old(180_001, "18.1").is_none());
        assert!(of_another_encoding("LATIN1").is_some() && of_another_encoding("UTF8").is_none());
    }

    #[test]
    fn only_an_error_that_no_waiting_repairs_ends_a_start() {
        for refused in ["28P01", "28000", "3D000", "08P01", "0A000", "42501", "42P05"] {
            assert!(refused_by(refused), "{refused}");
        }
        for passing in ["08006", "08001", "57P03", "53300", "25006", "58030", "40001", "55P03"] {
            assert!(!refused_by(passing), "{passing}");
        }
        let tls = rustls_error();
        assert!(refusal(&sqlx::Error::Io(tls)).unwrap().contains("not trusted"));
        assert!(refusal(&sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into())).is_none());
        assert!(refusal(&sqlx::Error::PoolTimedOut).is_none());
    }

    fn rustls_error() -> std::io::Error {
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        std::io::Error::new(std::io::ErrorKind::InvalidData, untrusted)
    }
}
