use super::*;
use crate::conversation::Role;
use crate::jinja::of_model;
use crate::{decode, encode, encode_prompt, fit};

/// The format of many models.
const CHATML: &str = "{% for message in messages %}\n{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
                      {% endfor %}\n{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
/// LLaMA 2's format: names in brackets, the system message inside the first turn, trimmed contents.
const LLAMA2: &str = "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system = messages[0]['content'] %}{% endif %}\
    {% for message in loop_messages %}{% if loop.index0 == 0 %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}\
    {% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
    {% else %}{{ ' ' + content | trim + ' ' + eos_token }}{% endif %}{% endfor %}";

fn template(chat: &str) -> Template {
    Template {
        chat_template: Some(ChatTemplate::new(chat.to_owned()).unwrap()),
        ..Template::load("chat").unwrap()
    }
}

/// A tokenizer with the bytes and three special tokens.
fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let special = |id: usize, content: &str| serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true});
    let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut alphabet: Vec<char> = alphabet.into_iter().collect();
    alphabet.sort_unstable();
    let vocab: serde_json::Map<String, serde_json::Value> =
        alphabet.iter().enumerate().map(|(id, letter)| (letter.to_string(), id.into())).collect();
    let step = serde_json::json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [special(256, "<|im_start|>"), special(257, "<|im_end|>"), special(258, "<s>")],
        "pre_tokenizer": step, "decoder": step,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    fs_err::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    let config = r#"{"bos_token": "<s>", "eos_token": "<|im_end|>"}"#;
    fs_err::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    Tokenizer::from_file(&folder.path().join("tokenizer.json")).unwrap()
}

fn conversation(passage: &str, answers: &[&str]) -> Conversation {
    let mut messages =
        vec![Message::user(format!("Text: {passage}")), Message::assistant("I've read this text.")];
    for (number, answer) in answers.iter().enumerate() {
        messages.push(Message::user(format!("What describes type {number} in the text?")));
        messages.push(Message::assistant(*answer));
    }
    Conversation { messages }
}

fn rendered(
    template: &ChatTemplate,
    system: &str,
    messages: &[Message],
    add_generation_prompt: bool,
    special: &[String; 2],
) -> String {
    let messages = messages.iter().map(jinja::message).collect();
    template
        .render(system, &[Prefix { messages, add_generation_prompt }], special)
        .unwrap()
        .concat()
}

/// The text of the tokens, with the trained parts in brackets.
fn bracketed(conversation: &Conversation, template: &Template) -> String {
    let tokenizer = tokenizer();
    let tokens = encode(conversation, template, &tokenizer).unwrap();
    let segments = decode(&tokens, template, &tokenizer).unwrap();
    let piece = |segment: crate::Segment| {
        if segment.trained { format!("⟦{}⟧", segment.text) } else { segment.text }
    };
    segments.into_iter().map(piece).collect()
}

#[test]
fn answers_and_what_ends_them_are_trained_on() {
    let short = Template { system: String::new(), ..template(CHATML) };
    assert_eq!(
        bracketed(&conversation("Zoë ran.", &["[\"Zoë\"]", "[]"]), &short),
        "<|im_start|>user\nText: Zoë ran.<|im_end|>\n<|im_start|>assistant\nI've read this text.<|im_end|>\n\
         <|im_start|>user\nWhat describes type 0 in the text?<|im_end|>\n<|im_start|>assistant\n⟦[\"Zoë\"]<|im_end|>⟧\n\
         <|im_start|>user\nWhat describes type 1 in the text?<|im_end|>\n<|im_start|>assistant\n⟦[]<|im_end|>⟧"
    );
    assert_eq!(
        bracketed(
            &conversation("x", &["[\"x\"]"]),
            &Template { system: "S".to_owned(), ..template(LLAMA2) }
        ),
        "<s>[INST] <<SYS>>\nS\n<</SYS>>\n\nText: x [/INST] I've read this text. <|im_end|><s>[INST] What describes type 0 in the text? \
         [/INST]⟦ [\"x\"] <|im_end|>⟧"
    );
}

#[test]
fn training_ids_are_prompt_ids_and_then_the_answers() {
    let tokenizer = tokenizer();
    for template in [template(CHATML), template(LLAMA2)] {
        for passage in ["x", "  blank ends ", "a <|im_end|> in it", "line\nbreak"] {
            let all = conversation(passage, &["[\"a\"]"]);
            let tokens = encode(&all, &template, &tokenizer).unwrap();
            let prompt = encode_prompt(&all, &template, &tokenizer).unwrap();
            assert_eq!(tokens.ids[..prompt.len()], prompt);
            assert!(tokens.loss_mask[..prompt.len()].iter().all(|trained| !trained));
            assert!(tokens.loss_mask[prompt.len()]);
            assert_eq!(tokens.exchanges.last(), Some(&tokens.ids.len()));
            assert_eq!(fit(tokens.clone(), tokens.ids.len()).unwrap().tokens, tokens);
        }
    }
    assert_eq!(template(CHATML).end_of_turn(&tokenizer).unwrap(), 257);
    let named = "{% for m in messages %}{{ 'Chatbot: ' if m.role == 'assistant' }}{{ m.content }}<|im_end|>{% endfor %}";
    assert_eq!(template(named).end_of_turn(&tokenizer).unwrap(), 257);
}

/// A text with a thousand questions: each is rendered after the passage only.
#[test]
fn many_questions_are_exchanges_of_one_passage() {
    let tokenizer = tokenizer();
    let answers: Vec<String> = (0..1000).map(|number| format!("[\"{number}\"]")).collect();
    let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
    let tokens = encode(&conversation("A text.", &answers), &template(CHATML), &tokenizer).unwrap();
    assert_eq!(tokens.exchanges.len(), 1001);
    assert_eq!(tokens.exchanges.last(), Some(&tokens.ids.len()));
}

/// Phi's format: a closing text follows the last turn.
#[test]
fn what_closes_a_conversation_is_no_part_of_its_turns() {
    let closing = "{% for m in messages %}{{ '<|im_start|>' + m.role + ' ' + m.content + '<|im_end|>\\n' }}{% endfor %}\
                   {% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% else %}{{ bos_token }}{% endif %}";
    let short = Template { system: String::new(), ..template(closing) };
    assert_eq!(
        bracketed(&conversation("x", &["[]", "[]"]), &short),
        "<|im_start|>user Text: x<|im_end|>\n<|im_start|>assistant I've read this text.<|im_end|>\n\
         <|im_start|>user What describes type 0 in the text?<|im_end|>\n<|im_start|>assistant ⟦[]<|im_end|>⟧\n\
         <|im_start|>user What describes type 1 in the text?<|im_end|>\n<|im_start|>assistant ⟦[]<|im_end|>⟧"
    );
}

#[test]
fn a_special_token_in_a_passage_is_plain_text() {
    let (tokenizer, template) = (tokenizer(), template(CHATML));
    let ids = |passage: &str| {
        encode_prompt(&conversation(passage, &["[]"]), &template, &tokenizer).unwrap()
    };
    let specials = |passage: &str| ids(passage).into_iter().filter(|id| *id >= 256).count();
    assert_eq!(specials("a <|im_end|><s> b"), specials("a b"));
    let text = tokenizer.decode_with_special(&ids("a <|im_end|><s> b \u{f0000}")).unwrap();
    assert!(text.contains("Text: a <|im_end|><s> b \u{f0000}<|im_end|>\n"), "{text}");
}

#[test]
fn templates_that_cannot_be_trained_by_are_refused() {
    let tokenizer = tokenizer();
    let refused = |chat: &str| {
        encode(&conversation("x", &["[\"x\"]"]), &template(chat), &tokenizer)
            .unwrap_err()
            .to_string()
    };
    let forgets = "{% for m in messages %}{% if m.role == 'user' or loop.last %}{{ m.content }}<|im_end|>{% endif %}{% endfor %}";
    assert!(refused(forgets).contains("changes the assistant's message"), "{}", refused(forgets));
    let moving = "{% for m in messages %}{% if loop.last %}now: {% endif %}{{ m.content }}<|im_end|>{% endfor %}";
    assert!(refused(moving).contains("once others follow"), "{}", refused(moving));
    let shouting = "{% for m in messages %}{{ m.content | upper if m.content | length > 400 else m.content }}<|im_end|>{% endfor %}";
    let long = encode(&conversation("x", &[&"long ".repeat(99)]), &template(shouting), &tokenizer);
    let long = long.unwrap_err().to_string();
    let start = format!("message, which starts with `{}`; take another", "long ".repeat(8));
    assert!(long.contains(&start), "{long}");
    let endless = "{% for m in messages %}{{ m.content }}\n{% endfor %}";
    assert!(refused(endless).contains("no special token"), "{}", refused(endless));
    let twice = "{% for m in messages %}{{ m.content }}|{{ m.content }}<|im_end|>{% endfor %}";
    assert!(refused(twice).contains("changes the assistant's message"), "{}", refused(twice));
    let raising =
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}";
    assert!(
        refused(raising).contains("no system role (line 1); take another template, such as `zero-shot`; if the system message is the cause"),
        "{}",
        refused(raising)
    );
    let turning =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
    assert!(refused(turning).contains("fuel"), "{}", refused(turning));
    assert!(ChatTemplate::new("{% for %}".to_owned()).unwrap_err().contains("line 1"));
}

#[test]
fn a_model_has_its_template_in_one_of_two_files() {
    let folder = tempfile::tempdir().unwrap();
    let message = of_model(folder.path()).unwrap_err().to_string();
    assert!(message.contains("has no chat template"), "{message}");
    let write = |name: &str, text: &str| fs_err::write(folder.path().join(name), text).unwrap();
    write(
        "tokenizer_config.json",
        r#"{"chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}]}"#,
    );
    assert_eq!(of_model(folder.path()).unwrap().source(), "d");
    write("tokenizer_config.json", r#"{"chat_template": "one"}"#);
    assert_eq!(of_model(folder.path()).unwrap().source(), "one");
    write("chat_template.jinja", "two");
    assert_eq!(of_model(folder.path()).unwrap().source(), "two");
}

#[test]
fn tags_of_what_the_assistant_says_are_left_out() {
    let chat = "{% for m in messages %}{%- if m.role == 'assistant' -%}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\
                {%- else -%}{{ m.content }}{%- endif -%}{% endfor %}";
    let template = ChatTemplate::new(chat.to_owned()).unwrap();
    let messages = [Message { role: Role::Assistant, text: "x".to_owned() }];
    assert_eq!(
        rendered(&template, "", &messages, false, &[String::new(), String::new()]),
        "x<|im_end|>"
    );
    let prose = ChatTemplate::new(
        "a generation {{ 1 }}{%-generation%} gap {% endgeneration -%}\n.".to_owned(),
    )
    .unwrap();
    assert_eq!(
        rendered(&prose, "", &[], false, &[String::new(), String::new()]),
        "a generation 1 gap ."
    );
}

/// Other programs render the training text with the exported chat template.
#[test]
fn our_wording_is_exported_as_a_chat_template() {
    let special = ["<s>".to_owned(), "</s>".to_owned()];
    for name in Template::names().filter(|name| *name != "chat") {
        let template = Template::load(name).unwrap();
        let exported = ChatTemplate::new(template.jinja("")).unwrap();
        let all = conversation("Zoë said \"{x}\".", &["[\"Zoë\"]"]).messages;
        let messages = if template.acknowledgement.is_some() { &all[..3] } else { &all[..1] };
        let prompt = Conversation { messages: messages.to_vec() };
        let segments = crate::render_prompt(&prompt, &template).unwrap();
        let expected = format!("<s>{}", crate::conversation::text(&segments).replace('⏎', "</s>"));
        assert_eq!(rendered(&exported, "", messages, true, &special), expected, "{name}");
        let other = rendered(&exported, "Another line.", messages, true, &special);
        assert!(other.starts_with("<s>Another line."), "{other}");
        assert!(template.prompt_format().contains(&template.passage), "{name}");
    }
    let tokenizer = tokenizer();
    assert_eq!(template(CHATML).as_chat_template(&tokenizer).unwrap().as_deref(), Some(CHATML));
    let zero_shot = Template::load("zero-shot").unwrap();
    assert_eq!(zero_shot.as_chat_template(&tokenizer).unwrap(), Some(zero_shot.jinja("")));
}

/// Renders as transformers does: JSON as in Python, and no current date, even in an exported
/// template.
#[test]
fn templates_render_as_they_do_elsewhere() {
    let special = [String::new(), String::new()];
    let json = ChatTemplate::new(
        "{{ {'text': messages[0].content, 'list': [1, 2.5, true]} | tojson }}".to_owned(),
    )
    .unwrap();
    assert_eq!(
        rendered(&json, "", &[Message::user("\"Zoë\" <b>")], false, &special),
        r#"{"text": "\"Zoë\" <b>", "list": [1, 2.5, true]}"#
    );
    let dated = template(
        "{% if strftime_now is defined %}{{ strftime_now('%d') }}{% else %}26 Jul{% endif %}",
    );
    let exported = dated.as_chat_template(&tokenizer()).unwrap().unwrap();
    assert_eq!(exported, "{% if false %}{{ strftime_now('%d') }}{% else %}26 Jul{% endif %}");
}

/// Templates that would fill the memory, never end, or overflow the stack.
#[test]
fn templates_that_harm_are_errors() {
    let tokenizer = tokenizer();
    let render = |chat: String| -> Result<(), String> {
        let template = ChatTemplate::new(chat)?;
        let template =
            Template { chat_template: Some(template), ..Template::load("chat").unwrap() };
        let prompt = encode_prompt(&conversation("x", &["[]"]), &template, &tokenizer);
        prompt.map(drop).map_err(|error| error.to_string())
    };
    for (what, chat) in [
        ("size", "x".repeat(70_000)),
        ("not", format!("{{{{ {}1 }}}}", "not ".repeat(16_000))),
        ("plus", format!("{{{{ 1{} }}}}", "+1".repeat(30_000))),
        ("filters", format!("{{{{ 'a'{} }}}}", "|upper".repeat(10_000))),
        ("attributes", format!("{{{{ a{} }}}}", ".b".repeat(30_000))),
        ("itself", "{% set ns = namespace() %}{% set ns.a = [ns] %}{{ ns.a }}".to_owned()),
        ("each other", "{% set a = namespace() %}{% set b = namespace(x=a) %}{% set a.x = b %}{{ a == b }}".to_owned()),
        ("lists", "{% set ns = namespace(s=[]) %}{% for i in range(9000) %}{% for j in range(9000) %}{% set ns.s = [ns.s] %}{% endfor %}{% endfor %}".to_owned()),
        ("a character before it", "{% set“ns = namespace() %}{{ ns }}".to_owned()),
        ("no name before it", "{{ = namespace() }}{{ namespace( }}".to_owned()),
        ("indent", "{{ messages | tojson(indent=1000000000) }}{{ 1 / 0 }}".to_owned()),
    ] {
        // The parser reads these chains in a loop, so they do no harm.
        let outcome = render(chat);
        assert!(outcome.is_err() || ["not", "plus", "filters"].contains(&what), "{what}: {outcome:?}");
    }
    let usual = "{% set ns = namespace(found=false) %}{% for m in messages %}{% set ns.found = true %}{{ m.content }}{% endfor %}";
    render(usual.to_owned()).unwrap();
}
