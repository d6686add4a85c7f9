//! The workers' links: where their orders go.

use std::collections::BTreeMap;

use clb_core::input::LinkNo;
use clb_protocol::link::{ContainerIdentity, WorkerOrder};
use tokio::sync::mpsc;

#[derive(Debug)]
struct Link {
    orders: mpsc::UnboundedSender<WorkerOrder>,
    identity: ContainerIdentity,
}

/// All open links, by number.
#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<LinkNo, Link>,
    last: u64,
}

impl Links {
    pub(super) fn open(
        &mut self,
        orders: mpsc::UnboundedSender<WorkerOrder>,
        identity: ContainerIdentity,
    ) -> LinkNo {
        self.last += 1;
        let no = LinkNo(self.last);
        self.links.insert(no, Link { orders, identity });
        no
    }

    /// Ends a link: its stream of orders closes.
    pub(super) fn close(&mut self, no: LinkNo) -> bool {
        self.links.remove(&no).is_some()
    }

    pub(super) fn identity(&self, no: LinkNo) -> Option<&ContainerIdentity> {
        self.links.get(&no).map(|link| &link.identity)
    }

    /// Sends an order. A link that has just ended loses it, which its end makes known.
    pub(super) fn send(&self, no: LinkNo, order: WorkerOrder) {
        if let Some(link) = self.links.get(&no) {
            drop(link.orders.send(order));
        }
    }

    /// Sends something to everybody.
    pub(super) fn send_all(&self, order: &WorkerOrder) {
        for link in self.links.values() {
            drop(link.orders.send(order.clone()));
        }
    }
}
