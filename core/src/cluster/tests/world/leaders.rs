//! A leader dies, and another one takes over from what is stored.

use clb_protocol::{AttemptNo, TaskId};

use super::{Attempt, Row, World};
use crate::Restoration;
use crate::input::{Restored, RestoredTask};
use crate::task::RunningAttempt;

impl World {
    /// The leader dies; a standby takes over from what is stored.
    pub(in crate::cluster::tests) fn change_leader(&mut self) {
        self.epoch = self.epoch.next();
        self.actions.clear();
        self.unsaved.clear();
        self.build_told = Some(self.build);
        self.forget_measures();
        for (_, process) in self.containers.values_mut() {
            process.link = None;
        }
        let restored = Restored {
            epoch: self.epoch,
            pools: self.pools.values().cloned().collect(),
            generations: self.generations.iter().map(|((pool, no), g)| (pool.clone(), *no, *g)).collect(),
            standings: self.standings.iter().map(|((pool, no), s)| (pool.clone(), *no, *s)).collect(),
            last_submission: self.rows.values().map(|row| row.seq).max().unwrap_or_default(),
            last_outcome: self.last_outcome,
            ended: [0; 3],
        };
        let mut restoration = Restoration::begin(self.config.clone(), restored, self.now);
        for open in self.rows.iter().filter(|(_, row)| row.ending.is_none()) {
            restoration.add(restored_task(open), self.now);
        }
        self.cluster = restoration.finish(self.now);
    }
}

fn restored_task((id, row): (&TaskId, &Row)) -> RestoredTask {
    let known = |no: &AttemptNo, attempt: &Attempt| {
        let (worker, epoch, started_at) = attempt.worker.clone()?;
        Some(RunningAttempt { attempt: *no, worker, epoch, started_at })
    };
    let open = row.attempts.iter().rfind(|(_, attempt)| !attempt.has_ended);
    let unjudged = row.attempts.iter().filter(|(_, attempt)| attempt.has_ended && attempt.verdict.is_none());
    RestoredTask {
        id: *id,
        seq: row.seq,
        pool: row.task.pool.clone(),
        priority: row.task.priority,
        submitted_at: row.submitted_at,
        not_before: row.task.not_before,
        max_attempts: row.task.spec.max_attempts,
        timeout_seconds: 3_600.0,
        retry: row.task.spec.retry,
        spent: u32::try_from(row.attempts.values().filter(|attempt| attempt.costs).count()).unwrap(),
        last_attempt: row.attempts.keys().next_back().copied().unwrap_or_default(),
        rests_since: row
            .attempts
            .values()
            .next_back()
            .filter(|last| last.costs)
            .and_then(|last| last.ended_at)
            .map(|at| at.at),
        open: open.and_then(|(no, attempt)| known(no, attempt)),
        unjudged: unjudged.filter_map(|(no, attempt)| known(no, attempt)).collect(),
    }
}
