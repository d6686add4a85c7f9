//! What pages read.

use clb_core::output::{Change, Ending};
use clb_protocol::api::{TaskError, TaskState};
use clb_protocol::task::NewTask;
use clb_protocol::{Generation, LogSeq, OutcomeSeq, SubmissionSeq, TaskId};

use super::fixture::{
    accept, accepted, at, cancelled, commit, container, died, lead, log, new_task, started, succeeded,
};
use crate::{Batch, LogFilter, LogFrom, LogRead, Store, TaskFilter};

fn listed<S: Store>(store: &S, filter: &TaskFilter) -> Vec<TaskId> {
    let list = store.tasks(filter, None, 100).unwrap();
    assert_eq!(list.next, None);
    list.tasks.iter().map(|task| task.id).collect()
}

pub(crate) fn lists_are_stable_under_inserts<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    assert_eq!(listed(&store, &TaskFilter::default()), []);
    let mut expected = accept(&store, epoch, 7);
    expected.reverse();
    let (mut seen, mut before) = (Vec::new(), None);
    for next_seq in 8.. {
        let list = store.tasks(&TaskFilter::default(), before, 3).unwrap();
        seen.extend(list.tasks.iter().map(|task| task.id));
        let Some(next) = list.next else { break };
        before = Some(next);
        commit(&store, epoch, vec![accepted(next_seq, new_task(TaskId::now()))]).unwrap();
    }
    assert_eq!(seen, expected);
}

pub(crate) fn lists_can_be_filtered<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 6);
    let mut special = new_task(TaskId::now());
    special.pool = "gpu".into();
    special.group = Some("nightly".into());
    special.labels = [("a.b".to_owned(), "1".to_owned()), ("c".to_owned(), "2".to_owned())].into();
    let failed = Change::TaskEnded {
        seq: OutcomeSeq(3),
        task: ids[3],
        at: at(200),
        ending: Ending::Failed(
            TaskError { code: "failed".into(), message: "no".into() },
            Some(serde_json::value::to_raw_value("output").unwrap()),
        ),
        last: None,
    };
    let changes = vec![
        accepted(7, special.clone()),
        started(ids[1], 1),
        succeeded(1, ids[2], 1),
        cancelled(2, ids[4]),
        failed,
    ];
    commit(&store, epoch, changes).unwrap();
    let view = store.task(ids[3]).unwrap().unwrap();
    assert_eq!(view.result.unwrap().get(), "\"output\"", "it stands beside the error");
    assert_eq!(view.error.unwrap().message, "no");
    let state = |state| listed(&store, &TaskFilter { state: Some(state), ..TaskFilter::default() });
    assert_eq!(state(TaskState::Queued), [special.id, ids[5], ids[0]]);
    assert_eq!(state(TaskState::Running), [ids[1]]);
    assert_eq!(state(TaskState::Succeeded), [ids[2]]);
    assert_eq!(state(TaskState::Failed), [ids[3]]);
    assert_eq!(state(TaskState::Cancelled), [ids[4]]);
    let labels = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
    for (wanted, filter) in [
        (true, TaskFilter { pool: Some("gpu".into()), ..TaskFilter::default() }),
        (true, TaskFilter { group: Some("nightly".into()), ..TaskFilter::default() }),
        (true, TaskFilter { labels: labels("a.b", "1"), ..TaskFilter::default() }),
        (true, TaskFilter { is_open: true, labels: labels("a.b", "1"), ..TaskFilter::default() }),
        (false, TaskFilter { labels: labels("a.b", "2"), ..TaskFilter::default() }),
        (false, TaskFilter { pool: Some("cpu".into()), ..TaskFilter::default() }),
        (
            true,
            TaskFilter {
                state: Some(TaskState::Queued),
                id: Some(special.id.to_string().parse().unwrap()),
                is_open: true,
                is_replayed: Some(false),
                pool: Some("gpu".into()),
                group: Some("nightly".into()),
                labels: [labels("a.b", "1"), labels("c", "2")].concat(),
            },
        ),
        (
            false,
            TaskFilter {
                state: Some(TaskState::Succeeded),
                group: Some("nightly".into()),
                ..TaskFilter::default()
            },
        ),
    ] {
        let expected: &[TaskId] = if wanted { &[special.id] } else { &[] };
        assert_eq!(listed(&store, &filter), expected, "{filter:?}");
        assert_eq!(store.ids(&filter, None, 100).unwrap().ids, expected, "{filter:?}");
    }
    let open = TaskFilter { is_open: true, ..TaskFilter::default() };
    assert_eq!(listed(&store, &open), [special.id, ids[5], ids[1], ids[0]]);
    let view = store.task(ids[3]).unwrap().unwrap();
    assert_eq!(view.error, Some(TaskError { code: "failed".into(), message: "no".into() }));
}

pub(crate) fn ids_come_page_by_page<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 7);
    commit(&store, epoch, vec![cancelled(1, ids[6]), started(ids[5], 1)]).unwrap();
    let filter = TaskFilter { is_open: true, ..TaskFilter::default() };
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let list = store.ids(&filter, before, 3).unwrap();
        seen.extend(list.ids);
        let Some(next) = list.next else { break };
        before = Some(next);
    }
    let expected: Vec<TaskId> = ids[..6].iter().rev().copied().collect();
    assert_eq!(seen, expected);
}

pub(crate) fn tasks_are_found_by_the_beginning_or_the_end_of_their_ids<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let texts = ["0197aaaa-0000-7000-8000-00000000beef", "0197aaab-0000-7000-8000-0000beef0001"];
    let ids = texts.map(|text| text.parse::<TaskId>().unwrap());
    commit(&store, epoch, (1..).zip(ids).map(|(seq, id)| accepted(seq, new_task(id))).collect()).unwrap();
    let found =
        |part: &str| listed(&store, &TaskFilter { id: Some(part.parse().unwrap()), ..TaskFilter::default() });
    assert_eq!(found("0197aaaa"), [ids[0]]);
    assert_eq!(found("0197AAAB-0"), [ids[1]]);
    assert_eq!(found("0197a"), [ids[1], ids[0]]);
    assert_eq!(found("beef"), [ids[0]], "the middle says nothing");
    assert_eq!(found(texts[1]), [ids[1]]);
    assert_eq!(found("0198"), []);
}

pub(crate) fn groups_come_in_the_order_of_their_names<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    assert_eq!(store.groups("", None, 10).unwrap(), [""; 0]);
    let names = [Some("night-2"), Some("day"), None, Some("night-1"), Some("day"), Some("n%"), Some("ö")];
    let tasks = (1..).zip(names).map(|(seq, name)| {
        accepted(seq, NewTask { group: name.map(str::to_owned), ..new_task(TaskId::now()) })
    });
    commit(&store, epoch, tasks.collect()).unwrap();
    let groups = |prefix, after, limit| store.groups(prefix, after, limit).unwrap();
    assert_eq!(groups("", None, 10), ["day", "n%", "night-1", "night-2", "ö"]);
    assert_eq!(groups("", Some("n%"), 2), ["night-1", "night-2"]);
    assert_eq!(groups("ni", None, 10), ["night-1", "night-2"]);
    assert_eq!(groups("night", Some("night-1"), 10), ["night-2"]);
    assert_eq!(groups("night", Some("night-2"), 10), [""; 0]);
    assert_eq!(groups("o", Some("a"), 10), [""; 0]);
}

pub(crate) fn outcomes_come_in_order_and_by_group<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 3);
    let mut grouped = new_task(TaskId::now());
    grouped.group = Some("nightly".into());
    let changes = vec![
        accepted(4, grouped.clone()),
        succeeded(1, ids[2], 1),
        succeeded(2, grouped.id, 1),
        cancelled(3, ids[0]),
    ];
    commit(&store, epoch, changes).unwrap();
    let page = store.outcomes(OutcomeSeq(0), None, 2).unwrap();
    assert_eq!(page.outcomes.iter().map(|o| o.task.id).collect::<Vec<_>>(), [ids[2], grouped.id]);
    assert_eq!(page.next, OutcomeSeq(2));
    assert_eq!(page.outcomes[0].task.attempts.len(), 1);
    let rest = store.outcomes(page.next, None, 2).unwrap();
    assert_eq!((rest.outcomes.len(), rest.outcomes[0].task.state), (1, TaskState::Cancelled));
    let end = store.outcomes(rest.next, None, 2).unwrap();
    assert_eq!((end.outcomes.len(), end.next), (0, OutcomeSeq(3)));
    let nightly = store.outcomes(OutcomeSeq(0), Some("nightly"), 10).unwrap();
    assert_eq!(nightly.outcomes.iter().map(|o| o.seq).collect::<Vec<_>>(), [OutcomeSeq(2)]);
}

pub(crate) fn a_page_is_bounded_in_bytes_and_goes_on_where_it_was_cut<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let ids = accept(&store, epoch, 3);
    let large = serde_json::value::to_raw_value(&"x".repeat(5 << 20)).unwrap();
    let changes = (1..).zip(&ids).map(|(seq, id)| match succeeded(seq, *id, 1) {
        Change::TaskEnded { seq, task, at, last, .. } => {
            Change::TaskEnded { seq, task, at, ending: Ending::Succeeded(large.clone()), last }
        }
        other => other,
    });
    commit(&store, epoch, changes.collect()).unwrap();
    let (mut collected, mut after) = (Vec::new(), OutcomeSeq(0));
    for _ in &ids {
        let page = store.outcomes(after, None, 10).unwrap();
        assert_eq!(page.outcomes.len(), 1);
        after = page.next;
        collected.push(page.outcomes[0].task.id);
    }
    assert_eq!(collected, ids);
    let (mut listed, mut before) = (Vec::new(), None);
    for _ in &ids {
        let page = store.tasks(&TaskFilter::default(), before, 10).unwrap();
        listed.extend(page.tasks.iter().map(|task| task.id));
        before = page.next;
    }
    listed.reverse();
    assert_eq!((listed, before), (ids, None));
}

pub(crate) fn obituaries_come_newest_first<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    commit(&store, epoch, vec![died(1, 1), died(1, 2), died(1, 3), died(1, 3)]).unwrap();
    let first = store.obituaries(None, 2).unwrap();
    let generations = |list: &[clb_protocol::api::Obituary]| {
        list.iter().map(|obituary| obituary.generation).collect::<Vec<_>>()
    };
    assert_eq!(generations(&first.obituaries), [Generation(3), Generation(2)]);
    let second = store.obituaries(first.next, 2).unwrap();
    assert_eq!((generations(&second.obituaries), second.next), (vec![Generation(1)], None));
    assert_eq!(second.obituaries[0].memory_peak_bytes, Some(1 << 40));
}

pub(crate) fn only_the_newest_of_the_dead_are_remembered<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let id = accept(&store, epoch, 1)[0];
    commit(&store, epoch, vec![started(id, 1), died(1, 1)]).unwrap();
    commit(&store, epoch, (2..=10_001).map(|generation| died(1, generation)).collect()).unwrap();
    let newest = store.obituaries(None, 20_000).unwrap();
    assert_eq!((newest.obituaries.len(), newest.next), (10_000, None));
    assert_eq!(newest.obituaries.last().unwrap().generation, Generation(2));
    assert_eq!(store.task(id).unwrap().unwrap().attempts.len(), 1, "what it ran is still known");
}

fn seqs(read: &LogRead) -> Vec<u64> {
    read.logs.iter().map(|line| line.seq.0).collect()
}

pub(crate) fn logs_can_be_read_both_ways<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let all = LogFilter::default();
    assert_eq!(store.logs(&all, LogFrom::End, 3).unwrap(), LogRead::default());
    for seqs in [1..5_u64, 5..6, 6..9] {
        let logs = seqs.map(|seq| log(seq, 1, None, "RECOVERED :)")).collect();
        store.commit(epoch, &Batch { logs, ..Batch::default() }).unwrap();
    }
    let page = store.logs(&all, LogFrom::End, 3).unwrap();
    assert_eq!((seqs(&page), page.newer, page.older), (vec![6, 7, 8], LogSeq(8), Some(LogSeq(6))));
    let page = store.logs(&all, LogFrom::Before(LogSeq(6)), 3).unwrap();
    assert_eq!((seqs(&page), page.newer, page.older), (vec![3, 4, 5], LogSeq(5), Some(LogSeq(3))));
    let page = store.logs(&all, LogFrom::Before(LogSeq(3)), 3).unwrap();
    assert_eq!((seqs(&page), page.newer, page.older), (vec![1, 2], LogSeq(2), None));
    let page = store.logs(&all, LogFrom::After(LogSeq(2)), 4).unwrap();
    assert_eq!((seqs(&page), page.newer), (vec![3, 4, 5, 6], LogSeq(6)));
    let page = store.logs(&all, LogFrom::After(page.newer), 4).unwrap();
    assert_eq!((seqs(&page), page.newer), (vec![7, 8], LogSeq(8)));
    let page = store.logs(&all, LogFrom::After(page.newer), 4).unwrap();
    assert_eq!((seqs(&page), page.newer), (vec![], LogSeq(8)));
}

pub(crate) fn logs_can_be_filtered<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    let id = accept(&store, epoch, 1)[0];
    let message = format!("Received payload: {id}");
    let batch = Batch {
        containers: vec![container(1, "worker-1"), container(2, "worker-2"), container(3, "worker-1")],
        logs: vec![
            log(1, 1, None, "CRASH :("),
            log(2, 2, Some(id), &message),
            log(3, 3, Some(TaskId::now()), "Grüße"),
            log(4, 3, Some(id), "without the id"),
        ],
        ..Batch::default()
    };
    store.commit(epoch, &batch).unwrap();
    store.commit(epoch, &Batch { logs: vec![log(5, 2, None, "later")], ..Batch::default() }).unwrap();
    let read = |container: Option<&str>, task: Option<TaskId>, from| {
        store.logs(&LogFilter { container: container.map(str::to_owned), task }, from, 10).unwrap()
    };
    for from in [LogFrom::After(LogSeq(0)), LogFrom::End] {
        assert_eq!(seqs(&read(Some("worker-1"), None, from)), [1, 3, 4]);
        assert_eq!(seqs(&read(None, Some(id), from)), [2, 4]);
        assert_eq!(seqs(&read(Some("worker-1"), Some(id), from)), [4]);
        assert!(read(Some("nobody"), None, from).logs.is_empty());
        assert!(read(None, Some(TaskId::now()), from).logs.is_empty());
    }
    let line = &read(None, Some(id), LogFrom::End).logs[0];
    assert_eq!((line.container.as_str(), line.container_id.0, line.at), ("worker-2", 2, at(2)));
    assert_eq!(line.message, message);
    let all = read(Some("worker-1"), None, LogFrom::After(LogSeq(0)));
    assert_eq!(all.newer, LogSeq(5));
}

pub(crate) fn a_backup_is_consistent_while_commits_go_on<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    accept(&store, epoch, 2_000);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.db");
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| store.backup(&copy));
        for seq in 2_001..2_051 {
            commit(&store, epoch, vec![accepted(seq, new_task(TaskId::now()))]).unwrap();
        }
        backup.join().unwrap().unwrap();
    });
    assert!(std::fs::metadata(&copy).unwrap().len() > 0);
    assert_eq!(store.restore(epoch).unwrap().cluster.last_submission, SubmissionSeq(2_050));
}

pub(crate) fn statistics_count_rows<S: Store>(open: &impl Fn() -> S) {
    let store = open();
    let epoch = lead(&store, 0);
    assert!(store.statistics().unwrap().last_commit_at.is_none());
    let ids = accept(&store, epoch, 3);
    commit(&store, epoch, vec![succeeded(1, ids[0], 1), died(1, 1)]).unwrap();
    store.commit(epoch, &Batch { logs: vec![log(1, 1, None, "a")], ..Batch::default() }).unwrap();
    let statistics = store.statistics().unwrap();
    for expected in [
        ("tasks", 3),
        ("open_tasks", 2),
        ("outcomes", 1),
        ("attempts", 1),
        ("obituaries", 1),
        ("log_lines", 1),
    ] {
        assert!(statistics.tables.contains(&expected), "{statistics:?}");
    }
    assert!(statistics.bytes > 0 && statistics.last_commit_at.is_some());
}
