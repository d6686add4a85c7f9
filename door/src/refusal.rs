//! Refusals, as `application/problem+json` (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use clb_protocol::api::{FieldError, Problem};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request was not done.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Which fields are wrong.
    pub errors: Vec<FieldError>,
    /// After how many seconds it may be different.
    pub retry_after_s: Option<u32>,
}

impl Refusal {
    /// A refusal in so many words.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), errors: Vec::new(), retry_after_s: None }
    }

    /// It may be different after so many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }

    /// Fields that are not as they must be.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| format!("{} {}", error.pointer, error.detail));
        let detail = detail.collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }

    /// Nothing is here.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is nothing at this address.")
    }

    /// Something is here, but not for this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "This address does not support that method.")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: self.status.canonical_reason().unwrap_or("Refused").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            errors: self.errors,
        };
        let mut answer = (self.status, axum::Json(problem)).into_response();
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_wrong_and_when_to_come_again() {
        let errors = vec![FieldError::at("/a", "must be a number"), FieldError::at("/b", "is not known")];
        let refusal = Refusal::invalid(errors).retry_after(7);
        assert_eq!(refusal.detail, "/a must be a number; /b is not known");
        let answer = refusal.into_response();
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(answer.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(answer.headers()[RETRY_AFTER], "7");
        assert!(!answer.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn who_is_unknown_is_told_how_to_be_known() {
        let answer = Refusal::new(StatusCode::UNAUTHORIZED, "Who are you?").into_response();
        assert_eq!(answer.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}
