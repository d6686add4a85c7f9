//! `clb top`: the cluster, live in a terminal.

mod draw;
mod screen;

use std::io::IsTerminal as _;
use std::pin::pin;
use std::time::Duration;

use clb_client::protocol::api::TaskState;
use clb_client::{Client, Error, TaskFilter};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::output::Printer;
use super::values::parse_span;
use crate::failure::{Done, Failure, OK};
use screen::{Sample, Screen};

/// Running tasks that are asked for.
const TASKS: u32 = 200;
/// How long the picture may be old before the next question gives up.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
#[derive(Debug, clap::Args)]
pub(crate) struct TopOptions {
    /// Refresh interval
    #[arg(long, value_name = "DURATION", default_value = "1", value_parser = parse_span)]
    interval: Duration,
}

/// Shows it until somebody presses q.
pub(super) async fn run(options: TopOptions, client: &Client, printer: Printer) -> Done {
    if printer.is_json || !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
        let advice =
            "clb top needs a terminal; scripts can use `clb cluster --json` and `clb workers --json`";
        return Err(Failure::Usage(advice.to_owned()));
    }
    // Its remarks would be written over the picture: what is wrong stands in it.
    let client = client.with_patience(PATIENCE).with_listener(|_| {});
    let mut terminal = ratatui::try_init()?;
    let shown = show(&mut terminal, &client, options.interval.max(Duration::from_millis(100))).await;
    ratatui::try_restore()?;
    shown.map(|()| OK)
}

async fn show(terminal: &mut DefaultTerminal, client: &Client, interval: Duration) -> Result<(), Failure> {
    let mut events = spawn_reader();
    let mut screen = Screen::default();
    let mut next = Instant::now();
    let mut asking = pin!(None);
    loop {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        terminal.draw(|frame| draw::draw(frame, &screen, is_plain))?;
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(Event::Key(key))) if key.kind != KeyEventKind::Release => {
                    if !obey(&mut screen, key) {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = sleep_until(next), if asking.is_none() && !screen.is_paused() => asking.set(Some(look(client))),
            looked = until(asking.as_mut()) => {
                asking.set(None);
                next = Instant::now() + interval;
                screen.take(looked.map_err(|error| error.to_string()));
            }
        }
    }
}

/// What a future comes to, if there is one; never otherwise.
async fn until<T>(future: std::pin::Pin<&mut Option<impl Future<Output = T>>>) -> T {
    match future.as_pin_mut() {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn look(client: &Client) -> Result<Sample, Error> {
    let running = TaskFilter { state: Some(TaskState::Running), limit: Some(TASKS), ..TaskFilter::default() };
    let (cluster, workers, running) =
        tokio::try_join!(client.cluster(), client.workers(), client.tasks(&running))?;
    let pools = match client.pools().await {
        Err(Error::Refused { .. }) => Vec::new(),
        pools => pools?,
    };
    Ok(Sample { at: Instant::now().into_std(), cluster, workers, pools, running: running.tasks })
}

/// A thread of its own, for a read of the terminal cannot be called off.
fn spawn_reader() -> mpsc::Receiver<std::io::Result<Event>> {
    let (events, received) = mpsc::channel(16);
    std::thread::spawn(move || {
        loop {
            let event = event::read();
            let is_over = event.is_err();
            if events.blocking_send(event).is_err() || is_over {
                return;
            }
        }
    });
    received
}

/// Whether to go on.
fn obey(screen: &mut Screen, key: KeyEvent) -> bool {
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('c') if is_control => return false,
        KeyCode::Char('p' | ' ') => screen.pause_or_go_on(),
        KeyCode::Up | KeyCode::Char('k') => screen.scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => screen.scroll(1),
        KeyCode::PageUp => screen.scroll(-10),
        KeyCode::PageDown => screen.scroll(10),
        KeyCode::Home => screen.scroll(isize::MIN),
        _ => {}
    }
    true
}
