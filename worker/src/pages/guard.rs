//! Who is let in: the bearer of the token; nobody but the exempt during a simulated crash; no request
//! that a browser sends from another site, where it would change something.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clb_door::{check_site, check_token};
use clb_protocol::seed::TEAPOT;

use super::{Pages, is_ending};
use crate::worker::DeskClosed;

pub(super) async fn check(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/healthz" {
        return next.run(request).await;
    }
    if let Err(refusal) = check_token(request.headers(), pages.token.as_deref()) {
        return refusal.into_response();
    }
    if path == "/stop" {
        if let Err(refusal) = check_site(request.uri(), request.headers()) {
            return refusal.into_response();
        }
    } else if path != "/logging" {
        match pages.desk.view().await {
            Ok(view) if view.is_crashed => return (StatusCode::IM_A_TEAPOT, TEAPOT).into_response(),
            Ok(_) => {}
            Err(DeskClosed) => return is_ending(),
        }
    }
    next.run(request).await
}
