//! Programs from the leader's order to its result, in a worker of this process and in one of its own.

use std::process::{Child, Command, Stdio};

use clb_protocol::link::{AttemptResult, Cause, Failure, RunOrder, WorkerOrder, Yield};
use clb_protocol::task::CommandResult;
use clb_protocol::{AttemptNo, TaskId};
use serde_json::value::to_raw_value;

use super::leader::{Answer, Leader, LeaderLink};
use super::{FIRST, program, start_with};

fn sh(task: TaskId, script: &str) -> WorkerOrder {
    let command = ["/bin/sh", "-c", script];
    let spec = serde_json::json!({"kind": "command", "command": command, "max_attempts": 3, "timeout": 60.0});
    let (spec, group) = (to_raw_value(&spec).unwrap(), Some("nightly".to_owned()));
    WorkerOrder::Run(vec![RunOrder { task, attempt: AttemptNo(1), group, spec }])
}

async fn run(link: &mut LeaderLink, script: &str) -> AttemptResult {
    let task = TaskId::now();
    link.say(sh(task, script)).await;
    let result = link.result().await;
    assert_eq!(result.task, task);
    link.ack(&result).await;
    result
}

async fn stdout(link: &mut LeaderLink, script: &str) -> String {
    match run(link, script).await.gave {
        Yield::Succeeded(result) => {
            let result: CommandResult = serde_json::from_str(result.get()).unwrap();
            String::from_utf8(result.stdout.bytes).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_gives_its_outputs_to_the_leader() {
    let mut leader = Leader::start(1).await;
    let _worker = start_with(&[&leader], &[]);
    let mut link = leader.accept().await;
    assert_eq!(stdout(&mut link, "echo $CLB_GROUP $CLB_ATTEMPT").await, "nightly 1\n");
    let Yield::Failed(failure) = run(&mut link, "echo why >&2; exit 4").await.gave else {
        panic!("it did not fail")
    };
    assert_eq!((failure.cause, failure.error.as_str()), (Cause::Exited(4), "exit code 4: why"));
    assert!(failure.result.is_some());
}

#[tokio::test]
async fn a_timeout_and_a_cancellation_stop_a_program() {
    let mut leader = Leader::start(1).await;
    let _worker = start_with(&[&leader], &["--stop-grace", "0.05"]);
    let mut link = leader.accept().await;
    let task = TaskId::now();
    link.say(sh(task, "trap '' TERM; sleep 1000; sleep 1000")).await;
    link.say(WorkerOrder::Cancel(vec![(task, FIRST)])).await;
    assert!(matches!(link.result().await.gave, Yield::Cancelled));
    let spec = r#"{"kind":"command","command":["sleep","1000"],"max_attempts":3,"timeout":0.01}"#;
    let spec = serde_json::value::RawValue::from_string(spec.to_owned()).unwrap();
    let order = RunOrder { task: TaskId::now(), attempt: FIRST, group: None, spec };
    link.say(WorkerOrder::Run(vec![order])).await;
    assert!(matches!(link.result().await.gave, Yield::TimedOut(Some(_))));
}

#[tokio::test]
async fn leaving_stops_programs_and_gives_them_back() {
    let mut leader = Leader::start(1).await;
    let worker = start_with(&[&leader], &[]);
    let mut link = leader.accept().await;
    let task = TaskId::now();
    link.say(sh(task, "sleep 1000")).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    worker.desk.leave().await.unwrap();
    let report = link
        .report_with(|report| report.leaving.as_ref().is_some_and(|leaving| !leaving.returned.is_empty()))
        .await;
    assert_eq!(report.leaving.unwrap().returned, [(task, FIRST)]);
    link.ended().await;
    drop(link);
    worker.task.await.unwrap();
}

/// A worker in a process of its own, as in a container.
struct Process(Child);

impl Process {
    fn start(leader: &Leader) -> Self {
        let worker = Command::new(program())
            .env("CLB_ORCHESTRATORS", &leader.url)
            .env("CLB_LISTEN", "127.0.0.1:0")
            .env("CLB_TOKEN", "the-secret")
            .stdout(Stdio::null())
            .spawn();
        Self(worker.unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn in_a_process() -> (Process, LeaderLink) {
    let mut leader = Leader::start(1).await;
    leader.answer(Answer::LeadFor("Bearer the-secret".to_owned()));
    let worker = Process::start(&leader);
    let link = leader.accept().await;
    (worker, link)
}

#[tokio::test]
async fn the_secret_of_the_worker_is_not_in_the_environment_of_its_programs() {
    let (worker, mut link) = in_a_process().await;
    let own = stdout(&mut link, "env | grep ^CLB_ | cut -d= -f1 | sort").await;
    assert_eq!(own, "CLB_ATTEMPT\nCLB_GROUP\nCLB_TASK_ID\n");
    let shepherds = stdout(&mut link, "tr '\\0' '\\n' </proc/$PPID/environ | grep -c ^CLB_; true").await;
    assert_eq!(shepherds, "0\n");
    // Only root may still look into a process that is not dumpable.
    let owner = stdout(&mut link, &format!("stat -c %u /proc/{}/environ", worker.0.id())).await;
    assert_eq!(owner, "0\n");
}

#[tokio::test]
async fn what_a_killed_shepherd_kept_dies_before_its_task_is_told_to_have_failed() {
    let (worker, mut link) = in_a_process().await;
    let script = "(setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' &) & \
                  kill -9 $PPID; sleep 1000";
    let gave = run(&mut link, script).await.gave;
    assert!(
        matches!(&gave, Yield::Failed(Failure { cause: Cause::Error, error, .. }) if error.contains("the process that kept its program is gone")),
        "{gave:?}"
    );
    let children = format!("pgrep -P {} | grep -v \"^$PPID\\$\" | wc -l", worker.0.id());
    assert_eq!(stdout(&mut link, &children).await, "0\n");
}
