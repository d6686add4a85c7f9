//! The agent with programs: what it has done to them, and when their attempts end.

use clb_protocol::api::Progress;

use super::*;

impl Bench {
    fn run_command(&mut self) -> TaskId {
        let task = TaskId::now();
        let spec = r#"{"kind":"command","command":["true"],"max_attempts":3,"timeout":60.0}"#.to_owned();
        let (spec, group) = (RawValue::from_string(spec).unwrap(), Some("nightly".to_owned()));
        self.order(WorkerOrder::Run(vec![RunOrder { task, attempt: FIRST, group, spec }]));
        task
    }

    /// What is to be done to programs.
    fn done_to_programs(&mut self) -> Vec<String> {
        let told = |effect| match effect {
            Effect::Start(job) => Some(format!("start for {}", job.group.unwrap_or_default())),
            Effect::Stop(_, stop) => Some(format!("stop {:?} within {:?}", stop.gives, stop.grace)),
            Effect::Abandon(_) => Some("abandon".to_owned()),
            Effect::Note(..) | Effect::Burn(_) => None,
        };
        self.agent.take_effects().filter_map(told).collect()
    }

    fn program_ended(&mut self, task: TaskId, gave: Yield) {
        self.agent.handle_ended(Ended { key: (task, FIRST), gave }, self.now);
    }
}

#[test]
fn a_program_that_outruns_its_timeout_is_stopped_and_ends_when_it_has() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    assert_eq!(bench.done_to_programs(), ["start for nightly"]);
    bench.order(WorkerOrder::Ping);
    bench.pass(Duration::from_mins(1));
    assert_eq!(bench.done_to_programs(), ["stop TimedOut within 5s"]);
    assert_eq!(bench.agent.greet(bench.now).hello.running[0].task, task, "it still has its slot");
    bench.pass(SECOND);
    assert!(bench.done_to_programs().is_empty(), "it is asked once");
    bench.program_ended(task, Yield::TimedOut(None));
    assert_eq!(gave(&bench.agent.greet(bench.now).hello.finished[0].gave), "timed out");
}

#[test]
fn a_cancelled_program_keeps_its_slot_until_it_is_gone() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    bench.done_to_programs();
    bench.order(WorkerOrder::Cancel(vec![(task, FIRST)]));
    assert_eq!(bench.done_to_programs(), ["stop Cancelled within 5s"]);
    assert!(bench.say().0.is_empty());
    bench.program_ended(task, Yield::Cancelled(None));
    assert_eq!(bench.say().0, [(task, "cancelled".to_owned())]);
}

#[test]
fn a_program_that_ended_before_it_could_be_stopped_has_its_own_result() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    bench.order(WorkerOrder::Cancel(vec![(task, FIRST)]));
    bench.program_ended(task, Yield::failed("no"));
    assert_eq!(bench.say().0, [(task, "failed: no".to_owned())]);
}

#[test]
fn leaving_gives_programs_back_once_they_have_stopped() {
    let mut bench = Bench::linked(1);
    let (stopped, finished) = (bench.run_command(), bench.run_command());
    bench.done_to_programs();
    bench.agent.handle_leave(bench.now);
    let both = ["stop Cancelled within 2s", "stop Cancelled within 2s"];
    assert_eq!(bench.done_to_programs(), both);
    assert!(bench.say().1.unwrap().returned.is_empty());
    assert_eq!(bench.wish(), Wish::Keep);
    bench.program_ended(stopped, Yield::Cancelled(None));
    assert_eq!(bench.say().1.unwrap().returned, [(stopped, FIRST)]);
    bench.program_ended(finished, Yield::failed("no"));
    assert_eq!(bench.say().0.len(), 1, "what ended by itself is not given back");
    bench.order(WorkerOrder::Ack(vec![(finished, FIRST)]));
    assert_eq!(bench.wish(), Wish::Finish);
}

#[test]
fn a_program_that_was_cancelled_before_is_not_given_back() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    bench.order(WorkerOrder::Cancel(vec![(task, FIRST)]));
    bench.agent.handle_leave(bench.now);
    bench.program_ended(task, Yield::Cancelled(None));
    let (finished, leaving) = bench.say();
    assert_eq!(finished, [(task, "cancelled".to_owned())]);
    assert!(leaving.unwrap().returned.is_empty());
}

#[test]
fn a_simulated_crash_kills_programs_and_hears_no_more_of_them() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    bench.done_to_programs();
    bench.agent.flip(Incarnation(Uuid::now_v7()), bench.now);
    assert_eq!(bench.done_to_programs(), ["abandon"]);
    bench.program_ended(task, Yield::Cancelled(None));
    bench.agent.flip(Incarnation(Uuid::now_v7()), bench.now);
    assert!(bench.agent.greet(bench.now).hello.finished.is_empty());
}

#[test]
fn large_results_go_in_several_lines_each_once() {
    let mut bench = Bench::linked(1);
    let large = || serde_json::value::to_raw_value(&"x".repeat(5 << 20)).unwrap();
    let tasks: Vec<TaskId> = (0..3).map(|_| bench.run_command()).collect();
    for task in &tasks {
        bench.program_ended(*task, Yield::Succeeded(large()));
    }
    for task in &tasks {
        assert!(bench.agent.has_news(bench.now));
        let said: Vec<TaskId> = bench.say().0.into_iter().map(|(task, _)| task).collect();
        assert_eq!(said, [*task]);
    }
    assert!(!bench.agent.has_news(bench.now));
    bench.agent.handle_unlinked(bench.now, "test");
    assert_eq!(
        bench.agent.greet(bench.now).hello.finished.len(),
        1,
        "a greeting has room for no more either"
    );
    assert!(bench.welcome(2));
    assert_eq!((bench.say().0.len(), bench.say().0.len()), (1, 1), "the others follow");
}

#[test]
fn a_result_without_room_in_the_greeting_counts_as_running_there_and_follows() {
    let mut bench = Bench::linked(1);
    let (first, second) = (bench.run_command(), bench.run_command());
    for task in [first, second] {
        let large = format!("\"{}\"", "x".repeat(5 << 20));
        bench.program_ended(task, Yield::Succeeded(RawValue::from_string(large).unwrap()));
    }
    bench.agent.handle_unlinked(bench.now, "test");
    let hello = bench.agent.greet(bench.now).hello;
    assert_eq!(hello.finished.iter().map(|it| it.task).collect::<Vec<_>>(), [first]);
    assert_eq!(hello.running.iter().map(|it| it.task).collect::<Vec<_>>(), [second]);
    assert!(bench.welcome(2));
    assert_eq!(bench.say().0.len(), 1);
}

#[test]
fn progress_is_said_once_on_each_link_and_ends_with_its_attempt() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    let told = |fraction| Progress { fraction, note: None, at: Timestamp(0) };
    for fraction in [0.1, 0.2] {
        bench.agent.handle_progress((task, FIRST), told(fraction));
    }
    let said = |bench: &mut Bench| {
        let said: Vec<f64> = bench.agent.report().progress.iter().map(|it| it.progress.fraction).collect();
        bench.say();
        said
    };
    assert!(bench.agent.has_news(bench.now));
    assert_eq!((said(&mut bench), said(&mut bench)), (vec![0.2], vec![]));
    bench.agent.handle_unlinked(bench.now, "test");
    assert!(bench.welcome(2));
    assert_eq!(said(&mut bench), [0.2], "a new leader hears it again");
    bench.agent.handle_progress((task, FIRST), told(0.3));
    bench.program_ended(task, Yield::failed("no"));
    bench.agent.handle_progress((task, FIRST), told(0.4));
    assert!(said(&mut bench).is_empty());
}

#[test]
fn what_failed_is_kept_for_a_while_after_its_acknowledgement() {
    let mut bench = Bench::linked(1);
    let (failed, succeeded) = (bench.run_command(), bench.run_command());
    let value = serde_json::value::to_raw_value(&7).unwrap();
    bench.program_ended(failed, Yield::TimedOut(Some(value.clone())));
    bench.program_ended(succeeded, Yield::Succeeded(value));
    bench.order(WorkerOrder::Ack(vec![(failed, FIRST), (succeeded, FIRST)]));
    let kept = bench.agent.whereabouts((failed, FIRST));
    assert!(matches!(kept, Whereabouts::Ended(Some(gave)) if gave.get() == "7"));
    assert!(matches!(bench.agent.whereabouts((succeeded, FIRST)), Whereabouts::Unknown), "the leader has it");
}
