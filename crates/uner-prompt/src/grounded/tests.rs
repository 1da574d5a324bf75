//! Random walks over the allowed tokens, and answers token by token, over arbitrary passages.

mod vocabularies;

use super::{Grounding, GroundingError, Pieces, State};
use crate::answer::{Characters, answer, instructuie_answer, typed_answer};
use crate::mission::{self, Item};
use crate::template::{AskForm, Template};
use crate::tokenizer::Tokenizer;
use proptest::prelude::*;
use std::sync::{Arc, LazyLock};
use vocabularies::{byte_level, scarce, trained};

const TYPES: [&str; 4] = ["person", "Ort: \"é\"", "pers", "x\\y;"];

/// More steps than any walk needs that takes the way out where it can.
const MOST_STEPS: usize = 5_000;

/// A tokenizer with its pieces, and whether its tokens can write everything.
struct Vocabulary {
    tokenizer: Tokenizer,
    pieces: Arc<Pieces>,
    writes_all: bool,
}

static VOCABULARIES: LazyLock<Vec<Vocabulary>> = LazyLock::new(|| {
    [(trained(), true), (byte_level(), true), (scarce("[]\", abé;:Noneprs"), false)]
        .into_iter()
        .map(|(tokenizer, writes_all)| {
            let pieces = Arc::new(Pieces::new(&tokenizer));
            Vocabulary { tokenizer, pieces, writes_all }
        })
        .collect()
});

fn templates() -> Vec<Template> {
    let mut templates: Vec<Template> =
        ["zero-shot", "official", "all-in-one", "instructuie", "relations"]
            .map(|name| Template::load(name).expect("built in"))
            .to_vec();
    let ascii = Template { answer_characters: Characters::Ascii, ..templates[2].clone() };
    templates.push(ascii);
    templates
}

/// Texts with everything that is special to JSON, Unicode, and the forms.
fn passages() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "é",
        "e\u{301}",
        " ",
        "  ",
        "\"",
        "\\",
        "\\\"",
        "\n",
        "\r\n",
        "\t",
        "\0",
        "\u{8}",
        "\u{c}",
        "\u{7f}",
        "\u{a0}",
        "\u{2028}",
        "🎉",
        "👩\u{200d}👧",
        "שלום",
        "العربية",
        "東京",
        ";",
        ":",
        "; ",
        "; person: ",
        "; pers: ",
        "person: ",
        "None",
        "[]",
        "\", \"",
        "u00e9",
        "Tim Cook",
    ]);
    let part =
        prop_oneof![4 => parts.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    // A literal space mark becomes a space in SentencePiece's vocabularies.
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat().replace('▁', "_"))
}

/// Mentions by the numbers of a random list, each with a type.
fn mentions<'a>(passage: &'a str, numbers: &[(u16, u16, u8)]) -> Vec<(&'a str, &'static str)> {
    let bounds: Vec<usize> =
        passage.char_indices().map(|(index, _)| index).chain([passage.len()]).collect();
    let num_characters = bounds.len() - 1;
    let mention = |(start, length, entity_type): &(u16, u16, u8)| {
        let start = *start as usize % num_characters;
        let end = start + 1 + *length as usize % (num_characters - start).min(12);
        (&passage[bounds[start]..bounds[end]], TYPES[*entity_type as usize % TYPES.len()])
    };
    if num_characters == 0 { Vec::new() } else { numbers.iter().map(mention).collect() }
}

/// The items of an answer: the mentions or, for relations, each with the next.
fn items(entities: &[(&str, &str)], template: &Template) -> Vec<Item> {
    let next = entities.iter().cycle().skip(1);
    let item = |((mention, _), (next, _)): (&(&str, &str), &(&str, &str))| {
        let mentions = [*mention, *next].map(str::to_owned);
        mentions[..mission::of(template).arity()].to_vec()
    };
    entities.iter().zip(next).map(item).collect()
}

fn write(entities: &[(&str, &str)], template: &Template) -> String {
    let pairs = entities.iter().copied();
    match template.form {
        _ if mission::of(template).arity() == 2 => {
            let items = items(entities, template);
            let pairs = items.iter().map(|pair| (&*pair[0], &*pair[1]));
            typed_answer(pairs, template.answer_characters)
        }
        AskForm::PerType => {
            let mentions: Vec<&str> = pairs.map(|(mention, _)| mention).collect();
            answer(&mentions, template.answer_characters)
        }
        AskForm::AllInOne => typed_answer(pairs, template.answer_characters),
        AskForm::InstructUie => instructuie_answer(pairs),
    }
}

/// Whether the answer is read as the entities that it was written from.
fn is_read_back(entities: &[(&str, &str)], template: &Template) -> bool {
    let mut expected = vec![Vec::new(); TYPES.len()];
    for (mention, entity_type) in entities {
        let index = TYPES.iter().position(|other| other == entity_type).expect("a known type");
        expected[index].push(vec![(*mention).to_owned()]);
    }
    let types = if template.form == AskForm::PerType { &TYPES[..1] } else { &TYPES[..] };
    if template.form == AskForm::PerType {
        expected = vec![items(entities, template)];
    }
    mission::read(&write(entities, template), types, template) == (expected, true)
}

/// The state after the tokens of a text; `None` if one of them is not allowed.
fn follow(grounding: &Grounding, tokens: &[u32]) -> Option<State> {
    let step = |state: State, token: &u32| grounding.advance(&state, *token);
    tokens.iter().try_fold(grounding.start(), step)
}

/// A random answer. After `length` tokens, it ends as soon as it may.
fn random_walk(grounding: &Grounding, pieces: &Pieces, choices: &[u32], length: usize) -> Vec<u32> {
    let (mut state, mut tokens) = (grounding.start(), Vec::new());
    loop {
        // Spread, so that a short list of choices is no cycle of tokens.
        let choice = choices[tokens.len() % choices.len()].wrapping_add(tokens.len() as u32);
        let choice = choice.wrapping_mul(0x9e37_79b9).rotate_left(16) as usize;
        let is_ending = tokens.len() >= length;
        let allowed = grounding.allowed(&state);
        if grounding.is_complete(&state) && (is_ending || allowed.is_empty()) {
            return tokens;
        }
        // Without quotes or brackets, an answer ends after the first token that may end it.
        let ends = |token: u32| {
            let next = grounding.advance(&state, token);
            next.is_some_and(|next| grounding.is_complete(&next))
        };
        let closes =
            |token: &&u32| matches!(pieces.bytes(**token), b"\"" | b"]" | b"\"]") || ends(**token);
        let closing = if is_ending { allowed.iter().find(closes) } else { None };
        let token = closing.or(allowed.get(choice % allowed.len().max(1)));
        let token = *token.expect("an allowed token, since the answer may not end");
        state = grounding.advance(&state, token).expect("an allowed token");
        tokens.push(token);
        assert!(tokens.len() < MOST_STEPS, "the walk does not end");
    }
}

fn grounding(passage: &str, template: &Template, vocabulary: &Vocabulary) -> Grounding {
    Grounding::new(passage, &TYPES, template, Arc::clone(&vocabulary.pieces)).expect("writable")
}

fn bytes(pieces: &Pieces, tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| pieces.bytes(*token)).copied().collect()
}

proptest! {
    #[test]
    fn random_answers_are_well_formed_and_name_substrings(
        passage in passages(),
        choices in prop::collection::vec(any::<u32>(), 1..40),
        length in 0_usize..60,
    ) {
        for (template, vocabulary) in cases() {
            let grounding = grounding(&passage, &template, vocabulary);
            let tokens = random_walk(&grounding, &vocabulary.pieces, &choices, length);
            let text = vocabulary.tokenizer.decode(&tokens).expect("known ids");
            let added = String::from_utf8(bytes(&vocabulary.pieces, &tokens)).expect("a text");
            prop_assert_eq!(text.trim_start_matches(' '), added.trim_start_matches(' '));

            let (read, well_formed) = mission::read(&added, &TYPES, &template);
            prop_assert!(well_formed, "{}", added);
            for mention in read.iter().flatten().flatten() {
                prop_assert!(!mention.is_empty() && passage.contains(mention.as_str()), "{:?}", mention);
            }
            let found = grounding.items(&tokens, true);
            let of_type = |index: usize| -> Vec<Item> {
                let own = found.iter().filter(|item| item.type_idx.unwrap_or(0) == index);
                own.map(|item| item.mentions.clone()).collect()
            };
            prop_assert_eq!((0..read.len()).map(of_type).collect::<Vec<_>>(), read);
        }
    }

    #[test]
    fn allowed_tokens_are_those_that_advance(
        passage in passages(),
        choices in prop::collection::vec(any::<u32>(), 1..40),
    ) {
        for (template, vocabulary) in cases() {
            let grounding = grounding(&passage, &template, vocabulary);
            let tokens = random_walk(&grounding, &vocabulary.pieces, &choices, 12);
            let mut state = grounding.start();
            for token in tokens {
                let ids = 0..vocabulary.tokenizer.vocab_size() as u32 + 1;
                let advancing: Vec<u32> =
                    ids.filter(|id| grounding.advance(&state, *id).is_some()).collect();
                prop_assert_eq!(&grounding.allowed(&state)[..], advancing);
                state = grounding.advance(&state, token).expect("an allowed token");
            }
        }
    }

    #[test]
    fn every_list_of_substrings_is_allowed(
        passage in passages(),
        numbers in prop::collection::vec(any::<(u16, u16, u8)>(), 0..5),
    ) {
        let entities = mentions(&passage, &numbers);
        for (template, vocabulary) in cases() {
            if !vocabulary.writes_all || !is_read_back(&entities, &template) {
                continue;
            }
            let text = write(&entities, &template);
            let grounding = grounding(&passage, &template, vocabulary);
            let blank = format!(" {text}");
            for tokens in [
                vocabulary.tokenizer.encode_segment(&text),
                vocabulary.tokenizer.encode_continuation(&text),
                vocabulary.tokenizer.encode_continuation(&blank),
            ] {
                let tokens = tokens.expect("any text encodes");
                let state = follow(&grounding, &tokens);
                prop_assert!(state.is_some_and(|state| grounding.is_complete(&state)), "{}", text);
                let found = grounding.items(&tokens, true).into_iter().map(|item| item.mentions);
                prop_assert_eq!(found.collect::<Vec<Item>>(), items(&entities, &template));
            }
        }
    }

    #[test]
    fn other_answers_are_refused(
        passage in passages(),
        numbers in prop::collection::vec(any::<(u16, u16, u8)>(), 0..3),
        other in passages(),
    ) {
        prop_assume!(!passage.contains(&other) || other.is_empty());
        let mut entities = mentions(&passage, &numbers);
        entities.insert(entities.len() / 2, (&other, TYPES[0]));
        for (template, vocabulary) in cases() {
            // Some unreadable lists of this form are readable as another list of substrings.
            if template.form == AskForm::InstructUie && !is_read_back(&entities, &template) {
                continue;
            }
            let text = write(&entities, &template);
            let tokens = vocabulary.tokenizer.encode_segment(&text).expect("any text encodes");
            let grounding = grounding(&passage, &template, vocabulary);
            let state = follow(&grounding, &tokens);
            prop_assert!(!state.is_some_and(|state| grounding.is_complete(&state)), "{}", text);
        }
    }

    #[test]
    fn a_cut_off_answer_has_the_mentions_of_its_complete_part(
        passage in passages(),
        choices in prop::collection::vec(any::<u32>(), 1..40),
    ) {
        for (template, vocabulary) in cases() {
            let grounding = grounding(&passage, &template, vocabulary);
            let tokens = random_walk(&grounding, &vocabulary.pieces, &choices, 30);
            let all = grounding.items(&tokens, true);
            for length in 0..tokens.len() {
                let found = grounding.items(&tokens[..length], false);
                // A pair without its closing bracket counts, as in `parse_typed_answer`.
                let ended = all.iter().take_while(|mention| mention.tokens.end <= length).count();
                prop_assert!(found.len() <= ended && found[..] == all[..found.len()]);
                prop_assert!(found.len() == ended || template.form == AskForm::InstructUie);
            }
        }
    }
}

/// Every template with every vocabulary that has its characters.
fn cases() -> impl Iterator<Item = (Template, &'static Vocabulary)> {
    templates().into_iter().flat_map(|template| {
        VOCABULARIES.iter().map(move |vocabulary| (template.clone(), vocabulary))
    })
}

fn of(passage: &str, types: &[&str], template: &str, tokenizer: &Tokenizer) -> Grounding {
    let template = Template::load(template).expect("built in");
    Grounding::new(passage, types, &template, Arc::new(Pieces::new(tokenizer))).expect("writable")
}

#[test]
fn a_mention_has_the_tokens_from_its_first_byte_to_the_one_that_ends_it() {
    let tokenizer = byte_level();
    let cases = [
        ("zero-shot", r#" ["ab", "b"]"#, vec![("ab", None, 1..3), ("b", None, 3..5)]),
        ("relations", r#"[["ab", "b"]]"#, vec![("ab b", None, 2..6)]),
        ("all-in-one", r#"[["ab", "x"]]"#, vec![("ab", Some(0), 2..6)]),
        ("instructuie", "x: ab; x: b", vec![("ab", Some(0), 0..5), ("b", Some(0), 5..10)]),
    ];
    for (template, text, expected) in cases {
        let grounding = of("ab", &["x"], template, &tokenizer);
        let tokens = tokenizer.encode_continuation(text).expect("any text encodes");
        assert!(follow(&grounding, &tokens).is_some_and(|state| grounding.is_complete(&state)));
        let found = grounding.items(&tokens, true);
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.mentions.join(" "), found.type_idx, found.tokens.clone()))
            .collect();
        let expected = expected.into_iter().map(|(text, of, tokens)| (text.to_owned(), of, tokens));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{text}");
    }
}

#[test]
fn tokens_without_a_choice_are_forced() {
    let tokenizer = scarce("[]\", abx");
    let grounding = of("ab", &["x"], "all-in-one", &tokenizer);
    let tokens = tokenizer.encode_continuation(r#"[["a""#).expect("any text encodes");
    let (forced, state) = grounding.forced(&follow(&grounding, &tokens).expect("allowed"));
    assert_eq!(bytes(&grounding.pieces, &forced), br#", "x"]"#);
    assert_eq!(grounding.allowed(&state).len(), 2);
}

#[test]
fn a_passage_without_a_name_leaves_the_empty_answer() {
    for vocabulary in &*VOCABULARIES {
        for (template, passage, expected) in [
            ("zero-shot", "", "[]"),
            ("all-in-one", "", "[]"),
            ("instructuie", "", "None"),
            // White space at the end of an answer is not read.
            ("instructuie", " \n\u{a0}", "None"),
        ] {
            let grounding = of(passage, &TYPES, template, &vocabulary.tokenizer);
            let tokens = random_walk(&grounding, &vocabulary.pieces, &[7, 1 << 20, 12_345], 9);
            assert_eq!(bytes(&vocabulary.pieces, &tokens).trim_ascii(), expected.as_bytes());
        }
    }
}

#[test]
fn characters_without_a_token_are_in_no_mention() {
    let tokenizer = scarce("[]\", abc");
    let grounding = of("abzc", &["x"], "zero-shot", &tokenizer);
    let opening = tokenizer.encode_continuation("[\"ab").expect("any text encodes");
    let state = follow(&grounding, &opening).expect("allowed");
    let texts: Vec<&[u8]> =
        grounding.allowed(&state).iter().map(|token| grounding.pieces.bytes(*token)).collect();
    assert_eq!(texts, [b"\""]);
}

#[test]
fn a_separator_ends_a_mention() {
    let tokenizer = byte_level();
    let grounding = of("a; x: b", &["x", "y"], "instructuie", &tokenizer);
    let state = |text: &str| {
        follow(&grounding, &tokenizer.encode_continuation(text).expect("any text encodes"))
    };
    // `a; x:` is a mention, `a; x: b` are two.
    assert!(state("x: a; x:").is_some_and(|state| grounding.is_complete(&state)));
    assert!(state("x: a; x: ").is_some_and(|state| !grounding.is_complete(&state)));
    assert!(state("y: ; x: b").is_none());
}

#[test]
fn what_cannot_be_written_or_read_is_refused() {
    let refused = |types: &[&str], template: &str, tokenizer: &Tokenizer| {
        let template = Template::load(template).expect("built in");
        let pieces = Arc::new(Pieces::new(tokenizer));
        Grounding::new("ab", types, &template, pieces).expect_err("refused")
    };
    assert_eq!(
        refused(&["x"], "zero-shot", &scarce("\", ab")).to_string(),
        "the tokenizer cannot write an answer such as `[\"mention\", \"mention\"]`: it has no token for `[]`; use a tokenizer with byte fallback"
    );
    assert_eq!(
        refused(&["x"], "all-in-one", &scarce("[]\", ab")),
        GroundingError::NoType { types: "x".to_owned() }
    );
    for (types, ambiguous, reason) in [
        (["a", "b; c"], "b; c", "it contains `; `"),
        (["a", " b"], " b", "it starts with a blank"),
        (["a", "a: b"], "a", "`a: b` starts with it and `: `"),
    ] {
        assert_eq!(
            refused(&types, "instructuie", &byte_level()),
            GroundingError::AmbiguousType {
                entity_type: ambiguous.to_owned(),
                reason: reason.to_owned()
            }
        );
    }
}
