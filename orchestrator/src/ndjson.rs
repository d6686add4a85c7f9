//! What goes over a link: one JSON value a line.

use bytes::Bytes;
use serde::Serialize;

/// One line.
pub(crate) fn line(message: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
