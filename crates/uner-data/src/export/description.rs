//! The description of a dataset that reads an export back.

use std::collections::HashSet;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::{ExportFormat, Exported};
use crate::{
    DataError, Dataset,
    dataset::{Files, Types},
    format::{
        Brat, Columns, Container, Conversations, Export, Format, Gliner, Instructuie, Jsonl,
        LabelStudio, Scheme, Spacy, TokenClassification,
    },
    predictions::{brat, conll, label},
};

/// The labels of types in a format. Formats whose labels cannot have white space get `_` instead,
/// and a number if two types would have the same label.
#[derive(Debug, Clone, Default)]
pub struct Labels {
    by_type: IndexMap<String, String>,
    used: HashSet<String>,
}

impl Labels {
    /// The label of a type, without white space.
    pub(super) fn joined(&mut self, entity_type: &str) -> String {
        if let Some(label) = self.by_type.get(entity_type) {
            return label.clone();
        }
        let first = label(entity_type);
        let numbered = (2..).map(|number| format!("{first}_{number}"));
        let label = std::iter::once(first.clone())
            .chain(numbered)
            .find(|label| !self.used.contains(label))
            .expect("there is a number for every type");
        self.add(entity_type, label.clone());
        label
    }

    /// Uses a type as its own label.
    pub(super) fn as_written(&mut self, entity_type: &str) {
        if !self.by_type.contains_key(entity_type) {
            self.add(entity_type, entity_type.to_owned());
        }
    }

    fn add(&mut self, entity_type: &str, label: String) {
        self.used.insert(label.clone());
        self.by_type.insert(entity_type.to_owned(), label);
    }

    /// The types with their labels, in order of first use.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_type.iter().map(|(name, label)| (name.as_str(), label.as_str()))
    }
}

impl ExportFormat {
    /// The format of a description that reads it.
    pub fn format(self) -> Format {
        match self {
            Self::JsonLines => Format::Jsonl(Jsonl {
                label: "type".to_owned(),
                queries: Some("queries".to_owned()),
                ..Jsonl::default()
            }),
            Self::Conll => Format::Columns(columns()),
            Self::Spacy => {
                Format::Spacy(Spacy { spans: vec!["sc".to_owned()], ..Spacy::default() })
            }
            Self::SpacyTraining => Format::Spacy(Spacy::default()),
            Self::LabelStudio => Format::LabelStudio(LabelStudio {
                id: Some("id".to_owned()),
                ..LabelStudio::default()
            }),
            Self::Prodigy => Format::Prodigy(Export::default()),
            Self::Doccano => Format::Doccano(Export::default()),
            Self::Brat => {
                Format::Brat(Brat { index: Some(PathBuf::from(brat::INDEX)), ..Brat::default() })
            }
            Self::Gliner => Format::Gliner(Gliner::default()),
            Self::Instructuie => Format::Instructuie(Instructuie::default()),
            Self::TokenClassification => {
                Format::TokenClassification(TokenClassification::default())
            }
            Self::Conversations => Format::Conversations(Conversations {
                container: Container::Array,
                merge: false,
                encoding: crate::format::Encoding::default(),
            }),
        }
    }
}

fn columns() -> Columns {
    Columns {
        separator: "\t".to_owned(),
        token: 0,
        tags: vec![1],
        scheme: Scheme::Bio,
        quoted: false,
        header: 0,
        group: None,
        break_rows: Vec::new(),
        document_rows: Vec::new(),
        comment_rows: vec!["# ".to_owned()],
        id_rows: Some(conll::ID.to_owned()),
        metadata: Vec::new(),
        tag_map: IndexMap::new(),
        defects: Vec::new(),
        encoding: crate::format::Encoding::default(),
    }
}

/// The description of the exported splits of a dataset. The types keep their order; labels are
/// used as written if the source does so, and the format can.
pub fn description(
    source: &Dataset,
    format: ExportFormat,
    splits: IndexMap<String, Files>,
    exported: &Exported,
) -> Dataset {
    let mut dataset = Dataset::of_file("".as_ref(), format.format());
    dataset.name.clone_from(&source.name);
    dataset.domain.clone_from(&source.domain);
    dataset.source.clone_from(&source.source);
    dataset.licence.clone_from(&source.licence);
    dataset.splits = splits;
    let mut types: IndexMap<String, String> = IndexMap::new();
    let mut labels = exported.labels.clone();
    for entity_type in source.entity_types() {
        let label = labels.of(format, entity_type);
        types.insert(label, entity_type.to_owned());
    }
    for (entity_type, label) in labels.iter() {
        types.entry(label.to_owned()).or_insert_with(|| entity_type.to_owned());
    }
    let is_as_written = types.iter().all(|(label, entity_type)| label == entity_type);
    if !source.entity_types().is_empty() || !is_as_written {
        dataset.types = Some(Types::Named(types));
    }
    dataset
}

impl Labels {
    /// The label of a type in a format.
    pub(super) fn of(&mut self, format: ExportFormat, entity_type: &str) -> String {
        if matches!(format, ExportFormat::Conll | ExportFormat::Brat) {
            return self.joined(entity_type);
        }
        self.as_written(entity_type);
        entity_type.to_owned()
    }
}

impl Dataset {
    /// The description as TOML, without keys that have no value.
    ///
    /// # Errors
    /// [`DataError::Description`] if a value cannot be written, such as a path that is not UTF-8.
    pub fn to_toml(&self) -> Result<String, DataError> {
        let described = |error: &dyn std::fmt::Display| DataError::Description {
            origin: self.name.clone(),
            message: error.to_string(),
        };
        let mut table = toml::Table::try_from(self).map_err(|error| described(&error))?;
        prune(&mut table);
        toml::to_string(&table).map_err(|error| described(&error))
    }
}

/// Removes keys with an empty value, and switches that are off.
fn prune(table: &mut toml::Table) {
    table.retain(|key, value| match value {
        toml::Value::Table(inner) if key == "types" => !inner.is_empty(),
        toml::Value::Table(inner) => {
            prune(inner);
            !inner.is_empty()
        }
        toml::Value::String(text) => !text.is_empty(),
        toml::Value::Array(values) => !values.is_empty(),
        toml::Value::Boolean(is_set) => *is_set,
        toml::Value::Integer(number) => key != "header" || *number > 0,
        _ => true,
    });
}
