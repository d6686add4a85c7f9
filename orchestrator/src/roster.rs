//! The orchestrators, as the leader knows them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clb_core::clock::Moment;
use clb_protocol::api::{MemberView, Role};
use clb_protocol::link::StandbyHello;
use clb_protocol::{ContainerId, Incarnation, MemberName, Timestamp};
use clb_store::Member;

use crate::clock;

/// A standby speaks every second.
const SILENCE: Duration = Duration::from_secs(2);

/// One orchestrator.
#[derive(Clone, Debug)]
struct Entry {
    role: Role,
    since: Timestamp,
    heard_at: Moment,
    container: ContainerId,
    /// Of its newest link; `None` before the first.
    link: Option<Incarnation>,
    url: String,
    public_url: String,
}

impl Entry {
    fn is_silent(&self, now: Moment) -> bool {
        self.heard_at + SILENCE <= now
    }

    /// What it is, and since when: one that stands by and says nothing could not take over.
    fn role_at(&self, now: Moment) -> (Role, Timestamp) {
        if self.role == Role::Standby && self.is_silent(now) {
            (Role::Down, self.heard_at.at)
        } else {
            (self.role, self.since)
        }
    }
}

/// All of them but this one.
#[derive(Debug, Default)]
pub(crate) struct Roster(Mutex<BTreeMap<MemberName, Entry>>);

impl Roster {
    /// Begins a term with what the store has: all but `me`, down until they say otherwise.
    pub(crate) fn begin(&self, me: &MemberName, members: &[Member]) {
        let mut entries = self.entries();
        entries.clear();
        for member in members.iter().filter(|member| member.name != *me) {
            entries.insert(
                member.name.clone(),
                Entry {
                    role: Role::Down,
                    since: Timestamp::now(),
                    heard_at: clock::now(),
                    container: member.container.clone(),
                    link: None,
                    url: member.url.clone(),
                    public_url: member.public_url.clone(),
                },
            );
        }
    }

    /// Notes that a standby is there; `false` when a newer link of it is there already. An attempt that waited here for
    /// a leader, and was given up meanwhile, may come after the one that took its place.
    pub(crate) fn join(&self, hello: &StandbyHello) -> bool {
        let mut entries = self.entries();
        let is_late = entries.get(&hello.member).is_some_and(|entry| {
            entry.container == hello.container && entry.link.is_some_and(|link| link > hello.incarnation)
        });
        if is_late {
            return false;
        }
        let entry = Entry {
            role: Role::Standby,
            since: Timestamp::now(),
            heard_at: clock::now(),
            container: hello.container.clone(),
            link: Some(hello.incarnation),
            url: hello.url.clone(),
            public_url: hello.public_url.clone(),
        };
        entries.insert(hello.member.clone(), entry);
        true
    }

    /// Notes what the engine, or a probe, says of one. A container that is not the newest of that name does not count,
    /// and nothing counts while the link holds: its end is known at once, and what the engine says may be old.
    pub(crate) fn put(&self, name: &MemberName, container: &ContainerId, role: Role) {
        if let Some(entry) = self.entries().get_mut(name)
            && entry.container == *container
            && entry.link.is_none()
            && entry.role != role
        {
            (entry.role, entry.since) = (role, Timestamp::now());
        }
    }

    /// Notes what became of a standby whose link has ended. Only its newest link counts.
    pub(crate) fn part(&self, hello: &StandbyHello, role: Role) {
        if let Some(entry) = self.entries().get_mut(&hello.member)
            && entry.link == Some(hello.incarnation)
        {
            (entry.role, entry.since, entry.link) = (role, Timestamp::now(), None);
        }
    }

    /// Notes that one simulates a crash.
    pub(crate) fn stop(&self, name: &MemberName) {
        if let Some(entry) = self.entries().get_mut(name) {
            (entry.role, entry.since) = (Role::Stopped, Timestamp::now());
        }
    }

    /// Notes that a standby said something.
    pub(crate) fn hear(&self, name: &MemberName, now: Moment) {
        if let Some(entry) = self.entries().get_mut(name) {
            if entry.is_silent(now) {
                entry.since = now.at;
            }
            entry.heard_at = now;
        }
    }

    /// Gives the standbys the time to speak that the leader did not listen.
    pub(crate) fn excuse_silence(&self, now: Moment) {
        for entry in self.entries().values_mut() {
            entry.heard_at = now;
        }
    }

    /// Whether there are standbys and none of them was heard for long.
    pub(crate) fn is_silent(&self, now: Moment) -> bool {
        let entries = self.entries();
        let mut standbys = entries.values().filter(|entry| entry.role == Role::Standby).peekable();
        standbys.peek().is_some() && standbys.all(|entry| entry.is_silent(now))
    }

    /// Strikes one out that is not there any more and will not come back.
    pub(crate) fn strike(&self, name: &MemberName) {
        self.entries().remove(name);
    }

    /// All of them, by name.
    pub(crate) fn views(&self) -> Vec<MemberView> {
        let now = clock::now();
        let view = |(name, entry): (&MemberName, &Entry)| {
            let (role, since) = entry.role_at(now);
            MemberView { name: name.clone(), role, url: entry.public_url.clone(), since }
        };
        self.entries().iter().map(view).collect()
    }

    /// Their base URLs inside the cluster's network.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.entries().values().map(|entry| entry.url.clone()).collect()
    }

    /// Those that are down, by name.
    pub(crate) fn names_of_down(&self) -> Vec<MemberName> {
        let entries = self.entries();
        entries.iter().filter(|(_, entry)| entry.role == Role::Down).map(|(name, _)| name.clone()).collect()
    }

    /// Whether one is known and down.
    pub(crate) fn is_down(&self, name: &MemberName) -> bool {
        self.entries().get(name).is_some_and(|entry| entry.role == Role::Down)
    }

    /// Base URLs of one that is known.
    pub(crate) fn addresses(&self, name: &MemberName) -> Option<(String, String)> {
        self.entries().get(name).map(|entry| (entry.url.clone(), entry.public_url.clone()))
    }

    /// Whether another orchestrator could take over.
    pub(crate) fn has_standby(&self) -> bool {
        let now = clock::now();
        self.entries().values().any(|entry| entry.role_at(now).0 == Role::Standby)
    }

    /// Whether another orchestrator holds a link to this one, however long it has said nothing.
    pub(crate) fn has_link(&self) -> bool {
        self.entries().values().any(|entry| entry.role == Role::Standby)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<MemberName, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(container: &str) -> StandbyHello {
        StandbyHello {
            member: "o-2".into(),
            incarnation: Incarnation(uuid::Uuid::nil()),
            container: container.into(),
            url: "http://o-2:3012".into(),
            public_url: "http://127.0.0.1:3012".into(),
        }
    }

    #[test]
    fn the_end_of_a_former_container_does_not_bring_its_successor_down() {
        let roster = Roster::default();
        roster.join(&hello("old"));
        roster.join(&hello("new"));
        roster.part(&hello("new"), Role::Stopped);
        roster.put(&"o-2".into(), &"old".into(), Role::Down);
        assert!(roster.names_of_down().is_empty());
        roster.put(&"o-2".into(), &"new".into(), Role::Down);
        assert_eq!(roster.names_of_down(), ["o-2".into()]);
    }

    #[test]
    fn what_the_engine_said_before_a_standby_came_back_does_not_bring_it_down() {
        let roster = Roster::default();
        roster.join(&hello("same"));
        roster.put(&"o-2".into(), &"same".into(), Role::Down);
        assert!(roster.has_standby());
        roster.part(&hello("same"), Role::Down);
        assert_eq!(roster.names_of_down(), ["o-2".into()]);
    }

    #[test]
    fn the_end_of_a_former_link_does_not_bring_a_standby_down_that_has_another() {
        let roster = Roster::default();
        let former = hello("same");
        let newer = StandbyHello { incarnation: Incarnation(uuid::Uuid::now_v7()), ..hello("same") };
        roster.join(&former);
        roster.join(&newer);
        roster.part(&former, Role::Down);
        assert!(roster.has_standby());
        roster.part(&newer, Role::Down);
        assert!(!roster.has_standby());
    }

    #[test]
    fn an_attempt_that_was_given_up_does_not_take_the_place_of_its_successor() {
        let roster = Roster::default();
        let [former, newer] = [(); 2]
            .map(|()| StandbyHello { incarnation: Incarnation(uuid::Uuid::now_v7()), ..hello("same") });
        assert!(roster.join(&newer) && !roster.join(&former));
        roster.part(&former, Role::Down);
        assert!(roster.has_standby());
        roster.part(&newer, Role::Down);
        assert!(roster.join(&former), "its clock may have been set back");
    }

    #[test]
    fn standbys_that_are_not_heard_are_silent_and_nobody_is_not() {
        let roster = Roster::default();
        assert!(!roster.is_silent(clock::now() + SILENCE));
        roster.join(&hello("new"));
        let later = clock::now() + SILENCE;
        assert!(roster.is_silent(later));
        roster.hear(&"o-2".into(), later);
        assert!(!roster.is_silent(later));
    }

    #[test]
    fn a_standby_that_is_not_heard_is_down_until_it_is_heard_again() {
        let roster = Roster::default();
        roster.join(&hello("new"));
        let before = clock::now().before(SILENCE);
        roster.hear(&"o-2".into(), before);
        assert_eq!((roster.views()[0].role, roster.views()[0].since), (Role::Down, before.at));
        assert!(!roster.has_standby());
        let now = clock::now();
        roster.hear(&"o-2".into(), now);
        assert_eq!((roster.views()[0].role, roster.views()[0].since), (Role::Standby, now.at));
        assert!(roster.has_standby());
    }

    #[test]
    fn a_term_begins_with_the_others_that_the_store_knows() {
        let member = |name: &str| Member {
            name: name.into(),
            container: "c".into(),
            url: format!("http://{name}"),
            public_url: String::new(),
            blueprint: None,
        };
        let roster = Roster::default();
        roster.begin(&"o-1".into(), &[member("o-1"), member("o-2")]);
        assert_eq!(roster.urls(), ["http://o-2"]);
        assert_eq!(roster.views()[0].role, Role::Down);
    }
}
