//! Tables.

use super::markup::{Attributes, Html};

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// Of texts.
    Text(&'static str),
    /// Of ids and times, which are not broken into lines.
    Id(&'static str),
    /// Of numbers, which stand on the right.
    Number(&'static str),
    /// Of bars.
    Bar,
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Id(title) | Self::Number(title) => title,
            Self::Bar => "",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    Text(String),
    /// A part of the largest value of its column: 0 to 1.
    Bar(f64),
}

impl Cell {
    fn add_to(&self, html: &mut Html) {
        match self {
            Self::Text(text) => {
                html.text(text);
            }
            Self::Bar(part) => bar(html, *part),
        }
    }
}

/// Adds a table. The first column heads the rows.
pub fn table(html: &mut Html, caption: &str, columns: &[Column], rows: &[Vec<Cell>]) {
    let class = |column: usize| match columns.get(column) {
        Some(Column::Number(_)) => "number",
        Some(Column::Bar) => "bar",
        Some(Column::Id(_)) => "id",
        _ => "text",
    };
    html.element("div", &[("class", &"table")], |it| {
        it.element("table", &[], |it| {
            it.line("caption", &[], caption);
            it.element("thead", &[], |it| {
                it.element("tr", &[], |it| {
                    for (n, column) in columns.iter().enumerate() {
                        it.line(
                            "th",
                            &[("scope", &"col"), ("class", &class(n))],
                            column.title(),
                        );
                    }
                });
            });
            it.element("tbody", &[], |it| {
                for row in rows {
                    it.element("tr", &[], |it| {
                        for (n, cell) in row.iter().enumerate() {
                            let class = class(n);
                            match n {
                                0 => it.element(
                                    "th",
                                    &[("scope", &"row"), ("class", &class)],
                                    |it| cell.add_to(it),
                                ),
                                _ => it.element("td", &[("class", &class)], |it| cell.add_to(it)),
                            };
                        }
                    });
                }
            });
        });
    });
}

/// A bar in a cell.
fn bar(html: &mut Html, part: f64) {
    // What is not nothing is seen.
    let least = if part > 0.0 { 0.7 } else { 0.0 };
    let width = (part.clamp(0.0, 1.0) * 100.0).max(least);
    let frame: Attributes<'_> = &[
        ("viewBox", &"0 0 100 10"),
        ("preserveAspectRatio", &"none"),
        ("aria-hidden", &"true"),
    ];
    html.element("svg", frame, |it| {
        let attributes: Attributes<'_> = &[
            ("class", &"c0"),
            ("width", &format_args!("{width:.1}")),
            ("height", &10),
        ];
        it.element("rect", attributes, |_| {});
    });
}
