//! Who is let in: the bearer of the token; nobody but the exempt during a simulated crash; no request
//! that a browser sends from another site, where it would change something.

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clb_protocol::seed::TEAPOT;

use super::Door;

pub(super) async fn check(State(door): State<Door>, request: Request, next: Next) -> Response {
    if let Err(refusal) = let_in(&door, &request) {
        return refusal.into_response();
    }
    let is_exempt = matches!(request.uri().path(), "/stop" | "/logging" | "/healthz");
    if door.node.is_crashed() && !is_exempt {
        return (StatusCode::IM_A_TEAPOT, TEAPOT).into_response();
    }
    next.run(request).await
}

fn let_in(door: &Door, request: &Request) -> Result<(), clb_door::Refusal> {
    let path = request.uri().path();
    if !matches!(path, "/healthz" | "/readyz") {
        clb_door::check_token(request.headers(), door.node.options.token.as_deref())?;
    }
    if path == "/stop" || !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        clb_door::check_site(request.uri(), request.headers())?;
    }
    Ok(())
}
