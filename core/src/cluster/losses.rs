//! Attempts that were lost with their workers, and the verdicts on them, which come later.

use clb_protocol::api::{Verdict, VerdictKind};
use clb_protocol::{AttemptNo, TaskId};

use crate::clock::Moment;
use crate::fleet::{Held, SlotKey};
use crate::output::{Change, Ending, Note, Output};
use crate::task::{Phase, Repeat};

use super::Cluster;
use super::outcomes::last_words;

impl Cluster {
    /// Everything that a slot's worker runs is lost; why is found out later.
    pub(super) fn lose_running(&mut self, key: &SlotKey, now: Moment, out: &mut Output) {
        for (id, Held { attempt, .. }) in self.fleet.take_running(key) {
            if self.tasks.is_current(id, attempt) {
                self.lose(id, key, now, out);
            }
        }
    }

    /// The current attempt was lost with its worker; why is not known yet, so it counts for now.
    fn lose(&mut self, id: TaskId, key: &SlotKey, now: Moment, out: &mut Output) {
        let Some(task) = self.tasks.charge(id) else { return };
        let (is_exhausted, Some(running)) = (task.is_exhausted(), task.running()) else { return };
        let attempt = running.attempt;
        out.changes.push(Change::AttemptEnded { task: id, attempt, at: now.at, verdict: None, costs: true });
        self.fleet.note_loss(key, (id, attempt), now);
        if is_exhausted {
            self.tasks.await_verdict(id);
        } else {
            self.tasks.come_back(id, now);
        }
    }

    /// Attempts that the store shows as running on containers that are not there.
    pub(super) fn lose_unclaimed(&mut self, now: Moment, out: &mut Output) {
        for (worker, attempts) in self.fleet.take_unclaimed() {
            for (id, attempt) in attempts {
                if self.tasks.is_current(id, attempt) {
                    let detail = "The container was gone when a new leader looked for it";
                    self.fail(id, &Verdict::new(VerdictKind::HostLost, detail), None, now, out);
                }
            }
            out.notes
                .push(Note::Fleet(format!("{worker} is gone; slot {} gets a new container", worker.slot)));
        }
        let unjudgeable = self.fleet.take_unjudgeable();
        let verdict = Verdict::new(VerdictKind::HostLost, "Its slot is gone and nobody can tell how it died");
        self.judge(unjudgeable, &verdict, now, out);
    }

    /// Pronounces the verdict on every attempt that was lost in a slot.
    pub(super) fn pronounce(&mut self, key: &SlotKey, verdict: &Verdict, now: Moment, out: &mut Output) {
        let lost = self.fleet.take_unjudged(key);
        self.judge(lost, verdict, now, out);
    }

    /// Pronounces the verdict on these lost attempts.
    pub(super) fn judge(
        &mut self,
        lost: Vec<(TaskId, AttemptNo)>,
        verdict: &Verdict,
        now: Moment,
        out: &mut Output,
    ) {
        let costs = !matches!(verdict.kind, VerdictKind::Stopped | VerdictKind::Drained);
        for (id, attempt) in lost {
            out.changes.push(Change::AttemptJudged { task: id, attempt, verdict: verdict.clone(), costs });
            if !costs {
                self.tasks.refund(id);
            }
            let Some(task) = self.tasks.get(id) else { continue };
            match task.phase() {
                // What costs nothing is no reason to rest.
                Phase::Resting { .. } if !costs && task.last_attempt == attempt => self.tasks.put_back(id),
                Phase::Undecided(_) if !task.is_exhausted() => self.tasks.put_back(id),
                Phase::Undecided(_) if !self.fleet.is_unjudged(id) => {
                    let error = last_words(task, verdict, Repeat::MayHelp);
                    self.end(id, Ending::Failed(error, None), None, Some(verdict.clone()), now, out);
                }
                _ => {}
            }
        }
    }
}
