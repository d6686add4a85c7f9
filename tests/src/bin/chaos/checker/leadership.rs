//! One leads, and epochs only rise.

use std::collections::BTreeMap;

use clb_protocol::{Epoch, MemberName};

use super::Violation;

/// What the orchestrators told of who leads.
#[derive(Debug, Default)]
pub(crate) struct Leadership {
    leaders: BTreeMap<Epoch, MemberName>,
    told: BTreeMap<String, Epoch>,
}

impl Leadership {
    /// What one address told, in the order in which it was asked. One that was frozen may know less than others,
    /// but never less than it knew.
    pub(crate) fn told(&mut self, door: &str, epoch: Epoch, leader: &MemberName) -> Option<Violation> {
        let before = self.told.insert(door.to_owned(), epoch).unwrap_or(epoch);
        let first = self.leaders.entry(epoch).or_insert_with(|| leader.clone());
        if first != leader {
            return Some(Violation::TwoLeaders { epoch, leaders: [first.clone(), leader.clone()] });
        }
        let door = door.to_owned();
        (epoch < before).then_some(Violation::EpochFell { door, before, now: epoch })
    }

    /// Who led last.
    pub(crate) fn leader(&self) -> Option<MemberName> {
        self.leaders.last_key_value().map(|(_, leader)| leader.clone())
    }

    /// The highest epoch so far.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.leaders.last_key_value().map(|(epoch, _)| *epoch)
    }
}
