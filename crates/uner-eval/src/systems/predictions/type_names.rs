//! The dataset's type of a program's label.

use indexmap::{IndexMap, IndexSet};
use uner_data::dataset::{Meaning, Types};
use uner_data::inventory::fold;
use uner_data::{Dataset, did_you_mean};

use super::PredictionsError;
use crate::EvalError;

/// The types of a dataset, and the names that mean them.
pub(super) struct TypeNames<'a> {
    dataset: &'a Dataset,
    entity_types: IndexSet<String>,
    /// The program's label → type.
    labels: &'a IndexMap<String, String>,
    /// The type of each folded type and label; `None` if two types have the same.
    folded: IndexMap<String, Option<String>>,
}

impl<'a> TypeNames<'a> {
    /// Checks that the values of `labels` are types, if the dataset lists its types.
    pub(super) fn new(
        dataset: &'a Dataset,
        entity_types: IndexSet<String>,
        labels: &'a IndexMap<String, String>,
    ) -> Result<Self, EvalError> {
        let is_listed = !dataset.entity_types().is_empty();
        let unknown = labels.iter().find(|(_, name)| is_listed && !entity_types.contains(*name));
        if let Some((label, entity_type)) = unknown {
            return Err(PredictionsError::UnknownType {
                label: label.clone(),
                entity_type: entity_type.clone(),
                dataset: dataset.name.clone(),
                hint: did_you_mean(entity_type, entity_types.iter().map(String::as_str)),
            }
            .into());
        }
        let mut folded: IndexMap<String, Option<String>> = IndexMap::new();
        let own = entity_types.iter().map(|name| (name, name));
        for (name, entity_type) in own.chain(own_labels(dataset)) {
            let found = folded.entry(fold(name)).or_insert_with(|| Some(entity_type.clone()));
            if found.as_ref().is_some_and(|found| found != entity_type) {
                *found = None;
            }
        }
        Ok(Self { dataset, entity_types, labels, folded })
    }

    /// The type that a label means: by `labels`, or as a type or label of the dataset, or as one
    /// that differs from it in case, white space, `_` and `-` only.
    pub(super) fn of(&self, label: &str) -> Option<String> {
        if let Some(entity_type) = self.labels.get(label) {
            return Some(entity_type.clone());
        }
        if self.entity_types.contains(label) {
            return Some(label.to_owned());
        }
        match self.dataset.meaning(label) {
            Meaning::Type(name) if self.entity_types.contains(name) => Some(name.to_owned()),
            Meaning::Dropped => None,
            Meaning::Type(_) | Meaning::Unknown => self.folded.get(&fold(label)).cloned().flatten(),
        }
    }
}

/// The dataset's labels with their types.
fn own_labels(dataset: &Dataset) -> impl Iterator<Item = (&String, &String)> {
    let named = match &dataset.types {
        Some(Types::Named(named)) => Some(named),
        _ => None,
    };
    named.into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATASET: &str = "name = \"made-up\"\ndrop = [\"misc\"]\n[types]\nPER = \"person\"\n\
        creative-work = \"creative work\"\nI = \"in\"\ni = \"out\"\n[format]\nkind = \"jsonl\"\n\
        [splits]\ntest = \"x\"\n";

    fn of(labels: &[(&str, &str)], label: &str) -> Result<Option<String>, String> {
        let dataset = Dataset::from_toml(DATASET, "here").unwrap();
        let names = dataset.entity_types().into_iter().map(str::to_owned).collect();
        let pairs = labels.iter().map(|(label, name)| ((*label).to_owned(), (*name).to_owned()));
        let labels = pairs.collect();
        let types = TypeNames::new(&dataset, names, &labels);
        types.map(|types| types.of(label)).map_err(|error| error.to_string())
    }

    #[test]
    fn labels_are_found_by_every_name_of_a_type() {
        let is = |name: &str| Ok(Some(name.to_owned()));
        assert_eq!(of(&[], "person"), is("person"));
        assert_eq!(of(&[], "PER"), is("person"));
        assert_eq!(of(&[], "PERSON"), is("person"));
        assert_eq!(of(&[], "Creative_Work"), is("creative work"));
        assert_eq!(of(&[("GPE", "in")], "GPE"), is("in"));
        assert_eq!(of(&[("PER", "in")], "PER"), is("in"));
        assert_eq!(of(&[], "i"), is("out"));
        for unknown in ["GPE", "misc", "PERS"] {
            assert_eq!(of(&[], unknown), Ok(None), "{unknown}");
        }
    }

    #[test]
    fn labels_may_not_name_other_types() {
        let message = of(&[("PER", "persn")], "PER").unwrap_err();
        let expected = "`labels` maps `PER` to `persn`, which is not a type of dataset `made-up`; did you mean `person`?";
        assert_eq!(message, expected);
    }
}
