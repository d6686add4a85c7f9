//! The door of every HTTP server of CLB: who is let in, and how refusals look.
//!
//! Which addresses are open, and what a simulated crash answers, is for each server to say.

mod guard;
mod refusal;
mod serve;

pub use guard::{check_site, check_token, show_token};
pub use refusal::Refusal;
pub use serve::{Limits, serve, serve_until};
