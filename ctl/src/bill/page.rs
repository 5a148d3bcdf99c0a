//! The bill as a page of HTML.

use invalidator_core::cost::amount::{NanoUsd, Of, Thousands};
use invalidator_core::cost::price::{FREE_PATHS, PATH};

use super::tally::{Amount, Bill, Day};
use crate::columns::{minute, money};
use crate::html::chart::{Frame, Line, Series, lines, merged, stacked_bars};
use crate::html::markup::Html;
use crate::html::page;
use crate::html::table::{Cell, Column, table};

/// The whole page.
pub fn html(bill: &Bill) -> String {
    let title = format!("CloudFront invalidations, {}", bill.month.name());
    page(&title, |it| {
        it.line("h1", &[], &title);
        let until = minute(bill.until);
        it.line(
            "p",
            &[("class", &"quiet")],
            format_args!("account {}, until {until} UTC", bill.account),
        );
        missing(it, bill);
        cards(it, bill);
        charts(it, bill);
        tables(it, bill);
        it.line("h2", &[], "Notes");
        it.element("ul", &[("class", &"notes quiet")], |it| {
            for note in bill.notes.iter().map(String::as_str).chain([SHARES]) {
                it.line("li", &[], note);
            }
        });
        let version = env!("CARGO_PKG_VERSION");
        it.line(
            "footer",
            &[],
            format_args!(
                "Made by invalidatorctl {version}: invalidatorctl bill --month {} --html FILE",
                bill.month
            ),
        );
    })
}

const SHARES: &str = "The cost of a distribution or a cause is its share of what the account pays. That of a day \
                      is what it added: the first paths of a month are the free ones.";

fn missing(html: &mut Html, bill: &Bill) {
    if bill.missing.is_empty() {
        return;
    }
    html.element("div", &[("class", &"warn"), ("role", &"alert")], |it| {
        it.line("p", &[], "All sums are too low. Not all could be read of:");
        for missing in &bill.missing {
            it.line(
                "p",
                &[],
                format_args!("{}: {}", missing.distribution, missing.error),
            );
        }
    });
}

fn cards(html: &mut Html, bill: &Bill) {
    let count = |number: u64| Thousands(number).to_string();
    let mut cards = vec![("so far", money(bill.total.usd), String::new())];
    if let Some(forecast) = &bill.forecast {
        let why = format!(
            "{} paths, if it goes on as in the last {} days",
            count(forecast.paths),
            forecast.as_in_days
        );
        cards.push(("forecast for the month", money(forecast.usd), why));
    }
    let wildcards = format!(
        "{} of them wildcards, one each",
        count(bill.total.wildcards)
    );
    cards.push(("paths", count(bill.total.paths), wildcards));
    cards.push((
        "invalidations",
        count(bill.total.invalidations),
        String::new(),
    ));
    let price = format!(
        "of {}; a further path costs {}",
        count(FREE_PATHS),
        PATH.amount
    );
    cards.push(("free paths left", count(bill.free_paths_left), price));
    html.element("dl", &[("class", &"cards")], |it| {
        for (what, value, more) in cards {
            it.element("div", &[], |it| {
                it.line("dt", &[], what);
                it.line("dd", &[], value);
                if !more.is_empty() {
                    it.line("dd", &[("class", &"quiet")], more);
                }
            });
        }
    });
}

fn charts(html: &mut Html, bill: &Bill) {
    let places: Vec<String> = (1..=bill.month.days()).map(|day| day.to_string()).collect();
    let most = bill.days.iter().max_by_key(|day| day.amount.paths);
    let most = most.map_or_else(String::new, |day| {
        format!("at most {} on {}", Of(day.amount.paths, "path"), day.day)
    });
    let days = format!("{} in the month, {most}.", Of(bill.total.paths, "path"));
    let paths = |value: f64| Of(value.round() as u64, "path").to_string();

    let of = |id: &str, name: &str| {
        series(bill, format!("{id} {name}"), |day| {
            day.distributions.get(id)
        })
    };
    let named = bill.distributions.iter();
    let named = named.map(|it| of(&it.id, it.name.as_deref().unwrap_or("(deleted)")));
    let by_distribution = Frame {
        id: "by-distribution",
        title: "Paths a day, by distribution",
        description: &days,
        places: &places,
        shown: paths,
    };
    stacked_bars(html, &by_distribution, &merged(named.collect()));

    let causes = bill.causes.iter();
    let causes = causes.map(|it| series(bill, it.shown.clone(), |day| day.causes.get(&it.cause)));
    let by_cause = Frame {
        id: "by-cause",
        title: "Paths a day, by cause",
        ..by_distribution
    };
    stacked_bars(html, &by_cause, &merged(causes.collect()));

    let forecast = bill.forecast.as_ref().map_or_else(String::new, |forecast| {
        format!(
            ", and {} by the end of the month if it goes on like this",
            money(forecast.usd)
        )
    });
    let costs = Frame {
        id: "costs",
        title: "Costs in this month, USD",
        description: &format!("{} so far{forecast}.", money(bill.total.usd)),
        places: &places,
        shown: |value| money(NanoUsd::new((value * 1e9).round() as u64)),
    };
    lines(html, &costs, &costs_so_far(bill));
}

fn series<'a>(bill: &'a Bill, name: String, of_day: impl Fn(&'a Day) -> Option<&'a u64>) -> Series {
    let mut values: Vec<f64> = bill
        .days
        .iter()
        .map(|day| of_day(day).copied().unwrap_or(0) as f64)
        .collect();
    values.resize(bill.month.days().into(), 0.0);
    Series { name, values }
}

fn costs_so_far(bill: &Bill) -> Vec<Line> {
    let span = bill.until - bill.month.start();
    let now = span.as_seconds_f64() / 86_400.0;
    let mut points = vec![(0.0, 0.0)];
    let mut sum = 0.0;
    for (n, day) in bill.days.iter().enumerate() {
        sum += day.amount.usd.to_usd();
        points.push((((n + 1) as f64).min(now), sum));
    }
    let mut lines = vec![Line {
        name: "spent".to_owned(),
        color: 0,
        is_dashed: false,
        points,
    }];
    if let Some(forecast) = &bill.forecast {
        lines.push(Line {
            name: "forecast".to_owned(),
            color: 1,
            is_dashed: true,
            points: vec![
                (now, sum),
                (f64::from(bill.month.days()), forecast.usd.to_usd()),
            ],
        });
    }
    lines
}

fn tables(html: &mut Html, bill: &Bill) {
    let amounts = [
        Column::Number("paths"),
        Column::Number("wildcards"),
        Column::Number("invalidations"),
        Column::Number("cost"),
        Column::Bar,
    ];
    let columns = |heads: &[Column]| [heads, &amounts].concat();
    let most = bill.distributions.first().map_or(0, |it| it.amount.paths);
    let rows = bill.distributions.iter().map(|it| {
        let name = it.name.clone().unwrap_or_else(|| "(deleted)".to_owned());
        let name = match &it.tenant_of {
            Some(distribution) => format!("{name} (tenant of {distribution})"),
            None => name,
        };
        row([it.id.clone(), name], &it.amount, most)
    });
    table(
        html,
        "By distribution",
        &columns(&[Column::Id("distribution"), Column::Text("name")]),
        &rows.collect::<Vec<_>>(),
    );

    let most = bill.causes.first().map_or(0, |it| it.amount.paths);
    let rows = bill
        .causes
        .iter()
        .map(|it| row([it.shown.clone()], &it.amount, most));
    table(
        html,
        "By cause",
        &columns(&[Column::Text("cause")]),
        &rows.collect::<Vec<_>>(),
    );

    let rows = bill.largest.iter().map(|it| {
        let cells = [
            minute(it.time),
            it.distribution.clone(),
            it.shown.clone(),
            Thousands(it.paths).to_string(),
            it.first_path.clone(),
        ];
        cells.map(Cell::Text).to_vec()
    });
    let largest = [
        Column::Id("time (UTC)"),
        Column::Id("distribution"),
        Column::Text("cause"),
        Column::Number("paths"),
        Column::Text("first path"),
    ];
    table(
        html,
        "The largest invalidations",
        &largest,
        &rows.collect::<Vec<_>>(),
    );

    html.element("details", &[], |it| {
        it.line("summary", &[], "By day");
        let most = bill.most_paths_of_a_day();
        let rows = bill
            .days
            .iter()
            .map(|it| row([it.day.clone()], &it.amount, most));
        table(
            it,
            "",
            &columns(&[Column::Id("day")]),
            &rows.collect::<Vec<_>>(),
        );
    });
}

fn row<const N: usize>(heads: [String; N], amount: &Amount, most: u64) -> Vec<Cell> {
    let counts = [amount.paths, amount.wildcards, amount.invalidations];
    let counts = counts.map(|number| Thousands(number).to_string());
    let numbers = counts.into_iter().chain([money(amount.usd)]);
    let mut cells: Vec<Cell> = heads.into_iter().chain(numbers).map(Cell::Text).collect();
    cells.push(Cell::Bar(amount.paths as f64 / most.max(1) as f64));
    cells
}
