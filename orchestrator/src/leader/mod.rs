//! The leader's loop: the one task that owns the [`Cluster`] during a term.
//!
//! It drains its inbox up to a bound, lets the core handle all of it, and commits the changes of the
//! whole batch in one transaction while the next batch is being handled. What depends on durability
//! (answers to submitters, acknowledgements of results, orders for new tasks) is released when the
//! batch is on disk; orders that fill a freed slot go out at once.
//!
//! Not here: what to decide (`clb-core`), how containers are made (`fleet`), what callers may ask
//! (`http`).

mod callers;
mod commit;
mod event;
mod feed;
mod fetcher;
mod followers;
mod groups;
mod inbox;
mod intake;
mod keeper;
mod links;
mod logbook;
mod outflow;
mod progress;
mod recent;
mod restore;
mod specs;
mod term;
#[cfg(test)]
pub(crate) mod tests;
mod watchdog;

pub(crate) use event::frame;
pub(crate) use feed::{Feed, Wanted};
pub(crate) use followers::Whereabouts;
pub(crate) use inbox::{Explained, Handle, Message, Refused, Submitted};
pub(crate) use keeper::Keeper;
pub(crate) use links::QUEUE as LINK_QUEUE;
pub(crate) use term::{Beginning, End, Term};
