//! A RabbitMQ that refuses the bridge: the reason names the user and the setting, in words, and contains no password.

use std::process::Stdio;

use marquee::local::shared_rabbitmq;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::broker_setup::{bytes, evaluate_ok, user};
use super::outbound_system::OutboundSystem;
use super::system::{BridgeSystem, MAX_WAIT};

/// What `marquee host bridge` prints until it contains these words.
async fn printed(system: &BridgeSystem, amqp_url: &str, words: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_marquee"))
        .args(["host", "bridge"])
        .env("NATS_URL", &system.nats_url)
        .env("NATS_PASSWORD", marquee::local::temporary_password())
        .env("AMQP_URL", amqp_url)
        .env("RUST_LOG", "info")
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut text = String::new();
    let reading = async {
        while let Ok(Some(line)) = lines.next_line().await {
            text += &line;
            if text.contains(words) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(MAX_WAIT, reading).await;
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_says_which_part_of_the_url_is_wrong() {
    let system = BridgeSystem::without_bridge(&[]).await;
    let (login, place) = system.amqp_url.split_once('@').unwrap();
    let (broker, _) = place.split_once('/').unwrap();
    for (url, words) in [
        (format!("amqp://mailer:s3cret@{place}"), "refuses the login of the user mailer"),
        (
            format!("{login}@{broker}/nowhere"),
            "refuses the user marquee on the virtual host nowhere (AMQP_URL)",
        ),
        (format!("amqps://mailer:s3cret@{place}"), "(AMQP_URL) does not speak TLS: amqps:// needs"),
    ] {
        let said = printed(&system, &url, words).await;
        assert!(said.contains(words), "{words}: {said}");
        let password = login.rsplit_once(':').unwrap().1;
        assert!(!said.contains("s3cret") && !said.contains(password), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_was_changed_is_seen_in_the_health_until_it_is_right_again() {
    let broker = shared_rabbitmq().await.unwrap();
    let url = broker.create_virtual_host().await.unwrap();
    let (name, own) = user(broker, &url, [".*", ".*", ".*"]).await;
    let system = OutboundSystem::at(own, None, &[]).await;
    system.until_degraded("").await;
    let change = async |password: &str| {
        let [name, password] = [name.as_str(), password].map(bytes);
        let change = format!("rabbit_auth_backend_internal:change_password({name}, {password}, {name}).");
        broker.evaluate(&change).await.unwrap();
    };
    change("another").await;
    let connections = format!(
        "[rabbit_networking:close_connection(P, \"maintenance\") || [{{pid, P}}, {{user, U}}] <- \
         rabbit_networking:connection_info_all([pid, user]), U == {}], ok.",
        bytes(&name)
    );
    evaluate_ok(broker, connections).await;
    system.until_degraded(&format!("RabbitMQ refuses the login of the user {name}: check name")).await;
    change("popcorn").await;
    system.until_degraded("").await;
    system.close().await;
}
