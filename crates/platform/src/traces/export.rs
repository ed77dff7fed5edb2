//! Export to the collector: a bounded queue, and a task that empties it.
//!
//! The SDK's own batch processor blocks a thread while it exports, where our HTTP client can't run, and does
//! not report what it dropped. With this queue, ending a span never waits for the collector.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanExporter as _, SpanProcessor},
};
use secrecy::ExposeSecret;
use tokio::{sync::mpsc, time::sleep};

use crate::{
    tasks::{Stage, Tasks},
    traces::config::TracesConfig,
};

/// Maximum number of spans that wait for the collector. Further ones are lost.
const QUEUE: usize = 8_192;
/// Maximum number of spans in one export.
const BATCH: usize = 512;
/// Interval of the exports.
const EVERY: Duration = Duration::from_millis(500);
/// Number of rounds without a loss after which the losses are over.
const CALM: u32 = 10;
/// Time limit to connect to the collector.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Redirects are not followed, so that the headers go only to the configured host.
fn exporter(config: &TracesConfig) -> anyhow::Result<SpanExporter> {
    let client = reqwest::Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(config.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let headers = config.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.expose_secret().to_owned()));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&config.endpoint)
        .with_timeout(config.timeout)
        .with_headers(headers.collect());
    Ok(exporter.build()?)
}

/// Checks that the collector accepts an export, with an empty one.
pub async fn probe_collector(config: &TracesConfig) -> anyhow::Result<String> {
    exporter(config)?.export(Vec::new()).await?;
    Ok("the collector accepts them".to_owned())
}

/// Queues the spans that have ended, and never waits.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::Sender<SpanData>,
    losses: Arc<Losses>,
}

impl SpanProcessor for Outbox {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self.queue.try_send(span).is_err() {
            self.losses.note(1, "the export queue is full");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// [`Exporting::finish`] ends it instead.
    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Spans that the collector did not receive. Losses are logged once when they begin, and once when they are
/// over.
#[derive(Debug, Default)]
struct Losses {
    spans: AtomicU64,
    told: AtomicBool,
}

impl Losses {
    fn note(&self, spans: usize, reason: &str) {
        self.spans.fetch_add(u64::try_from(spans).unwrap_or(u64::MAX), Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(reason, "spans lost; the node works on");
        }
    }

    fn so_far(&self) -> u64 {
        self.spans.load(Ordering::Relaxed)
    }

    /// Logs the number of losses, when they are over or the node ends.
    fn sum_up(&self) {
        if self.told.swap(false, Ordering::Relaxed) {
            let spans = self.spans.swap(0, Ordering::Relaxed);
            tracing::warn!(spans, "span loss ended");
        }
    }
}

/// The losses of an export, which are logged when this is dropped.
#[derive(Debug)]
pub struct Exporting {
    losses: Arc<Losses>,
}

impl Exporting {
    /// Makes no connection yet.
    pub(super) fn start(
        config: &TracesConfig,
        resource: &Resource,
        tasks: &Tasks,
    ) -> anyhow::Result<(Outbox, Self)> {
        let mut exporter = exporter(config)?;
        exporter.set_resource(resource);
        let (queue, ended) = mpsc::channel(QUEUE);
        let losses = Arc::<Losses>::default();
        let exporting = run(exporter, ended, tasks.clone(), Arc::clone(&losses));
        tasks.spawn_settling(Stage::Observation, "traces.export", exporting);
        Ok((Outbox { queue, losses: Arc::clone(&losses) }, Self { losses }))
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        self.losses.sum_up();
    }
}

async fn run(
    exporter: SpanExporter,
    mut ended: mpsc::Receiver<SpanData>,
    tasks: Tasks,
    losses: Arc<Losses>,
) {
    let (mut takes, mut calm, mut lost) = (true, 0, 0);
    loop {
        let is_last = tokio::select! {
            () = sleep(EVERY) => false,
            () = tasks.ending(Stage::Observation) => true,
        };
        while !ended.is_empty() {
            let mut batch = Vec::with_capacity(BATCH.min(ended.len()));
            let spans = ended.recv_many(&mut batch, BATCH).await;
            let outcome = exporter.export(batch).await;
            takes = outcome.is_ok();
            if let Err(error) = outcome {
                losses.note(spans, &error.to_string());
            }
        }
        // A slow collector loses spans repeatedly. That is not logged each time.
        calm = if takes && losses.so_far() == lost { calm + 1 } else { 0 };
        lost = losses.so_far();
        if calm >= CALM {
            losses.sum_up();
            (calm, lost) = (0, 0);
        }
        if is_last {
            return;
        }
    }
}
