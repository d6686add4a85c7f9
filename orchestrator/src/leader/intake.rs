//! What the loop does with each message.

use clb_core::clock::Moment;
use clb_core::input::{Input, LinkNo};
use clb_core::output::{PoolReceipt, Receipt};
use clb_protocol::api::WorkerView;
use clb_protocol::link::{
    AttemptProgress, ContainerIdentity, ContainerRole, WorkerHello, WorkerOrder, WorkerReport,
};
use clb_protocol::{AttemptNo, TaskId, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::commit::Release;
use super::followers::{Whereabouts, whereabouts};
use super::inbox::{Explained, Message, PoolAnswer, Refused, Standing, Submission, Submitted};
use super::term::Term;

/// So many tasks are taken in at once.
const PIECE: usize = 1_000;

impl Term {
    pub(super) fn take_message(&mut self, message: Message, now: Moment) {
        match message {
            Message::Cancel { ids, which, reply } => {
                if let Some(reason) = &self.trouble {
                    return drop(reply.send(Err(Refused(reason.clone()))));
                }
                let receipts = self.handle(Input::CancelRequested { ids, which }, now).cancelled;
                self.pending.push_release(Release::Cancellation { receipts, reply });
            }
            Message::Explain { id, reply } => {
                let explained = match self.cluster.explain(id, now) {
                    Some(explanation) => Explained::Open(Box::new(explanation)),
                    None if self.cluster.is_open(id) => Explained::Arriving,
                    None => Explained::Ended(self.cluster.placement(id)),
                };
                drop(reply.send(explained));
            }
            Message::Pool { wish, reply } => self.change_pool(wish, reply, now),
            Message::Order { order, reply } => self.order(order, reply, now),
            Message::Pools(reply) => drop(reply.send(self.cluster.pools().collect())),
            Message::Watch { id, reply } => {
                if self.cluster.is_open(id) || self.ending.contains(&id) {
                    self.watchers.add(id, reply);
                } else {
                    let _ = reply.send(None);
                }
            }
            Message::Find { id, from, reply } => self.find(id, from, reply),
            Message::Joined { hello, orders, reply } => self.join(*hello, orders, reply, now),
            Message::Reported { link, report } => self.report(link, report, now),
            Message::Closed(link) => {
                if self.links.close(link) {
                    self.handle(Input::LinkClosed(link), now);
                }
            }
            Message::Fact(input) => drop(self.handle(input, now)),
            Message::Logs { container, lines, reply } => {
                let _ = reply.send(self.logbook.take_in(&container, lines, now.at));
                self.pending.ride();
            }
            Message::Member(member) => self.pending.push_member(member),
            Message::Orchestrators(urls) => {
                self.welcome.orchestrators = urls;
                self.links.send_all(&WorkerOrder::Welcome(self.welcome.clone()));
            }
            Message::Show(reply) => {
                let standing = Standing {
                    tasks: self.cluster.counts(),
                    workers: self.cluster.workers().collect(),
                    store_trouble: self.trouble.clone(),
                };
                drop(reply.send(standing));
            }
            Message::Retire(reply) => {
                self.retirement = Some(reply);
                self.handle(Input::Retired, now);
            }
            Message::StepDown => {
                self.stepping_down = true;
            }
        }
    }

    fn find(&mut self, id: TaskId, from: Option<AttemptNo>, reply: oneshot::Sender<Whereabouts>) {
        let is = if self.cluster.is_open(id) || self.ending.contains(&id) {
            whereabouts(&self.cluster, id)
        } else {
            Whereabouts::Ended
        };
        match (&is, from) {
            (Whereabouts::Waiting, Some(from)) => self.followers.add(id, from, reply),
            (Whereabouts::Running { attempt, .. }, Some(from)) if *attempt < from => {
                self.followers.add(id, from, reply);
            }
            _ => drop(reply.send(is)),
        }
    }

    fn change_pool(&mut self, wish: Input, reply: oneshot::Sender<Result<PoolAnswer, Refused>>, now: Moment) {
        if let Some(reason) = &self.trouble {
            return drop(reply.send(Err(Refused(reason.clone()))));
        }
        let name = match &wish {
            Input::PoolPut { name, .. } | Input::PoolPaused { name, .. } | Input::PoolRemoved(name) => {
                name.clone()
            }
            _ => return,
        };
        let receipt = self.handle(wish, now).pool.unwrap_or(PoolReceipt::Unknown);
        let answer = (receipt, self.cluster.pool(&name));
        self.pending.push_release(Release::Pool { answer, reply });
    }

    fn order(
        &mut self,
        order: Input,
        reply: oneshot::Sender<Result<Option<WorkerView>, Refused>>,
        now: Moment,
    ) {
        if let Some(reason) = &self.trouble {
            return drop(reply.send(Err(Refused(reason.clone()))));
        }
        let ordered = self.handle(order, now).ordered;
        let worker = ordered.and_then(|(pool, slot)| self.cluster.worker(&pool, slot)).map(Box::new);
        self.pending.push_release(Release::Order { worker, reply });
    }

    /// Takes in the tasks of a submission; of a large one a piece, so that links and callers have their turns between.
    pub(super) fn submit(&mut self, submission: Submission, now: Moment) {
        let Submission { mut tasks, mut statuses, reply } = submission;
        if let Some(reason) = &self.trouble {
            let ids = statuses.into_iter().map(|(id, _)| id).chain(tasks.iter().map(|task| task.id));
            drop(reply.send(ids.map(|id| (id, Submitted::Refused(reason.clone()))).collect()));
            return;
        }
        let rest = tasks.split_off(tasks.len().min(PIECE));
        let receipts = self.handle(Input::Submitted(tasks), now).receipts;
        statuses.extend(receipts.into_iter().map(|(id, receipt)| (id, status(receipt, now.at))));
        if rest.is_empty() {
            self.pending.push_release(Release::Submission { statuses, reply });
        } else {
            self.half_taken = Some(Submission { tasks: rest, statuses, reply });
        }
    }

    fn join(
        &mut self,
        hello: WorkerHello,
        orders: mpsc::Sender<WorkerOrder>,
        reply: oneshot::Sender<LinkNo>,
        now: Moment,
    ) {
        let identity = ContainerIdentity {
            name: hello.worker.name(),
            id: hello.container.clone(),
            role: ContainerRole::Worker,
        };
        self.logbook.number(&identity, now.at);
        let link = self.links.open(orders, identity);
        self.links.send(link, WorkerOrder::Welcome(self.welcome.clone()));
        let _ = reply.send(link);
        self.handle(Input::WorkerJoined { link, hello }, now);
    }

    fn report(&mut self, link: LinkNo, report: WorkerReport, now: Moment) {
        if !report.logs.is_empty()
            && let Some(identity) = self.links.identity(link)
        {
            self.logbook.take_in(identity, report.logs, now.at);
            self.pending.ride();
        }
        let leaving = report.leaving.map(|leaving| leaving.returned);
        self.handle(Input::WorkerReported { link, finished: report.finished, leaving }, now);
        for AttemptProgress { task, attempt, progress } in report.progress {
            let running = self.cluster.running_attempt(task).filter(|running| running.attempt == attempt);
            if let Some(worker) = running.map(|running| running.worker.name()) {
                self.feed.publish_progress(task, attempt, worker, progress, &self.news);
            }
        }
    }
}

fn status(receipt: Receipt, now: Timestamp) -> Submitted {
    match receipt {
        Receipt::Accepted => Submitted::Accepted(now),
        Receipt::Known => Submitted::Known,
        Receipt::QueueFull => Submitted::QueueFull,
        Receipt::NoSuchPool => Submitted::NoSuchPool,
    }
}
