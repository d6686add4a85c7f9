//! Why an orchestrator does not do what it is asked; how that looks is for the door to say.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use clb_protocol::api::FieldError;
use clb_protocol::task::ParseError;

use crate::leader::Refused;
use crate::store::StoreError;

const PROBLEM_JSON: &str = "application/problem+json";
/// The framework's refusals are a sentence.
const LONGEST_TEXT: usize = 4 << 10;

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

    pub(super) fn leaderless(why: Option<&str>) -> Self {
        let because =
            |why| format!("No orchestrator leads at the moment, for {why}; send the request again.");
        why.map_or_else(Self::no_leader, |why| Self::unavailable(because(why)))
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self(clb_door::Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1))
    }

    pub(super) fn queue_full() -> Self {
        Self::too_many("Too many tasks wait; send it again later.")
    }

    /// There is room for no more of it now.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
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

impl From<Refused> for Refusal {
    fn from(Refused(reason): Refused) -> Self {
        Self::unavailable(reason)
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

/// Gives the refusals of the framework, which are plain text, the form of all others.
pub(super) async fn dress(answer: Response) -> Response {
    let status = answer.status();
    let is_refusal = status.is_client_error() || status.is_server_error();
    let is_dressed = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
    if !is_refusal || is_dressed || status == StatusCode::IM_A_TEAPOT {
        return answer;
    }
    let detail = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            "The body is too large: 1 MiB for a task, 32 MiB for a batch.".to_owned()
        }
        _ => match axum::body::to_bytes(answer.into_body(), LONGEST_TEXT).await {
            Ok(text) if !text.is_empty() => String::from_utf8_lossy(&text).into_owned(),
            _ => "The request cannot be understood.".to_owned(),
        },
    };
    Refusal::new(status, detail).into_response()
}
