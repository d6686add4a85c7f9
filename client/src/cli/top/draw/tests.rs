use std::sync::LazyLock;
use std::time::{Duration, Instant};

use clb_client::protocol::TaskId;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;

use super::*;

static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

fn sample(seconds: u64, succeeded: u64) -> Sample {
    let cluster = json!({
        "cluster": "clb", "leader": "orchestrator-1", "epoch": 3, "version": "0.1.0",
        "members": [{ "name": "orchestrator-1", "role": "leader", "url": "u", "since": "2026-01-01T00:00:00Z" }],
        "tasks": { "queued": 7, "running": 2, "succeeded": succeeded, "failed": 1, "cancelled": 0 },
    });
    let worker = json!({
        "name": "worker-1", "pool": "default", "slot": 1, "generation": 1, "state": "ready", "reason": null,
        "container": null, "address": null, "port": 3004, "slots": 16, "running": [], "cpu_percent": 50.0,
        "memory_bytes": 67_108_864, "memory_limit_bytes": 268_435_456, "tasks_done": 12,
        "since": "2026-01-01T00:00:00Z",
    });
    let pool = json!({
        "name": "pictures", "source": "api", "spec": { "image": "python:3.12-slim" }, "state": "ready",
        "reason": null, "is_paused": true, "workers": { "ready": 1, "wanted": 2 },
        "tasks": { "queued": 4, "running": 0 }, "since": "2026-01-01T00:00:00Z",
    });
    let task = |program: &str| {
        json!({
            "id": TaskId::now(), "kind": "command", "pool": "default", "group": null, "labels": {}, "priority": 0,
            "spec": { "kind": "command", "command": [program], "max_attempts": 3, "timeout": 60.0 },
            "state": "running", "submitted_at": "2026-01-01T00:00:00Z", "started_at": "2026-01-01T00:00:00Z",
            "finished_at": null, "worker": "worker-1", "attempt": 1, "result": null, "error": null, "attempts": [],
            "progress": { "fraction": 0.42, "note": null, "at": "2026-01-01T00:00:00Z" },
        })
    };
    Sample {
        at: *BEGUN + Duration::from_secs(seconds),
        cluster: serde_json::from_value(cluster).unwrap(),
        workers: vec![serde_json::from_value(worker).unwrap()],
        pools: vec![serde_json::from_value(pool).unwrap()],
        running: ["first\u{1b}[2J", "second"]
            .map(|it| serde_json::from_str(&task(it).to_string()).unwrap())
            .into(),
    }
}

fn drawn(screen: &Screen, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, screen, true)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let line = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(line).collect::<Vec<String>>().join("\n")
}

#[test]
fn the_screen_shows_counts_rates_bars_pools_and_tasks() {
    let mut screen = Screen::default();
    screen.take(Ok(sample(0, 10)));
    screen.take(Ok(sample(2, 35)));
    let text = drawn(&screen, 120, 30);
    for expected in [
        "clb · term 3 · orchestrator-1 leader",
        "7 queued · 2 running · 35 succeeded · 1 failed · 0 cancelled · 12.5 ended/s",
        "█████░░░░░  50.0 %",
        "███░░░░░░░ 64.0 MiB",
        "pictures",
        "paused",
        "42 %",
        "second",
        "q quit",
    ] {
        assert!(text.contains(expected), "{expected} is missing:\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn the_arrows_move_the_tasks_and_stop_at_the_ends() {
    let mut screen = Screen::default();
    screen.take(Ok(sample(0, 0)));
    screen.scroll(5);
    let text = drawn(&screen, 120, 30);
    assert!(!text.contains("first") && text.contains("second"), "{text}");
    screen.scroll(-9);
    assert!(drawn(&screen, 120, 30).contains("first"));
}

#[test]
fn an_outage_leaves_the_last_picture_and_says_what_is_wrong() {
    let mut screen = Screen::default();
    assert!(drawn(&screen, 80, 10).contains("connecting"));
    screen.take(Err("nobody answers".into()));
    assert!(drawn(&screen, 80, 10).contains("nobody answers"));
    screen.take(Ok(sample(0, 10)));
    screen.take(Err("nobody answers".into()));
    let text = drawn(&screen, 100, 24);
    assert!(text.contains("10 succeeded") && text.contains("nobody answers"), "{text}");
}

#[test]
fn any_size_of_the_terminal_will_do() {
    let mut screen = Screen::default();
    screen.take(Ok(sample(0, 0)));
    screen.pause_or_go_on();
    for (width, height) in [(1, 1), (10, 3), (40, 6), (300, 100)] {
        drawn(&screen, width, height);
    }
}
