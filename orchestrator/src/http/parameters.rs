//! Query parameters at addresses that take none: a typo is never silent. Those that take any look at theirs
//! themselves, with `Query::finish`.

use axum::extract::Request;
use axum::http::Method;

use super::problem::Refusal;
use super::route;
use super::system::Query;

/// What may be asked with parameters.
const TAKE_PARAMETERS: [&str; 8] = [
    "/api/v1/tasks",
    "/api/v1/tasks/{id}",
    "/api/v1/tasks/{id}/output",
    "/api/v1/groups",
    "/api/v1/outcomes",
    "/api/v1/obituaries",
    "/api/v1/logs",
    "/api/v1/events",
];

/// Refuses parameters that nobody would look at.
pub(super) fn check(request: &Request) -> Result<(), Refusal> {
    let Some(query) = request.uri().query() else { return Ok(()) };
    let path = route(request.extensions());
    let takes_parameters = match *request.method() {
        Method::GET | Method::HEAD => TAKE_PARAMETERS.contains(&path),
        Method::POST => path == "/api/v1/tasks",
        _ => false,
    };
    if takes_parameters {
        return Ok(());
    }
    Query::parse(Some(query))?.finish()
}
