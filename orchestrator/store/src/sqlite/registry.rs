//! Containers, orchestrators and the dead; how much is stored.

use std::path::Path;

use clb_protocol::link::ContainerIdentity;
use clb_protocol::{ContainerNo, Timestamp};
use rusqlite::{Connection, params};

use super::failure::{from_json, raw_json, to_json};
use crate::{Member, ObituaryList, Registration, Result, Statistics};

/// How to make the container is told later than that it is there, and not told again.
const ADD_MEMBER: &str = "INSERT INTO members VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
    blueprint = coalesce(excluded.blueprint, CASE WHEN container = excluded.container THEN blueprint END),
    container = excluded.container, url = excluded.url, public_url = excluded.public_url";

/// So many of the dead are remembered.
pub(super) const KEPT_OBITUARIES: u32 = 10_000;
/// Lets those go that died before them.
pub(super) const FORGET_DEAD: &str =
    "DELETE FROM obituaries WHERE seq <= (SELECT max(seq) FROM obituaries) - ?";

/// Writes down who is there.
pub(super) fn register(
    transaction: &Connection,
    containers: &[Registration],
    members: &[Member],
) -> Result<()> {
    let sql = "INSERT INTO containers VALUES (?, ?, ?, ?, ?) ON CONFLICT (no) DO NOTHING";
    for Registration { no, identity, at } in containers {
        let role = to_json(&identity.role)?;
        transaction.prepare_cached(sql)?.execute(params![
            no.0,
            identity.name,
            identity.id.as_str(),
            role.trim_matches('"'),
            at.0
        ])?;
    }
    for member in members {
        transaction.prepare_cached(ADD_MEMBER)?.execute(params![
            member.name.as_str(),
            member.container.as_str(),
            member.url,
            member.public_url,
            member.blueprint.as_ref().map(|blueprint| blueprint.get()),
        ])?;
    }
    Ok(())
}

/// Strikes containers out; their lines stay.
pub(super) fn forget(transaction: &Connection, containers: &[ContainerNo]) -> Result<()> {
    for no in containers {
        transaction.prepare_cached("DELETE FROM containers WHERE no = ?")?.execute([no.0])?;
    }
    Ok(())
}

pub(super) fn containers(connection: &Connection) -> Result<Vec<Registration>> {
    let sql = "SELECT no, name, container, role, registered_at FROM containers ORDER BY no";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut containers = Vec::new();
    while let Some(row) = rows.next()? {
        let role: String = row.get(3)?;
        let identity = ContainerIdentity {
            name: row.get(1)?,
            id: row.get::<_, String>(2)?.into(),
            role: from_json(&format!("\"{role}\""))?,
        };
        containers.push(Registration { no: ContainerNo(row.get(0)?), identity, at: Timestamp(row.get(4)?) });
    }
    Ok(containers)
}

pub(super) fn members(connection: &Connection) -> Result<Vec<Member>> {
    let sql = "SELECT name, container, url, public_url, blueprint FROM members ORDER BY name";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        members.push(Member {
            name: row.get::<_, String>(0)?.into(),
            container: row.get::<_, String>(1)?.into(),
            url: row.get(2)?,
            public_url: row.get(3)?,
            blueprint: row.get::<_, Option<String>>(4)?.map(raw_json).transpose()?,
        });
    }
    Ok(members)
}

pub(super) fn obituaries(connection: &Connection, before: Option<u64>, limit: usize) -> Result<ObituaryList> {
    let sql = "SELECT seq, obituary FROM obituaries WHERE seq < ? ORDER BY seq DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let before = before.map_or(i64::MAX, |seq| seq as i64);
    let mut rows = statement.query(params![before, limit as i64 + 1])?;
    let mut list = ObituaryList::default();
    let mut oldest = None;
    while let Some(row) = rows.next()? {
        if list.obituaries.len() == limit {
            list.next = oldest;
            break;
        }
        oldest = Some(row.get::<_, i64>(0)? as u64);
        list.obituaries.push(from_json(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(list)
}

pub(super) fn statistics(connection: &Connection, path: &Path) -> Result<Statistics> {
    let (accepted, ended, last_commit_at): (u64, u64, Option<i64>) = connection.query_row(
        "SELECT accepted, succeeded + failed + cancelled, last_commit_at FROM ledger",
        [],
        |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64, row.get(2)?)),
    )?;
    let mut tables = vec![("tasks", accepted), ("open_tasks", accepted - ended.min(accepted))];
    for (table, sql) in [
        ("attempts", "SELECT count(*) FROM attempts"),
        ("obituaries", "SELECT count(*) FROM obituaries"),
        ("containers", "SELECT count(*) FROM containers"),
        ("members", "SELECT count(*) FROM members"),
        ("log_lines", "SELECT coalesce(max(last_seq) - min(first_seq) + 1, 0) FROM log_chunks"),
    ] {
        let rows: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        tables.push((table, rows as u64));
    }
    tables.insert(3, ("outcomes", ended));
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    Ok(Statistics {
        tables,
        bytes: size(path) + size(Path::new(&wal)),
        last_commit_at: last_commit_at.map(Timestamp),
    })
}
