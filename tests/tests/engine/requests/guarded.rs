//! Who is let in: the bearer of the token, and no page of another site.

use clb_protocol::api::{MemberView, Role, TaskView, VerdictKind};
use clb_tests::cluster::Cluster;
use clb_tests::cluster::expect::verdict_on;
use clb_tests::http::Call;
use clb_tests::{SOON, Setup, eventually, sleep};

const TOKEN: &str = "0123456789abcdef";

#[tokio::test]
async fn with_a_token_only_its_bearer_is_answered() {
    let cluster = Setup::new().workers(1).token(TOKEN).start().await;
    let worker = format!("http://127.0.0.1:{}", cluster.worker("worker-1").await.port.unwrap());
    let task = serde_json::to_string(&sleep(0.1)).unwrap();
    for door in cluster.doors() {
        for path in ["/", "/logging", "/stop", "/api/v1/cluster", "/api/v1/tasks", "/nowhere"] {
            for call in [
                Call::get(door.url(path)),
                Call::get(door.url(path)).header("authorization", "Bearer 0123456789abcde"),
                Call::get(door.url(path)).header("authorization", &format!("Basic {TOKEN}")),
            ] {
                let refused = call.send().await;
                assert_eq!(refused.problem().status, 401, "{path}");
                assert_eq!(refused.headers["www-authenticate"], "Bearer");
            }
        }
        assert_eq!(
            Call::post_json(door.url("/api/v1/tasks"), task.clone()).send().await.problem().status,
            401
        );
        for path in ["/healthz", "/readyz"] {
            assert_eq!(Call::get(door.url(path)).send().await.status, 200, "{path}");
        }
        assert_eq!(door.get("/api/v1/cluster").send().await.status, 200);
    }
    for path in ["/", "/logging", "/stop"] {
        let call = Call::get(format!("{worker}{path}"));
        assert_eq!(call.send().await.problem().status, 401, "{path}");
    }
    let call = Call::get(format!("{worker}/")).header("authorization", &format!("Bearer {TOKEN}"));
    assert_eq!(call.send().await.status, 200);
    let created = cluster.doors()[1].post("/api/v1/tasks", task).send().await;
    assert_eq!(created.status, 201, "{}", created.text());
    cluster.ends_once(created.json::<TaskView>().id).await;
}

#[tokio::test]
async fn with_a_token_a_simulated_crash_is_known_as_one() {
    let cluster = Setup::new().workers(2).token(TOKEN).start().await;
    let mut task = sleep(3.0);
    task.max_attempts = Some(1);
    let task = cluster.submit(task).await;
    let worker = cluster.worker_of(task).await;
    let stop = Call::get(format!("http://127.0.0.1:{}/stop", worker.port.unwrap()));
    let flipped = stop.header("authorization", &format!("Bearer {TOKEN}")).send().await;
    assert_eq!(flipped.text(), "True");
    // Its only attempt was not lost.
    let ended = cluster.ends_once(task).await;
    assert_eq!(verdict_on(&ended, &worker), VerdictKind::Stopped);

    let before = cluster.view().await;
    assert_eq!(cluster.leaders_door().await.get("/stop").send().await.text(), "True");
    cluster.is_led_after(before.epoch).await;
    eventually("the former leader is known to simulate a crash", SOON, async || {
        let members = cluster.view().await.members;
        let is_stopped = |it: &MemberView| it.name == before.leader && it.role == Role::Stopped;
        members.iter().any(is_stopped).then_some(()).ok_or_else(|| format!("{members:?}"))
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let cluster = Cluster::shared().await;
    let task = serde_json::to_string(&sleep(600.0)).unwrap();
    let mut places: Vec<String> = cluster.doors().iter().map(|door| door.url("")).collect();
    places.extend(
        cluster.workers().await.iter().map(|worker| format!("http://127.0.0.1:{}", worker.port.unwrap())),
    );
    for place in &places {
        for (header, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("origin", "http://evil.example"),
            ("origin", "null"),
            ("host", "evil.example"),
        ] {
            let refused = Call::get(format!("{place}/stop")).header(header, value).send().await;
            assert_eq!(refused.problem().status, 403, "{place} {header}: {value}");
            assert_eq!(Call::get(format!("{place}/")).send().await.status, 200, "it was stopped");
        }
    }
    for door in cluster.doors() {
        for path in ["/api/v1/tasks", "/api/v1/tasks/batch", "/api/v1/tasks/x/cancel", "/link/v1/logs"] {
            let call = Call::post_json(door.url(path), task.clone()).header("origin", "http://evil.example");
            assert_eq!(call.send().await.problem().status, 403, "{path}");
        }
        let own = Call::post_json(door.url("/api/v1/tasks"), "{}").header("sec-fetch-site", "same-origin");
        assert_eq!(own.header("origin", &door.url("")).send().await.status, 422);
    }
}

#[tokio::test]
async fn an_orchestrator_on_the_network_without_a_token_refuses_to_start() {
    let cluster = Cluster::shared().await;
    let complaint = cluster.run_open_orchestrator().await;
    assert!(complaint.contains("CLB_TOKEN"), "{complaint}");
}
