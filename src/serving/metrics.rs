//! Prometheus metrics.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::model::Model;
use crate::inference;
use crate::memory;
use crate::metrics::Answer;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of buckets, from the fastest decoding to the longest wait.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

const CONFIDENCES: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

const BATCH_SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ClassLabel {
    class: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    architecture: String,
    precision: String,
    /// With the version of its library.
    backend: String,
    sha256: String,
}

/// Counts and durations since the start of the process.
pub struct Metrics {
    registry: Registry,
    http: HttpMetrics,
    pipeline: PipelineMetrics,
    model: ModelMetrics,
    resident_memory: Gauge,
}

struct HttpMetrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
    connections: Gauge,
}

/// What happens to images between upload and response.
struct PipelineMetrics {
    decode: Histogram,
    queue: Histogram,
    inference: Histogram,
    batch: Histogram,
    in_flight: Gauge,
    limit: Gauge,
}

struct ModelMetrics {
    predictions: Family<ClassLabel, Counter>,
    confidence: Histogram,
    reloads: Family<ResultLabel, Counter>,
    installed: Family<ModelLabels, Gauge>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let flowers = registry.sub_registry_with_prefix("flowers");
        let http = HttpMetrics::register(flowers);
        let pipeline = PipelineMetrics::register(flowers);
        let model = ModelMetrics::register(flowers);
        let resident_memory = register_process(registry.sub_registry_with_prefix("process"));
        Self {
            registry,
            http,
            pipeline,
            model,
            resident_memory,
        }
    }

    /// All metrics in the OpenMetrics text format, with these images in flight and their limit.
    pub fn text(&self, in_flight: usize, limit: usize) -> String {
        self.pipeline.in_flight.set(clamped(in_flight as u64));
        self.pipeline.limit.set(clamped(limit as u64));
        let resident = memory::resident().unwrap_or_default();
        self.resident_memory.set(clamped(resident));
        let mut page = String::new();
        // Writing to a string can't fail.
        text::encode(&mut page, &self.registry).ok();
        page
    }

    /// A request was answered, or abandoned. Routes and methods must come from fixed sets, as each
    /// makes a time series.
    pub fn request(&self, route: String, method: &'static str, status: u16, duration: Duration) {
        let durations = RouteLabel {
            route: route.clone(),
        };
        let durations = self.http.durations.get_or_create(&durations);
        durations.observe(duration.as_secs_f64());
        let request = RequestLabels {
            route,
            method,
            status,
        };
        self.http.requests.get_or_create(&request).inc();
    }

    /// A connection is open until the guard is dropped.
    pub fn connected(&self) -> OpenConnection {
        self.http.connections.inc();
        OpenConnection(self.http.connections.clone())
    }

    /// An image was decoded.
    pub fn decoded(&self, duration: Duration) {
        self.pipeline.decode.observe(duration.as_secs_f64());
    }

    /// A decoded image left the queue of the model.
    pub fn dequeued(&self, wait: Duration) {
        self.pipeline.queue.observe(wait.as_secs_f64());
    }

    /// The model ran on a batch.
    pub fn inferred(&self, images: usize, duration: Duration) {
        self.pipeline.batch.observe(images as f64);
        self.pipeline.inference.observe(duration.as_secs_f64());
    }

    /// An image was classified.
    pub fn predicted(&self, answer: &Answer) {
        let class = ClassLabel {
            class: answer.class.clone(),
        };
        self.model.predictions.get_or_create(&class).inc();
        self.model.confidence.observe(answer.confidence);
    }

    /// A model replaced the one before.
    pub fn installed(&self, model: &Model) {
        self.model.installed.clear();
        let labels = ModelLabels {
            architecture: model.manifest.architecture.clone(),
            precision: model.execution.arithmetic.to_string(),
            backend: inference::version(model.execution.backend),
            sha256: model.sha256.clone(),
        };
        self.model.installed.get_or_create(&labels).set(1);
    }

    /// A model was reloaded, or could not be.
    pub fn reloaded(&self, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.model
            .reloads
            .get_or_create(&ResultLabel { result })
            .inc();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl HttpMetrics {
    fn register(registry: &mut Registry) -> Self {
        let durations = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> _);
        Self {
            requests: registered(
                registry,
                "http_requests",
                "Requests by route, method and status",
                Family::default(),
            ),
            durations: registered_seconds(
                registry,
                "http_request_duration",
                "Time from the head of a request to its response",
                durations,
            ),
            connections: registered(
                registry,
                "connections",
                "Open connections",
                Gauge::default(),
            ),
        }
    }
}

impl PipelineMetrics {
    fn register(registry: &mut Registry) -> Self {
        let mut seconds =
            |name, help| registered_seconds(registry, name, help, Histogram::new(SECONDS));
        let [decode, queue, inference] = [
            seconds("decode", "Time to decode and resize a picture"),
            seconds("queue", "Time a decoded picture waits for the model"),
            seconds("inference", "Time the model takes for a batch"),
        ];
        let batch = Histogram::new(BATCH_SIZES);
        let batch = registered(registry, "batch_pictures", "Pictures per batch", batch);
        let mut gauge = |name, help| registered(registry, name, help, Gauge::default());
        Self {
            decode,
            queue,
            inference,
            batch,
            in_flight: gauge("queue_pictures", "Pictures between upload and response"),
            limit: gauge(
                "queue_capacity",
                "Limit of pictures between upload and response",
            ),
        }
    }
}

impl ModelMetrics {
    fn register(registry: &mut Registry) -> Self {
        Self {
            predictions: registered(
                registry,
                "predictions",
                "Predictions by class",
                Family::default(),
            ),
            confidence: registered(
                registry,
                "confidence",
                "Confidence of the predicted class; a shift is a sign of drift",
                Histogram::new(CONFIDENCES),
            ),
            reloads: registered(
                registry,
                "model_reloads",
                "Attempts to reload the model",
                Family::default(),
            ),
            installed: registered(registry, "model", "The model in use", Family::default()),
        }
    }
}

/// What Prometheus expects of any process; returns the gauge of its memory.
fn register_process(registry: &mut Registry) -> Gauge {
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let start_time = Gauge::<f64, AtomicU64>::default();
    start_time.set(start.unwrap_or_default().as_secs_f64());
    registered_seconds(
        registry,
        "start_time",
        "Start time of the process in seconds since the Unix epoch",
        start_time,
    );
    let memory = Gauge::default();
    registry.register_with_unit(
        "resident_memory",
        "Memory in use",
        Unit::Bytes,
        memory.clone(),
    );
    memory
}

fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn registered_seconds<M: Metric + Clone>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    metric: M,
) -> M {
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn clamped(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Counts as an open connection.
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}
