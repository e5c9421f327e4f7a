//! Keeps a process's copy of the site up to date: by the event `site.updated`, received as a notice that may be lost, and by asking
//! movie at the start, after each reconnect, and from time to time.
//!
//! Invariant: movie is asked after the subscription is made, so that no change falls between the two. A change counts within moments,
//! and at the latest after a minute.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::contract::Problem;
use crate::contract::site::{Site, SiteUpdated};

/// How old a copy may become when a notice is lost.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Until movie has answered, or the subscription is there.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// The way to movie, and the copy.
pub trait SiteKeeper: Send + Sync {
    /// Subscribes to the payloads of `site.updated`.
    fn subscribe(&self) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>>;

    /// Asks movie, and takes its answer into the copy as [`Self::take`] does.
    fn ask(&self) -> BoxFuture<'_, Result<(), Problem>>;

    /// Changes each time that notices may have been missed.
    fn reconnects(&self) -> watch::Receiver<u64>;

    /// Takes a site into the copy unless that has a newer version.
    fn take(&self, site: Site) -> BoxFuture<'_, ()>;
}

/// Keeps the copy up to date until `stop`.
pub async fn keep(keeper: &dyn SiteKeeper, stop: &CancellationToken) {
    loop {
        let following = async {
            match keeper.subscribe().await {
                Ok(notices) => follow(keeper, notices).await,
                Err(problem) => {
                    tracing::debug!(code = problem.code, "not subscribed to changes of the site");
                    tokio::time::sleep(ASK_AGAIN).await;
                }
            }
        };
        tokio::select! {
            _ = stop.cancelled() => return,
            () = following => {}
        }
    }
}

/// Until the subscription ends.
async fn follow(keeper: &dyn SiteKeeper, mut notices: BoxStream<'static, Bytes>) {
    let mut reconnects = keeper.reconnects();
    // Movie is asked anyway now.
    reconnects.mark_unchanged();
    loop {
        let wait = if keeper.ask().await.is_ok() { ASK_EVERY } else { ASK_AGAIN };
        let again = tokio::time::sleep(wait);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = &mut again => break,
                Ok(()) = reconnects.changed() => break,
                notice = notices.next() => {
                    let Some(notice) = notice else { return };
                    // A notice that this version cannot read is followed by an answer that it can or cannot read, too.
                    if let Ok(updated) = serde_json::from_slice::<SiteUpdated>(&notice) {
                        keeper.take(updated.site).await;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt;
    use tokio::sync::mpsc;

    use super::*;
    use crate::contract::Timestamp;
    use crate::contract::site::{DEFAULT_SITE, SiteFields};

    /// Notices come from a channel for each subscription; each request is counted.
    struct Fake {
        subscriptions: Mutex<Vec<mpsc::UnboundedReceiver<Bytes>>>,
        reconnects: watch::Receiver<u64>,
        seen: mpsc::UnboundedSender<String>,
    }

    impl SiteKeeper for Fake {
        fn subscribe(&self) -> BoxFuture<'_, Result<BoxStream<'static, Bytes>, Problem>> {
            let next = self.subscriptions.lock().unwrap().pop();
            async move {
                let receiver = next.ok_or_else(|| Problem::unavailable("away"))?;
                let next = |mut receiver: mpsc::UnboundedReceiver<Bytes>| async move {
                    receiver.recv().await.map(|notice| (notice, receiver))
                };
                Ok(futures::stream::unfold(receiver, next).boxed())
            }
            .boxed()
        }

        fn ask(&self) -> BoxFuture<'_, Result<(), Problem>> {
            self.seen.send("asked".into()).unwrap();
            async { Ok(()) }.boxed()
        }

        fn reconnects(&self) -> watch::Receiver<u64> {
            self.reconnects.clone()
        }

        fn take(&self, site: Site) -> BoxFuture<'_, ()> {
            self.seen.send(format!("{} {}", site.of.name, site.version)).unwrap();
            async {}.boxed()
        }
    }

    fn notice(name: &str, version: i64) -> Bytes {
        let at = Timestamp::wall_clock();
        let site =
            Site { id: DEFAULT_SITE, of: SiteFields::named(name), version, created_at: at, updated_at: at };
        let updated = SiteUpdated { site, by: uuid::Uuid::nil(), changed: vec![] };
        serde_json::to_vec(&updated).unwrap().into()
    }

    #[tokio::test(start_paused = true)]
    async fn movie_is_asked_at_the_start_after_a_reconnect_after_a_lost_subscription_and_each_minute() {
        let ((first, of_first), (second, of_second)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (reconnect, reconnects) = watch::channel(0);
        let (seen, mut sees) = mpsc::unbounded_channel();
        let subscriptions = Mutex::new(vec![of_second, of_first]);
        let (fake, stop) = (Fake { subscriptions, reconnects, seen }, CancellationToken::new());
        let keeping = tokio::spawn({
            let stop = stop.clone();
            async move { keep(&fake, &stop).await }
        });
        assert_eq!(sees.recv().await.unwrap(), "asked");
        first.send(notice("Kino", 2)).unwrap();
        assert_eq!(sees.recv().await.unwrap(), "Kino 2");
        first.send("unreadable".into()).unwrap();
        first.send(notice("Rex", 3)).unwrap();
        assert_eq!(sees.recv().await.unwrap(), "Rex 3");
        reconnect.send(1).unwrap();
        assert_eq!(sees.recv().await.unwrap(), "asked");
        drop(first);
        assert_eq!(sees.recv().await.unwrap(), "asked", "after the second subscription");
        second.send(notice("Lux", 4)).unwrap();
        assert_eq!(sees.recv().await.unwrap(), "Lux 4");
        let before = tokio::time::Instant::now();
        assert_eq!(sees.recv().await.unwrap(), "asked");
        assert!(before.elapsed() <= ASK_EVERY && before.elapsed() > ASK_AGAIN, "{:?}", before.elapsed());
        stop.cancel();
        keeping.await.unwrap();
    }
}
