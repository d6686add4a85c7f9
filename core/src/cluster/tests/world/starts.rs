//! What must hold whenever a task is given to a worker, by what is stored and not by what the reducer thinks.

use std::time::Duration;

use clb_protocol::api::VerdictKind;
use clb_protocol::task::{Retry, RetryOn};
use clb_protocol::{AttemptNo, TaskId};

use super::{Attempt, World};
use crate::fleet::Standing;
use crate::input::LinkNo;

impl World {
    pub(super) fn check_start(&self, link: LinkNo, task: TaskId, attempt: AttemptNo) {
        let row = &self.rows[&task];
        let is_there = self.containers.iter().find(|(_, (_, process))| process.link == Some(link));
        let Some((worker, _)) = is_there else { return };
        let started = row.attempts[&attempt].worker.as_ref().expect("a start that is stored");
        assert_eq!(
            (&started.0, started.1),
            (worker, self.epoch),
            "given by another leader, or to another worker"
        );
        assert_eq!(worker.pool, row.task.pool, "given to another pool");
        assert!(row.task.not_before.is_none_or(|until| until <= self.latest), "given before its time");
        let is_paused = self.pools.get(&row.task.pool).is_some_and(|pool| pool.is_paused);
        assert!(!is_paused, "a paused pool handed it out");
        let standing = self.standings.get(&(worker.pool.clone(), worker.slot));
        assert!(
            standing.is_none_or(|standing| *standing == Standing::Serve),
            "{worker} is drained and got it all the same"
        );
        let former: Vec<&Attempt> = row.attempts.range(..attempt).map(|(_, former)| former).collect();
        let retry = row.task.spec.retry.unwrap_or_default();
        let has_failed = |former: &&Attempt| {
            former.costs && matches!(former.verdict, Some(VerdictKind::Failed | VerdictKind::TimedOut))
        };
        assert!(retry.on == RetryOn::Any || !former.iter().any(has_failed), "a failure was repeated");
        let spent: Vec<&&Attempt> = former.iter().filter(|former| former.costs).collect();
        if let Some(last) = spent.last().and_then(|last| last.ended_at) {
            let rested = self.now.since(last);
            assert!(rested >= least_rest(&retry, spent.len()), "it rested only {rested:?} of {retry:?}");
        }
    }
}

/// How long a task rests at least after so many spent attempts; a millisecond less for what is rounded.
fn least_rest(retry: &Retry, spent: usize) -> Duration {
    let (first, without_rest) = retry.delay.map_or((0.5, 2), |delay| (delay, 1));
    let Some(growths) = spent.checked_sub(without_rest) else { return Duration::ZERO };
    let plain = (first * retry.factor.powi(growths as i32)).min(retry.max_delay);
    Duration::from_secs_f64(plain * (1.0 - retry.jitter)).saturating_sub(Duration::from_millis(1))
}
