//! Submitting, showing, listing, cancelling and collecting tasks.

mod batches;
mod listing;
mod queue;
mod submitting;
