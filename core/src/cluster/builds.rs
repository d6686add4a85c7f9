//! Another bundled image, another program of the workers: living ones are replaced for it.

use std::collections::BTreeSet;

use clb_protocol::PoolName;

use crate::build::{Build, Builds};
use crate::output::{Note, Output};

use super::Cluster;

impl Cluster {
    /// Takes in what containers are made of now, and of which images the orchestrators are.
    ///
    /// While these differ, an upgrade is under way or half done, and who leads may change back and forth:
    /// nobody is replaced for it until they are of one kind.
    pub(super) fn take_builds(&mut self, builds: Builds, orchestrators: BTreeSet<Build>, out: &mut Output) {
        let is_mixed = orchestrators.len() > 1;
        let was_mixed = std::mem::replace(&mut self.orchestrators, orchestrators).len() > 1;
        if is_mixed && !was_mixed {
            let text = "The orchestrators are of different images: no worker is replaced for a newer program or \
                        bundled image until they are of the same";
            out.notes.push(Note::Fleet(text.to_owned()));
        }
        let builds = if is_mixed { Builds::default() } else { builds };
        if builds == self.builds {
            return;
        }
        self.builds = builds;
        self.unsettled.extend(self.pools.keys().cloned());
        let outdated: BTreeSet<&PoolName> =
            self.slots.values().filter(|slot| self.is_outdated(slot)).map(|slot| &slot.pool).collect();
        for pool in outdated {
            out.notes.push(Note::Fleet(format!(
                "The workers of pool {pool} are not made of what they would be made of now: they are replaced one \
                 after the other"
            )));
        }
    }
}
