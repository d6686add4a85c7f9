//! `clb healthcheck`: whether the web page of this machine answers. For container engines, in images
//! that have no other program to ask with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Where the web page listens.
#[derive(Debug, clap::Args)]
pub(crate) struct HealthcheckOptions {
    /// The address `clb serve` listens on
    #[arg(long, env = "CLB_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:3001")]
    listen: SocketAddr,
}

/// Why the page does not count as alive. The page's fault; ask again later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthcheckError {
    /// Nothing answered.
    #[error("{url} does not answer; is `clb serve` running?")]
    Silent {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    /// Something answered that all is not well.
    #[error("{url} answers {status}")]
    Unhealthy { url: String, status: u16 },
}

/// Asks once.
pub(crate) async fn run(options: &HealthcheckOptions) -> Result<(), HealthcheckError> {
    let url = format!("http://{}/healthz", reachable(options.listen));
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WITHIN).build()?;
        client.get(&url).send().await
    };
    match asked.await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(HealthcheckError::Unhealthy { url, status: response.status().as_u16() }),
        Err(source) => Err(HealthcheckError::Silent { url, source: source.without_url() }),
    }
}

/// An address to connect to, for one that was given to listen on.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_listens_everywhere_is_asked_on_loopback() {
        let asked = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(asked("0.0.0.0:3001"), "127.0.0.1:3001");
        assert_eq!(asked("[::]:3001"), "[::1]:3001");
        assert_eq!(asked("10.0.0.7:3001"), "10.0.0.7:3001");
    }
}
