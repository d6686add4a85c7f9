//! The client of CLB as a library: it finds the leader, follows it through a take-over, and repeats
//! what went unanswered.
//!
//! Repeating is safe because the client makes the ids: a task that is submitted twice is submitted
//! once. Any orchestrator answers every request (a standby forwards), so [`Client`] asks the one that
//! answered last and goes through the others when it does not.
//!
//! ```
//! use clb_client::protocol::task::{Number, TaskRequest, Work};
//! use clb_client::Client;
//! use futures::StreamExt as _;
//! use std::time::Duration;
//!
//! # #[path = "../tests/stand_in/mod.rs"]
//! # mod stand_in;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), clb_client::Error> {
//! # let cluster = stand_in::StandIns::start([stand_in::Manner::Serves]).await;
//! # cluster.employ_sleepers();
//! # let addresses = cluster.urls();
//! # /*
//! let addresses = ["http://127.0.0.1:3002", "http://127.0.0.1:3012"];
//! # */
//! let client = Client::new(addresses, None)?;
//!
//! let sum = [Number::Integer(3), Number::Integer(4)];
//! let task = client.submit(TaskRequest::new(Work::sleep(0.5, sum))).await?;
//! let task = client.wait(task.id, Duration::from_secs(10)).await?;
//! println!("{}: {:?}", task.state.as_str(), task.result);
//! # assert_eq!(task.result.unwrap().get(), r#"{"sum":7}"#);
//!
//! let mut outcomes = std::pin::pin!(client.outcomes(Default::default(), None));
//! while let Some(outcome) = outcomes.next().await {
//!     println!("{}", outcome?.task.id);
//! #   break;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/` has a command, a pool, and a group with a stream that ends with it.
//!
//! Not here: the web page and the command line, which are the binary `clb`. They and all that only they depend on are the
//! feature `cli`, which is on unless `default-features = false` says otherwise.

mod api;
mod error;

pub use api::{Client, Contact, Event, EventType, OutputStream, TaskFilter};
pub use clb_protocol as protocol;
pub use error::{Error, Fault, Setback};
