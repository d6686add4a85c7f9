//! `GET /events`: the news for one browser. It says that something changed and, for the head of the
//! page, how it looks now; a browser that comes back asks again for what it shows, so nothing has to
//! be repeated.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, stream};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::App;
use super::board::Picture;
use super::page::text;
use super::status::Status;

/// News of one kind follow each other no faster.
const PACE: Duration = Duration::from_millis(250);
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Feed {
    app: Arc<App>,
    picture: watch::Receiver<Picture>,
    tasks: watch::Receiver<u64>,
    lines: watch::Receiver<u64>,
    ending: watch::Receiver<bool>,
    picture_at: Instant,
    tasks_at: Instant,
    lines_at: Instant,
    _place: OwnedSemaphorePermit,
}

/// Opens the feed.
pub(crate) async fn feed(State(app): State<Arc<App>>) -> Response {
    let Ok(place) = Arc::clone(&app.feeds).try_acquire_owned() else {
        let headers = [(header::RETRY_AFTER, "5")];
        return (StatusCode::SERVICE_UNAVAILABLE, headers, "Too many pages are open\n").into_response();
    };
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Sse::new(Feed::open(app, place)).keep_alive(keep_alive).into_response()
}

impl Feed {
    fn open(
        app: Arc<App>,
        place: OwnedSemaphorePermit,
    ) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        let now = Instant::now();
        let mut feed = Self {
            picture: app.board.watch(),
            tasks: app.board.watch_tasks(),
            lines: app.journal.news(),
            ending: app.ending.clone(),
            app,
            picture_at: now,
            tasks_at: now,
            lines_at: now,
            _place: place,
        };
        // The browser may have missed anything before it came.
        feed.picture.mark_changed();
        feed.tasks.mark_changed();
        feed.lines.mark_changed();
        stream::unfold(feed, |mut feed| async move {
            let event = feed.next().await?;
            Some((Ok(event), feed))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        tokio::select! {
            _ = self.ending.wait_for(|ending| *ending) => None,
            () = paced(&mut self.tasks, self.tasks_at) => {
                self.tasks_at = Instant::now() + PACE;
                Some(Event::default().event("tasks").data("changed"))
            }
            () = paced(&mut self.picture, self.picture_at) => {
                self.picture_at = Instant::now() + PACE;
                let picture = self.picture.borrow().clone();
                Some(Event::default().event("status").data(text(&Status::new(&self.app, &picture))))
            }
            () = paced(&mut self.lines, self.lines_at) => {
                self.lines_at = Instant::now() + PACE;
                Some(Event::default().event("log").data("changed"))
            }
        }
    }
}

/// Ends when there is news, but not before `at`.
async fn paced<T>(news: &mut watch::Receiver<T>, at: Instant) {
    sleep_until(at).await;
    if news.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
