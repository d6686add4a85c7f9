//! `clb map`: a command for each line of standard input. It holds at most `--jobs` lines that are on their way
//! or not printed yet, however long the input is.

mod joblog;
mod printing;

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clb_client::protocol::api::{BatchEntry, TaskView};
use clb_client::protocol::task::Work;
use clb_client::protocol::{OutcomeSeq, TaskId};
use clb_client::{Client, Error};
use futures::{StreamExt as _, stream};

use super::batch::names::id_of;
use super::held_up::told;
use super::interrupt::interruptible;
use super::lines::{self, Line, reason};
use super::output::{Printer, remark};
use super::placeholder::{self, Template};
use super::progress::Progress;
use super::task_options::{TaskOptions, made_up_group};
use super::{asked, completion};
use crate::failure::{BROKEN_PIPE, Done, Failure, REFUSED};
use joblog::Joblog;
use printing::Printing;

/// How long a full queue is given to make room.
const QUEUE_PAUSE: Duration = Duration::from_secs(1);
const QUEUE_FULL: u16 = 429;
const CONFLICT: u16 = 409;
/// How many tasks are asked for at the same time.
const MOST_AT_ONCE: usize = 16;
/// A request has at most so many bytes of tasks, give or take one.
const MOST_BYTES: usize = 16 << 20;
/// What escapes make of a line may be many times as long as the line.
const LONGEST_TASK: usize = 4 << 20;

/// Which command, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct MapOptions {
    /// Print outputs in input order instead of the order in which the commands end
    #[arg(long, short = 'k')]
    keep_order: bool,
    /// Maximum number of lines that are submitted but not yet printed
    #[arg(long, short = 'j', value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    jobs: u32,
    /// Lines end with a NUL character, as from `find -print0`
    #[arg(long, short = '0')]
    null: bool,
    /// Record each printed line in this file, in the format of GNU parallel
    #[arg(long, value_name = "FILE")]
    joblog: Option<PathBuf>,
    /// Continue an interrupted run: skip the lines recorded in the joblog, including failed ones. Lines that were
    /// submitted but not printed are not run again, only printed
    #[arg(long, requires_all = ["joblog", "group"])]
    resume: bool,
    /// Placeholder for the line instead of {}, for commands that use {} themselves
    #[arg(short = 'I', value_name = "STR", default_value = placeholder::LINE, hide_default_value = true, value_parser = NonEmptyStringValueParser::new())]
    replace: String,
    /// The program and its arguments. Placeholders: {} is the line, {.} the line without its extension, {/} the file
    /// name, {//} the directory, {/.} the file name without extension, {#} the line number. Without any of these the line
    /// becomes the last argument. Empty lines are skipped.
    ///
    /// There is no shell unless you name one: sh -c 'gzip -c {} | wc -c'. In a shell script (sh, bash, dash, ksh, zsh and
    /// similar with -c) a placeholder is always a single word, quoted or not, whatever the line contains. Placeholders
    /// that a shell would evaluate anyway (arithmetic, let, trap) are refused; a script that consists of {} alone runs the
    /// line. Other programs that evaluate text get the line unquoted: python3 -c, awk, ssh, and inside a script eval,
    /// arithmetic on a variable and nested scripts. Pass them the line as an argument, or the input can run anything
    #[arg(last = true, value_name = "COMMAND", required = true, value_hint = completion::WORD)]
    command: Vec<String>,
    #[command(flatten)]
    task: TaskOptions,
}

/// A line on its way.
#[derive(Debug)]
pub(super) struct Job {
    /// Its place among those that were submitted, from 0.
    place: u64,
    number: u64,
    input: String,
}

type Prepared = (Job, TaskId, Vec<u8>);

struct Map<'a> {
    client: &'a Client,
    options: &'a MapOptions,
    group: &'a str,
    template: Template,
    /// Read and not submitted yet.
    ready: VecDeque<Prepared>,
    open: HashMap<TaskId, Job>,
    /// One of them, of which is told what holds it up.
    watched: &'a Cell<Option<TaskId>>,
    places: u64,
    /// How many the cluster has, and how many of them it had before.
    submitted: u64,
    known: u64,
    printing: Printing,
    progress: Progress,
}

/// Maps all lines.
pub(super) async fn run(mut options: MapOptions, client: &Client, printer: Printer) -> Done {
    let group = options.task.group.get_or_insert_with(|| made_up_group("map")).clone();
    // A joblog begins anew only for a command that can be run.
    let template = Template::new(&options.command, &options.replace)?;
    let joblog = options.joblog.as_deref().map(|path| Joblog::open(path, options.resume)).transpose()?;
    let (watched, progress) = (Cell::new(None), Progress::of_tasks_so_far());
    let mut map = Map {
        client,
        options: &options,
        group: &group,
        template,
        ready: VecDeque::new(),
        open: HashMap::new(),
        watched: &watched,
        places: 0,
        submitted: 0,
        known: 0,
        printing: Printing::new(printer, options.keep_order, joblog),
        progress: progress.clone(),
    };
    let hint = || "the submitted tasks keep running".to_owned();
    let mapped = {
        let mapping = Box::pin(map.all());
        interruptible(told(client, &watched, Some(&progress), mapping), hint).await
    };
    map.progress.finish();
    if let Err(failure) = mapped {
        let is_none_there = map.submitted == 0 && failure.exit_code() == REFUSED;
        if !is_none_there && failure.exit_code() != BROKEN_PIPE {
            remark(map.how_to_go_on());
        }
        return Err(failure);
    }
    let counts = map.printing.counts;
    let known = match map.known {
        0 => String::new(),
        known => format!("; {known} of them were already known and did not run again"),
    };
    remark(format!("{counts}{known}; group {group}"));
    Ok(counts.code())
}

impl Map<'_> {
    fn how_to_go_on(&self) -> String {
        let (group, counts) = (self.group, self.printing.counts);
        let resume = if self.options.joblog.is_some() { " and --resume" } else { "" };
        format!(
            "at least {} lines of group {group} were submitted and {} ended; to continue without running any of them \
             again, repeat the command with the same input and --group '{group}'{resume}; to see the results, use \
             `clb results --follow --group '{group}'`",
            self.submitted,
            counts.succeeded + counts.failed
        )
    }

    async fn all(&mut self) -> Result<(), Failure> {
        let end = if self.options.null { 0 } else { b'\n' };
        let (mut chunks, _) = lines::of(Path::new("-"), end)?;
        let mut outcomes = pin!(self.client.outcomes(OutcomeSeq(0), Some(self.group)));
        let mut is_over = false;
        loop {
            let is_full = self.submit().await?;
            self.watch();
            if is_over && self.open.is_empty() && self.ready.is_empty() {
                return Ok(());
            }
            if self.open.is_empty() && !self.ready.is_empty() {
                if is_full {
                    tokio::time::sleep(QUEUE_PAUSE).await;
                }
                continue;
            }
            let has_room = self.ready.is_empty() && self.room() > 0;
            tokio::select! {
                chunk = chunks.recv(), if has_room && !is_over => {
                    is_over = chunk.is_none();
                    match chunk {
                        Some(chunk) => self.read(chunk?)?,
                        None => self.progress.know_all(),
                    }
                }
                Some(outcome) = outcomes.next(), if !self.open.is_empty() => self.collect(outcome?.task)?,
            }
        }
    }

    fn watch(&mut self) {
        let is_open = self.watched.get().is_some_and(|id| self.open.contains_key(&id));
        if !is_open {
            self.watched.set(self.open.keys().next().copied());
        }
    }

    fn room(&self) -> usize {
        (self.options.jobs as usize).saturating_sub(self.open.len() + self.printing.held())
    }

    fn read(&mut self, lines: Vec<Line>) -> Result<(), Failure> {
        for line in lines {
            if line.bytes.as_ref().is_ok_and(Vec::is_empty) {
                continue;
            }
            let number = line.number;
            match self.prepare(line) {
                Ok(prepared) => {
                    self.places += 1;
                    if !self.printing.pass_over(prepared.0.place)? {
                        self.ready.push_back(prepared);
                        self.progress.extend(1);
                    }
                }
                Err(detail) => self.progress.suspended(|| self.printing.fail(number, &detail)),
            }
        }
        Ok(())
    }

    fn prepare(&self, line: Line) -> Result<Prepared, String> {
        let input = String::from_utf8(line.bytes?).map_err(|_| "it is not valid UTF-8".to_owned())?;
        let words = self.template.fill(&input, self.places + 1);
        let id = id_of(self.group, line.number, content(&words, &input).as_bytes());
        let command = self.options.task.command(words).map_err(|failure| failure.to_string())?;
        let task = self.options.task.task(Work::Command(command), Some(id));
        let json = serde_json::to_vec(&task).map_err(|error| error.to_string())?;
        if json.len() > LONGEST_TASK {
            return Err(format!("its task would be larger than {} MiB", LONGEST_TASK >> 20));
        }
        Ok((Job { place: self.places, number: line.number, input }, id, json))
    }

    /// Submits as many as may be on their way; gives whether the queue had no room for some.
    async fn submit(&mut self) -> Result<bool, Failure> {
        let room = self.room();
        let mut body = Vec::new();
        let mut sent = Vec::new();
        while sent.len() < room && body.len() < MOST_BYTES {
            let Some((job, id, json)) = self.ready.pop_front() else { break };
            body.extend_from_slice(&json);
            body.push(b'\n');
            sent.push((job, id, json));
        }
        if sent.is_empty() {
            return Ok(false);
        }
        let mut is_full = false;
        let entries = match self.client.submit_lines(body.into()).await {
            Ok(entries) => entries,
            Err(Error::QueueFull { .. }) => sent.iter().map(|(_, id, _)| no_room(*id)).collect(),
            Err(error) => return Err(error.into()),
        };
        if sent.len() != entries.len() {
            let detail = format!("the cluster answered for {} of {} tasks", entries.len(), sent.len());
            return Err(Failure::Usage(format!("{detail}; do clb and the cluster have the same version?")));
        }
        self.submitted += entries.iter().filter(|entry| matches!(entry.status, 200 | 201)).count() as u64;
        if let Some(errors) = entries.iter().find_map(asked::of_every_task) {
            let mut errors = errors.to_vec();
            asked::name_pools(self.client, self.options.task.pool(), &mut errors).await;
            return Err(Failure::Asked(errors));
        }
        let mut in_conflict = sent.iter().zip(&entries).filter(|(_, entry)| entry.status == CONFLICT);
        if let Some(((job, ..), entry)) = in_conflict.next() {
            let why = reason(entry);
            let detail = format!(
                "{}; continue with the same options, or use another --group",
                why.trim_end_matches('.')
            );
            return Err(Failure::LineRefused { number: job.number, detail });
        }
        let mut known = Vec::new();
        for ((job, id, json), entry) in sent.into_iter().zip(entries).rev() {
            match entry.status {
                200 | 201 => {
                    self.open.insert(id, job);
                    known.extend((entry.status == 200).then_some(id));
                }
                QUEUE_FULL => {
                    is_full = true;
                    self.ready.push_front((job, id, json));
                }
                _ => {
                    self.progress.advance(1);
                    let wrong = entry.error.as_ref().map(|error| asked::sentence(&error.errors));
                    let why = wrong.filter(|wrong| !wrong.is_empty()).unwrap_or_else(|| reason(&entry));
                    self.progress.suspended(|| self.printing.give_up(&job, &why))?;
                }
            }
        }
        self.collect_known(known).await?;
        Ok(is_full)
    }

    /// The outcomes of tasks that were known may have gone by: those that have ended are asked for, and those that have
    /// not are still to come.
    async fn collect_known(&mut self, ids: Vec<TaskId>) -> Result<(), Failure> {
        self.known += ids.len() as u64;
        let client = self.client;
        let ids = ids.into_iter().rev().map(|id| newest(client, id));
        let mut tasks = pin!(stream::iter(ids).buffered(MOST_AT_ONCE));
        while let Some(task) = tasks.next().await {
            let (id, task) = task?;
            if task.id != id
                && let Some(job) = self.open.remove(&id)
            {
                self.open.insert(task.id, job);
            }
            if task.state.has_ended() {
                self.collect(task)?;
            }
        }
        Ok(())
    }

    fn collect(&mut self, task: TaskView) -> Result<(), Failure> {
        let Some(job) = self.open.remove(&task.id) else { return Ok(()) };
        self.progress.advance(1);
        self.progress.suspended(|| self.printing.take(job, task))
    }
}

/// What stands for a task: itself, or the newest replay of it.
async fn newest(client: &Client, id: TaskId) -> Result<(TaskId, TaskView), Error> {
    let mut task = client.task(id).await?;
    while let Some(replay) = task.replayed_by {
        task = client.task(replay).await?;
    }
    Ok((id, task))
}

/// What makes a line another task: its words, and itself where they do not have all of it.
fn content(words: &[String], input: &str) -> String {
    format!("{}\0{input}", words.join("\0"))
}

fn no_room(id: TaskId) -> BatchEntry {
    BatchEntry { id: Some(id), status: QUEUE_FULL, error: None }
}
