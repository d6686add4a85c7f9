//! Submitting a task that has ended: it is known, whatever became of the queue and of its pool.

use clb_protocol::api::{BatchEntry, TaskView};
use clb_protocol::task::TaskRequest;
use clb_tests::cluster::Cluster;
use clb_tests::images::images;
use clb_tests::{Setup, sleep};
use serde_json::json;

/// Submits both once more, alone and as a batch; gives all statuses.
async fn again(cluster: &Cluster, tasks: &[&TaskRequest]) -> Vec<u16> {
    let mut statuses = Vec::new();
    for door in cluster.doors() {
        for task in tasks {
            let answer = door.submit(task).await.unwrap();
            if answer.status == 200 {
                assert_eq!(Some(answer.json::<TaskView>().id), task.id);
            }
            statuses.push(answer.status);
        }
        let answer = door.post("/api/v1/tasks/batch", serde_json::to_string(tasks).unwrap()).send().await;
        let entries: Vec<BatchEntry> = answer.json();
        statuses.extend(entries.iter().map(|entry| entry.status));
    }
    statuses
}

#[tokio::test]
async fn a_task_that_ended_is_known_though_the_queue_is_full_and_its_pool_is_gone() {
    let image = &images().await.fixture;
    let cluster = Setup::new().workers(1).slots(1).option("CLB_QUEUE_LIMIT", 1).start().await;
    cluster.has_pool("passing", &json!({"image": image, "workers": 1, "memory": "32m"})).await;
    let (ended, mut passed) = (sleep(0.0), sleep(0.0));
    passed.pool = Some("passing".to_owned());
    for task in [&ended, &passed] {
        cluster.ends_once(cluster.submit(task.clone()).await).await;
    }
    assert_eq!(cluster.delete_pool("passing").await.status / 100, 2);
    let unknown = TaskRequest { id: sleep(0.0).id, ..passed.clone() };
    assert_eq!(again(&cluster, &[&ended, &passed, &unknown]).await, [200, 200, 422].repeat(4));

    cluster.worker_of(cluster.submit(sleep(600.0)).await).await;
    cluster.submit(sleep(600.0)).await;
    let other = TaskRequest { id: ended.id, ..sleep(0.5) };
    assert_eq!(again(&cluster, &[&ended, &other, &sleep(0.0)]).await, [200, 409, 429].repeat(4));
}
