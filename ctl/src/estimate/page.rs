//! An estimate as a page of HTML.

use std::collections::BTreeMap;

use invalidator_core::cost::amount::{NanoUsd, Of, Thousands};
use invalidator_core::cost::estimate::way::Way;
use invalidator_core::cost::mode::CostMode;

use super::report::{OfWay, Report};
use super::text::summary;
use crate::columns::{minute, money};
use crate::html::chart::{Frame, Line, Series, lines, stacked_bars};
use crate::html::markup::Html;
use crate::html::page;
use crate::html::table::{Cell, Column, table};

/// The whole page.
pub fn html(report: &Report) -> String {
    let title = format!("What invalidations of {} would cost", report.bucket);
    page(&title, |it| {
        it.line("h1", &[], &title);
        let (since, until) = (minute(report.since), minute(report.until));
        it.line(
            "p",
            &[("class", &"quiet")],
            format_args!("account {}, {since} to {until} UTC", report.account),
        );
        if !report.prefix.is_empty() {
            it.line(
                "p",
                &[],
                format_args!("Only keys that begin with {}.", report.prefix),
            );
        }
        for line in summary(report) {
            it.line("p", &[], line);
        }
        if let Some(why) = &report.lower_bound {
            it.element("div", &[("class", &"warn"), ("role", &"alert")], |it| {
                it.line("p", &[], format_args!("A lower bound: {why}."));
            });
        }
        cards(it, report);
        charts(it, report);
        tables(it, report);
        it.line("h2", &[], "Notes");
        it.element("ul", &[("class", &"notes quiet")], |it| {
            for note in &report.notes {
                it.line("li", &[], note);
            }
        });
        let version = env!("CARGO_PKG_VERSION");
        it.line(
            "footer",
            &[],
            format_args!(
                "Made by invalidatorctl {version}: invalidatorctl estimate --bucket {} --html FILE",
                report.bucket
            ),
        );
    })
}

fn cards(html: &mut Html, report: &Report) {
    html.element("dl", &[("class", &"cards")], |it| {
        for way in report.main_ways() {
            it.element("div", &[], |it| {
                it.line("dt", &[], &way.shown);
                it.line("dd", &[], money(way.usd));
                it.line("dd", &[("class", &"quiet")], Of(way.paths, "path"));
            });
        }
    });
}

fn charts(html: &mut Html, report: &Report) {
    let places: Vec<String> = report
        .days
        .iter()
        .map(|day| day.day[5..].to_owned())
        .collect();
    let totals = report.ways.iter();
    let totals: Vec<String> = totals
        .map(|way| format!("{}: {}", way.shown, money(way.usd)))
        .collect();
    let costs = Frame {
        id: "costs",
        title: "Costs so far, USD",
        description: &format!("{}.", totals.join("; ")),
        places: &places,
        shown: |value| money(NanoUsd::new((value * 1e9).round() as u64)),
    };
    lines(html, &costs, &costs_so_far(report));

    for (id, title, way) in [
        ("each-path", "Paths a day, each changed path", Way::EachPath),
        (
            "balanced",
            "Paths a day, COST_MODE=balanced",
            Way::Ours(CostMode::Balanced),
        ),
    ] {
        let Some(way) = report.ways.iter().find(|it| it.id == way) else {
            continue;
        };
        let paths = Frame {
            id,
            title,
            description: &format!("{} in all.", Of(way.paths, "path")),
            places: &places,
            shown: |value| Of(value.round() as u64, "path").to_string(),
        };
        let days = report.days.iter();
        let values = days.map(|day| day.paths.get(&way.way).copied().unwrap_or(0) as f64);
        let series = Series {
            name: way.shown.clone(),
            values: values.collect(),
        };
        stacked_bars(html, &paths, &[series]);
    }
}

/// The same mode has the same color, with and without the tag.
fn color(way: Way) -> usize {
    match way {
        Way::EachPath => 0,
        Way::WildcardPerBurst => 1,
        Way::Ours(mode) | Way::OnlyChanged(mode) => match mode {
            CostMode::Exact => 2,
            CostMode::Balanced => 3,
            CostMode::Frugal => 4,
        },
    }
}

fn costs_so_far(report: &Report) -> Vec<Line> {
    let lines = report.ways.iter().map(|way| {
        let mut points = vec![(0.0, 0.0)];
        let mut sum = 0.0;
        for (place, day) in report.days.iter().enumerate() {
            sum += day.usd.get(&way.way).copied().unwrap_or(0.0);
            points.push(((place + 1) as f64, sum));
        }
        Line {
            name: way.shown.clone(),
            color: color(way.id),
            is_dashed: way.id.is_only_changed(),
            points,
        }
    });
    lines.collect()
}

fn tables(html: &mut Html, report: &Report) {
    let most = report.most_paths();
    let rows = report.ways.iter().map(|way| {
        let counts = [way.paths, way.wildcards, way.waiting, way.other_keys];
        let counts = counts.map(|number| Thousands(number).to_string());
        let texts = [way.shown.clone()].into_iter().chain(counts);
        let texts = texts.chain([money(way.refetch_usd), money(way.usd)]);
        let bar = Cell::Bar(way.paths as f64 / most.max(1) as f64);
        texts.map(Cell::Text).chain([bar]).collect()
    });
    let columns = [
        Column::Text("way"),
        Column::Number("paths"),
        Column::Number("wildcards"),
        Column::Number("waiting"),
        Column::Number("other keys"),
        Column::Number("fetched again"),
        Column::Number("cost"),
        Column::Bar,
    ];
    table(
        html,
        "What it would have cost",
        &columns,
        &rows.collect::<Vec<_>>(),
    );
    let distributions = report.distributions.iter().map(|it| {
        let name = match &it.tenant_of {
            Some(distribution) => format!("{} (tenant of {distribution})", it.name),
            None => it.name.clone(),
        };
        (vec![it.id.clone(), name], &it.paths)
    });
    let heads = [Column::Id("distribution"), Column::Text("name")];
    breakdown(html, report, "Paths by distribution", &heads, distributions);
    let folders = report.folders.iter();
    let folders = folders.map(|it| (vec![it.folder.clone()], &it.paths));
    let heads = [Column::Text("folder")];
    breakdown(html, report, "Paths by folder", &heads, folders);
    html.element("details", &[], |it| {
        it.line("summary", &[], "Paths by day");
        let days = report.days.iter();
        let days = days.map(|day| (vec![day.day.clone()], &day.paths));
        breakdown(it, report, "", &[Column::Id("day")], days);
    });
}

/// Rows of numbers by way.
fn breakdown<'r>(
    html: &mut Html,
    report: &Report,
    caption: &str,
    heads: &[Column],
    rows: impl Iterator<Item = (Vec<String>, &'r BTreeMap<String, u64>)>,
) {
    let ways: Vec<&OfWay> = report.main_ways().collect();
    let titles = ways.iter().map(|way| match way.id {
        Way::EachPath => "each path",
        Way::WildcardPerBurst => "/* per burst",
        Way::Ours(_) => "balanced",
        Way::OnlyChanged(_) => "balanced, changed",
    });
    let columns: Vec<Column> = heads
        .iter()
        .copied()
        .chain(titles.map(Column::Number))
        .collect();
    let rows = rows.map(|(texts, row)| {
        let numbers = ways.iter();
        let numbers = numbers.map(|way| row.get(&way.way).copied().unwrap_or(0));
        let numbers = numbers.map(|number| Thousands(number).to_string());
        texts.into_iter().chain(numbers).map(Cell::Text).collect()
    });
    table(html, caption, &columns, &rows.collect::<Vec<_>>());
}
