//! Submitting, showing, listing, cancelling, replaying, explaining and collecting tasks.

mod again;
mod batches;
mod listing;
mod many;
mod queue;
mod replays;
mod submitting;
mod waiting;
