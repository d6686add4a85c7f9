//! The store takes nothing: that is said, nothing acknowledged is lost, and the service comes back.

mod full;
mod read_only;
