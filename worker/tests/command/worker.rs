//! Programs from the leader's order to its result, in a worker as it runs in a container.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use clb_protocol::link::{AttemptResult, Cause, Failure, RunOrder, WorkerOrder, Yield};
use clb_protocol::task::CommandResult;
use clb_protocol::{AttemptNo, TaskId};
use serde_json::value::to_raw_value;
use tempfile::TempDir;

use crate::leader::{Answer, Leader, LeaderLink};

pub(crate) const FIRST: AttemptNo = AttemptNo(1);
/// A user without rights.
const NOBODY: u32 = 65_534;

pub(crate) fn sh(task: TaskId, script: &str) -> WorkerOrder {
    let command = ["/bin/sh", "-c", script];
    let spec = serde_json::json!({"kind": "command", "command": command, "max_attempts": 3, "timeout": 60.0});
    let (spec, group) = (to_raw_value(&spec).unwrap(), Some("nightly".to_owned()));
    WorkerOrder::Run(vec![RunOrder { task, attempt: FIRST, group, spec }])
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
    let (_worker, mut link) = start().await;
    assert_eq!(stdout(&mut link, "echo $CLB_GROUP $CLB_ATTEMPT").await, "nightly 1\n");
    let Yield::Failed(failure) = run(&mut link, "echo why >&2; exit 4").await.gave else {
        panic!("it did not fail")
    };
    assert_eq!((failure.cause, failure.error.as_str()), (Cause::Exited(4), "exit code 4: why"));
    assert!(failure.result.is_some());
}

#[tokio::test]
async fn a_timeout_and_a_cancellation_stop_a_program() {
    let (_worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, "trap '' TERM; sleep 1000; sleep 1000")).await;
    link.say(WorkerOrder::Cancel(vec![(task, FIRST)])).await;
    assert!(matches!(link.result().await.gave, Yield::Cancelled(_)));
    let spec = r#"{"kind":"command","command":["sleep","1000"],"max_attempts":3,"timeout":0.01}"#;
    let spec = serde_json::value::RawValue::from_string(spec.to_owned()).unwrap();
    let order = RunOrder { task: TaskId::now(), attempt: FIRST, group: None, spec };
    link.say(WorkerOrder::Run(vec![order])).await;
    assert!(matches!(link.result().await.gave, Yield::TimedOut(Some(_))));
}

#[tokio::test]
async fn leaving_stops_programs_and_gives_them_back() {
    let (mut worker, mut link) = start().await;
    let task = TaskId::now();
    link.say(sh(task, "sleep 1000")).await;
    link.report_with(|report| !report.logs.is_empty()).await;
    worker.ask_to_leave();
    let report = link
        .report_with(|report| report.leaving.as_ref().is_some_and(|leaving| !leaving.returned.is_empty()))
        .await;
    assert_eq!(report.leaving.unwrap().returned, [(task, FIRST)]);
    link.ended().await;
    drop(link);
    assert!(worker.process.wait().unwrap().success());
}

/// A worker in a process of its own, without rights where the tests have some.
pub(crate) struct Worker {
    process: Child,
    pub(crate) pages: String,
    _folder: TempDir,
}

impl Worker {
    fn start(leader: &Leader) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("clb-worker");
        // Copied here, it could not be run while another thread starts a process that inherits the copy.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_clb-worker")).arg(&program).status();
        assert!(copied.unwrap().success());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command
            .env("CLB_ORCHESTRATORS", &leader.url)
            .env("CLB_LISTEN", format!("127.0.0.1:{port}"))
            .env("CLB_STOP_GRACE", "0.05")
            .env("CLB_TOKEN", "the-secret")
            .stdout(Stdio::null());
        if rustix::process::getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let pages = format!("http://127.0.0.1:{port}");
        Self { process: command.spawn().unwrap(), pages, _folder: folder }
    }

    /// The most memory that it ever had.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn ask_to_leave(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn start() -> (Worker, LeaderLink) {
    let mut leader = Leader::start(1).await;
    leader.answer(Answer::LeadFor("Bearer the-secret".to_owned()));
    let worker = Worker::start(&leader);
    let link = leader.accept().await;
    (worker, link)
}

#[tokio::test]
async fn the_secret_of_the_worker_is_not_in_the_environment_of_its_programs() {
    let (worker, mut link) = start().await;
    let own = stdout(&mut link, "env | grep ^CLB_ | cut -d= -f1 | sort").await;
    assert_eq!(own, "CLB_ATTEMPT\nCLB_GROUP\nCLB_TASK_ID\n");
    let shepherds = stdout(&mut link, "tr '\\0' '\\n' </proc/$PPID/environ | grep -c ^CLB_; true").await;
    assert_eq!(shepherds, "0\n");
    let look = format!("cat /proc/{}/environ 2>&1 >/dev/null | grep -c denied", worker.process.id());
    assert_eq!(stdout(&mut link, &look).await, "1\n");
}

#[tokio::test]
async fn what_a_killed_shepherd_kept_dies_before_its_task_is_told_to_have_failed() {
    let (worker, mut link) = start().await;
    let script = "(setsid sleep 1000 & setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' &) & \
                  kill -9 $PPID; sleep 1000";
    let gave = run(&mut link, script).await.gave;
    assert!(
        matches!(&gave, Yield::Failed(Failure { cause: Cause::Error, error, .. }) if error.contains("the process that kept its program is gone")),
        "{gave:?}"
    );
    let children = format!("pgrep -P {} | grep -v \"^$PPID\\$\" | wc -l", worker.process.id());
    assert_eq!(stdout(&mut link, &children).await, "0\n");
}
