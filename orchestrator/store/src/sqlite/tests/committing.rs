//! Commits at once and on a thread of their own.

use super::*;

#[test]
fn a_commit_at_once_waits_for_nobody_who_writes() {
    let (_folder, path) = place();
    let (store, other) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let epoch = lead(&store);
    other.hold_the_lock(|| assert!(store.commit_at_once(epoch, &batch(1, 20)).is_none())).unwrap();
    store.commit_at_once(epoch, &batch(1, 20)).unwrap().unwrap();
    store.release(epoch).unwrap();
    let fenced = store.commit_at_once(epoch, &batch(2, 20)).unwrap();
    assert!(matches!(fenced, Err(StoreError::Fenced { .. })));
    assert_eq!(store.restore(lead_after(&store, epoch)).unwrap().cluster.last_submission, SubmissionSeq(1));
}

#[test]
fn a_batch_that_cannot_be_written_at_once_is_written_by_the_thread() {
    let (_folder, path) = place();
    let (store, other) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let store = std::sync::Arc::new(store);
    let epoch = lead(&store);
    let committer = Committer::start(store.clone(), epoch).unwrap();
    let first = committer.commit_at_once(batch(1, 20)).blocking_recv().unwrap();
    committer.observe(&Done { took: Duration::ZERO, ..first });
    let mut second = None;
    other
        .hold_the_lock(|| {
            let mut queued = committer.commit_at_once(batch(2, 20));
            assert!(queued.try_recv().is_err(), "it was written beside somebody else's change");
            second = Some(queued);
        })
        .unwrap();
    assert!(second.unwrap().blocking_recv().unwrap().result.is_ok());
    let mut third = committer.commit_at_once(batch(3, 20));
    assert!(third.try_recv().unwrap().result.is_ok(), "it was queued though nothing is in its way");
}

#[test]
fn a_committer_answers_in_order_and_gives_the_batch_back() {
    let (_folder, path) = place();
    let store = std::sync::Arc::new(SqliteStore::open(&path).unwrap());
    let epoch = lead(&store);
    let committer = Committer::start(store.clone(), epoch).unwrap();
    let first = committer.commit(batch(1, 20));
    let second = committer.commit(batch(2, 20));
    assert!(second.blocking_recv().unwrap().result.is_ok());
    assert_eq!(first.blocking_recv().unwrap().batch.changes.len(), 1);
    store.release(epoch).unwrap();
    let fenced = committer.commit(batch(3, 20)).blocking_recv().unwrap();
    assert!(matches!(fenced.result, Err(StoreError::Fenced { .. })));
}
