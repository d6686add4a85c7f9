//! Reading many tasks at once. How many is bounded while they are read: each takes many times the room that it
//! takes as text.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use super::{FieldError, ParseError, TaskRequest, parse_task};

/// Reads a JSON array of at most `most` tasks; the inner results are those of the items.
pub fn parse_batch(body: &[u8], most: usize) -> Result<Vec<Result<TaskRequest, ParseError>>, ParseError> {
    if let Ok(all) = UpTo::<TaskRequest>::read(body, most) {
        return all.map(|all| all.into_iter().map(Ok).collect()).ok_or(ParseError::TooMany(most));
    }
    match UpTo::<&RawValue>::read(body, most) {
        Ok(Some(items)) => Ok(items.into_iter().map(|item| parse_task(item.get().as_bytes())).collect()),
        Ok(None) => Err(ParseError::TooMany(most)),
        Err(_) if is_json(body) => {
            Err(ParseError::Invalid(vec![FieldError::at("", "must be a JSON array of tasks")]))
        }
        Err(error) => Err(ParseError::NotJson(error.to_string())),
    }
}

/// What is passed over is not looked at: whether it is text at all is asked beside.
fn is_json(body: &[u8]) -> bool {
    std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Reads a JSON array of a bounded length.
struct UpTo<T> {
    most: usize,
    item: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> UpTo<T> {
    /// All items; `None` when there are more.
    fn read(body: &'de [u8], most: usize) -> serde_json::Result<Option<Vec<T>>> {
        let mut json = serde_json::Deserializer::from_slice(body);
        let items = json.deserialize_seq(Self { most, item: PhantomData })?;
        json.end()?;
        Ok(items)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for UpTo<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an array of at most {} items", self.most)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while items.len() < self.most {
            match all.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(Some(items)),
            }
        }
        let mut has_more = false;
        while all.next_element::<IgnoredAny>()?.is_some() {
            has_more = true;
        }
        Ok(Some(items).filter(|_| !has_more))
    }
}

/// Reads one task a line, at most `most` of them; empty lines are passed over.
pub fn parse_ndjson(body: &[u8], most: usize) -> Result<Vec<Result<TaskRequest, ParseError>>, ParseError> {
    let lines = || body.split(|byte| *byte == b'\n').filter(|line| !line.iter().all(u8::is_ascii_whitespace));
    if lines().nth(most).is_some() {
        return Err(ParseError::TooMany(most));
    }
    Ok(lines().map(parse_task).collect())
}
