//! The client and the database: containers that may come and go without anybody's notice.

use clb_protocol::seed;
use clb_tests::cluster::expect::ran_once;
use clb_tests::http::{Answer, Call};
use clb_tests::{Cluster, SOON, eventually, sleep};

async fn answers(url: &str) -> Answer {
    eventually(&format!("{url} answers"), SOON, async || {
        let answer = Call::get(url).try_send().await?;
        if answer.status == 200 { Ok(answer) } else { Err(answer.text()) }
    })
    .await
}

#[tokio::test]
async fn a_client_that_dies_disturbs_nobody_and_serves_when_it_is_started() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let client = cluster.run_client().await;
    for path in ["/", "/logging"] {
        answers(&format!("{client}{path}")).await;
    }
    let task = cluster.submit(sleep(2.0)).await;
    cluster.container("client").kill().await;
    ran_once(&cluster.ends_once(task).await);
    cluster.container("client").start().await;
    answers(&format!("{client}/")).await;
    let after = cluster.has_two_orchestrators().await;
    assert_eq!((after.epoch, after.leader), (before.epoch, before.leader));
}

#[tokio::test]
async fn a_database_that_dies_disturbs_nobody_and_shows_everything_when_it_is_started() {
    let cluster = Cluster::start().await;
    let before = cluster.has_two_orchestrators().await;
    let database = cluster.run_database().await;
    for path in ["/", "/logging", "/backup", "/healthz", "/readyz"] {
        answers(&format!("{database}{path}")).await;
    }
    cluster.container("database").kill().await;
    let task = cluster.submit(sleep(0.5)).await;
    ran_once(&cluster.ends_once(task).await);
    cluster.container("database").start().await;

    shows(&database, "Is master container>").await;
    shows(&database, &format!("{}>", seed::received_result(task))).await;
    eventually("its standard output has the line", SOON, async || {
        let written = cluster.container("database").logs().await;
        let has_line = written.lines().any(|line| line.ends_with(&format!(",{}", seed::IS_MASTER)));
        has_line.then_some(()).ok_or(written)
    })
    .await;
    let after = cluster.has_two_orchestrators().await;
    assert_eq!((after.epoch, after.leader), (before.epoch, before.leader));
}

/// Waits until the database's page has a line.
async fn shows(database: &str, line: &str) {
    eventually(&format!("the database shows {line}"), SOON, async || {
        let page = Call::get(format!("{database}/logging")).try_send().await?.text();
        let page = page.replace("&#60;", "<").replace("&#62;", ">").replace("&lt;", "<").replace("&gt;", ">");
        if page.contains("<Log 1, Container ") && page.contains(line) { Ok(()) } else { Err(page) }
    })
    .await;
}

#[tokio::test]
async fn a_backup_brings_everything_back_on_an_empty_volume() {
    let cluster = Cluster::start().await;
    let database = cluster.run_database().await;
    let done = cluster.submit(sleep(0.1)).await;
    cluster.ends_once(done).await;
    let open = cluster.submit(sleep(8.0)).await;
    cluster.worker_of(open).await;
    let backup = answers(&format!("{database}/backup")).await;
    assert!(backup.body.starts_with(b"SQLite format 3\0"), "{}", backup.text());

    cluster.container("database").remove().await;
    cluster.tear_down().await;
    cluster.restore(&backup.body).await;
    cluster.all_end_once(&[done, open]).await;
    answers(&format!("{database}/")).await;
}
