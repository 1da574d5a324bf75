//! Definitions and guidelines of entity types, and queries that use them instead of the types'
//! names, as SLIMER (Zamai et al. 2024) and `GoLLIE` (Sainz et al. 2024) do. A model that is
//! trained on several wordings of a type depends less on its name.
//!
//! [`reword`] changes the types of an example, in its queries and its entities alike, so a
//! conversation of it asks and answers as before. The returned [`Wordings`] give each type back,
//! for scoring.

use indexmap::IndexMap;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::{Draw, Example, inventory::fold, stream::stream};

/// The meaning of an entity type in a dataset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Definition {
    /// A phrase that may stand for the type's name: `a natural person, alive or dead`. Empty if
    /// unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub definition: String,
    /// A rule of annotation: `titles such as "Dr." are not part of the name`. Empty if unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub guideline: String,
}

/// Definitions by type, in plain words. Spellings of a type that [`fold`] makes equal are one type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Definitions(IndexMap<String, Definition>);

impl Definitions {
    /// The definitions of descriptions. The first definition of a type holds, and empty ones do not
    /// count.
    pub fn new<'a>(described: impl IntoIterator<Item = (&'a str, &'a Definition)>) -> Self {
        let mut found = Self::default();
        for (name, definition) in described {
            if *definition != Definition::default() {
                found.0.entry(fold(name)).or_insert_with(|| definition.clone());
            }
        }
        found
    }

    /// The definition of a type.
    pub fn get(&self, entity_type: &str) -> Option<&Definition> {
        self.0.get(&fold(entity_type))
    }
}

/// Probabilities of the wordings of a type; the rest is the probability of its name. A wording that
/// needs a missing definition or guideline is the name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WordingConfig {
    /// `a natural person`
    pub definition: f64,
    /// `person (a natural person)`
    pub name_and_definition: f64,
    /// `person; titles are not part of the name`
    pub name_and_guideline: f64,
}

impl WordingConfig {
    /// The problem of the probabilities, if they are negative or add up to more than 1.
    pub fn problem(&self) -> Option<String> {
        let all = [self.definition, self.name_and_definition, self.name_and_guideline];
        let sound = all.iter().all(|one| *one >= 0.0) && all.iter().sum::<f64>() <= 1.0 + 1e-9;
        (!sound).then(|| {
            format!(
                "the probabilities of wordings are {all:?}; they must be at least 0, and at most 1 \
                 together"
            )
        })
    }
}

/// The types behind the wordings of an example.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wordings(IndexMap<String, String>);

impl Wordings {
    /// The type that a wording stands for. Other text is its own type.
    pub fn entity_type<'a>(&'a self, wording: &'a str) -> &'a str {
        self.0.get(wording).map_or(wording, String::as_str)
    }

    /// Gives the types of an example their names again.
    pub fn restore(&self, example: &mut Example) {
        let name = |wording: &str| self.entity_type(wording).to_owned();
        example.queries.iter_mut().for_each(|query| *query = name(query));
        example.gold_types_mut().for_each(|gold_type| *gold_type = name(gold_type));
    }
}

/// Gives the types of an example, present and absent ones alike, one of their wordings. Absent
/// types must be among the queries already: the wording must not show whether a type is present. A
/// type keeps its name if another type of the example has the same wording.
///
/// # Panics
/// If the probabilities have a [`WordingConfig::problem`].
pub fn reword(
    example: &mut Example,
    definitions: &Definitions,
    config: &WordingConfig,
    draw: Draw,
) -> Wordings {
    assert!(config.problem().is_none(), "{}", config.problem().unwrap_or_default());
    let mut rng = stream(*b"wordings", draw.seed, draw.epoch, draw.index);
    let named = example.queries.iter().map(String::as_str).chain(example.gold_types());
    let mut chosen: IndexMap<String, String> =
        named.map(|name| (name.to_owned(), name.to_owned())).collect();
    let names: Vec<String> = chosen.keys().cloned().collect();
    for name in names {
        // One number for each type, with or without a definition: the wordings of the others do not
        // depend on it.
        let number: f64 = rng.random();
        let Some(definition) = definitions.get(&name) else { continue };
        let wording = wording(&name, definition, config, number);
        if !chosen.values().any(|other| *other == wording) {
            chosen.insert(name, wording);
        }
    }
    example.queries.iter_mut().for_each(|query| query.clone_from(&chosen[query.as_str()]));
    example.gold_types_mut().for_each(|gold_type| {
        let wording = chosen[gold_type.as_str()].clone();
        *gold_type = wording;
    });
    Wordings(chosen.into_iter().map(|(name, wording)| (wording, name)).collect())
}

/// The wording that a number from 0 to 1 chooses.
fn wording(name: &str, known: &Definition, config: &WordingConfig, number: f64) -> String {
    let Definition { definition, guideline } = known;
    let at_name = config.definition + config.name_and_definition;
    let at_guideline = at_name + config.name_and_guideline;
    match number {
        _ if number < config.definition && !definition.is_empty() => definition.clone(),
        _ if number < config.definition => name.to_owned(),
        _ if number < at_name && !definition.is_empty() => format!("{name} ({definition})"),
        _ if number < at_name => name.to_owned(),
        _ if number < at_guideline && !guideline.is_empty() => format!("{name}; {guideline}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dataset, Entity, Span, shared::shared};

    fn example() -> Example {
        let entity = |text: &str, entity_type: &str, start| Entity {
            text: text.to_owned(),
            entity_type: entity_type.to_owned(),
            span: Some(Span { start, end: start + text.len() }),
        };
        let entities = vec![entity("Tim", "Person", 0), entity("Rome", "city", 8)];
        let mut example = Example::new("1".to_owned(), "Tim saw Rome".to_owned(), entities);
        example.queries.extend(["drug", "date"].map(str::to_owned));
        example
    }

    fn definition(definition: &str, guideline: &str) -> Definition {
        Definition { definition: definition.to_owned(), guideline: guideline.to_owned() }
    }

    fn definitions() -> Definitions {
        let person = definition("a natural person", "titles are not part of the name");
        let drug = definition("a substance that treats a disease", "");
        let date = definition("", "");
        Definitions::new([("person", &person), ("drug", &drug), ("date", &date)])
    }

    const CONFIG: WordingConfig =
        WordingConfig { definition: 0.3, name_and_definition: 0.2, name_and_guideline: 0.1 };

    fn at(index: u64) -> Draw {
        Draw { seed: 1, epoch: 0, index }
    }

    #[test]
    fn present_and_absent_types_get_wordings_in_proportion() {
        let number = 10_000;
        let mut counts: IndexMap<String, f64> = IndexMap::new();
        for index in 0..number {
            let mut found = example();
            reword(&mut found, &definitions(), &CONFIG, at(index));
            assert_eq!(found.queries[0], found.entities[0].entity_type);
            assert_eq!((&*found.queries[1], &*found.queries[3]), ("city", "date"));
            for query in found.queries {
                *counts.entry(query).or_default() += 1.0 / number as f64;
            }
        }
        for (wording, expected) in [
            ("a natural person", 0.3),
            ("Person (a natural person)", 0.2),
            ("Person; titles are not part of the name", 0.1),
            ("Person", 0.4),
            ("a substance that treats a disease", 0.3),
            ("drug (a substance that treats a disease)", 0.2),
            // It has no guideline.
            ("drug", 0.5),
        ] {
            assert!((counts[wording] - expected).abs() < 0.02, "{wording}: {}", counts[wording]);
        }
    }

    #[test]
    fn types_are_known_behind_their_wordings() {
        let mut changed = 0;
        for index in 0..200 {
            let mut found = example();
            let wordings = reword(&mut found, &definitions(), &CONFIG, at(index));
            let mut again = example();
            assert_eq!(reword(&mut again, &definitions(), &CONFIG, at(index)), wordings);
            changed += usize::from(found != example());
            for (wording, query) in found.queries.iter().zip(&example().queries) {
                assert_eq!(wordings.entity_type(wording), query);
            }
            wordings.restore(&mut found);
            assert_eq!(found, example());
        }
        assert!(changed > 100, "{changed}");
    }

    #[test]
    fn types_with_one_definition_stay_different() {
        let one = definition("a name", "");
        let both = Definitions::new([("person", &one), ("city", &one)]);
        let config = WordingConfig { definition: 1.0, ..WordingConfig::default() };
        let mut found = example();
        reword(&mut found, &both, &config, at(0));
        assert_eq!(found.queries, ["a name", "city", "drug", "date"]);
        let mut unchanged = example();
        reword(&mut unchanged, &both, &WordingConfig::default(), at(0));
        assert_eq!(unchanged, example());
    }

    #[test]
    fn unusable_probabilities_are_named() {
        let config = WordingConfig { definition: 0.9, name_and_definition: 0.2, ..CONFIG };
        assert!(config.problem().unwrap().contains("at most 1 together"));
        assert_eq!(CONFIG.problem(), None);
    }

    #[test]
    fn descriptions_have_definitions() {
        let text = "name = \"x\"\ntypes = { PER = \"person\" }\n[definitions.person]\n\
                    definition = \"a natural person\"\n[format]\nkind = \"jsonl\"\n[splits]\n";
        let dataset = Dataset::from_toml(text, "x.toml").unwrap();
        let definitions = dataset.definitions();
        assert_eq!(definitions.get("Person").unwrap().definition, "a natural person");
        let wrong = text.replace("definitions.person", "definitions.persona");
        let message = Dataset::from_toml(&wrong, "x.toml").unwrap_err().to_string();
        assert!(message.contains("`definitions` has `persona`"), "{message}");
        assert!(message.contains("did you mean `person`?"), "{message}");
    }

    /// SLIMER's definitions of the types of Pile-NER fit this form.
    #[test]
    fn published_definitions_are_used() {
        let path =
            "data/slimer-pilener/src/data_handlers/questions/pileNER/all_423_NE_definitions.json";
        let Some(path) = shared(path) else { return };
        let text = fs_err::read_to_string(path).unwrap();
        let published: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(&text).unwrap();
        let parsed: Vec<(String, Definition)> = published
            .iter()
            .filter_map(|(name, value)| {
                let answer: serde_json::Value =
                    serde_json::from_str(value["gpt_answer"].as_str()?).ok()?;
                let field = |key: &str| answer[key].as_str().unwrap_or_default();
                Some((name.clone(), definition(field("Definition"), field("Guidelines"))))
            })
            .collect();
        // The other answers are not JSON.
        assert!(parsed.len() > 300, "{}", parsed.len());
        let all = Definitions::new(parsed.iter().map(|(name, one)| (&**name, one)));
        let mut found = example();
        let config = WordingConfig { name_and_guideline: 1.0, ..WordingConfig::default() };
        reword(&mut found, &all, &config, at(0));
        assert!(found.queries[0].starts_with("Person; "), "{:?}", found.queries);
    }
}
