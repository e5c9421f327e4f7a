//! Faults: the process, NATS, Postgres and Redis are killed during a sale; hosts do not run.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bus::topology::EVENTS;
use marquee::local::temporary_password;
use reqwest::Method;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema, answer, id};

/// `marquee up` as a separate process, on servers that go on when it is killed.
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

/// Processes that are killed at the end of the test.
struct Processes(Vec<Child>);

impl Processes {
    fn start(&mut self, cinema: &TestCinema, name: &str, arguments: &[&str], environment: &[(&str, &str)]) {
        let log = std::fs::File::create(cinema.folder.path().join(format!("{name}.log"))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_marquee"));
        command.args(arguments).envs(environment.iter().copied()).stdout(Stdio::null()).stderr(log);
        self.0.push(command.spawn().unwrap());
    }
}

impl Drop for Processes {
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
    cinema.stop_hosts().await;
    let database_url = cinema.postgres.as_ref().unwrap().create_database("separate").await.unwrap();
    let (gateway, provider) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let (url, api, key) =
        (format!("http://{gateway}"), format!("http://{provider}"), actors::auth::token::generate_pem());
    let (nats, webhooks) = (cinema.nats.url(), format!("{url}/v1/payments/webhook"));
    let books = cinema.folder.path().join("separate.jsonl").display().to_string();
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
    let mut processes = Processes(Vec::new());
    processes.start(
        &cinema,
        "provider",
        &["sandbox", "--addr", &provider, "--log", &books, "--webhook-url", &webhooks],
        &environment,
    );
    processes.start(&cinema, "gateway", &["gateway"], &environment);
    processes.start(&cinema, "first", &["host", "reservation"], &environment);
    processes.start(&cinema, "second", &["host", "reservation"], &environment);
    for domain in ["auth", "movie", "payment"] {
        processes.start(&cinema, domain, &["host", domain], &environment);
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
            // One of the two reservation hosts is killed; the other gets all requests of the queue group.
            processes.0[2].kill().unwrap();
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

/// Sends the same request with the same key until it succeeds, as a client does after a 503.
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

/// Sets the prices of a showtime to 0 and waits until its seats have them; returns its id.
async fn make_free(process: &Process, http: &reqwest::Client, showtime: &Value) -> String {
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
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the seats still have a price: {}",
            map["seats"][0]
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_the_process_between_reservation_and_payment_loses_nothing() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    cinema.stop_hosts().await;
    // The process has a database of its own on the servers of this cinema.
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
    let free = make_free(&process, &cinema.http, &showtimes["items"][0]).await;
    let free = json!({"showtimeId": free, "bestAvailable": {"count": 2}});
    let free = process.post(&cinema.http, "/v1/reservations", Some(token), free).await;
    assert_eq!(free["total"]["amount"], 0);
    process.kill();

    let process = Process::start(&cinema, &database_url, port).await;
    // The token is still valid, since the signing key is stored.
    let pay = json!({"reservationId": reserved["id"], "paymentMethod": "pm_card_visa"});
    let paid = process.post(&cinema.http, "/v1/payments", Some(token), pay).await;
    assert_eq!(paid["status"], "SUCCEEDED");
    let confirmed =
        process.post(&cinema.http, "/v1/payments", Some(token), json!({"reservationId": free["id"]})).await;
    assert_eq!(confirmed["status"], "SUCCEEDED");
    // Killed again right after the two payments were answered.
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
    let paid = retry_until_answered(
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
    let committed = cinema.count("select (select count(*) from reservation.events) + (select count(*) from payment.events) + (select count(*) from movie.events) + (select count(*) from auth.events)").await;

    let version = cinema.reservation(&ada, &first).await["version"].clone();

    cinema.nats.wipe().await.unwrap();
    let began = Instant::now();
    loop {
        let stored = match cinema.cinema().bus.jetstream.get_stream(EVENTS).await {
            Ok(mut stream) => stream.info().await.map(|info| info.state.messages as i64).unwrap_or(-1),
            Err(_) => -1,
        };
        if stored >= committed {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(40), "the stream has {stored} of {committed} events");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    retry_until_answered(
        &cinema,
        "/v1/payments",
        &ada,
        json!({"reservationId": second, "paymentMethod": "pm_card_visa"}),
    )
    .await;
    cinema.until_confirmed(&ada, &second).await;
    // The second order takes three steps (begin, initiated, success); the events published again add none.
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
    // Every seat is requested twice.
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
    let paid = retry_until_answered(
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
    cinema.stop_hosts().await;
    let (nats, health) = (cinema.nats.url(), format!("127.0.0.1:{}", free_port()));
    let environment = |database_url| {
        [("DATABASE_URL", database_url), ("NATS_URL", nats.as_str()), ("HEALTH_ADDR", health.as_str())]
    };
    let mut postgres = cinema.postgres.take().unwrap();
    let (existing, missing) = (postgres.database_url("marquee"), postgres.database_url("nowhere"));
    for (database_url, password, reason) in [
        (&missing, temporary_password(), "\"nowhere\" does not exist"),
        (&existing, "guessed", "authorization violation"),
    ] {
        let began = Instant::now();
        let mut host = Command::new(env!("CARGO_BIN_EXE_marquee"));
        host.args(["host", "movie"]).envs(environment(database_url)).env("NATS_PASSWORD", password);
        let ended = host.output().unwrap();
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && error.contains(reason), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10), "it waited for a server that refused it: {error}");
    }

    postgres.kill().await;
    cinema.nats.kill().await;
    let mut processes = Processes(Vec::new());
    let with_password = [&environment(&existing)[..], &[("NATS_PASSWORD", temporary_password())]].concat();
    processes.start(&cinema, "early", &["host", "movie"], &with_password);
    let log = cinema.folder.path().join("early.log");
    let logged = |line: &str| std::fs::read_to_string(&log).unwrap().contains(line);
    until_with_log(&cinema, &log, "a wait for NATS", async || logged("NATS is away; waiting for it")).await;
    cinema.nats.start_again().await.unwrap();
    let waiting = async || logged("the database is away; waiting for it");
    until_with_log(&cinema, &log, "a wait for Postgres", waiting).await;
    // Longer than one attempt to connect takes: the host must not give up after it.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(processes.0[0].try_wait().unwrap().is_none(), "the host has ended");
    postgres.start_again().await.unwrap();
    let ready = async || {
        let ready = cinema.http.get(format!("http://{health}/health/ready")).send().await;
        ready.is_ok_and(|ready| ready.status().is_success())
    };
    until_with_log(&cinema, &log, "a host that is ready", ready).await;
}

/// Waits at most 20 s until `fact` is true; panics with the log otherwise.
async fn until_with_log(
    cinema: &TestCinema,
    log: &std::path::Path,
    what: &str,
    fact: impl AsyncFn() -> bool,
) {
    let reached = tokio::time::timeout(Duration::from_secs(20), cinema.until(what, fact)).await;
    assert!(reached.is_ok(), "not within 20 s: {what}; the log is {}", std::fs::read_to_string(log).unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unavailable_payment_host_answers_503_and_closes_its_pages_when_it_returns() {
    let plan =
        Plan::default().with("HOLD_SECONDS", 3).with("HOLD_SECONDS_MAX", 4).with("HOLD_GRACE_SECONDS", 3);
    let mut cinema = TestCinema::open_with(plan).await;
    let ada = cinema.register().await;
    let (without_page, with_page) =
        (cinema.reserve(&ada, &["A1"]).await, cinema.reserve(&ada, &["A2"]).await);
    let page = cinema.open_payment_page(&ada, &with_page).await;
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "payment").unwrap();
    hosts.remove(at).kill();
    let refused = cinema.pay(&ada, &without_page, "pm_card_visa").await;
    assert_eq!(refused.status.as_u16(), 503, "{}", refused.text);
    // The sagas get no answer from payment and free the seats at the end of the grace period.
    cinema.until_status(&ada, &without_page, "CANCELLED").await;
    cinema.until_status(&ada, &with_page, "CANCELLED").await;
    assert_eq!((cinema.seat("A1").await, cinema.seat("A2").await), ("FREE".to_owned(), "FREE".to_owned()));
    // Payment runs again, receives the cancellations and closes the page.
    cinema.stop_hosts().await;
    cinema.start_hosts().await;
    cinema.until_sql("select count(*) from payment.payments where status <> 'FAILED'", 0).await;
    // The provider was restarted too, on another port.
    let provider = cinema.cinema().sandbox.as_ref().unwrap().url();
    let page = format!("{provider}{}", &page[page.find("/pay/").unwrap()..]);
    assert!(!cinema.pay_on_page(&page, "4242424242424242").await, "a closed page accepts no payment");
    cinema.close().await;
}

/// Sends the same request with the same key until it succeeds, as a client does after a 503.
async fn retry_until_answered(
    cinema: &TestCinema,
    path: &str,
    who: &crate::cinema::Person,
    body: Value,
) -> Value {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_request_waits_for_the_only_host_of_its_domain_that_restarts() {
    let mut cinema = TestCinema::open().await;
    let (ada, owner) = (cinema.register().await, cinema.owner());
    let order = cinema.reserve(&ada, &["A1"]).await;
    let hold = json!({"showtimeId": cinema.showtime, "seats": ["B1"]});
    let pay = json!({"reservationId": order, "paymentMethod": "pm_card_visa"});
    for (domain, method, path, who, body, status) in [
        ("auth", Method::GET, "/v1/users?page=1", &owner, None, 200),
        ("movie", Method::GET, "/v1/movies?search=a", &ada, None, 200),
        ("reservation", Method::POST, "/v1/reservations", &ada, Some(hold), 201),
        ("payment", Method::POST, "/v1/payments", &ada, Some(pay), 201),
    ] {
        let hosts = &mut cinema.cinema_mut().hosts;
        let at = hosts.iter().position(|host| host.domain() == domain).unwrap();
        hosts.remove(at).stop().await;
        let request = async {
            let answer = cinema.call(method, path, Some(who), body).await;
            (answer, Instant::now())
        };
        let restart = async {
            // The time that a restart takes.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            (cinema.start_host(domain).await, Instant::now())
        };
        let ((answer, answered), (host, started)) = tokio::join!(request, restart);
        cinema.cinema_mut().hosts.push(host);
        assert_eq!(answer.status.as_u16(), status, "{domain}: {}", answer.text);
        let answered = answered.saturating_duration_since(started);
        assert!(answered < Duration::from_secs(1), "{domain}: {answered:?} after the start");
    }
    cinema.until_confirmed(&ada, &order).await;

    // Only the beginning of an absence is waited for.
    let hosts = &mut cinema.cinema_mut().hosts;
    let at = hosts.iter().position(|host| host.domain() == "movie").unwrap();
    hosts.remove(at).stop().await;
    let mut times = Vec::new();
    for _ in 0..2 {
        let began = Instant::now();
        let answer = cinema.call(Method::GET, "/v1/movies?search=b", Some(&ada), None).await;
        assert_eq!(answer.status.as_u16(), 503, "{}", answer.text);
        times.push(began.elapsed());
    }
    assert!(times[0] > Duration::from_secs(2) && times[1] < Duration::from_secs(1), "{times:?}");
    cinema.start_another("movie").await;
    cinema.close().await;
}
