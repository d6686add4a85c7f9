//! The outputs of several commands, one after the other, all of it to standard output.

use std::pin::pin;

use clb_client::protocol::TaskId;
use clb_client::protocol::api::TaskView;
use clb_client::protocol::task::{Kind, Output, missing};
use clb_client::{Client, Error, OutputStream};
use futures::StreamExt as _;

use super::super::filters::Filters;
use super::super::gaps::{code_of, is_incomplete};
use super::super::output::{say, what, write};
use super::super::reason::reason;
use super::super::submit::result_of;
use crate::failure::{Done, Failure, OK};

/// An output may have 1 MiB.
const PAGE: u32 = 20;
const NOT_FOUND: u16 = 404;

/// Those of all commands that fit, newest first.
pub(super) async fn of_all(filters: &Filters, stream: Option<OutputStream>, client: &Client) -> Done {
    let mut filter = filters.list(PAGE);
    filter.is_replayed = Some(false);
    let (mut is_first, mut incomplete) = (true, 0);
    loop {
        let page = client.tasks(&filter).await?;
        for task in page.tasks.iter().filter(|task| task.kind == Kind::Command) {
            incomplete += u64::from(print_titled(client, task, stream, is_first).await?);
            is_first = false;
        }
        match page.next {
            Some(next) => filter.cursor = Some(next),
            None if is_first => return filters.check_names(client).await.map(|()| OK),
            None => return Ok(code_of(incomplete)),
        }
    }
}

/// Those of the commands among these tasks.
pub(super) async fn of_these(ids: &[TaskId], stream: Option<OutputStream>, client: &Client) -> Done {
    let mut incomplete = 0;
    for (place, id) in ids.iter().enumerate() {
        let has_gap = print_titled(client, &client.task(*id).await?, stream, place == 0).await?;
        incomplete += u64::from(has_gap);
    }
    Ok(code_of(incomplete))
}

/// Under a line as head(1) and tail(1) have it. Gives whether something is missing.
async fn print_titled(
    client: &Client,
    task: &TaskView,
    stream: Option<OutputStream>,
    is_first: bool,
) -> Result<bool, Failure> {
    let gap = if is_first { "" } else { "\n" };
    let end = reason(task).unwrap_or_else(|| task.state.as_str().to_owned());
    say(format!("{gap}==> {}  {}  {end} <==", task.id, what(task)))?;
    print_stream(client, task, stream).await
}

/// What was written to this output, or to one after the other. Gives whether something of it is missing.
pub(super) async fn print_stream(
    client: &Client,
    task: &TaskView,
    stream: Option<OutputStream>,
) -> Result<bool, Failure> {
    let result = result_of(task);
    let mut has_gap = result.is_none() && is_incomplete(task);
    let streams = [OutputStream::Stdout, OutputStream::Stderr];
    for stream in streams.into_iter().filter(|own| stream.is_none_or(|wanted| wanted == *own)) {
        let output = result.as_ref().map(|result| match stream {
            OutputStream::Stdout => &result.stdout,
            OutputStream::Stderr => &result.stderr,
        });
        has_gap |= output.is_some_and(|output| output.truncated.is_some());
        let bytes = match output {
            Some(output) => whole(output),
            None if task.state.has_ended() || task.kind != Kind::Command => Vec::new(),
            None => match written_so_far(client, task.id, stream).await {
                // It waits again, and what it wrote before is not kept any more.
                Err(Failure::Client(Error::Refused { problem })) if problem.status == NOT_FOUND => {
                    has_gap |= task.attempt.is_some();
                    Vec::new()
                }
                written => written?,
            },
        };
        write(&bytes)?;
        if bytes.last().is_some_and(|last| *last != b'\n') {
            say("")?;
        }
    }
    Ok(has_gap)
}

async fn written_so_far(client: &Client, id: TaskId, stream: OutputStream) -> Result<Vec<u8>, Failure> {
    let mut pieces = pin!(client.output(id, stream, None, false).await?);
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// An output with a mark where its middle is missing.
fn whole(output: &Output) -> Vec<u8> {
    let mut bytes = output.bytes.clone();
    if let Some(gap) = &output.truncated {
        let at = usize::try_from(gap.at).unwrap_or(usize::MAX).min(bytes.len());
        bytes.splice(at..at, missing(gap.dropped_bytes));
    }
    bytes
}
