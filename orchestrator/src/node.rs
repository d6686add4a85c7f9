//! What all parts of one orchestrator share: who it is, what it does, its log, its fellows.

use std::sync::Arc;
use std::time::Duration;

use clb_protocol::link::ContainerIdentity;
use clb_protocol::{Epoch, MemberName, Timestamp};
use clb_store::{Lease, Store};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::config::Serve;
use crate::journal::Journal;
use crate::leader::Handle;
use crate::roster::Roster;

/// How long a request waits for a leader.
pub(crate) const LEADER_WAIT: Duration = Duration::from_secs(5);

/// What this orchestrator does.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It leads this term.
    Leading(Leading),
    /// It stands by for this leader.
    Following(Lease),
    /// Nobody leads that it knows of.
    Leaderless {
        /// What keeps it from leading itself, for people.
        why: Option<String>,
    },
    /// It simulates a crash.
    Crashed,
}

/// A term that this orchestrator leads.
#[derive(Clone, Debug)]
pub(crate) struct Leading {
    /// Its epoch.
    pub(crate) epoch: Epoch,
    /// Since when.
    pub(crate) since: Timestamp,
    /// Reaches its loop.
    pub(crate) handle: Handle,
}

/// One orchestrator, shared by its tasks.
pub(crate) struct Node {
    /// How it was started.
    pub(crate) options: Serve,
    /// Its name.
    pub(crate) name: MemberName,
    /// Its container.
    pub(crate) identity: ContainerIdentity,
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// Its log.
    pub(crate) journal: Arc<Journal>,
    /// The other orchestrators, while it leads.
    pub(crate) roster: Arc<Roster>,
    role: watch::Sender<Role>,
    /// Which leader was heard last, and when.
    heard: watch::Sender<Option<(Epoch, Instant)>>,
    crashed: watch::Sender<bool>,
    leaving: watch::Sender<bool>,
}

impl Node {
    /// An orchestrator that has just started.
    pub(crate) fn new(options: Serve, identity: ContainerIdentity, store: Arc<dyn Store>) -> Self {
        Self {
            name: options.name.as_str().into(),
            options,
            identity,
            store,
            journal: Arc::default(),
            roster: Arc::default(),
            role: watch::Sender::new(Role::Leaderless { why: None }),
            heard: watch::Sender::new(None),
            crashed: watch::Sender::new(false),
            leaving: watch::Sender::new(false),
        }
    }

    /// What it does now.
    pub(crate) fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// What it does, with changes.
    pub(crate) fn roles(&self) -> watch::Receiver<Role> {
        self.role.subscribe()
    }

    /// Notes that the leader of this term said something.
    pub(crate) fn hear(&self, epoch: Epoch) {
        self.heard.send_replace(Some((epoch, Instant::now())));
    }

    /// When the leader of this term was heard last, if it is the one that was.
    pub(crate) fn heard_at(&self, epoch: Epoch) -> Option<Instant> {
        self.heard.borrow().filter(|(heard, _)| *heard == epoch).map(|(_, at)| at)
    }

    /// Changes what it does.
    pub(crate) fn play(&self, role: Role) {
        self.role.send_replace(role);
    }

    /// What it does once somebody leads; `None` when that takes too long.
    pub(crate) async fn led(&self) -> Option<Role> {
        let mut role = self.role.subscribe();
        let led = role.wait_for(|role| !matches!(role, Role::Leaderless { .. }));
        timeout(LEADER_WAIT, led).await.ok()?.ok().map(|role| role.clone())
    }

    /// Waits until it does not lead.
    pub(crate) async fn until_not_leading(&self) {
        let mut role = self.role.subscribe();
        // An error means that nothing changes any more.
        drop(role.wait_for(|role| !matches!(role, Role::Leading(_))).await);
    }

    /// Waits until it does not stand by for the leader of this term.
    pub(crate) async fn until_not_following(&self, epoch: Epoch) {
        let mut role = self.role.subscribe();
        // An error means that nothing changes any more.
        drop(role.wait_for(|role| !matches!(role, Role::Following(lease) if lease.epoch == epoch)).await);
    }

    /// From now on nobody is to count on it.
    pub(crate) fn begin_leaving(&self) {
        self.leaving.send_replace(true);
    }

    /// Whether it is about to end.
    pub(crate) fn is_leaving(&self) -> bool {
        *self.leaving.borrow()
    }

    /// Whether it is about to end, with changes.
    pub(crate) fn leaving(&self) -> watch::Receiver<bool> {
        self.leaving.subscribe()
    }

    /// Begins or ends the simulated crash; says whether it is on now.
    pub(crate) fn flip_crash(&self) -> bool {
        let mut now = false;
        self.crashed.send_modify(|crashed| {
            *crashed = !*crashed;
            now = *crashed;
        });
        now
    }

    /// Whether it simulates a crash.
    pub(crate) fn is_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    /// Whether it simulates a crash, with changes.
    pub(crate) fn crashed(&self) -> watch::Receiver<bool> {
        self.crashed.subscribe()
    }

    /// The base URLs of all orchestrators inside the cluster's network, its own first.
    pub(crate) fn orchestrators(&self) -> Vec<String> {
        let mut urls = vec![self.options.advertise.clone()];
        urls.extend(self.roster.urls());
        urls
    }
}
