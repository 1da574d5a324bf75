//! Grounded decoding with the vocabularies of published tokenizers: an answer that is a list of
//! substrings of its passage is never refused, and a random one is such a list.

use crate::shared::shared;
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use uner_prompt::{
    Grounding, GroundingError, Pieces, Template, Tokenizer, answer, mission, template::AskForm,
    tokenizer_in,
};

const TYPES: [&str; 3] = ["person", "geo-political entity", "Straße"];

struct Vocabulary {
    tokenizer: Tokenizer,
    pieces: Arc<Pieces>,
    /// Whether it has a piece for every byte.
    is_complete: bool,
}

impl Vocabulary {
    fn read(path: &Path, is_complete: bool) -> Self {
        let tokenizer = Tokenizer::from_file(path).expect("a tokenizer");
        Self { pieces: Arc::new(Pieces::new(&tokenizer)), tokenizer, is_complete }
    }

    /// The grounding of a passage; `None` if the vocabulary lacks pieces for it.
    fn grounding(&self, passage: &str, template: &Template) -> Option<Grounding> {
        let grounding = Grounding::new(passage, &TYPES, template, Arc::clone(&self.pieces));
        assert!(grounding.is_ok() || !self.is_complete, "a complete vocabulary is writable");
        grounding.ok()
    }
}

/// The tokenizers that are there: LLaMA's SentencePiece model, a byte-level one, a small one
/// without a piece for every byte, and those of the models in `UNER_MODELS`.
static VOCABULARIES: LazyLock<Vec<Vocabulary>> = LazyLock::new(|| {
    let published = [
        ("data/llama-tokenizer/tokenizer.model", true),
        ("field/m10-byte-level-tokenizer/tokenizer.json", true),
        ("data/tinystories-656k/tokenizer.json", false),
    ];
    let published = published
        .into_iter()
        .filter_map(|(path, is_complete)| Some(Vocabulary::read(&shared(path)?, is_complete)));
    let own = std::env::var_os("UNER_MODELS").into_iter().flat_map(|folder| {
        fs_err::read_dir(PathBuf::from(folder)).unwrap().map(|entry| entry.unwrap().path())
    });
    let is_model = |folder: &PathBuf| {
        let config = fs_err::read_to_string(folder.join("config.json")).unwrap_or_default();
        config.contains("ForCausalLM")
    };
    let own = own.filter(is_model).map(|folder| Vocabulary::read(&tokenizer_in(&folder), false));
    published.chain(own).collect()
});

fn cases() -> impl Iterator<Item = (Template, &'static Vocabulary)> {
    let names = ["zero-shot", "official", "all-in-one", "instructuie"];
    names.into_iter().flat_map(|name| {
        let template = Template::load(name).expect("built in");
        VOCABULARIES.iter().map(move |vocabulary| (template.clone(), vocabulary))
    })
}

/// Words of several scripts, with the characters that answers escape.
fn passages() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "Tim Cook",
        "the",
        "Zoë",
        "Zoe\u{308}",
        "東京",
        "שלום",
        "العربية",
        "👩\u{200d}👧",
        "🇩🇪",
        "\"so\"",
        "C:\\new",
        "\r\n",
        "\t",
        "\0",
        "; person: ",
        "AT&T;",
        "1,234.5",
        "  ",
        "O'Neil",
        "naïve",
    ]);
    let word =
        prop_oneof![5 => words.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    let joined = (prop::collection::vec(word, 1..30), prop::sample::select(vec![" ", "", ", "]));
    // A literal space mark is a space in SentencePiece's vocabularies.
    joined.prop_map(|(words, between)| words.join(between).replace('▁', "_"))
}

fn write(entities: &[(&str, &str)], template: &Template) -> String {
    let pairs = entities.iter().copied();
    match template.form {
        AskForm::PerType => {
            let mentions: Vec<&str> = pairs.map(|(mention, _)| mention).collect();
            answer::answer(&mentions, template.answer_characters)
        }
        AskForm::AllInOne => answer::typed_answer(pairs, template.answer_characters),
        AskForm::InstructUie => answer::instructuie_answer(pairs),
    }
}

proptest! {
    #[test]
    fn lists_of_substrings_are_never_refused(
        passage in passages(),
        numbers in prop::collection::vec(any::<(u16, u16, u8)>(), 0..5),
    ) {
        let bounds: Vec<usize> =
            passage.char_indices().map(|(index, _)| index).chain([passage.len()]).collect();
        let entity = |(start, length, entity_type): &(u16, u16, u8)| {
            let start = *start as usize % (bounds.len() - 1);
            let end = start + 1 + *length as usize % (bounds.len() - 1 - start).min(30);
            (&passage[bounds[start]..bounds[end]], TYPES[*entity_type as usize % TYPES.len()])
        };
        let entities: Vec<(&str, &str)> = numbers.iter().map(entity).collect();
        for (template, vocabulary) in cases() {
            let tokenizer = &vocabulary.tokenizer;
            let text = write(&entities, &template);
            let parsed = answer::parse_instructuie_answer(&text, &TYPES);
            let read = parsed.entities.iter().map(|(mention, of_type)| (&**mention, &**of_type));
            if template.form == AskForm::InstructUie && !read.eq(entities.iter().copied()) {
                continue;
            }
            let Some(grounding) = vocabulary.grounding(&passage, &template) else { continue };
            let blank = format!(" {text}");
            for tokens in [
                tokenizer.encode_segment(&text),
                tokenizer.encode_continuation(&text),
                tokenizer.encode_continuation(&blank),
            ] {
                let tokens = tokens.expect("any text encodes");
                // A small vocabulary has no pieces for some texts.
                let read_back = tokenizer.decode(&tokens).expect("known ids");
                if !vocabulary.is_complete && read_back.trim_start() != text.trim_start() {
                    continue;
                }
                let mut state = grounding.start();
                for token in &tokens {
                    prop_assert!(grounding.allowed(&state).contains(token), "{} of {}", token, text);
                    state = grounding.advance(&state, *token).expect("an allowed token");
                }
                prop_assert!(grounding.is_complete(&state), "{}", text);
                let found: Vec<String> =
                    grounding.items(&tokens, true).into_iter().map(|found| found.mentions.concat()).collect();
                prop_assert!(found.iter().eq(entities.iter().map(|(mention, _)| mention)));
            }
        }
    }

    #[test]
    fn random_answers_name_substrings(
        passage in passages(),
        choices in prop::collection::vec(any::<u32>(), 100),
    ) {
        for (template, vocabulary) in cases() {
            let Some(grounding) = vocabulary.grounding(&passage, &template) else { continue };
            let (mut state, mut tokens) = (grounding.start(), Vec::new());
            for choice in &choices {
                let allowed = grounding.allowed(&state);
                if allowed.is_empty() || grounding.is_complete(&state) && choice % 8 == 0 {
                    break;
                }
                let token = allowed[*choice as usize % allowed.len()];
                state = grounding.advance(&state, token).expect("an allowed token");
                tokens.push(token);
            }
            let is_ended = grounding.is_complete(&state);
            let found = grounding.items(&tokens, is_ended);
            for mention in &found {
                prop_assert!(!mention.mentions[0].is_empty() && passage.contains(&mention.mentions[0]));
            }
            if is_ended {
                let text = vocabulary.tokenizer.decode(&tokens).expect("known ids");
                let (read, well_formed) = mission::read(&text, &TYPES, &template);
                prop_assert!(well_formed, "{}", text);
                prop_assert_eq!(read.iter().map(Vec::len).sum::<usize>(), found.len());
            }
        }
    }

    #[test]
    fn the_bytes_of_tokens_are_the_decoded_text(text in passages()) {
        for Vocabulary { tokenizer, pieces, is_complete } in &*VOCABULARIES {
            if !is_complete {
                continue;
            }
            let ids = tokenizer.encode_continuation(&format!("a{text}")).expect("any text encodes");
            let bytes: Vec<u8> = ids.iter().flat_map(|id| pieces.bytes(*id)).copied().collect();
            prop_assert_eq!(bytes, tokenizer.decode(&ids).expect("known ids").into_bytes());
        }
    }
}

#[test]
fn a_vocabulary_without_brackets_is_refused() {
    let Some(path) = shared("data/tinystories-656k/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_file(&path).expect("a tokenizer");
    let pieces = Arc::new(Pieces::new(&tokenizer));
    let grounding = |template: &str| {
        let template = Template::load(template).expect("built in");
        Grounding::new("Tim met Lily.", &["person"], &template, Arc::clone(&pieces))
    };
    assert!(matches!(
        grounding("zero-shot"),
        Err(GroundingError::Unwritable { missing, .. }) if missing == "[]"
    ));
    assert!(grounding("instructuie").is_ok());
}
