//! The calls that a cluster answers, one method each. How an orchestrator is found is in `call`.

mod backoff;
mod call;
mod contact;
mod events;
mod groups;
mod outcomes;
mod output;
mod pools;
mod search;
mod sse;
mod system;
mod tasks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::Error;

pub use contact::Contact;
use contact::Listener;
pub use events::{Event, EventType};
pub use output::OutputStream;
pub use tasks::TaskFilter;

/// How long an orchestrator may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a call goes on looking for an orchestrator that serves it, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the beginning of a stream may take: an orchestrator without a leader holds a request for up to 5 s.
const OPEN_WITHIN: Duration = Duration::from_secs(6);

/// A caller of one cluster. Cheap to clone; the clones share their connections and what they know of
/// who answers.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
    patience: Duration,
    listener: Option<Listener>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    orchestrators: Vec<Url>,
    /// The place in `orchestrators` of the one that answered last.
    last_good: AtomicUsize,
    /// Whether the listener was told that nobody serves.
    is_out_of_contact: AtomicBool,
}

impl Client {
    /// A client of the cluster whose orchestrators have these base URLs. Nothing is sent yet.
    pub fn new<U: AsRef<str>>(urls: impl IntoIterator<Item = U>, token: Option<&str>) -> Result<Self, Error> {
        let orchestrators =
            urls.into_iter().map(|url| base_url(url.as_ref())).collect::<Result<Vec<Url>, Error>>()?;
        if orchestrators.is_empty() {
            return Err(Error::NoAddress);
        }
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let mut bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Error::Token)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .default_headers(headers)
            .build()
            .map_err(|_| Error::Token)?;
        let inner =
            Inner { http, orchestrators, last_good: AtomicUsize::new(0), is_out_of_contact: false.into() };
        Ok(Self { inner: Arc::new(inner), patience: PATIENCE, listener: None })
    }

    /// The same client with another time that a call goes on looking for an orchestrator; 30 s unless
    /// set.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// The same client, which tells `listener` when a call has found nobody for more than a second, and
    /// when somebody serves again.
    #[must_use]
    pub fn with_listener(&self, listener: impl Fn(Contact<'_>) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Listener::new(listener)), ..self.clone() }
    }

    /// The base URLs that it was given.
    #[must_use]
    pub fn orchestrators(&self) -> &[Url] {
        &self.inner.orchestrators
    }

    /// The orchestrator that answered last, or the first one when none has yet.
    #[must_use]
    pub fn orchestrator(&self) -> &Url {
        let (_, url) = self.nth(self.last_good());
        url
    }

    fn last_good(&self) -> usize {
        self.inner.last_good.load(Ordering::Relaxed)
    }

    fn nth(&self, n: usize) -> (usize, &Url) {
        let place = n % self.inner.orchestrators.len();
        (place, &self.inner.orchestrators[place])
    }

    fn remember(&self, place: usize) {
        self.inner.last_good.store(place, Ordering::Relaxed);
    }
}

fn base_url(text: &str) -> Result<Url, Error> {
    let bad = || Error::Address { address: text.to_owned() };
    let url: Url = text.trim().parse().map_err(|_| bad())?;
    let usable = url.scheme() == "http" && url.has_host() && url.path() == "/" && url.query().is_none();
    if usable { Ok(url) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_servers_are_taken() {
        assert!(Client::new(["http://127.0.0.1:3002", " http://clb-orchestrator-2:3012/"], None).is_ok());
        for bad in ["127.0.0.1:3002", "https://127.0.0.1:3002", "http://a/b", "", "http://a?x"] {
            assert!(matches!(Client::new([bad], None), Err(Error::Address { .. })), "{bad:?}");
        }
        assert!(matches!(Client::new([""; 0], None), Err(Error::NoAddress)));
    }

    #[test]
    fn a_token_is_never_shown() {
        let client = Client::new(["http://127.0.0.1:1"], Some("secret-token")).unwrap();
        assert!(!format!("{client:?}").contains("secret-token"));
        assert!(matches!(Client::new(["http://127.0.0.1:1"], Some("a\nb")), Err(Error::Token)));
    }
}
