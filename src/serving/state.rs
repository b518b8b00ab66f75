//! What all requests share.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::admission::Admission;
use super::api_error::ApiError;
use super::collection::Collection;
use super::config::ServerConfig;
use super::metrics::Metrics;
use super::model::Model;
use super::page::UploadPage;
use super::shutdown::Shutdown;
use super::worker_pool::WorkerPool;
use crate::error::Result;
use crate::machine;

pub struct AppState {
    pub config: ServerConfig,
    pub metrics: Arc<Metrics>,
    pub admission: Arc<Admission>,
    pub workers: WorkerPool,
    /// Bounds how many images are decoded at a time.
    pub decoders: Arc<Semaphore>,
    pub collection: Option<Arc<Collection>>,
    /// One photo is written at a time: disks are slow, and blocking threads are few.
    pub collection_writer: Arc<Semaphore>,
    pub page: UploadPage,
    pub shutdown: Shutdown,
    model: RwLock<Option<Arc<Model>>>,
}

impl AppState {
    /// # Errors
    /// When the collection's folder can't be used, or the system refuses threads.
    pub fn new(config: ServerConfig, shutdown: Shutdown) -> Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let admission = Arc::new(Admission::new(config.max_queue));
        let collection = match &config.collection {
            Some((folder, quota)) => Some(Arc::new(Collection::open(folder, *quota)?)),
            None => None,
        };
        Ok(Self {
            workers: WorkerPool::start(config.threads, config.max_batch, &admission, &metrics)?,
            admission,
            decoders: Arc::new(Semaphore::new(max_decoders())),
            collection,
            collection_writer: Arc::new(Semaphore::new(1)),
            page: UploadPage::new(config.title.clone(), config.unsure_below),
            model: RwLock::default(),
            metrics,
            config,
            shutdown,
        })
    }

    /// Serves new requests from this model.
    pub fn install(&self, model: Arc<Model>) {
        self.metrics.installed(&model);
        self.admission.reset();
        let mut installed = self.model.write().unwrap_or_else(PoisonError::into_inner);
        *installed = Some(model);
    }

    /// The model for new requests.
    ///
    /// # Errors
    /// [`ApiError::Loading`] before the first is installed.
    pub fn model(&self) -> Result<Arc<Model>, ApiError> {
        let installed = self.model.read().unwrap_or_else(PoisonError::into_inner);
        installed.clone().ok_or(ApiError::Loading)
    }
}

/// Images that are decoded at a time: one per core.
pub fn max_decoders() -> usize {
    machine::cores()
}
