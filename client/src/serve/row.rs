//! One payload as the table shows it, and the words for times and amounts.

use askama::Template;
use clb_client::protocol::Timestamp;
use clb_client::protocol::api::{TaskState, TaskView, VerdictKind};
use clb_client::protocol::task::{CommandResult, Number, TaskSpec, Work};

use super::listing::{Listing, View};

/// How many characters of a command's output are shown.
const MOST_WRITTEN: usize = 200;

/// The table's body and the way to the next page.
#[derive(Debug, Template)]
#[template(path = "rows.html")]
pub(crate) struct Rows {
    payloads: Vec<Row>,
    view: ViewText,
    next: Option<String>,
    is_first: bool,
}

/// A view as it stands in addresses and hidden fields.
#[derive(Debug)]
struct ViewText {
    state: &'static str,
    cursor: String,
}

#[derive(Debug)]
struct Row {
    id: String,
    /// Changes when anything but the elapsed time does.
    version: String,
    payload: String,
    state: &'static str,
    worker: String,
    attempt: String,
    /// What became of the attempts before the newest.
    losses: Vec<String>,
    outcome: String,
    failed: bool,
    submitted: String,
    elapsed: Elapsed,
    expected_seconds: Option<f64>,
    can_cancel: bool,
}

#[derive(Debug)]
struct Elapsed {
    seconds: f64,
    text: String,
    /// Whether it goes on.
    ticks: bool,
}

impl Rows {
    pub(crate) fn new(listing: &Listing, view: &View) -> Self {
        Self {
            payloads: listing.page.tasks.iter().map(|task| Row::new(task, listing.at)).collect(),
            view: ViewText {
                state: view.state.map_or("", TaskState::as_str),
                cursor: view.cursor.clone().unwrap_or_default(),
            },
            next: listing.page.next.clone(),
            is_first: view.cursor.is_none(),
        }
    }
}

impl Row {
    fn new(task: &TaskView, now: Timestamp) -> Self {
        let spec: Option<TaskSpec> = serde_json::from_str(task.spec.get()).ok();
        let attempt = task.attempt.map(|attempt| attempt.to_string()).unwrap_or_default();
        let worker = task.worker.clone().unwrap_or_default();
        let losses = losses(task);
        let state = task.state.as_str();
        Self {
            id: task.id.to_string(),
            version: format!("{state} {attempt} {worker} {}", losses.len()),
            payload: spec.as_ref().map_or_else(|| task.spec.get().to_owned(), payload_words),
            state,
            worker,
            attempt,
            losses,
            outcome: outcome(task),
            failed: task.error.is_some(),
            submitted: task.submitted_at.to_string(),
            elapsed: elapsed(task, now),
            expected_seconds: spec.and_then(|spec| spec.work.expected_seconds()),
            can_cancel: !task.state.has_ended(),
        }
    }

    fn expected(&self) -> String {
        self.expected_seconds.map(duration_words).unwrap_or_default()
    }
}

#[derive(serde::Deserialize)]
struct Sum {
    sum: Number,
}

/// The sum, or the beginning of what a command wrote.
fn result_words(result: &str) -> String {
    if let Ok(Sum { sum }) = serde_json::from_str(result) {
        return sum.to_string();
    }
    let Ok(command) = serde_json::from_str::<CommandResult>(result) else { return result.to_owned() };
    let written = String::from_utf8_lossy(&command.stdout.bytes).trim().to_owned();
    match written.char_indices().nth(MOST_WRITTEN) {
        Some((end, _)) => format!("{} …", &written[..end]),
        None => written,
    }
}

fn payload_words(spec: &TaskSpec) -> String {
    match &spec.work {
        Work::Sleep(timed) | Work::Spin(timed) => {
            let [a, b] = timed.add;
            format!("{} {}, {a} + {b}", spec.work.kind().as_str(), duration_words(timed.seconds))
        }
        Work::Command(command) => command.argv.to_string(),
    }
}

/// Earlier attempts that were lost or failed.
fn losses(task: &TaskView) -> Vec<String> {
    let lost = task.attempts.iter().filter(|attempt| Some(attempt.attempt) != task.attempt);
    let judged = lost.filter_map(|attempt| attempt.verdict.as_ref().map(|verdict| (attempt, verdict)));
    judged
        .filter(|(_, verdict)| verdict.kind != VerdictKind::Superseded)
        .map(|(attempt, verdict)| format!("{} on {}: {}", attempt.attempt, attempt.worker, verdict.detail))
        .collect()
}

fn outcome(task: &TaskView) -> String {
    match (&task.result, &task.error) {
        (Some(result), None) => result_words(result.get()),
        (_, Some(error)) => error.message.clone(),
        (None, None) => String::new(),
    }
}

fn elapsed(task: &TaskView, now: Timestamp) -> Elapsed {
    let (from, until) = match task.state {
        TaskState::Queued => (Some(task.submitted_at), now),
        TaskState::Running => (task.started_at, now),
        TaskState::Succeeded | TaskState::Failed | TaskState::Cancelled => {
            (task.started_at, task.finished_at.unwrap_or(now))
        }
    };
    let seconds = from.map_or(0.0, |from| until.since(from).as_secs_f64());
    Elapsed { seconds, text: duration_words(seconds), ticks: !task.state.has_ended() }
}

/// A span as a person reads it: `4.2 s`, `1 min 5 s`, `2 h 3 min`.
pub(crate) fn duration_words(seconds: f64) -> String {
    let whole = seconds as u64;
    if seconds < 60.0 {
        let tenths = format!("{seconds:.1}");
        return format!("{} s", tenths.strip_suffix(".0").unwrap_or(&tenths));
    }
    match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// Bytes as a person reads them.
pub(crate) fn bytes_words(bytes: u64) -> String {
    let mebibytes = bytes as f64 / 1_048_576.0;
    if mebibytes >= 1_024.0 {
        format!("{:.1} GiB", mebibytes / 1_024.0)
    } else {
        format!("{mebibytes:.1} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(fields: &str) -> TaskView {
        let id = clb_client::protocol::TaskId::now();
        let rest = r#""kind":"sleep","pool":"default","group":null,"labels":{},"priority":0,
            "submitted_at":"2026-01-01T00:00:00Z","finished_at":null,"#;
        serde_json::from_str(&format!(r#"{{"id":"{id}",{rest}{fields}}}"#)).unwrap()
    }

    const SPEC: &str = r#""spec":{"kind":"sleep","seconds":12.0,"add":[3,4],"max_attempts":3,"timeout":60}"#;

    #[test]
    fn a_result_is_the_sum_or_what_a_command_wrote() {
        let command = |stdout: &str| {
            let result = format!(r#"{{"exit_code":0,"stdout":"{stdout}","stderr":"","duration":0.1}}"#);
            result_words(&result)
        };
        assert_eq!(result_words(r#"{"sum":7}"#), "7");
        assert_eq!(command("n5\\n"), "n5");
        assert_eq!(command(&"ä".repeat(300)), format!("{} …", "ä".repeat(MOST_WRITTEN)));
        assert_eq!(result_words("7"), "7");
    }

    #[test]
    fn a_running_payload_shows_its_run_and_what_was_lost_before() {
        let task = task(&format!(
            r#"{SPEC},"state":"running","started_at":"2026-01-01T00:00:10Z","worker":"worker-2","attempt":2,
            "result":null,"error":null,"attempts":[
            {{"attempt":1,"worker":"worker-1","epoch":1,"started_at":"2026-01-01T00:00:01Z",
              "ended_at":"2026-01-01T00:00:09Z","verdict":{{"kind":"killed","detail":"killed by signal 9"}}}},
            {{"attempt":2,"worker":"worker-2","epoch":1,"started_at":"2026-01-01T00:00:10Z",
              "ended_at":null,"verdict":null}}]"#
        ));
        let now = task.started_at.unwrap() + std::time::Duration::from_millis(2_500);
        let row = Row::new(&task, now);
        assert_eq!(row.payload, "sleep 12 s, 3 + 4");
        assert_eq!((row.elapsed.text.as_str(), row.expected().as_str()), ("2.5 s", "12 s"));
        assert_eq!(row.losses, ["1 on worker-1: killed by signal 9"]);
        assert!(row.can_cancel && row.elapsed.ticks);
    }

    #[test]
    fn an_ended_payload_shows_its_sum_and_ticks_no_more() {
        let task = task(&format!(
            r#"{SPEC},"state":"succeeded","started_at":"2026-01-01T00:00:10Z","worker":"worker-2","attempt":1,
            "result":{{"sum":7}},"error":null,"attempts":[]"#
        ));
        let row = Row::new(&task, Timestamp::now());
        assert_eq!(row.outcome, "7");
        assert!(!row.can_cancel && !row.elapsed.ticks);
    }

    #[test]
    fn spans_and_amounts_are_words() {
        let words = [0.0, 4.25, 59.0, 65.0, 7_380.0].map(duration_words);
        assert_eq!(words, ["0 s", "4.2 s", "59 s", "1 min 5 s", "2 h 3 min"]);
        assert_eq!(bytes_words(8_388_608), "8.0 MiB");
    }
}
