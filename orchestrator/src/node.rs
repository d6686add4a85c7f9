//! What all parts of one orchestrator share: its role, the other orchestrators, its own log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clb_protocol::api::{MemberView, Role as MemberRole};
use clb_protocol::link::{ContainerIdentity, LogLine, StandbyHello};
use clb_protocol::{Epoch, MemberName, Timestamp};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Serve;
use crate::leader::Handle;
use crate::store::{Lease, Store};

/// How long a request waits for a leader.
pub(crate) const LEADER_WAIT: Duration = Duration::from_secs(5);
const OWN_LINES: usize = 2_000;

/// What this orchestrator does.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    /// It leads this term.
    Leading(Epoch, Handle),
    /// It stands by for this leader.
    Following(Lease),
    /// Nobody leads that it knows of.
    Leaderless,
    /// It simulates a crash.
    Crashed,
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
    role: watch::Sender<Role>,
    crashed: watch::Sender<bool>,
    leaving: AtomicBool,
    members: Mutex<BTreeMap<MemberName, MemberView>>,
    lines: Mutex<VecDeque<LogLine>>,
    peers: Mutex<BTreeMap<MemberName, String>>,
}

impl Node {
    /// An orchestrator that has just started.
    pub(crate) fn new(options: Serve, identity: ContainerIdentity, store: Arc<dyn Store>) -> Self {
        Self {
            name: options.name.as_str().into(),
            options,
            identity,
            store,
            role: watch::Sender::new(Role::Leaderless),
            crashed: watch::Sender::new(false),
            leaving: AtomicBool::new(false),
            members: Mutex::default(),
            lines: Mutex::default(),
            peers: Mutex::default(),
        }
    }

    /// What it does now.
    pub(crate) fn role(&self) -> Role {
        self.role.borrow().clone()
    }

    /// Changes what it does.
    pub(crate) fn play(&self, role: Role) {
        self.role.send_replace(role);
    }

    /// What it does once somebody leads; `None` when that takes too long.
    pub(crate) async fn led(&self) -> Option<Role> {
        let mut role = self.role.subscribe();
        let led = role.wait_for(|role| !matches!(role, Role::Leaderless));
        timeout(LEADER_WAIT, led).await.ok()?.ok().map(|role| role.clone())
    }

    /// Waits until it does not lead.
    pub(crate) async fn until_not_leading(&self) {
        let mut role = self.role.subscribe();
        // An error means that nothing changes any more.
        drop(role.wait_for(|role| !matches!(role, Role::Leading(..))).await);
    }

    /// From now on it does not take the lease any more.
    pub(crate) fn begin_leaving(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether it is about to end.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
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

    /// Whether it simulates a crash, with changes.
    pub(crate) fn crashed(&self) -> watch::Receiver<bool> {
        self.crashed.subscribe()
    }

    /// Notes one of its own log lines.
    pub(crate) fn log(&self, message: &str) {
        tracing::info!("{message}");
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == OWN_LINES {
            lines.pop_front();
        }
        lines.push_back(LogLine { at: Timestamp::now(), task: None, message: message.to_owned() });
    }

    /// Its own last log lines, oldest first.
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The base URLs of the other orchestrators inside the cluster's network.
    pub(crate) fn peers(&self) -> Vec<String> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Notes that a standby is there.
    pub(crate) fn welcome(&self, hello: &StandbyHello) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.insert(hello.member.clone(), hello.url.clone());
        drop(peers);
        self.put(&hello.member, MemberRole::Standby, &hello.public_url);
    }

    /// Notes what became of another orchestrator.
    pub(crate) fn put(&self, name: &MemberName, role: MemberRole, url: &str) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let known = members.get(name);
        if known.is_some_and(|known| known.role == role) {
            return;
        }
        let url = known.map_or_else(|| url.to_owned(), |known| known.url.clone());
        members.insert(name.clone(), MemberView { name: name.clone(), role, url, since: Timestamp::now() });
    }

    /// The other orchestrators that this one knows as a leader.
    pub(crate) fn members(&self) -> Vec<MemberView> {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.values().filter(|member| member.name != self.name).cloned().collect()
    }

    /// Whether another orchestrator stands by.
    pub(crate) fn has_standby(&self) -> bool {
        self.members().iter().any(|member| member.role == MemberRole::Standby)
    }
}
