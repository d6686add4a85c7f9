//! Log lines keep the seed's words, wherever they are read.

use clb_protocol::seed;
use clb_tests::cluster::expect::container_of;
use clb_tests::cluster::{Cluster, MEMBERS, other_than};
use clb_tests::http::Call;
use clb_tests::{LONG, SOON, eventually, sleep};

async fn says(cluster: &Cluster, container: &str, line: &str) {
    eventually(&format!("{container} says {line:?}"), SOON, async || {
        let lines = cluster.log_lines(container).await;
        let found = lines.iter().any(|it| it.message.starts_with(line) && it.container == container);
        found.then_some(()).ok_or_else(|| lines.iter().map(|it| it.message.clone() + "\n").collect())
    })
    .await;
}

#[tokio::test]
async fn a_task_leaves_its_trace() {
    let cluster = Cluster::shared().await;
    let task = cluster.submit(sleep(2.0)).await;
    let worker = cluster.worker_of(task).await;
    cluster.ends_once(task).await;
    let leader = cluster.view().await.leader;
    let port = cluster.doors()[0].url("").rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let leader_port = if leader.as_str().ends_with('1') { port } else { port + 1 };
    for line in [
        seed::received_payload(task),
        seed::sent_payload(task, worker.port.unwrap()),
        seed::received_result(task),
        format!("Sent result: {task} for client to port: "),
    ] {
        says(&cluster, leader.as_str(), &line).await;
    }
    for line in [seed::received_payload(task), seed::sent_result_to_leader(task, leader_port)] {
        says(&cluster, &worker.name, &line).await;
        let page = Call::get(format!("http://127.0.0.1:{}/logging", worker.port.unwrap())).send().await;
        assert!(page.text().contains(&line), "{}", page.text());
        let written = container_of(&worker).logs().await;
        assert!(written.contains(&line), "{written}");
    }
    let page = cluster.door_of(leader.as_str()).get("/logging").send().await;
    assert!(page.status == 200 && page.text().contains(seed::IS_MASTER), "{}", page.text());
    let of_task = cluster.doors()[1].get(&format!("/api/v1/logs?task={task}")).send().await;
    let of_task: clb_protocol::api::LogPage = of_task.json();
    assert!(
        of_task.logs.len() >= 6 && of_task.logs.iter().all(|line| line.task == Some(task)),
        "{of_task:?}"
    );
}

#[tokio::test]
async fn the_use_of_the_machine_is_told() {
    let cluster = Cluster::shared().await;
    cluster.ends_once(cluster.submit(sleep(2.0)).await).await;
    let worker = cluster.worker("worker-1").await;
    for line in ["The CPU usage is: ", "RAM memory /%/ used: "] {
        eventually(&format!("somebody says {line:?}"), SOON, async || {
            let mut containers = vec![worker.name.as_str()];
            containers.extend(MEMBERS);
            for container in containers {
                if cluster.log_lines(container).await.iter().any(|it| it.message.starts_with(line)) {
                    return Ok(());
                }
            }
            Err("nobody does".to_owned())
        })
        .await;
    }
}

#[tokio::test]
async fn crashes_are_told() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let worker = cluster.worker("worker-2").await;
    container_of(&worker).kill().await;
    cluster.replacement_of(&worker).await;
    says(&cluster, before.leader.as_str(), seed::WORKER_CRASHED).await;
    let standby = other_than(&before.leader);
    cluster.leader().await.kill().await;
    let after = cluster.is_led_after(before.epoch).await;
    assert_eq!(after.leader.as_str(), standby);
    says(&cluster, standby, seed::IS_MASTER).await;
    says(&cluster, standby, seed::LEADER_CRASHED).await;
    cluster.has_two_orchestrators().await;
    let lines = cluster.log_lines(before.leader.as_str()).await;
    assert!(lines.iter().any(|line| line.message == seed::WORKER_CRASHED), "older lines are gone");
    eventually("log lines are in order", LONG, async || {
        let lines = cluster.log_lines("worker-1").await;
        lines.windows(2).all(|two| two[0].seq < two[1].seq).then_some(()).ok_or_else(String::new)
    })
    .await;
}
