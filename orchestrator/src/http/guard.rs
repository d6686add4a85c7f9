//! Who is let in: the bearer of the token; nobody but the exempt during a simulated crash; no request
//! that a browser sends from another site, where it would change something.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use clb_protocol::seed::TEAPOT;

use super::Door;
use super::problem::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

pub(super) async fn check(State(door): State<Door>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    if let Some(token) = &door.node.options.token
        && !matches!(path, "/healthz" | "/readyz")
        && !bears(request.headers(), token)
    {
        let detail = "Send the cluster's token: Authorization: Bearer TOKEN.";
        let mut answer = Refusal::new(StatusCode::UNAUTHORIZED, detail).into_response();
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return answer;
    }
    if path == "/stop" || !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        let host = request.uri().authority().map(Authority::as_str);
        if let Err(why) = is_own_site(request.headers(), host) {
            return Refusal::new(StatusCode::FORBIDDEN, why).into_response();
        }
    }
    let is_exempt = matches!(path, "/stop" | "/logging" | "/healthz");
    if door.node.is_crashed() && !is_exempt {
        return (StatusCode::IM_A_TEAPOT, TEAPOT).into_response();
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
