//! The bytes of the page.

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uner_data::Span;

use super::examples::{Marked, segments};
use super::markup::{count, difference, escaped, json};
use super::sample_tests::{HOSTILE, record, report};
use super::*;
use crate::DatasetScorer;
use crate::report::Outcome;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, i| bits << 8 | u32::from(*three.get(i).unwrap_or(&0)));
        for place in 0..4 {
            let digit = BASE64[(bits >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= three.len() { digit } else { '=' });
        }
    }
    text
}

/// The JSON of a dataset's errors.
fn errors(page: &str, dataset: usize) -> Value {
    let start = format!("<script type=\"application/json\" id=\"errors-{dataset}\">");
    let rest = &page[page.find(&start).unwrap() + start.len()..];
    serde_json::from_str(&rest[..rest.find("</script>").unwrap()]).unwrap()
}

#[test]
fn the_policy_allows_the_script_and_nothing_else() {
    assert_eq!(base64(b"Man is"), "TWFuIGlz");
    assert_eq!(base64(b"Ma"), "TWE=");
    assert_eq!(SCRIPT_HASH, base64(&Sha256::digest(SCRIPT)), "after a change of script.js");
    let page = html(&report());
    for forbidden in ["http://", "https://", " src=", "@import", "url("] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn every_dataset_is_there() {
    let page = html(&report());
    assert!(page.contains("2 of 3 datasets scored, <strong>1 missing</strong>"));
    assert!(page.contains("<strong>1 only in part</strong>"));
    for name in ["crossner-ai", "GENIA"] {
        assert!(page.contains(&format!("<bdi>{name}</bdi>")), "{name}");
    }
    assert!(page.contains("<details class=\"dataset\" id=\"dataset-0\">"));
    assert!(page.contains("<details class=\"dataset\" id=\"dataset-2\">"));
    for part in ["Probabilities of entities", "Most frequent confusions", "ReasoningNER-8B"] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn texts_of_data_stay_texts() {
    let page = html(&report());
    assert!(!page.contains("</script><img") && !page.contains("<img"));
    assert!(!page.contains(['\0', '\u{202e}']) && !page.contains("<b a="));
    let shown = "&lt;/script&gt;&lt;img/src=x onerror=alert(1)&gt;&lt;b \
                 a=&quot;&#39;&amp;␀\\u{202e}";
    assert_eq!(escaped(HOSTILE), shown);
    assert!(page.contains(&format!("<title>Evaluation of {shown}</title>")));
    assert_eq!(json(&"</script><!--"), "\"\\u003c/script>\\u003c!--\"");
    let id = errors(&page, 0)[4]["id"].clone();
    assert_eq!(id, "</script><img/src=x onerror=alert(1)><b a=\"'&␀\\u{202e}");
}

#[test]
fn the_same_report_gives_the_same_page() {
    assert_eq!(html(&report()), html(&report()));
    let empty = html(&Report::new("nothing", vec![]));
    assert!(empty.contains("0 of 0 datasets scored."));
    assert!(!empty.replace(SCRIPT, "").contains("NaN"));
}

#[test]
fn the_page_is_a_file_of_the_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let path = write(folder.path(), &report()).unwrap();
        assert_eq!(path, folder.path().join("report.html"));
        assert_eq!(fs_err::read_to_string(path).unwrap(), html(&report()));
    }
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    let missing = write(&folder.path().join("missing"), &report()).unwrap_err().to_string();
    assert!(missing.contains("missing/report.html"), "{missing}");
}

/// Of many errors, and of long texts, the page has a part.
#[test]
fn the_size_of_the_page_is_bounded() {
    let size = |passages: usize, length: usize| {
        let text = "x".repeat(length);
        let found = [("person", text.as_str()), ("person", "nowhere")];
        let wrong = record("id", &format!("{text}."), &["person"], &[], &found);
        let mut scorer = DatasetScorer::new("any", "general", None);
        (0..passages).for_each(|_| scorer.add(&wrong));
        let report = Report::new("a model", vec![Outcome::Scored(Box::new(scorer.finish()))]);
        (html(&report), report)
    };
    let (small, _) = size(20, 100);
    let (large, report) = size(1_000, 100);
    assert!(large.contains("<li><b>2,000</b> spurious <small>(sample of 40)</small></li>"));
    assert!(large.len() < small.len() + 1_000, "{} and {}", large.len(), small.len());
    assert_eq!(html(&report), large);
    let (long, _) = size(20, 20_000);
    assert!(long.contains("x […] x") && long.len() < 3 * small.len(), "{}", long.len());
}

#[test]
fn intervals_and_published_numbers_stand_beside_ours() {
    let page = html(&report());
    let interval = "<b>crossner-ai</b>".replace("crossner-ai", "<bdi>crossner-ai</bdi>");
    let summary = &page[page.find(&interval).unwrap()..][..200];
    assert!(summary.contains("official F1 ") && summary.contains("<small>"), "{summary}");
    assert!(page.contains("class=\"whisker\""));
    for part in ["CrossNER (5) and MIT (2)", "1 of 7 datasets scored", "JPT-8B", "Fig. 5b"] {
        assert!(page.contains(part), "{part}");
    }
    for note in crate::published::notes() {
        assert!(page.contains(&escaped(note)), "{note}");
    }
}

#[test]
fn spans_count_characters() {
    let errors = errors(&html(&report()), 0);
    let texts: Vec<Vec<(String, String)>> = errors
        .as_array()
        .unwrap()
        .iter()
        .map(|error| serde_json::from_value(error["text"].clone()).unwrap())
        .collect();
    let text = |pieces: &[(&str, &str)]| -> Vec<(String, String)> {
        pieces.iter().map(|(text, marked)| ((*text).to_owned(), (*marked).to_owned())).collect()
    };
    let boundary = [
        ("𝒯im ", "neither"),
        ("👩‍🚀 ", "gold"),
        ("Cook", "both"),
        (" of Apple met עברית in Paris.", "neither"),
    ];
    assert_eq!(texts[0], text(&boundary));
    let missing =
        errors.as_array().unwrap().iter().find(|error| error["kind"] == "spurious").unwrap();
    assert_eq!(missing["predicted"]["in_text"], false);
    let all = |start, end| Some(Span { start, end });
    assert_eq!(
        segments("ab", all(0, 9), all(1, 1)),
        [("ab".to_owned(), Marked::Gold)],
        "spans beyond the text, and empty ones"
    );
}

#[test]
fn numbers_are_readable() {
    assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([1.25, -3.04, -0.04].map(difference), ["+1.2", "−3.0", "+0.0"]);
}
