//! Callers who wait for news of a task, and let go when they hang up.

use std::collections::BTreeMap;

use clb_protocol::TaskId;
use tokio::sync::oneshot;

/// Up to so many are not looked through for those who hung up.
const FEW: usize = 64;

/// Where an answer goes.
pub(super) trait Reply {
    /// Whether nobody waits for it any more.
    fn is_closed(&self) -> bool;
}

impl<T> Reply for oneshot::Sender<T> {
    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }
}

/// Callers by task. There are never more than [`FEW`], or than twice those who waited when all were last looked
/// through.
#[derive(Debug)]
pub(super) struct Callers<R> {
    by_task: BTreeMap<TaskId, Vec<R>>,
    count: usize,
    sweep_at: usize,
}

impl<R> Default for Callers<R> {
    fn default() -> Self {
        Self { by_task: BTreeMap::new(), count: 0, sweep_at: FEW }
    }
}

impl<R: Reply> Callers<R> {
    pub(super) fn add(&mut self, task: TaskId, reply: R) {
        if self.count >= self.sweep_at {
            self.sweep();
        }
        self.by_task.entry(task).or_default().push(reply);
        self.count += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_task.is_empty()
    }

    /// Whether anybody waits for this task.
    pub(super) fn wait_for(&self, task: TaskId) -> bool {
        self.by_task.contains_key(&task)
    }

    /// Takes out all who wait for this task.
    pub(super) fn take(&mut self, task: TaskId) -> Vec<R> {
        self.take_if(task, |_| true)
    }

    /// Takes out those of them whose time has come.
    pub(super) fn take_if(&mut self, task: TaskId, is_due: impl Fn(&R) -> bool) -> Vec<R> {
        let Some(waiting) = self.by_task.get_mut(&task) else { return Vec::new() };
        let due: Vec<R> = waiting.extract_if(.., |reply| is_due(reply)).collect();
        if waiting.is_empty() {
            self.by_task.remove(&task);
        }
        self.count -= due.len();
        due
    }

    fn sweep(&mut self) {
        self.by_task.retain(|_, waiting| {
            waiting.retain(|reply| !reply.is_closed());
            !waiting.is_empty()
        });
        self.count = self.by_task.values().map(Vec::len).sum();
        self.sweep_at = FEW.max(2 * self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_who_hung_up_do_not_pile_up_and_those_who_wait_are_kept() {
        let mut callers = Callers::default();
        let task = |n: u32| TaskId::from_bytes(u128::from(n).to_be_bytes());
        let waiting: Vec<_> = (0..100)
            .map(|n| {
                let (reply, answer) = oneshot::channel::<()>();
                callers.add(task(n), reply);
                answer
            })
            .collect();
        for n in 0..10_000 {
            callers.add(task(n % 1_000), oneshot::channel().0);
            let kept: usize = callers.by_task.values().map(Vec::len).sum();
            assert!(kept == callers.count && kept <= 201, "{kept}");
        }
        for (n, mut answer) in (0..).zip(waiting) {
            for reply in callers.take(task(n)) {
                let _ = reply.send(());
            }
            answer.try_recv().unwrap();
        }
    }
}
