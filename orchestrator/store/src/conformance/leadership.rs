//! The lease and the fence.

use clb_protocol::{ContainerNo, Epoch, LogSeq, SubmissionSeq};
use serde_json::value::RawValue;

use super::fixture::{accept, claim, commit, container, lead, log, open_tasks, succeeded};
use crate::{Batch, Lease, LogFilter, LogFrom, Member, Store, StoreError};

pub(crate) fn of_two_claimers_one_wins<S: Store>(open: &impl Fn() -> S) {
    let (one, two) = (open(), open());
    assert_eq!(one.lease().unwrap(), None);
    assert_eq!(one.acquire(&claim("orchestrator-1"), Epoch(0)).unwrap(), Epoch(1));
    let late = two.acquire(&claim("orchestrator-2"), Epoch(0));
    assert!(matches!(late, Err(StoreError::LeaseLost { current: Epoch(1) })), "{late:?}");
    assert_eq!(two.lease().unwrap().unwrap().holder.as_str(), "orchestrator-1");
}

pub(crate) fn a_term_begins_with_the_next_epoch<S: Store>(open: &impl Fn() -> S) {
    lead(&open(), 0);
    let store = open();
    assert_eq!(store.acquire(&claim("orchestrator-2"), Epoch(1)).unwrap(), Epoch(2));
    let expected = Lease {
        epoch: Epoch(2),
        holder: "orchestrator-2".into(),
        url: "http://orchestrator-2:3002".into(),
        public_url: "http://127.0.0.1:3002".into(),
        is_released: false,
        pulse: None,
    };
    assert_eq!(store.lease().unwrap(), Some(expected));
    assert_eq!(store.restore(Epoch(2)).unwrap().cluster.epoch, Epoch(2));
}

pub(crate) fn a_lower_epoch_changes_nothing<S: Store>(open: &impl Fn() -> S) {
    let (old, new) = (open(), open());
    lead(&old, 0);
    let ids = accept(&old, Epoch(1), 1);
    lead(&new, 1);
    let fenced = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Fenced { current: Epoch(2) })), "{result:?}");
    };
    fenced(commit(&old, Epoch(1), vec![succeeded(1, ids[0], 1)]).map(drop));
    fenced(old.renew(Epoch(1)));
    fenced(old.release(Epoch(1)));
    fenced(old.restore(Epoch(1)).map(drop));
    fenced(old.open_tasks(Epoch(1), SubmissionSeq(0), 9).map(drop));
    let lease = new.lease().unwrap().unwrap();
    assert_eq!((lease.epoch, lease.is_released, lease.pulse), (Epoch(2), false, None));
    assert_eq!(open_tasks(&new, Epoch(2)).len(), 1);
}

pub(crate) fn renewing_shows_others_that_the_term_goes_on<S: Store>(open: &impl Fn() -> S) {
    let (leader, watcher) = (open(), open());
    let epoch = lead(&leader, 0);
    let beat = || watcher.lease().unwrap().unwrap().pulse.map(|pulse| pulse.beat);
    assert_eq!(beat(), None);
    leader.renew(epoch).unwrap();
    let first = beat();
    assert!(first.is_some());
    assert_eq!(beat(), first);
    leader.renew(epoch).unwrap();
    assert_ne!(beat(), first);
    lead(&watcher, 1);
    assert_eq!(beat(), None, "the beat of a term that is over says nothing of the next");
}

pub(crate) fn a_released_lease_takes_no_more_commits<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    store.release(epoch).unwrap();
    assert!(store.lease().unwrap().unwrap().is_released);
    assert!(matches!(store.renew(epoch), Err(StoreError::Fenced { current: Epoch(1) })));
    assert!(matches!(commit(&store, epoch, Vec::new()), Err(StoreError::Fenced { current: Epoch(1) })));
    assert_eq!(lead(&store, 1), Epoch(2));
}

pub(crate) fn the_registry_survives_a_restart<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let member = |container: &str| Member {
        name: "orchestrator-1".into(),
        container: container.into(),
        url: "http://orchestrator-1:3002".into(),
        public_url: "http://127.0.0.1:3002".into(),
        blueprint: Some(RawValue::from_string(r#"{"Image":"clb"}"#.into()).unwrap()),
    };
    let batch = Batch {
        containers: vec![container(1, "orchestrator-1"), container(2, "worker-1")],
        members: vec![member("old"), member("new")],
        logs: vec![log(41, 1, None, "Is master container")],
        ..Batch::default()
    };
    store.commit(epoch, &batch).unwrap();
    drop(store);
    let store = open();
    let recovered = store.restore(epoch).unwrap();
    assert_eq!(recovered.containers, batch.containers);
    assert_eq!(recovered.containers[1].no, ContainerNo(2));
    assert_eq!(recovered.members.len(), 1);
    assert_eq!(recovered.members[0].container.as_str(), "new");
    assert_eq!(recovered.members[0].blueprint.as_ref().unwrap().get(), r#"{"Image":"clb"}"#);
    assert_eq!(recovered.last_log.0, 41);
    store.commit(epoch, &Batch { forgotten: vec![ContainerNo(2)], ..Batch::default() }).unwrap();
    assert_eq!(store.restore(epoch).unwrap().containers, batch.containers[..1]);
    assert_eq!(store.logs(&LogFilter::default(), LogFrom::After(LogSeq(0)), 9).unwrap().logs.len(), 1);
}
