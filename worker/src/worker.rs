//! The loop around the agent: waits for whatever happens next, hands it in, carries out what follows.

mod desk;

use std::io;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use clb_protocol::Incarnation;
use clb_protocol::link::WorkerOrder;
use clb_protocol::task::{CommandResult, Output};
use http::HeaderValue;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::agent::{Agent, Effect, Greeting, Identity, Now, Whereabouts, Wish};
use crate::config::Config;
use crate::journal::{Journal, Note};
use crate::link::{self, Found, Link, LinkError, Quest};
use crate::run::Told;
use crate::run::command::{Launcher, Piece, Shepherds};
use crate::{container_id, meter, pages};

pub(crate) use crate::agent::Ending;
pub(crate) use desk::{Ask, Desk, DeskClosed, Question};

/// A link that ends sooner counts as a failure to find a leader.
const SHORT_LINK: Duration = Duration::from_secs(1);

/// Why the worker did not start. The configuration's fault, or the machine's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// Correct `CLB_LISTEN`, or end the process that has the address.
    #[error("Cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The system gave no handler for its signals.
    #[error("Cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// The system gave no event queue.
    #[error("Cannot start: {0}")]
    Runtime(#[source] io::Error),
}

/// What happened.
enum Event {
    Heard(Result<WorkerOrder, LinkError>),
    Told(Told),
    Found(Found),
    Asked(Ask),
    Room,
    Time,
}

/// A search under way.
struct Seeking {
    elsewhere: bool,
    greeting: Greeting,
    task: JoinSet<Found>,
}

/// See the module.
pub(crate) struct Worker {
    agent: Agent,
    journal: Journal,
    orchestrators: Vec<String>,
    authorization: Option<HeaderValue>,
    link: Option<Link>,
    linked_at: Instant,
    short_links: u32,
    seeking: Option<Seeking>,
    asks: mpsc::Receiver<Ask>,
    told: mpsc::UnboundedReceiver<Told>,
    tell: mpsc::UnboundedSender<Told>,
    shepherds: Shepherds,
    buffer: BytesMut,
}

impl Worker {
    /// Serves pages and runs tasks until the process is to end.
    pub(crate) async fn serve(config: Config, journal: Journal) -> Result<Ending, StartError> {
        let (desk, asks) = Desk::open();
        desk::leave_on_signal(desk.clone()).map_err(StartError::Signals)?;
        let address = config.listen;
        let listener =
            TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })?;
        let name = config.worker().to_string();
        tokio::spawn(pages::serve(
            listener,
            pages::Pages::new(name, config.token.clone(), desk.clone(), journal.clone()),
        ));
        tokio::spawn(meter::write_usage(desk, journal.clone()));
        tracing::info!("Worker {} listens on {address}", config.worker());
        Ok(Self::new(&config, journal, asks, Launcher::own()).run().await)
    }

    /// A worker that looks for a leader once it runs.
    pub(crate) fn new(
        config: &Config,
        journal: Journal,
        asks: mpsc::Receiver<Ask>,
        launcher: Launcher,
    ) -> Self {
        let identity = Identity {
            worker: config.worker(),
            container: container_id::find(),
            port: config.port,
            slots: config.slots,
            orphan_limit: config.orphan_limit,
            stop_grace: config.stop_grace,
        };
        let bearer = |token: &String| HeaderValue::try_from(format!("Bearer {token}")).ok();
        let (tell, told) = mpsc::unbounded_channel();
        Self {
            agent: Agent::new(identity, new_incarnation(), Now::read()),
            journal,
            orchestrators: config.orchestrators.clone(),
            authorization: config.token.as_ref().and_then(bearer),
            link: None,
            linked_at: Instant::now(),
            short_links: 0,
            seeking: None,
            asks,
            told,
            shepherds: Shepherds::new(launcher, tell.clone()),
            tell,
            buffer: BytesMut::new(),
        }
    }

    /// Works until the process is to end.
    pub(crate) async fn run(mut self) -> Ending {
        loop {
            let now = Now::read();
            self.agent.handle_time(now);
            if let Some(ending) = self.steer(now) {
                self.carry_out();
                self.journal.flush(now.at);
                return ending;
            }
            self.carry_out();
            self.report(now);
            self.journal.flush(now.at);
            let event = self.next_event(now).await;
            self.handle(event);
        }
    }

    async fn next_event(&mut self, now: Now) -> Event {
        let deadline = self.agent.next_deadline(now);
        let writer = if self.wants_to_speak(now) { self.link.as_ref().and_then(Link::writer) } else { None };
        tokio::select! {
            heard = hear(self.link.as_mut()) => Event::Heard(heard),
            Some(told) = self.told.recv() => Event::Told(told),
            found = found(self.seeking.as_mut()) => Event::Found(found),
            Some(ask) = self.asks.recv() => Event::Asked(ask),
            () = link::room(writer) => Event::Room,
            () = sleep_until(deadline) => Event::Time,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Now::read();
        match event {
            Event::Heard(Ok(order)) => {
                self.agent.handle_order(order, now);
                self.handle_arrived(now);
            }
            Event::Heard(Err(error)) => self.handle_unlinked(&error, now),
            Event::Told(told) => self.handle_told(told, now),
            Event::Found(found) => self.handle_found(found, now),
            Event::Asked(Ask::Leave) => self.agent.handle_leave(now),
            // Who asked and went away needs no answer.
            Event::Asked(Ask::View(answer)) => drop(answer.send(self.agent.view(now))),
            Event::Asked(Ask::Read(question)) => self.read(question, now),
            Event::Asked(Ask::Flip(answer)) => drop(answer.send(self.agent.flip(new_incarnation(), now))),
            Event::Room | Event::Time => {}
        }
    }

    fn handle_told(&mut self, told: Told, now: Now) {
        match told {
            Told::Ended(ended) => self.agent.handle_ended(ended, now),
            Told::Progress(key, progress) => self.agent.handle_progress(key, progress),
        }
    }

    /// Has a question about an output answered. Who asks again because a program has ended must find it
    /// ended here too.
    fn read(&mut self, question: Question, now: Now) {
        while let Ok(told) = self.told.try_recv() {
            self.handle_told(told, now);
        }
        let Question { key, read, reply } = question;
        let gave = match self.agent.whereabouts(key) {
            Whereabouts::Running => return self.shepherds.read(key, read, reply),
            Whereabouts::Unknown => None,
            Whereabouts::Ended(gave) => Some(gave),
        };
        let piece = gave.map(|gave| {
            let result = gave.and_then(|gave| serde_json::from_str::<CommandResult>(gave.get()).ok());
            let output = result.as_ref().map(|result| result.output(read.stream));
            Piece::of_ended(output.unwrap_or(&Output::default()), read.from)
        });
        // Who went away needs no answer.
        drop(reply.send(piece));
    }

    /// Handles all orders that came together, so that one report answers them together.
    fn handle_arrived(&mut self, now: Now) {
        while let Some(link) = &mut self.link {
            match link.heard() {
                Ok(Some(order)) => self.agent.handle_order(order, now),
                Ok(None) => return,
                Err(error) => return self.handle_unlinked(&error, now),
            }
        }
    }

    fn handle_unlinked(&mut self, error: &LinkError, now: Now) {
        self.link = None;
        let was_short = now.instant.duration_since(self.linked_at) < SHORT_LINK;
        self.short_links = if was_short { self.short_links + 1 } else { 0 };
        self.agent.handle_unlinked(now, &error.to_string());
    }

    fn handle_found(&mut self, found: Found, now: Now) {
        let Some(seeking) = self.seeking.take() else { return };
        let Found { link, welcome } = found;
        if !self.agent.handle_welcome(welcome, &seeking.greeting, now) {
            self.short_links += 1;
            return;
        }
        self.linked_at = now.instant;
        self.link = Some(link);
        self.handle_arrived(now);
    }

    /// Does about the link what the agent wishes.
    fn steer(&mut self, now: Now) -> Option<Ending> {
        match self.agent.wish(now) {
            Wish::Off => {
                self.link = None;
                self.seeking = None;
            }
            Wish::Keep => self.seeking = None,
            Wish::LookElsewhere => self.seek(self.link.as_ref().map(|link| link.url().to_owned())),
            Wish::Look => {
                self.link = None;
                self.seek(None);
            }
            Wish::Finish => {
                self.seeking = None;
                if let Some(link) = &mut self.link {
                    link.finish();
                }
            }
            Wish::End(ending) => return Some(ending),
        }
        None
    }

    fn seek(&mut self, avoid: Option<String>) {
        let elsewhere = avoid.is_some();
        if self.seeking.as_ref().is_some_and(|seeking| seeking.elsewhere == elsewhere) {
            return;
        }
        let greeting = self.agent.greet(Now::read());
        let hello = match link::line_of(&mut self.buffer, &greeting.hello) {
            Ok(hello) => hello,
            Err(error) => return tracing::error!("Cannot write the first line of a link: {error}"),
        };
        let quest = Quest {
            urls: self.orchestrators.iter().chain(self.agent.named()).cloned().collect(),
            avoid,
            hello,
            authorization: self.authorization.clone(),
            fence: self.agent.fence(),
            failures: self.short_links,
        };
        let mut task = JoinSet::new();
        task.spawn(link::seek(quest));
        self.seeking = Some(Seeking { elsewhere, greeting, task });
    }

    fn wants_to_speak(&self, now: Now) -> bool {
        self.agent.may_speak() && (self.agent.has_news(now) || self.journal.has_news())
    }

    /// Says everything that is to be said, in one line, if the link has room for it.
    fn report(&mut self, now: Now) {
        if !self.wants_to_speak(now) {
            return;
        }
        let Some(link) = self.link.as_ref().filter(|link| link.has_room()) else { return };
        let port = self.agent.leader_port();
        let mut report = self.agent.report();
        for result in &report.finished {
            self.journal.note(now.at, Note::SentResult { task: result.task, port });
        }
        report.logs = self.journal.take_for_leader();
        match link::line_of(&mut self.buffer, &report) {
            // What does not reach the leader stays in the outbox and goes into the next greeting.
            Ok(report) => drop(link.say(report)),
            Err(error) => tracing::error!("Cannot write a report: {error}"),
        }
        self.agent.handle_said(now);
    }

    fn carry_out(&mut self) {
        for effect in self.agent.take_effects() {
            match effect {
                Effect::Note(at, note) => self.journal.note(at, note),
                Effect::Burn(burner) => burner.start(&self.tell),
                Effect::Start(job) => self.shepherds.start(job),
                Effect::Stop(key, stop) => self.shepherds.stop(key, stop),
                Effect::Abandon(key) => self.shepherds.abandon(key),
            }
        }
    }
}

fn new_incarnation() -> Incarnation {
    Incarnation(Uuid::now_v7())
}

async fn hear(link: Option<&mut Link>) -> Result<WorkerOrder, LinkError> {
    match link {
        Some(link) => link.hear().await,
        None => std::future::pending().await,
    }
}

async fn found(seeking: Option<&mut Seeking>) -> Found {
    if let Some(seeking) = seeking
        && let Some(Ok(found)) = seeking.task.join_next().await
    {
        return found;
    }
    std::future::pending().await
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
