//! Chooses folders, none below another, so that the sum of their gains is the largest: a knapsack over a
//! tree, solved exactly.
//!
//! For each folder, from the deepest up, a row holds the most that can be gained in it with 0, 1, 2, ..
//! wildcards. Rows of folders side by side are combined; a folder's own wildcard competes with all of
//! them. A row never has more entries than there are folders below, nor than wildcards allowed, so that the
//! work grows with the number of folders times that of wildcards. Rows are kept only where there is a
//! choice: a folder with one wildcard to gain by needs none.

use super::folders::Folders;

/// Folders whose wildcards are worth the most together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// What they gain.
    pub gain: i64,
    /// The folders, in no order.
    pub folders: Vec<usize>,
}

/// How many wildcards there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    wildcards: u64,
    with_kept: bool,
}

impl Most {
    /// So many new ones.
    pub fn new(wildcards: u64) -> Self {
        Self {
            wildcards,
            with_kept: false,
        }
    }

    /// So many, with those that the set has already and keeps.
    pub fn with_kept(wildcards: u64) -> Self {
        Self {
            wildcards,
            with_kept: true,
        }
    }
}

/// The best choice, or `None` if no choice has so few wildcards. `gain` says what a folder's wildcard
/// gains, if it may have one.
pub(super) fn choose(
    folders: &Folders<'_>,
    most: Most,
    gain: impl Fn(usize) -> Option<i64>,
) -> Option<Choice> {
    let Some(last) = folders.len().checked_sub(1) else {
        return Some(Choice::default());
    };
    let mut table = Table {
        folders,
        most: usize::try_from(most.wildcards).unwrap_or(usize::MAX),
        with_kept: most.with_kept,
        gain,
        rows: Vec::with_capacity(folders.len()),
    };
    for folder in 0..=last {
        let row = table.row(folder);
        table.rows.push(row);
    }
    let best = table.rows[last].as_slice();
    let (wildcards, gain) = (best.len() - 1, best[best.len() - 1]);
    (gain > NEVER / 2).then(|| Choice {
        gain,
        folders: table.chosen(last, wildcards),
    })
}

/// The gain of what is not possible, because too many wildcards are kept. It stays far below all others,
/// whatever is added to it.
const NEVER: i64 = i64::MIN / 4;

/// The most that can be gained in a folder, by the number of wildcards. More wildcards than there are
/// entries gain as much as the last one. Entries that gain nothing new are cut off at the end.
#[derive(Clone, Debug)]
enum Row {
    /// No wildcard gains anything.
    Nothing,
    /// One wildcard gains so much, and more gain no more.
    One([i64; 2]),
    /// Anything else.
    Many(Box<[i64]>),
}

impl Row {
    fn new(mut gains: Vec<i64>) -> Self {
        while let [.., before, last] = gains[..]
            && before == last
        {
            gains.pop();
        }
        match gains[..] {
            [0] => Self::Nothing,
            [0, one] => Self::One([0, one]),
            _ => Self::Many(gains.into_boxed_slice()),
        }
    }

    fn as_slice(&self) -> &[i64] {
        match self {
            Self::Nothing => &[0],
            Self::One(gains) => gains,
            Self::Many(gains) => gains,
        }
    }
}

fn at(gains: &[i64], wildcards: usize) -> i64 {
    gains[wildcards.min(gains.len() - 1)]
}

struct Table<'f, G> {
    folders: &'f Folders<'f>,
    most: usize,
    with_kept: bool,
    gain: G,
    rows: Vec<Row>,
}

/// The folders below a folder that gain anything.
struct Below {
    /// Those with one wildcard to gain by, the best first, and no more than can be used.
    single: Vec<usize>,
    /// What the first 0, 1, 2, .. of them gain.
    gains: Vec<i64>,
    /// The others.
    many: Vec<usize>,
}

impl<G: Fn(usize) -> Option<i64>> Table<'_, G> {
    fn row(&self, folder: usize) -> Row {
        let below = self.below(folder);
        let many = below.many.iter();
        let inner = many.fold(below.gains, |gains, child| {
            self.combined(&gains, self.rows[*child].as_slice())
        });
        let mut gains = self.with_kept(inner, folder);
        if let Some(own) = (self.gain)(folder).filter(|_| self.most > 0) {
            if gains.len() == 1 {
                gains.push(gains[0]);
            }
            for gain in &mut gains[1..] {
                *gain = own.max(*gain);
            }
        }
        Row::new(gains)
    }

    fn below(&self, folder: usize) -> Below {
        let (mut single, mut many) = (Vec::new(), Vec::new());
        for child in self.folders.children(folder) {
            match self.rows[child] {
                Row::Nothing => {}
                Row::One([_, gain]) => single.push((gain, child)),
                Row::Many(_) => many.push(child),
            }
        }
        let best_first = |a: &(i64, usize), b: &(i64, usize)| b.cmp(a);
        if single.len() > self.most {
            single.select_nth_unstable_by(self.most, best_first);
            single.truncate(self.most);
        }
        single.sort_unstable_by(best_first);
        let mut gains = vec![0];
        gains.extend(single.iter().scan(0, |sum, (gain, _)| {
            *sum += gain;
            Some(*sum)
        }));
        let single = single.into_iter().map(|(_, child)| child).collect();
        Below {
            single,
            gains,
            many,
        }
    }

    /// The gains in two folders side by side.
    fn combined(&self, a: &[i64], b: &[i64]) -> Vec<i64> {
        let entries = (a.len() + b.len() - 1).min(self.most + 1);
        let mut gains = vec![NEVER; entries];
        for (in_a, gain) in a.iter().enumerate() {
            let rest = gains[in_a.min(entries)..].iter_mut();
            for (both, other) in rest.zip(b) {
                *both = (gain + other).max(*both);
            }
        }
        gains
    }

    /// Counts the wildcards of the set that are right in this folder.
    fn with_kept(&self, gains: Vec<i64>, folder: usize) -> Vec<i64> {
        let kept = self.kept(folder);
        if kept == 0 {
            return gains;
        }
        let never = vec![NEVER; kept.min(self.most + 1)];
        let mut gains: Vec<i64> = never.into_iter().chain(gains).collect();
        gains.truncate(self.most + 1);
        gains
    }

    fn kept(&self, folder: usize) -> usize {
        if !self.with_kept {
            return 0;
        }
        let below = self.folders.children(folder);
        let below: u64 = below.map(|child| self.folders.wildcards(child)).sum();
        let kept = self.folders.wildcards(folder) - below;
        usize::try_from(kept).unwrap_or(usize::MAX)
    }

    /// The folders that make up the gain of a folder with at most so many wildcards.
    fn chosen(&self, folder: usize, wildcards: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        let mut open = vec![(folder, wildcards)];
        while let Some((folder, wildcards)) = open.pop() {
            let gain = at(self.rows[folder].as_slice(), wildcards);
            match self.split(folder, wildcards, gain) {
                // Of two ways that gain as much, the narrower one.
                Some(below) => open.extend(below),
                None => chosen.push(folder),
            }
        }
        chosen
    }

    /// How the wildcards are split among the folders below, if these gain as much.
    fn split(&self, folder: usize, wildcards: usize, gain: i64) -> Option<Vec<(usize, usize)>> {
        let mut left = wildcards.checked_sub(self.kept(folder))?;
        let below = self.below(folder);
        let mut steps = vec![below.gains];
        for child in &below.many {
            let last = &steps[steps.len() - 1];
            steps.push(self.combined(last, self.rows[*child].as_slice()));
        }
        if at(&steps[steps.len() - 1], left) < gain {
            return None;
        }
        let mut parts = Vec::new();
        for (step, child) in below.many.iter().enumerate().rev() {
            let (before, row) = (&steps[step], self.rows[*child].as_slice());
            let sum = at(&steps[step + 1], left);
            let mut splits = 0..=left;
            let part = splits.find(|part| at(before, left - part) + at(row, *part) >= sum)?;
            parts.push((*child, part));
            left -= part;
        }
        parts.extend(below.single.into_iter().take(left).map(|child| (child, 1)));
        Some(parts.into_iter().filter(|(_, part)| *part > 0).collect())
    }
}
