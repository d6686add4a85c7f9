//! Who is let in: the bearer of the token; nobody but the exempt during a simulated crash; no request
//! that a browser sends from another site, where it would change something.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clb_protocol::seed::TEAPOT;

use super::problem::problem;
use super::{Pages, is_ending};
use crate::worker::DeskClosed;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) async fn check(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if path == "/healthz" {
        return next.run(request).await;
    }
    if let Some(token) = &pages.token
        && !bears(request.headers(), token)
    {
        let detail = "Send the cluster's token: Authorization: Bearer TOKEN.".to_owned();
        let mut answer = problem(StatusCode::UNAUTHORIZED, detail);
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    if path == "/stop" {
        let host = request.uri().authority().map(Authority::as_str);
        if let Err(why) = is_own_site(request.headers(), host) {
            return problem(StatusCode::FORBIDDEN, why.to_owned());
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

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, given)) = given.and_then(|value| value.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer") && is_equal(given.trim().as_bytes(), token.as_bytes())
}

/// Takes as long for a token that is nearly right as for any other.
fn is_equal(given: &[u8], wanted: &[u8]) -> bool {
    let differences = given.iter().zip(wanted).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && differences == 0
}

/// Whether a request may change something: programs may, and pages of this very site.
fn is_own_site(headers: &HeaderMap, authority: Option<&str>) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let host = authority.or_else(|| text(HOST));
    if !text(SEC_FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none")) {
        return Err("A page of another site asked for this; open the address yourself.");
    }
    if let Some(origin) = text(ORIGIN)
        && origin.strip_prefix("http://") != host
    {
        return Err("A page of another origin asked for this; open the address yourself.");
    }
    match host {
        Some(host) if is_local_name(host) => Ok(()),
        _ => Err("This host name may belong to somebody else; use 127.0.0.1."),
    }
}

/// A name from the public name service has a dot; it can be made to point here by anybody.
fn is_local_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_matches(['[', ']']);
    !name.is_empty()
        && (!name.contains(['.', ':']) || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn may(pairs: &[(&'static str, &'static str)]) -> bool {
        is_own_site(&headers(pairs), None).is_ok()
    }

    #[test]
    fn programs_and_the_own_site_may_change_something() {
        assert!(may(&[("host", "127.0.0.1:3004")]));
        assert!(may(&[("host", "[::1]:3004")]));
        assert!(may(&[("host", "clb-worker-1:3004")]));
        assert!(may(&[("host", "localhost:3004"), ("sec-fetch-site", "none")]));
        assert!(may(&[
            ("host", "localhost:3004"),
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:3004")
        ]));
    }

    #[test]
    fn other_sites_may_not() {
        assert!(!may(&[("host", "127.0.0.1:3004"), ("sec-fetch-site", "cross-site")]));
        assert!(!may(&[("host", "127.0.0.1:3004"), ("sec-fetch-site", "same-site")]));
        assert!(!may(&[("host", "127.0.0.1:3004"), ("origin", "http://evil.example")]));
        assert!(!may(&[("host", "127.0.0.1:3004"), ("origin", "null")]));
        assert!(!may(&[("host", "rebound.example:3004")]), "a name that was made to point here");
        assert!(!may(&[("host", "")]));
        assert!(!may(&[]));
    }

    #[test]
    fn only_the_whole_token_opens() {
        let bearer = |value| bears(&headers(&[("authorization", value)]), "secret");
        assert!(bearer("Bearer secret"));
        assert!(bearer("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer"] {
            assert!(!bearer(wrong), "{wrong}");
        }
    }
}
