//! Who may change something: the person at the page, not another site that the same browser shows.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::App;

/// The names under which browsers reach this page, besides addresses and `localhost`.
#[derive(Debug)]
pub(crate) struct KnownHosts(Vec<String>);

impl KnownHosts {
    pub(crate) fn new(cluster: &str, further: Vec<String>) -> Self {
        let mut names = vec!["client".to_owned(), format!("{cluster}-client")];
        names.extend(std::env::var("HOSTNAME").ok());
        names.extend(further.into_iter().map(|name| name.trim().to_lowercase()));
        names.retain(|name| !name.is_empty());
        Self(names)
    }

    fn contains(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok() || host == "localhost" || self.0.contains(&host)
    }
}

/// Passes a request on unless it would change something on behalf of another site.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    match changes.then(|| objection(&app.hosts, request.headers())).flatten() {
        Some(why) => (StatusCode::FORBIDDEN, format!("Refused: {why}\n")).into_response(),
        None => next.run(request).await,
    }
}

fn objection(known: &KnownHosts, headers: &HeaderMap) -> Option<String> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if let Some(site) = text("sec-fetch-site").filter(|site| !matches!(*site, "same-origin" | "none")) {
        return Some(format!("the request comes from another site ({site}). Use the page itself."));
    }
    let Some(host) = text(HOST.as_str()) else {
        return Some("the request has no Host header".to_owned());
    };
    let Ok(authority) = host.parse::<Authority>() else {
        return Some(format!("{host:?} is not a host"));
    };
    if !known.contains(authority.host()) {
        return Some(format!(
            "this page does not recognize the host name {:?}. Add it to CLB_HOSTS if it is correct.",
            authority.host()
        ));
    }
    let origin = text(ORIGIN.as_str())?;
    let same = origin.strip_prefix("http://").or(origin.strip_prefix("https://")) == Some(host);
    (!same).then(|| format!("the request comes from {origin}, not from {host}"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn objects(headers: &[(&'static str, &str)]) -> bool {
        let known = KnownHosts::new("clb", vec!["Lab.Example".into()]);
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        objection(&known, &headers).is_some()
    }

    #[test]
    fn the_page_itself_and_programs_may_change_things() {
        for host in ["127.0.0.1:3001", "localhost:3001", "clb-client:3001", "[::1]:3001", "lab.example"] {
            assert!(!objects(&[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(!objects(&[("host", host), ("origin", &origin), ("sec-fetch-site", "same-origin")]));
        }
        assert!(!objects(&[("host", "localhost"), ("sec-fetch-site", "none")]));
    }

    #[test]
    fn another_site_may_not() {
        for site in ["cross-site", "same-site"] {
            assert!(objects(&[("host", "localhost"), ("sec-fetch-site", site)]));
        }
        assert!(objects(&[("host", "127.0.0.1:3001"), ("origin", "http://evil.example")]));
        assert!(objects(&[("host", "127.0.0.1:3001"), ("origin", "null")]));
        assert!(objects(&[("host", "127.0.0.1:3001"), ("origin", "http://127.0.0.1:9999")]));
    }

    #[test]
    fn a_name_that_another_site_pointed_here_is_refused() {
        assert!(objects(&[("host", "evil.example:3001"), ("origin", "http://evil.example:3001")]));
        assert!(objects(&[]));
    }
}
