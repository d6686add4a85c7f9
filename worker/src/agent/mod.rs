//! What a worker knows and decides: what runs, which results are still unacknowledged, whom it
//! obeys, and what it does next. It neither reads a clock nor does anything; the loop around it
//! (`worker`) hands in what happened and carries out the effects.

mod archive;
mod contact;
mod orders;
mod outbox;
mod progress;
mod running;
mod view;

#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use clb_protocol::link::{AttemptProgress, AttemptResult, Leaving, LogLine, Welcome, WorkerHello};
use clb_protocol::{ContainerId, Epoch, Incarnation, Timestamp, WorkerId};
use serde::Serialize;

use crate::journal::Note;
use crate::run::command::{Job, Stop};
use crate::run::{AttemptKey, Burner};
use archive::Archive;
use contact::{CLOSE_LIMIT, Contact, FAREWELL_LIMIT, Farewell, Linked, Phase};
use outbox::Outbox;
use progress::ProgressTable;
use running::RunningTable;

pub(crate) use archive::Whereabouts;
pub(crate) use contact::{Ending, Wish};
pub(crate) use outbox::ResultSeq;
pub(crate) use view::View;

/// The moment of an input, by both clocks: one for people and records, one that never jumps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    /// For records.
    pub(crate) at: Timestamp,
    /// For deadlines.
    pub(crate) instant: Instant,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        Self { at: Timestamp::now(), instant: Instant::now() }
    }
}

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    /// Which worker.
    pub(crate) worker: WorkerId,
    /// Docker's id of its container.
    pub(crate) container: ContainerId,
    /// The port under which its pages are published.
    pub(crate) port: u16,
    /// How many tasks the leader may have it run at once.
    pub(crate) slots: u16,
    /// After how long without a leader it ends itself.
    pub(crate) orphan_limit: Duration,
    /// How long a program that is asked to stop may take before it is killed.
    pub(crate) stop_grace: Duration,
}

/// What the loop around the agent has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Write a line into the log.
    Note(Timestamp, Note),
    /// Start a thread.
    Burn(Burner),
    /// Start a program; its end comes back as [`crate::run::Ended`].
    Start(Box<Job>),
    /// Stop a program; its end still comes back.
    Stop(AttemptKey, Stop),
    /// Kill a program at once; its end is of no interest.
    Abandon(AttemptKey),
}

/// The first line for a new link, and what it covers.
#[derive(Clone, Debug)]
pub(crate) struct Greeting {
    /// The line.
    pub(crate) hello: WorkerHello,
    /// The results from here on are not in it.
    pub(crate) covers: ResultSeq,
    /// How much the worker had heard when it was written.
    pub(crate) heard: u64,
}

/// A line for the leader: [`clb_protocol::link::WorkerReport`], borrowed.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) finished: Vec<&'a AttemptResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leaving: Option<Leaving>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) progress: Vec<AttemptProgress>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) logs: Vec<LogLine>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Agent {
    identity: Identity,
    incarnation: Incarnation,
    phase: Phase,
    contact: Contact,
    /// The highest term that was ever welcomed: a lower one has no say.
    fence: Epoch,
    /// Base URLs of the orchestrators that the last leader named.
    named: Vec<String>,
    running: RunningTable,
    outbox: Outbox,
    archive: Archive,
    progress: ProgressTable,
    effects: Vec<Effect>,
    heard: u64,
    ended: u64,
}

impl Agent {
    pub(crate) fn new(identity: Identity, incarnation: Incarnation, now: Now) -> Self {
        Self {
            identity,
            incarnation,
            phase: Phase::Working,
            contact: Contact::Lost { since: now.instant },
            fence: Epoch(0),
            named: Vec::new(),
            running: RunningTable::default(),
            outbox: Outbox::default(),
            archive: Archive::default(),
            progress: ProgressTable::default(),
            effects: Vec::new(),
            heard: 0,
            ended: 0,
        }
    }

    /// The highest term that was welcomed so far.
    pub(crate) fn fence(&self) -> Epoch {
        self.fence
    }

    /// Base URLs of the orchestrators that the last leader named.
    pub(crate) fn named(&self) -> &[String] {
        &self.named
    }

    fn learn(&mut self, welcome: &Welcome) {
        self.named = welcome.orchestrators.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
    }

    /// The port of the leader, for the log.
    pub(crate) fn leader_port(&self) -> u16 {
        self.linked().map_or(0, |linked| linked.welcome.port)
    }

    /// Takes what is to be done, in order.
    pub(crate) fn take_effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// The first line for a link that is to be opened now.
    pub(crate) fn greet(&self, now: Now) -> Greeting {
        let mut running = self.running.list(now);
        if let Phase::Leaving(farewell) = &self.phase {
            running.extend(farewell.returned.iter().cloned());
        }
        let (finished, covers) = self.outbox.oldest();
        running.extend(self.outbox.from(covers));
        let hello = WorkerHello {
            worker: self.identity.worker.clone(),
            incarnation: self.incarnation,
            container: self.identity.container.clone(),
            port: self.identity.port,
            slots: self.identity.slots,
            stop_grace: self.identity.stop_grace.as_secs_f64(),
            running,
            finished: finished.into_iter().cloned().collect(),
        };
        Greeting { hello, covers, heard: self.heard }
    }

    /// A leader answered. Tells whether the link is to be kept.
    pub(crate) fn handle_welcome(&mut self, welcome: Welcome, greeting: &Greeting, now: Now) -> bool {
        // The old leader spoke again after the greeting was written: what it says is no longer true.
        let is_stale = greeting.heard != self.heard || greeting.hello.incarnation != self.incarnation;
        if welcome.epoch < self.fence || is_stale || matches!(self.phase, Phase::Crashed) {
            return false;
        }
        self.fence = welcome.epoch;
        self.learn(&welcome);
        for result in &greeting.hello.finished {
            let note = Note::SentResult { task: result.task, port: welcome.port };
            self.effects.push(Effect::Note(now.at, note));
        }
        self.outbox.rewind(greeting.covers);
        self.progress.rewind();
        if let Phase::Leaving(farewell) = &mut self.phase {
            farewell.said = None;
            farewell.closing = None;
        }
        self.note(now, format!("Follows {} in term {}", welcome.leader, welcome.epoch));
        let (heard_at, said_at) = (now.instant, now.instant);
        self.contact = Contact::Linked(Linked { welcome, heard_at, said_at });
        true
    }

    /// The link ended.
    pub(crate) fn handle_unlinked(&mut self, now: Now, why: &str) {
        if let Contact::Linked(linked) = &self.contact {
            let text = format!("Lost the link to {}: {why}", linked.welcome.leader);
            self.contact = Contact::Lost { since: now.instant };
            self.note(now, text);
        }
    }

    /// The process is to end: hands back what is unfinished, keeps nothing.
    pub(crate) fn handle_leave(&mut self, now: Now) {
        match self.phase {
            Phase::Leaving(_) => return,
            Phase::Working | Phase::Crashed => {}
        }
        let returned = self.return_running(now);
        let text = match self.running.len() {
            0 => format!("Leaving: gives back {} of its tasks unfinished", returned.len()),
            left => format!(
                "Leaving: gives back {} of its tasks unfinished, and {left} more once their programs have stopped",
                returned.len()
            ),
        };
        self.note(now, text);
        let until = now.instant + FAREWELL_LIMIT;
        self.phase = Phase::Leaving(Farewell { returned, said: None, until, closing: None });
        self.settle(now);
    }

    /// Flips the simulated crash: `true` when it is on now. `incarnation` is who recovers from it.
    pub(crate) fn flip(&mut self, incarnation: Incarnation, now: Now) -> bool {
        match self.phase {
            Phase::Working => {
                self.abandon_all();
                self.outbox.clear();
                self.archive.clear();
                self.contact = Contact::Lost { since: now.instant };
                self.phase = Phase::Crashed;
                self.note(now, clb_protocol::seed::CRASH);
                true
            }
            Phase::Crashed => {
                self.incarnation = incarnation;
                self.contact = Contact::Lost { since: now.instant };
                self.phase = Phase::Working;
                self.note(now, clb_protocol::seed::RECOVERED);
                false
            }
            Phase::Leaving(_) => false,
        }
    }

    /// What is to be done about the link.
    pub(crate) fn wish(&self, now: Now) -> Wish {
        let now = now.instant;
        match (&self.phase, &self.contact) {
            (Phase::Crashed, _) => Wish::Off,
            (Phase::Working, Contact::Lost { since }) if now >= *since + self.identity.orphan_limit => {
                Wish::End(Ending::Orphaned)
            }
            (Phase::Working, Contact::Lost { .. }) => Wish::Look,
            (Phase::Leaving(farewell), _) if now >= farewell.closing.unwrap_or(farewell.until) => {
                Wish::End(Ending::Left)
            }
            (Phase::Leaving(farewell), Contact::Lost { .. }) => {
                let is_told = farewell.said.is_some() || farewell.returned.is_empty();
                if is_told && self.outbox.is_empty() && self.running.is_empty() {
                    Wish::End(Ending::Left)
                } else {
                    Wish::Look
                }
            }
            (Phase::Leaving(farewell), Contact::Linked(_)) if farewell.closing.is_some() => Wish::Finish,
            (_, Contact::Linked(linked)) if linked.is_quiet(now) => Wish::LookElsewhere,
            (_, Contact::Linked(_)) => Wish::Keep,
        }
    }

    /// When [`Agent::handle_time`] is to be called next, if nothing else happens.
    pub(crate) fn next_deadline(&self, now: Now) -> Option<Instant> {
        let contact: &[Instant] = match &self.contact {
            Contact::Linked(linked) => &linked.deadlines(),
            Contact::Lost { since } => &[*since + self.identity.orphan_limit],
        };
        let farewell = match &self.phase {
            Phase::Leaving(farewell) => Some(farewell.closing.unwrap_or(farewell.until)),
            Phase::Working | Phase::Crashed => None,
        };
        contact
            .iter()
            .copied()
            .chain(farewell)
            .chain(self.running.next_deadline())
            .filter(|deadline| *deadline > now.instant)
            .min()
    }

    /// Whether there is a link and the worker has not said its last word on it.
    pub(crate) fn may_speak(&self) -> bool {
        let is_closing = matches!(&self.phase, Phase::Leaving(farewell) if farewell.closing.is_some());
        self.linked().is_some() && !is_closing
    }

    /// Whether something is to be said on the link now.
    pub(crate) fn has_news(&self, now: Now) -> bool {
        let is_unsaid = matches!(&self.phase, Phase::Leaving(farewell) if farewell.is_unsaid());
        let is_due = self.linked().is_some_and(|linked| linked.is_heartbeat_due(now.instant));
        is_unsaid || is_due || self.outbox.has_unsent() || self.progress.has_unsaid()
    }

    /// What is to be said now; [`Agent::handle_said`] must follow.
    pub(crate) fn report(&self) -> Report<'_> {
        let leaving = match &self.phase {
            Phase::Leaving(farewell) if farewell.is_unsaid() => {
                let unsaid = farewell.returned.iter().skip(farewell.said.unwrap_or(0));
                Some(Leaving { returned: unsaid.map(|it| (it.task, it.attempt)).collect() })
            }
            _ => None,
        };
        let progress = self.progress.unsaid();
        Report { finished: self.outbox.unsent(), leaving, progress, logs: Vec::new() }
    }

    /// The report was handed to the link.
    pub(crate) fn handle_said(&mut self, now: Now) {
        self.outbox.mark_sent();
        self.progress.mark_said();
        if let Phase::Leaving(farewell) = &mut self.phase {
            farewell.said = Some(farewell.returned.len());
        }
        if let Contact::Linked(linked) = &mut self.contact {
            linked.said_at = now.instant;
        }
        self.settle(now);
    }

    fn linked(&self) -> Option<&Linked> {
        match &self.contact {
            Contact::Linked(linked) => Some(linked),
            Contact::Lost { .. } => None,
        }
    }

    fn note(&mut self, now: Now, text: impl Into<Box<str>>) {
        self.effects.push(Effect::Note(now.at, Note::Text(text.into())));
    }

    /// A farewell to which nothing is to be added closes the link.
    fn settle(&mut self, now: Now) {
        let is_linked = self.linked().is_some();
        if let Phase::Leaving(farewell) = &mut self.phase
            && is_linked
            && farewell.closing.is_none()
            && !farewell.is_unsaid()
            && self.outbox.is_empty()
            && self.running.is_empty()
        {
            farewell.closing = Some((now.instant + CLOSE_LIMIT).min(farewell.until));
        }
    }

    fn is_known(&self, key: AttemptKey) -> bool {
        self.running.contains(key) || self.outbox.contains(key)
    }
}
