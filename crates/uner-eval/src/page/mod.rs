//! The report as one HTML page that needs no other file.
//!
//! The page works from a disk: its style, script and figures (SVG) are inside, and its content
//! security policy allows no connection. Error examples are JSON that the script reads when their
//! dataset is opened; without scripts, everything else is readable. The page has the bounded sample
//! of errors of the report, and its size does not depend on the number of passages. No function of
//! it depends on time or place: the same report gives the same bytes.

mod averages;
mod comparison;
mod confusion;
mod dataset;
mod datasets;
mod examples;
mod markers;
mod markup;
mod overlap;
mod reliability;
mod summary;

use std::path::{Path, PathBuf};

use crate::EvalError;
use crate::page::markup::escaped;
use crate::report::Report;

const FILE: &str = "report.html";
const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");
/// The SHA-256 of the script in base64: the page runs no other one. A test has the right value.
const SCRIPT_HASH: &str = "moUJ5sZm9y4DRTJuhChg0aAboubQ60mebVMsrUV27QQ=";

/// Writes a report as `report.html` to the folder of its evaluation, and returns the path. The
/// report is that of [`measure`](crate::measure) or of [`rescore`](crate::folder::rescore), which
/// both read or write the records one by one.
///
/// # Errors
/// When the file cannot be written; one that is there stays as it was.
pub fn write(folder: &Path, report: &Report) -> Result<PathBuf, EvalError> {
    let path = folder.join(FILE);
    let unfinished = folder.join(format!("{FILE}.{}.tmp", std::process::id()));
    let written =
        fs_err::write(&unfinished, html(report)).and_then(|()| fs_err::rename(&unfinished, &path));
    if let Err(error) = written {
        // The first problem is reported, not that there is nothing to remove.
        let _ = fs_err::remove_file(&unfinished);
        return Err(error.into());
    }
    Ok(path)
}

/// The page: averages, domains, datasets, and for each dataset its scores by entity type,
/// reliability, flaws, confusions and examples of errors; then published numbers.
fn html(report: &Report) -> String {
    let title = escaped(&format!("Evaluation of {}", report.system));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'sha256-{SCRIPT_HASH}'; img-src data:; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style></head>\n<body>\n<main>\n\
         <h1>Evaluation of <bdi>{}</bdi></h1>\n",
        escaped(&report.system)
    );
    html += &summary::figures(report);
    html += &summary::domains(report);
    html += &datasets::datasets(report);
    html += &dataset::details(report);
    html += &overlap::overlap(report);
    html += &comparison::comparison(report);
    html += &averages::averages(report);
    html + "</main>\n<script>" + SCRIPT + "</script>\n</body></html>\n"
}

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod sample_tests;
