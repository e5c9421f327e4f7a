//! Grouped reads: keys that are requested while one query runs are read together by the next.
//!
//! Every query starts after its requests arrived, so an answer is never older than the request.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bus::Failure;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

/// Keys of one query; keeps a single query short when thousands wait.
const BATCH_MAX: usize = 256;
/// A database that hangs must not let requests pile up.
const QUERY_MAX: Duration = Duration::from_secs(5);

type Request<K, V> = (K, oneshot::Sender<Result<Option<V>, Failure>>);

/// Reads values by key, those of many requests in one query.
pub struct Reads<K, V>(mpsc::UnboundedSender<Request<K, V>>);

impl<K, V> Clone for Reads<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Reads<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// `query` returns the values it finds; a key that it leaves out is answered with `None`. The loop ends when the
    /// last handle is dropped.
    pub fn new<F>(query: F) -> Self
    where
        F: Fn(Vec<K>) -> BoxFuture<'static, Result<HashMap<K, V>, sqlx::Error>> + Send + Sync + 'static,
    {
        let (sender, mut requests) = mpsc::unbounded_channel::<Request<K, V>>();
        let query = Arc::new(query);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(BATCH_MAX);
            while requests.recv_many(&mut batch, BATCH_MAX).await > 0 {
                let mut keys: Vec<K> = batch.iter().map(|(key, _)| key.clone()).collect();
                let mut seen = std::collections::HashSet::new();
                keys.retain(|key| seen.insert(key.clone()));
                let found = super::within(QUERY_MAX, query(keys)).await.map_err(super::read_failure);
                for (key, reply) in batch.drain(..) {
                    let value = found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone);
                    // The caller may have given up.
                    let _ = reply.send(value);
                }
            }
        });
        Self(sender)
    }

    pub async fn get(&self, key: K) -> Result<Option<V>, Failure> {
        let (reply, answer) = oneshot::channel();
        self.0.send((key, reply)).map_err(|_| Failure::transient("the reader has stopped"))?;
        answer.await.map_err(|_| Failure::transient("the reader has stopped"))?
    }
}
