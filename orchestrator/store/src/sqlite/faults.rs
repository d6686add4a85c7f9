//! Trouble on demand, for tests of those who use the store.

use clb_protocol::TaskId;

use super::SqliteStore;
use crate::Result;

impl SqliteStore {
    /// Does `something` while a change is under way.
    pub fn hold_the_lock(&self, something: impl FnOnce()) -> Result<()> {
        self.transact(|connection| {
            connection.execute("UPDATE ledger SET accepted = accepted", [])?;
            something();
            Ok(())
        })
    }

    /// Damages what a task is to do, and says whether there is such a task.
    pub fn spoil_spec(&self, task: TaskId) -> Result<bool> {
        self.transact(|connection| {
            Ok(connection.execute("UPDATE tasks SET spec = '{' WHERE id = ?", [task.as_bytes()])? == 1)
        })
    }
}
