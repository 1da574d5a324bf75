//! The prompts for a teacher, word for word.

use serde::{Deserialize, Serialize};
use uner_endpoint::{ChatMessage, ChatRole, Request};

/// The system message of UniversalNER's teacher (figure 1 of the paper).
pub const SYSTEM: &str = "You are a helpful information extraction system.";

/// A version of the prompt. Its name is part of the provenance of every entity.
///
/// The paper (arXiv 2308.03279) prints the prompt for types in figure 1, and says in section 3.1
/// which words the prompt for definitions has instead. The model card of `UniNER-7B-definition`
/// prints another wording of the latter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptVersion {
    /// Entity types, as in the paper.
    #[default]
    Type,
    /// Definitions of types, as in the paper.
    Definition,
    /// Definitions of types, as on the model card.
    DefinitionCard,
}

impl PromptVersion {
    /// Its name in recipes and in the provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Definition => "definition",
            Self::DefinitionCard => "definition-card",
        }
    }

    /// The text before the passage.
    pub fn instruction(self) -> &'static str {
        match self {
            Self::Type => {
                "Given a passage, your task is to extract all entities and identify their entity \
                 types. The output should be in a list of tuples of the following format: \
                 [(\"entity 1\", \"type of entity 1\"), ... ]."
            }
            Self::Definition => {
                "Given a passage, your task is to extract all entities and concepts, and define \
                 their type using a short sentence. The output should be in a list of tuples of \
                 the following format: [(\"entity 1\", \"type of entity 1\"), ... ]."
            }
            Self::DefinitionCard => {
                "Given a paragraph, your task is to extract all entities and concepts, and define \
                 their type using a short sentence. The output should be in the following format: \
                 [(\"entity\", \"definition of entity type in a short sentence\"), ... ]"
            }
        }
    }

    /// The messages about a passage: the system message, then instruction and passage, with an
    /// empty line between them (the paper shows a new paragraph).
    pub fn request(self, passage: &str) -> Request {
        let content = format!("{}\n\nPassage: {passage}", self.instruction());
        Request::new(vec![
            ChatMessage::new(ChatRole::System, SYSTEM),
            ChatMessage::new(ChatRole::User, content),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_for_types_is_that_of_figure_1() {
        let request = PromptVersion::Type.request("Ada saw Rome.");
        let expected = [
            ChatMessage::new(ChatRole::System, "You are a helpful information extraction system."),
            ChatMessage::new(
                ChatRole::User,
                "Given a passage, your task is to extract all entities and identify their entity types. The output should be in a list of tuples of the following format: [(\"entity 1\", \"type of entity 1\"), ... ].\n\nPassage: Ada saw Rome.",
            ),
        ];
        assert_eq!(request.messages, expected);
        assert!(request.extra.is_empty());
    }

    #[test]
    fn the_prompt_for_definitions_replaces_the_words_that_the_paper_says() {
        let of_types = PromptVersion::Type.instruction();
        let replaced = of_types.replace(
            "extract all entities and identify their entity types",
            "extract all entities and concepts, and define their type using a short sentence",
        );
        assert_eq!(PromptVersion::Definition.instruction(), replaced);
    }

    #[test]
    fn names_are_those_of_recipes() {
        for version in
            [PromptVersion::Type, PromptVersion::Definition, PromptVersion::DefinitionCard]
        {
            let written = serde_json::to_value(version).unwrap();
            assert_eq!(written, version.name());
        }
    }
}
