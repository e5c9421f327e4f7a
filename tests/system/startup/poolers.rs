//! Behind pgbouncer: in session mode a seat is sold, in transaction mode hosts and commands are refused with the reason.
//! Where pgbouncer is not installed these tests check nothing.

use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;

use actors::delivery::Clock;
use actors::delivery::Database;
use bus::address::Address;

use super::*;
use crate::cinema::TestCinema;

const PGBOUNCER: &str = "/usr/sbin/pgbouncer";

/// A running pgbouncer, and the address of the database through it.
struct Pooler {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl Pooler {
    /// `None` where it is not installed.
    async fn start(database_url: &str, mode: &str) -> Option<Self> {
        if !Path::new(PGBOUNCER).exists() {
            eprintln!("not checked: there is no {PGBOUNCER}");
            return None;
        }
        let address = Address::parse(database_url).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("marquee-pooler-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let (user, password) = (address.user.clone().unwrap(), address.password.clone().unwrap());
        std::fs::write(folder.join("users.txt"), format!("\"{user}\" \"{password}\"\n")).unwrap();
        let server = address.port.unwrap();
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = {mode}\nmax_client_conn = 500\n\
             default_pool_size = 60\n",
            folder.join("users.txt").display()
        );
        let file = folder.join("pgbouncer.ini");
        std::fs::write(&file, configuration).unwrap();
        // It refuses to run as root.
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = Command::new(if is_root { "setpriv" } else { PGBOUNCER });
        if is_root {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", PGBOUNCER]);
        }
        let process = command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let url = database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < AT_ONCE, "pgbouncer does not start");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(Self { process, folder, url })
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_refused_with_the_reason() {
    let database = database().await;
    for mode in ["transaction", "statement"] {
        let Some(pooler) = Pooler::start(&database, mode).await else { return };
        let settings = [("DATABASE_URL", pooler.url.as_str())];
        expect_refusal(&["fsck"], &settings, &["connection pooler", "transaction mode"]).await;
        let error = Clock::read(&Database::new(&pooler.url, "auth").unwrap()).await.err().unwrap();
        assert!(error.to_string().contains("connection pooler"), "{error:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seat_is_sold_behind_a_pooler_in_session_mode() {
    let mut cinema = TestCinema::open().await;
    let Some(pooler) = Pooler::start(&cinema.database_url(), "session").await else { return };
    cinema.stop_hosts().await;
    cinema.set("DATABASE_URL", &pooler.url);
    cinema.start_hosts().await;
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.close().await;
}
