//! The agent with programs: what it has done to them, and when their attempts end.

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
    assert_eq!(bench.agent.greet().hello.running[0].task, task, "it still has its slot");
    bench.pass(SECOND);
    assert!(bench.done_to_programs().is_empty(), "it is asked once");
    bench.program_ended(task, Yield::TimedOut(None));
    assert_eq!(gave(&bench.agent.greet().hello.finished[0].gave), "timed out");
}

#[test]
fn a_cancelled_program_keeps_its_slot_until_it_is_gone() {
    let mut bench = Bench::linked(1);
    let task = bench.run_command();
    bench.done_to_programs();
    bench.order(WorkerOrder::Cancel(vec![(task, FIRST)]));
    assert_eq!(bench.done_to_programs(), ["stop Cancelled within 5s"]);
    assert!(bench.say().0.is_empty());
    bench.program_ended(task, Yield::Cancelled);
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
    bench.program_ended(stopped, Yield::Cancelled);
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
    bench.program_ended(task, Yield::Cancelled);
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
    bench.program_ended(task, Yield::Cancelled);
    bench.agent.flip(Incarnation(Uuid::now_v7()), bench.now);
    assert!(bench.agent.greet().hello.finished.is_empty());
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
    assert_eq!(bench.agent.greet().hello.finished.len(), 1, "a greeting has room for no more either");
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
    let hello = bench.agent.greet().hello;
    assert_eq!(hello.finished.iter().map(|it| it.task).collect::<Vec<_>>(), [first]);
    assert_eq!(hello.running.iter().map(|it| it.task).collect::<Vec<_>>(), [second]);
    assert!(bench.welcome(2));
    assert_eq!(bench.say().0.len(), 1);
}
