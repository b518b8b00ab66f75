//! Paths to handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::decompression::RequestDecompressionLayer;

use super::keys::API_KEY;
use super::language;
use super::metrics::MEDIA_TYPE;
use super::observe::{self, REQUEST_ID};
use super::predict::{self, MODEL_HEADER, REQUESTED_WITH, sign};
use super::refusal::Refusal;
use super::service::Service;
use crate::labels::flora;

/// Every route, below the base path.
pub const ROUTES: [&str; 8] = [
    "/",
    "/predict",
    "/feedback",
    "/labels",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
];

/// Routes that need no key: the page asks for one, and probes have none.
const OPEN: [&str; 3] = ["/", "/healthz", "/readyz"];

const OPENAPI: &str = include_str!("../../assets/openapi.json");

/// The application.
pub fn app(service: &Arc<Service>) -> Router {
    let base = service.settings.base_path.as_str();
    let mut router = Router::new().route(&format!("{base}/"), get(page));
    for (path, handler) in [
        ("/predict", post(predict::predict)),
        ("/feedback", post(predict::feedback)),
        ("/labels", get(labels)),
        (
            "/healthz",
            get(|| async { Json(json!({"status": "alive"})) }),
        ),
        ("/readyz", get(ready)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(openapi)),
    ] {
        router = router
            .route(&format!("{base}{path}"), handler.clone())
            .route(&format!("{base}{path}/"), handler);
    }
    if let Some((_, last)) = base.rsplit_once('/') {
        // Relative, as nobody knows what a proxy calls this place.
        let inside = format!("{last}/");
        router = router.route(base, get(|| async move { Redirect::permanent(&inside) }));
    }
    router = router
        .fallback(|| async { Refusal::NotFound })
        .method_not_allowed_fallback(|| async { Refusal::Method })
        .layer(middleware::from_fn_with_state(Arc::clone(service), admit))
        // Encodings that it does not know are for the handlers to refuse.
        .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
        .layer(middleware::map_request(plainly_gzip))
        .layer(middleware::from_fn(language::translate));
    if !service.settings.cors_origins.is_empty() {
        router = router.layer(cors(&service.settings.cors_origins));
    }
    router
        .layer(middleware::from_fn_with_state(
            Arc::clone(service),
            observe::observe,
        ))
        .with_state(Arc::clone(service))
}

/// Names of encodings are the same in any case, and `x-gzip` is `gzip` (RFC 9110, 8.4.1).
async fn plainly_gzip(mut request: Request) -> Request {
    if let Some(encoding) = request.headers_mut().get_mut(header::CONTENT_ENCODING)
        && [&b"gzip"[..], b"x-gzip"]
            .iter()
            .any(|gzip| encoding.as_bytes().eq_ignore_ascii_case(gzip))
    {
        *encoding = HeaderValue::from_static("gzip");
    }
    request
}

/// The route of a path with or without a slash at its end, or `other`.
pub fn route_of(path: &str, base: &str) -> &'static str {
    let inside = path.strip_prefix(base);
    let inside = inside.map(|path| match path.strip_suffix('/').unwrap_or(path) {
        // Without the slash it leads to the page.
        "" => "/",
        path => path,
    });
    let known = inside.and_then(|path| ROUTES.into_iter().find(|route| *route == path));
    known.unwrap_or("other")
}

async fn admit(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let route = route_of(request.uri().path(), &service.settings.base_path);
    let keys = service.settings.keys.as_ref();
    let known = keys.is_none_or(|keys| keys.admit(request.headers()));
    match known || OPEN.contains(&route) {
        true => Ok(next.run(request).await),
        false => Err(Refusal::NoKey),
    }
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

async fn page(State(service): State<Arc<Service>>) -> Response {
    let model = service.model().ok();
    let labels = model.as_ref().map(|model| &model.manifest.labels);
    service.page.response(labels)
}

async fn labels(State(service): State<Arc<Service>>) -> Result<Response, Refusal> {
    let model = service.model()?;
    let labels = &model.manifest.labels;
    let names = labels.names().iter();
    let chinese = names.filter_map(|name| Some((name.as_str(), flora::chinese(name)?)));
    let mut response = Json(json!({
        "labels": labels,
        "names": {"zh-CN": BTreeMap::from_iter(chinese)},
        "collect": service.collection.is_some(),
        "model": {
            "sha256": model.sha256,
            "architecture": model.manifest.architecture,
            "precision": model.execution.arithmetic.to_string(),
        },
    }))
    .into_response();
    sign(&mut response, &model);
    Ok(response)
}

async fn ready(State(service): State<Arc<Service>>) -> Result<Json<Value>, Refusal> {
    if service.stop.is_draining() {
        return Err(Refusal::ShuttingDown);
    }
    service.model()?;
    Ok(Json(json!({"status": "ready"})))
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let queue = &service.queue;
    let page = service.metrics.text(queue.taken(), queue.places());
    ([(header::CONTENT_TYPE, MEDIA_TYPE)], page).into_response()
}

async fn openapi() -> Response {
    let json = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::OK, json, OPENAPI).into_response()
}
