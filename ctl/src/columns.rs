//! Columns of texts, numbers and bars, for a person.

use std::fmt::Display;

use invalidator_core::cost::amount::{NanoUsd, Thousands};
use invalidator_core::text::{Lines, Shown};
use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

const MINUTE: StaticFormatDescription = format_description!("[year]-[month]-[day] [hour]:[minute]");

/// The widest bar, in characters.
pub const WIDTH: usize = 30;

/// A bar for a part of the largest value. What is not nothing is seen.
pub fn bar(value: f64, largest: f64, width: usize) -> String {
    if value <= 0.0 || largest <= 0.0 {
        return String::new();
    }
    let eighths = (value / largest * (width * 8) as f64).round() as usize;
    let eighths = eighths.clamp(1, width * 8);
    let full = "█".repeat(eighths / 8);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    full + rest
}

/// An amount in whole cents, so that the amounts of a column are alike. Less than a cent is shown in full.
pub fn money(amount: NanoUsd) -> String {
    const CENT: u64 = 10_000_000;
    if (1..CENT).contains(&amount.get()) {
        return amount.to_string();
    }
    let cents = amount.get().saturating_add(CENT / 2) / CENT;
    format!("{}.{:02} USD", Thousands(cents / 100), cents % 100)
}

/// A time to the minute.
pub fn minute(time: OffsetDateTime) -> String {
    time.format(MINUTE).unwrap_or_default()
}

/// A text from outside, escaped, so that a column is as wide as what is shown.
pub fn shown(text: impl Display) -> String {
    Shown(text).to_string()
}

/// Adds columns below a title.
pub fn section(lines: &mut Lines, title: &str, columns: &Columns) {
    lines.line("");
    lines.line(title);
    columns.lines().for_each(|line| lines.line(line));
}

/// Columns, each as wide as its widest cell. Numbers stand on the right.
#[derive(Debug, Default)]
pub struct Columns {
    rows: Vec<Vec<Cell>>,
}

/// A cell of a row.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Stands on the left.
    Text(String),
    /// Stands on the right.
    Number(String),
}

impl Columns {
    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The lines, indented.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.get(column));
                cells
                    .map(|cell| cell.text().chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        self.rows.iter().map(move |row| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| match cell {
                Cell::Text(text) => format!("{text:<width$}"),
                Cell::Number(text) => format!("{text:>width$}"),
            });
            let line = format!("  {}", cells.collect::<Vec<_>>().join("  "));
            line.trim_end().to_owned()
        })
    }
}

impl Cell {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_long_as_its_value_and_never_hides_one() {
        for (value, expected) in [
            (0.0, ""),
            (0.001, "▏"),
            (1.0, "█"),
            (1.5, "█▌"),
            (4.0, "████"),
            (9.0, "████"),
        ] {
            assert_eq!(bar(value, 4.0, 4), expected, "{value}");
        }
        assert_eq!(bar(1.0, 0.0, 4), "");
    }

    #[test]
    fn money_is_shown_in_cents() {
        for (nanos, expected) in [
            (0, "0.00 USD"),
            (5_000_000, "0.005 USD"),
            (15_000_000, "0.02 USD"),
            (4_719_400_000, "4.72 USD"),
            (1_234_500_000_000, "1,234.50 USD"),
        ] {
            assert_eq!(money(NanoUsd::new(nanos)), expected);
        }
    }

    #[test]
    fn columns_are_aligned() {
        let mut columns = Columns::default();
        columns.row([Cell::Text("한글".to_owned()), Cell::Number("1".to_owned())]);
        columns.row([Cell::Text("a".to_owned()), Cell::Number("10".to_owned())]);
        let lines: Vec<_> = columns.lines().collect();
        assert_eq!(lines, ["  한글   1", "  a   10"]);
    }
}
