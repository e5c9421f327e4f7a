//! Declares the bridge's inbound queues with their bindings, and subscribes to them.

use bus::Failure;
use bus::contract;
use futures::stream::SelectAll;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use super::Inbound;
use crate::bindings;
use crate::call::{DeclareError, close, declare_queue, with_timeout};

/// The consumers of one connection, and the channel for rejected messages.
pub(super) struct Subscription {
    pub channel: Channel,
    /// In confirm mode: messages that are rejected are published here.
    pub dead_letters: Channel,
    pub deliveries: SelectAll<Consumer>,
}

impl Inbound {
    /// Declares and binds the queues, and consumes from them.
    pub(super) async fn subscribe(&self) -> Result<Subscription, Failure> {
        self.declare().await?;
        self.declare_inbox().await?;
        let (names, settings) = (&*self.names, self.settings());
        let channel = self.session.channel().await?;
        with_timeout(channel.basic_qos(settings.prefetch, BasicQosOptions::default())).await?;
        let mut deliveries = SelectAll::new();
        for queue in [&names.private_inbox, &names.inbox] {
            let (queue, tag) = (queue.as_str().into(), queue.as_str().into());
            let options = BasicConsumeOptions::default();
            deliveries
                .push(with_timeout(channel.basic_consume(queue, tag, options, FieldTable::default())).await?);
        }
        let dead_letters = self.session.channel().await?;
        with_timeout(dead_letters.confirm_select(Default::default())).await?;
        Ok(Subscription { channel, dead_letters, deliveries })
    }

    /// Declares the exchanges and the private queue, and removes bindings for events that an earlier configuration accepted:
    /// they would only fill the dead letters.
    async fn declare(&self) -> Result<(), Failure> {
        let channel = self.session.secondary_channel().await?;
        let (names, settings) = (&*self.names, self.settings());
        bindings::declare(&channel, settings, names).await?;
        let is_allowed = |subject: &&str| settings.inbound.iter().any(|allowed| allowed == subject);
        for key in contract::event_subjects().filter(|subject| !is_allowed(subject)) {
            for exchange in names.event_exchanges() {
                let (queue, none) = (names.private_inbox.as_str().into(), FieldTable::default());
                with_timeout(channel.queue_unbind(queue, exchange.into(), key.into(), none)).await?;
            }
        }
        close(channel).await
    }

    /// Declares the inbox. A Nest client declares it too, perhaps first and with other properties; then it is used as it is.
    async fn declare_inbox(&self) -> Result<(), Failure> {
        let channel = self.session.secondary_channel().await?;
        let inbox = &self.names.inbox;
        match declare_queue(&channel, inbox, self.settings().inbox_durable, FieldTable::default()).await {
            Ok(()) => close(channel).await,
            // The broker has closed the channel.
            Err(mismatch @ DeclareError::Mismatch { .. }) => {
                tracing::warn!(%mismatch, "the inbox is used as it is; see AMQP_INBOX_DURABLE");

                Ok(())
            }
            Err(failed) => Err(failed.into()),
        }
    }
}
