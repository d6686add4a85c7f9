//! What can go wrong between a caller and the cluster: whose fault it is and whether to try again.

use std::time::Duration;

use clb_protocol::api::Problem;
use reqwest::Url;

/// Who has to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller: the same request will be refused again.
    Caller,
    /// The cluster, or the way to it: the same request may succeed later.
    Cluster,
    /// The software: the two sides do not understand each other.
    Software,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address of an orchestrator is not usable. The caller's fault; do not retry.
    #[error("{address:?} is not the address of an orchestrator; write it as http://HOST:PORT")]
    Address {
        /// What was given.
        address: String,
    },
    /// No address was given. The caller's fault; do not retry.
    #[error("no orchestrator address was given; give at least one, such as http://127.0.0.1:3002")]
    NoAddress,
    /// The token has characters that no HTTP header can carry. The caller's fault; do not retry.
    #[error("the token contains characters that cannot be sent; use visible ASCII")]
    Token,
    /// No orchestrator served the request in time. The cluster's fault, or the network's; retry with
    /// the same ids, nothing is done twice.
    #[error(
        "no orchestrator at {} served the request within {:.1} s: {last}; start one, or try again later",
        addresses(tried),
        waited.as_secs_f64()
    )]
    Unavailable {
        /// Who was asked.
        tried: Vec<Url>,
        /// For how long.
        waited: Duration,
        /// What the one asked last said.
        #[source]
        last: Box<Setback>,
    },
    /// The cluster understood and refused. The caller's fault; do not retry unchanged.
    #[error("refused with {}: {}", problem.status, sentence(problem))]
    Refused {
        /// What is wrong, in the cluster's words.
        problem: Problem,
    },
    /// The queue is full. Nobody's fault; retry after the time that the cluster asked for.
    #[error("the queue is full: {}; try again in {} s", problem.detail, retry_after.as_secs())]
    QueueFull {
        /// How long to wait.
        retry_after: Duration,
        /// What the cluster said.
        problem: Problem,
    },
    /// A stream broke off in the middle. The cluster's fault, or the network's; ask again.
    #[error("the connection was lost in the middle of an answer; try again")]
    Broken {
        /// What broke.
        #[source]
        source: Box<Setback>,
    },
    /// The answer is not what this version expects. The software's fault; do not retry.
    #[error(
        "the answer to {asked} cannot be read; do the client and the orchestrator have the same version?"
    )]
    Unreadable {
        /// The request's path.
        asked: String,
        /// What was expected where.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Who has to change something.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Address { .. } | Self::NoAddress | Self::Token | Self::Refused { .. } => Fault::Caller,
            Self::Unavailable { .. } | Self::QueueFull { .. } | Self::Broken { .. } => Fault::Cluster,
            Self::Unreadable { .. } => Fault::Software,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.fault() == Fault::Cluster
    }

    /// What the cluster said, where it answered.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem } | Self::QueueFull { problem, .. } => Some(problem),
            _ => None,
        }
    }
}

/// Why one orchestrator did not serve a request.
#[derive(Debug, thiserror::Error)]
pub enum Setback {
    /// Nothing listens there, the name is unknown, or the connection broke.
    #[error("{} cannot be reached ({})", address(url), innermost(source))]
    Unreachable {
        /// Who was asked.
        url: Url,
        /// What broke.
        #[source]
        source: reqwest::Error,
    },
    /// It ended a stream that has no end: it stops, or no longer leads.
    #[error("{} closed the connection", address(url))]
    Ended {
        /// Who was asked.
        url: Url,
    },
    /// The connection stands but no answer came.
    #[error("{} did not answer within {:.1} s", address(url), waited.as_secs_f64())]
    Silent {
        /// Who was asked.
        url: Url,
        /// For how long.
        waited: Duration,
    },
    /// It answered that it cannot serve now: no leader, a simulated crash, no room on its disk.
    #[error("{} answered {status}: {detail}", address(url))]
    NotServing {
        /// Who was asked.
        url: Url,
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
}

fn addresses(tried: &[Url]) -> String {
    let all: Vec<&str> = tried.iter().map(address).collect();
    all.join(", ")
}

fn address(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

/// The cluster mostly names the fields in its sentence; those that it does not name come behind it.
fn sentence(problem: &Problem) -> String {
    let is_named = |pointer: &str| problem.detail.contains(pointer.trim_start_matches(['/', '?']));
    let others = problem.errors.iter().filter(|error| !is_named(&error.pointer));
    let others: Vec<String> = others.map(|error| format!("{} {}", error.pointer, error.detail)).collect();
    if others.is_empty() {
        problem.detail.clone()
    } else {
        format!("{} ({})", problem.detail, others.join("; "))
    }
}

/// The cause that says most: "connection refused" rather than "error sending request".
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use clb_protocol::task::FieldError;

    use super::*;

    fn refused(errors: Vec<FieldError>) -> Error {
        let problem = Problem {
            kind: "about:blank".into(),
            title: "Unprocessable Content".into(),
            status: 422,
            detail: "The task is not valid".into(),
            errors,
        };
        Error::Refused { problem }
    }

    #[test]
    fn a_refusal_names_every_field_and_is_the_callers_fault() {
        let error = refused(vec![FieldError::at("/seconds", "must be from 0 to 86400")]);
        assert_eq!(
            error.to_string(),
            "refused with 422: The task is not valid (/seconds must be from 0 to 86400)"
        );
        assert_eq!(error.fault(), Fault::Caller);
        assert!(!error.is_retryable());
    }

    #[test]
    fn what_the_cluster_says_of_a_field_is_said_once() {
        let problem = Problem {
            kind: "about:blank".into(),
            title: "Unprocessable Content".into(),
            status: 422,
            detail: "/pool there is no such pool".into(),
            errors: vec![FieldError::at("/pool", "there is no such pool")],
        };
        assert_eq!(Error::Refused { problem }.to_string(), "refused with 422: /pool there is no such pool");
    }

    #[test]
    fn an_outage_says_who_was_asked_and_may_be_retried() {
        let url: Url = "http://127.0.0.1:3002".parse().unwrap();
        let last = Setback::NotServing { url: url.clone(), status: 503, detail: "no leader".into() };
        let error =
            Error::Unavailable { tried: vec![url], waited: Duration::from_secs(3), last: Box::new(last) };
        assert!(error.to_string().starts_with("no orchestrator at http://127.0.0.1:3002 served"));
        assert!(error.is_retryable());
    }
}
