//! One trace from a request to its last effect, received by a collector of the test, and the request id in the log.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use poem::listener::TcpAcceptor;
use poem::web::Data;
use poem::{EndpointExt, Route, Server, handler, post};
use prost::Message;
use serde_json::{Value, json};

use crate::cinema::{Plan, TestCinema, answer, id};

#[derive(Debug, Clone)]
struct Span {
    trace: String,
    id: String,
    parent: String,
    name: String,
}

/// The spans that the collector has received.
type Spans = Arc<Mutex<Vec<Span>>>;

#[handler]
fn collect(spans: Data<&Spans>, body: Vec<u8>) -> poem::http::StatusCode {
    let Ok(sent) = ExportTraceServiceRequest::decode(&body[..]) else {
        return poem::http::StatusCode::BAD_REQUEST;
    };
    let scopes = sent.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    spans.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans).map(|span| Span {
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        name: span.name,
    }));
    poem::http::StatusCode::OK
}

async fn collector() -> (String, Spans) {
    let spans = Spans::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = Route::new().at("/v1/traces", post(collect)).data(spans.clone());
    tokio::spawn(Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap()).run(app));
    (url, spans)
}

/// A process that is killed at the end of the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paying_is_one_trace_from_the_request_to_the_mail() {
    let mut cinema = TestCinema::open_with(Plan { own_postgres: true, ..Plan::default() }).await;
    cinema.stop_hosts().await;
    let database = cinema.postgres.as_ref().unwrap().create_database("traced").await.unwrap();
    let (collector, spans) = collector().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}");
    let log = cinema.folder.path().join("traced.log");
    let child = Command::new(env!("CARGO_BIN_EXE_marquee"))
        .args(["up", "--data"])
        .arg(cinema.folder.path().join("traced"))
        .env("DATABASE_URL", database)
        .env("NATS_URL", cinema.nats.url())
        .env("NATS_PASSWORD", cinema.nats.password())
        .env("REDIS_URL", "redis://127.0.0.1:1")
        .env("HTTP_ADDR", format!("127.0.0.1:{port}"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
        .env("OTEL_BSP_SCHEDULE_DELAY", "200")
        .env("LOG_FORMAT", "json")
        .env_remove("PAYMENT_API_URL")
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let process = Process(child);
    let ready = || async {
        let ready = cinema.http.get(format!("{url}/health/ready")).send().await;
        ready.is_ok_and(|ready| ready.status().is_success()).then_some(())
    };
    until("the process is ready", ready).await;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let caller = "00f067aa0ba902b7";
    let call = |path: &'static str, token: String, body: Value| {
        let request = cinema.http.post(format!("{url}{path}")).bearer_auth(token).json(&body);
        let request = request.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
        let traced = request.header("traceparent", format!("00-{trace}-{caller}-01"));
        let traced = traced.header("X-Request-Id", "order-4711");
        async move { answer(traced.send().await.unwrap()).await.unwrap() }
    };
    let account = json!({"email": "ada@marquee.example", "password": "popcorn-2026"});
    let session = call("/v1/auth/login", String::new(), account).await.expect(200);
    let token = session["accessToken"].as_str().unwrap().to_owned();
    let listed = cinema.http.get(format!("{url}/v1/showtimes?pageSize=100")).send().await.unwrap();
    let showtimes = answer(listed).await.unwrap().body["items"].as_array().unwrap().clone();
    let showtime = showtimes.last().expect("the demo has showtimes")["id"].clone();
    let order = json!({"showtimeId": showtime, "bestAvailable": {"count": 1}});
    let reserved = call("/v1/reservations", token.clone(), order).await.expect(201);
    let pay = json!({"reservationId": reserved["id"], "paymentMethod": "pm_card_visa"});
    call("/v1/payments", token.clone(), pay).await.expect(201);
    let path = format!("{url}/v1/reservations/{}?wait=25", id(&reserved));
    let confirmed = answer(cinema.http.get(path).bearer_auth(&token).send().await.unwrap()).await.unwrap();
    assert_eq!(confirmed.expect(200)["status"], "CONFIRMED");

    let wanted = [
        "POST /v1/reservations",
        "ask rpc.reservation.create",
        "rpc.reservation.create",
        "journal commit",
        "publish reservation.created",
        "payment receives reservation.created",
        "POST /v1/payments",
        "rpc.payment.pay",
        "rpc.reservation.begin_payment",
        "provider begin",
        "publish payment.success",
        "reservation receives payment.success",
        "publish reservation.confirmed",
        "notification receives reservation.confirmed",
        "send mail",
    ];
    let all_received = || async {
        let spans = spans.lock().unwrap().clone();
        let names: HashSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        wanted.iter().all(|name| names.contains(name)).then_some(())
    };
    let received = tokio::time::timeout(Duration::from_secs(20), until("all spans", all_received)).await;
    let spans: Vec<Span> = spans.lock().unwrap().iter().filter(|span| span.trace == trace).cloned().collect();
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    spans.iter().for_each(|span| *names.entry(&span.name).or_default() += 1);
    assert!(received.is_ok(), "only {names:#?}");
    for name in wanted {
        assert!(names.contains_key(name), "no {name} in the trace: {names:#?}");
    }
    // The parent of every span is in the trace or is the span of the client.
    let ids: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let orphans: Vec<_> =
        spans.iter().filter(|s| s.parent != caller && !ids.contains(s.parent.as_str())).collect();
    assert!(orphans.is_empty(), "spans without their parents: {orphans:#?}");
    // The last event descends, through hosts and the stream, from the payment request.
    let by_id: HashMap<&str, &Span> = spans.iter().map(|span| (span.id.as_str(), span)).collect();
    let last = spans.iter().find(|span| span.name == "publish reservation.confirmed").unwrap();
    let ancestors: Vec<&str> =
        std::iter::successors(Some(last), |span| by_id.get(span.parent.as_str()).copied())
            .map(|span| span.name.as_str())
            .collect();
    assert!(ancestors.contains(&"reservation receives payment.success"), "{ancestors:?}");
    assert_eq!(ancestors.last(), Some(&"POST /v1/payments"), "{ancestors:?}");

    drop(process);
    let log = std::fs::read_to_string(log).unwrap();
    let lines = log.lines().filter(|line| line.contains("order-4711"));
    let lines: Vec<Value> =
        lines.map(|line| serde_json::from_str(line).expect("every line is JSON")).collect();
    let has_line =
        |text: &str| lines.iter().any(|line| line["message"].as_str().is_some_and(|m| m.contains(text)));
    assert!(has_line("request") && has_line("saga"), "{lines:#?}");
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, fact: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
