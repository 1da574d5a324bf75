//! Proposes plain words for a label, as a model is asked for types in plain words.

/// Labels of well-known annotation schemes whose words are not in them.
const KNOWN: [(&str, &str); 12] = [
    ("per", "person"),
    ("pers", "person"),
    ("org", "organization"),
    ("loc", "location"),
    ("gpe", "geopolitical entity"),
    ("fac", "facility"),
    ("misc", "miscellaneous entity"),
    ("norp", "nationality, religious or political group"),
    ("veh", "vehicle"),
    ("wea", "weapon"),
    ("num", "number"),
    ("prod", "product"),
];

/// Plain words for a label: `Code_Block` and `CodeBlock` become `code block`, `PER` becomes
/// `person`. An unknown label of at most three capitals stays (`DNA`).
pub(super) fn plain_words(label: &str) -> String {
    let lower = label.to_lowercase();
    if let Some((_, words)) = KNOWN.iter().find(|(known, _)| *known == lower) {
        return (*words).to_owned();
    }
    if label.chars().count() <= 3 && label.chars().all(char::is_uppercase) {
        return label.to_owned();
    }
    let mut words = String::with_capacity(label.len() + 4);
    let mut previous_is_lower = false;
    for character in label.chars() {
        if character.is_uppercase() && previous_is_lower {
            words.push(' ');
        }
        previous_is_lower = character.is_lowercase();
        match character {
            '_' | '-' | '.' | '/' => words.push(' '),
            other => words.extend(other.to_lowercase()),
        }
    }
    let plain = words.split_whitespace().collect::<Vec<&str>>().join(" ");
    if plain.is_empty() { label.to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::plain_words;

    #[test]
    fn labels_become_words() {
        for (label, words) in [
            ("PER", "person"),
            ("Code_Block", "code block"),
            ("MedicalCondition", "medical condition"),
            ("DNA", "DNA"),
            ("AVERAGE-RATING", "average rating"),
            ("cell_line", "cell line"),
            ("musical artist", "musical artist"),
            ("Straße", "straße"),
            ("--", "--"),
        ] {
            assert_eq!(plain_words(label), words, "{label}");
        }
    }
}
