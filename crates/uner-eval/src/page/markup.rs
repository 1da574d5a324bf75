//! Pieces of HTML. Every text that comes from data passes through [`escaped`], [`isolated`] or
//! [`json`].

use serde::Serialize;

use crate::uncertainty::Interval;

/// Text for the content of an element, or for an attribute in double quotes. Control characters and
/// overrides of the writing direction, which could make a text look like another one, are shown.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in shown(text).chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(character),
        }
    }
    html
}

/// As [`escaped`], in an element of its own writing direction: a name in Arabic does not move the
/// text around it.
pub(super) fn isolated(text: &str) -> String {
    format!("<bdi>{}</bdi>", escaped(text))
}

/// The text with its control characters visible: as pictures (`␀`), or as escapes. Line breaks and
/// tabs stay, and so do the joiners and marks that scripts need.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            '\0'..='\u{1f}' => shown.extend(char::from_u32(0x2400 + u32::from(character))),
            '\u{7f}' => shown.push('␡'),
            '\u{80}'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(character.escape_unicode());
            }
            _ => shown.push(character),
        }
    }
    shown
}

/// JSON for the content of a `script` element, which ends at no `</script` of a text.
pub(super) fn json(value: &impl Serialize) -> String {
    let json = serde_json::to_string(value).expect("strings and numbers can be written as JSON");
    json.replace('<', "\\u003c")
}

/// A fraction as percent with one decimal.
pub(super) fn percent(fraction: f64) -> String {
    format!("{:.1}", fraction * 100.0)
}

/// The interval of a score in percent, as a small figure; nothing without one.
pub(super) fn interval(interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |Interval { low, high, .. }| {
        format!(" <small>{}–{}</small>", percent(low), percent(high))
    })
}

/// A difference in percent points, with its sign.
pub(super) fn difference(points: f64) -> String {
    let text = format!("{points:+.1}");
    if text == "-0.0" { "+0.0".to_owned() } else { text.replace('-', "−") }
}

/// A count with separated thousands.
pub(super) fn count(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table whose columns can be sorted. Columns named in `texts` hold text, all others numbers.
pub(super) fn table(caption: &str, heads: &[&str], texts: &[&str], rows: &str) -> String {
    framed("sortable", caption, &head_row(heads, texts), rows)
}

/// A table in the order of its rows.
pub(super) fn fixed_table(caption: &str, heads: &[&str], rows: &str) -> String {
    framed("", caption, &head_row(heads, &[]), rows)
}

fn head_row(heads: &[&str], texts: &[&str]) -> String {
    let head = |head: &&str| {
        let class = if texts.contains(head) { " class=\"text\"" } else { "" };
        format!("<th scope=\"col\"{class}>{head}</th>")
    };
    heads.iter().map(head).collect()
}

/// A table that scrolls sideways on its own. The caption stands outside: it is as wide as the page.
pub(super) fn framed(class: &str, caption: &str, heads: &str, rows: &str) -> String {
    format!(
        "<div><p class=\"caption\">{caption}</p><div class=\"scroll\"><table \
         class=\"{class}\"><thead><tr>{heads}</tr></thead>\
         <tbody>\n{rows}</tbody></table></div></div>\n"
    )
}

/// A row of cells.
pub(super) fn row(cells: &[String]) -> String {
    format!("<tr>{}</tr>\n", cells.concat())
}

/// The first cell of a row.
pub(super) fn row_head(html: &str) -> String {
    format!("<th scope=\"row\">{html}</th>")
}

/// A cell with a number.
pub(super) fn number(text: &str) -> String {
    format!("<td>{text}</td>")
}

/// A cell with a text of the program or escaped text.
pub(super) fn text(html: &str) -> String {
    format!("<td class=\"text\">{html}</td>")
}

/// A cell with a fraction in percent, and a bar of that width.
pub(super) fn bar(fraction: f64) -> String {
    let percent = percent(fraction);
    format!("<td class=\"bar\" style=\"--v:{percent}%\">{percent}</td>")
}
