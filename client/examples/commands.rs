//! Runs a command on a worker and prints what it wrote.
//!
//!     cargo run -p clb-client --example commands -- POOL PROGRAM [ARGUMENT...]
//!
//! The addresses are those of `CLB_URL`, with commas between them, or the usual one; the token is in `CLB_TOKEN`.

use std::error::Error;
use std::io::Write as _;
use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::TaskId;
use clb_client::protocol::task::{Argv, Command, CommandResult, TaskRequest, Work};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let urls = std::env::var("CLB_URL").unwrap_or_else(|_| "http://127.0.0.1:3002".to_owned());
    let token = std::env::var("CLB_TOKEN").ok();
    let client = Client::new(urls.split(','), token.as_deref())?;

    let mut words = std::env::args().skip(1);
    let pool = words.next().ok_or("give a pool and a command")?;
    let command = Command::new(Argv::try_from(words.collect::<Vec<_>>())?);

    // With an id of one's own, a submission that was interrupted can be repeated without running it twice.
    let id = TaskId::now();
    let task = TaskRequest {
        id: Some(id),
        pool: Some(pool),
        timeout: Some(600.0),
        max_attempts: Some(2),
        ..TaskRequest::new(Work::Command(command))
    };
    client.submit(task).await?;

    let mut task = client.wait(id, Duration::from_mins(1)).await?;
    while !task.state.has_ended() {
        eprintln!("{id} is {}", task.state.as_str());
        task = client.wait(id, Duration::from_mins(1)).await?;
    }
    if let Some(error) = task.error {
        eprintln!("{}: {}", error.code, error.message);
    }
    if let Some(result) = task.result {
        let result: CommandResult = serde_json::from_str(result.get())?;
        std::io::stdout().write_all(&result.stdout.bytes)?;
        eprintln!("it ended with {:?} after {:.3} s", result.exit, result.duration);
    }
    Ok(())
}
