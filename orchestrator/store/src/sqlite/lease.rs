//! The lease: one row, and the check that every change makes against it.
//!
//! Its column `expires_at` says whether the lease was given up and nothing else: a leader's time is not over at a
//! time of the clock, but when its [beat](super::beat) stops.

use clb_protocol::{Epoch, MemberName};
use rusqlite::{Connection, OptionalExtension, params};

use crate::{Claim, Lease, Result, StoreError};

/// Of a lease that its holder gave up.
const RELEASED: i64 = 0;
/// Of one that is held. Earlier versions read it as a time that never comes, and wait for the holder's end.
const HELD: i64 = i64::MAX;

/// The lease as it stands, without its holder's pulse.
pub(super) fn read(connection: &Connection) -> Result<Option<Lease>> {
    let sql = "SELECT epoch, holder, url, public_url, expires_at FROM lease";
    let lease = connection
        .prepare_cached(sql)?
        .query_row([], |row| {
            Ok(Lease {
                epoch: Epoch(row.get::<_, i64>(0)? as u64),
                holder: MemberName::from(row.get::<_, String>(1)?),
                url: row.get(2)?,
                public_url: row.get(3)?,
                is_released: row.get::<_, i64>(4)? == RELEASED,
                pulse: None,
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
    if current == epoch && expires_at != RELEASED { Ok(()) } else { Err(StoreError::Fenced { current }) }
}

pub(super) fn acquire(transaction: &Connection, claim: &Claim, seen: Epoch) -> Result<Epoch> {
    let current = read(transaction)?.map(|lease| lease.epoch).unwrap_or_default();
    if current != seen {
        return Err(StoreError::LeaseLost { current });
    }
    let epoch = seen.next();
    transaction.execute(
        "INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?, ?, ?)",
        params![epoch.0 as i64, claim.holder.as_str(), claim.url, claim.public_url, HELD],
    )?;
    Ok(epoch)
}

/// Gives the lease up, after [`fence`].
pub(super) fn release(transaction: &Connection) -> Result<()> {
    transaction.execute("UPDATE lease SET expires_at = ?", [RELEASED])?;
    Ok(())
}
