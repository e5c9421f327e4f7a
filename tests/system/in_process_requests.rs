//! Requests to hosts of the same process are answered without NATS, with the same answers as over NATS.

mod delaying_proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bus::contract::problem::Fields;
use bus::contract::{Access, Request, Rule};
use bus::in_process::InProcess;
use bus::service::{self, Ask, Server};
use bus::token::Verifier;
use bus::{Bus, Context, Problem};
use marquee::config::MAINTENANCE;
use reqwest::Method;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::cinema::{Plan, TestCinema};
use crate::event_stream::EventStream;
use crate::harness::{self, TestSystem};

/// Half of an even number, after a while.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Halve {
    number: u32,
    #[serde(default)]
    after_ms: u64,
}

impl Request for Halve {
    const SUBJECT: &'static str = "rpc.probe.halve";
    const ACCESS: Access = Access::User;
    type Answer = u32;

    fn validate(&self, fields: &mut Fields) {
        fields.check(self.number > 0, "number", Rule::Positive);
    }
}

/// A request that only hosts may send.
#[derive(Serialize, Deserialize, JsonSchema)]
struct InternalProbe {}

impl Request for InternalProbe {
    const SUBJECT: &'static str = "rpc.probe.internal";
    const ACCESS: Access = Access::Internal;
    type Answer = ();
}

async fn connect(system: &TestSystem, in_process: &InProcess) -> Bus {
    let mut bus = harness::connect(&system.nats.url(), MAINTENANCE).await;
    bus.in_process = in_process.clone();
    bus
}

/// Starts a host that counts the requests that it has answered.
async fn serve(bus: &Bus, stop: &CancellationToken) -> (Server, Arc<AtomicU32>) {
    let halved = Arc::new(AtomicU32::new(0));
    let verifier = Verifier::new(bus.clone(), &bus::contract::auth::KeySet::default());
    let mut server = Server::start(bus, "probe", verifier, stop.clone()).await.unwrap();
    let halve = async |halved: Arc<AtomicU32>, request: Halve| {
        tokio::time::sleep(Duration::from_millis(request.after_ms)).await;
        halved.fetch_add(1, Ordering::SeqCst);
        match request.number % 2 {
            0 => service::json(&(request.number / 2)),
            _ => Err(Problem::new(409, "odd", "An odd number has no half.")),
        }
    };
    let serving = server.serve_with(&halved, move |halved, call: service::Call<Halve>| {
        let request = call.request;
        async move { halve(halved, request).await }
    });
    serving.await.unwrap();
    server.serve(async |_: service::Call<InternalProbe>| service::json(&())).await.unwrap();
    (server, halved)
}

fn ask(token: Option<&str>, timeout: Duration) -> Ask {
    Ask { token: token.map(str::to_owned), timeout, ..Ask::new(Context::new()) }
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_in_process_request_gets_the_same_answer_as_one_over_nats() {
    let mut system = TestSystem::start().await.with_auth().await;
    let token = system.register("ada@marquee.example").await.access_token;
    let (in_process, stop) = (InProcess::default(), CancellationToken::new());
    let (host, near) = (connect(&system, &in_process).await, connect(&system, &in_process).await);
    let far = connect(&system, &InProcess::default()).await;
    let (server, halved) = serve(&host, &stop).await;
    // The host loads the keys of the tokens over NATS, which is stopped later.
    assert_eq!(near.ask(&Halve { number: 8, after_ms: 0 }, &ask(Some(&token), LONG)).await.unwrap(), 4);

    let slow = Duration::from_millis(300);
    let cases: [(&str, Option<&str>, Duration, u16); 8] = [
        (r#"{"number": 6}"#, Some(&token), LONG, 200),
        (r#"{"number": 7}"#, Some(&token), LONG, 409),
        (r#"{"number": 6}"#, None, LONG, 401),
        (r#"{"number": 6}"#, Some("no.such.token"), LONG, 401),
        (r#"{"number": "#, Some(&token), LONG, 400),
        (r#"{"number": 6, "colour": "red"}"#, Some(&token), LONG, 422),
        (r#"{"number": 0}"#, Some(&token), LONG, 422),
        (r#"{"number": 6, "after_ms": 900}"#, Some(&token), slow, 503),
    ];
    for (body, token, timeout, status) in cases {
        let (ask_near, ask_far) = (ask(token, timeout), ask(token, timeout));
        let (from_near, from_far) = tokio::join!(
            near.ask_at(Halve::SUBJECT, body.into(), &ask_near),
            far.ask_at(Halve::SUBJECT, body.into(), &ask_far)
        );
        let comparable = |answer: Result<bytes::Bytes, Problem>, ask: &Ask| {
            answer.map_err(|problem| {
                // The problem of a time-out is made by the caller's own side.
                assert!(status == 503 || problem.request_id == ask.context.correlation_id, "{body}");
                Problem { request_id: String::new(), detail: String::new(), ..problem }
            })
        };
        let (from_near, from_far) = (comparable(from_near, &ask_near), comparable(from_far, &ask_far));
        assert_eq!(from_near.as_ref().map_or_else(|problem| problem.status, |_| 200), status, "{body}");
        assert_eq!(from_near, from_far, "{body}");
    }

    // The work goes on when its caller does not wait for the answer.
    let before = halved.load(Ordering::SeqCst);
    let (request, options) = (Halve { number: 6, after_ms: 200 }, ask(Some(&token), LONG));
    let given_up = tokio::time::timeout(Duration::from_millis(50), near.ask(&request, &options)).await;
    assert!(given_up.is_err(), "the answer came before the caller gave up");
    let began = Instant::now();
    while halved.load(Ordering::SeqCst) == before {
        assert!(began.elapsed() < Duration::from_secs(5), "the work ended when its caller gave up");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    system.nats.kill().await;
    assert_eq!(near.ask(&Halve { number: 10, after_ms: 0 }, &ask(Some(&token), LONG)).await.unwrap(), 5);
    let unreachable =
        far.ask(&Halve { number: 10, after_ms: 0 }, &ask(Some(&token), slow)).await.unwrap_err();
    assert_eq!(unreachable.status, 503);
    system.nats.start_again().await.unwrap();

    stop.cancel();
    server.ended().await;
    let stopped = near.ask(&Halve { number: 10, after_ms: 0 }, &ask(Some(&token), slow)).await.unwrap_err();
    assert_eq!(
        (stopped.status, stopped.code.as_str()),
        (503, unreachable.code.as_str()),
        "a host that has stopped"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_process_hosts_of_one_domain_take_turns_and_the_other_answers_when_one_stops() {
    let system = TestSystem::start().await.with_auth().await;
    let token = system.register("ada@marquee.example").await.access_token;
    let in_process = InProcess::default();
    let bus = connect(&system, &in_process).await;
    let stops = [CancellationToken::new(), CancellationToken::new()];
    let (first, by_first) = serve(&bus, &stops[0]).await;
    let (_second, by_second) = serve(&bus, &stops[1]).await;
    let halve = Halve { number: 2, after_ms: 0 };
    for _ in 0..10 {
        bus.ask(&halve, &ask(Some(&token), LONG)).await.unwrap();
    }
    let counts = || (by_first.load(Ordering::SeqCst), by_second.load(Ordering::SeqCst));
    assert_eq!(counts(), (5, 5));
    stops[0].cancel();
    first.ended().await;
    for _ in 0..10 {
        bus.ask(&halve, &ask(Some(&token), LONG)).await.unwrap();
    }
    assert_eq!(counts(), (5, 15));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_cannot_send_internal_requests_in_process() {
    let system = TestSystem::start().await;
    let in_process = InProcess::default();
    let (host, gateway) =
        (connect(&system, &in_process).await, connect(&system, &in_process.from_outside()).await);
    let (_server, _) = serve(&host, &CancellationToken::new()).await;
    host.ask(&InternalProbe {}, &ask(None, LONG)).await.unwrap();
    assert!(host.in_process.answers(InternalProbe::SUBJECT) && gateway.in_process.answers(Halve::SUBJECT));
    assert!(!gateway.in_process.answers(InternalProbe::SUBJECT));
}

/// A cinema in one process whose gateway reaches NATS with a delay, and the delay in milliseconds.
async fn open_with_delayed_gateway() -> (TestCinema, Arc<AtomicU64>) {
    let mut cinema = TestCinema::open_with(Plan { in_process: true, ..Plan::default() }).await;
    cinema.stop_hosts().await;
    let (url, delay) = delaying_proxy::start(cinema.nats.port(), "gateway").await;
    cinema.set("NATS_URL", url);
    cinema.start_hosts().await;
    (cinema, delay)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_published_while_the_gateway_subscribes_is_not_missed() {
    let (cinema, delay) = open_with_delayed_gateway().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    delay.store(700, Ordering::SeqCst);
    let path = format!("/v1/reservations/{reservation}?wait=20");
    let began = Instant::now();
    let (waited, _) = tokio::join!(cinema.call(Method::GET, &path, Some(&ada), None), async {
        cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201)
    });
    assert_eq!(waited.expect(200)["status"], "CONFIRMED");
    assert!(began.elapsed() < Duration::from_secs(15), "the wait ended by polling, not by the event");

    let seats = format!("{}/v1/showtimes/{}/seats/events", cinema.url(), cinema.showtime);
    let (mut live, _) =
        tokio::join!(EventStream::open(cinema.http.get(seats)), cinema.reserve(&ada, &["A2"]));
    // A1 is sold, so only A2 can be HELD.
    live.until(r#""HELD""#).await;
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_ends_by_an_event_published_before_the_gateway_reconnected_to_nats() {
    let (mut cinema, delay) = open_with_delayed_gateway().await;
    let ada = cinema.register().await;
    let reservation = cinema.reserve(&ada, &["A1"]).await;
    cinema.nats.kill().await;
    let ready = format!("{}/health/ready", cinema.url());
    let not_ready = async || cinema.http.get(&ready).send().await.unwrap().status() == 503;
    cinema.until("the gateway has lost NATS", not_ready).await;
    let url = format!("{}/v1/reservations/{reservation}?wait=30", cinema.url());
    let began = Instant::now();
    let waiting = tokio::spawn(cinema.http.get(url).bearer_auth(&ada.token).send());
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    // Longer than the hosts take to reconnect and to confirm.
    delay.store(9_000, Ordering::SeqCst);
    cinema.nats.start_again().await.unwrap();
    let waited: serde_json::Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(waited["status"], "CONFIRMED");
    assert!(began.elapsed() < Duration::from_secs(25), "the wait ended by polling, not by the event");
    delay.store(0, Ordering::SeqCst);
    cinema.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_process_sells_while_nats_is_down_and_publishes_the_events_later() {
    let mut cinema = TestCinema::open_with(Plan { in_process: true, ..Plan::default() }).await;
    let (ada, bob) = (cinema.register().await, cinema.register().await);
    cinema.reserve(&ada, &["A1"]).await;
    cinema.nats.kill().await;
    let reservation = cinema.reserve(&ada, &["A2"]).await;
    let taken = cinema.try_reserve(&bob, &["A2"]).await;
    assert_eq!((taken.status.as_u16(), taken.code()), (409, "seats-taken"), "{}", taken.text);
    cinema.pay(&ada, &reservation, "pm_card_visa").await.expect(201);
    // The confirmation needs the event of the payment, which is committed but not published yet.
    assert_eq!(cinema.reservation(&ada, &reservation).await["status"], "PENDING");
    cinema.nats.start_again().await.unwrap();
    cinema.until_confirmed(&ada, &reservation).await;
    assert_eq!(cinema.captured(&reservation).await, 1200);
    cinema.close().await;
}
