//! The bill as text.

use invalidator_core::cost::amount::{Of, Thousands};
use invalidator_core::cost::price::{FREE_PATHS, PATH};
use invalidator_core::text::{Lines, one_line};

use super::tally::{Amount, Bill};
use crate::columns::{Cell, Columns, WIDTH, bar, minute, money, section, shown};

/// A path of the largest invalidations is cut after so many characters.
const MAX_PATH: usize = 60;

/// What is said first, as two or three sentences.
pub fn summary(bill: &Bill) -> Vec<String> {
    let total = &bill.total;
    let mut lines = vec![
        format!(
            "{} ({}) in {}",
            Of(total.paths, "path"),
            Of(total.wildcards, "wildcard"),
            Of(total.invalidations, "invalidation")
        ),
        format!(
            "{}: the first {} paths of an account are free in each month, each further one costs {}",
            money(total.usd),
            Thousands(FREE_PATHS),
            PATH.amount
        ),
    ];
    if let Some(forecast) = &bill.forecast {
        lines.push(format!(
            "forecast for the month: {}, {}, if it goes on as in the last {} days",
            Of(forecast.paths, "path"),
            money(forecast.usd),
            forecast.as_in_days
        ));
    }
    lines
}

/// The whole bill.
pub fn text(bill: &Bill) -> Lines {
    let mut lines = Lines::new();
    lines.line(format_args!(
        "account {}: invalidations of {}, until {} UTC",
        bill.account,
        bill.month.name(),
        minute(bill.until)
    ));
    lines.line("");
    for line in summary(bill) {
        lines.line(format_args!("  {line}"));
    }
    for missing in &bill.missing {
        lines.line(format_args!(
            "  too low: of {} not all could be read: {}",
            missing.distribution, missing.error
        ));
    }
    if bill.total.invalidations > 0 {
        tables(bill, &mut lines);
    }
    lines.line("");
    for note in &bill.notes {
        lines.line(format_args!("note: {note}"));
    }
    lines
}

fn tables(bill: &Bill, lines: &mut Lines) {
    let most = bill.distributions.first().map_or(0, |it| it.amount.paths);
    let mut columns = Columns::default();
    for it in &bill.distributions {
        let name = it.name.as_deref().unwrap_or("(deleted)");
        let name = match &it.tenant_of {
            Some(distribution) => format!("{name} (tenant of {distribution})"),
            None => name.to_owned(),
        };
        let cells = [Cell::Text(shown(&it.id)), Cell::Text(shown(name))];
        columns.row(cells.into_iter().chain(amounts(&it.amount, most)));
    }
    section(lines, "by distribution", &columns);

    let most = bill.causes.first().map_or(0, |it| it.amount.paths);
    let mut columns = Columns::default();
    for it in &bill.causes {
        let cells = [Cell::Text(shown(&it.shown))];
        columns.row(cells.into_iter().chain(amounts(&it.amount, most)));
    }
    section(lines, "by cause", &columns);

    let most = bill.most_paths_of_a_day();
    let mut columns = Columns::default();
    for it in &bill.days {
        let cells = [Cell::Text(it.day.clone())];
        columns.row(cells.into_iter().chain(amounts(&it.amount, most)));
    }
    section(lines, "by day", &columns);

    let mut columns = Columns::default();
    for it in &bill.largest {
        columns.row([
            Cell::Text(minute(it.time)),
            Cell::Text(shown(&it.distribution)),
            Cell::Number(Of(it.paths, "path").to_string()),
            Cell::Text(shown(&it.shown)),
            Cell::Text(one_line(&it.first_path, MAX_PATH)),
        ]);
    }
    section(
        lines,
        "the largest invalidations, with their first path",
        &columns,
    );
}

fn amounts(amount: &Amount, most: u64) -> [Cell; 3] {
    [
        Cell::Number(Of(amount.paths, "path").to_string()),
        Cell::Number(money(amount.usd)),
        Cell::Text(bar(amount.paths as f64, most as f64, WIDTH)),
    ]
}
