//! Who is let in: the bearer of the token, and no page of another site.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::request::Builder;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, Uri};

use crate::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets the bearers of the token in; everybody where there is none.
pub fn check_token(headers: &HeaderMap, token: Option<&str>) -> Result<(), Refusal> {
    match token {
        Some(token) if !bears(headers, token) => {
            let detail = "Send the cluster's token: Authorization: Bearer TOKEN.";
            Err(Refusal::new(StatusCode::UNAUTHORIZED, detail))
        }
        _ => Ok(()),
    }
}

/// Shows the token to another door of the cluster, where there is one.
pub fn show_token(request: Builder, token: Option<&str>) -> Builder {
    match token {
        Some(token) => request.header(AUTHORIZATION, format!("Bearer {token}")),
        None => request,
    }
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

/// Lets programs and pages of this very site in, and no page of another site: for requests that change
/// or cost something.
pub fn check_site(uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    own_site(headers, uri.authority().map(Authority::as_str))
        .map_err(|why| Refusal::new(StatusCode::FORBIDDEN, why))
}

fn own_site(headers: &HeaderMap, authority: Option<&str>) -> Result<(), &'static str> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let host = authority.or_else(|| text(HOST));
    if !text(SEC_FETCH_SITE).is_none_or(|site| matches!(site, "same-origin" | "none")) {
        return Err("This request comes from a page of another site; open the address directly.");
    }
    if let Some(origin) = text(ORIGIN)
        && origin.strip_prefix("http://") != host
    {
        return Err("This request comes from a page of another origin; open the address directly.");
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
    use axum::http::{HeaderValue, Request};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn may(pairs: &[(&'static str, &'static str)]) -> bool {
        check_site(&Uri::from_static("/stop"), &headers(pairs)).is_ok()
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
        let elsewhere = Uri::from_static("http://rebound.example/stop");
        assert!(check_site(&elsewhere, &headers(&[("host", "127.0.0.1:3004")])).is_err());
    }

    #[test]
    fn only_the_whole_token_opens() {
        let bearer = |value| check_token(&headers(&[("authorization", value)]), Some("secret")).is_ok();
        assert!(bearer("Bearer secret"));
        assert!(bearer("bearer secret"));
        for wrong in ["Bearer secre", "Bearer secrets", "Basic secret", "secret", "Bearer"] {
            assert!(!bearer(wrong), "{wrong}");
        }
        let shown = show_token(Request::get("/"), Some("secret")).body(()).unwrap();
        assert!(check_token(shown.headers(), Some("secret")).is_ok());
        assert!(check_token(&HeaderMap::new(), Some("secret")).is_err());
        assert!(check_token(&HeaderMap::new(), None).is_ok());
    }
}
