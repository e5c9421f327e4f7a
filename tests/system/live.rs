//! A stream of server-sent events, read as text while it comes.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

/// Longer than any event takes on a busy machine.
const SOON: Duration = Duration::from_secs(10);

pub struct Live {
    stream: BoxStream<'static, reqwest::Result<Bytes>>,
    /// All that has come and was not cleared.
    pub seen: String,
}

impl Live {
    pub async fn open(asked: reqwest::RequestBuilder) -> Self {
        let answer = asked.send().await.unwrap().error_for_status().unwrap();
        Self { stream: answer.bytes_stream().boxed(), seen: String::new() }
    }

    /// Reads until this has come.
    pub async fn until(&mut self, wanted: &str) {
        let found = async {
            while !self.seen.contains(wanted) {
                let chunk = self.stream.next().await.expect("the stream goes on").unwrap();
                self.seen.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let came = tokio::time::timeout(SOON, found).await;
        assert!(came.is_ok(), "no {wanted} in {}", self.seen);
    }

    /// What comes until the stream ends, which it must.
    pub async fn rest(self) -> String {
        let read = self.stream.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect();
        tokio::time::timeout(SOON, read).await.expect("the stream ends")
    }
}
