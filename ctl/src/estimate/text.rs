//! An estimate as text.

use std::collections::BTreeMap;

use invalidator_core::cost::amount::{NanoUsd, Of, Thousands};
use invalidator_core::text::Lines;

use super::report::{OfWay, Report, flushes};
use crate::columns::{Cell, Columns, WIDTH, bar, minute, money, section, shown};

/// So many folders are shown; all that were counted one by one are in the JSON.
const MOST_FOLDERS: usize = 15;

/// What happened, in a sentence or two.
pub fn summary(report: &Report) -> Vec<String> {
    let counts = &report.counts;
    let flushes = flushes(counts.flushes);
    let mut lines = vec![format!(
        "{} of {}, in {flushes} and {}",
        Of(counts.changes, "change"),
        Of(counts.keys, "key"),
        Of(counts.bursts, "burst"),
    )];
    let parts = [
        (counts.unchanged, "with the content of the version before"),
        (counts.first_uploads, "the first of their key"),
        (counts.excepted, "ignored by exceptionPaths"),
        (counts.unserved, "not served from a cache"),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts
        .map(|(number, what)| format!("{} {what}", Thousands(number)))
        .collect();
    if !parts.is_empty() {
        lines.push(format!("of them {}", parts.join(", ")));
    }
    lines
}

/// The whole estimate.
pub fn text(report: &Report) -> Lines {
    let mut lines = Lines::new();
    let below = match report.prefix.as_str() {
        "" => String::new(),
        prefix => format!(", keys that begin with {prefix}"),
    };
    lines.line(format_args!(
        "account {}: bucket {}{below}, {} to {} UTC",
        report.account,
        report.bucket,
        minute(report.since),
        minute(report.until)
    ));
    lines.line("");
    for line in summary(report) {
        lines.line(format_args!("  {line}"));
    }
    if let Some(why) = &report.lower_bound {
        lines.line(format_args!("  a lower bound: {why}"));
    }
    section(&mut lines, "what it would have cost", &ways(report));
    if report.counts.changes > 0 {
        tables(report, &mut lines);
    }
    lines.line("");
    for note in &report.notes {
        lines.line(format_args!("note: {note}"));
    }
    lines
}

fn ways(report: &Report) -> Columns {
    let most = report.most_paths();
    let mut columns = Columns::default();
    for way in &report.ways {
        columns.row([
            Cell::Text(shown(&way.shown)),
            Cell::Number(Of(way.paths, "path").to_string()),
            Cell::Number(money(way.usd)),
            Cell::Number(refetches(way)),
            Cell::Text(bar(way.paths as f64, most as f64, WIDTH)),
            Cell::Text(waiting(way)),
        ]);
    }
    columns
}

fn waiting(way: &OfWay) -> String {
    match way.waiting {
        0 => String::new(),
        paths => format!("and {} more would wait", Thousands(paths)),
    }
}

fn refetches(way: &OfWay) -> String {
    match way.refetch_usd {
        NanoUsd::ZERO => String::new(),
        usd => format!("+ {} of S3", money(usd)),
    }
}

fn tables(report: &Report, lines: &mut Lines) {
    let distributions = report.distributions.iter().map(|it| {
        let name = match &it.tenant_of {
            Some(distribution) => format!("{} (tenant of {distribution})", it.name),
            None => it.name.clone(),
        };
        (vec![it.id.clone(), name], &it.paths)
    });
    section(
        lines,
        "paths by distribution",
        &breakdown(report, 2, distributions),
    );
    let folders = report.folders.iter().take(MOST_FOLDERS);
    let folders = folders.map(|it| (vec![it.folder.clone()], &it.paths));
    section(lines, "paths by folder", &breakdown(report, 1, folders));
    if report.folders.len() > MOST_FOLDERS {
        let more = report.folders.len() - MOST_FOLDERS;
        lines.line(format_args!("  and {more} more, see --output json"));
    }
    let days = report.days.iter();
    let days = days.map(|it| (vec![it.day.clone()], &it.paths));
    section(lines, "paths by day", &breakdown(report, 1, days));
}

/// Rows of numbers by way, with their heads, and a bar for the first way.
fn breakdown<'r>(
    report: &Report,
    heads: usize,
    rows: impl Iterator<Item = (Vec<String>, &'r BTreeMap<String, u64>)>,
) -> Columns {
    let ways: Vec<&OfWay> = report.main_ways().collect();
    let rows: Vec<_> = rows.collect();
    let number = |row: &BTreeMap<String, u64>, way: &OfWay| row.get(&way.way).copied().unwrap_or(0);
    let first = |row| ways.first().map_or(0, |way| number(row, way));
    let most = rows.iter().map(|(_, row)| first(row)).max().unwrap_or(0);
    let mut columns = Columns::default();
    let empty = std::iter::repeat_n(Cell::Text(String::new()), heads);
    let titles = ways.iter().map(|way| Cell::Number(way.way.clone()));
    columns.row(empty.chain(titles).collect::<Vec<_>>());
    for (texts, row) in rows {
        let texts = texts.into_iter().map(|text| Cell::Text(shown(text)));
        let numbers = ways.iter();
        let numbers = numbers.map(|way| Cell::Number(Thousands(number(row, way)).to_string()));
        let bar = Cell::Text(bar(first(row) as f64, most as f64, WIDTH));
        columns.row(texts.chain(numbers).chain([bar]));
    }
    columns
}
