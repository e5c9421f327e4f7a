//! A stream of server-sent events, read as text while it is open.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;

/// Longer than any event takes on a busy machine.
const MAX_WAIT: Duration = Duration::from_secs(10);

pub struct EventStream {
    stream: BoxStream<'static, reqwest::Result<Bytes>>,
    /// Everything received that the test has not cleared.
    pub received: String,
}

impl EventStream {
    pub async fn open(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap().error_for_status().unwrap();
        Self { stream: answer.bytes_stream().boxed(), received: String::new() }
    }

    /// Reads until this text was received.
    pub async fn until(&mut self, wanted: &str) {
        let reading = async {
            while !self.received.contains(wanted) {
                let chunk = self.stream.next().await.expect("the stream is open").unwrap();
                self.received.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        let found = tokio::time::timeout(MAX_WAIT, reading).await;
        assert!(found.is_ok(), "no {wanted} in {}", self.received);
    }

    /// Reads to the end of the stream, which must come, and returns what was not read before.
    pub async fn read_to_end(self) -> String {
        let read = self.stream.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap()).collect();
        tokio::time::timeout(MAX_WAIT, read).await.expect("the stream ends")
    }
}
