//! Publishes a dead letter of one target again when an operator requests it; it is then out of stream order.

use std::sync::Arc;

use bus::consumer::{Delivery, serve_replays};
use bus::{Bus, Failure};
use lapin::options::ConfirmSelectOptions;
use tokio_util::sync::CancellationToken;

use super::{Target, message};
use crate::Session;
use crate::call::with_timeout;
use crate::publish::{Address, publish};

/// Serves replay requests until `stop`.
pub(super) async fn serve(bus: Bus, session: Session, target: Target, stop: CancellationToken) {
    // The bridge has no database that could be unavailable.
    let (_, available) = tokio::sync::watch::channel(true);
    let consumer = target.consumer;
    let handle = move |dead_letter: Delivery| {
        tokio::spawn(replay(session.clone(), target.clone(), dead_letter));
    };
    serve_replays(bus, consumer, available, stop, Arc::new(handle)).await;
}

async fn replay(session: Session, target: Target, dead_letter: Delivery) {
    let event = match message::convert_dead_letter(&dead_letter) {
        Ok(event) => event,
        Err(reason) => return dead_letter.park(reason),
    };
    let publishing = async {
        let channel = session.secondary_channel().await?;
        with_timeout(channel.confirm_select(ConfirmSelectOptions::default())).await?;
        // As for any outbound event it is no failure if no queue is bound.
        let to = Address { exchange: &target.exchange, routing_key: &event.subject, mandatory: false };
        let properties = event.properties(&session.settings().bridge_id);
        publish(&channel, to, &event.body(target.in_envelope), properties).await?;
        Ok::<(), Failure>(())
    };
    match publishing.await {
        Ok(()) => dead_letter.ack(),
        Err(failure) => dead_letter.fail(failure),
    }
}
