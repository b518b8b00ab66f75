//! Routes and the middleware around them.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, header};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_request};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

use super::api_error::ApiError;
use super::feedback::{REQUESTED_WITH, feedback};
use super::keys::API_KEY;
use super::language;
use super::metrics::MEDIA_TYPE;
use super::observe::{REQUEST_ID, observe};
use super::predict::predict;
use super::response::{MODEL_HEADER, model_header};
use super::state::AppState;
use crate::labels::flora;

const OPENAPI: &str = include_str!("../../assets/openapi.json");

/// The application: every route below the base path, with and without a trailing slash.
pub fn app(state: &Arc<AppState>) -> Router {
    let base_path = &state.config.base_path;
    let mut router = protected(base_path)
        .layer(from_fn_with_state(Arc::clone(state), require_key))
        .merge(public(base_path))
        // Handlers refuse the encodings that it does not know.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(map_request(normalize_encoding))
        .layer(from_fn(language::translate));
    if !state.config.cors_origins.is_empty() {
        router = router.layer(cors(&state.config.cors_origins));
    }
    router
        .layer(from_fn_with_state(Arc::clone(state), observe))
        .with_state(Arc::clone(state))
}

/// The routes that need an API key, if there are any keys. So do unknown ones.
fn protected(base_path: &str) -> Router<Arc<AppState>> {
    let routes = [
        ("/predict", post(predict)),
        ("/feedback", post(feedback)),
        ("/labels", get(labels)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(openapi)),
    ];
    router(base_path, routes).fallback(|| async { ApiError::NotFound })
}

/// The routes that need no key: the page asks for one, and probes have none.
fn public(base_path: &str) -> Router<Arc<AppState>> {
    let alive = || async { Json(json!({"status": "alive"})) };
    let routes = [("/healthz", get(alive)), ("/readyz", get(ready))];
    let mut public = router(base_path, routes).route(&format!("{base_path}/"), get(page));
    if let Some((_, last)) = base_path.rsplit_once('/') {
        // Relative, as a proxy may add a prefix of its own.
        let page = format!("{last}/");
        let redirect = || async move { Redirect::permanent(&page) };
        public = public.route(base_path, get(redirect));
    }
    public.method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
}

fn router<const N: usize>(
    base_path: &str,
    routes: [(&str, MethodRouter<Arc<AppState>>); N],
) -> Router<Arc<AppState>> {
    let mut router = Router::new();
    for (path, handler) in routes {
        router = router
            .route(&format!("{base_path}{path}"), handler.clone())
            .route(&format!("{base_path}{path}/"), handler);
    }
    router.method_not_allowed_fallback(|| async { ApiError::MethodNotAllowed })
}

async fn require_key(
    State(state): State<Arc<AppState>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let keys = state.config.keys.as_ref();
    match keys.is_none_or(|keys| keys.authorize(request.headers())) {
        true => Ok(next.run(request).await),
        false => Err(ApiError::Unauthorized),
    }
}

/// The names of encodings are case-insensitive, and `x-gzip` is `gzip` (RFC 9110, 8.4.1).
async fn normalize_encoding(mut request: Request) -> Request {
    if let Some(encoding) = request.headers_mut().get_mut(header::CONTENT_ENCODING)
        && [&b"gzip"[..], b"x-gzip"]
            .iter()
            .any(|gzip| encoding.as_bytes().eq_ignore_ascii_case(gzip))
    {
        *encoding = HeaderValue::from_static("gzip");
    }
    request
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    let allowed = match origins.iter().any(|origin| origin == "*") {
        true => AllowOrigin::any(),
        false => AllowOrigin::list(origins.iter().cloned()),
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        // `*` would leave out `Authorization` (Fetch standard, 4.9).
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            API_KEY,
            REQUEST_ID,
            REQUESTED_WITH,
        ])
        .expose_headers([MODEL_HEADER, REQUEST_ID, header::RETRY_AFTER])
}

async fn page(State(state): State<Arc<AppState>>) -> Response {
    let model = state.model().ok();
    let labels = model.as_ref().map(|model| &model.manifest.labels);
    state.page.response(labels)
}

async fn labels(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let model = state.model()?;
    let labels = &model.manifest.labels;
    let body = json!({
        "labels": labels,
        "names": {"zh-CN": flora::chinese_names(labels)},
        "collect": state.collection.is_some(),
        "model": {
            "sha256": model.sha256,
            "architecture": model.manifest.architecture,
            "precision": model.execution.arithmetic.to_string(),
        },
    });
    Ok((model_header(&model), Json(body)).into_response())
}

async fn ready(State(state): State<Arc<AppState>>) -> Result<Json<Value>, ApiError> {
    if state.shutdown.is_draining() {
        return Err(ApiError::ShuttingDown);
    }
    state.model()?;
    Ok(Json(json!({"status": "ready"})))
}

async fn metrics(State(state): State<Arc<AppState>>) -> impl IntoResponse {
    let admission = &state.admission;
    let page = state.metrics.text(admission.in_flight(), admission.limit());
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], page)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}
