//! Why an orchestrator does not do what it is asked; how that looks is for the door to say.

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use clb_protocol::TaskId;
use clb_protocol::api::FieldError;
use clb_protocol::task::ParseError;
use clb_store::StoreError;

use crate::leader::Refused;

const PROBLEM_JSON: &str = "application/problem+json";
const TOO_LARGE: &str = "The body is too large: 1 MiB for a task, 32 MiB for a batch.";
/// The framework's refusals are a sentence.
const LONGEST_TEXT: usize = 4 << 10;

/// Marks the answer of an orchestrator that does not lead, or not any more: another one may do the request.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotLed;

/// Why a request was not done.
#[derive(Debug)]
pub(super) struct Refusal {
    shown: clb_door::Refusal,
    is_for_want_of_leader: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        clb_door::Refusal::new(status, detail).into()
    }

    pub(super) fn no_leader() -> Self {
        let refusal = Self::unavailable("There is no leader at the moment; send the request again.");
        Self { is_for_want_of_leader: true, ..refusal }
    }

    pub(super) fn leaderless(why: Option<&str>) -> Self {
        let because = |why| format!("There is no leader at the moment ({why}); send the request again.");
        why.map_or_else(Self::no_leader, |why| Self::unavailable(because(why)))
    }

    /// The leader is there and says nothing, or its answer was lost.
    pub(super) fn unanswered() -> Self {
        Self::unavailable(
            "The leader did not answer; send the request again, with the same id if it submits.",
        )
    }

    /// A body that is larger than any may be.
    pub(super) fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE)
    }

    /// There is no room for another body now.
    pub(super) fn too_many_bodies() -> Self {
        Self::unavailable(
            "Other request bodies take up all the space there is for them (CLB_BODIES_IN_FLIGHT); send it again.",
        )
    }

    /// As many requests as may be are on their way to the leader through this orchestrator.
    pub(super) fn too_many_forwarded() -> Self {
        Self::unavailable(
            "This orchestrator already forwards as many requests as it can (a share of CLB_CONNECTIONS); send it again later, or to the leader.",
        )
    }

    /// Nobody will read this answer.
    pub(super) fn cut_off() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The request body ended early.")
    }

    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        clb_door::Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after(1).into()
    }

    pub(super) fn queue_full() -> Self {
        Self::too_many("The queue is full; send it again later.")
    }

    /// There is room for no more of it now.
    pub(super) fn too_many(detail: impl Into<String>) -> Self {
        clb_door::Refusal::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(1).into()
    }

    pub(super) fn unknown_task() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no task with this id.")
    }

    pub(super) fn invalid(errors: Vec<FieldError>) -> Self {
        clb_door::Refusal::invalid(errors).into()
    }

    /// The id or key belongs to a task that differs in these fields.
    pub(super) fn conflict(id: TaskId, fields: &[String]) -> Self {
        let refusal = clb_door::Refusal::new(StatusCode::CONFLICT, taken(id, fields));
        clb_door::Refusal { errors: differing(fields), ..refusal }.into()
    }

    /// A query parameter that cannot be understood.
    pub(super) fn parameter(name: &str, detail: &str) -> Self {
        Self::invalid(vec![FieldError::at(format!("?{name}"), detail)])
    }
}

impl From<clb_door::Refusal> for Refusal {
    fn from(shown: clb_door::Refusal) -> Self {
        Self { shown, is_for_want_of_leader: false }
    }
}

/// What is said of an id or key that belongs to another task.
pub(super) fn taken(id: TaskId, fields: &[String]) -> String {
    format!(
        "This id or idempotency key already belongs to task {id}, which differs in: {}.",
        fields.join(", ")
    )
}

/// The same for programs.
pub(super) fn differing(fields: &[String]) -> Vec<FieldError> {
    let differs = |field| FieldError::at(format!("/{field}"), "differs from the existing task");
    fields.iter().map(differs).collect()
}

impl From<ParseError> for Refusal {
    fn from(error: ParseError) -> Self {
        match error {
            ParseError::NotJson(why) => {
                Self::new(StatusCode::BAD_REQUEST, format!("The body is not JSON: {why}"))
            }
            ParseError::Invalid(errors) => Self::invalid(errors),
            ParseError::TooMany(most) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("A batch has at most {most} tasks."))
            }
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
        let mut answer = self.shown.into_response();
        if self.is_for_want_of_leader {
            answer.extensions_mut().insert(NotLed);
        }
        answer
    }
}

pub(super) async fn not_found() -> Refusal {
    clb_door::Refusal::not_found().into()
}

pub(super) async fn method_not_allowed() -> Refusal {
    clb_door::Refusal::method_not_allowed().into()
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
        StatusCode::PAYLOAD_TOO_LARGE => TOO_LARGE.to_owned(),
        _ => match axum::body::to_bytes(answer.into_body(), LONGEST_TEXT).await {
            Ok(text) if !text.is_empty() => String::from_utf8_lossy(&text).into_owned(),
            _ => "The request cannot be understood.".to_owned(),
        },
    };
    Refusal::new(status, detail).into_response()
}
