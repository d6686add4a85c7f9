//! Random histories: whatever happens in whatever order, every invariant holds after every step, and
//! once the trouble ends every task ends.

use std::time::Duration;

use clb_protocol::WorkerId;
use clb_protocol::api::PoolState;
use clb_protocol::link::Yield;
use clb_protocol::pool::PoolSpec;
use clb_protocol::task::{Retry, RetryOn};
use proptest::prelude::*;

use super::world::{World, succeeded};
use crate::fleet::Standing;
use crate::input::{Cancellable, Input};

const WORKERS: u16 = 3;

#[derive(Clone, Debug)]
enum Step {
    Submit { count: usize, max_attempts: u32 },
    SubmitPutOff { span_ms: u64, priority: i8 },
    SubmitPatient { retry: Retry, max_attempts: u32 },
    Save,
    Cancel(usize),
    CancelMany { from: usize, which: Cancellable },
    Observe,
    Act,
    Join(u16),
    Report(u16),
    Succeed(u16),
    Fail(u16),
    TimeOut(u16),
    Leave(u16),
    LoseOrder { slot: u16, is_for_good: bool },
    Cut(u16),
    Kill(u16),
    NoticeDeath(u16),
    Signal(u16),
    SoftStop(u16),
    Recover(u16),
    Pass(u64),
    StoreAvailable(bool),
    ChangeLeader,
    Put { workers: u16, kind: u8 },
    Remove,
    Pause(bool),
    Order(u16, Standing),
    LoseImage(bool),
    Rebuild,
    LookAgain,
    Mix(bool),
    SetClock(i64),
}

fn retry() -> impl Strategy<Value = Retry> {
    let on = prop_oneof![Just(RetryOn::Any), Just(RetryOn::Loss)];
    (on, prop::option::of(0.0..5.0), 1.0..4.0, 0.0..20.0, 0.0..1.0)
        .prop_map(|(on, delay, factor, max_delay, jitter)| Retry { on, delay, factor, max_delay, jitter })
}

fn which() -> impl Strategy<Value = Cancellable> {
    prop_oneof![Just(Cancellable::Open), Just(Cancellable::Waiting), Just(Cancellable::Running)]
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 1..=WORKERS;
    prop_oneof![
        4 => (1..4_usize, 1..4_u32).prop_map(|(count, max_attempts)| Step::Submit { count, max_attempts }),
        2 => (0..20_000_u64, -100..=100_i8)
            .prop_map(|(span_ms, priority)| Step::SubmitPutOff { span_ms, priority }),
        2 => (retry(), 1..4_u32)
            .prop_map(|(retry, max_attempts)| Step::SubmitPatient { retry, max_attempts }),
        4 => Just(Step::Save),
        1 => (0..64_usize).prop_map(Step::Cancel),
        1 => (0..64_usize, which()).prop_map(|(from, which)| Step::CancelMany { from, which }),
        2 => Just(Step::Observe),
        6 => Just(Step::Act),
        6 => slot.clone().prop_map(Step::Join),
        3 => slot.clone().prop_map(Step::Report),
        6 => slot.clone().prop_map(Step::Succeed),
        2 => slot.clone().prop_map(Step::Fail),
        1 => slot.clone().prop_map(Step::TimeOut),
        1 => slot.clone().prop_map(Step::Leave),
        2 => (slot.clone(), any::<bool>())
            .prop_map(|(slot, is_for_good)| Step::LoseOrder { slot, is_for_good }),
        2 => slot.clone().prop_map(Step::Cut),
        3 => slot.clone().prop_map(Step::Kill),
        2 => slot.clone().prop_map(Step::NoticeDeath),
        1 => slot.clone().prop_map(Step::Signal),
        1 => slot.clone().prop_map(Step::SoftStop),
        1 => slot.prop_map(Step::Recover),
        3 => (1..4_000_u64).prop_map(Step::Pass),
        1 => any::<bool>().prop_map(Step::StoreAvailable),
        1 => Just(Step::ChangeLeader),
        2 => (0..5_u16, 0..3_u8).prop_map(|(workers, kind)| Step::Put { workers, kind }),
        1 => Just(Step::Remove),
        1 => any::<bool>().prop_map(Step::Pause),
        2 => (1..5_u16, order()).prop_map(|(slot, standing)| Step::Order(slot, standing)),
        1 => any::<bool>().prop_map(Step::LoseImage),
        1 => Just(Step::Rebuild),
        1 => Just(Step::LookAgain),
        1 => any::<bool>().prop_map(Step::Mix),
        1 => set_clock().prop_map(Step::SetClock),
    ]
}

/// By how many seconds.
fn set_clock() -> impl Strategy<Value = i64> {
    -10_000..10_000_i64
}

fn order() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Standing::Serve), Just(Standing::Drain), Just(Standing::Restart)]
}

fn put(world: &mut World, workers: u16, kind: u8) {
    let image = (kind > 0).then(|| "image".to_owned());
    let first_port = (kind != 1).then_some(3_004 + u16::from(kind));
    let spec = PoolSpec { workers, image, first_port, cpus: f64::from(kind) + 1.0, ..PoolSpec::default() };
    world.tell(Input::PoolPut { name: "default".into(), spec: Box::new(spec) });
}

/// Nobody wishes anything any more that keeps tasks from running.
fn make_up(world: &mut World) {
    world.missing_images.clear();
    world.kinds = 1;
    world.set_clock_right();
    world.tell(Input::StoreAvailable(true));
    world.tell(Input::PoolPaused { name: "default".into(), is_paused: false });
    if world.cluster.pool(&"default".into()).is_some_and(|pool| pool.workers.wanted == 0) {
        put(world, WORKERS, 0);
    }
    let names: Vec<String> = world.cluster.workers().map(|worker| worker.name).collect();
    for name in names {
        world.tell(Input::WorkerOrdered { name, standing: Standing::Serve });
    }
}

fn take(world: &mut World, step: &Step) {
    let on = |world: &mut World, slot: u16, then: &dyn Fn(&mut World, &WorkerId)| {
        if let Some(worker) = world.worker(slot) {
            then(world, &worker);
        }
    };
    match *step {
        Step::Submit { count, max_attempts } => drop(world.submit_with(count, max_attempts)),
        Step::SubmitPutOff { span_ms, priority } => {
            let until = world.now.at + Duration::from_millis(span_ms);
            world.submit_like(1, 3, |task| (task.not_before, task.priority) = (Some(until), priority));
        }
        Step::SubmitPatient { retry, max_attempts } => {
            world.submit_like(1, max_attempts, |task| task.spec.retry = Some(retry));
        }
        Step::Save => world.save(),
        Step::Cancel(index) => {
            if let Some(id) = world.rows.keys().nth(index).copied() {
                world.cancel(vec![id], Cancellable::Open);
            }
        }
        Step::CancelMany { from, which } => {
            let ids = world.rows.keys().skip(from).copied().collect();
            world.cancel(ids, which);
        }
        Step::Observe => drop(world.observe()),
        Step::Act => world.act_once(),
        Step::Join(slot) => on(world, slot, &|world, worker| world.join(worker)),
        Step::Report(slot) => on(world, slot, &|world, worker| drop(world.report(worker))),
        Step::Succeed(slot) => on(world, slot, &|world, worker| drop(world.finish(worker, &succeeded()))),
        Step::Fail(slot) => {
            on(world, slot, &|world, worker| drop(world.finish(worker, &Yield::failed("no"))));
        }
        Step::TimeOut(slot) => {
            on(world, slot, &|world, worker| drop(world.finish(worker, &Yield::TimedOut(None))));
        }
        Step::LoseOrder { slot, is_for_good } => {
            world.lose_order(slot, is_for_good.then_some("damaged"));
        }
        Step::Leave(slot) => on(world, slot, &|world, worker| world.leave(worker)),
        Step::Cut(slot) => on(world, slot, &|world, worker| world.cut(worker)),
        Step::Kill(slot) => on(world, slot, &|world, worker| world.kill(worker)),
        Step::NoticeDeath(slot) => on(world, slot, &|world, worker| {
            if !world.containers[worker].0 {
                world.tell(Input::ContainerDied(worker.clone()));
            }
        }),
        Step::Signal(slot) => on(world, slot, &|world, worker| {
            world.tell(Input::ContainerSignalled { worker: worker.clone(), signal: 15 });
        }),
        Step::SoftStop(slot) => on(world, slot, &|world, worker| world.soft_stop(worker)),
        Step::Recover(slot) => on(world, slot, &|world, worker| {
            if let Some((_, process)) = world.containers.get_mut(worker) {
                process.is_stopped = false;
            }
        }),
        Step::Pass(span_ms) => world.pass(Duration::from_millis(span_ms)),
        Step::StoreAvailable(available) => drop(world.tell(Input::StoreAvailable(available))),
        Step::ChangeLeader => world.change_leader(),
        Step::Put { workers, kind } => put(world, workers, kind),
        Step::Remove => drop(world.tell(Input::PoolRemoved("default".into()))),
        Step::Pause(is_paused) => drop(world.tell(Input::PoolPaused { name: "default".into(), is_paused })),
        Step::Order(slot, standing) => {
            world.tell(Input::WorkerOrdered { name: format!("worker-{slot}"), standing });
        }
        Step::Rebuild => world.build += 1,
        Step::LookAgain => world.build_told = Some(world.build),
        Step::SetClock(seconds) => world.set_clock(seconds),
        Step::Mix(is_mixed) => world.kinds = 1 + u32::from(is_mixed),
        Step::LoseImage(true) => drop(world.missing_images.insert("image".to_owned())),
        Step::LoseImage(false) => drop(world.missing_images.remove("image")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_whatever_happens(steps in prop::collection::vec(step(), 1..160)) {
        let mut world = World::with_workers(WORKERS);
        for step in &steps {
            take(&mut world, step);
        }
        make_up(&mut world);
        world.calm_down();
    }

    #[test]
    fn nothing_is_left_to_do_once_everything_is_done(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = World::with_workers(WORKERS);
        for step in &steps {
            take(&mut world, step);
        }
        make_up(&mut world);
        world.calm_down();
        // The longest back-off passes and everybody is healthy: the plan is empty from then on.
        for _ in 0..120 {
            for slot in 1..=WORKERS + 3 {
                if let Some(worker) = world.worker(slot) {
                    world.report(&worker);
                }
            }
            world.pass(Duration::from_secs(1));
            world.act();
            world.join_all();
        }
        let out = world.tell(Input::TimePassed);
        prop_assert!(out.fleet.is_empty() && out.orders.is_empty() && out.changes.is_empty());
        let pool = world.cluster.pool(&"default".into()).unwrap();
        prop_assert_eq!(pool.state, PoolState::Ready, "{:?}", pool);
        prop_assert_eq!(pool.workers.ready, pool.workers.wanted);
        prop_assert_eq!(world.containers.len(), usize::from(pool.workers.wanted));
        world.observe();
        prop_assert!(world.actions.is_empty(), "{:?}", world.actions);
    }

    #[test]
    fn whatever_the_clock_says_the_same_is_decided(
        steps in prop::collection::vec((step(), set_clock()), 1..80),
    ) {
        // Callers name times on the wall, and so do the records that a former leader left.
        let asks_the_wall = |step: &Step| {
            matches!(step, Step::SubmitPutOff { .. } | Step::ChangeLeader | Step::SetClock(_))
        };
        let mut worlds = [false, true].map(|is_set| {
            let mut world = World::with_workers(WORKERS);
            world.decisions = Some(Vec::new());
            for (step, seconds) in steps.iter().filter(|(step, _)| !asks_the_wall(step)) {
                if is_set {
                    world.set_clock(*seconds);
                }
                take(&mut world, step);
            }
            world
        });
        prop_assert_eq!(worlds[0].decisions.take(), worlds[1].decisions.take());
    }
}
