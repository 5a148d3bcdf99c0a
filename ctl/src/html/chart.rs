//! Charts as SVG. Each has a title and a description for those who do not see it, and each part of it tells
//! its value when it is pointed at; the page's tables hold the same numbers.

use std::fmt::{self, Display};

use super::markup::{Attributes, Html};

/// How many colors there are. The last one is for all others.
pub const COLORS: usize = 7;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 28.0;

/// The values of one color, one for each place on the x axis.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub values: Vec<f64>,
}

/// A line through points: places on the x axis, and values.
#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub color: usize,
    pub is_dashed: bool,
    pub points: Vec<(f64, f64)>,
}

/// What all charts have.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// Unique on the page.
    pub id: &'static str,
    pub title: &'a str,
    pub description: &'a str,
    /// What stands below the x axis, one for each place.
    pub places: &'a [String],
    /// Shows a value, with its unit.
    pub shown: fn(f64) -> String,
}

/// Keeps the largest series, and adds up all others in the last one. The largest come first.
pub fn merged(mut series: Vec<Series>) -> Vec<Series> {
    let sum = |one: &Series| one.values.iter().sum::<f64>();
    series.sort_by(|a, b| sum(b).total_cmp(&sum(a)));
    if series.len() <= COLORS {
        return series;
    }
    let others = series.split_off(COLORS - 1);
    let places = others.first().map_or(0, |it| it.values.len());
    let total = |place: usize| others.iter().map(|it| it.values[place]).sum();
    series.push(Series {
        name: format!("{} others", others.len()),
        values: (0..places).map(total).collect(),
    });
    series
}

/// A chart of bars, each a stack of all series.
pub fn stacked_bars(html: &mut Html, frame: &Frame<'_>, series: &[Series]) {
    let places = frame.places.len();
    let total = |place: usize| series.iter().map(|it| it.values[place]).sum::<f64>();
    let most = (0..places).map(total).fold(0.0, f64::max);
    let scale = Scale::up_to(most);
    figure(html, frame, &scale, |it| {
        let step = plot_width() / places.max(1) as f64;
        for (place, name) in frame.places.iter().enumerate() {
            let mut below = 0.0;
            for (color, one) in series.iter().enumerate() {
                let value = one.values[place];
                if value <= 0.0 {
                    continue;
                }
                let (top, bottom) = (scale.y(below + value), scale.y(below));
                below += value;
                let attributes: Attributes<'_> = &[
                    ("class", &Class(color)),
                    ("x", &Coordinate(LEFT + step * (place as f64 + 0.1))),
                    ("y", &Coordinate(top)),
                    ("width", &Coordinate(step * 0.8)),
                    ("height", &Coordinate(bottom - top)),
                ];
                it.element("rect", attributes, |it| {
                    let value = (frame.shown)(value);
                    it.line("title", &[], format_args!("{name}, {}: {value}", one.name));
                });
            }
        }
    });
    let names = series.iter().enumerate();
    legend(html, names.map(|(color, one)| (color, one.name.as_str())));
}

/// A chart of lines.
pub fn lines(html: &mut Html, frame: &Frame<'_>, lines: &[Line]) {
    let points = lines.iter().flat_map(|line| &line.points);
    let most = points.map(|(_, value)| *value).fold(0.0, f64::max);
    let scale = Scale::up_to(most);
    let step = plot_width() / frame.places.len().max(1) as f64;
    figure(html, frame, &scale, |it| {
        for line in lines {
            let points = line.points.iter().map(|(place, value)| {
                let x = Coordinate(LEFT + step * place);
                format!("{x},{}", Coordinate(scale.y(*value)))
            });
            let points = points.collect::<Vec<_>>().join(" ");
            let dashed = if line.is_dashed { " dashed" } else { "" };
            let class = format!("{}{dashed}", Class(line.color));
            it.element(
                "polyline",
                &[("class", &class), ("points", &points)],
                |it| {
                    let last = line.points.last().map_or(0.0, |(_, value)| *value);
                    let last = (frame.shown)(last);
                    it.line("title", &[], format_args!("{}: {last}", line.name));
                },
            );
        }
    });
    legend(
        html,
        lines.iter().map(|line| (line.color, line.name.as_str())),
    );
}

fn plot_width() -> f64 {
    WIDTH - LEFT - RIGHT
}

fn figure(html: &mut Html, frame: &Frame<'_>, scale: &Scale, content: impl FnOnce(&mut Html)) {
    html.line("h2", &[], frame.title);
    let title = format!("{}-title", frame.id);
    let description = format!("{}-description", frame.id);
    // It can be scrolled on a narrow screen, with the keyboard too.
    let scrolled: Attributes<'_> = &[
        ("tabindex", &0),
        ("role", &"group"),
        ("aria-labelledby", &title),
    ];
    html.element("figure", scrolled, |it| {
        let attributes: Attributes<'_> = &[
            ("id", &frame.id),
            ("role", &"img"),
            ("viewBox", &format_args!("0 0 {WIDTH} {HEIGHT}")),
            ("aria-labelledby", &format_args!("{title} {description}")),
        ];
        it.element("svg", attributes, |it| {
            it.line("title", &[("id", &title)], frame.title);
            it.line("desc", &[("id", &description)], frame.description);
            scale.draw(it);
            places(it, frame.places);
            content(it);
        });
    });
}

/// The names below the x axis, as many as there is room for.
fn places(html: &mut Html, places: &[String]) {
    let step = plot_width() / places.len().max(1) as f64;
    let widest = places
        .iter()
        .map(|it| it.chars().count())
        .max()
        .unwrap_or(1);
    // A digit of 12 pixels is about 7 wide.
    let every = ((widest as f64 * 7.0 + 8.0) / step).ceil().max(1.0) as usize;
    for (n, place) in places.iter().enumerate().step_by(every) {
        let attributes: Attributes<'_> = &[
            ("x", &Coordinate(LEFT + step * (n as f64 + 0.5))),
            ("y", &Coordinate(HEIGHT - BOTTOM + 20.0)),
            ("text-anchor", &"middle"),
        ];
        html.line("text", attributes, place);
    }
}

fn legend<'a>(html: &mut Html, names: impl Iterator<Item = (usize, &'a str)>) {
    html.element("ul", &[("class", &"legend")], |it| {
        for (color, name) in names {
            it.element("li", &[], |it| {
                it.element(
                    "svg",
                    &[("viewBox", &"0 0 12 12"), ("aria-hidden", &"true")],
                    |it| {
                        let square: Attributes<'_> = &[
                            ("class", &Class(color)),
                            ("width", &12),
                            ("height", &12),
                            ("rx", &2),
                        ];
                        it.element("rect", square, |_| {});
                    },
                );
                it.text(name);
            });
        }
    });
}

/// The y axis: from nothing to a round number.
struct Scale {
    step: f64,
    steps: u32,
}

impl Scale {
    fn up_to(most: f64) -> Self {
        let most = if most > 0.0 { most } else { 1.0 };
        let magnitude = 10_f64.powf((most / 4.0).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * magnitude);
        let fits = |step: &f64| (most / step).ceil() <= 5.0;
        let step = steps.into_iter().find(fits).unwrap_or(10.0 * magnitude);
        Self {
            step,
            steps: (most / step).ceil() as u32,
        }
    }

    fn y(&self, value: f64) -> f64 {
        let height = HEIGHT - TOP - BOTTOM;
        TOP + height * (1.0 - value / (self.step * f64::from(self.steps)))
    }

    fn draw(&self, html: &mut Html) {
        for n in 0..=self.steps {
            let value = self.step * f64::from(n);
            let y = Coordinate(self.y(value));
            let class = if n == 0 { "axis" } else { "grid" };
            let line: Attributes<'_> = &[
                ("class", &class),
                ("x1", &LEFT),
                ("x2", &(WIDTH - RIGHT)),
                ("y1", &y),
                ("y2", &y),
            ];
            html.element("line", line, |_| {});
            let text: Attributes<'_> = &[
                ("x", &(LEFT - 8.0)),
                ("y", &Coordinate(self.y(value) + 4.0)),
                ("text-anchor", &"end"),
            ];
            html.line("text", text, short(value));
        }
    }
}

/// A round number in little room.
fn short(value: f64) -> String {
    let (value, unit) = match value {
        1_000_000.0.. => (value / 1_000_000.0, "M"),
        10_000.0.. => (value / 1_000.0, "k"),
        _ => (value, ""),
    };
    let digits = format!("{value:.4}");
    format!(
        "{}{unit}",
        digits.trim_end_matches('0').trim_end_matches('.')
    )
}

struct Class(usize);

impl Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0.min(COLORS - 1))
    }
}

/// A tenth of a pixel is enough.
struct Coordinate(f64);

impl Display for Coordinate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_y_axis_ends_at_a_round_number_that_is_not_far_off() {
        for n in 1..10_000 {
            for most in [f64::from(n) / 1_000.0, f64::from(n), f64::from(n) * 1_000.0] {
                let scale = Scale::up_to(most);
                let top = scale.step * f64::from(scale.steps);
                assert!(
                    top >= most * 0.999_999 && top <= most * 1.7,
                    "{most}: {top}"
                );
                assert!((1..=5).contains(&scale.steps));
            }
        }
        assert_eq!(Scale::up_to(0.0).step, 0.2);
    }

    #[test]
    fn numbers_at_the_axis_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (0.0025, "0.0025"),
            (7.5, "7.5"),
            (2_500.0, "2500"),
            (12_500.0, "12.5k"),
            (100_000.0, "100k"),
            (2_500_000.0, "2.5M"),
        ] {
            assert_eq!(short(value), expected);
        }
    }

    #[test]
    fn the_largest_series_keep_their_color_and_nothing_is_left_out() {
        let one = |n: usize| Series {
            name: n.to_string(),
            values: vec![n as f64, 1.0],
        };
        let few = merged((0..7).map(one).collect());
        assert_eq!(few.len(), 7);
        let many = merged((0..20).map(one).collect());
        let names: Vec<_> = many.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["19", "18", "17", "16", "15", "14", "14 others"]);
        assert_eq!(many[6].values, [91.0, 14.0]);
    }
}
