//! A dead letter of one target, published once more when an operator asks; it is out of the stream's order by then.

use std::sync::Arc;

use lapin::options::ConfirmSelectOptions;
use tokio_util::sync::CancellationToken;

use super::{Target, message};
use crate::Session;
use crate::call::within;
use crate::publish::{Address, publish};
use bus::consumer::{Delivery, serve_replays};
use bus::{Bus, Failure};

/// Answers until `stop`.
pub(super) async fn serve(bus: Bus, session: Session, target: Target, stop: CancellationToken) {
    // There is no database that could be away; whether RabbitMQ is, publishing finds out.
    let (_, well) = tokio::sync::watch::channel(true);
    let consumer = target.consumer;
    let handle = move |letter: Delivery| {
        tokio::spawn(again(session.clone(), target.clone(), letter));
    };
    serve_replays(bus, consumer, well, stop, Arc::new(handle)).await;
}

async fn again(session: Session, target: Target, letter: Delivery) {
    let event = match message::of_letter(&letter) {
        Ok(event) => event,
        Err(reason) => return letter.park(reason),
    };
    let publishing = async {
        let channel = session.channel_aside().await?;
        within(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        // That nobody listens is no failure here, as it is none for an event that goes out.
        let to = Address { exchange: &target.exchange, routing_key: &event.subject, mandatory: false };
        let properties = event.properties(&session.settings().bridge_id);
        publish(&channel, to, &event.body(target.in_envelope), properties).await?;
        Ok::<(), Failure>(())
    };
    match publishing.await {
        Ok(()) => letter.ack(),
        Err(failure) => letter.fail(failure),
    }
}
