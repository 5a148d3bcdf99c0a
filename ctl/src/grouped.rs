//! What many distributions have in common is said once.

use std::fmt;

/// So many of many names are shown.
const SHOWN: usize = 5;

/// Groups the items with the same key, in the order of the first of each.
pub fn groups<T, K: PartialEq>(
    items: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for item in items {
        let key = key(&item);
        match groups.iter_mut().find(|(of, _)| *of == key) {
            Some((_, group)) => group.push(item),
            None => groups.push((key, vec![item])),
        }
    }
    groups
}

/// `E1, E2, E3, E4, E5 and 36 more`
pub struct Names<'a, T>(pub &'a [T]);

impl<T: fmt::Display> fmt::Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if place == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What is said of distributions at which nothing is invalidated: the kind of the reason, or the whole reason
/// where it is about a behavior, as it may be the same one.
pub fn common_reason<'a>(kind: &'a str, reason: &'a str) -> &'a str {
    // The kinds of `invalidator_core::plan::Skip`.
    match kind {
        "sent to another origin" | "not cached" => reason,
        _ => kind,
    }
}

/// Distributions at which nothing is invalidated for the same kind of reason.
pub struct Skipped<'a, T> {
    pub names: &'a [T],
    /// What the reasons have in common: `outside origin path`.
    pub kind: &'a str,
    /// The reason of each.
    pub reasons: &'a [&'a str],
}

/// `E1 skip (outside origin path `/docs` of origin `docs`)`, or
/// `skipped: 41 distributions, outside origin path: E1, E2, E3, E4, E5 and 36 more`
impl<T: fmt::Display> fmt::Display for Skipped<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            names,
            kind,
            reasons,
        } = self;
        match (names, reasons) {
            ([name], [reason, ..]) => write!(f, "{name} skip ({reason})"),
            _ => write!(
                f,
                "skipped: {} distributions, {kind}: {}",
                names.len(),
                Names(names)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_of_many_names_are_shown() {
        let all: Vec<String> = (1..=41).map(|n| format!("E{n}")).collect();
        let skipped = |names| {
            let (kind, reasons) = (
                "outside origin path",
                &["outside origin path `/a` of origin `b`"][..],
            );
            Skipped {
                names,
                kind,
                reasons,
            }
            .to_string()
        };
        assert_eq!(
            skipped(&all[..1]),
            "E1 skip (outside origin path `/a` of origin `b`)"
        );
        assert_eq!(
            skipped(&all[..5]),
            "skipped: 5 distributions, outside origin path: E1, E2, E3, E4, E5"
        );
        assert_eq!(
            skipped(&all),
            "skipped: 41 distributions, outside origin path: E1, E2, E3, E4, E5 and 36 more"
        );
    }

    #[test]
    fn groups_come_in_the_order_of_their_first() {
        assert_eq!(
            groups([3, 1, 5, 2, 4], |n| n % 2),
            [(1, vec![3, 1, 5]), (0, vec![2, 4])]
        );
    }
}
