//! What callers do all the time: a steady stream of submissions of many kinds, each sent again until it is
//! acknowledged, as a good client does.

mod names;
mod plan;
mod strangers;
mod stream;
mod waiting;

pub(crate) use plan::PROGRAMS;
pub(crate) use strangers::{breaks_off_a_batch, is_killed_in_a_batch};
pub(crate) use stream::Stream;
pub(crate) use waiting::Waiting;
