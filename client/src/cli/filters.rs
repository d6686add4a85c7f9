//! Which tasks: the options that choose among them.

use clb_client::protocol::PoolName;
use clb_client::protocol::api::{TaskSelection, TaskState};
use clb_client::{Client, TaskFilter};

use super::values::{parse_pair, state};
use super::{absent, completion};
use crate::failure::Failure;

/// See the module.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Which tasks")]
pub(super) struct Filters {
    /// Only tasks in this state
    #[arg(long, value_name = "STATE", value_parser = state())]
    state: Option<TaskState>,
    /// Only tasks in this pool
    #[arg(long, value_name = "POOL", add = completion::pool())]
    pool: Option<String>,
    /// Only tasks in this group
    #[arg(long, value_name = "TEXT", add = completion::group())]
    group: Option<String>,
    /// Only tasks with this label; repeatable
    #[arg(long = "label", value_name = "NAME=TEXT", value_parser = parse_pair)]
    labels: Vec<(String, String)>,
}

impl Filters {
    /// Fails when nothing fits because a group or a pool of that name does not exist.
    pub(super) async fn check_names(&self, client: &Client) -> Result<(), Failure> {
        if let Some(group) = &self.group {
            absent::check_group(group, client).await?;
        }
        if let Some(pool) = &self.pool {
            absent::check_pool(pool, client).await?;
        }
        Ok(())
    }

    /// For a list of at most `limit` a page.
    pub(super) fn list(&self, limit: u32) -> TaskFilter {
        TaskFilter {
            id: None,
            state: self.state,
            is_replayed: None,
            pool: self.pool.clone(),
            group: self.group.clone(),
            labels: self.labels.iter().cloned().collect(),
            limit: Some(limit),
            cursor: None,
        }
    }

    /// For a change of many.
    pub(super) fn selection(&self) -> TaskSelection {
        TaskSelection {
            state: self.state,
            pool: self.pool.as_deref().map(PoolName::from),
            group: self.group.clone(),
            labels: self.labels.iter().cloned().collect(),
        }
    }
}
