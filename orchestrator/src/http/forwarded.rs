//! What orchestrators tell each other of a request that one sends on to the other: that it was sent on, so
//! that it is not sent on again, and the ids of the tasks that it brings without one, so that they are the
//! same however often it is sent. The handlers find it in the request's extensions.
//!
//! Callers may send the header too and gain nothing by it: a request is refused where nobody leads, and an id
//! is something that callers may choose anyway.

use std::time::Duration;

use axum::Extension;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use clb_protocol::TaskId;

const FORWARDED: HeaderName = HeaderName::from_static("clb-forwarded");
const AGAIN: &str = "; again";

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    first_id: TaskId,
    /// Whether a leader may have done it before, whose answer was lost.
    pub(super) is_again: bool,
}

impl Forwarded {
    /// A request that is sent on for the first time.
    pub(super) fn now() -> Self {
        Self { first_id: TaskId::now(), is_again: false }
    }

    /// What the headers say; `None` when the request comes from a caller.
    pub(super) fn read(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(FORWARDED)?.to_str().ok()?;
        let id = text.strip_suffix(AGAIN);
        Some(Self { first_id: id.unwrap_or(text).parse().ok()?, is_again: id.is_some() })
    }

    /// Says so in the headers.
    pub(super) fn write(self, headers: &mut HeaderMap) {
        let text = format!("{}{}", self.first_id, if self.is_again { AGAIN } else { "" });
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(FORWARDED, value);
        }
    }
}

/// Makes the ids of tasks that come without one.
pub(super) struct FreshIds(Option<Forwarded>);

impl FreshIds {
    /// For a request of which this is known.
    pub(super) fn of(forwarded: Option<Extension<Forwarded>>) -> Self {
        Self(forwarded.map(|Extension(forwarded)| forwarded))
    }

    /// The id of the `place`-th task of the request.
    pub(super) fn at(&self, place: usize) -> TaskId {
        self.0.map_or_else(TaskId::now, |forwarded| forwarded.first_id.nth(place as u64))
    }
}

/// Whether a request may be sent to the next leader when the former one may have done it already:
///
/// - what only reads, and `PUT` and `DELETE` of a pool, which say how it is to be;
/// - submissions, whose tasks have ids by then;
/// - cancelling, which is told apart from an earlier end ([`Forwarded::is_again`]);
/// - replays, of which each task has one;
/// - wishes about pools and workers, which say what they are to do from then on.
///
/// All others are left to the caller: log lines would stand there twice.
pub(super) fn is_repeatable(method: &Method, route: &str) -> bool {
    match *method {
        Method::POST => matches!(
            route,
            "/api/v1/tasks"
                | "/api/v1/tasks/batch"
                | "/api/v1/tasks/cancel"
                | "/api/v1/tasks/replay"
                | "/api/v1/tasks/{id}/cancel"
                | "/api/v1/tasks/{id}/replay"
                | "/api/v1/pools/{name}/pause"
                | "/api/v1/pools/{name}/resume"
                | "/api/v1/workers/{name}/drain"
                | "/api/v1/workers/{name}/restart"
                | "/api/v1/workers/{name}/resume"
        ),
        _ => method.is_idempotent(),
    }
}

/// Whether the answer may take long although the leader is well: it was asked to wait, or has many tasks to
/// go through.
pub(super) fn may_take_long(method: &Method, route: &str, query: Option<&str>) -> bool {
    let mut parameters = query.unwrap_or_default().split('&');
    let is_to_wait = parameters.any(|it| it.starts_with("wait=") || it.starts_with("follow="));
    let is_large = matches!(route, "/api/v1/tasks/batch" | "/api/v1/tasks/cancel" | "/api/v1/tasks/replay");
    is_to_wait || (*method == Method::POST && is_large) || route == "/api/v1/events"
}

/// The address of a request that asked to wait, for what is left of its `wait` after this time.
pub(super) fn rest_of_wait(uri: &Uri, waited: Duration) -> Option<Uri> {
    let mut is_changed = false;
    let parameters = uri.query()?.split('&').map(|parameter| {
        match parameter.strip_prefix("wait=").and_then(|text| text.parse::<f64>().ok()) {
            Some(wait_s) if wait_s > 0.0 => {
                is_changed = true;
                format!("wait={:.3}", (wait_s - waited.as_secs_f64()).max(0.0))
            }
            _ => parameter.to_owned(),
        }
    });
    let query = parameters.collect::<Vec<_>>().join("&");
    format!("{}?{query}", uri.path()).parse().ok().filter(|_| is_changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let mut headers = HeaderMap::new();
        assert_eq!(Forwarded::read(&headers), None);
        let first = Forwarded::now();
        for said in [first, Forwarded { is_again: true, ..first }] {
            said.write(&mut headers);
            assert_eq!(Forwarded::read(&headers), Some(said));
        }
        headers.insert(FORWARDED, HeaderValue::from_static("yes"));
        assert_eq!(Forwarded::read(&headers), None);
    }

    #[test]
    fn a_request_that_is_sent_again_brings_the_same_ids() {
        let mut headers = HeaderMap::new();
        let ids = |headers: &HeaderMap| {
            let forwarded = || Forwarded::read(headers).map(Extension);
            [0, 1, 9_999].map(|place| FreshIds::of(forwarded()).at(place))
        };
        assert_ne!(ids(&headers), ids(&headers), "a caller's own request is another one each time");
        Forwarded::now().write(&mut headers);
        let first = ids(&headers);
        assert_eq!(ids(&headers), first);
        assert!(first[0] != first[1] && first[1] != first[2]);
    }

    #[test]
    fn who_waits_again_waits_for_the_rest() {
        let rest =
            |uri| rest_of_wait(&Uri::from_static(uri), Duration::from_millis(2_500)).map(|it| it.to_string());
        assert_eq!(rest("/a?after=1&wait=60").as_deref(), Some("/a?after=1&wait=57.500"));
        assert_eq!(rest("/a?wait=1").as_deref(), Some("/a?wait=0.000"));
        for as_it_is in ["/a", "/a?limit=1", "/a?wait=-1", "/a?wait=x"] {
            assert_eq!(rest(as_it_is), None);
        }
    }

    #[test]
    fn only_what_may_be_done_twice_is_sent_twice() {
        for (method, route, is_so) in [
            (Method::GET, "/api/v1/tasks", true),
            (Method::PUT, "/api/v1/pools/{name}", true),
            (Method::POST, "/api/v1/tasks/{id}/cancel", true),
            (Method::POST, "/link/v1/logs", false),
            (Method::POST, "/api/v1/anything/new", false),
        ] {
            assert_eq!(is_repeatable(&method, route), is_so, "{method} {route}");
        }
    }

    #[test]
    fn only_what_was_asked_to_wait_or_is_large_may_take_long() {
        assert!(may_take_long(&Method::GET, "/api/v1/tasks/{id}", Some("wait=60")));
        assert!(may_take_long(&Method::GET, "/api/v1/outcomes", Some("after=3&wait=60")));
        assert!(may_take_long(&Method::GET, "/api/v1/events", None));
        assert!(may_take_long(&Method::POST, "/api/v1/tasks/batch", None));
        assert!(!may_take_long(&Method::GET, "/api/v1/tasks/{id}", Some("await=60")));
        assert!(!may_take_long(&Method::POST, "/api/v1/tasks", None));
    }
}
