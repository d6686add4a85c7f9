//! Whoever breaks things: which faults strike (`draw`), what they do (`strike`), and what must be so after
//! them (`heal`).

mod draw;
mod heal;
mod strike;

use std::time::Duration;

use clb_tests::engine::Gate;
use tokio::sync::Notify;

pub(crate) use draw::{Crew, Round, draw};
pub(crate) use heal::{get, heals};
pub(crate) use strike::pool_spec;

use crate::world::World;
use strike::Striker;

/// No command of the engine takes so long, not even of one that has stalled for a while.
const LIMIT: Duration = Duration::from_mins(2);

const REVIVAL: Duration = Duration::from_secs(5);

/// All faults of a round, at once; ends when those that last for a time are undone.
pub(crate) async fn strike_all(world: &World, gate: &Gate, crew: Crew, number: u64, round: &Round) {
    let striker = &Striker { world, gate, crew };
    let all = round.faults.iter().map(|(delay, fault)| async move {
        tokio::time::sleep(*delay).await;
        world.tell(&format!("round {number}: {fault}"));
        match tokio::time::timeout(LIMIT, striker.strike(*fault)).await {
            Ok(Ok(done)) => world.tell(&format!("  done: {fault}: {done}")),
            Ok(Err(why)) => world.tell(&format!("  without effect: {fault}: {why}")),
            Err(_) => world.tell(&format!("  not done within {} s: {fault}", LIMIT.as_secs())),
        }
    });
    let over = Notify::new();
    let struck = async {
        futures::future::join_all(all).await;
        over.notify_one();
    };
    tokio::join!(struck, revive_the_last(world, &over));
    tokio::time::sleep(round.rest).await;
}

/// Somebody comes after a while when both orchestrators are dead, and finishes what was begun: one that was never
/// made again is missed by nobody.
async fn revive_the_last(world: &World, over: &Notify) {
    loop {
        tokio::select! {
            () = over.notified() => return,
            () = tokio::time::sleep(REVIVAL) => world.cluster.revive_if_nobody_lives().await,
        }
    }
}
