//! Payloads: what the page makes up, lets a person edit, and sends. A payload is a function of its
//! id, so that it is the same wherever and however often it is looked at.

use clb_client::protocol::TaskId;
use clb_client::protocol::task::{FieldError, Number, TaskRequest, Work};

/// The group of every payload that this page sends.
pub(crate) const GROUP: &str = "web";
/// The most payloads that one click sends.
pub(crate) const MOST_AT_ONCE: u32 = 10_000;
/// Made-up payloads sleep from this ...
pub(crate) const SHORTEST_SECONDS: u32 = 10;
/// ... to this many seconds.
pub(crate) const LONGEST_SECONDS: u32 = 60;

/// A sleep and two numbers to add.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) id: TaskId,
    pub(crate) seconds: f64,
    pub(crate) add: [Number; 2],
}

impl Payload {
    /// The made-up payload of this id: `shortest` to `longest` whole seconds, two numbers from 1 to
    /// 10.
    pub(crate) fn made_up(id: TaskId, shortest: u32, longest: u32) -> Self {
        let mut chance = Chance::from(id);
        let seconds = f64::from(chance.between(shortest, longest));
        let mut number = || Number::Integer(i64::from(chance.between(1, 10)));
        Self { id, seconds, add: [number(), number()] }
    }

    /// Reads what a person left in the form.
    pub(crate) fn read(id: TaskId, seconds: &str, a: &str, b: &str) -> Result<Self, Vec<FieldError>> {
        let mut errors = Vec::new();
        let read_seconds = seconds.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite());
        if read_seconds.is_none() {
            errors.push(FieldError::at("seconds", "must be a number"));
        }
        let add = [a, b].map(read_number);
        for (name, number) in ["first number", "second number"].into_iter().zip(&add) {
            if number.is_none() {
                errors.push(FieldError::at(name, "must be a number"));
            }
        }
        match (read_seconds, add) {
            (Some(seconds), [Some(a), Some(b)]) => {
                let payload = Self { id, seconds, add: [a, b] };
                payload.request().check(id, None, clb_protocol::Timestamp::now()).map(|_| payload)
            }
            _ => Err(errors),
        }
    }

    /// What is sent.
    pub(crate) fn request(&self) -> TaskRequest {
        let mut request = TaskRequest::new(Work::sleep(self.seconds, self.add));
        request.id = Some(self.id);
        request.group = Some(GROUP.to_owned());
        request
    }
}

/// The made-up payloads of one click; the same for the same `batch`, so that a form that is sent
/// twice is sent once.
pub(crate) fn made_up_at_once(batch: TaskId, count: u32, shortest: u32, longest: u32) -> Vec<Payload> {
    (0..count).map(|n| Payload::made_up(nth_id(batch, n), shortest, longest)).collect()
}

/// An id with the time of `batch` and other random bits for every `n`.
fn nth_id(batch: TaskId, n: u32) -> TaskId {
    let mut chance = Chance::from(batch);
    chance.state = chance.state.wrapping_add(u64::from(n).wrapping_mul(0xD6E8_FEB8_6659_FD93));
    let mut bytes = *batch.as_bytes();
    bytes[6..8].copy_from_slice(&chance.next().to_be_bytes()[..2]);
    bytes[8..].copy_from_slice(&chance.next().to_be_bytes());
    // RFC 9562: version 7 and the variant have their places among the random bits.
    bytes[6] = (bytes[6] & 0x0f) | 0x70;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    TaskId::from_bytes(bytes)
}

fn read_number(text: &str) -> Option<Number> {
    let text = text.trim();
    let float = || text.parse::<f64>().ok().filter(|number| number.is_finite()).map(Number::Float);
    text.parse().ok().map(Number::Integer).or_else(float)
}

/// `SplitMix64`, started from the random bits of an id.
struct Chance {
    state: u64,
}

impl From<TaskId> for Chance {
    fn from(id: TaskId) -> Self {
        let bits = u128::from_be_bytes(*id.as_bytes());
        Self { state: (bits >> 64) as u64 ^ bits as u64 }
    }
}

impl Chance {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn between(&mut self, least: u32, most: u32) -> u32 {
        let span = u64::from(most.saturating_sub(least)) + 1;
        least + (self.next() % span) as u32
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_made_up_payload_keeps_to_its_ranges_and_reaches_their_ends() {
        let payloads = made_up_at_once(TaskId::now(), 10_000, 10, 60);
        let seconds: HashSet<u32> = payloads.iter().map(|payload| payload.seconds as u32).collect();
        assert_eq!(seconds, (10..=60).collect());
        let numbers: HashSet<String> =
            payloads.iter().flat_map(|payload| payload.add).map(|number| number.to_string()).collect();
        assert_eq!(numbers, (1..=10).map(|n| n.to_string()).collect());
    }

    #[test]
    fn one_click_makes_distinct_ids_and_the_same_ones_again() {
        let batch = TaskId::now();
        let first = made_up_at_once(batch, 10_000, 10, 60);
        let ids: HashSet<TaskId> = first.iter().map(|payload| payload.id).collect();
        assert_eq!(ids.len(), 10_000);
        assert_eq!(first, made_up_at_once(batch, 10_000, 10, 60));
        let text = first[7].id.to_string();
        assert_eq!(text.parse(), Ok(first[7].id), "an id of version 7");
    }

    #[test]
    fn what_a_person_typed_is_read_or_explained() {
        let id = TaskId::now();
        let payload = Payload::read(id, " 12.5 ", "3", "4.5").unwrap();
        assert_eq!(payload, Payload { id, seconds: 12.5, add: [Number::Integer(3), Number::Float(4.5)] });
        let names = |seconds: &str, a: &str| -> Vec<String> {
            let errors = Payload::read(id, seconds, a, "1").unwrap_err();
            errors.into_iter().map(|error| error.pointer).collect()
        };
        assert_eq!(names("soon", "NaN"), ["seconds", "first number"]);
        assert_eq!(names("-1", "99999999999999999"), ["/seconds", "/add/0"]);
    }
}
