//! What all requests share.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Semaphore;

use super::collect::Collection;
use super::crew::Crew;
use super::metrics::Metrics;
use super::model::Model;
use super::page::Page;
use super::queue::Queue;
use super::refusal::Refusal;
use super::settings::Settings;
use super::stop::Stop;
use crate::error::Result;

pub struct Service {
    pub settings: Settings,
    pub metrics: Arc<Metrics>,
    pub queue: Arc<Queue>,
    pub crew: Crew,
    /// One permit for each picture that may be decoded at a time.
    pub decoders: Arc<Semaphore>,
    pub collection: Option<Collection>,
    /// One photo is stored at a time: disks are slow, and threads few.
    pub storing: Arc<Semaphore>,
    pub page: Page,
    pub stop: Stop,
    model: RwLock<Option<Arc<Model>>>,
}

impl Service {
    /// # Errors
    /// When the collection's folder can't be used, or there can be no thread for the model.
    pub fn new(settings: Settings, stop: Stop) -> Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let queue = Arc::new(Queue::new(settings.max_queue));
        let collect = settings.collect.as_ref();
        let collection = collect.map(|(folder, bounds)| Collection::open(folder, *bounds));
        Ok(Self {
            crew: Crew::start(settings.threads, settings.max_batch, &queue, &metrics)?,
            queue,
            decoders: Arc::new(Semaphore::new(decoders())),
            collection: collection.transpose()?,
            storing: Arc::new(Semaphore::new(1)),
            page: Page::new(settings.title.clone(), settings.unsure_below),
            model: RwLock::default(),
            metrics,
            settings,
            stop,
        })
    }

    /// Answers come from this model from now on.
    pub fn install(&self, model: Arc<Model>) {
        self.metrics.installed(&model);
        self.queue.forget_pace();
        let mut installed = self.model.write().unwrap_or_else(PoisonError::into_inner);
        *installed = Some(model);
    }

    /// The model to answer from.
    ///
    /// # Errors
    /// [`Refusal::Loading`] while there is none yet.
    pub fn model(&self) -> Result<Arc<Model>, Refusal> {
        let installed = self.model.read().unwrap_or_else(PoisonError::into_inner);
        installed.clone().ok_or(Refusal::Loading)
    }
}

/// Pictures that are decoded at the same time: one a core.
pub fn decoders() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
