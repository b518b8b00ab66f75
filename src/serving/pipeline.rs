//! What `/predict` and `/feedback` have in common: upload, admission, decoding and inference, within
//! the time limit of a request.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::Request;
use futures_util::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{self, timeout_at};

use super::admission::Permit;
use super::api_error::ApiError;
use super::model::Model;
use super::response::Prediction;
use super::state::AppState;
use super::upload::{self, Upload, too_many_images};
use crate::image::decode::Warning;
use crate::metrics::Answer;

/// One request on its way through the server.
pub struct Pipeline<'a> {
    state: &'a Arc<AppState>,
    deadline: time::Instant,
}

impl<'a> Pipeline<'a> {
    /// Starts the clock of a request.
    pub fn new(state: &'a Arc<AppState>) -> Self {
        let deadline = time::Instant::now() + state.config.timeout;
        Self { state, deadline }
    }

    /// Reads the body, unless its images would be refused anyway.
    ///
    /// # Errors
    /// Those of [`upload::read`] and [`Admission::check`](super::admission::Admission::check);
    /// [`ApiError::UploadTimeout`] after the deadline.
    pub async fn receive(&self, request: Request) -> Result<Upload, ApiError> {
        self.state.admission.check()?;
        let upload = upload::read(request, self.state.config.image_limits.max_bytes);
        self.before_deadline(upload, ApiError::UploadTimeout).await
    }

    /// The prediction or error for each image.
    ///
    /// # Errors
    /// What concerns all of them: too many images, or [`ApiError::Timeout`] after the deadline.
    pub async fn predict(
        &self,
        model: &Arc<Model>,
        files: Vec<Bytes>,
        top_k: usize,
    ) -> Result<Vec<Result<Prediction, ApiError>>, ApiError> {
        let max = self.state.admission.max();
        if files.len() > max {
            return Err(too_many_images(max));
        }
        let permit = self.state.admission.admit(files.len())?;
        let predict = |file| self.predict_one(model, file, top_k, Arc::clone(&permit));
        let predictions = join_all(files.into_iter().map(predict));
        self.before_deadline(async { Ok(predictions.await) }, self.timeout())
            .await
    }

    /// Waits for a permit of a semaphore.
    ///
    /// # Errors
    /// [`ApiError::Timeout`] after the deadline.
    pub async fn acquire(
        &self,
        semaphore: &Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = Arc::clone(semaphore).acquire_owned();
        let permit = async { permit.await.map_err(|_| incomplete()) };
        self.before_deadline(permit, self.timeout()).await
    }

    async fn predict_one(
        &self,
        model: &Arc<Model>,
        file: Bytes,
        top_k: usize,
        permit: Arc<Permit>,
    ) -> Result<Prediction, ApiError> {
        let (pixels, warnings) = self.decode(model, file, Arc::clone(&permit)).await?;
        let workers = &self.state.workers;
        let logits = workers.logits(Arc::clone(model), pixels, Some(permit));
        let answer = Answer::of(&logits.await?, &model.manifest.labels, top_k);
        self.state.metrics.predicted(&answer);
        Ok(Prediction { answer, warnings })
    }

    /// Decodes and resizes to 8-bit RGB `(crop, crop, 3)`, on a blocking thread. That goes on when
    /// the request is given up, so the image stays in flight until it ends.
    async fn decode(
        &self,
        model: &Arc<Model>,
        file: Bytes,
        permit: Arc<Permit>,
    ) -> Result<(Vec<u8>, Vec<Warning>), ApiError> {
        let decoder = self.acquire(&self.state.decoders).await?;
        let (state, model) = (Arc::clone(self.state), Arc::clone(model));
        let decoded = spawn_blocking(move || {
            let _permits = (decoder, permit);
            let start = Instant::now();
            let preprocessing = &model.manifest.preprocessing;
            let decoded = preprocessing.read(&file, &state.config.image_limits);
            state.metrics.decoded(start.elapsed());
            decoded.map(|decoded| (decoded.picture.into_raw(), decoded.warnings))
        });
        Ok(decoded.await.map_err(|_| incomplete())??)
    }

    fn timeout(&self) -> ApiError {
        ApiError::Timeout {
            limit: self.state.config.timeout,
        }
    }

    /// The result of `work`, `expired` if the deadline comes first, or [`ApiError::ShuttingDown`] if
    /// the server gives up on unfinished requests.
    async fn before_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, ApiError>>,
        expired: ApiError,
    ) -> Result<T, ApiError> {
        tokio::select! {
            biased;
            result = timeout_at(self.deadline, work) => result.unwrap_or(Err(expired)),
            () = self.state.shutdown.aborting.cancelled() => Err(ApiError::ShuttingDown),
        }
    }
}

/// The error of work that panicked or was cancelled.
pub fn incomplete() -> ApiError {
    ApiError::Internal("the request could not be completed".into())
}
