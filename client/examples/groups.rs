//! Submits a group of tasks and takes in their outcomes as they come, until the group has ended.
//!
//!     cargo run -p clb-client --example groups
//!
//! The addresses are those of `CLB_URL`, with commas between them, or the usual one; the token is in `CLB_TOKEN`.

use std::error::Error;
use std::pin::pin;

use clb_client::Client;
use clb_client::protocol::task::{Number, TaskRequest, Work};
use clb_client::protocol::{OutcomeSeq, TaskId};
use futures::StreamExt as _;

const TASKS: i64 = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let urls = std::env::var("CLB_URL").unwrap_or_else(|_| "http://127.0.0.1:3002".to_owned());
    let token = std::env::var("CLB_TOKEN").ok();
    let client = Client::new(urls.split(','), token.as_deref())?;

    let group = format!("example-{}", TaskId::now());
    let tasks = (0..TASKS).map(|n| TaskRequest {
        group: Some(group.clone()),
        labels: [("n".to_owned(), n.to_string())].into(),
        ..TaskRequest::new(Work::sleep(0.2, [Number::Integer(n), Number::Integer(1)]))
    });
    for entry in client.submit_many(tasks.collect()).await? {
        if let Some(error) = entry.error {
            return Err(error.detail.into());
        }
    }

    let mut outcomes = pin!(client.group_outcomes(&group, OutcomeSeq(0)));
    while let Some(outcome) = outcomes.next().await {
        let task = outcome?.task;
        let result = task.result.as_ref().map_or("nothing", |result| result.get());
        println!(
            "{} {} on {}: {result}",
            task.labels["n"],
            task.state.as_str(),
            task.worker.unwrap_or_default()
        );
    }
    println!("all of {group} have ended");
    Ok(())
}
