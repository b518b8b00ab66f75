//! `POST /predict` and `POST /feedback`.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{Instant as Moment, timeout_at};

use super::answer::{Outcome, Outcomes, Prediction};
use super::language::prefers_chinese;
use super::model::Model;
use super::queue::Place;
use super::refusal::Refusal;
use super::service::Service;
use super::upload::{self, Upload, too_many_pictures};
use crate::image::decode::Warning;
use crate::metrics::Answer;

/// Tells which model answered: the SHA-256 of its file.
pub const MODEL_HEADER: HeaderName = HeaderName::from_static("x-model-sha256");

/// Sent by the page with its feedback, with any value.
pub const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

#[derive(Debug, Deserialize)]
pub struct Options {
    #[serde(default = "three")]
    top_k: usize,
}

fn three() -> usize {
    3
}

#[derive(Debug, Serialize)]
struct Stored {
    stored: bool,
}

/// Classifies the pictures of a request.
pub async fn predict(
    State(service): State<Arc<Service>>,
    options: Result<Query<Options>, QueryRejection>,
    request: Request,
) -> Result<Response, Refusal> {
    let top_k = match options {
        Ok(Query(Options { top_k })) if top_k > 0 => top_k,
        _ => {
            return Err(Refusal::bad_request(
                "top_k must be a whole number of at least 1",
                "top_k 必须是不小于 1 的整数",
            ));
        }
    };
    let model = service.model()?;
    let in_chinese = prefers_chinese(request.headers());
    let within = Deadline::of(&service);
    let upload = within.upload(request).await?;
    let several = upload.files.len() > 1;
    let answers = within.answers(&model, upload.files, top_k).await?;
    let mut response = if several {
        let outcome = |result| Outcome::of(result, in_chinese);
        let predictions = answers.into_iter().map(outcome).collect();
        Json(Outcomes { predictions }).into_response()
    } else {
        let prediction = answers.into_iter().next().ok_or(Refusal::NoFile)??;
        Json(prediction).into_response()
    };
    sign(&mut response, &model);
    Ok(response)
}

/// Keeps a picture under the label that a person gave it.
pub async fn feedback(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, Refusal> {
    if service.collection.is_none() {
        return Err(Refusal::NotFound);
    }
    // Any site may have its visitors' browsers post a form here, but not with such a header.
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) && !headers.contains_key(REQUESTED_WITH) {
        return Err(Refusal::OtherSite);
    }
    let model = service.model()?;
    let within = Deadline::of(&service);
    let Upload { files, label, .. } = within.upload(request).await?;
    let missing = || Refusal::bad_request("the field `label` is missing", "缺少 label 字段");
    let label = label.ok_or_else(missing)?;
    let labels = &model.manifest.labels;
    let Some(label) = labels.id(&label).and_then(|id| labels.name(id)) else {
        return Err(Refusal::bad_request(
            "the model has no such label; see /labels",
            "模型没有这个标签；全部标签见 /labels",
        ));
    };
    let label = label.to_owned();
    let [file] = <[Bytes; 1]>::try_from(files)
        .map_err(|_| Refusal::bad_request("send one picture at a time", "请每次只发送一张图片"))?;
    let answers = within.answers(&model, vec![file.clone()], 3).await?;
    let prediction = answers.into_iter().next().ok_or(Refusal::NoFile)??;
    let sha256 = model.sha256.clone();
    let turn = within.turn(&service.storing).await?;
    let stored = spawn_blocking(move || {
        let _turn = turn;
        match &service.collection {
            Some(collection) => collection.store(&file, &label, &prediction.answer, &sha256),
            None => Err(Refusal::NotFound),
        }
    });
    let stored = stored.await.map_err(|_| unfinished())??;
    let mut response = Json(Stored { stored }).into_response();
    sign(&mut response, &model);
    Ok(response)
}

/// Adds the model's SHA-256 to a response.
pub fn sign(response: &mut Response, model: &Model) {
    if let Ok(value) = HeaderValue::from_str(&model.sha256) {
        response.headers_mut().insert(MODEL_HEADER, value);
    }
}

fn unfinished() -> Refusal {
    Refusal::Internal("the work was not completed".into())
}

/// The time that a request has left.
struct Deadline<'a> {
    service: &'a Arc<Service>,
    end: Moment,
}

impl<'a> Deadline<'a> {
    fn of(service: &'a Arc<Service>) -> Self {
        Self {
            service,
            end: Moment::now() + service.settings.timeout,
        }
    }

    async fn upload(&self, request: Request) -> Result<Upload, Refusal> {
        self.service.queue.has_place()?;
        let read = upload::read(request, self.service.settings.picture.max_bytes);
        timeout_at(self.end, self.or_over(read))
            .await
            .unwrap_or(Err(Refusal::SlowUpload))
    }

    /// A permit, when there is one.
    async fn turn(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Refusal> {
        let permit = Arc::clone(permits).acquire_owned();
        let permit = async { permit.await.map_err(|_| unfinished()) };
        let within = self.service.settings.timeout;
        timeout_at(self.end, self.or_over(permit))
            .await
            .unwrap_or(Err(Refusal::Deadline { within }))
    }

    /// The answer or refusal for each picture, or one refusal for all.
    async fn answers(
        &self,
        model: &Arc<Model>,
        files: Vec<Bytes>,
        top_k: usize,
    ) -> Result<Vec<Result<Prediction, Refusal>>, Refusal> {
        let most = self.service.queue.size();
        if files.len() > most {
            return Err(too_many_pictures(most));
        }
        let place = self.service.queue.enter(files.len())?;
        let each = files.into_iter();
        let each = each.map(|file| self.answer(model, file, top_k, Arc::clone(&place)));
        let all = async { Ok(join_all(each).await) };
        let within = self.service.settings.timeout;
        timeout_at(self.end, self.or_over(all))
            .await
            .unwrap_or(Err(Refusal::Deadline { within }))
    }

    async fn answer(
        &self,
        model: &Arc<Model>,
        file: Bytes,
        top_k: usize,
        place: Arc<Place>,
    ) -> Result<Prediction, Refusal> {
        let (pixels, warnings) = self.decode(model, file, Arc::clone(&place)).await?;
        let crew = &self.service.crew;
        let logits = crew.logits(Arc::clone(model), pixels, Some(place));
        let logits = logits.await?;
        let answer = Answer::of(&logits, &model.manifest.labels, top_k);
        self.service.metrics.answered(&answer);
        Ok(Prediction { answer, warnings })
    }

    /// 8-bit RGB (crop, crop, 3) of a picture, and what is amiss with it.
    async fn decode(
        &self,
        model: &Arc<Model>,
        file: Bytes,
        place: Arc<Place>,
    ) -> Result<(Vec<u8>, Vec<Warning>), Refusal> {
        let turn = self.turn(&self.service.decoders).await?;
        let (service, model) = (Arc::clone(self.service), Arc::clone(model));
        let decoded = spawn_blocking(move || {
            let _held = (turn, place);
            let start = Instant::now();
            let limits = service.settings.picture;
            let picture = model.manifest.preprocessing.read(&file, &limits);
            service.metrics.decoded(start.elapsed());
            picture.map(|decoded| (decoded.picture.into_raw(), decoded.warnings))
        });
        Ok(decoded.await.map_err(|_| unfinished())??)
    }

    /// Gives up when the server's time is over.
    async fn or_over<T>(
        &self,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.service.stop.over.cancelled() => {
                Err(Refusal::ShuttingDown)
            }
        }
    }
}
