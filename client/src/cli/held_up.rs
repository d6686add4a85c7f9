//! What holds a task up, told to whoever waits for it: only what does not go by as other tasks end, and each thing once.

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use clb_client::Client;
use clb_client::protocol::TaskId;
use clb_client::protocol::api::{WaitReason, Waiting};
use tokio::time::sleep;

use super::output::{remark, safe};
use super::progress::Progress;

/// A task that is started within this time is not worth a question.
const FIRST_LOOK: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// Does `work`, and tells meanwhile what holds up the task that stands in `open`, beside the progress that is shown.
pub(super) async fn told<T>(
    client: &Client,
    open: &Cell<Option<TaskId>>,
    progress: Option<&Progress>,
    work: impl Future<Output = T>,
) -> T {
    tokio::select! {
        done = work => done,
        never = tell(client, open, progress) => match never {},
    }
}

async fn tell(client: &Client, open: &Cell<Option<TaskId>>, progress: Option<&Progress>) -> Infallible {
    let mut last = None;
    sleep(FIRST_LOOK).await;
    loop {
        if let Some(id) = open.get()
            // Whoever waits for the task learns by that what is wrong with the cluster.
            && let Ok(explanation) = client.explain(id).await
        {
            let waiting = explanation.waiting.filter(|waiting| is_obstacle(waiting.reason));
            let reason = waiting.as_ref().map(|waiting| waiting.reason);
            if let Some(waiting) = waiting.filter(|_| reason != last) {
                let text = sentence(id, &waiting);
                match progress {
                    Some(progress) => progress.suspended(|| remark(text)),
                    None => remark(text),
                }
            }
            last = reason;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn is_obstacle(reason: WaitReason) -> bool {
    match reason {
        WaitReason::NoFreeSlot | WaitReason::BehindOthers | WaitReason::Settling => false,
        WaitReason::Resting
        | WaitReason::NotBefore
        | WaitReason::PoolPaused
        | WaitReason::PoolFailed
        | WaitReason::NoSuchPool
        | WaitReason::NoWorker
        | WaitReason::StoreUnavailable => true,
    }
}

fn sentence(id: TaskId, waiting: &Waiting) -> String {
    let until = waiting.until.map(|at| format!(" (until {at})")).unwrap_or_default();
    format!("task {id}: {}{until}", safe(&waiting.detail))
}
