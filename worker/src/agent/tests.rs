//! The agent alone: its inputs and what it says, at times that the tests make up.

mod programs;

use super::*;
use clb_protocol::link::{RunOrder, WorkerOrder, Yield};
use clb_protocol::{AttemptNo, Generation, PoolName, SlotNo, TaskId};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::run::Ended;

const FIRST: AttemptNo = AttemptNo(1);

struct Bench {
    agent: Agent,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let worker = WorkerId { pool: PoolName::from("default"), slot: SlotNo(1), generation: Generation(1) };
        let container = ContainerId::from("c0ffee");
        let orphan_limit = Duration::from_mins(5);
        let identity =
            Identity { worker, container, port: 3004, slots: 2, orphan_limit, stop_grace: 5 * SECOND };
        let now = Now { at: Timestamp(1_000_000), instant: Instant::now() };
        Self { agent: Agent::new(identity, Incarnation(Uuid::now_v7()), now), now }
    }

    fn linked(epoch: u64) -> Self {
        let mut bench = Self::new();
        assert!(bench.welcome(epoch));
        bench
    }

    fn welcome(&mut self, epoch: u64) -> bool {
        let greeting = self.agent.greet(self.now);
        self.agent.handle_welcome(welcome(epoch), &greeting, self.now)
    }

    fn order(&mut self, order: WorkerOrder) {
        self.agent.handle_order(order, self.now);
    }

    fn run(&mut self, task: TaskId, kind: &str, seconds: f64) {
        let spec =
            format!(r#"{{"kind":"{kind}","seconds":{seconds},"add":[1,2],"max_attempts":3,"timeout":60.0}}"#);
        let spec = RawValue::from_string(spec).unwrap();
        self.order(WorkerOrder::Run(vec![RunOrder { task, attempt: FIRST, group: None, spec }]));
    }

    fn pass(&mut self, span: Duration) {
        self.now = Now { at: self.now.at + span, instant: self.now.instant + span };
        self.agent.handle_time(self.now);
    }

    /// Says what is to be said, and returns what it was.
    fn say(&mut self) -> (Vec<(TaskId, String)>, Option<Leaving>) {
        let report = self.agent.report();
        let finished = report.finished.iter().map(|it| (it.task, gave(&it.gave))).collect();
        let leaving = report.leaving;
        self.agent.handle_said(self.now);
        (finished, leaving)
    }

    fn wish(&self) -> Wish {
        self.agent.wish(self.now)
    }
}

fn welcome(epoch: u64) -> Welcome {
    Welcome { epoch: Epoch(epoch), leader: "orchestrator-1".into(), port: 3002, orchestrators: Vec::new() }
}

fn gave(gave: &Yield) -> String {
    match gave {
        Yield::Succeeded(result) => result.to_string(),
        Yield::Failed(why) => format!("failed: {}", why.error),
        Yield::TimedOut(_) => "timed out".to_owned(),
        Yield::Cancelled(_) => "cancelled".to_owned(),
    }
}

fn sum(task: TaskId) -> (TaskId, String) {
    (task, r#"{"sum":3}"#.to_owned())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_task_of_no_length_is_answered_in_the_same_moment() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 0.0);
    assert!(bench.agent.has_news(bench.now));
    assert_eq!(bench.say().0, [sum(task)]);
    assert!(!bench.agent.has_news(bench.now), "it is said once on one link");
}

#[test]
fn a_sleep_ends_at_its_deadline_and_not_before() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 0.25);
    let deadline = bench.agent.next_deadline(bench.now).unwrap();
    assert_eq!(deadline, bench.now.instant + Duration::from_millis(250));
    bench.pass(Duration::from_millis(249));
    assert!(bench.say().0.is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.say().0, [sum(task)]);
}

#[test]
fn the_same_attempt_ordered_twice_runs_once() {
    let mut bench = Bench::linked(1);
    let (running, over) = (TaskId::now(), TaskId::now());
    for _ in 0..2 {
        bench.run(running, "sleep", 5.0);
        bench.run(over, "sleep", 0.0);
    }
    assert_eq!(bench.agent.greet(bench.now).hello.running.len(), 1);
    assert_eq!(bench.say().0, [sum(over)]);
}

#[test]
fn a_cancelled_attempt_ends_with_a_result_and_its_thread_is_told() {
    let mut bench = Bench::linked(1);
    let (slept, spun) = (TaskId::now(), TaskId::now());
    bench.run(slept, "sleep", 5.0);
    bench.run(spun, "spin", 5.0);
    bench.order(WorkerOrder::Cancel(vec![(slept, FIRST), (spun, FIRST), (TaskId::now(), FIRST)]));
    let cancelled = |task| (task, "cancelled".to_owned());
    assert_eq!(bench.say().0, [cancelled(slept), cancelled(spun)]);
    bench.agent.handle_ended(Ended { key: (spun, FIRST), gave: Yield::TimedOut(None) }, bench.now);
    assert!(bench.say().0.is_empty(), "the end of its thread says nothing new");
}

#[test]
fn a_spin_beyond_its_timeout_times_out() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "spin", 3_600.0);
    bench.order(WorkerOrder::Ping);
    bench.pass(Duration::from_mins(1));
    assert_eq!(gave(&bench.agent.greet(bench.now).hello.finished[0].gave), "timed out");
}

#[test]
fn orchestrators_that_are_named_later_are_known_when_the_link_ends() {
    let mut bench = Bench::linked(1);
    let orchestrators = vec!["http://b:3012/".to_owned()];
    bench.order(WorkerOrder::Welcome(Welcome { orchestrators, ..welcome(1) }));
    bench.agent.handle_unlinked(bench.now, "test");
    assert_eq!(bench.agent.named(), ["http://b:3012"]);
}

#[test]
fn a_result_is_kept_over_links_until_it_is_acknowledged() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 0.0);
    bench.say();
    bench.agent.handle_unlinked(bench.now, "test");
    assert_eq!(bench.agent.greet(bench.now).hello.finished.len(), 1);
    assert!(bench.welcome(2));
    assert!(bench.say().0.is_empty(), "the greeting has said it");
    bench.order(WorkerOrder::Ack(vec![(task, FIRST)]));
    assert!(bench.agent.greet(bench.now).hello.finished.is_empty());
}

#[test]
fn a_result_that_came_after_the_greeting_was_written_is_reported() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 1.0);
    bench.agent.handle_unlinked(bench.now, "test");
    let greeting = bench.agent.greet(bench.now);
    assert_eq!(greeting.hello.running.len(), 1);
    bench.pass(SECOND);
    assert!(bench.agent.handle_welcome(welcome(2), &greeting, bench.now));
    assert_eq!(bench.say().0, [sum(task)]);
}

#[test]
fn a_term_that_is_over_has_no_say() {
    let mut bench = Bench::linked(7);
    bench.agent.handle_unlinked(bench.now, "test");
    assert!(!bench.welcome(6));
    let task = TaskId::now();
    bench.run(task, "sleep", 0.0);
    assert!(bench.agent.greet(bench.now).hello.finished.is_empty(), "an order without a link is none");
    assert!(bench.welcome(7));
    assert!(bench.agent.fence() == Epoch(7));
}

#[test]
fn a_quiet_leader_makes_it_look_elsewhere_and_a_silent_one_is_given_up() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 60.0);
    bench.pass(SECOND);
    assert_eq!(bench.wish(), Wish::Keep);
    bench.pass(SECOND);
    assert_eq!(bench.wish(), Wish::LookElsewhere);
    bench.pass(SECOND);
    assert_eq!(bench.wish(), Wish::Look);
    assert_eq!(bench.agent.greet(bench.now).hello.running.len(), 1, "what runs goes on");
}

#[test]
fn a_leader_that_speaks_again_makes_the_greeting_for_another_one_stale() {
    let mut bench = Bench::linked(1);
    bench.pass(2 * SECOND);
    let greeting = bench.agent.greet(bench.now);
    bench.run(TaskId::now(), "sleep", 5.0);
    assert!(!bench.agent.handle_welcome(welcome(2), &greeting, bench.now));
    assert!(bench.welcome(2));
}

#[test]
fn a_heartbeat_is_due_each_second() {
    let mut bench = Bench::linked(1);
    assert!(!bench.agent.has_news(bench.now));
    bench.pass(SECOND);
    assert!(bench.agent.has_news(bench.now));
    bench.say();
    assert!(!bench.agent.has_news(bench.now));
}

#[test]
fn without_a_leader_for_too_long_it_ends_itself() {
    let mut bench = Bench::new();
    bench.pass(Duration::from_secs(299));
    assert_eq!(bench.wish(), Wish::Look);
    assert_eq!(bench.agent.next_deadline(bench.now), Some(bench.now.instant + SECOND));
    bench.pass(SECOND);
    assert_eq!(bench.wish(), Wish::End(Ending::Orphaned));
}

#[test]
fn leaving_gives_back_what_runs_and_waits_for_the_acknowledgements() {
    let mut bench = Bench::linked(1);
    let (over, running, late) = (TaskId::now(), TaskId::now(), TaskId::now());
    bench.run(over, "sleep", 0.0);
    bench.run(running, "spin", 5.0);
    bench.agent.handle_leave(bench.now);
    let (finished, leaving) = bench.say();
    assert_eq!(finished, [sum(over)]);
    assert_eq!(leaving.unwrap().returned, [(running, FIRST)]);
    assert_eq!(bench.wish(), Wish::Keep);
    bench.run(late, "sleep", 0.0);
    assert_eq!(bench.say().1.unwrap().returned, [(late, FIRST)], "it crossed the farewell");
    bench.order(WorkerOrder::Ack(vec![(over, FIRST)]));
    assert_eq!(bench.wish(), Wish::Finish);
    bench.agent.handle_unlinked(bench.now, "test");
    assert_eq!(bench.wish(), Wish::End(Ending::Left));
}

#[test]
fn leaving_does_not_wait_for_ever() {
    let mut bench = Bench::linked(1);
    bench.agent.handle_leave(bench.now);
    bench.say();
    assert_eq!(bench.wish(), Wish::Finish);
    bench.pass(Duration::from_millis(250));
    assert_eq!(bench.wish(), Wish::End(Ending::Left));

    let mut bench = Bench::linked(1);
    bench.run(TaskId::now(), "sleep", 0.0);
    bench.agent.handle_leave(bench.now);
    bench.say();
    bench.agent.handle_unlinked(bench.now, "test");
    assert_eq!(bench.wish(), Wish::Look, "its result is not safe yet");
    bench.pass(3 * SECOND);
    assert_eq!(bench.wish(), Wish::End(Ending::Left));
}

#[test]
fn leaving_with_nothing_to_hand_over_and_nobody_to_hand_it_to_is_at_once() {
    let mut bench = Bench::new();
    bench.agent.handle_leave(bench.now);
    assert_eq!(bench.wish(), Wish::End(Ending::Left));
}

#[test]
fn the_farewell_is_said_again_to_the_next_leader() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 5.0);
    bench.agent.handle_unlinked(bench.now, "test");
    bench.agent.handle_leave(bench.now);
    assert_eq!(bench.agent.greet(bench.now).hello.running[0].task, task, "the next leader knows whose it is");
    assert!(bench.welcome(2));
    assert_eq!(bench.say().1.unwrap().returned, [(task, FIRST)]);
}

#[test]
fn a_simulated_crash_forgets_everything_and_comes_back_as_somebody_else() {
    let mut bench = Bench::linked(1);
    bench.run(TaskId::now(), "sleep", 0.0);
    bench.run(TaskId::now(), "sleep", 5.0);
    let before = bench.agent.greet(bench.now).hello.incarnation;
    assert!(bench.agent.flip(Incarnation(Uuid::now_v7()), bench.now));
    assert_eq!(bench.wish(), Wish::Off);
    assert!(!bench.agent.may_speak());
    assert!(!bench.agent.flip(Incarnation(Uuid::now_v7()), bench.now));
    assert_eq!(bench.wish(), Wish::Look);
    let hello = bench.agent.greet(bench.now).hello;
    assert!(hello.running.is_empty() && hello.finished.is_empty());
    assert_ne!(hello.incarnation, before);
}

#[test]
fn a_bad_spec_fails_with_a_sentence_and_more_than_its_slots_is_a_warning() {
    let mut bench = Bench::linked(1);
    bench.run(TaskId::now(), "dance", 1.0);
    assert!(bench.say().0[0].1.starts_with("failed: this worker cannot run such a task"));
    for _ in 0..3 {
        bench.run(TaskId::now(), "sleep", 5.0);
    }
    let warned = bench.agent.take_effects().any(|effect| {
        matches!(effect, Effect::Note(_, Note::Text(text)) if text.contains("more than its 2 slots"))
    });
    assert!(warned);
    assert_eq!(bench.agent.view(bench.now).running.len(), 3);
}

#[test]
fn a_borrowed_report_reads_as_the_message_of_the_protocol() {
    let mut bench = Bench::linked(1);
    let task = TaskId::now();
    bench.run(task, "sleep", 0.0);
    bench.agent.handle_leave(bench.now);
    let mut report = bench.agent.report();
    report.logs.push(LogLine { at: bench.now.at, task: None, message: "word".to_owned() });
    let text = serde_json::to_string(&report).unwrap();
    let read: clb_protocol::link::WorkerReport = serde_json::from_str(&text).unwrap();
    assert_eq!((read.finished[0].task, read.leaving.is_some(), read.logs.len()), (task, true, 1));
    assert_eq!(text, serde_json::to_string(&read).unwrap());
}

#[test]
fn the_leader_hears_how_long_an_attempt_has_run_however_the_clock_was_set() {
    let mut bench = Bench::linked(1);
    bench.run(TaskId::now(), "sleep", 3_600.0);
    bench.now.at = Timestamp(bench.now.at.0 - 7_200_000_000);
    bench.now.instant += Duration::from_secs(5);
    assert_eq!(bench.agent.greet(bench.now).hello.running[0].ran_for, Duration::from_secs(5));
}
