//! Our templates as chat templates, so that other programs prompt a model as it was trained.

use serde_json::json;

use crate::encode::encode_prompt;
use crate::error::PromptError;
use crate::jinja::{self, ChatTemplate, Prefix};
use crate::mission;
use crate::template::Template;
use crate::tokenizer::Tokenizer;

/// Candidates for the text at the start and after each end of turn. A space is needed if the
/// tokenizer puts one at the start of a text but not after special tokens; otherwise nothing.
const BLANKS: [&str; 2] = ["", " "];

impl Template {
    /// A chat template (Jinja) with which other programs and this tokenizer produce the ids of
    /// [`crate::encode_prompt`]. If the template has its own, that one is returned, and the request
    /// has to contain the system message. `None` if the tokenizer encodes the whole text
    /// differently from its segments.
    ///
    /// # Errors
    /// The tokenizer fails.
    pub fn as_chat_template(&self, tokenizer: &Tokenizer) -> Result<Option<String>, PromptError> {
        if let Some(own) = self.chat_template.as_ref().map(ChatTemplate::source) {
            // The model was trained without today's date, so other programs must not write it
            // either.
            let undated = own
                .replace("strftime_now is not defined", "true")
                .replace("strftime_now is defined", "false");
            return Ok(Some(undated));
        }
        let names: Vec<String> = vec!["person".to_owned()];
        let conversation =
            mission::prompt("Zoë met 3 friends.", &mission::list_types(&names), self, None);
        let expected = encode_prompt(&conversation, self, tokenizer)?;
        let special = [tokenizer.bos(), tokenizer.eos()].map(|id| tokenizer.token(id));
        for blank in BLANKS {
            let source = self.jinja(blank);
            let chat = ChatTemplate::new(source.clone()).map_err(PromptError::Chat)?;
            let messages = conversation.messages.iter().map(jinja::message).collect();
            let text =
                chat.render("", &[Prefix { messages, add_generation_prompt: true }], &special);
            if tokenizer.encode_special(&text.map_err(PromptError::Chat)?.concat(), false)?
                == expected
            {
                return Ok(Some(source));
            }
        }
        Ok(None)
    }

    /// The chat template with the text `blank` at the start and after each end of turn.
    pub(crate) fn jinja(&self, blank: &str) -> String {
        let text = |text: &str| json!(text).to_string();
        let system = text(self.system_at_inference.as_ref().unwrap_or(&self.system));
        let (separator, blank, user) =
            (text(&self.separator), text(blank), text(&self.user_prefix()));
        let name = if self.roles.assistant.is_empty() {
            String::new()
        } else {
            format!("{}{}:", self.separator, self.roles.assistant)
        };
        let (answer, ask) = (text(&format!("{name} ")), text(&name));
        let end = self.prompt_end_of_turn.as_ref().map_or("eos_token".to_owned(), |end| text(end));
        format!(
            "{{%- if messages[0]['role'] == 'system' -%}}{{%- set system = messages[0]['content'] -%}}{{%- set turns = messages[1:] -%}}\
             {{%- else -%}}{{%- set system = {system} -%}}{{%- set turns = messages -%}}{{%- endif -%}}\n\
             {{{{- bos_token + {blank} -}}}}{{%- if system -%}}{{{{- system + {separator} -}}}}{{%- endif -%}}\n\
             {{%- for message in turns -%}}\n\
             {{%- if message['role'] == 'user' -%}}{{%- if not loop.first -%}}{{{{- {blank} -}}}}{{%- endif -%}}{{{{- {user} + message['content'] -}}}}\n\
             {{%- else -%}}{{{{- {answer} + message['content'] + {end} -}}}}{{%- endif -%}}\n\
             {{%- endfor -%}}\n\
             {{%- if add_generation_prompt -%}}{{{{- {ask} -}}}}{{%- endif -%}}\n"
        )
    }

    /// The text of `PROMPT.md`: the messages to send to a server that applies the chat template.
    pub fn prompt_format(&self) -> String {
        let fence = |name: &str, text: &str| format!("{name}:\n\n```text\n{text}\n```\n");
        // Chat templates made by `jinja` contain the system message.
        let has_system = self.chat_template.is_some() && !self.system.is_empty();
        let mut messages: Vec<String> =
            has_system.then(|| fence("System", &self.system)).into_iter().collect();
        messages.push(fence("User", &self.passage));
        if let Some(passage) = &self.dataset_passage {
            messages.push(format!(
                "or, to ask as for one of the datasets it was tuned on,\n\n{}",
                fence("User", passage)
            ));
        }
        messages.extend(self.acknowledgement.iter().map(|text| fence("Assistant", text)));
        messages.extend(self.question.iter().map(|text| fence("User", text)));
        format!(
            "# How to ask this model\n\n\
             It was tuned by the template `{}` of uner; `template.toml` has all of it, and `uner predict --model .` asks it. Other programs\n\
             (vLLM, llama.cpp, transformers) put messages together by `chat_template.jinja`. Send these, with your text and types in place of\n\
             what is in braces, temperature 0{}:\n\n{}\n\
             The answer is {}.\n",
            self.name,
            if self.question.is_some() { ", one request for each question" } else { "" },
            messages.join("\n"),
            self.answer_format(),
        )
    }

    fn answer_format(&self) -> &'static str {
        match self.form {
            crate::template::AskForm::PerType => {
                "a JSON list of the mentions, `[\"Tim Cook\"]`, or `[]`"
            }
            crate::template::AskForm::AllInOne => {
                "a JSON list of pairs, `[[\"Tim Cook\", \"person\"]]`, or `[]`"
            }
            crate::template::AskForm::InstructUie => "`type: mention; type: mention`, or `None`",
        }
    }
}
