//! What Prometheus is told.

use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::model::Model;
use crate::memory;
use crate::metrics::Answer;

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds, from the fastest decoding to the longest wait.
const SECONDS: [f64; 14] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

const SHARES: [f64; 12] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];

const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: &'static str,
    method: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reload {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelInfo {
    architecture: String,
    precision: String,
    sha256: String,
}

type Durations = Family<Route, Histogram, fn() -> Histogram>;

/// Counts and durations since the start.
pub struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Durations,
    decode: Histogram,
    wait: Histogram,
    inference: Histogram,
    batch: Histogram,
    queued: Gauge,
    capacity: Gauge,
    connections: Gauge,
    predictions: Family<Class, Counter>,
    confidence: Histogram,
    reloads: Family<Reload, Counter>,
    model: Family<ModelInfo, Gauge>,
    resident: Gauge,
}

impl Metrics {
    pub fn new() -> Self {
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("flowers");
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let requests = Family::default();
        let durations = Durations::new_with_constructor(seconds);
        let [decode, wait, inference] = [seconds(), seconds(), seconds()];
        let batch = Histogram::new(SIZES);
        let [queued, capacity, connections, resident]: [Gauge; 4] = Default::default();
        let predictions = Family::default();
        let confidence = Histogram::new(SHARES);
        let reloads = Family::default();
        let model = Family::default();
        registry.register(
            "http_requests",
            "Requests by route, method and status",
            requests.clone(),
        );
        for (name, help, metric) in [
            ("decode", "Time to decode and resize a picture", &decode),
            ("queue", "Time a decoded picture waits for the model", &wait),
            ("inference", "Time the model takes for a batch", &inference),
        ] {
            registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
        }
        registry.register_with_unit(
            "http_request_duration",
            "Time from the head of a request to its response",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("batch_pictures", "Pictures per batch", batch.clone());
        for (name, help, metric) in [
            (
                "queue_pictures",
                "Pictures between upload and response",
                &queued,
            ),
            (
                "queue_capacity",
                "Limit of pictures between upload and response",
                &capacity,
            ),
            ("connections", "Open connections", &connections),
        ] {
            registry.register(name, help, metric.clone());
        }
        registry.register("predictions", "Predictions by class", predictions.clone());
        registry.register(
            "confidence",
            "Confidence of the predicted class; a shift is a sign of drift",
            confidence.clone(),
        );
        registry.register(
            "model_reloads",
            "Attempts to reload the model",
            reloads.clone(),
        );
        registry.register("model", "The model in use", model.clone());
        let process = all.sub_registry_with_prefix("process");
        process.register_with_unit(
            "resident_memory",
            "Memory in use",
            Unit::Bytes,
            resident.clone(),
        );
        process.register_with_unit(
            "start_time",
            "Start time of the process in seconds since the Unix epoch",
            Unit::Seconds,
            started(),
        );
        Self {
            registry: all,
            requests,
            durations,
            decode,
            wait,
            inference,
            batch,
            queued,
            capacity,
            connections,
            predictions,
            confidence,
            reloads,
            model,
            resident,
        }
    }

    /// All metrics in the OpenMetrics text format, with the queue's state as of now.
    pub fn text(&self, queued: usize, capacity: usize) -> String {
        let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        self.queued.set(gauge(queued));
        self.capacity.set(gauge(capacity));
        let resident = memory::resident().unwrap_or_default();
        self.resident
            .set(i64::try_from(resident).unwrap_or(i64::MAX));
        let mut page = String::new();
        // Writing to a string does not fail.
        text::encode(&mut page, &self.registry).ok();
        page
    }

    /// A request was answered. Labels are of fixed sets: a client can't add time series.
    pub fn request(&self, route: &'static str, method: &'static str, status: u16, took: Duration) {
        let request = Request {
            route,
            method,
            status,
        };
        self.requests.get_or_create(&request).inc();
        let durations = self.durations.get_or_create(&Route { route });
        durations.observe(took.as_secs_f64());
    }

    /// A picture was decoded.
    pub fn decoded(&self, took: Duration) {
        self.decode.observe(took.as_secs_f64());
    }

    /// A picture waited for the model.
    pub fn waited(&self, took: Duration) {
        self.wait.observe(took.as_secs_f64());
    }

    /// A batch ran.
    pub fn ran(&self, pictures: usize, took: Duration) {
        self.batch.observe(pictures as f64);
        self.inference.observe(took.as_secs_f64());
    }

    /// A picture was classified.
    pub fn answered(&self, answer: &Answer) {
        let class = Class {
            class: answer.class.clone(),
        };
        self.predictions.get_or_create(&class).inc();
        self.confidence.observe(answer.confidence);
    }

    /// Another model answers from now on.
    pub fn installed(&self, model: &Model) {
        self.model.clear();
        let info = ModelInfo {
            architecture: model.manifest.architecture.clone(),
            precision: model.execution.arithmetic.to_string(),
            sha256: model.sha256.clone(),
        };
        self.model.get_or_create(&info).set(1);
    }

    /// The model was loaded anew, or could not be.
    pub fn reloaded(&self, good: bool) {
        let result = if good { "success" } else { "failure" };
        self.reloads.get_or_create(&Reload { result }).inc();
    }

    /// A connection was opened; it counts until the guard is dropped.
    pub fn connected(&self) -> Connected {
        self.connections.inc();
        Connected(self.connections.clone())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// An open connection.
pub struct Connected(Gauge);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn started() -> Gauge<f64, AtomicU64> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(now.unwrap_or_default().as_secs_f64());
    gauge
}
