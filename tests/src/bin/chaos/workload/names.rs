//! Names of tasks that say which ones they are.

use clb_protocol::TaskId;

/// The version of a UUID and its variant, where they stand.
const VERSION_7: u8 = 0x70;
const VARIANT: u8 = 0x80;

/// Whose tasks they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    Stream = 1,
    Waiting = 2,
    Strangers = 3,
}

/// The name of the task with this number, of the run that began then.
pub(crate) fn task_id(began_ms: u64, space: Space, number: u64) -> TaskId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&began_ms.to_be_bytes()[2..]);
    bytes[6] = VERSION_7;
    bytes[7] = space as u8;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = VARIANT;
    TaskId::from_bytes(bytes)
}

/// The number in a name.
pub(crate) fn number_of(id: TaskId) -> u64 {
    let mut number = [0; 8];
    number[1..].copy_from_slice(&id.as_bytes()[9..]);
    u64::from_be_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_good_one_and_tells_its_number() {
        for (space, number) in [(Space::Stream, 0), (Space::Waiting, 999_999), (Space::Strangers, 1 << 40)] {
            let id = task_id(1_700_000_000_000, space, number);
            assert_eq!(id.to_string().parse(), Ok(id));
            assert_eq!(number_of(id), number);
        }
        assert_ne!(task_id(1, Space::Stream, 1), task_id(1, Space::Waiting, 1));
    }
}
