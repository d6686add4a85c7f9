//! Where the cluster is: the options that every command shares.

use clb_client::{Client, Error};

/// How to reach the cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterOptions {
    /// Base URLs of the orchestrators, separated by commas; any of them answers for the cluster
    #[arg(
        long = "url",
        env = "CLB_URL",
        value_name = "URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:3002,http://127.0.0.1:3012"
    )]
    urls: Vec<String>,
    /// The cluster's token, where it has one
    #[arg(long, env = "CLB_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

impl ClusterOptions {
    /// A client of that cluster.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        let urls = self.urls.iter().filter(|url| !url.trim().is_empty());
        Client::new(urls, self.token.as_deref().filter(|token| !token.is_empty()))
    }
}
