//! Servers do not outlive the process that started them, and the next start finds their data.

use super::processes::{parents, signal};
use super::*;

/// The folder in which the owner process starts its servers. Set only in a process that a test starts in order to kill it.
const OWNER_FOLDER: &str = "MARQUEE_TEST_OWNER_FOLDER";

/// Not a test: the process that the tests below start in order to kill it.
#[tokio::test]
async fn owner_process() {
    let Some(folder) = std::env::var_os(OWNER_FOLDER) else { return };
    let folder = Folder::permanent(folder).unwrap();
    let servers = Servers::start(&folder, External::default()).await.unwrap();
    let temporary = Folder::temporary().unwrap();
    let redis = Redis::start(&temporary.join("redis").unwrap()).await.unwrap();
    let pids = [
        servers.postgres.as_ref().and_then(Postgres::pid),
        servers.nats.as_ref().and_then(Nats::pid),
        servers.redis.as_ref().and_then(Redis::pid),
        redis.pid(),
    ];
    let pids = pids.map(|pid| pid.unwrap().to_string()).join(" ");
    println!("\nready|{}|{}|{pids}", servers.database_url, temporary.path().display());
    std::future::pending::<()>().await;
}

struct Owner {
    process: Child,
    database_url: String,
    temporary: String,
    pids: Vec<u32>,
}

impl Owner {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["local_servers::ownership::owner_process", "--exact", "--nocapture"])
            .env(OWNER_FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
        let ready =
            lines.find(|line| line.starts_with("ready|")).expect("the owner process starts its servers");
        let [_, database_url, temporary, pids] = ready.split('|').collect::<Vec<_>>()[..] else {
            panic!("{ready}")
        };
        let pids = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
        Self { process, database_url: database_url.into(), temporary: temporary.into(), pids }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn living(&self) -> Vec<u32> {
        self.pids.iter().copied().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).collect()
    }
}

#[tokio::test]
async fn servers_end_with_their_killed_owner_and_the_next_start_finds_the_data() {
    let folder = Folder::temporary().unwrap();
    let mut owner = Owner::start(folder.path());
    let mut connection = PgConnection::connect(&owner.database_url).await.unwrap();
    sqlx::raw_sql("create table seat (n int); insert into seat values (1)")
        .execute(&mut connection)
        .await
        .unwrap();
    assert_eq!(owner.living().len(), 4);

    owner.kill();
    // At once, while the old servers are still stopping.
    let servers = Servers::start(&folder, External::default()).await.unwrap();
    assert_eq!(sql(&servers.database_url, "select count(*) from seat").await.unwrap(), 1);
    until("the killed owner's servers end", || owner.living().is_empty()).await;
    until("its temporary folder is gone", || !Path::new(&owner.temporary).exists()).await;
    servers.stop().await.unwrap();
}

#[tokio::test]
async fn a_paused_server_and_its_children_end_with_their_killed_owner() {
    let folder = Folder::temporary().unwrap();
    let mut owner = Owner::start(folder.path());
    let _connection = PgConnection::connect(&owner.database_url).await.unwrap();
    let postgres = owner.pids[0];
    let children: Vec<u32> =
        parents().into_iter().filter(|(_, of)| *of == postgres).map(|(pid, _)| pid).collect();
    assert!(children.len() > 3, "{children:?}");
    // A child that served an earlier connection may just have ended.
    for pid in children.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        let _ = Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
    }
    signal("-STOP", postgres);
    owner.pids.extend(&children);
    owner.kill();
    until("the paused server and its children end", || owner.living().is_empty()).await;
}

#[tokio::test]
async fn leftover_servers_without_a_guard_are_killed_by_the_next_start() {
    let folder = Folder::temporary().unwrap();
    let mut owner = Owner::start(folder.path());
    let parents = parents();
    // The servers of the folder that is started again are frozen, so that no signal ends them, and their guards are killed.
    let left: Vec<u32> = owner.pids[..3].to_vec();
    for server in &left {
        signal("-STOP", *server);
        let (_, guard) = parents.iter().find(|(pid, _)| pid == server).unwrap();
        signal("-KILL", *guard);
        parents
            .iter()
            .filter(|(pid, of)| of == guard && pid != server)
            .for_each(|(watcher, _)| signal("-KILL", *watcher));
    }
    owner.kill();
    until("the server with a guard ends", || owner.living().len() == 3).await;
    assert_eq!(owner.living(), left);

    let servers = Servers::start(&folder, External::default()).await.unwrap();
    // They are killed; init takes a moment to reap them.
    until("the leftovers are gone", || owner.living().is_empty()).await;
    assert_eq!(
        sql(&servers.database_url, "select count(*) from pg_database where datname = 'marquee'")
            .await
            .unwrap(),
        1
    );
    servers.stop().await.unwrap();
}
