//! Grounded decoding with the vocabularies of published tokenizers: an answer that is a list of
//! substrings of its passage is never refused, and a random one is such a list.

use crate::shared::shared;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use uner_prompt::{
    Grounding, GroundingError, Pieces, Template, Tokenizer, answer, ner, template::AskForm,
};

const TYPES: [&str; 3] = ["person", "geo-political entity", "Straße"];

/// LLaMA's SentencePiece model and a byte-level `tokenizer.json`, as far as they are there.
static VOCABULARIES: LazyLock<Vec<(Tokenizer, Arc<Pieces>)>> = LazyLock::new(|| {
    ["data/llama-tokenizer/tokenizer.model", "field/m10-byte-level-tokenizer/tokenizer.json"]
        .into_iter()
        .filter_map(|path| {
            let tokenizer = Tokenizer::from_file(&shared(path)?).expect("a tokenizer");
            let pieces = Arc::new(Pieces::new(&tokenizer));
            Some((tokenizer, pieces))
        })
        .collect()
});

fn cases() -> impl Iterator<Item = (Template, &'static (Tokenizer, Arc<Pieces>))> {
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
        for (template, (tokenizer, pieces)) in cases() {
            let text = write(&entities, &template);
            let parsed = answer::parse_instructuie_answer(&text, &TYPES);
            let read = parsed.entities.iter().map(|(mention, of_type)| (&**mention, &**of_type));
            if template.form == AskForm::InstructUie && !read.eq(entities.iter().copied()) {
                continue;
            }
            let grounding =
                Grounding::new(&passage, &TYPES, &template, Arc::clone(pieces)).expect("writable");
            let blank = format!(" {text}");
            for tokens in [
                tokenizer.encode_segment(&text),
                tokenizer.encode_continuation(&text),
                tokenizer.encode_continuation(&blank),
            ] {
                let tokens = tokens.expect("any text encodes");
                let mut state = grounding.start();
                for token in &tokens {
                    prop_assert!(grounding.allowed(&state).contains(token), "{} of {}", token, text);
                    state = grounding.advance(&state, *token).expect("an allowed token");
                }
                prop_assert!(grounding.is_complete(&state), "{}", text);
                let found: Vec<String> =
                    grounding.mentions(&tokens, true).into_iter().map(|found| found.text).collect();
                prop_assert!(found.iter().eq(entities.iter().map(|(mention, _)| mention)));
            }
        }
    }

    #[test]
    fn random_answers_name_substrings(
        passage in passages(),
        choices in prop::collection::vec(any::<u32>(), 100),
    ) {
        for (template, (tokenizer, pieces)) in cases() {
            let grounding =
                Grounding::new(&passage, &TYPES, &template, Arc::clone(pieces)).expect("writable");
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
            let found = grounding.mentions(&tokens, is_ended);
            for mention in &found {
                prop_assert!(!mention.text.is_empty() && passage.contains(&mention.text));
            }
            if is_ended {
                let text = tokenizer.decode(&tokens).expect("known ids");
                let (read, well_formed) = ner::read(&text, &TYPES, &template);
                prop_assert!(well_formed, "{}", text);
                prop_assert_eq!(read.iter().map(Vec::len).sum::<usize>(), found.len());
            }
        }
    }

    #[test]
    fn the_bytes_of_tokens_are_the_decoded_text(text in passages()) {
        for (tokenizer, pieces) in &*VOCABULARIES {
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
