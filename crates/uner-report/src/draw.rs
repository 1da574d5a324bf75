//! One figure: a metric of every run over steps, as SVG.

use std::fmt::Write as _;

use crate::course::Series;

/// Width and height.
const SIZE: [f64; 2] = [720.0, 300.0];
/// Room for numbers: left, right, above, below.
const MARGINS: [f64; 4] = [72.0, 14.0, 10.0, 28.0];
/// Approximate count of numbers on an axis.
const TICKS: f64 = 6.0;
/// A line with more points is thinned.
const MOST_POINTS: usize = 1_000;
/// Colours of the runs; further runs repeat them.
const COLOURS: [&str; 6] = ["#1f77b4", "#d6601e", "#2c8c3c", "#be283c", "#785aaa", "#5a5a5a"];

/// A line of a picture.
pub(super) struct Line {
    /// The index of its run.
    pub(super) run: usize,
    /// Its points.
    pub(super) points: Series,
    /// Whether it is drawn thin and pale, behind others.
    pub(super) pale: bool,
}

/// The colour of a run.
pub(super) fn colour(run: usize) -> &'static str {
    COLOURS[run % COLOURS.len()]
}

/// Maps values from `low` to `high` onto `length` pixels from `start`.
struct Axis {
    low: f64,
    high: f64,
    start: f64,
    length: f64,
}

impl Axis {
    fn pixel(&self, value: f64) -> f64 {
        self.start + (value - self.low) / (self.high - self.low) * self.length
    }

    /// Round numbers on the axis: multiples of 1, 2 or 5 times a power of ten.
    fn ticks(&self) -> impl Iterator<Item = f64> {
        let rough = (self.high - self.low) / TICKS;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * power)
            .into_iter()
            .find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
        (first..=last).map(move |count| count as f64 * step)
    }
}

/// Draws lines over steps; `None` without a point.
pub(super) fn picture(lines: &[Line]) -> Option<String> {
    let all = || {
        lines
            .iter()
            .flat_map(|line| line.points.iter().copied())
            .filter(|point| point.1.is_finite())
    };
    let (first, value) = all().next()?;
    let bounds = |pick: fn((f64, f64)) -> f64, start: f64| {
        all().map(pick).fold((start, start), |(low, high), value| (low.min(value), high.max(value)))
    };
    let (from, to) = bounds(|point| point.0, first);
    let (low, high) = bounds(|point| point.1, value);
    // A flat line needs some height, a single step some width.
    let room = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-12);
    let [left, right, above, below] = MARGINS;
    let [width, height] = SIZE;
    let across =
        Axis { low: from, high: to.max(from + 1.0), start: left, length: width - left - right };
    let up = Axis {
        low: low - room,
        high: high + room,
        start: height - below,
        length: above + below - height,
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#444\">"
    );
    grid(&mut svg, &across, &up);
    for line in lines {
        draw(&mut svg, line, &across, &up);
    }
    Some(svg + "</svg>")
}

fn grid(svg: &mut String, across: &Axis, up: &Axis) {
    let (left, right) = (across.start, across.start + across.length);
    let (bottom, top) = (up.start, up.start + up.length);
    for value in up.ticks() {
        let y = up.pixel(value);
        let _ = write!(
            svg,
            "<path d=\"M{left:.1} {y:.1}H{right:.1}\" stroke=\"#e2e2e2\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 4.0,
            short(value)
        );
    }
    for step in across.ticks().filter(|step| step.fract() == 0.0) {
        let x = across.pixel(step);
        let _ = write!(
            svg,
            "<path d=\"M{x:.1} {bottom:.1}v4\" stroke=\"#888\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{step}</text>",
            bottom + 18.0
        );
    }
    let _ = write!(
        svg,
        "<path d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\" fill=\"none\" stroke=\"#888\"/>"
    );
}

fn draw(svg: &mut String, line: &Line, across: &Axis, up: &Axis) {
    let points: Vec<(f64, f64)> = thinned(&line.points)
        .filter(|point| point.1.is_finite())
        .map(|(step, value)| (across.pixel(step), up.pixel(value)))
        .collect();
    let colour = colour(line.run);
    // A single point does not make a line.
    if let [(x, y)] = points[..] {
        let _ = write!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
    }
    let (opacity, width) = if line.pale { (0.35, 1) } else { (1.0, 2) };
    let _ = write!(
        svg,
        "<polyline fill=\"none\" stroke=\"{colour}\" stroke-opacity=\"{opacity}\" stroke-width=\"{width}\" points=\""
    );
    for (x, y) in points {
        let _ = write!(svg, "{x:.1},{y:.1} ");
    }
    svg.push_str("\"/>");
}

/// At most [`MOST_POINTS`] points: the lowest and the highest of each of equal pieces, so that
/// spikes stay.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let piece =
        if points.len() <= MOST_POINTS { 1 } else { points.len().div_ceil(MOST_POINTS / 2) };
    points.chunks(piece).flat_map(|piece| {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (low, high) = (piece.iter().min_by(by_value), piece.iter().max_by(by_value));
        let mut ends: Series = low.into_iter().chain(high).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        ends.dedup();
        ends
    })
}

/// A number in few characters: `0.00002` is `2.0e-5`.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        size if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_spikes() {
        let mut points: Series = (0..50_000).map(|step| (f64::from(step), 1.0)).collect();
        points[12_345].1 = 9.0;
        points[40_000].1 = -9.0;
        let reduced: Series = thinned(&points).collect();
        assert!(reduced.len() <= MOST_POINTS, "{}", reduced.len());
        assert!(reduced.contains(&(12_345.0, 9.0)) && reduced.contains(&(40_000.0, -9.0)));
        assert!(reduced.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(thinned(&points[..10]).collect::<Series>(), points[..10]);
    }

    #[test]
    fn nothing_flat_and_single_points_can_be_drawn() {
        assert!(picture(&[]).is_none());
        let line = |points: Series| picture(&[Line { run: 0, points, pale: false }]);
        assert!(line(vec![(1.0, f64::NAN)]).is_none());
        for points in [vec![(5.0, 0.0)], vec![(1.0, 2.0), (2.0, 2.0)]] {
            assert!(line(points).unwrap().contains("<svg"));
        }
        assert_eq!(
            [0.0, 2e-5, 1.5, 150.0, 1.2e6].map(short),
            ["0", "2.0e-5", "1.5", "150", "1.2e6"]
        );
    }

    #[test]
    fn axes_have_round_numbers_and_values_their_pixels() {
        let axis = Axis { low: 0.3, high: 2.1, start: 100.0, length: -50.0 };
        let ticks: Vec<String> = axis.ticks().map(short).collect();
        assert_eq!(ticks, ["0.5", "1", "1.5", "2"]);
        assert_eq!((axis.pixel(0.3), axis.pixel(2.1)), (100.0, 50.0));
        let svg =
            picture(&[Line { run: 1, points: vec![(1.0, 1.0), (3.0, 5.0)], pale: false }]).unwrap();
        assert!(svg.contains("stroke=\"#d6601e\""), "{svg}");
        // From bottom left to top right, with a margin of 5 % of the values above and below.
        assert!(svg.contains("points=\"72.0,260.1 706.0,21.9 \""), "{svg}");
    }
}
