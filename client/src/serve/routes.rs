//! Which address shows what.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::SetResponseHeaderLayer;

use super::{App, feed, forms, logging, origin, page};

/// Forms are small.
const LONGEST_FORM: usize = 16 * 1024;
const STYLE: &str = include_str!("../../assets/page.css");
const SCRIPT: &str = include_str!("../../assets/page.js");
/// Only what comes from this page itself is run, shown or sent to.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'";

/// Everything that is served.
pub(crate) fn routes(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/", get(page::main))
        .route("/rows", get(page::rows))
        .route("/events", get(feed::feed))
        .route("/logging", get(logging::logging))
        .route("/healthz", get(async || "ok\n"))
        .route("/payloads/generate", post(forms::generate))
        .route("/payloads/send", post(forms::send))
        .route("/payloads/send-at-once", post(forms::send_at_once))
        .route("/payloads/{id}/cancel", post(forms::cancel))
        .route("/page.css", get(async || asset("text/css; charset=utf-8", STYLE)))
        .route("/page.js", get(async || asset("text/javascript; charset=utf-8", SCRIPT)))
        .fallback(async || (StatusCode::NOT_FOUND, "No such page\n"))
        .method_not_allowed_fallback(async || {
            (StatusCode::METHOD_NOT_ALLOWED, "This address does not support that method\n")
        })
        .layer(DefaultBodyLimit::max(LONGEST_FORM))
        .layer(from_fn_with_state(Arc::clone(&app), origin::guard))
        .layer(CatchPanicLayer::new());
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Without an origin in its requests the page could not be told from another site.
        (header::REFERRER_POLICY, "same-origin"),
    ];
    let router = headers.into_iter().fold(router, with_header);
    router.with_state(app)
}

fn with_header(router: Router<Arc<App>>, (name, value): (HeaderName, &'static str)) -> Router<Arc<App>> {
    router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response()
}
