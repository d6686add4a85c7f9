//! What a person does on the page. Every form works without a script: it is answered with a redirect
//! to the page, or with the page itself and what is wrong.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use clb_client::Error;
use clb_client::protocol::api::BatchEntry;
use clb_client::protocol::task::FieldError;
use clb_client::protocol::{TaskId, seed};
use serde::Deserialize;
use std::time::Duration;

use super::App;
use super::page::{AtOnce, Content, Draft, Notice, query, render, status_for, view};
use super::payload::{LONGEST_SECONDS, MOST_AT_ONCE, Payload, SHORTEST_SECONDS, made_up_at_once};

/// How long a person waits for an answer to a click.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long the sending of many may look for an orchestrator.
const PATIENCE_FOR_MANY: Duration = Duration::from_secs(15);
/// The longest sleep of payloads that are sent at once, in seconds.
const LONGEST_AT_ONCE: u32 = 86_400;

/// The form of one payload.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PayloadForm {
    id: String,
    seconds: String,
    a: String,
    b: String,
}

/// The form of "send N at once".
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AtOnceForm {
    batch: String,
    count: String,
    shortest: String,
    longest: String,
}

/// Where a person was who cancels.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Whereabouts {
    state: Option<String>,
    cursor: Option<String>,
}

/// `POST /payloads/generate`
pub(crate) async fn generate(State(app): State<Arc<App>>) -> Redirect {
    let payload = Payload::made_up(TaskId::now(), SHORTEST_SECONDS, LONGEST_SECONDS);
    app.journal.write_of(payload.id, seed::created_payload(payload.id));
    Redirect::to(&format!("/?payload={}", payload.id))
}

/// `POST /payloads/send`
pub(crate) async fn send(State(app): State<Arc<App>>, Form(form): Form<PayloadForm>) -> Response {
    let read = match form.id.trim().parse::<TaskId>() {
        Ok(id) => Payload::read(id, &form.seconds, &form.a, &form.b),
        Err(why) => Err(vec![FieldError::at("id", why.to_string())]),
    };
    let draft = Some(Draft { id: form.id, seconds: form.seconds, a: form.a, b: form.b });
    let payload = match read {
        Ok(payload) => payload,
        Err(errors) => {
            let notice = Some(Notice::bad(format!("Not sent: {}.", sentence(&errors))));
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return render(&app, Content { status, draft, notice, ..Content::default() }).await;
        }
    };
    let client = app.client.with_patience(PATIENCE);
    match client.submit(payload.request()).await {
        Ok(task) => {
            app.journal.write_of(task.id, seed::sent_payload(task.id, port(&app)));
            Redirect::to(&format!("/?sent={}", task.id)).into_response()
        }
        Err(error) => {
            let notice = Some(Notice::bad(not_sent(&error)));
            render(&app, Content { status: status_for(&error), draft, notice, ..Content::default() }).await
        }
    }
}

/// `POST /payloads/send-at-once`
pub(crate) async fn send_at_once(State(app): State<Arc<App>>, Form(form): Form<AtOnceForm>) -> Response {
    let payloads = match read_at_once(&form) {
        Ok(payloads) => payloads,
        Err(errors) => {
            let at_once = AtOnce {
                // What is wrong with it, a person cannot mend.
                batch: form.batch.parse().unwrap_or_else(|_| TaskId::now()).to_string(),
                count: form.count,
                shortest: form.shortest,
                longest: form.longest,
            };
            let notice = Some(Notice::bad(format!("Nothing sent: {}.", sentence(&errors))));
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return render(&app, Content { status, at_once, notice, ..Content::default() }).await;
        }
    };
    let created = payloads.iter().map(|payload| (Some(payload.id), seed::created_payload(payload.id)));
    app.journal.write_all(created);
    let requests = payloads.iter().map(Payload::request).collect();
    let entries = match app.client.with_patience(PATIENCE_FOR_MANY).submit_many(requests).await {
        Ok(entries) => entries,
        Err(error) => {
            // The same batch again is the same payloads again: those that were taken stay single.
            let AtOnceForm { batch, count, shortest, longest } = form;
            let at_once = AtOnce { batch, count, shortest, longest };
            let notice = Some(Notice::bad(not_sent(&error)));
            let content = Content { status: status_for(&error), at_once, notice, ..Content::default() };
            return render(&app, content).await;
        }
    };
    let port = port(&app);
    let taken = entries.iter().filter(|entry| entry.status < 300).filter_map(|entry| entry.id);
    app.journal.write_all(taken.map(|id| (Some(id), seed::sent_payload(id, port))));
    match refusal(&entries) {
        None => Redirect::to(&format!("/?sent_at_once={}", entries.len())).into_response(),
        Some((status, text)) => {
            let notice = Some(Notice::bad(text));
            render(&app, Content { status, notice, ..Content::default() }).await
        }
    }
}

/// `POST /payloads/{id}/cancel`
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Form(form): Form<Whereabouts>,
) -> Response {
    let Ok(id) = id.parse::<TaskId>() else {
        return (StatusCode::NOT_FOUND, "No such payload\n").into_response();
    };
    let view = view(form.state.as_deref(), form.cursor.as_deref()).unwrap_or_default();
    match app.client.with_patience(PATIENCE).cancel(id).await {
        Ok(_) => {
            let place = query(&view);
            let place = if place.is_empty() { place } else { format!("&{place}") };
            Redirect::to(&format!("/?cancelled={id}{place}")).into_response()
        }
        Err(error) => {
            let notice = Some(Notice::bad(format!("Not cancelled: {error}.")));
            render(&app, Content { status: status_for(&error), view, notice, ..Content::default() }).await
        }
    }
}

fn read_at_once(form: &AtOnceForm) -> Result<Vec<Payload>, Vec<FieldError>> {
    let mut errors = Vec::new();
    let mut whole = |name: &str, text: &str, least: u32, most: u32| {
        let number = text.trim().parse::<u32>().ok().filter(|n| (least..=most).contains(n));
        if number.is_none() {
            errors.push(FieldError::at(name, format!("must be a whole number from {least} to {most}")));
        }
        number.unwrap_or(least)
    };
    let count = whole("how many", &form.count, 1, MOST_AT_ONCE);
    let shortest = whole("shortest sleep", &form.shortest, 0, LONGEST_AT_ONCE);
    let longest = whole("longest sleep", &form.longest, 0, LONGEST_AT_ONCE);
    if longest < shortest && errors.is_empty() {
        errors.push(FieldError::at("longest sleep", "must not be below the shortest"));
    }
    // A form that was written by hand has no batch: then it cannot be sent twice as one.
    let batch = if form.batch.is_empty() { Ok(TaskId::now()) } else { form.batch.parse() };
    match batch {
        Ok(batch) if errors.is_empty() => Ok(made_up_at_once(batch, count, shortest, longest)),
        Ok(_) => Err(errors),
        Err(why) => {
            errors.push(FieldError::at("batch", why.to_string()));
            Err(errors)
        }
    }
}

fn refusal(entries: &[BatchEntry]) -> Option<(StatusCode, String)> {
    let refused: Vec<&BatchEntry> = entries.iter().filter(|entry| entry.status >= 300).collect();
    let first = refused.first()?;
    let reason = first.error.as_ref().map_or("no reason given", |error| error.detail.as_str());
    let taken = entries.len() - refused.len();
    let status = StatusCode::from_u16(first.status).unwrap_or(StatusCode::BAD_GATEWAY);
    Some((status, format!("Sent {taken} payloads; {} were refused: {reason}", refused.len())))
}

fn not_sent(error: &Error) -> String {
    match error {
        Error::Refused { problem } if problem.status == 409 => {
            "Not sent: a payload of this id was sent before, with other numbers. Generate a new one."
                .to_owned()
        }
        error if error.is_retryable() => format!("Not sent: {error}. Send it again; it is never run twice."),
        error => format!("Not sent: {error}."),
    }
}

fn sentence(errors: &[FieldError]) -> String {
    let all: Vec<String> =
        errors.iter().map(|e| format!("{} {}", e.pointer.trim_start_matches('/'), e.detail)).collect();
    all.join("; ")
}

/// The port of the orchestrator that took what was sent.
fn port(app: &App) -> u16 {
    app.client.orchestrator().port_or_known_default().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(count: &str, shortest: &str, longest: &str) -> AtOnceForm {
        let batch = TaskId::now().to_string();
        AtOnceForm { batch, count: count.into(), shortest: shortest.into(), longest: longest.into() }
    }

    #[test]
    fn many_payloads_keep_to_their_limits() {
        assert_eq!(read_at_once(&form("10000", "0", "0")).unwrap().len(), 10_000);
        for (count, shortest, longest) in
            [("0", "1", "2"), ("10001", "1", "2"), ("", "1", "2"), ("1", "5", "2"), ("1", "-1", "x")]
        {
            assert!(read_at_once(&form(count, shortest, longest)).is_err(), "{count} {shortest} {longest}");
        }
    }
}
