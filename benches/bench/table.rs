//! The table: what was measured, how it compares, and what was asked.

/// What a figure counts.
#[derive(Clone, Copy, PartialEq)]
pub enum Unit {
    Seconds,
    /// In powers of ten.
    Bytes,
    /// In powers of two.
    Memory,
    Count,
}

/// What was measured, once a round.
#[derive(Clone)]
pub struct Figure {
    pub values: Vec<f64>,
    pub unit: Unit,
}

impl Figure {
    pub fn new(unit: Unit, mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { values, unit }
    }

    pub fn seconds(values: Vec<f64>) -> Self {
        Self::new(Unit::Seconds, values)
    }

    pub fn median(&self) -> f64 {
        let middle = self.values.len() / 2;
        match self.values.len() % 2 {
            0 => f64::midpoint(self.values[middle - 1], self.values[middle]),
            _ => self.values[middle],
        }
    }

    fn text(&self) -> String {
        let [low, high] = [self.values[0], self.values[self.values.len() - 1]];
        let [low, high] = [low, high].map(|value| text(value, self.unit));
        let median = text(self.median(), self.unit);
        match low == high {
            true => median,
            false => format!("{median} ({low} to {high})"),
        }
    }
}

const NOT_MET: &str = "**no**";

/// A line of the table.
pub struct Row {
    /// What, ours, peer, ratio, asked, met.
    cells: [String; 6],
    /// Whether it was met for long: then it is in a table of its own.
    is_settled: bool,
}

impl Row {
    fn new(what: &str, ours: &Figure) -> Self {
        let mut cells: [String; 6] = Default::default();
        cells[0] = what.to_owned();
        cells[1] = ours.text();
        Self {
            cells,
            is_settled: false,
        }
    }

    fn beside(mut self, name: &str, figure: &Figure, ratio: String) -> Self {
        self.cells[2] = format!("{name}: {}", figure.text());
        self.cells[3] = ratio;
        self
    }

    fn asked(mut self, asked: String, met: bool) -> Self {
        self.cells[4] = asked;
        self.cells[5] = if met { "yes" } else { NOT_MET }.to_owned();
        self
    }

    /// The same as a goal that was met for long, if it is met now.
    pub fn settled(mut self) -> Self {
        self.is_settled = self.cells[5] != NOT_MET;
        self
    }
}

/// A figure of which nothing was asked.
pub fn shown(what: &str, ours: &Figure) -> Row {
    Row::new(what, ours)
}

/// A peer's figure of which nothing was asked.
pub fn compared(what: &str, ours: &Figure, peer: &str, theirs: &Figure) -> Row {
    let ratio = theirs.median() / ours.median();
    Row::new(what, ours).beside(peer, theirs, format!("1/{ratio:.1}"))
}

/// The peer's is to be at least so many times ours.
pub fn cheaper(what: &str, ours: &Figure, peer: &str, theirs: &Figure, least: f64) -> Row {
    let met = theirs.median() / ours.median() >= least;
    compared(what, ours, peer, theirs).asked(format!("at most 1/{least}"), met)
}

/// Ours is to be at most this.
pub fn at_most(what: &str, ours: &Figure, most: f64) -> Row {
    let asked = format!("at most {}", text(most, ours.unit));
    Row::new(what, ours).asked(asked, ours.median() <= most)
}

/// The larger case is to cost at most so many times the smaller.
pub fn steady(what: &str, large: &Figure, name: &str, small: &Figure, most: f64) -> Row {
    let ratio = large.median() / small.median();
    let row = Row::new(what, large).beside(name, small, format!("{ratio:.2}"));
    row.asked(format!("at most {most}"), ratio <= most)
}

/// A value for people.
fn text(value: f64, unit: Unit) -> String {
    let scaled = |units: &[(f64, &str)]| {
        let fits = units.iter().find(|(size, _)| value >= *size);
        let (size, name) = fits.unwrap_or(&units[units.len() - 1]);
        let scaled = value / size;
        let digits = 2 - (scaled.max(1.0).log10().floor() as usize).min(2);
        format!("{scaled:.digits$}{name}")
    };
    match unit {
        Unit::Seconds => scaled(&[(1.0, " s"), (1e-3, " ms"), (1e-6, " µs"), (1e-9, " ns")]),
        Unit::Bytes => scaled(&[(1e6, " MB"), (1.0, " bytes")]),
        Unit::Memory => scaled(&[(1_048_576.0, " MiB")]),
        Unit::Count => scaled(&[(1e6, " million"), (1.0, "")]),
    }
}

/// The tables as they stand in docs/performance.md.
pub fn markdown(rows: &[Row]) -> String {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let table = |is_settled| {
        let head = line(&["what", "ours", "peer", "ratio", "asked", "met"]) + &line(&["---"; 6]);
        let rows = rows.iter().filter(|row| row.is_settled == is_settled);
        let lines = rows.map(|row| line(&row.cells.each_ref().map(String::as_str)));
        lines.fold(head, |text, line| text + &line)
    };
    let (new, settled) = (table(false), table(true));
    format!("{new}\nGoals that were met for long, most of them about planning:\n\n{settled}")
}
