//! How the values of options are written.

use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clb_client::protocol::Timestamp;
use clb_client::protocol::api::TaskState;
use clb_client::protocol::pool::{MAX_POOL_NAME, is_pool_name};
use jiff::{Span, SpanRelativeTo};

/// A span of time: a number of seconds, or as in `1h30m`.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration; give seconds, or units like 1h30m");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| bad());
    }
    let span: Span = text.parse().map_err(|_| bad())?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad())?;
    Duration::try_from(span).map_err(|_| bad())
}

/// A span of time as a number of seconds.
pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    parse_span(text).map(|span| span.as_secs_f64())
}

/// A number that JSON can say.
pub(crate) fn parse_number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite());
    number.ok_or_else(|| format!("{text:?} is not a number"))
}

/// A point in time, or `+` and a span from now.
pub(crate) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Some(span) = text.strip_prefix('+') {
        return parse_span(span).map(|span| Timestamp::now() + span);
    }
    let at: Result<jiff::Timestamp, _> = text.parse();
    at.map(|at| Timestamp(at.as_microsecond())).map_err(|_| {
        format!("{text:?} is not a time; write it like 2026-01-31T03:00:00Z, or +90m for 90 minutes from now")
    })
}

/// `KEY=VALUE`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} must be written as NAME=VALUE")),
    }
}

/// A state of a task.
pub(crate) fn state() -> impl TypedValueParser<Value = TaskState> {
    use TaskState::{Cancelled, Failed, Queued, Running, Succeeded};
    among(&[Queued, Running, Succeeded, Failed, Cancelled])
}

/// A state that a task leaves.
pub(crate) fn open() -> impl TypedValueParser<Value = TaskState> {
    among(&[TaskState::Queued, TaskState::Running])
}

/// A state in which a task stays.
pub(crate) fn end() -> impl TypedValueParser<Value = TaskState> {
    among(&[TaskState::Succeeded, TaskState::Failed, TaskState::Cancelled])
}

/// Help and completions name all of them.
fn among(states: &'static [TaskState]) -> impl TypedValueParser<Value = TaskState> {
    PossibleValuesParser::new(states.iter().map(|state| state.as_str())).try_map(|text| {
        states
            .iter()
            .copied()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a state"))
    })
}

/// A pool's name.
pub(crate) fn parse_pool_name(text: &str) -> Result<String, String> {
    if is_pool_name(text) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a pool name; use up to {MAX_POOL_NAME} of a-z, 0-9 and -, with no - at either end"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_seconds_or_have_units() {
        for (text, seconds) in [("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("1h30m", 5400.0), ("1d", 86400.0)]
        {
            assert_eq!(parse_seconds(text), Ok(seconds), "{text}");
        }
        for bad in ["", "-1", "soon", "-5m", "NaN"] {
            assert!(parse_span(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn times_are_absolute_or_from_now() {
        assert_eq!(parse_time("2023-11-14T22:13:20Z"), Ok(Timestamp(1_700_000_000_000_000)));
        assert!(parse_time("+90m").unwrap().since(Timestamp::now()) > Duration::from_mins(89));
        for bad in ["", "+", "tomorrow", "2023-11-14"] {
            assert!(parse_time(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn numbers_are_finite() {
        assert_eq!(parse_number("1.5"), Ok(1.5));
        for bad in ["", "two", "NaN", "inf"] {
            assert!(parse_number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_pair_may_have_more_equal_signs_in_its_value() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert!(parse_pair("a").is_err() && parse_pair("=b").is_err());
    }
}
