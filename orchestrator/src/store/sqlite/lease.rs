//! The lease: one row, and the check that every change makes against it.

use std::time::Duration;

use clb_protocol::{Epoch, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::{Claim, Lease, Result, StoreError};

pub(super) fn read(connection: &Connection) -> Result<Option<Lease>> {
    let sql = "SELECT epoch, holder, url, public_url, expires_at FROM lease";
    let lease = connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(Lease {
                epoch: Epoch(row.get::<_, i64>(0)? as u64),
                holder: row.get::<_, String>(1)?.into(),
                url: row.get(2)?,
                public_url: row.get(3)?,
                expires_at: Timestamp(row.get(4)?),
            })
        })
        .optional()?;
    Ok(lease)
}

/// Refuses everything but the term that holds the lease. Must run in the transaction that it guards.
pub(super) fn fence(transaction: &Connection, epoch: Epoch) -> Result<()> {
    let lease: Option<(i64, i64)> = transaction
        .prepare_cached("SELECT epoch, expires_at FROM lease")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (current, expires_at) = lease.unwrap_or_default();
    let current = Epoch(current as u64);
    if current == epoch && Timestamp(expires_at) != Lease::RELEASED {
        Ok(())
    } else {
        Err(StoreError::Fenced { current })
    }
}

pub(super) fn acquire(
    transaction: &Connection,
    claim: &Claim,
    seen: Epoch,
    now: Timestamp,
    ttl: Duration,
) -> Result<Epoch> {
    let current = read(transaction)?.map(|lease| lease.epoch).unwrap_or_default();
    if current != seen {
        return Err(StoreError::LeaseLost { current });
    }
    let epoch = seen.next();
    transaction.execute(
        "INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?, ?, ?)",
        params![epoch.0 as i64, claim.holder.as_str(), claim.url, claim.public_url, (now + ttl).0],
    )?;
    Ok(epoch)
}

/// Sets the end of the lease, after [`fence`].
pub(super) fn extend(transaction: &Connection, expires_at: Timestamp) -> Result<()> {
    transaction.prepare_cached("UPDATE lease SET expires_at = ?")?.execute([expires_at.0])?;
    Ok(())
}
