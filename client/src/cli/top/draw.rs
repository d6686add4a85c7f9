//! Drawing the screen.

use clb_client::protocol::api::{PoolView, TaskView, WorkerState, WorkerView};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::super::output::{ago, memory, plain, what, word};
use super::screen::{Sample, Screen};

/// Characters of a bar.
const BAR: usize = 10;

/// Draws everything; without colours when `is_plain`.
pub(super) fn draw(frame: &mut Frame, screen: &Screen, is_plain: bool) {
    let look = Look { is_plain };
    let area = frame.area();
    let Some(sample) = screen.sample() else {
        let text = screen.error().unwrap_or("connecting");
        frame.render_widget(Paragraph::new(plain_lines(text)), area);
        return;
    };
    let pools = if sample.pools.is_empty() { 0 } else { sample.pools.len() as u16 + 2 };
    let workers = sample.workers.len() as u16 + 2;
    let parts = Layout::vertical([
        Constraint::Length(3),
        Constraint::Max(pools.min(area.height / 4)),
        Constraint::Max(workers.min(area.height / 2)),
        Constraint::Min(2),
        Constraint::Length(1),
    ])
    .split(area);
    draw_head(frame, parts[0], screen, sample, look);
    if !sample.pools.is_empty() {
        draw_pools(frame, parts[1], &sample.pools, look);
    }
    draw_workers(frame, parts[2], &sample.workers, look);
    draw_tasks(frame, parts[3], screen, &sample.running, look);
    draw_foot(frame, parts[4], screen, look);
}

#[derive(Clone, Copy)]
struct Look {
    is_plain: bool,
}

impl Look {
    fn colour(self, colour: Color) -> Style {
        if self.is_plain { Style::new() } else { Style::new().fg(colour) }
    }

    fn head(self) -> Style {
        if self.is_plain { Style::new() } else { Style::new().add_modifier(Modifier::BOLD) }
    }
}

fn plain_lines(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn draw_head(frame: &mut Frame, area: Rect, screen: &Screen, sample: &Sample, look: Look) {
    let cluster = &sample.cluster;
    let members: Vec<String> =
        cluster.members.iter().map(|it| format!("{} {}", plain(it.name.as_str()), word(&it.role))).collect();
    let tasks = cluster.tasks;
    let rate = screen.ended_per_second().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1}"));
    let first = format!("{} · term {} · {}", plain(&cluster.cluster), cluster.epoch, members.join(", "));
    let counts = Line::from(vec![
        Span::raw(format!("{} queued · ", tasks.queued)),
        Span::styled(format!("{} running", tasks.running), look.colour(Color::Cyan)),
        Span::raw(" · "),
        Span::styled(format!("{} succeeded", tasks.succeeded), look.colour(Color::Green)),
        Span::raw(" · "),
        Span::styled(format!("{} failed", tasks.failed), look.colour(Color::Red)),
        Span::raw(format!(" · {} cancelled · {rate} ended/s", tasks.cancelled)),
    ]);
    frame.render_widget(Paragraph::new(vec![Line::styled(first, look.head()), counts]), area);
}

fn draw_pools(frame: &mut Frame, area: Rect, pools: &[PoolView], look: Look) {
    let rows = pools.iter().map(|pool| {
        let state = if pool.is_paused { "paused".to_owned() } else { word(&pool.state) };
        Row::new(vec![
            plain(pool.name.as_str()),
            state,
            format!("{}/{}", pool.workers.ready, pool.workers.wanted),
            pool.tasks.queued.to_string(),
            pool.tasks.running.to_string(),
            plain(pool.spec.image.as_deref().unwrap_or("(bundled)")),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Min(16),
    ];
    let head = Row::new(["POOL", "STATE", "WORKERS", "QUEUED", "RUNNING", "IMAGE"]).style(look.head());
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_workers(frame: &mut Frame, area: Rect, workers: &[WorkerView], look: Look) {
    let rows = workers.iter().map(|worker| {
        let cpu =
            worker.cpu_percent.map_or_else(String::new, |cpu| format!("{} {cpu:>5.1} %", bar(cpu / 100.0)));
        let used = match (worker.memory_bytes, worker.memory_limit_bytes) {
            (Some(used), Some(limit)) => {
                format!("{} {}", bar(used as f64 / limit.max(1) as f64), memory(used))
            }
            (Some(used), None) => memory(used),
            _ => String::new(),
        };
        let colour = match worker.state {
            WorkerState::Ready => Color::Green,
            WorkerState::Lost | WorkerState::BackingOff => Color::Red,
            WorkerState::Starting => Color::Cyan,
            WorkerState::Stopped | WorkerState::Draining => Color::Yellow,
        };
        Row::new(vec![
            Cell::new(plain(&worker.name)),
            Cell::new(word(&worker.state)).style(look.colour(colour)),
            Cell::new(format!("{}/{}", worker.running.len(), worker.slots)),
            Cell::new(cpu),
            Cell::new(used),
            Cell::new(worker.tasks_done.to_string()),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(11),
        Constraint::Length(7),
        Constraint::Length(20),
        Constraint::Length(22),
        Constraint::Length(8),
    ];
    let head = Row::new(["WORKER", "STATE", "TASKS", "CPU", "MEMORY", "DONE"]).style(look.head());
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_tasks(frame: &mut Frame, area: Rect, screen: &Screen, running: &[TaskView], look: Look) {
    let rows = running.iter().skip(screen.first_task()).map(|task| {
        let progress = task.progress.as_ref().map(|it| format!("{:.0} %", it.fraction * 100.0));
        Row::new(vec![
            task.id.to_string(),
            task.worker.as_deref().map(plain).unwrap_or_default(),
            task.started_at.map(ago).unwrap_or_default(),
            progress.unwrap_or_default(),
            plain(&what(task)),
        ])
    });
    let widths = [
        Constraint::Length(36),
        Constraint::Length(14),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Min(10),
    ];
    let head = Row::new(["RUNNING", "WORKER", "FOR", "", "WHAT"]).style(look.head());
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

fn draw_foot(frame: &mut Frame, area: Rect, screen: &Screen, look: Look) {
    let line = match screen.error() {
        Some(error) => Line::styled(plain_lines(error), look.colour(Color::Red)),
        None if screen.is_paused() => Line::styled("paused · p resume · q quit", look.colour(Color::Yellow)),
        None => Line::raw("q quit · p pause · arrows scroll the tasks"),
    };
    frame.render_widget(Paragraph::new(line), area);
}

fn bar(fraction: f64) -> String {
    let full = ((fraction * BAR as f64).round().max(0.0) as usize).min(BAR);
    "█".repeat(full) + &"░".repeat(BAR - full)
}

#[cfg(test)]
mod tests;
