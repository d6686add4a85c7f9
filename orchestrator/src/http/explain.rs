//! Why a task waits, or why it ran where it ran: the leader says what it remembers, the store the rest.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use clb_protocol::api::{AttemptView, Explanation, TaskState, TaskView};

use super::Door;
use super::problem::Refusal;
use super::tasks::{find, task_id};
use crate::leader::Explained;

pub(super) async fn explain(
    State(door): State<Door>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Explanation>, Refusal> {
    let id = task_id(id)?;
    let leader = door.leader()?;
    let placed = match leader.explain(id).await.ok_or_else(Refusal::no_leader)? {
        Explained::Open(explanation) => return Ok(Json(*explanation)),
        Explained::Arriving => return Err(Refusal::unknown_task()),
        Explained::Ended(placed) => placed,
    };
    // Its end may be on its way to the disk.
    leader.ended(id).await.ok_or_else(Refusal::no_leader)?;
    let task = find(&door, id).await?;
    let (placement, candidates) =
        placed.map_or((None, Vec::new()), |(placement, candidates)| (Some(placement), candidates));
    let summary = summary(&task);
    Ok(Json(Explanation { id, state: task.state, summary, waiting: None, placement, candidates }))
}

/// How a task came to its end, as its attempts tell.
fn summary(task: &TaskView) -> String {
    let Some((last, former)) = task.attempts.split_last() else {
        return match task.state {
            TaskState::Cancelled => "Was cancelled before it ran.".to_owned(),
            state => format!("Is {}; no attempt is on record.", state.as_str()),
        };
    };
    let outcome = match task.state {
        TaskState::Succeeded => "Succeeded",
        TaskState::Failed => "Failed",
        TaskState::Cancelled => "Was cancelled",
        TaskState::Queued => "Waits again after it ran",
        TaskState::Running => "Runs",
    };
    let lasted = last.ended_at.map_or(String::new(), |ended_at| {
        format!(" after {:.1} s", ended_at.since(last.started_at).as_secs_f64())
    });
    let mut sentences = vec![format!("{outcome} on {} as attempt {}{lasted}", last.worker, last.attempt)];
    if task.state == TaskState::Failed {
        sentences.extend(said(last));
    }
    sentences.extend(former.iter().map(|attempt| {
        let said = said(attempt).unwrap_or_else(|| "its end is not on record".to_owned());
        format!("Attempt {} was on {}: {said}", attempt.attempt, attempt.worker)
    }));
    sentences.join(". ") + "."
}

fn said(attempt: &AttemptView) -> Option<String> {
    let detail = attempt.verdict.as_ref()?.detail.trim_end_matches('.');
    (!detail.is_empty()).then(|| detail.to_owned())
}

#[cfg(test)]
mod tests {
    use clb_protocol::api::{Verdict, VerdictKind};
    use clb_protocol::task::{Number, TaskRequest, Work};
    use clb_protocol::{AttemptNo, Epoch, TaskId, Timestamp};

    use super::*;

    fn attempt(no: u32, worker: &str, verdict: Option<Verdict>) -> AttemptView {
        AttemptView {
            attempt: AttemptNo(no),
            worker: worker.to_owned(),
            epoch: Epoch(1),
            started_at: Timestamp(0),
            ended_at: Some(Timestamp(2_500_000)),
            verdict,
        }
    }

    fn ended(state: TaskState, attempts: Vec<AttemptView>) -> TaskView {
        let request = TaskRequest::new(Work::sleep(0.0, [Number::Integer(0); 2]));
        let new = request.check(TaskId::now(), None, Timestamp(0)).unwrap();
        TaskView { state, attempts, ..TaskView::accepted(&new, Timestamp(0)).unwrap() }
    }

    #[test]
    fn the_end_of_a_task_is_told_with_all_its_attempts() {
        let killed = Verdict::new(VerdictKind::Killed, "Signal 9 ended it");
        let attempts = vec![
            attempt(1, "worker-1", Some(killed.clone())),
            attempt(2, "worker-2", Some(Verdict::new(VerdictKind::Succeeded, "It gave a result"))),
        ];
        assert_eq!(
            summary(&ended(TaskState::Succeeded, attempts)),
            "Succeeded on worker-2 as attempt 2 after 2.5 s. Attempt 1 was on worker-1: Signal 9 ended it."
        );
        let failed = ended(TaskState::Failed, vec![attempt(1, "worker-1", Some(killed))]);
        assert_eq!(summary(&failed), "Failed on worker-1 as attempt 1 after 2.5 s. Signal 9 ended it.");
    }

    #[test]
    fn a_task_that_never_ran_has_no_worker_to_tell_of() {
        assert_eq!(summary(&ended(TaskState::Cancelled, Vec::new())), "Was cancelled before it ran.");
    }
}
