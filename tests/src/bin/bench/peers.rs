//! What other queues on this machine take for one task that does nothing, from sending it until its caller knows that
//! it is done: those that are installed, started here with a folder of their own.
//!
//! `beanstalkd -f 0` writes each change durably before it answers, as CLB does; it has no results, so its worker tells
//! the caller once it has deleted the job. `gearmand` keeps jobs in memory only.

mod beanstalkd;
mod gearmand;

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{quantile, rounded};

const SAMPLES: usize = 1_000;
/// As between the tasks of CLB.
const REST: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(10);

/// Measures the peers that are there; of the others it says that they are not.
pub(crate) async fn measure() -> Value {
    let measure = || {
        json!({
            "beanstalkd": figures_of("beanstalkd", beanstalkd::measure()),
            "gearmand": figures_of("gearmand", gearmand::measure()),
        })
    };
    tokio::task::spawn_blocking(measure).await.expect("a thread")
}

fn figures_of(peer: &str, measured: io::Result<Value>) -> Value {
    measured.unwrap_or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => "not installed".into(),
        _ => panic!("{peer}: {error}"),
    })
}

/// A server that ends with this.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts a program that is told its port by `arguments` and waits until it listens.
    fn start(program: &str, arguments: impl FnOnce(&str) -> Vec<String>) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(arguments(&port.to_string())).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { process: command.spawn()?, port };
        let began = Instant::now();
        while server.connect().is_err() {
            if began.elapsed() > START_LIMIT {
                return Err(io::Error::other("it does not listen"));
            }
            std::thread::sleep(REST);
        }
        Ok(server)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Sends one task after the other on an idle machine.
fn figures(mut send_one: impl FnMut() -> io::Result<()>) -> io::Result<Value> {
    let mut took = Vec::new();
    for _ in 0..SAMPLES {
        std::thread::sleep(REST);
        let began = Instant::now();
        send_one()?;
        took.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(json!({"p50": rounded(quantile(&took, 0.5)), "p99": rounded(quantile(&took, 0.99))}))
}
