use super::super::Command;
use super::*;

fn pointers(result: Result<TaskRequest, ParseError>) -> Vec<String> {
    match result.unwrap_err() {
        ParseError::Invalid(errors) => errors.into_iter().map(|e| e.pointer).collect(),
        ParseError::NotJson(why) => panic!("{why}"),
    }
}

fn checked(body: &str) -> Result<NewTask, Vec<FieldError>> {
    parse_task(body.as_bytes()).unwrap().check(TaskId::now(), None)
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
    assert!(matches!(parse_batch(b"{}"), Err(ParseError::Invalid(_))));
    assert!(matches!(parse_batch(b"[{]"), Err(ParseError::NotJson(_))));
}

#[test]
fn one_bad_item_does_not_spoil_its_batch() {
    let batch = parse_batch(br#"[{"kind": "sleep", "seconds": 0}, {"kind": "sleep"}]"#).unwrap();
    assert!(batch[0].is_ok());
    assert!(batch[1].is_err());
    let lines = parse_ndjson(b"{\"kind\": \"sleep\", \"seconds\": 0}\n\n{\n");
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
        request.labels.insert("a".to_owned(), "b".to_owned());
        let json = serde_json::to_string(&request).unwrap();
        assert_eq!(parse_task(json.as_bytes()).unwrap(), request);
    }
}
