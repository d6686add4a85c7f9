//! What callers made of pools and ordered for workers.

use std::sync::Arc;

use clb_core::fleet::Standing;
use clb_core::input::RestoredPool;
use clb_core::output::Change;
use clb_protocol::pool::PoolSpec;
use clb_protocol::{Generation, SlotNo};

use super::fixture::{commit, lead};
use crate::Store;

pub(crate) fn what_callers_made_of_pools_survives_a_restart<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let spec = PoolSpec { image: Some("a".into()), cpus: 0.5, ..PoolSpec::default() };
    let saved = |name: &str, spec: Option<PoolSpec>, is_paused| Change::PoolSaved {
        name: name.into(),
        spec: spec.map(Arc::new),
        is_paused,
    };
    let changes = vec![
        saved("b", Some(PoolSpec::default()), false),
        saved("b", Some(spec.clone()), true),
        saved("a", None, true),
        saved("c", None, true),
        Change::PoolForgotten("c".into()),
        Change::PoolForgotten("unknown".into()),
    ];
    commit(&store, epoch, changes).unwrap();
    drop(store);
    let restored = open().restore(epoch).unwrap().cluster.pools;
    let expected = [("a", None), ("b", Some(spec))];
    let expected = expected.map(|(name, spec)| RestoredPool { name: name.into(), spec, is_paused: true });
    assert_eq!(restored, expected);
}

pub(crate) fn what_was_ordered_for_a_slot_survives_a_restart_and_its_next_container<S: Store>(
    open: &impl Fn() -> S,
) {
    let store = open();
    let epoch = lead(&store, 0);
    let ordered = |slot, standing| Change::SlotOrdered { pool: "a".into(), slot: SlotNo(slot), standing };
    let filled = |slot, generation| Change::SlotFilled {
        pool: "a".into(),
        slot: SlotNo(slot),
        generation: Generation(generation),
    };
    let changes = vec![
        filled(1, 3),
        ordered(1, Standing::Drain),
        filled(1, 4),
        ordered(2, Standing::Restart),
        ordered(3, Standing::Drain),
        ordered(3, Standing::Serve),
    ];
    commit(&store, epoch, changes).unwrap();
    drop(store);
    let restored = open().restore(epoch).unwrap().cluster;
    let standings = [("a".into(), SlotNo(1), Standing::Drain), ("a".into(), SlotNo(2), Standing::Restart)];
    assert_eq!(restored.standings, standings);
    assert_eq!(restored.generations[0], ("a".into(), SlotNo(1), Generation(4)));
}
