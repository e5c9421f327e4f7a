//! The CLI as the user `operator` cannot change what the hosts work with, nor read what others receive. What it may do is what
//! the document's commands do. The permissions by subject are in `permissions.rs` of this folder's parent.

use async_nats::jetstream::stream::{Config, State};
use futures::StreamExt;

use super::open;
use crate::cinema::TestCinema;
use crate::operator::until_all_is_handled;

/// Commands that NATS must refuse. The CLI waits a second for an answer that does not come.
const REFUSED: [&str; 30] = [
    // The streams.
    "nats --timeout 1s stream rm EVENTS --force",
    "nats --timeout 1s stream purge EVENTS --force",
    "nats --timeout 1s stream purge DLQ --force",
    "nats --timeout 1s stream edit EVENTS --max-bytes 2GB --force",
    "nats --timeout 1s stream rmm EVENTS 1 --force",
    "nats --timeout 1s stream seal EVENTS --force",
    "nats --timeout 1s stream add TAKEN --subjects taken --defaults",
    "nats --timeout 1s kv add taken",
    "nats --timeout 1s backup stream EVENTS \"$HOME/backup\"",
    // Events, requests, notices and replies.
    "nats pub reservation.created '{}'",
    "nats pub movie.created '{}'",
    "nats pub payment.success '{}'",
    "nats pub dlq.movie.created '{}'",
    "nats pub seats.0199 '{}'",
    "nats pub rpc.reservation.create '{}'",
    "nats --timeout 1s req rpc.payment.end '{}'",
    "nats --timeout 1s micro request reservation list '{}'",
    "nats pub _INBOX.gateway.0199 '{}'",
    // What others receive.
    "nats sub '_INBOX.>' --wait 1s",
    "nats sub '_INBOX.gateway.>' --wait 1s",
    "nats sub '>' --wait 1s",
    "nats sub 'rpc.>' --wait 1s",
    "nats sub 'revoked.*' --wait 1s",
    // Consumers: those of the hosts, and its own, which the server would let deliver to any subject.
    "nats --timeout 1s consumer add EVENTS reservation --pull --defaults",
    "nats --timeout 1s consumer add EVENTS of-its-own --pull --defaults",
    "nats --timeout 1s sub --stream EVENTS --all --wait 1s",
    "nats --timeout 1s consumer next EVENTS reservation",
    "nats --timeout 1s consumer rm EVENTS reservation --force",
    "nats --timeout 1s consumer pause EVENTS reservation 1h --force",
    "nats pub '$JS.ACK.EVENTS.reservation.1.1.1.1.1' ''",
];

/// What must not change: each stream's settings and messages, and the names of the consumers of EVENTS.
async fn streams(cinema: &TestCinema) -> (Vec<(Config, State)>, Vec<String>) {
    let jetstream = &cinema.cinema().bus.jetstream;
    let mut streams = Vec::new();
    for name in [bus::topology::EVENTS, bus::topology::DLQ] {
        let stream = jetstream.get_stream(name).await.unwrap();
        streams.push((stream.cached_info().config.clone(), stream.cached_info().state.clone()));
    }
    let events = jetstream.get_stream(bus::topology::EVENTS).await.unwrap();
    let names = events.consumer_names().map(Result::unwrap).collect::<Vec<_>>();
    let mut names: Vec<String> = names.await;
    names.sort();
    let all: Vec<String> = jetstream.stream_names().map(Result::unwrap).collect().await;
    names.extend(all);
    (streams, names)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_cannot_change_what_the_hosts_work_with() {
    let (cinema, cli) = open!("the_operator_cannot_change_what_the_hosts_work_with");
    let ada = cinema.register().await;
    cinema.buy(&ada, &["A1", "A2"]).await;
    cinema.until_published().await;
    until_all_is_handled(&cinema).await;
    let before = streams(&cinema).await;
    let mut allowed = Vec::new();
    for command in REFUSED {
        let printed = cli.run_any(command).await;
        if !printed.text.contains("Permissions Violation") {
            allowed.push(format!("{command}: {}", printed.text));
        }
    }
    assert!(allowed.is_empty(), "not refused: {allowed:#?}");
    assert_eq!(streams(&cinema).await, before);
    // Consumers are neither paused nor behind, so what follows is handled.
    cinema.buy(&ada, &["B1"]).await;
    cinema.close().await;
}
