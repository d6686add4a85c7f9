//! The connection that writes, and one commit on it.

use std::time::Duration;

use clb_protocol::{Epoch, TaskId, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use rustc_hash::FxHashMap;

use super::changes::{Application, Tally, TaskRow};
use super::schema::LOCK_WAIT;
use super::{lease, logs, registry};
use crate::{Batch, Committed, Result, StoreError};

/// So many rows' places are remembered; then the memory begins anew.
const REMEMBERED_ROWS: usize = 65_536;

/// The connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    /// Rows of tasks that are likely to change again.
    rows: FxHashMap<TaskId, TaskRow>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, rows: FxHashMap::default() }
    }

    /// Takes the file's lock at once, so that nothing read inside can change before the commit.
    pub(super) fn begin(&self) -> Result<Transaction<'_>> {
        Ok(Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?)
    }

    /// See [`crate::Store::commit`]. After an error other than a fence this must not be used
    /// again: it remembers rows that were rolled back.
    pub(super) fn commit(&mut self, epoch: Epoch, batch: &Batch) -> Result<Committed> {
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        if self.rows.len() > REMEMBERED_ROWS {
            self.rows.clear();
        }
        lease::fence(&transaction, epoch)?;
        registry::register(&transaction, &batch.containers, &batch.members)?;
        registry::forget(&transaction, &batch.forgotten)?;
        let mut application = Application::new(&transaction, &mut self.rows, &batch.changes)?;
        for change in &batch.changes {
            application.apply(change)?;
        }
        let (duplicates, tally) = application.finish();
        logs::append(&transaction, &batch.logs)?;
        enter(&transaction, tally)?;
        transaction.commit()?;
        Ok(Committed { duplicates })
    }

    /// See [`crate::Store::commit_at_once`]. Whoever has the file's lock has it before anything is done, for the
    /// lock is taken first.
    pub(super) fn commit_at_once(&mut self, epoch: Epoch, batch: &Batch) -> Option<Result<Committed>> {
        if let Err(error) = self.connection.busy_timeout(Duration::ZERO) {
            return Some(Err(error.into()));
        }
        let result = self.commit(epoch, batch);
        if let Err(error) = self.connection.busy_timeout(LOCK_WAIT) {
            return Some(Err(error.into()));
        }
        Some(result).filter(|result| !matches!(result, Err(StoreError::Busy { .. })))
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Adds a commit to the ledger.
fn enter(transaction: &Connection, tally: Tally) -> Result<()> {
    let sql = "UPDATE ledger SET accepted = accepted + ?, succeeded = succeeded + ?, failed = failed + ?,
        cancelled = cancelled + ?, last_commit_at = ?";
    transaction.prepare_cached(sql)?.execute(params![
        tally.accepted,
        tally.succeeded,
        tally.failed,
        tally.cancelled,
        Timestamp::now().0
    ])?;
    Ok(())
}
