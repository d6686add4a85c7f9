//! Lists of tasks: filtered, in pages that do not shift.

use clb_protocol::TaskId;
use clb_protocol::api::{OutcomePage, TaskPage, TaskState};
use clb_protocol::task::TaskRequest;
use clb_tests::cluster::{Cluster, Door};
use clb_tests::sleep;

fn in_group(group: &str, colour: &str) -> TaskRequest {
    let mut task = sleep(0.0);
    task.group = Some(group.to_owned());
    task.labels.insert("colour".to_owned(), colour.to_owned());
    task
}

fn new_group(name: &str) -> String {
    format!("{name} {}", TaskId::now())
}

async fn page(door: &Door, query: &str) -> TaskPage {
    let answer = door.get(&format!("/api/v1/tasks?{query}")).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn pages_are_newest_first_and_stable_under_new_tasks() {
    let cluster = Cluster::shared().await;
    let group = new_group("pages");
    let query = format!("group={}&limit=7", group.replace(' ', "%20"));
    let mut submitted = Vec::new();
    for _ in 0..25 {
        submitted.push(cluster.submit(in_group(&group, "red")).await);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for turn in 0.. {
        let found = page(&cluster.doors()[turn % 2], &format!("{query}{cursor}")).await;
        seen.extend(found.tasks.iter().map(|task| task.id));
        cluster.submit(in_group(&group, "red")).await;
        match found.next {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    submitted.reverse();
    assert_eq!(seen, submitted);
}

#[tokio::test]
async fn filters_narrow_a_list_down() {
    let cluster = Cluster::shared().await;
    let group = new_group("filters");
    let mut tasks = Vec::new();
    for colour in ["red", "blue", "red"] {
        tasks.push(cluster.submit(in_group(&group, colour)).await);
    }
    cluster.all_end_once(&tasks).await;
    let door = &cluster.doors()[1];
    let group = group.replace(' ', "%20");
    for (query, count) in [
        ("", 3),
        ("&label.colour=red", 2),
        ("&label.colour=green", 0),
        ("&label.colour=blue&state=succeeded&pool=default", 1),
        ("&state=failed", 0),
        ("&pool=other", 0),
    ] {
        let found = page(door, &format!("group={group}{query}")).await;
        assert_eq!((found.tasks.len(), found.next), (count, None), "{query}");
        assert!(found.tasks.iter().all(|task| task.state == TaskState::Succeeded));
    }
}

#[tokio::test]
async fn outcomes_are_collected_in_order_by_whoever_asks() {
    let cluster = Cluster::shared().await;
    let group = new_group("outcomes");
    let path = |after: u64| format!("/api/v1/outcomes?group={}&after={after}", group.replace(' ', "%20"));
    let mut tasks = Vec::new();
    for _ in 0..5 {
        tasks.push(cluster.submit(in_group(&group, "red")).await);
    }
    cluster.all_end_once(&tasks).await;
    let mut seen = Vec::new();
    let mut after = 0;
    for turn in 0..5 {
        let door = &cluster.doors()[turn % 2];
        let page: OutcomePage = door.get(&format!("{}&limit=1&wait=20", path(after))).send().await.json();
        assert_eq!(page.outcomes.len(), 1);
        assert!(page.next.0 > after);
        after = page.next.0;
        seen.push(page.outcomes[0].task.id);
    }
    seen.sort();
    tasks.sort();
    assert_eq!(seen, tasks);

    let (waiting, late) = tokio::join!(
        async {
            cluster.doors()[0].get(&format!("{}&wait=60", path(after))).send().await.json::<OutcomePage>()
        },
        async { cluster.submit(in_group(&group, "late")).await },
    );
    let found: Vec<TaskId> = waiting.outcomes.iter().map(|outcome| outcome.task.id).collect();
    assert_eq!(found, [late]);
}
