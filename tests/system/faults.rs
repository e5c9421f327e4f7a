//! Faults: the process, NATS, Postgres and Redis killed in the middle of a sale; hosts that are away.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bus::topology::EVENTS;
use marquee::local::temporary_password;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema, answer, id};

/// `marquee up` as a process of its own, on servers that outlive it.
struct Process {
    child: Child,
    url: String,
}

impl Process {
    async fn start(cinema: &TestCinema, database_url: &str, port: u16) -> Self {
        let log = std::fs::File::create(cinema.folder.path().join("up.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_marquee"))
            .args(["up", "--data"])
            .arg(cinema.folder.path().join("up"))
            .env("DATABASE_URL", database_url)
            .env("NATS_URL", cinema.nats.url())
            .env("NATS_PASSWORD", cinema.nats.password())
            .env("REDIS_URL", "redis://127.0.0.1:1")
            .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
            .env_remove("PAYMENT_API_URL")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let process = Self { child, url: format!("http://127.0.0.1:{port}") };
        let began = Instant::now();
        loop {
            let ready = cinema.http.get(format!("{}/health/ready", process.url)).send().await;
            if ready.is_ok_and(|ready| ready.status().is_success()) {
                return process;
            }
            assert!(began.elapsed() < Duration::from_secs(40), "not ready within 40 s");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    async fn post(&self, http: &reqwest::Client, path: &str, token: Option<&str>, body: Value) -> Value {
        let mut request = http
            .post(format!("{}{path}", self.url))
            .header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = answer(request.json(&body).send().await.unwrap()).await.unwrap();
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        answer.body
    }
}

/// Ends its processes with the test, however that ends.
struct Family(Vec<Child>);

impl Family {
    fn add(&mut self, cinema: &TestCinema, name: &str, arguments: &[&str], environment: &[(&str, &str)]) {
        let log = std::fs::File::create(cinema.folder.path().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log);
        self.0.push(command.spawn().unwrap());
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_in_separate_processes_sell_seats_and_take_over_from_a_killed_one() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    cinema.close_doors().await;
    let database_url = cinema.postgres.as_ref().unwrap().create_database("apart").await.unwrap();
    let (gateway, provider) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let (url, api, key) =
        (format!("http://{gateway}"), format!("http://{provider}"), actors::auth::token::generate_pem());
    let (nats, webhooks) = (cinema.nats.url(), format!("{url}/v1/payments/webhook"));
    let books = cinema.folder.path().join("apart.jsonl").display().to_string();
    let environment = [
        ("DATABASE_URL", database_url.as_str()),
        ("NATS_URL", &nats),
        ("NATS_PASSWORD", temporary_password()),
        ("HTTP_ADDR", &gateway),
        ("JWT_PRIVATE_KEY", &key),
        ("PAYMENT_API_URL", &api),
        ("PAYMENT_API_KEY", "sk_test_marquee"),
        ("PAYMENT_WEBHOOK_SECRET", "whsec_test"),
    ];
    let migrated =
        Command::new(env!("CARGO_BIN_EXE_marquee")).arg("migrate").envs(environment).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let seeded = Command::new(env!("CARGO_BIN_EXE_marquee")).arg("seed").envs(environment).output().unwrap();
    assert!(seeded.status.success(), "{}", String::from_utf8_lossy(&seeded.stderr));
    let mut family = Family(Vec::new());
    family.add(
        &cinema,
        "provider",
        &["sandbox", "--addr", &provider, "--log", &books, "--webhook-url", &webhooks],
        &environment,
    );
    family.add(&cinema, "gateway", &["gateway"], &environment);
    family.add(&cinema, "first", &["host", "reservation"], &environment);
    family.add(&cinema, "second", &["host", "reservation"], &environment);
    for domain in ["auth", "movie", "payment"] {
        family.add(&cinema, domain, &["host", domain], &environment);
    }

    let account = json!({"email": "ada@marquee.example", "password": "popcorn-2026"});
    let session = until_answered(&cinema, &url, "/v1/auth/login", None, account).await;
    let token = session["accessToken"].as_str().unwrap();
    let began = Instant::now();
    let showtime = loop {
        let listed = cinema.http.get(format!("{url}/v1/showtimes?pageSize=100")).send().await.unwrap();
        if let Some(last) =
            answer(listed).await.unwrap().body["items"].as_array().and_then(|items| items.last())
        {
            break last["id"].clone();
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no showtimes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    for round in 0..4 {
        if round == 2 {
            // One of the two reservation hosts dies; the other has the whole queue group's work.
            family.0[2].kill().unwrap();
        }
        let order = json!({"showtimeId": showtime, "bestAvailable": {"count": 1}});
        let reserved = until_answered(&cinema, &url, "/v1/reservations", Some(token), order).await;
        let pay = json!({"reservationId": reserved["id"], "paymentMethod": "pm_card_visa"});
        until_answered(&cinema, &url, "/v1/payments", Some(token), pay).await;
        let path = format!("{url}/v1/reservations/{}?wait=25", id(&reserved));
        let confirmed = answer(cinema.http.get(path).bearer_auth(token).send().await.unwrap()).await.unwrap();
        assert_eq!(confirmed.expect(200)["status"], "CONFIRMED", "round {round}");
    }
}

/// Sends the same request with the same key until it is answered well, as a client does while a part is away.
async fn until_answered(
    cinema: &TestCinema,
    url: &str,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Value {
    let (key, began) = (uuid::Uuid::new_v4().to_string(), Instant::now());
    loop {
        let mut request =
            cinema.http.post(format!("{url}{path}")).header("Idempotency-Key", &key).json(&body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let seen = match request.send().await {
            Ok(response) => answer(response).await.map(|answer| (answer.status.as_u16(), answer)),
            Err(error) => Err(error),
        };
        match seen {
            Ok((200..300, answer)) => return answer.body,
            Ok((503, _)) | Err(_) if began.elapsed() < Duration::from_secs(40) => {}
            other => panic!("{path}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Makes a showtime cost nothing, and returns its id once its seats are sold so.
async fn free_of_charge(process: &Process, http: &reqwest::Client, showtime: &Value) -> String {
    let staff = json!({"email": "staff@marquee.example", "password": "popcorn-2026"});
    let staff = process.post(http, "/v1/auth/login", None, staff).await["accessToken"].clone();
    let mut prices = showtime["prices"].clone();
    prices.as_object_mut().unwrap().values_mut().for_each(|price| price["amount"] = json!(0));
    let path = format!("{}/v1/showtimes/{}", process.url, id(showtime));
    let change = http.patch(&path).bearer_auth(staff.as_str().unwrap()).json(&json!({"prices": prices}));
    answer(change.send().await.unwrap()).await.unwrap().expect(200);
    let began = Instant::now();
    loop {
        let map = answer(http.get(format!("{path}/seats")).send().await.unwrap()).await.unwrap().expect(200);
        if map["seats"][0]["price"]["amount"] == 0 {
            return id(showtime);
        }
        assert!(began.elapsed() < Duration::from_secs(30), "still has its price: {}", map["seats"][0]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_process_between_reservation_and_payment_loses_nothing() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    cinema.close_doors().await;
    // The data of the process is its own: this cinema only lends its servers.
    let database_url = cinema.postgres.as_ref().unwrap().create_database("killed").await.unwrap();
    let port = free_port();
    let process = Process::start(&cinema, &database_url, port).await;
    let account = json!({"email": "ada@marquee.example", "password": "popcorn-2026"});
    let token =
        process.post(&cinema.http, "/v1/auth/login", None, account.clone()).await["accessToken"].clone();
    let token = token.as_str().unwrap();
    let showtimes: Value = cinema
        .http
        .get(format!("{}/v1/showtimes?pageSize=100", process.url))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let showtime = showtimes["items"].as_array().unwrap().last().unwrap()["id"].clone();
    let order = json!({"showtimeId": showtime, "bestAvailable": {"count": 2}});
    let reserved = process.post(&cinema.http, "/v1/reservations", Some(token), order.clone()).await;
    let free = free_of_charge(&process, &cinema.http, &showtimes["items"][0]).await;
    let free = json!({"showtimeId": free, "bestAvailable": {"count": 2}});
    let free = process.post(&cinema.http, "/v1/reservations", Some(token), free).await;
    assert_eq!(free["total"]["amount"], 0);
    process.kill();

    let process = Process::start(&cinema, &database_url, port).await;
    // The token still holds: the keys are kept.
    let pay = json!({"reservationId": reserved["id"], "paymentMethod": "pm_card_visa"});
    let paid = process.post(&cinema.http, "/v1/payments", Some(token), pay).await;
    assert_eq!(paid["status"], "SUCCEEDED");
    let taken =
        process.post(&cinema.http, "/v1/payments", Some(token), json!({"reservationId": free["id"]})).await;
    assert_eq!(taken["status"], "SUCCEEDED");
    // And killed again, right after the money was taken and the free seats were.
    process.kill();
    let process = Process::start(&cinema, &database_url, port).await;
    for order in [&reserved, &free] {
        let path = format!("{}/v1/reservations/{}?wait=20", process.url, id(order));
        let confirmed = answer(cinema.http.get(path).bearer_auth(token).send().await.unwrap()).await.unwrap();
        assert_eq!(confirmed.expect(200)["status"], "CONFIRMED");
    }
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_nats_during_a_sale_loses_nothing() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.nats.kill().await;
    let refused = cinema.try_reserve(&ada, &["A2"]).await;
    assert_eq!(refused.status.as_u16(), 503, "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after"));
    cinema.nats.start_again().await.unwrap();
    let paid = retried(
        &cinema,
        "/v1/payments",
        &ada,
        json!({"reservationId": reservation, "paymentMethod": "pm_card_visa"}),
    )
    .await;
    assert_eq!(paid["status"], "SUCCEEDED");
    cinema.until_confirmed(&ada, &reservation).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wiped_nats_data_is_published_again_and_changes_no_finished_order() {
    let mut cinema = TestCinema::open().await;
    let ada = cinema.register().await;
    let first = cinema.reserve(&ada, &["A1"]).await;
    cinema.pay(&ada, &first, "pm_card_visa").await.expect(201);
    cinema.until_confirmed(&ada, &first).await;
    let second = cinema.reserve(&ada, &["A2"]).await;
    cinema.until_sql("select count(*) from reservation.unsent", 0).await;
    let steps = "select count(*) from reservation.saga_steps";
    let before = cinema.count(steps).await;
    let told = cinema.count("select (select count(*) from reservation.events) + (select count(*) from payment.events) + (select count(*) from movie.events) + (select count(*) from auth.events)").await;

    let version = cinema.reservation(&ada, &first).await["version"].clone();

    cinema.nats.wipe().await.unwrap();
    let began = Instant::now();
    loop {
        let stored = match cinema.cinema().bus.jetstream.get_stream(EVENTS).await {
            Ok(mut stream) => stream.info().await.map(|info| info.state.messages as i64).unwrap_or(-1),
            Err(_) => -1,
        };
        if stored >= told {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "the stream has {stored} of {told} events");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    retried(&cinema, "/v1/payments", &ada, json!({"reservationId": second, "paymentMethod": "pm_card_visa"}))
        .await;
    cinema.until_confirmed(&ada, &second).await;
    // paying began, was initiated and succeeded; what came again changed nothing
    assert!(cinema.count(steps).await <= before + 3);
    assert_eq!(cinema.reservation(&ada, &first).await["version"], version);
    assert_eq!(cinema.captured(&first).await, 1200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_redis_during_concurrent_reservations_changes_no_answer() {
    let mut cinema =
        TestCinema::open_with(Plan { redis: true, reservation_hosts: 2, ..Plan::default() }).await;
    let ada = cinema.register().await;
    cinema.reserve(&ada, &["A1"]).await;
    cinema.redis.as_mut().unwrap().kill().await;
    let rows = ["B", "C", "D", "E"];
    let seats: Vec<String> = rows.iter().flat_map(|row| (1..=10).map(move |n| format!("{row}{n}"))).collect();
    // Every seat is wanted twice.
    let wanted: Vec<&str> = seats.iter().chain(&seats).map(String::as_str).collect();
    let answers =
        futures::future::join_all(wanted.chunks(1).map(|seat| cinema.try_reserve(&ada, seat))).await;
    assert_eq!(answers.iter().filter(|a| a.status.as_u16() == 201).count(), 40);
    assert!(answers.iter().all(|a| a.status.as_u16() == 201 || a.code() == "seats-taken"), "{answers:?}");
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarting_postgres_during_a_sale_loses_nothing_that_was_answered() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    let postgres = cinema.postgres.as_mut().unwrap();
    postgres.kill().await;
    postgres.start_again().await.unwrap();
    let paid = retried(
        &cinema,
        "/v1/payments",
        &ada,
        json!({"reservationId": reservation, "paymentMethod": "pm_card_visa"}),
    )
    .await;
    assert_eq!(paid["reservationId"], reservation.as_str());
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.captured(&reservation).await, 1200);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_waits_for_servers_that_are_starting_and_ends_when_one_refuses_it() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    cinema.close_doors().await;
    let (nats, health) = (cinema.nats.url(), format!("127.0.0.1:{}", free_port()));
    let environment = |database_url| {
        [("DATABASE_URL", database_url), ("NATS_URL", nats.as_str()), ("HEALTH_ADDR", health.as_str())]
    };
    let mut postgres = cinema.postgres.take().unwrap();
    let (here, nowhere) = (postgres.database_url("marquee"), postgres.database_url("nowhere"));
    for (database_url, password, why) in [
        (&nowhere, temporary_password(), "\"nowhere\" does not exist"),
        (&here, "guessed", "authorization violation"),
    ] {
        let began = Instant::now();
        let mut host = Command::new(env!("CARGO_BIN_EXE_marquee"));
        host.args(["host", "movie"]).envs(environment(database_url)).env("NATS_PASSWORD", password);
        let ended = host.output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && told.contains(why), "{told}");
        assert!(began.elapsed() < Duration::from_secs(10), "it waited for what refused it: {told}");
    }

    postgres.kill().await;
    cinema.nats.kill().await;
    let mut family = Family(Vec::new());
    let with_password = [&environment(&here)[..], &[("NATS_PASSWORD", temporary_password())]].concat();
    family.add(&cinema, "early", &["host", "movie"], &with_password);
    let log = cinema.folder.path().join("early.log");
    let logged = |line: &str| std::fs::read_to_string(&log).unwrap().contains(line);
    soon(&cinema, &log, "a wait for NATS", async || logged("NATS is away; waiting for it")).await;
    cinema.nats.start_again().await.unwrap();
    let waits = async || logged("the database is away; waiting for it");
    soon(&cinema, &log, "a wait for Postgres", waits).await;
    // Longer than one try.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(family.0[0].try_wait().unwrap().is_none(), "it has ended");
    postgres.start_again().await.unwrap();
    let ready = async || {
        let ready = cinema.http.get(format!("http://{health}/health/ready")).send().await;
        ready.is_ok_and(|ready| ready.status().is_success())
    };
    soon(&cinema, &log, "a host that is ready", ready).await;
}

/// Waits 20 s at most for what `seen` sees; the log tells why it was not.
async fn soon(cinema: &TestCinema, log: &std::path::Path, what: &str, seen: impl AsyncFn() -> bool) {
    let seen = tokio::time::timeout(Duration::from_secs(20), cinema.until(what, seen)).await;
    assert!(seen.is_ok(), "not seen: {what}, but {}", std::fs::read_to_string(log).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unavailable_payment_host_answers_503_and_closes_its_pages_when_it_returns() {
    let plan =
        Plan::default().with("HOLD_SECONDS", 3).with("HOLD_SECONDS_MAX", 4).with("HOLD_GRACE_SECONDS", 3);
    let mut cinema = TestCinema::open_with(plan).await;
    let ada = cinema.register().await;
    let (kept, lost) = (cinema.reserve(&ada, &["A1"]).await, cinema.reserve(&ada, &["A2"]).await);
    let page = cinema.open_pay_page(&ada, &lost).await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "payment").unwrap();
    hosts.remove(at).kill();
    let refused = cinema.pay(&ada, &kept, "pm_card_visa").await;
    assert_eq!(refused.status.as_u16(), 503, "{}", refused.text);
    // With payment away the saga asks, is not answered, and gives the seats back when the grace is over.
    cinema.until_status(&ada, &kept, "CANCELLED").await;
    cinema.until_status(&ada, &lost, "CANCELLED").await;
    assert_eq!((cinema.seat("A1").await, cinema.seat("A2").await), ("FREE".to_owned(), "FREE".to_owned()));
    // Payment comes back, hears of the cancellations and closes the page.
    cinema.close_doors().await;
    cinema.open_doors().await;
    cinema.until_sql("select count(*) from payment.payments where status <> 'FAILED'", 0).await;
    // The provider was restarted too, and listens elsewhere.
    let provider = cinema.cinema().sandbox.as_ref().unwrap().url();
    let page = format!("{provider}{}", &page[page.find("/pay/").unwrap()..]);
    assert!(!cinema.pay_on_page(&page, "4242424242424242").await, "a closed page takes no money");
    cinema.close().await;
}

/// Sends the same request with the same key until it is answered well, as a client does after a 503.
async fn retried(cinema: &TestCinema, path: &str, who: &crate::cinema::Person, body: Value) -> Value {
    let key = uuid::Uuid::new_v4().to_string();
    let began = Instant::now();
    loop {
        match cinema.try_call(Method::POST, path, Some(who), Some(body.clone()), &key).await {
            Ok(answer) if answer.status.is_success() => return answer.body,
            Ok(answer)
                if [503, 409].contains(&answer.status.as_u16())
                    && began.elapsed() < Duration::from_secs(30) => {}
            Ok(answer) => panic!("{path}: {}", answer.text),
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{path}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
