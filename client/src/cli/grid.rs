//! Tables for people: aligned, without lines, and as wide as the terminal.

use std::io::IsTerminal as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::output::say;
use crate::failure::Failure;

/// A column has so much when there is no terminal that says how wide it is.
const WIDEST: u16 = 60;
/// No column becomes narrower than this for the sake of the others.
const NARROWEST: u16 = 8;
/// What stands between two columns.
const GAP: u16 = 2;
/// In no text of somebody else: control characters are taken out of them. So texts are cut where the room ends.
const NOWHERE: char = '\0';

/// A table without lines.
pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if is_plain || !std::io::stdout().is_terminal() {
        table.force_no_tty();
    } else {
        table.enforce_styling();
    }
    table
}

/// Prints a short table in full: on a narrow terminal texts go on in the next line.
pub(crate) fn print_table(mut table: Table) -> Result<(), Failure> {
    let widths = table.column_max_content_widths();
    arrange(&mut table, &terminal_width().map_or(widths.clone(), |room| fit(widths, room)));
    say(lines(&table, true))
}

fn arrange(table: &mut Table, widths: &[u16]) {
    for (column, width) in table.column_iter_mut().zip(widths) {
        column.set_padding((0, GAP));
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width + GAP)));
    }
}

fn lines(table: &Table, has_header: bool) -> String {
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.skip(usize::from(!has_header)).collect::<Vec<_>>().join("\n")
}

/// How wide the terminal is, where there is one.
pub(crate) fn terminal_width() -> Option<u16> {
    Table::new().width()
}

/// A long table that comes in pieces: one header, columns that stay where they are unless they must grow, and a line
/// for each row, in which what finds no room is cut off.
#[derive(Debug, Default)]
pub(crate) struct Grid {
    widths: Vec<u16>,
}

impl Grid {
    /// Prints the next piece.
    pub(crate) fn print(&mut self, mut table: Table) -> Result<(), Failure> {
        let has_header = self.widths.is_empty();
        let mut widths = table.column_max_content_widths();
        for (width, before) in widths.iter_mut().zip(&self.widths) {
            *width = (*width).max(*before);
        }
        self.widths = match terminal_width() {
            Some(room) => fit(widths, room),
            None => cut(widths),
        };
        arrange(&mut table, &self.widths);
        table.set_delimiter(NOWHERE);
        for row in table.row_iter_mut() {
            row.max_height(1);
        }
        say(lines(&table, has_header))
    }
}

/// The first column, which names things, keeps its width.
fn cut(mut widths: Vec<u16>) -> Vec<u16> {
    widths.iter_mut().skip(1).for_each(|width| *width = (*width).min(WIDEST));
    widths
}

/// Narrows the widest columns until there is room for all, if that can be; the first column, which names things,
/// keeps its width.
fn fit(mut widths: Vec<u16>, room: u16) -> Vec<u16> {
    let gaps = GAP * u16::try_from(widths.len().saturating_sub(1)).unwrap_or(u16::MAX);
    loop {
        let total: u32 = widths.iter().map(|width| u32::from(*width)).sum();
        if total + u32::from(gaps) <= u32::from(room) {
            return widths;
        }
        let Some(widest) = widths.iter_mut().skip(1).max().filter(|width| **width > NARROWEST) else {
            return widths;
        };
        *widest -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_columns_make_room_but_never_the_first() {
        assert_eq!(fit(vec![36, 9, 200], 200), [36, 9, 151]);
        assert_eq!(fit(vec![36, 9, 20], 200), [36, 9, 20]);
        assert_eq!(fit(vec![36, 9, 40, 200], 100), [36, 9, 25, 24]);
        assert_eq!(fit(vec![36, 9, 40, 200], 20), [36, 8, 8, 8]);
        assert_eq!(cut(vec![70, 9, 200]), [70, 9, 60]);
    }
}
