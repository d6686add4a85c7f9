//! What a pool is doing, and why, by what fills its slots.

use clb_protocol::api::PoolState;

use crate::build::Builds;
use crate::fleet::{Slot, Stage};

use super::{Image, Pool};

pub(super) fn state_of(
    pool: &Pool,
    slots: &[&Slot],
    builds: &Builds,
    is_unsettled: bool,
) -> (PoolState, Option<String>) {
    if pool.is_removing {
        return (PoolState::Removing, None);
    }
    if let Some(reason) = &pool.fault {
        return (PoolState::Failed, Some(reason.clone()));
    }
    if let Image::Failed { reason, .. } = &pool.image {
        return (PoolState::Failed, Some(reason.clone()));
    }
    let is_bad = |slot: &&&Slot| match &slot.stage {
        Stage::Vacant { not_before } => *not_before > slot.since,
        _ => false,
    };
    let trouble = || slots.iter().find(is_bad).and_then(|slot| slot.reason.clone());
    let is_up = slots.iter().any(|slot| matches!(slot.stage, Stage::Up(_)));
    if pool.wanted() > 0 && !is_up {
        return match trouble() {
            Some(reason) => (PoolState::Failed, Some(reason)),
            None => (PoolState::Preparing, pool.image_under_way()),
        };
    }
    let is_moving = |slot: &&Slot| slot.no.0 > pool.wanted() || pool.is_outdated(slot, builds);
    if is_unsettled && slots.iter().any(is_moving) {
        return (PoolState::Updating, trouble());
    }
    (PoolState::Ready, trouble())
}
