//! What Compose or a person does for orchestrators that nobody is left to bring back.

use super::containers::Begin;
use super::{Cluster, MEMBERS};
use crate::images::images;

impl Cluster {
    /// Starts both orchestrators when none runs. One that lives brings the other back by itself.
    pub async fn revive_if_nobody_lives(&self) {
        for member in MEMBERS {
            if self.container(member).is_running().await {
                return;
            }
        }
        for member in MEMBERS {
            let container = self.container(member);
            if container.inspect_if_there().await.is_none() {
                self.run_orchestrator(images().await, member, Begin::Run).await;
            } else {
                // Another one may have removed it since, to make it again.
                drop(container.try_do("start").await);
            }
        }
    }
}
