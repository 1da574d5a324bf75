//! Reliability diagrams: the share of correct predictions over their probability.

use std::fmt::Write as _;

use crate::page::markup::{count, percent};
use crate::{Bin, DatasetReport, Reliability};

/// Pixels of the square from 0 to 1, and of the histogram below it.
const SIDE: f64 = 200.0;
const HISTOGRAM: f64 = 44.0;
/// Pixels left and above the square.
const LEFT: f64 = 46.0;
const ABOVE: f64 = 10.0;
/// Width of a bin.
const BIN: f64 = 0.1;

/// The diagrams of a dataset; empty without probabilities.
pub(super) fn diagrams(report: &DatasetReport) -> String {
    let figures = [
        ("Probabilities of entities", &report.entity_reliability),
        ("Probabilities that a type is absent", &report.empty_reliability),
    ];
    let figure = |(title, reliability): (&str, &Option<Reliability>)| {
        let reliability = reliability.as_ref()?;
        Some(format!(
            "<figure>{}<figcaption><b>{title}</b>: {} predictions, expected calibration error {} \
             %</figcaption></figure>\n",
            diagram(reliability),
            count(reliability.count),
            percent(reliability.expected_calibration_error)
        ))
    };
    let figures: String = figures.into_iter().filter_map(figure).collect();
    if figures.is_empty() {
        return figures;
    }
    format!("<div class=\"columns\">{figures}</div>\n")
}

fn diagram(Reliability { bins, count: all, .. }: &Reliability) -> String {
    let (width, height) = (LEFT + SIDE + 12.0, ABOVE + SIDE + HISTOGRAM + 44.0);
    let (right, bottom) = (LEFT + SIDE, ABOVE + SIDE);
    let mut svg = format!(
        "<svg class=\"reliability\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} \
         {height}\" role=\"img\" \
         aria-label=\"Share of correct predictions over their probability\">"
    );
    for tick in 0..=4 {
        let (share, at) = (f64::from(tick) / 4.0, f64::from(tick) * SIDE / 4.0);
        let (x, y) = (LEFT + at, bottom - at);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y}H{right}M{x} {ABOVE}V{bottom}\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{share}</text>\
             <text x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{share}</text>",
            LEFT - 6.0,
            y + 4.0,
            bottom + HISTOGRAM + 18.0
        );
    }
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
    for bin in bins {
        draw(&mut svg, bin, most, *all);
    }
    let _ = write!(
        svg,
        "<path class=\"ideal\" d=\"M{LEFT} {bottom}L{right} {ABOVE}\"/>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">probability</text>\
         <text transform=\"translate(12 {}) rotate(-90)\" text-anchor=\"middle\">correct</text>",
        LEFT + SIDE / 2.0,
        height - 6.0,
        ABOVE + SIDE / 2.0
    );
    // The points lie over the line.
    for Bin { confidence, accuracy, .. } in bins {
        let (x, y) = (LEFT + confidence * SIDE, bottom - accuracy * SIDE);
        let _ = write!(svg, "<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
    }
    svg + "</svg>"
}

/// A bin: the share of correct ones as a bar, and its part of all predictions below.
fn draw(svg: &mut String, bin: &Bin, most: f64, all: usize) {
    let Bin { from, count: number, confidence, accuracy } = *bin;
    let (x, width) = (LEFT + from * SIDE + 1.0, BIN * SIDE - 2.0);
    let (bottom, high) = (ABOVE + SIDE, accuracy * SIDE);
    let part = number as f64 / most * (HISTOGRAM - 8.0);
    let _ = write!(
        svg,
        "<g><title>{} predictions ({} %), mean probability {} %, correct {} %</title>\
         <rect class=\"ours\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{high:.1}\"/>\
         <rect class=\"part\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
         height=\"{part:.1}\"/></g>",
        count(number),
        percent(number as f64 / all as f64),
        percent(confidence),
        percent(accuracy),
        bottom - high,
        bottom + 4.0
    );
}
