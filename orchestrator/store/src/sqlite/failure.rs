//! What the errors of SQLite and of its columns of JSON mean for the store's callers.

use rusqlite::{Error, ErrorCode, ffi};
use serde_json::value::RawValue;

use crate::{Result, StoreError};

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        classify(error)
    }
}

/// Sorts an error by whose fault it is.
pub(super) fn classify(error: Error) -> StoreError {
    let Error::SqliteFailure(failure, _) = &error else {
        // A value that cannot be read back as what was written.
        return StoreError::Corrupt { detail: error.to_string() };
    };
    match (failure.code, failure.extended_code) {
        // A file system without room refuses to grow the shared index with an I/O error of its own.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => {
            StoreError::Full { source: error.into() }
        }
        (ErrorCode::ReadOnly, _) => StoreError::ReadOnly { source: error.into() },
        (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => StoreError::Busy { source: error.into() },
        (ErrorCode::CannotOpen, _) => StoreError::Unavailable { detail: error.to_string() },
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => {
            StoreError::Corrupt { detail: error.to_string() }
        }
        (ErrorCode::ConstraintViolation, _) => StoreError::Conflict { detail: error.to_string() },
        _ => StoreError::Io { source: error.into() },
    }
}

fn corrupt(error: &serde_json::Error) -> StoreError {
    StoreError::Corrupt { detail: format!("a column of JSON cannot be read: {error}") }
}

/// The column of JSON for `value`.
pub(super) fn to_json<T: serde::Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| StoreError::Conflict { detail: format!("a value has no form in JSON: {error}") })
}

/// Takes back what [`to_json`] gave.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(column: &str) -> Result<T> {
    serde_json::from_str(column).map_err(|error| corrupt(&error))
}

/// A column of JSON as it is.
pub(super) fn raw_json(column: String) -> Result<Box<RawValue>> {
    RawValue::from_string(column).map_err(|error| corrupt(&error))
}
