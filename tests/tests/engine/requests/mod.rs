//! Requests that are wrong, forbidden or too large: refused with the right status, never with 500.

mod bad_input;
mod guarded;
mod large;
