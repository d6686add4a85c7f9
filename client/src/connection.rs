//! Where the cluster is: the options that every command shares.

use std::io::Write as _;
use std::time::Duration;

use clb_client::{Client, Contact};

use crate::cli::values::parse_span;
use crate::config::Config;
use crate::failure::Failure;

const DEFAULT_URLS: [&str; 2] = ["http://127.0.0.1:3002", "http://127.0.0.1:3012"];

/// How to reach the cluster.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct ClusterOptions {
    /// Base URLs of the orchestrators, separated by commas [default: those in ~/.config/clb/config.toml, or
    /// ports 3002 and 3012 of 127.0.0.1]
    #[arg(long = "url", env = "CLB_URL", value_name = "URL", value_delimiter = ',', global = true)]
    urls: Vec<String>,
    /// The cluster's token. A token in the configuration file is only sent to the addresses in that file
    #[arg(long, env = "CLB_TOKEN", hide_env_values = true, value_name = "TOKEN", global = true)]
    token: Option<String>,
    /// How long to keep trying to reach an orchestrator
    #[arg(
        long,
        env = "CLB_PATIENCE",
        value_name = "DURATION",
        default_value = "60",
        value_parser = parse_span,
        global = true
    )]
    patience: Duration,
}

impl ClusterOptions {
    /// A client of that cluster.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let config = Config::load()?;
        let said = |urls: &[String]| -> Vec<String> {
            urls.iter().filter(|url| !url.trim().is_empty()).cloned().collect()
        };
        // The file's token is for the file's cluster: an address from elsewhere must not be told it.
        let (urls, noted) = match (said(&self.urls), said(&config.url)) {
            (urls, _) if !urls.is_empty() => (urls, None),
            (_, urls) if !urls.is_empty() => (urls, config.token),
            _ => (DEFAULT_URLS.map(str::to_owned).to_vec(), config.token),
        };
        let token = self.token.clone().or(noted).filter(|token| !token.is_empty());
        Ok(Client::new(urls, token.as_deref())?)
    }

    /// The same for a command with a person in front of it, who is told of outages.
    pub(crate) fn talking_client(&self) -> Result<Client, Failure> {
        let client = self.client()?.with_patience(self.patience);
        let others =
            if client.orchestrators().len() > 1 { "; no other orchestrator answers either" } else { "" };
        Ok(client.with_listener(move |contact| {
            // Nobody is left to be told when standard error is closed.
            let _ = match contact {
                Contact::Lost { setback, left } => writeln!(
                    std::io::stderr(),
                    "clb: {}{others}, retrying for another {:.0} s",
                    setback.to_string().trim_end_matches('.'),
                    left.as_secs_f64()
                ),
                Contact::Regained(url) => {
                    writeln!(std::io::stderr(), "clb: {} answers again", url.as_str().trim_end_matches('/'))
                }
            };
        }))
    }
}
