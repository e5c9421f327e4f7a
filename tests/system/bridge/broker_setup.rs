//! The policy and the permissions of docs/bridge.md: they are read from the page and applied, and real NestJS services and
//! the bridge work with them.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::AMQPSoftError;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use marquee::local::{RabbitMq, shared_rabbitmq};
use serde_json::json;
use uuid::Uuid;

use super::dead_letters::{KEY, Service, confirmed};
use super::nest::{Nest, Transport, service_queues};
use super::nest_services::until_bound;
use super::system::{BridgeSystem, header};

/// The first command of the page that begins with this and contains the word.
fn command(beginning: &str, word: &str) -> String {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bridge.md")).unwrap();
    let mut lines = page.lines().filter(|line| line.starts_with(beginning) && line.contains(word));
    lines.next().unwrap_or_else(|| panic!("no {beginning} … {word} in docs/bridge.md")).to_owned()
}

/// The texts in quotes.
fn quoted(command: &str) -> Vec<&str> {
    command.split('\'').skip(1).step_by(2).collect()
}

/// A text as an Erlang binary.
pub fn bytes(text: &str) -> String {
    let bytes: Vec<String> = text.bytes().map(|byte| byte.to_string()).collect();
    format!("<<{}>>", bytes.join(","))
}

pub async fn evaluate_ok(broker: &RabbitMq, expression: String) {
    let answer = broker.evaluate(&expression).await.unwrap();
    assert_eq!(answer, "ok", "{expression}");
}

fn virtual_host(url: &str) -> &str {
    url.rsplit_once('/').unwrap().1
}

/// Creates a user of RabbitMQ with these permissions, as `rabbitmqctl` does; returns its name and URL.
pub async fn user(broker: &RabbitMq, url: &str, [configure, write, read]: [&str; 3]) -> (String, String) {
    let name = format!("u{}", Uuid::now_v7().simple());
    let host = bytes(virtual_host(url));
    let (user_name, password) = (bytes(&name), bytes("popcorn"));
    evaluate_ok(
        broker,
        format!("rabbit_auth_backend_internal:add_user({user_name}, {password}, {user_name})."),
    )
    .await;
    let [configure, write, read] = [configure, write, read].map(bytes);
    let permissions = format!("{user_name}, {host}, {configure}, {write}, {read}, {user_name}");
    evaluate_ok(broker, format!("rabbit_auth_backend_internal:set_permissions({permissions}).")).await;
    let (_, address) = url.rsplit_once('@').unwrap();
    let own = format!("amqp://{name}:popcorn@{address}");
    (name, own)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_policy_enables_retries_and_the_services_own_declaration_still_succeeds() {
    let system = BridgeSystem::open_with(&[("AMQP_RETRY_DELAYS", "1")]).await;
    // Nest declares the queue without arguments.
    let mut mails = Service::start_with(&system, "notifications_queue", Default::default()).await;
    let line = command("rabbitmqctl set_policy ", "dead-letter-exchange");
    let [pattern, definition] = quoted(&line)[..] else { panic!("{line}") };
    let (host, name) = (bytes(virtual_host(&system.amqp_url)), bytes("marquee-dlx"));
    let (pattern, definition, kind) = (bytes(pattern), bytes(definition), bytes("queues"));
    let policy = format!("{host}, {name}, {pattern}, {definition}, 0, {kind}, {name}");
    evaluate_ok(shared_rabbitmq().await.unwrap(), format!("rabbit_policy:parse_set({policy}).")).await;

    system.publish(&confirmed("m1")).await;
    mails.refuse().await;
    let again = mails.accept().await;
    assert_eq!(header(&again, "bridge-attempt").as_deref(), Some("1"));
    assert_eq!(again.routing_key.as_str(), KEY);
    // The service starts again: its declaration would fail if the arguments of the queue had changed.
    Service::start_with(&system, "notifications_queue", Default::default()).await;
}

/// Publishes a message that the broker must refuse with 403.
async fn expect_refused(connection: &Connection, exchange: &str, key: &str) {
    let channel: Channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let properties = BasicProperties::default();
    let published =
        channel.basic_publish(exchange.into(), key.into(), BasicPublishOptions::default(), b"{}", properties);
    let confirmed = match published.await {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    let error = confirmed.expect_err("no confirm");
    let soft = bridge::call::soft_error(&error);
    assert_eq!(soft, Some(&AMQPSoftError::ACCESSREFUSED), "{exchange} {key}: {error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_permissions_suffice_for_services_and_the_bridge_and_allow_no_more() {
    let events = ["movie.created", "reservation.confirmed"];
    let queues = service_queues(&events);
    let mut system = BridgeSystem::without_bridge(&[("AMQP_SERVICE_QUEUES", &queues)]).await;
    let broker = shared_rabbitmq().await.unwrap();
    let url = system.amqp_url.clone();
    let line = command("rabbitmqctl set_permissions marquee ", "");
    let line = line.replace("notifications_queue", &Transport::Default.queue());
    let [configure, write, read] = quoted(&line)[..] else { panic!("{line}") };
    let (_, of_bridge) = user(broker, &url, [configure, write, read]).await;
    system.start_bridge_at(&of_bridge).await;

    let mut services = Vec::new();
    for (transport, name) in [
        (Transport::Topic, "catalogue"),
        (Transport::Golevelup, "catalogue"),
        // A service on the default exchange needs more permissions.
        (Transport::Default, "mailer"),
    ] {
        let line = command(&format!("rabbitmqctl set_permissions {name} "), "");
        let line = line.replace(&format!("{name}_queue"), &transport.queue());
        let [configure, write, read] = quoted(&line)[..] else { panic!("{line}") };
        let (user_name, own) = user(broker, &url, [configure, write, read]).await;
        for exchange in ["marquee.events", "marquee.events.raw"] {
            let line = command("rabbitmqctl set_topic_permissions catalogue ", &format!(" {exchange} "));
            let [write, read] = quoted(&line)[..] else { panic!("{line}") };
            let [user_name, host, exchange] = [&user_name, virtual_host(&url), exchange].map(bytes);
            let [write, read] = [write, read].map(bytes);
            let allowed = format!("{user_name}, {host}, {exchange}, {write}, {read}, {user_name}");
            evaluate_ok(broker, format!("rabbit_auth_backend_internal:set_topic_permissions({allowed})."))
                .await;
        }
        services.push((Nest::start(transport, &own, &events).await, own));
    }
    until_bound(broker, &url, &[Transport::Default.queue()], events.len()).await;

    let mut ids = Vec::new();
    for (service, _) in &mut services {
        let id = Uuid::now_v7().to_string();
        let data =
            json!({"movieId": Uuid::now_v7(), "title": "Dune", "genres": [], "createdBy": Uuid::nil()});
        service.emit("movie.created", &data, Some(&id)).await;
        system.until_stored(&id).await;
        ids.push(id);
    }
    // The bridge may reply to `send()`; without a host the reply is an error.
    for (service, _) in &mut services {
        let (Ok(reply) | Err(reply)) = service.request("movie.showtimes", &json!({})).await;
        assert!(reply.to_string().contains("503"), "no host runs: {reply}");
    }
    let headers = super::outbound_system::headers("confirmed", "reservation.confirmed");
    let sent = system.bus.jetstream.publish_with_headers("reservation.confirmed", headers, "{}".into());
    sent.await.unwrap().await.unwrap();
    ids.push("confirmed".to_owned());
    for (service, own) in services {
        let mut service = service;
        service.until_received(&ids).await;
        // Nothing else is allowed: a service that could publish `payment.success` could confirm unpaid seats.
        let connection = Connection::connect(&own, ConnectionProperties::default()).await.unwrap();
        for exchange in ["marquee.events", "marquee.events.raw"] {
            expect_refused(&connection, exchange, "payment.success").await;
        }
        if !service.transport.needs_binding() {
            expect_refused(&connection, "", "marquee.events.bridge").await;
        }
        expect_refused(&connection, "marquee.events.dlx", "bridge.rejected").await;
        service.finish().await;
    }
    system.stop_bridge().await;
}
