use super::super::{Command, Retry, RetryOn};
use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

fn pointers(result: Result<TaskRequest, ParseError>) -> Vec<String> {
    match result.unwrap_err() {
        ParseError::Invalid(errors) => errors.into_iter().map(|e| e.pointer).collect(),
        error => panic!("{error}"),
    }
}

fn checked(body: &str) -> Result<NewTask, Vec<FieldError>> {
    parse_task(body.as_bytes()).unwrap().check(TaskId::now(), None, NOW)
}

fn timeout_ms(task: &NewTask) -> u64 {
    (task.spec.timeout * 1000.0) as u64
}

#[test]
fn what_is_left_out_has_its_default() {
    let task = checked(r#"{"kind": "sleep", "seconds": 1, "add": [3, 4]}"#).unwrap();
    assert_eq!(task.pool.as_str(), "default");
    assert_eq!((task.priority, task.spec.max_attempts), (0, 3));
    assert_eq!(timeout_ms(&task), 3_600_000);
    assert_eq!(task.spec.work, Work::sleep(1.0, [Number::Integer(3), Number::Integer(4)]));
}

#[test]
fn a_long_sleep_is_not_cut_off_by_the_default_timeout() {
    let task = checked(r#"{"kind": "sleep", "seconds": 86400}"#).unwrap();
    assert_eq!(timeout_ms(&task), 86_460_000);
}

#[test]
fn everything_wrong_is_named_at_once() {
    let body = br#"{"id": "7", "kind": "dance", "seconds": "1", "secs": 1, "add": [1], "labels": {"a": 1}, "a/b": 0}"#;
    let mut found = pointers(parse_task(body));
    found.sort();
    assert_eq!(found, ["/add", "/a~1b", "/id", "/kind", "/labels", "/seconds", "/secs"]);
}

#[test]
fn limits_are_checked_and_named() {
    let errors = checked(
        r#"{"kind": "spin", "seconds": -1, "add": [1, 9007199254740992], "priority": 101,
            "max_attempts": 0, "timeout": 0, "group": "", "pool": ""}"#,
    )
    .unwrap_err();
    let found: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
    assert_eq!(found, ["/seconds", "/add/1", "/priority", "/max_attempts", "/timeout", "/pool", "/group"]);
}

#[test]
fn text_that_is_no_json_is_told_from_json_that_is_no_task() {
    assert!(matches!(parse_task(b"{"), Err(ParseError::NotJson(_))));
    assert!(matches!(parse_task(b""), Err(ParseError::NotJson(_))));
    assert_eq!(pointers(parse_task(b"[]")), [""]);
    assert!(matches!(parse_batch(b"{}", 10), Err(ParseError::Invalid(_))));
    assert!(matches!(parse_batch(b"[{]", 10), Err(ParseError::NotJson(_))));
}

#[test]
fn one_bad_item_does_not_spoil_its_batch() {
    let batch = parse_batch(br#"[{"kind": "sleep", "seconds": 0}, {"kind": "sleep"}]"#, 10).unwrap();
    assert!(batch[0].is_ok());
    assert!(batch[1].is_err());
    let lines = parse_ndjson(b"{\"kind\": \"sleep\", \"seconds\": 0}\n\n{\n", 10).unwrap();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].is_ok() && lines[1].is_err());
}

#[test]
fn only_version_seven_names_a_task() {
    let body = br#"{"id": "c2a0a6a4-5b0c-4b3c-8a55-0c9c9d6a1b11", "kind": "sleep", "seconds": 0}"#;
    assert_eq!(pointers(parse_task(body)), ["/id"]);
}

#[test]
fn a_command_has_its_own_fields_and_defaults() {
    let task = checked(r#"{"kind": "command", "command": ["true"]}"#).unwrap();
    assert_eq!(task.spec.work, Work::Command(Command::new(Argv::new::<&str>("true", []))));
    assert_eq!(timeout_ms(&task), 3_600_000);
}

#[test]
fn the_fields_of_another_kind_are_named() {
    let body = br#"{"kind": "command", "seconds": 1, "add": [1, 2]}"#;
    assert_eq!(pointers(parse_task(body)), ["/command", "/seconds", "/add"]);
    let body = br#"{"kind": "sleep", "command": ["a"], "env": {}, "stdin": "", "working_dir": "/",
        "success_codes": [0]}"#;
    let all = ["/seconds", "/command", "/env", "/stdin", "/working_dir", "/success_codes"];
    assert_eq!(pointers(parse_task(body)), all);
}

#[test]
fn what_is_no_command_is_named() {
    for (field, bad) in [
        ("command", r"[]"),
        ("command", r#""ls""#),
        ("command", r#"["a", 1]"#),
        ("env", r#"{"A": 1}"#),
        ("stdin", r#"{"base64": "a"}"#),
        ("stdin", r"[1]"),
        ("working_dir", "7"),
        ("success_codes", "[256]"),
        ("success_codes", "[-1]"),
        ("success_codes", "0"),
    ] {
        let mut fields = serde_json::json!({"kind": "command", "command": ["a"]});
        fields[field] = serde_json::from_str(bad).unwrap();
        let found = pointers(parse_task(fields.to_string().as_bytes()));
        assert_eq!(found, [format!("/{field}")], "{bad}");
    }
}

#[test]
fn the_limits_of_a_command_are_checked_and_named() {
    let long = "x".repeat(131_072);
    let cases = [
        (serde_json::json!({"command": [""]}), "/command/0"),
        (serde_json::json!({"command": ["a", "b\0"]}), "/command/1"),
        (serde_json::json!({"command": ["a", long]}), "/command/1"),
        (serde_json::json!({"command": vec!["a"; 16_385]}), "/command"),
        (serde_json::json!({"command": vec![&long[1..]; 9]}), "/command"),
        (serde_json::json!({"env": {"": "x"}}), "/env/"),
        (serde_json::json!({"env": {"A=B": "x"}}), "/env/A=B"),
        (serde_json::json!({"env": {"a/b": "\0"}}), "/env/a~1b"),
        (serde_json::json!({"env": {"A": long}}), "/env/A"),
        (serde_json::json!({"env": {"CLB_TASK_ID": "x"}}), "/env/CLB_TASK_ID"),
        (serde_json::json!({"working_dir": "tmp"}), "/working_dir"),
        (serde_json::json!({"working_dir": "/tmp\0"}), "/working_dir"),
        (serde_json::json!({"success_codes": []}), "/success_codes"),
        (serde_json::json!({"stdin": "x".repeat(1 << 20)}), "/stdin"),
    ];
    for (fields, pointer) in cases {
        let mut request = serde_json::json!({"kind": "command", "command": ["a"]});
        request.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let errors = checked(&request.to_string()).unwrap_err();
        let found: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(found, [pointer]);
    }
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let mut command = Command::new(Argv::new("cat", ["-"]));
    command.stdin = Some(Stdin(b"hello".to_vec()));
    let timed = Work::spin(1.0, [Number::Integer(1), Number::Float(0.5)]);
    for work in [timed, Work::Command(command)] {
        let mut request = TaskRequest::new(work);
        request.priority = Some(3);
        request.retry = Some(RetryRequest { delay: Some(0.5), ..RetryRequest::default() });
        request.not_before = Some(NOW);
        request.labels.insert("a".to_owned(), "b".to_owned());
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(parse_task(json.as_bytes()).unwrap(), request);
    }
}

/// A good task with one field more.
fn with(field: &str, value: &str) -> String {
    format!(r#"{{"kind": "sleep", "seconds": 0, "{field}": {value}}}"#)
}

#[test]
fn the_rests_between_attempts_have_their_defaults() {
    for (written, expected) in [
        ("null", None),
        ("{}", None),
        (r#"{"factor": 2, "max_delay": 30, "jitter": 0}"#, None),
        (r#"{"delay": 0}"#, Some(Retry { delay: Some(0.0), ..Retry::default() })),
        (r#"{"delay": 60}"#, Some(Retry { delay: Some(60.0), max_delay: 60.0, ..Retry::default() })),
        (
            r#"{"delay": 60, "factor": 1, "max_delay": 5, "jitter": 0.5}"#,
            Some(Retry { delay: Some(60.0), factor: 1.0, max_delay: 5.0, jitter: 0.5, ..Retry::default() }),
        ),
        (r#"{"on": "any"}"#, None),
        (r#"{"on": "loss"}"#, Some(Retry { on: RetryOn::Loss, ..Retry::default() })),
    ] {
        assert_eq!(checked(&with("retry", written)).unwrap().spec.retry, expected, "{written}");
    }
    let task = checked(&with("retry", r#"{"max_attempts": 7}"#)).unwrap();
    assert_eq!((task.spec.max_attempts, task.spec.retry), (7, None));
    let both = r#"{"kind": "sleep", "seconds": 0, "max_attempts": 7, "retry": {"max_attempts": 7}}"#;
    assert_eq!(checked(both).unwrap().spec.max_attempts, 7);
}

#[test]
fn what_is_no_rest_is_named() {
    for (bad, pointer) in [
        ("7", "/retry"),
        ("[]", "/retry"),
        (r#"{"xyz": 1}"#, "/retry/xyz"),
        (r#"{"a/b": 1}"#, "/retry/a~1b"),
        (r#"{"delay": "1"}"#, "/retry/delay"),
        (r#"{"max_delay": [1]}"#, "/retry/max_delay"),
        (r#"{"factor": true}"#, "/retry/factor"),
        (r#"{"jitter": {}}"#, "/retry/jitter"),
        (r#"{"max_attempts": 1.5}"#, "/retry/max_attempts"),
        (r#"{"on": "failure"}"#, "/retry/on"),
        (r#"{"on": ["loss"]}"#, "/retry/on"),
    ] {
        assert_eq!(pointers(parse_task(with("retry", bad).as_bytes())), [pointer], "{bad}");
    }
    let all = pointers(parse_task(with("retry", r#"{"delay": "1", "xyz": 1}"#).as_bytes()));
    assert_eq!(all, ["/retry/delay", "/retry/xyz"]);
}

#[test]
fn the_limits_of_the_rests_are_checked_and_named() {
    for (field, bad) in [
        ("delay", "-0.1"),
        ("delay", "86400.1"),
        ("max_delay", "-1"),
        ("max_delay", "1e300"),
        ("factor", "0.9"),
        ("factor", "100.1"),
        ("jitter", "-0.1"),
        ("jitter", "1.1"),
        ("max_attempts", "0"),
        ("max_attempts", "101"),
    ] {
        let errors = checked(&with("retry", &format!(r#"{{"{field}": {bad}}}"#))).unwrap_err();
        let found: Vec<&str> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(found, [format!("/retry/{field}")], "{bad}");
    }
    let both = r#"{"kind": "sleep", "seconds": 0, "max_attempts": 3, "retry": {"max_attempts": 4}}"#;
    let errors = checked(both).unwrap_err();
    assert_eq!((errors.len(), errors[0].pointer.as_str()), (1, "/retry/max_attempts"));
}

#[test]
fn a_task_can_be_put_off_by_a_year_and_no_more() {
    let not_before = |text: &str| checked(&with("not_before", text)).map(|task| task.not_before);
    assert_eq!(not_before("null"), Ok(None));
    // It is 2027-01-15T08:00:00Z.
    assert_eq!(not_before("\"2027-01-15T08:00:01Z\""), Ok(Some(NOW + Duration::from_secs(1))));
    assert_eq!(not_before("\"2027-01-15T10:00:00+02:00\""), Ok(Some(NOW)));
    assert!(not_before("\"1999-01-01T00:00:00Z\"").is_ok(), "what is over says nothing");
    assert!(not_before("\"2028-01-15T08:00:00Z\"").is_ok());
    let errors = not_before("\"2028-01-17T00:00:00Z\"").unwrap_err();
    assert_eq!((errors.len(), errors[0].pointer.as_str()), (1, "/not_before"));
    for bad in ["7", "\"tomorrow\"", "\"\"", "\"2027-01-15\"", "\"2027-01-15T08:00:00\"", "[]"] {
        assert_eq!(pointers(parse_task(with("not_before", bad).as_bytes())), ["/not_before"], "{bad}");
    }
}

#[test]
fn a_batch_of_more_than_its_limit_is_refused_whatever_is_in_it() {
    let task = r#"{"kind": "sleep", "seconds": 0}"#;
    for items in [vec![task; 3], vec!["7"; 3], vec![task, task, "{}"]] {
        let array = format!("[{}]", items.join(","));
        assert_eq!(parse_batch(array.as_bytes(), 2).map(|items| items.len()), Err(ParseError::TooMany(2)));
        assert_eq!(parse_batch(array.as_bytes(), 3).map(|items| items.len()), Ok(3));
        let lines = items.join("\n\n");
        assert_eq!(parse_ndjson(lines.as_bytes(), 2).map(|items| items.len()), Err(ParseError::TooMany(2)));
        assert_eq!(parse_ndjson(lines.as_bytes(), 3).map(|items| items.len()), Ok(3));
    }
}
