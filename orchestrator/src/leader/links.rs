//! The workers' links: where their orders go.
//!
//! What a worker does not take in waits in a queue of bounded length. A link whose queue is full is closed, as one
//! whose worker is gone.

use std::collections::BTreeMap;

use clb_core::input::LinkNo;
use clb_protocol::link::{ContainerIdentity, WorkerOrder};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// How many lines may wait for a worker. One that takes nothing in gives no results either, and so gets no more than
/// its slots, a line each, and the lines that everybody gets.
pub(crate) const QUEUE: usize = 1_024;

#[derive(Debug)]
struct Link {
    orders: mpsc::Sender<WorkerOrder>,
    identity: ContainerIdentity,
}

/// All open links, by number.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<LinkNo, Link>,
    /// Those that were closed because their workers take nothing in.
    stuck: Vec<LinkNo>,
    last: u64,
}

impl Links {
    pub(super) fn open(&mut self, orders: mpsc::Sender<WorkerOrder>, identity: ContainerIdentity) -> LinkNo {
        self.last += 1;
        let no = LinkNo(self.last);
        self.open.insert(no, Link { orders, identity });
        no
    }

    /// Ends a link: its stream of orders closes.
    pub(super) fn close(&mut self, no: LinkNo) -> bool {
        self.open.remove(&no).is_some()
    }

    pub(super) fn identity(&self, no: LinkNo) -> Option<&ContainerIdentity> {
        self.open.get(&no).map(|link| &link.identity)
    }

    /// Sends an order. A link that has just ended loses it, which its end makes known.
    pub(super) fn send(&mut self, no: LinkNo, order: WorkerOrder) {
        let Some(link) = self.open.get(&no) else { return };
        if let Err(TrySendError::Full(_)) = link.orders.try_send(order) {
            tracing::warn!("{} takes in no orders: its link is closed", link.identity.name);
            self.open.remove(&no);
            self.stuck.push(no);
        }
    }

    /// Sends something to everybody.
    pub(super) fn send_all(&mut self, order: &WorkerOrder) {
        let all: Vec<LinkNo> = self.open.keys().copied().collect();
        for no in all {
            self.send(no, order.clone());
        }
    }

    /// Takes the links that were closed because nobody read them.
    pub(super) fn take_stuck(&mut self) -> Vec<LinkNo> {
        std::mem::take(&mut self.stuck)
    }
}

#[cfg(test)]
mod tests {
    use clb_protocol::link::ContainerRole;

    use super::*;

    #[test]
    fn a_link_that_nobody_reads_is_closed_and_the_others_are_not() {
        let mut links = Links::default();
        let identity = |name: &str| ContainerIdentity {
            name: name.into(),
            id: name.into(),
            role: ContainerRole::Worker,
        };
        let (orders, _unread) = mpsc::channel(2);
        let stuck = links.open(orders, identity("worker-1"));
        let (orders, mut read) = mpsc::channel(2);
        let alive = links.open(orders, identity("worker-2"));
        for _ in 0..5 {
            links.send_all(&WorkerOrder::Ping);
            assert!(matches!(read.try_recv(), Ok(WorkerOrder::Ping)));
        }
        assert_eq!(links.take_stuck(), [stuck]);
        assert_eq!(links.take_stuck(), []);
        assert!(links.identity(stuck).is_none() && links.identity(alive).is_some());
    }
}
