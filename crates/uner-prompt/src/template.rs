//! Templates as data: the wording and the options that turn a conversation into text.
//!
//! The built-in templates are the files of `configs/templates`. Any other TOML file with the same
//! keys can be loaded by its path.

use crate::answer::Characters;
use crate::error::PromptError;
use crate::jinja::{ChatTemplate, of_model};
use crate::pattern::placeholders;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;
use uner_data::did_you_mean;

/// The templates built into the binary, by name.
const BUILT_IN: [(&str, &str); 10] = [
    ("zero-shot", include_str!("../../../configs/templates/zero-shot.toml")),
    ("chat", include_str!("../../../configs/templates/chat.toml")),
    ("definition", include_str!("../../../configs/templates/definition.toml")),
    ("supervised", include_str!("../../../configs/templates/supervised.toml")),
    ("all-in-one", include_str!("../../../configs/templates/all-in-one.toml")),
    ("instructuie", include_str!("../../../configs/templates/instructuie.toml")),
    ("official", include_str!("../../../configs/templates/official.toml")),
    ("vicuna", include_str!("../../../configs/templates/vicuna.toml")),
    ("relations", include_str!("../../../configs/templates/relations.toml")),
    ("alpaca", include_str!("../../../configs/templates/alpaca.toml")),
];

/// The keys that define how messages are put together; not allowed beside `chat_template`.
pub const BESIDE_CHAT: [&str; 6] = [
    "system_at_inference",
    "separator",
    "trailing_space_token",
    "parse_special_tokens",
    "prompt_end_of_turn",
    "roles",
];

/// What queries ask for, see [`crate::mission`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissionName {
    /// Named entities.
    #[default]
    Entities,
    /// Relations between two mentions.
    Relations,
}

impl MissionName {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The form of a query and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AskForm {
    /// One question per type; the answer is a JSON list of mentions.
    PerType,
    /// One question for all types; the answer is a JSON list of `["mention", "type"]` pairs.
    AllInOne,
    /// InstructUIE: one turn contains the instruction, the types and the text; the answer is
    /// `type: mention; type: mention`.
    #[serde(rename = "instructuie")]
    InstructUie,
}

/// The names of the two sides in the text. If a name is empty, the message is written without name
/// and colon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roles {
    /// The side that asks.
    pub user: String,
    /// The model.
    pub assistant: String,
}

/// Defines how a conversation becomes text. Load it with [`Template::load`]. Every key is explained
/// in `configs/templates/official.toml` and `zero-shot.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, named in the TOML")]
pub struct Template {
    /// The name of the template, as in its file name.
    pub name: String,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "MissionName::is_default")]
    pub mission: MissionName,
    /// The form of a query and its answer.
    pub form: AskForm,
    /// A chat template that puts the messages together, instead of the keys in
    /// [`BESIDE_CHAT`]. Empty: the model's own, see [`Template::with_chat_of`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_template: Option<ChatTemplate>,
    /// The line before the first turn. May be empty.
    pub system: String,
    /// Another line for inference; only `official` has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_at_inference: Option<String>,
    /// Between the system line and the first turn, and between a user turn and the assistant's
    /// name.
    #[serde(default)]
    pub separator: String,
    /// The first user turn: `{passage}`, and for [`AskForm::InstructUie`] `{types}`.
    pub passage: String,
    /// The first user turn if a dataset is named; also has `{dataset}`. Absent: the name is not
    /// used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dataset_passage: Option<String>,
    /// The model's reply to the passage. Absent: the answer directly follows the passage turn
    /// ([`AskForm::InstructUie`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledgement: Option<String>,
    /// The query: `{type}`, or `{types}` for [`AskForm::AllInOne`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
    /// Encoding of characters beyond ASCII in JSON answers.
    #[serde(default, skip_serializing_if = "Characters::is_default")]
    pub answer_characters: Characters,
    /// Whether segments are as in the released code: the assistant's name is `ASSISTANT: `, which
    /// leaves a lone space token. Each segment is tokenised as if it began a text, with no leading
    /// space but the one that SentencePiece adds.
    #[serde(default)]
    pub trailing_space_token: bool,
    /// Whether the acknowledgement carries loss.
    #[serde(default)]
    pub train_acknowledgement: bool,
    /// Whether `</s>` and the like inside a message become special tokens. Unsafe for untrusted
    /// text.
    #[serde(default)]
    pub parse_special_tokens: bool,
    /// Whether an assistant turn at the start of a conversation is dropped (else it is an error).
    #[serde(default)]
    pub drop_leading_assistant: bool,
    /// If present, prompts are rendered as one string, in which this text ends the assistant's
    /// turns. If absent, they are rendered as segments, as in training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_end_of_turn: Option<String>,
    /// The names of the two sides.
    #[serde(default)]
    pub roles: Roles,
}

impl Template {
    /// Loads the template with this name, or from the TOML file at this path.
    ///
    /// # Errors
    /// [`PromptError::UnknownTemplate`] with the nearest name, [`PromptError::Template`] with the
    /// faulty key.
    pub fn load(name_or_path: &str) -> Result<Self, PromptError> {
        if let Some((name, text)) = BUILT_IN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::parse(text, name);
        }
        let path = Path::new(name_or_path);
        if path.extension().is_some_and(|extension| extension == "toml") || path.is_file() {
            return Self::parse(
                &uner_data::regular::read_to_string(&std::path::absolute(path)?)?,
                name_or_path,
            );
        }
        Err(unknown(name_or_path))
    }

    /// Parses a template from TOML; `path` is used in messages.
    ///
    /// # Errors
    /// [`PromptError::Template`]: unknown or missing keys, wrong types, a pattern without its
    /// placeholder.
    pub fn parse(text: &str, path: &str) -> Result<Self, PromptError> {
        let fault = |reason: String| PromptError::Template { path: path.to_owned(), reason };
        let parsed = |error: toml::de::Error| fault(error.to_string().trim_end().to_owned());
        let template: Self = toml::from_str(text).map_err(parsed)?;
        let keys: toml::Table = toml::from_str(text).map_err(parsed)?;
        template.check(&keys).map_err(fault)?;
        Ok(template)
    }

    /// Reads the chat template of the model in `folder`, if this template uses the model's own.
    ///
    /// # Errors
    /// The model has none.
    pub fn with_chat_of(mut self, folder: &Path) -> Result<Self, PromptError> {
        if self.chat_template.as_ref().is_some_and(ChatTemplate::is_unknown) {
            self.chat_template = Some(of_model(folder)?);
        }
        Ok(self)
    }

    /// Names of the built-in templates.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// Whether the answer of an exchange carries loss: all do, but for an acknowledgement of the
    /// passage, the answer of exchange 0, if the template does not train it.
    pub(crate) fn trains(&self, exchange: usize) -> bool {
        exchange > 0 || self.acknowledgement.is_none() || self.train_acknowledgement
    }

    /// Name and digest of all keys, such as `zero-shot-0f3a…`. Checkpoints store it, so that a
    /// model is not prompted with another template than it was trained with.
    ///
    /// # Panics
    /// Never: strings and booleans always serialise.
    pub fn fingerprint(&self) -> String {
        let json = serde_json::to_vec(self).expect("a template is plain strings and booleans");
        let digest = Sha256::digest(json);
        let short = digest.iter().take(6).fold(0_u64, |short, byte| short << 8 | u64::from(*byte));
        format!("{}-{short:012x}", self.name)
    }

    /// Whether each of [`BESIDE_CHAT`] is set.
    fn beside_chat(&self) -> [bool; BESIDE_CHAT.len()] {
        [
            self.system_at_inference.is_some(),
            !self.separator.is_empty(),
            self.trailing_space_token,
            self.parse_special_tokens,
            self.prompt_end_of_turn.is_some(),
            self.roles != Roles::default(),
        ]
    }

    /// The user's name and colon, or nothing.
    pub(crate) fn user_prefix(&self) -> String {
        if self.roles.user.is_empty() { String::new() } else { format!("{}: ", self.roles.user) }
    }

    /// The assistant's name and colon.
    pub(crate) fn assistant_prefix(&self) -> String {
        format!("{}:{}", self.roles.assistant, if self.trailing_space_token { " " } else { "" })
    }

    fn check(&self, keys: &toml::Table) -> Result<(), String> {
        if self.mission == MissionName::Relations && self.form != AskForm::PerType {
            return Err("mission `relations` only has queries of form `per-type`".to_owned());
        }
        if self.chat_template.is_some() {
            let idle = BESIDE_CHAT.iter().zip(self.beside_chat()).find(|(_, is_set)| *is_set);
            if let Some((key, _)) = idle {
                return Err(format!(
                    "`{key}` does nothing beside `chat_template`, which puts the messages together; remove it"
                ));
            }
        } else if let Some(key) =
            ["separator", "roles"].into_iter().find(|key| !keys.contains_key(*key))
        {
            return Err(format!("`{key}` is missing; set it, or set `chat_template`"));
        }
        let multi = self.form == AskForm::InstructUie;
        let passage: &[&str] = if multi { &["types", "passage"] } else { &["passage"] };
        check_pattern("passage", &self.passage, passage)?;
        if let Some(pattern) = &self.dataset_passage {
            check_pattern("dataset_passage", pattern, &[&["dataset"], passage].concat())?;
        }
        match (self.form, &self.question, &self.acknowledgement) {
            (AskForm::InstructUie, None, None) => Ok(()),
            (AskForm::InstructUie, ..) => {
                Err("form `instructuie` has its query in the passage turn; remove `question` and `acknowledgement`"
                    .to_owned())
            }
            (AskForm::PerType, Some(question), Some(_)) => check_pattern("question", question, &["type"]),
            (AskForm::AllInOne, Some(question), Some(_)) => check_pattern("question", question, &["types"]),
            _ => Err("`question` and `acknowledgement` are required by this form".to_owned()),
        }
    }
}

fn check_pattern(key: &str, pattern: &str, expected: &[&str]) -> Result<(), String> {
    let found = placeholders(pattern);
    if let Some(placeholder) = found.iter().find(|placeholder| !expected.contains(placeholder)) {
        return Err(format!(
            "`{key}` has an unknown placeholder `{{{placeholder}}}`; expected `{{{}}}`",
            expected.join("}`, `{")
        ));
    }
    match expected.iter().find(|placeholder| !found.contains(placeholder)) {
        Some(placeholder) => Err(format!("`{key}` lacks the placeholder `{{{placeholder}}}`")),
        None => Ok(()),
    }
}

fn unknown(name: &str) -> PromptError {
    let known = Template::names().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    let hint = did_you_mean(name, Template::names());
    PromptError::UnknownTemplate { name: name.to_owned(), hint, known }
}

#[cfg(test)]
mod tests {
    use super::{BUILT_IN, Template};

    const ZERO_SHOT: &str = BUILT_IN[0].1;

    fn refused(text: &str) -> String {
        Template::parse(text, "mine.toml").expect_err("refused").to_string()
    }

    #[test]
    fn every_file_is_built_in_under_its_name() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/templates");
        let mut files: Vec<String> = fs_err::read_dir(folder)
            .expect("the folder of templates")
            .map(|entry| entry.expect("an entry").path())
            .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
            .collect();
        let mut names: Vec<&str> = Template::names().collect();
        files.sort();
        names.sort_unstable();
        assert_eq!(files, names);
        for name in names {
            assert_eq!(Template::load(name).expect("it parses").name, name);
        }
    }

    #[test]
    fn unknown_names_get_a_hint() {
        let message = Template::load("zeroshot").expect_err("unknown").to_string();
        assert!(
            message.starts_with(
                "unknown template `zeroshot`; did you mean `zero-shot`?; known: `zero-shot`"
            ),
            "{message}"
        );
        let message = Template::load("qwerty").expect_err("unknown").to_string();
        assert!(message.starts_with("unknown template `qwerty`; known:"), "{message}");
        assert!(
            Template::load("missing.toml")
                .expect_err("no such file")
                .to_string()
                .contains("missing.toml")
        );
    }

    #[test]
    fn faulty_templates_are_refused() {
        let unknown_key = refused(&ZERO_SHOT.replace("separator =", "seperator ="));
        assert!(
            unknown_key.starts_with("template `mine.toml`: ")
                && unknown_key.contains("`seperator`"),
            "{unknown_key}"
        );
        let missing_placeholder = refused(&ZERO_SHOT.replace("{type}", "person"));
        assert_eq!(
            missing_placeholder,
            "template `mine.toml`: `question` lacks the placeholder `{type}`"
        );
        let unknown_placeholder =
            refused(&ZERO_SHOT.replace("Text: {passage}", "{text}: {passage}"));
        assert_eq!(
            unknown_placeholder,
            "template `mine.toml`: `passage` has an unknown placeholder `{text}`; expected `{passage}`"
        );
        let wrong_form = refused(&ZERO_SHOT.replace("\"per-type\"", "\"all-in-one\""));
        assert_eq!(
            wrong_form,
            "template `mine.toml`: `question` has an unknown placeholder `{type}`; expected `{types}`"
        );
    }

    #[test]
    fn keys_that_do_nothing_are_refused() {
        let chat = BUILT_IN[1].1;
        for (key, line) in [
            ("separator", "separator = \" \""),
            ("trailing_space_token", "trailing_space_token = true"),
            ("parse_special_tokens", "parse_special_tokens = true"),
            ("prompt_end_of_turn", "prompt_end_of_turn = \"x\""),
            ("system_at_inference", "system_at_inference = \"x\""),
            ("roles", "roles = { user = \"USER\", assistant = \"\" }"),
        ] {
            let message = refused(&format!("{line}\n{chat}"));
            assert!(
                message.contains(&format!("`{key}` does nothing beside `chat_template`")),
                "{message}"
            );
        }
        let message = refused(&ZERO_SHOT.replace("separator = \" \"", ""));
        assert!(message.contains("`separator` is missing"), "{message}");
    }

    #[test]
    fn fingerprints_tell_wordings_apart() {
        let zero_shot = Template::load("zero-shot").expect("built in");
        let other = Template::parse(&ZERO_SHOT.replace("What describes", "Which are"), "mine.toml")
            .expect("it parses");
        assert!(zero_shot.fingerprint().starts_with("zero-shot-"));
        assert_eq!(zero_shot.fingerprint(), zero_shot.clone().fingerprint());
        assert_ne!(zero_shot.fingerprint(), other.fingerprint());
        let commented =
            Template::parse(&format!("# a comment\n{ZERO_SHOT}"), "mine.toml").expect("it parses");
        assert_eq!(zero_shot.fingerprint(), commented.fingerprint());
    }
}
