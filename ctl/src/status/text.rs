//! The status as text.

use invalidator_core::cost::amount::{Of, Thousands};
use invalidator_core::text::Lines;

use super::Status;
use super::queues::QueueNow;
use crate::columns::{Cell, Columns, money, section, shown};

/// All parts.
pub fn text(status: &Status) -> Lines {
    let mut lines = Lines::new();
    lines.line(format_args!("status at {}", status.at));
    if let Some(mode) = &status.mode {
        lines.line(format_args!("mode: {}", mode.shown));
    }
    for paused in status.paused.iter().flat_map(|it| &it.pauses) {
        lines.line(paused);
    }
    for left in status.paused.iter().flat_map(|it| &it.left) {
        lines.line(left);
    }
    if let Some(queues) = &status.queues {
        of_queues(&mut lines, queues);
    }
    if let Some(busy) = &status.busy {
        let mut columns = Columns::default();
        for it in busy {
            let target = format!("{} ({})", it.target, it.alias);
            let texts = [
                target,
                Of(it.paths, "path").to_string(),
                format!("since {}", it.since),
                it.error.clone(),
            ];
            columns.row(texts.map(|text| Cell::Text(shown(text))));
        }
        some(
            &mut lines,
            "targets to which CloudFront answers later",
            &columns,
            busy.is_empty(),
        );
    }
    if let Some(flushes) = &status.flushes {
        let mut columns = Columns::default();
        for it in flushes {
            let texts = [&it.at, &it.end, &it.counts];
            columns.row(texts.map(|text| Cell::Text(shown(text))));
        }
        some(
            &mut lines,
            "last flushes, of the last half hour",
            &columns,
            flushes.is_empty(),
        );
    }
    if let Some(in_progress) = &status.in_progress {
        let mut columns = Columns::default();
        for it in in_progress {
            let since = format!("since {}", it.since);
            let texts = [&it.target, &it.id, &since];
            columns.row(texts.map(|text| Cell::Text(shown(text))));
        }
        some(
            &mut lines,
            "invalidations in progress",
            &columns,
            in_progress.is_empty(),
        );
    }
    if let Some(spent) = &status.spending {
        lines.line("");
        let too_low = if spent.is_too_low {
            ", or more: an earlier ledger was lost"
        } else {
            ""
        };
        lines.line(format_args!(
            "this month: {}, {}{too_low}; {} free paths are left; {} in this hour; forecast {}",
            Of(spent.paths, "path"),
            money(spent.cost),
            Thousands(spent.free_left),
            Thousands(spent.paths_this_hour),
            money(spent.forecast),
        ));
    }
    if let Some(alarms) = &status.alarms {
        let mut columns = Columns::default();
        for it in alarms {
            let since = format!("since {}", it.since);
            columns.row([&it.name, &since].map(|text| Cell::Text(shown(text))));
        }
        some(&mut lines, "alarms", &columns, alarms.is_empty());
    }
    for (part, why) in &status.unread {
        lines.line(format_args!("not known: {part}: {why}"));
    }
    lines
}

fn of_queues(lines: &mut Lines, queues: &[QueueNow]) {
    let mut columns = Columns::default();
    let number = |number: u64| Cell::Number(Thousands(number).to_string());
    let heads = ["waiting", "in flight", "delayed", "oldest"];
    let heads = heads.map(|head| Cell::Number(head.to_owned()));
    let names = ["", ""].map(|name| Cell::Text(name.to_owned()));
    columns.row(names.into_iter().chain(heads));
    for queue in queues {
        let oldest = queue
            .oldest_seconds
            .map_or_else(String::new, |it| format!("{it} s"));
        columns.row([
            Cell::Text(queue.queue.clone()),
            Cell::Text(queue.holds.to_owned()),
            number(queue.waiting),
            number(queue.in_flight),
            number(queue.delayed),
            Cell::Number(oldest),
        ]);
    }
    section(lines, "queues", &columns);
}

fn some(lines: &mut Lines, title: &str, columns: &Columns, is_empty: bool) {
    match is_empty {
        true => {
            lines.line("");
            lines.line(format_args!("{title}: none"));
        }
        false => section(lines, title, columns),
    }
}
