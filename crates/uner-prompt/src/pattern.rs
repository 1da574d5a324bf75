//! Patterns with placeholders, such as `What describes {type} in the text?`.

/// Replaces a pattern's `{name}` placeholders in one pass: braces inside a value are never a
/// placeholder. Placeholders that are not among `values` stay as they are (a template with an
/// unknown one is refused when it is read).
pub(crate) fn fill(pattern: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(
        pattern.len() + values.iter().map(|(_, value)| value.len()).sum::<usize>(),
    );
    let mut rest = pattern;
    while let Some(start) = rest.find('{') {
        filled.push_str(&rest[..start]);
        rest = &rest[start..];
        let placeholder = rest.find('}').and_then(|end| {
            let value = values.iter().find(|(name, _)| *name == &rest[1..end])?.1;
            Some((end, value))
        });
        if let Some((end, value)) = placeholder {
            filled.push_str(value);
            rest = &rest[end + 1..];
        } else {
            filled.push('{');
            rest = &rest[1..];
        }
    }
    filled.push_str(rest);
    filled
}

/// The placeholders of a pattern, in order.
pub(crate) fn placeholders(pattern: &str) -> Vec<&str> {
    pattern
        .split('{')
        .skip(1)
        .filter_map(|piece| piece.split_once('}'))
        .map(|(name, _)| name)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{fill, placeholders};

    #[test]
    fn values_are_not_searched_for_placeholders() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "{a}")]), "{b} and {a}");
        assert_eq!(fill("{a}{x}{", &[("a", "1")]), "1{x}{");
        assert_eq!(fill("", &[("a", "1")]), "");
    }

    #[test]
    fn placeholders_in_order() {
        assert_eq!(placeholders("Dataset: {dataset}\nText: {passage}"), ["dataset", "passage"]);
        assert!(placeholders("no { place").is_empty());
    }
}
