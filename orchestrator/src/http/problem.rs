//! Why an orchestrator does not do what it is asked; how that looks is for the door to say.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clb_protocol::api::FieldError;
use clb_protocol::task::ParseError;

use crate::store::StoreError;

/// Why a request was not done.
#[derive(Debug)]
pub(super) struct Refusal(clb_door::Refusal);

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self(clb_door::Refusal::new(status, detail))
    }

    pub(super) fn no_leader() -> Self {
        Self::unavailable("No orchestrator leads at the moment; send the request again.")
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self(clb_door::Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
    }

    pub(super) fn queue_full() -> Self {
        let detail = "Too many tasks wait; send it again later.";
        Self(clb_door::Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1))
    }

    pub(super) fn unknown_task() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no task with this id.")
    }

    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        Self(clb_door::Refusal::invalid(errors))
    }

    /// A query parameter that cannot be understood.
    pub(super) fn parameter(name: &str, detail: &str) -> Self {
        Self::invalid(vec![FieldError::at(format!("?{name}"), detail)])
    }
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::NotJson(why) => {
                Self::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {why}"))
            }
            ParseError::Invalid(errors) => Self::invalid(errors),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

pub(super) async fn not_found() -> Refusal {
    Refusal(clb_door::Refusal::not_found())
}

pub(super) async fn method_not_allowed() -> Refusal {
    Refusal(clb_door::Refusal::method_not_allowed())
}
