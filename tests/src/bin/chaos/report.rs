//! What is printed when a promise was broken: everything that somebody needs to find out why.

use std::collections::BTreeSet;

use clb_tests::engine::blocking;

use crate::checker::Violation;
use crate::options::Options;
use crate::world::World;

/// More of the same says no more.
const MOST: usize = 25;

/// Prints it.
pub(crate) async fn failure(world: &World, options: &Options) {
    println!("\n==== FAILED, seed {}", world.seed);
    let (least, most) = options.faults;
    println!(
        "again: cargo run -p clb-tests --bin chaos -- --seed {} --for {}s --faults {least}..{most} --waiting {} \
         --workers {} --rate {}",
        world.seed,
        options.time.as_secs(),
        options.waiting,
        options.workers,
        options.rate
    );
    let violations = world.checker().violations().to_vec();
    println!("\n==== {} broken promises", violations.len());
    for violation in violations.iter().take(MOST) {
        println!("{violation}");
    }
    println!("\n==== what happened");
    world.story().iter().for_each(|line| println!("{line}"));
    println!("\n==== the tasks");
    let tasks: BTreeSet<_> = violations.iter().flat_map(Violation::tasks).collect();
    for task in tasks.iter().take(MOST) {
        for what in ["", "/explain"] {
            tell(world, &format!("/api/v1/tasks/{task}{what}")).await;
        }
        tell(world, &format!("/api/v1/logs?task={task}&limit=50")).await;
    }
    println!("\n==== the cluster");
    for path in ["cluster", "workers", "pools", "obituaries?limit=30"] {
        tell(world, &format!("/api/v1/{path}")).await;
    }
    println!("\n==== the containers\n{}", blocking::report(&format!("{}-", world.cluster.name())));
}

async fn tell(world: &World, path: &str) {
    let answers = [world.ask(0, |door| door.get(path)).await, world.ask(1, |door| door.get(path)).await];
    let answer = answers.into_iter().reduce(Result::or);
    match answer {
        Some(Ok(answer)) => println!("{path}: {} {}", answer.status, answer.text()),
        Some(Err(why)) => println!("{path}: {why}"),
        None => {}
    }
}
