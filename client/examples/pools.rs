//! Makes a pool of workers of an image, runs a command there, and deletes the pool.
//!
//!     cargo run -p clb-client --example pools -- IMAGE PROGRAM [ARGUMENT...]
//!
//! The addresses are those of `CLB_URL`, with commas between them, or the usual one; the token is in `CLB_TOKEN`.

use std::error::Error;
use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::api::PoolState;
use clb_client::protocol::pool::PoolSpec;
use clb_client::protocol::task::{Argv, Command, TaskRequest, Work};

const POOL: &str = "example";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let urls = std::env::var("CLB_URL").unwrap_or_else(|_| "http://127.0.0.1:3002".to_owned());
    let token = std::env::var("CLB_TOKEN").ok();
    let client = Client::new(urls.split(','), token.as_deref())?;

    let mut words = std::env::args().skip(1);
    let image = words.next().ok_or("give an image and a command")?;
    let command = Command::new(Argv::try_from(words.collect::<Vec<_>>())?);

    let spec = PoolSpec { image: Some(image), workers: 1, slots: 2, ..PoolSpec::default() };
    let mut pool = client.set_pool(POOL, &spec).await?;
    while pool.state != PoolState::Ready {
        if pool.state == PoolState::Failed {
            return Err(pool.reason.unwrap_or_default().into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        pool = client.pool(POOL).await?;
    }
    println!("{} of {} workers are ready", pool.workers.ready, pool.workers.wanted);

    let task = TaskRequest { pool: Some(POOL.to_owned()), ..TaskRequest::new(Work::Command(command)) };
    let task = client.submit(task).await?;
    let task = client.wait(task.id, Duration::from_mins(10)).await?;
    println!("{}: {}", task.state.as_str(), task.result.as_ref().map_or("no result", |result| result.get()));

    client.delete_pool(POOL).await?;
    Ok(())
}
