//! An orchestrator as a worker sees it: axum on a loopback port, the link as the protocol has it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use clb_protocol::Epoch;
use clb_protocol::link::{AttemptResult, Misdirected, Welcome, WorkerHello, WorkerOrder, WorkerReport};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::Frame;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Long enough for the slowest machine; no test waits so long when things go well.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the orchestrator does with a request for a link.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Lead,
    LeadFor(String),
    Misdirect(String),
    Hold,
}

struct Shared {
    answer: Mutex<Answer>,
    epoch: Mutex<u64>,
    asked: Notify,
    links: mpsc::UnboundedSender<LeaderLink>,
}

pub(super) struct Leader {
    pub(super) url: String,
    shared: Arc<Shared>,
    links: mpsc::UnboundedReceiver<LeaderLink>,
}

/// The leader's end of a link.
pub(super) struct LeaderLink {
    pub(super) hello: WorkerHello,
    pub(super) orders: mpsc::Sender<WorkerOrder>,
    epoch: u64,
    reports: mpsc::UnboundedReceiver<WorkerReport>,
}

impl Leader {
    pub(super) async fn start(epoch: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, links) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            answer: Mutex::new(Answer::Lead),
            epoch: Mutex::new(epoch),
            asked: Notify::new(),
            links: tell,
        });
        let router = Router::new().route("/link/v1/worker", post(open)).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared, links }
    }

    pub(super) fn answer(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap() = answer;
    }

    pub(super) fn lead(&self, epoch: u64) {
        *self.shared.epoch.lock().unwrap() = epoch;
    }

    pub(super) async fn accept(&mut self) -> LeaderLink {
        timeout(PATIENCE, self.links.recv()).await.expect("no worker came").unwrap()
    }

    pub(super) async fn accept_in_term(&mut self, epoch: u64) -> LeaderLink {
        loop {
            let link = self.accept().await;
            if link.epoch == epoch {
                return link;
            }
        }
    }

    pub(super) async fn was_asked(&mut self) -> bool {
        timeout(PATIENCE, self.shared.asked.notified()).await.is_ok()
    }
}

impl LeaderLink {
    pub(super) async fn say(&self, order: WorkerOrder) {
        // A worker that has gone already hears nothing; the test looks at what it said.
        let _ = self.orders.send(order).await;
    }

    pub(super) async fn ack(&self, result: &AttemptResult) {
        self.say(WorkerOrder::Ack(vec![(result.task, result.attempt)])).await;
    }

    /// The next report of that kind.
    pub(super) async fn report_with(&mut self, wanted: impl Fn(&WorkerReport) -> bool) -> WorkerReport {
        loop {
            let next = timeout(PATIENCE, self.reports.recv()).await.expect("the worker says nothing");
            let report = next.expect("the worker ended the link");
            if wanted(&report) {
                return report;
            }
        }
    }

    /// The one result of the next report that has any.
    pub(super) async fn result(&mut self) -> AttemptResult {
        let mut report = self.report_with(|report| !report.finished.is_empty()).await;
        assert_eq!(report.finished.len(), 1);
        report.finished.remove(0)
    }

    /// Waits until the worker has ended the link; what it said until then.
    pub(super) async fn ended(&mut self) -> Vec<WorkerReport> {
        let mut said = Vec::new();
        while let Some(report) = timeout(PATIENCE, self.reports.recv()).await.expect("the link stays open") {
            said.push(report);
        }
        said
    }
}

async fn open(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    shared.asked.notify_one();
    let answer = shared.answer.lock().unwrap().clone();
    match answer {
        Answer::Lead => lead(&shared, request),
        Answer::LeadFor(authorization) => match request.headers().get("authorization") {
            Some(given) if *given == *authorization => lead(&shared, request),
            _ => StatusCode::UNAUTHORIZED.into_response(),
        },
        Answer::Misdirect(leader) => {
            (StatusCode::MISDIRECTED_REQUEST, axum::Json(Misdirected { leader })).into_response()
        }
        Answer::Hold => std::future::pending().await,
    }
}

fn lead(shared: &Arc<Shared>, request: Request) -> Response {
    let epoch = *shared.epoch.lock().unwrap();
    let (orders, say) = mpsc::channel(64);
    let welcome = Welcome {
        epoch: Epoch(epoch),
        leader: "orchestrator-1".into(),
        port: 3002,
        orchestrators: Vec::new(),
    };
    orders.try_send(WorkerOrder::Welcome(welcome)).unwrap();
    tokio::spawn(listen(Arc::clone(shared), request.into_body(), orders, epoch));
    Body::new(Orders(say)).into_response()
}

/// Reads the request's body while the response's body is still being written.
async fn listen(shared: Arc<Shared>, mut body: Body, orders: mpsc::Sender<WorkerOrder>, epoch: u64) {
    let (tell, reports) = mpsc::unbounded_channel();
    let mut opening = Some((orders, reports));
    let mut buffer = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = buffer.drain(..=end).collect();
            if let Some((orders, reports)) = opening.take() {
                let hello = serde_json::from_slice(&line).unwrap();
                let _ = shared.links.send(LeaderLink { hello, orders, epoch, reports });
            } else if tell.send(serde_json::from_slice(&line).unwrap()).is_err() {
                return;
            }
        }
    }
}

struct Orders(mpsc::Receiver<WorkerOrder>);

impl hyper::body::Body for Orders {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|order| {
            order.map(|order| {
                let mut line = serde_json::to_vec(&order).unwrap();
                line.push(b'\n');
                Ok(Frame::data(line.into()))
            })
        })
    }
}
