//! Breaks a real cluster at random, for as long as you like, while tasks are submitted all the time, and checks that
//! no promise breaks with it.
//!
//!     cargo run -p clb-tests --bin chaos -- --seed 7 --for 10m
//!
//! ```text
//! workload  what callers do        drawn from the seed
//! nemesis   what breaks            drawn from the seed, 1 to 3 faults at once
//! checker   what must hold         pure, with tests of its own
//! watch     what is seen           outcomes, leaders
//! finale    the end                everything read again, all slots filled, everything removed
//! report    what is printed when a promise was broken
//! ```
//!
//! The same seed gives the same faults in the same order; which task they meet is the machine's chance.

#![allow(clippy::print_stdout, reason = "it is a program for people")]

mod checker;
mod finale;
mod nemesis;
mod options;
mod report;
mod watch;
mod workload;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use clap::Parser as _;
use clb_protocol::OutcomeSeq;
use clb_tests::Setup;
use clb_tests::cluster::WorkerKind;
use clb_tests::dice::Dice;
use clb_tests::engine::Gate;
use clb_tests::images::images;

use checker::Violation;
use nemesis::Crew;
use options::Options;
use watch::Watch;
use workload::{PROGRAMS, Stream, Waiting};
use world::World;

const PROGRAM_WORKERS: u16 = 2;
const SLOTS: u16 = 8;
/// How many tasks may wait beside those that wait all the time.
const ROOM: u64 = 100_000;
const READ_AGAIN: u64 = 200;
/// What is drawn for looking.
const SUBJECT: u64 = 0x6c6f_6f6b;
const SHOWN_ROUNDS: u64 = 50;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(seed_of_now);
    println!("seed {seed}");
    let crew = Crew { workers: options.workers, programs: PROGRAM_WORKERS };
    if options.dry_run {
        show(seed, &options, crew);
        return ExitCode::SUCCESS;
    }
    let gate = Gate::open();
    let setup = Setup::new().workers(crew.workers).slots(SLOTS).kind(WorkerKind::WithFixture).gate(&gate);
    let setup = setup.option("CLB_QUEUE_LIMIT", options.waiting + ROOM);
    let cluster = setup.start().await;
    cluster.run_database().await;
    cluster.has_pool(PROGRAMS, &nemesis::pool_spec(&images().await.worker_with_fixture, crew, 0)).await;
    let world = Arc::new(World::new(cluster, seed));
    run(&world, &gate, &options, crew).await;
    let checker = world.checker();
    if checker.violations().is_empty() {
        println!("all is well: {} answers, {} outcomes, seed {seed}", checker.answers(), checker.ended());
        return ExitCode::SUCCESS;
    }
    drop(checker);
    ExitCode::FAILURE
}

/// Runs it to its end, or until a promise breaks, and tells everything then.
async fn run(world: &Arc<World>, gate: &Arc<Gate>, options: &Options, crew: Crew) {
    let driven = drive(Arc::clone(world), Arc::clone(gate), options.clone(), crew);
    match tokio::spawn(driven).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => world.found(Violation::NotHealed(why)),
        // The harness panics when something is not to be had.
        Err(panic) => world.found(Violation::NotHealed(format!("the run broke off: {panic}"))),
    }
    if world.checker().violations().is_empty() {
        finale::tear_down(world).await;
    }
    if !world.checker().violations().is_empty() {
        report::failure(world, options).await;
    }
}

async fn drive(world: Arc<World>, gate: Arc<Gate>, options: Options, crew: Crew) -> Result<(), String> {
    let waiting = Waiting(options.waiting);
    if waiting.0 > 0 {
        world.tell(&format!("{} tasks begin to wait", waiting.0));
        waiting.fill(&world).await?;
    }
    let watch = Watch::begin(&world);
    let stream = Stream::begin(&world, options.rate);
    turmoil(&world, &gate, &options, crew).await?;
    if !world.checker().violations().is_empty() {
        return Ok(());
    }
    stream.end().await?;
    finale::check(&world, waiting, u64::from(crew.workers * SLOTS)).await?;
    watch.end().await
}

async fn turmoil(world: &World, gate: &Gate, options: &Options, crew: Crew) -> Result<(), String> {
    let until = Instant::now() + options.time;
    let workers = usize::from(crew.workers + crew.programs) + usize::from(options.waiting > 0);
    let mut number = 0;
    while Instant::now() < until {
        let round = nemesis::draw(world.seed, number, options.faults, crew);
        nemesis::strike_all(world, gate, crew, number, &round).await;
        nemesis::heals(world, workers).await;
        if !world.checker().violations().is_empty() {
            return Ok(());
        }
        let last = world.checker().last();
        let after = OutcomeSeq(Dice::about(world.seed, SUBJECT, number).roll(last.0 + 1));
        watch::read_some_again(world, after, READ_AGAIN).await?;
        let open = world.checker().waiting();
        let ended = world.checker().ended();
        world.tell(&format!(
            "  {ended} outcomes, {open} open, epoch {}",
            world.leadership().epoch().unwrap_or_default()
        ));
        number += 1;
    }
    Ok(())
}

fn seed_of_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64 % 1_000_000_000
}

fn show(seed: u64, options: &Options, crew: Crew) {
    for number in 0..SHOWN_ROUNDS {
        for (delay, fault) in nemesis::draw(seed, number, options.faults, crew).faults {
            println!("round {number}, after {delay:?}: {fault}");
        }
    }
}
