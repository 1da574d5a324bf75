//! The HTML page.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use crate::course::{Course, SMOOTHING, Series, smoothed};
use crate::draw::{Line, colour, picture};
use uner_plan::human::{bytes, duration};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1500px;margin:2em auto;padding:0 1em;color:#222}\
    h1{font-size:1.5em}h2{font-size:1.05em;margin:0}figure{display:inline-block;margin:0 1em 1.5em 0;vertical-align:top}\
    figcaption{color:#555;font-size:.9em;max-width:700px}table{border-collapse:collapse;margin-bottom:1.5em}\
    td,th{padding:.2em .8em;text-align:right;border-bottom:1px solid #ddd}td:first-child,th:first-child{text-align:left}\
    pre{background:#f6f6f6;padding:1em;overflow:auto}";

/// A quantity that is drawn.
struct Panel {
    title: &'static str,
    caption: String,
    lines: fn(&Course) -> Vec<(&Series, Smoothing)>,
}

impl Panel {
    fn new(
        title: &'static str,
        caption: &str,
        lines: fn(&Course) -> Vec<(&Series, Smoothing)>,
    ) -> Self {
        Self { title, caption: caption.to_owned(), lines }
    }
}

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Smoothing {
    /// As it is.
    None,
    /// Pale, with its moving mean in front of it.
    Mean,
}

/// The page: a table of the runs, the scores of their models, a picture of each metric that a run
/// has, and the recipes.
pub fn page(courses: &[Course]) -> String {
    let names: Vec<&str> = courses.iter().map(|course| course.name.as_str()).collect();
    let title = escaped(&format!("Training: {}", names.join(", ")));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    html += &table(courses);
    html += &scores(courses);
    for panel in panels() {
        let mut lines = Vec::new();
        for (run, course) in courses.iter().enumerate() {
            for (series, smoothing) in (panel.lines)(course) {
                let pale = smoothing == Smoothing::Mean;
                lines.push(Line { run, points: series.clone(), pale });
                if pale {
                    lines.push(Line { run, points: smoothed(series), pale: false });
                }
            }
        }
        if let Some(svg) = picture(&lines) {
            let Panel { title, caption, .. } = &panel;
            let _ = writeln!(
                html,
                "<figure><h2>{title}</h2>\n{svg}\n<figcaption>{caption}</figcaption></figure>"
            );
        }
    }
    for course in courses.iter().filter(|course| !course.recipe.is_empty()) {
        let (name, recipe) = (escaped(&course.name), escaped(&course.recipe));
        let _ = writeln!(
            html,
            "<details><summary>Recipe of {name}</summary><pre>{recipe}</pre></details>"
        );
    }
    html + "</body></html>\n"
}

fn panels() -> Vec<Panel> {
    let smoothing = format!(
        "Mean of the trained tokens, in nats, over steps. Pale: every step. Strong: exponential moving mean with the decay \
         {SMOOTHING}, bias-corrected."
    );
    vec![
        Panel::new("Loss", &smoothing, |course| vec![(&course.loss, Smoothing::Mean)]),
        Panel::new(
            "Validation loss",
            "Mean of the trained tokens of the validation set, in nats.",
            |course| vec![(&course.validation, Smoothing::None)],
        ),
        Panel::new("F1", "Of the evaluations during training, in percent.", |course| {
            vec![(&course.score, Smoothing::None)]
        }),
        Panel::new("Learning rate", "Over steps.", |course| vec![(&course.lr, Smoothing::None)]),
        Panel::new(
            "Gradient norm",
            "Before clipping. Pale: every step. Strong: moving mean, as for the loss.",
            |course| vec![(&course.grad_norm, Smoothing::Mean)],
        ),
        Panel::new("Tokens a second", "Without padding; waiting for data counts.", |course| {
            vec![(&course.speed, Smoothing::Mean)]
        }),
        Panel::new(
            "Matmul utilization",
            "Floating-point operations of the model a second, in percent of the device's measured \
             rate of matrix products.",
            |course| vec![(&course.matmul_utilization, Smoothing::Mean)],
        ),
        Panel::new(
            "MFU",
            "Floating-point operations of the model a second, in percent of the peak in the \
             device's data sheet.",
            |course| vec![(&course.mfu, Smoothing::Mean)],
        ),
    ]
}

fn table(courses: &[Course]) -> String {
    let heads = [
        "Run",
        "Device",
        "Model",
        "Steps",
        "Tokens",
        "Time in steps",
        "Last loss, smoothed",
        "Last validation loss",
        "Best F1, %",
        "Most memory in use",
        "Skipped steps",
    ];
    let mut html = String::from("<table><tr>");
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html += "</tr>\n";
    for (run, course) in courses.iter().enumerate() {
        let last = |series: &[(f64, f64)]| {
            series.last().map_or_else(|| "–".to_owned(), |(_, value)| format!("{value:.4}"))
        };
        let best = course.score.iter().map(|point| point.1).reduce(f64::max);
        let cells = [
            course.of_recipe("run", "device"),
            course.of_recipe("model", "weights"),
            course.loss.last().map_or(0.0, |(step, _)| *step).to_string(),
            course.tokens.to_string(),
            duration(course.seconds),
            last(&smoothed(&course.loss)),
            last(&course.validation),
            best.map_or_else(|| "–".to_owned(), |best| format!("{best:.1}")),
            if course.memory > 0.0 { bytes(course.memory as u64) } else { "–".to_owned() },
            course.skipped.to_string(),
        ];
        let _ = write!(
            html,
            "<tr><td><b style=\"color:{}\">■</b> {}</td>",
            colour(run),
            escaped(&course.name)
        );
        for cell in cells {
            let _ = write!(html, "<td>{}</td>", escaped(&cell));
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

/// The scores of the trained models: a row for each score, a column for each run. Empty without
/// scores.
fn scores(courses: &[Course]) -> String {
    let names: BTreeSet<&String> =
        courses.iter().flat_map(|course| course.measured.keys()).collect();
    if names.is_empty() {
        return String::new();
    }
    let mut html = String::from("<table><tr><th>Score of the trained model, %</th>");
    for course in courses {
        let _ = write!(html, "<th>{}</th>", escaped(&course.name));
    }
    html += "</tr>\n";
    for name in names {
        let _ = write!(html, "<tr><td>{}</td>", escaped(name));
        for course in courses {
            let score = course
                .measured
                .get(name)
                .map_or_else(|| "–".to_owned(), |score| format!("{score:.1}"));
            let _ = write!(html, "<td>{score}</td>");
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
