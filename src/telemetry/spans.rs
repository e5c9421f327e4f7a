//! Sends spans to a collector: OpenTelemetry's protocol over HTTP, in batches, from a thread of its own.
//!
//! Invariant: a slow or unreachable collector only loses spans; the queue of spans is bounded.

use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// A batch is some 100 KiB; where a collector takes longer, the batch is lost.
const SEND_MAX: Duration = Duration::from_secs(5);
/// How long sending the last spans may delay the exit.
const FINISH_MAX: Duration = Duration::from_secs(3);

/// Sends the last spans when the process ends.
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Sends the spans that were not sent yet.
    pub fn finish(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(FINISH_MAX)
        {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

type Spans<S> = Option<Box<dyn Layer<S> + Send + Sync>>;

/// The layer that records spans, where there is a collector.
pub fn layer<S>(endpoint: Option<String>, runtime: &Handle) -> anyhow::Result<(Traces, Spans<S>)>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(endpoint) = endpoint else { return Ok((Traces(None), None)) };
    let tls = bus::tls::client_config();
    let mut client = reqwest::Client::builder().tls_backend_preconfigured(tls).timeout(SEND_MAX);
    // A collector on this machine is reached without a proxy, even if one is configured.
    if ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| endpoint.contains(&format!("//{host}:"))) {
        client = client.no_proxy();
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { client: client.build()?, runtime: runtime.clone() })
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(format!("{endpoint}/v1/traces"))
        .with_timeout(SEND_MAX)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_resource(Resource::builder().with_service_name(crate::config::part()).build())
        .build();
    let tracer = provider.tracer("marquee");
    opentelemetry::global::set_tracer_provider(provider.clone());
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|meta| meta.is_span() && meta.target() == bus::trace::TARGET));
    bus::trace::turn_on();
    Ok((Traces(Some(provider)), Some(layer.boxed())))
}

/// Posts batches. The exporter calls it on a thread without a Tokio runtime.
#[derive(Debug)]
struct Collector {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request).await?;
            Ok::<_, reqwest::Error>((answer.status(), answer.bytes().await?))
        });
        let (status, body) = sent.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}
