//! Another bundled image while the same leader leads.

use std::time::Duration;

use clb_protocol::api::WorkerView;
use clb_tests::cluster::WorkerKind;
use clb_tests::cluster::expect::ran_once;
use clb_tests::engine::{Container, docker};
use clb_tests::images::images;
use clb_tests::{Cluster, LONG, Setup, eventually, run, sleep};

/// A minute of waiting, and an upgrade.
const LONGER: Duration = Duration::from_mins(4);

/// A cluster whose workers' image can be changed by tagging another one with its name.
async fn with_own_image() -> (Cluster, String) {
    let image = format!("{}-worker", run::new_name());
    docker(&["tag", &images().await.worker, &image]).await;
    let cluster = Setup::new().workers(2).kind(WorkerKind::Named(image.clone())).start().await;
    (cluster, image)
}

async fn all_are_replaced(cluster: &Cluster, old: &[WorkerView], limit: Duration) -> Vec<WorkerView> {
    eventually("all workers are of the new image", limit, async || {
        let workers = cluster.workers().await;
        let mut pairs = old.iter().zip(&workers);
        let are_new = pairs.all(|(old, new)| new.generation > old.generation) && workers.len() == old.len();
        if are_new { Ok(workers) } else { Err(format!("{workers:?}")) }
    })
    .await
}

#[tokio::test]
async fn another_bundled_image_is_rolled_out_by_the_leader_that_leads_and_no_task_runs_again() {
    let (cluster, image) = with_own_image().await;
    let before = cluster.has_two_orchestrators().await;
    let tasks = [cluster.submit(sleep(3.0)).await, cluster.submit(sleep(3.0)).await];
    // More than once, for those of the second time were made by this very leader.
    for next in [&images().await.worker_with_fixture, &images().await.worker] {
        let old = cluster.workers().await;
        docker(&["tag", next, &image]).await;
        let new = all_are_replaced(&cluster, &old, LONG).await;
        let id = docker(&["image", "inspect", "-f", "{{.Id}}", next]).await;
        for worker in &new {
            let container = Container::named(worker.container.as_ref().unwrap().as_str());
            assert_eq!(container.inspect().await.image, id, "{worker:?}");
        }
        cluster.is_whole().await;
    }
    for task in cluster.all_end_once(&tasks).await {
        ran_once(&task);
    }
    let after = cluster.view().await;
    assert_eq!((after.epoch, after.leader), (before.epoch, before.leader));
}

#[tokio::test]
async fn an_orchestrator_of_another_image_that_was_never_started_holds_an_upgrade_up_for_a_while_only() {
    let (cluster, image) = with_own_image().await;
    let leftover = cluster.container("orchestrator-3");
    let labels =
        [format!("--label=clb.cluster={}", cluster.name()), "--label=clb.member=orchestrator-3".to_owned()];
    let role = "--label=clb.role=orchestrator";
    docker(&["create", "--name", leftover.id(), &labels[0], &labels[1], role, &images().await.fixture]).await;
    let says = async |words: &str| {
        eventually(words, LONGER, async || {
            let said = cluster.leader().await.logs().await;
            if said.contains(words) { Ok(()) } else { Err(said) }
        })
        .await;
    };
    says("The orchestrators are of different images").await;
    let old = cluster.workers().await;
    docker(&["tag", &images().await.worker_with_fixture, &image]).await;
    says("remove its container").await;
    all_are_replaced(&cluster, &old, LONG).await;
    leftover.remove().await;
    cluster.is_whole().await;
}
