//! Our F1 as a bar, with markers for published systems.

use std::fmt::Write as _;

use crate::page::markup::{escaped, percent};
use crate::published::{Metric, Published};
use crate::uncertainty::Interval;

/// A published system in the figures.
pub(super) struct Marker {
    system: &'static str,
    setting: &'static str,
    /// Its name in the legend.
    label: &'static str,
    /// The class of its colour.
    class: &'static str,
    /// The outline around (0, 0), as the data of an SVG path.
    shape: &'static str,
}

/// Shapes and colours differ, for readers who see few colours.
static MARKERS: [Marker; 5] = [
    Marker {
        system: "ChatGPT",
        setting: "zero-shot",
        label: "ChatGPT",
        class: "m0",
        shape: "M-5 0A5 5 0 1 1 5 0A5 5 0 1 1-5 0Z",
    },
    Marker {
        system: "UniNER-7B",
        setting: "zero-shot",
        label: "UniNER-7B, zero-shot",
        class: "m1",
        shape: "M0-6.5L6.5 0L0 6.5L-6.5 0Z",
    },
    Marker {
        system: "UniNER-7B w/ sup",
        setting: "Pile-NER and supervised data; CrossNER and MIT unseen",
        label: "UniNER-7B, Pile-NER and supervised data",
        class: "m2",
        shape: "M-6-5H6L0 6Z",
    },
    Marker {
        system: "UniNER-7B",
        setting: "supervised",
        label: "UniNER-7B, supervised",
        class: "m3",
        shape: "M-6 5H6L0-6Z",
    },
    Marker {
        system: "BERT-base",
        setting: "supervised",
        label: "BERT-base, supervised",
        class: "m4",
        shape: "M-4.5-4.5H4.5V4.5H-4.5Z",
    },
];

/// The strict F1 of a marker's system among published numbers, in percent.
fn f1_of(marker: &Marker, numbers: &[Published]) -> Option<f64> {
    let is_it = |number: &&Published| {
        number.system == marker.system
            && number.setting == marker.setting
            && number.metric == Metric::Strict
    };
    numbers.iter().find(is_it).map(|number| number.f1)
}

/// The mean F1 of each marker's system over datasets, given the published numbers of each; systems
/// without a number for one of them are left out.
pub(super) fn means(datasets: &[&[Published]]) -> Vec<(&'static Marker, f64)> {
    let mean = |marker: &'static Marker| {
        let numbers = datasets.iter().map(|numbers| f1_of(marker, numbers));
        let sum: f64 = numbers.sum::<Option<f64>>()?;
        (!datasets.is_empty()).then(|| (marker, sum / datasets.len() as f64))
    };
    MARKERS.iter().filter_map(mean).collect()
}

/// A bar from 0 to 100 with its interval and markers, as wide as its container.
pub(super) fn chart(f1: f64, interval: Option<Interval>, markers: &[(&Marker, f64)]) -> String {
    let ours = percent(f1);
    let spoken = markers.iter().map(|(marker, f1)| format!("; {} {f1:.1}", marker.label));
    let mut svg = format!(
        "<svg class=\"chart\" height=\"20\" role=\"img\" aria-label=\"F1 {ours}{}\">",
        spoken.collect::<String>()
    );
    svg += "<rect class=\"track\" y=\"5\" width=\"100%\" height=\"10\"/>";
    let _ = write!(svg, "<rect class=\"ours\" y=\"5\" width=\"{ours}%\" height=\"10\"/>");
    if let Some(Interval { low, high, .. }) = interval {
        let [low, high] = [low, high].map(percent);
        let _ = write!(
            svg,
            "<line class=\"whisker\" x1=\"{low}%\" x2=\"{high}%\" y1=\"10\" y2=\"10\"/>"
        );
    }
    for (marker, f1) in markers {
        let Marker { label, class, shape, .. } = marker;
        let _ = write!(
            svg,
            "<svg x=\"{f1:.1}%\" y=\"10\" overflow=\"visible\"><path class=\"{class}\" \
             d=\"{shape}\">\
             <title>{}: {f1:.1}</title></path></svg>",
            escaped(label)
        );
    }
    svg + "</svg>"
}

/// The legend of charts: the bar, and the markers of some chart.
pub(super) fn legend(published: &[&[Published]]) -> String {
    let mut html = String::from(
        "<ul class=\"legend\"><li><svg width=\"22\" height=\"16\"><rect class=\"ours\" y=\"3\" \
         width=\"22\" \
         height=\"10\"/></svg>this run, official F1</li>",
    );
    let has_number =
        |marker: &&Marker| published.iter().any(|numbers| f1_of(marker, numbers).is_some());
    for Marker { label, class, shape, .. } in MARKERS.iter().filter(has_number) {
        let _ = write!(
            html,
            "<li><svg width=\"16\" height=\"16\"><path class=\"{class}\" transform=\"translate(8 \
             8)\" \
             d=\"{shape}\"/></svg>{label}</li>"
        );
    }
    html + "</ul>\n"
}
