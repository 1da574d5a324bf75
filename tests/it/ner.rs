//! Entities as conversations, in the forms of the official data, of the paper's variants and of
//! InstructUIE.

use crate::shared::shared;
use serde::Deserialize;
use serde_json::Value;
use uner_data::{Entity, Example, Span};
use uner_prompt::{
    Characters, Conversation, Template, answer, mission, parse_answer, parse_instructuie_answer,
    parse_typed_answer,
};

fn example() -> Example {
    let entity = |text: &str, entity_type: &str, start: usize| Entity {
        text: text.to_owned(),
        entity_type: entity_type.to_owned(),
        span: Some(Span { start, end: start + text.chars().count() }),
    };
    Example {
        id: "1".to_owned(),
        text: "Ann met Zoë and Ann in Oslo".to_owned(),
        entities: vec![
            entity("Oslo", "city", 23),
            entity("Ann", "person", 16),
            entity("Zoë", "person", 8),
            entity("Ann", "person", 0),
        ],
        relations: Vec::new(),
        queries: vec!["person".to_owned(), "date".to_owned(), "city".to_owned()],
    }
}

fn texts(template: &str, dataset: Option<&str>) -> Vec<String> {
    let template = Template::load(template).expect("built in");
    mission::conversation(&example(), &template, dataset)
        .messages
        .into_iter()
        .map(|message| message.text)
        .collect()
}

#[test]
fn one_query_per_type_in_text_order() {
    let expected = [
        "Text: Ann met Zoë and Ann in Oslo",
        "I've read this text.",
        "What describes person in the text?",
        r#"["Ann", "Zoë", "Ann"]"#,
        "What describes date in the text?",
        "[]",
        "What describes city in the text?",
        r#"["Oslo"]"#,
    ];
    let mut official = expected;
    official[3] = r#"["Ann", "Zo\u00eb", "Ann"]"#;
    assert_eq!(texts("official", None), official);
    for template in ["zero-shot", "definition", "supervised"] {
        assert_eq!(texts(template, None), expected, "{template}");
    }
    assert_eq!(texts("zero-shot", Some("conll")), expected, "only `supervised` names the dataset");
    let named = texts("supervised", Some("conll"));
    assert_eq!(named[0], "Dataset: conll\nText: Ann met Zoë and Ann in Oslo");
    assert_eq!(named[1..], expected[1..]);
}

#[test]
fn all_in_one() {
    let expected = [
        "Text: Ann met Zoë and Ann in Oslo",
        "I've read this text.",
        "What describes each of these in the text: person, date, city?",
        r#"[["Ann", "person"], ["Zoë", "person"], ["Ann", "person"], ["Oslo", "city"]]"#,
    ];
    assert_eq!(texts("all-in-one", None), expected);
}

/// Inference uses the prompts of training.
#[test]
fn prompts_are_the_start_of_conversations() {
    let example = Example { queries: vec!["person".to_owned()], ..example() };
    for template in Template::names().map(|name| Template::load(name).expect("built in")) {
        let trained = mission::conversation(&example, &template, Some("conll")).messages;
        let asked = mission::prompt(&example.text, "person", &template, Some("conll")).messages;
        assert_eq!(asked, trained[..trained.len() - 1], "{}", template.name);
    }
}

/// Every template reads back the answers that it writes, type by type, so training and scoring use
/// the same entities.
#[test]
fn every_template_reads_what_it_writes() {
    let entity = |text: &str, entity_type: &str, start: usize| Entity {
        text: text.to_owned(),
        entity_type: entity_type.to_owned(),
        span: Some(Span { start, end: start + text.chars().count() }),
    };
    let hard = Example {
        id: "2".to_owned(),
        text: r#"Ann; Zoë: "x, [y]" None person person: z"#.to_owned(),
        entities: vec![
            entity("Ann", "person", 0),
            entity("Zoë: \"x, [y]\"", "person", 5),
            entity("None", "person name", 20),
            entity("person: z", "person", 32),
        ],
        relations: Vec::new(),
        queries: ["person name", "person", "date"].map(str::to_owned).to_vec(),
    };
    let without = Example { entities: Vec::new(), ..hard.clone() };
    let templates = Template::names().map(|name| Template::load(name).expect("built in"));
    for template in templates.filter(|template| mission::of(template).arity() == 1) {
        for example in [example(), hard.clone(), without.clone()] {
            let conversation = mission::conversation(&example, &template, None);
            let answers = conversation
                .messages
                .iter()
                .skip(usize::from(template.acknowledgement.is_some()) * 2);
            let answers: Vec<&str> =
                answers.skip(1).step_by(2).map(|message| &*message.text).collect();
            let groups: Vec<_> = mission::groups(&template, example.queries.len()).collect();
            assert_eq!(answers.len(), groups.len(), "{}", template.name);
            for (group, written) in groups.into_iter().zip(answers) {
                let types: Vec<&str> = example.queries[group].iter().map(String::as_str).collect();
                let (mentions, well_formed) = mission::read(written, &types, &template);
                assert!(well_formed, "{}: {written}", template.name);
                for (entity_type, got) in types.iter().zip(mentions) {
                    let mut gold: Vec<&Entity> = example
                        .entities
                        .iter()
                        .filter(|entity| entity.entity_type == **entity_type)
                        .collect();
                    gold.sort_by_key(|entity| entity.span);
                    let gold: Vec<&str> = gold.into_iter().map(|entity| &*entity.text).collect();
                    assert_eq!(got.concat(), gold, "{}: {entity_type} in {written}", template.name);
                }
            }
        }
    }
}

/// Reads answers with additional words of the model, and truncated answers.
#[test]
fn answers_with_all_types_are_read_with_patience() {
    let pairs = |text: &str| parse_typed_answer(text).entities;
    let pair = |mention: &str, entity_type: &str| (mention.to_owned(), entity_type.to_owned());
    assert_eq!(
        pairs(r#"Here: [["Ann", "person"], ["Oslo", "city"]]."#),
        [pair("Ann", "person"), pair("Oslo", "city")]
    );
    assert_eq!(pairs("[['Ann', 'person'], ['Os"), [pair("Ann", "person")]);
    assert_eq!(
        pairs(r#"[["Ann", "person", "x"], ["Oslo", "city"], "lost"]"#),
        [pair("Oslo", "city")]
    );
    assert_eq!(pairs("none"), []);
    let read = |text: &str| parse_instructuie_answer(text, &["person", "city"]);
    assert_eq!(
        read(" person: Ann; Bo; city: Oslo").entities,
        [pair("Ann; Bo", "person"), pair("Oslo", "city")]
    );
    assert!(read("None").well_formed && !read("").well_formed);
    let other = read("animal: cat; city: Oslo");
    assert_eq!((other.entities, other.well_formed), (vec![pair("Oslo", "city")], false));
}

#[test]
fn official_answers_survive_reading_and_writing() {
    let mut num_answers = 0;
    for name in [
        "CrossNER_AI",
        "CrossNER_literature",
        "CrossNER_music",
        "CrossNER_politics",
        "CrossNER_science",
        "mit-restaurant",
    ] {
        let Some(path) = shared(&format!("data/universal-ner/test_data/{name}.json")) else {
            return;
        };
        let text = fs_err::read_to_string(path).expect("a text file");
        let conversations: Vec<Conversation> =
            serde_json::from_str(&text).expect("the official format");
        for conversation in &conversations {
            let gold = &conversation.messages[3].text;
            let parsed = parse_answer(gold);
            assert!(parsed.well_formed, "{gold}");
            assert_eq!(answer(&parsed.entities, Characters::Ascii), *gold);
            num_answers += 1;
        }
    }
    assert_eq!(num_answers, 41_807);
}

#[derive(Deserialize)]
struct InstructUie {
    index: usize,
    label: String,
    template: String,
    prompt: String,
    prompt_task: String,
    prompt_dataset: String,
    prompt_task_dataset: String,
}

#[derive(Deserialize)]
struct Sentence {
    sentence: String,
    entities: Vec<Value>,
}

/// The built-in template is instruction 0; the other instructions and the task line are other
/// patterns.
#[test]
fn instructuie_prompts_equal_the_original() {
    let Some(folder) = shared("golden/instructuie") else { return };
    let read = |name: &str| fs_err::read_to_string(folder.join(name)).expect("a text file");
    let sentences: Vec<Sentence> = serde_json::from_str(&read("examples.json")).expect("examples");
    let types: Vec<String> = serde_json::from_str(&read("labels.json")).expect("labels");
    let built_in = Template::load("instructuie").expect("built in");
    let lines: Vec<InstructUie> = read("prompts.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a prompt"))
        .collect();
    assert_eq!(lines.len(), 58);
    let mut by_built_in = 0;
    for line in lines {
        let example = instructuie_example(&sentences[line.index], &types);
        let pattern = line
            .template
            .replacen(&mission::list_types(&types), "{types}", 1)
            .replace("{0}", "{passage}");
        by_built_in += usize::from(pattern == built_in.passage);
        let named = |prefix: &str| format!("{prefix}Dataset:{{dataset}}\n{pattern}");
        for (prefix, plain, dataset) in [
            ("", &line.prompt, &line.prompt_dataset),
            ("Task:NER\n", &line.prompt_task, &line.prompt_task_dataset),
        ] {
            let template = Template {
                passage: format!("{prefix}{pattern}"),
                dataset_passage: Some(named(prefix)),
                ..built_in.clone()
            };
            for (name, expected) in [(None, plain), (Some("made-up set"), dataset)] {
                let messages = mission::conversation(&example, &template, name).messages;
                assert_eq!(messages[0].text, *expected);
                assert_eq!(format!(" {}", messages[1].text), line.label);
            }
        }
    }
    assert!(by_built_in >= 29, "{by_built_in} prompts are those of the built-in template");
}

fn instructuie_example(sentence: &Sentence, types: &[String]) -> Example {
    let entities = sentence.entities.iter().map(|entity| Entity {
        text: entity["name"].as_str().expect("a name").to_owned(),
        entity_type: entity["type"].as_str().expect("a type").to_owned(),
        span: None,
    });
    Example {
        id: String::new(),
        text: sentence.sentence.clone(),
        entities: entities.collect(),
        relations: Vec::new(),
        queries: types.to_vec(),
    }
}
