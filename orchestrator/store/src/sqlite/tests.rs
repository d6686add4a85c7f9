//! The suite, and what only a file can suffer.

mod committing;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use clb_core::output::Change;
use clb_protocol::api::TaskState;
use clb_protocol::task::{Labels, NewTask, Number, TaskSpec, Work};
use clb_protocol::{Epoch, SubmissionSeq, TaskId, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{SqliteReader, SqliteStore, list};
use crate::conformance::conformance;
use crate::{Batch, Claim, Committer, Done, IdList, Reader, Result, Store, StoreError, TaskFilter};

conformance!({
    let folder = tempfile::tempdir().unwrap();
    move || SqliteStore::open(&folder.path().join("clb.db")).unwrap()
});

/// What the schema sets.
const PAGE_BYTES: usize = 8192;

fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clb.db");
    (folder, path)
}

fn lead(store: &SqliteStore) -> Epoch {
    lead_after(store, Epoch(0))
}

fn lead_after(store: &SqliteStore, seen: Epoch) -> Epoch {
    let claim = Claim { holder: "one".into(), url: String::new(), public_url: String::new() };
    store.acquire(&claim, seen).unwrap()
}

/// A batch that accepts one task whose group is this long.
fn batch(seq: u64, bytes: usize) -> Batch {
    let task = NewTask {
        id: TaskId::now(),
        spec: TaskSpec {
            work: Work::spin(0.0, [Number::Integer(1); 2]),
            max_attempts: 1,
            timeout: 1.0,
            retry: None,
        },
        pool: "default".into(),
        priority: 0,
        not_before: None,
        group: Some("g".repeat(bytes)),
        labels: Labels::new(),
        idempotency_key: None,
        replay_of: None,
    };
    let task = task.into();
    let changes = vec![Change::TaskAccepted { seq: SubmissionSeq(seq), at: Timestamp(0), task }];
    Batch { changes, ..Batch::default() }
}

/// Runs SQL on the connection that writes.
fn on_writer(store: &SqliteStore, sql: &str) {
    let place = store.writer.lock().unwrap();
    place.as_ref().unwrap().connection().execute_batch(sql).unwrap();
}

/// The error of opening `path` either way, which must leave the file as it is.
fn refused(path: &Path) -> StoreError {
    let before = fs::read(path).unwrap();
    let error = SqliteStore::open(path).unwrap_err();
    assert!(SqliteReader::open(path).is_err());
    assert_eq!(fs::read(path).unwrap(), before);
    assert!(!error.is_transient());
    error
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let (_folder, path) = place();
    fs::write(&path, "To whom it may concern: this is a letter.\n".repeat(500)).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::NotOurs { .. }), "{error:?}");
    assert!(error.to_string().contains("CLB_STORE"));
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let (_folder, path) = place();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE recipes (name TEXT)").unwrap();
    assert!(matches!(refused(&path), StoreError::NotOurs { .. }));
}

#[test]
fn a_newer_version_is_left_alone() {
    let (_folder, path) = place();
    drop(SqliteStore::open(&path).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::NewerVersion { found: 99, known: 2.. }), "{error:?}");
}

#[test]
fn a_file_of_the_first_version_is_brought_up_to_date_with_all_that_it_has() {
    let (_folder, path) = place();
    let old = Connection::open(&path).unwrap();
    old.execute_batch(include_str!("migrations/0001_initial.sql")).unwrap();
    let id = TaskId::now();
    let spec = r#"{"kind":"sleep","seconds":1.5,"add":[3,4],"max_attempts":3,"timeout":60.0}"#;
    let sql = "INSERT INTO tasks VALUES (1, ?, 'default', 5, NULL, NULL, 'sleep', ?, 3, 60.0, NULL, 7)";
    old.execute(sql, rusqlite::params![id.as_bytes(), spec]).unwrap();
    old.execute_batch(
        "INSERT INTO open_tasks VALUES (1); PRAGMA application_id = 0x434c4231; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let store = SqliteStore::open(&path).unwrap();
    let restored = store.open_tasks(lead(&store), SubmissionSeq(0), 9).unwrap().pop().unwrap().task;
    assert_eq!((restored.id, restored.submitted_at), (id, Timestamp(7)));
    assert_eq!((restored.retry, restored.not_before), (None, None));
    let view = store.task(id).unwrap().unwrap();
    assert_eq!((view.spec.get(), view.not_before, view.replay_of), (spec, None, None));
}

#[test]
fn a_corrupt_file_is_named_and_left_alone() {
    let (_folder, path) = place();
    drop(SqliteStore::open(&path).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    bytes[100..PAGE_BYTES].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = refused(&path);
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("backup"));
}

#[test]
fn damage_deep_in_the_file_is_an_error_of_the_query() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 20)).unwrap();
    drop(store);
    let root = "SELECT rootpage FROM sqlite_schema WHERE name = 'tasks'";
    let page: u32 = Connection::open(&path).unwrap().query_row(root, [], |row| row.get(0)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = page as usize * PAGE_BYTES;
    bytes[end - PAGE_BYTES..end].fill(0xa5);
    fs::write(&path, &bytes).unwrap();
    let error = SqliteStore::open(&path).unwrap().open_tasks(epoch, SubmissionSeq(0), 9).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn a_reader_waits_for_the_file_to_be_made() {
    let (_folder, path) = place();
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::Unavailable { .. })));
    fs::write(&path, "").unwrap();
    assert!(matches!(SqliteReader::open(&path), Err(StoreError::Unavailable { .. })));
    let store = SqliteStore::open(&path).unwrap();
    let reader = SqliteReader::open(&path).unwrap();
    assert_eq!(reader.lease().unwrap(), None);
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 20)).unwrap();
    assert_eq!(reader.statistics().unwrap().tables[0], ("tasks", 1));
}

#[test]
fn a_reader_reads_on_when_the_writer_is_gone() {
    let (_folder, path) = place();
    lead(&SqliteStore::open(&path).unwrap());
    assert!(SqliteReader::open(&path).unwrap().lease().unwrap().is_some());
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let (_folder, path) = place();
    let error = SqliteStore::open(&path.join("deeper")).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

/// Commits `first` under a hindrance, then, without it, `first` again and another one.
fn survives(hindrance: &str, is_expected: fn(&StoreError) -> bool) {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let epoch = lead(&store);
    on_writer(&store, hindrance);
    let first = batch(1, 1_000_000);
    let error = store.commit(epoch, &first).unwrap_err();
    assert!(is_expected(&error) && error.is_transient(), "{error:?}");
    assert_eq!(store.open_tasks(epoch, SubmissionSeq(0), 9).unwrap().len(), 0);
    assert_eq!(store.commit(epoch, &first).unwrap().duplicates, []);
    store.commit(epoch, &batch(2, 20)).unwrap();
    assert_eq!(store.open_tasks(epoch, SubmissionSeq(0), 9).unwrap().len(), 2);
}

#[test]
fn a_full_volume_refuses_commits_until_there_is_room() {
    survives("PRAGMA max_page_count = 60", |error| matches!(error, StoreError::Full { .. }));
}

#[test]
fn a_read_only_file_refuses_commits_until_it_can_be_written() {
    survives("PRAGMA query_only = ON", |error| matches!(error, StoreError::ReadOnly { .. }));
}

#[test]
fn a_lock_that_another_process_holds_is_said_so() {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path).unwrap();
    let epoch = lead(&store);
    let frozen = Connection::open(&path).unwrap();
    frozen.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.commit(epoch, &batch(1, 20)).unwrap_err();
    assert!(matches!(error, StoreError::Busy { .. }) && error.is_transient(), "{error:?}");
    assert_eq!(store.lease().unwrap().unwrap().epoch, epoch);
    drop(frozen);
    store.commit(epoch, &batch(1, 20)).unwrap();
}

/// As many open tasks without labels, from number 2 on.
fn fill(store: &SqliteStore, count: usize) {
    on_writer(
        store,
        &format!(
            "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i <= {count})
             INSERT INTO tasks (seq, id, pool, priority, kind, spec, max_attempts, timeout_seconds, submitted_at)
                 SELECT i, randomblob(16), 'default', 0, 'spin', '{{}}', 1, 1, 0 FROM n;
             INSERT INTO open_tasks SELECT seq FROM tasks WHERE seq > 1;"
        ),
    );
}

#[test]
fn a_list_looks_at_a_bounded_number_of_tasks_at_a_time() -> Result<()> {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path)?;
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 7))?;
    fill(&store, list::SCANNED_TASKS);
    let wanted = store.tasks(&TaskFilter { group: Some("g".repeat(7)), ..TaskFilter::default() }, None, 1)?;
    let wanted: Vec<TaskId> = wanted.tasks.iter().map(|task| task.id).collect();
    let open = TaskFilter { is_open: true, ..TaskFilter::default() };
    let all = TaskFilter::default();
    for base in [open.clone(), all, TaskFilter { state: Some(TaskState::Queued), ..open }] {
        let filter = TaskFilter { group: Some("g".repeat(7)), ..base.clone() };
        let labelled = TaskFilter { labels: vec![("a".to_owned(), "b".to_owned())], ..base };
        let ids = store.ids(&labelled, None, 100)?;
        assert_eq!((ids.ids.len(), ids.next), (0, Some(SubmissionSeq(2))), "{labelled:?}");
        assert_eq!(store.ids(&labelled, ids.next, 100)?, IdList::default(), "{labelled:?}");
        let page = store.tasks(&filter, None, 100)?;
        let found: Vec<TaskId> = page.tasks.iter().map(|task| task.id).collect();
        assert_eq!((found, page.next), (wanted.clone(), None), "a page goes on: {filter:?}");
    }
    Ok(())
}

#[test]
fn the_long_beginning_of_an_id_is_found_at_once_however_many_tasks_there_are() -> Result<()> {
    let (_folder, path) = place();
    let store = SqliteStore::open(&path)?;
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 7))?;
    let wanted = store.ids(&TaskFilter::default(), None, 1)?.ids;
    let digits = wanted[0].to_string();
    fill(&store, list::SCANNED_TASKS);
    let part = |text: &str| TaskFilter { id: Some(text.parse().unwrap()), ..TaskFilter::default() };
    for base in [part(&digits[..8]), part(&digits[..18]), part(&digits)] {
        let group = TaskFilter { group: Some("g".repeat(7)), ..base.clone() };
        let succeeded = TaskFilter { state: Some(TaskState::Succeeded), ..base.clone() };
        for (filter, expected) in [(base, &wanted[..]), (group, &wanted), (succeeded, &[])] {
            let found = store.ids(&filter, None, 100)?;
            assert_eq!((&found.ids[..], found.next), (expected, None), "{filter:?}");
        }
    }
    let end = store.ids(&part(&digits[digits.len() - 8..]), None, 100)?;
    assert_eq!((end.ids.len(), end.next), (0, Some(SubmissionSeq(2))), "an end is looked for among all");
    assert_eq!(store.ids(&part(&digits[digits.len() - 8..]), end.next, 100)?.ids, wanted);
    Ok(())
}

#[test]
fn a_page_is_bounded_in_bytes_over_all_of_its_pieces() -> Result<()> {
    const LARGE: usize = 3 << 20;
    let (_folder, path) = place();
    let store = SqliteStore::open(&path)?;
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 7))?;
    fill(&store, 3 * list::SCANNED_TASKS);
    // The piece that is read first has one of them, the next one has the others.
    on_writer(
        &store,
        &format!(
            "UPDATE tasks SET labels = '{{\"a\":\"b\"}}', spec = '\"' || hex(zeroblob({LARGE} / 2)) || '\"'
                 WHERE seq IN (50000, 30000, 30001, 30002)"
        ),
    );
    let filter = TaskFilter { labels: vec![("a".to_owned(), "b".to_owned())], ..TaskFilter::default() };
    let (mut found, mut before) = (Vec::new(), None);
    loop {
        let page = store.tasks(&filter, before, 100)?;
        let bytes: usize = page.tasks.iter().map(|task| task.spec.get().len()).sum();
        assert!(bytes <= 8 << 20, "{bytes}");
        found.push(page.tasks.len());
        before = page.next;
        if before.is_none() {
            break;
        }
    }
    assert_eq!(found, [2, 2]);
    Ok(())
}

#[test]
fn what_the_leader_reads_waits_for_no_page() {
    let (_folder, path) = place();
    let store = &SqliteStore::open(&path).unwrap();
    let epoch = lead(store);
    store.commit(epoch, &batch(1, 20)).unwrap();
    let (taken, readers) = mpsc::channel();
    let (done, read) = mpsc::channel();
    std::thread::scope(|scope| {
        let pages: Vec<_> = (0..2)
            .map(|_| {
                let taken = taken.clone();
                let (release, released) = mpsc::channel::<()>();
                scope.spawn(move || {
                    store.reader.read(|_| {
                        taken.send(()).unwrap();
                        let _ = released.recv();
                        Ok(())
                    })
                });
                release
            })
            .collect();
        readers.iter().take(2).for_each(drop);
        scope.spawn(move || done.send((store.specs(&[]).is_ok(), store.lease().is_ok())));
        let before_the_pages = read.recv_timeout(Duration::from_secs(10));
        let at_once = store.task_at_once(TaskId::now());
        drop(pages);
        assert_eq!(before_the_pages, Ok((true, true)));
        assert!(at_once.is_none(), "a page would have to end first");
    });
    assert!(store.task_at_once(TaskId::now()).unwrap().unwrap().is_none());
}

#[test]
fn a_backup_is_a_store() -> Result<()> {
    let (folder, path) = place();
    let store = SqliteStore::open(&path)?;
    let epoch = lead(&store);
    store.commit(epoch, &batch(1, 20))?;
    let copy = folder.path().join("a 'copy'.db");
    store.backup(&copy)?;
    store.commit(epoch, &batch(2, 20))?;
    assert!(store.backup(&copy).is_err(), "a backup overwrites nothing");
    let check: String =
        Connection::open(&copy)?.pragma_query_value(None, "integrity_check", |row| row.get(0))?;
    assert_eq!(check, "ok");
    let restored = SqliteStore::open(&copy)?;
    assert_eq!(restored.restore(epoch)?.cluster.last_submission, SubmissionSeq(1));
    restored.commit(epoch, &batch(2, 20))?;
    Ok(())
}
