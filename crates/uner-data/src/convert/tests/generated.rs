//! Examples of every kind of text and entity, correct and incorrect.

use super::*;

/// A text with entities: correct, overlapping, repeated, with wrong offsets, without a span.
fn example() -> impl Strategy<Value = Example> {
    let text = prop_oneof![
        3 => "[a-cé🚀.,#'\"\\\\ \n\r\t\u{2028}\u{85}\u{301}\u{200b}\u{a0}\u{1c}\u{1}\u{feff}]{0,40}",
        2 => "([a-cé]{1,3}[ .-]){0,12}",
        1 => "\\PC{0,30}",
    ];
    let entity = (0_usize..40, 0_usize..8, "[xy] ?[xy]|", 0_u8..20);
    let entities = prop::collection::vec(entity, 0..6);
    let queries = prop::collection::vec("[xyz] ?[xyz]", 0..4);
    ("\\PC{1,8}|", text, entities, queries, any::<bool>()).prop_map(
        |(id, text, entities, queries, is_first)| {
            let characters: Vec<char> = text.chars().collect();
            let entity = |(start, length, entity_type, kind): (usize, usize, String, u8)| {
                let end = start + length;
                let mention: String = characters.get(start..end)?.iter().collect();
                let (text, span) = match kind {
                    0 => (format!("{mention}!"), Some(Span { start, end })),
                    1 => (format!("{mention}%"), None),
                    2 => (mention, None),
                    3 => (mention, Some(Span { start: end + 1, end: end + 50 })),
                    _ => (mention, Some(Span { start, end })),
                };
                Some(Entity { text, entity_type, span })
            };
            let entities = entities.into_iter().filter_map(entity).collect();
            let mut example = Example::new(id, text, entities);
            if is_first {
                example.queries.splice(0..0, queries);
            } else {
                example.queries.extend(queries);
            }
            example
        },
    )
}

/// An example as readers give it: entities at their spans, once, and without blanks at their ends.
fn clean(mut example: Example) -> Example {
    if example.id.is_empty() {
        "x".clone_into(&mut example.id);
    }
    let (written, _, _) =
        round_trip(std::slice::from_ref(&example), ExportFormat::JsonLines, Tokens::Words);
    let (_, again, exported) = round_trip(&written, ExportFormat::JsonLines, Tokens::Words);
    assert!(again == written && exported.losses.is_empty(), "{}", exported.losses);
    again.into_iter().next().unwrap()
}

/// Writes examples and reads them back. Returns the examples as the writer and as the reader give
/// them, and the result of the export.
fn round_trip(
    examples: &[Example],
    format: ExportFormat,
    tokens: Tokens,
) -> (Vec<Example>, Vec<Example>, Exported) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out");
    let mut writer = ExampleWriter::create(&path, format, tokens).unwrap();
    let written: Vec<Example> =
        examples.iter().filter_map(|example| writer.write(example).unwrap()).collect();
    let exported = writer.finish().unwrap();
    let files = IndexMap::from([("test".to_owned(), Files::One("out".into()))]);
    let source = Dataset::of_file("own".as_ref(), format.format());
    let described = description(&source, format, files, &exported).to_toml().unwrap();
    let dataset = Dataset::from_toml(&described, "own").unwrap();
    let back = if written.is_empty() {
        Vec::new()
    } else {
        read(&dataset, "test", folder.path()).unwrap().map(Result::unwrap).collect()
    };
    let numbered = |(index, mut example): (usize, Example)| {
        if example.id.is_empty() {
            example.id = format!("test_{index}");
        }
        example
    };
    (written.into_iter().enumerate().map(numbered).collect(), back, exported)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_example_is_read_back_as_the_writer_says(
        examples in prop::collection::vec(example(), 1..4),
        format in prop::sample::select(ExportFormat::all().collect::<Vec<_>>()),
        tokens in prop::sample::select(vec![Tokens::Words, Tokens::Spaces]),
    ) {
        let (written, back, exported) = round_trip(&examples, format, tokens);
        prop_assert_eq!(&written, &back);
        prop_assert_eq!(exported.num_examples, back.len());
        // Without a loss, the examples are the same; every entity left out is one loss.
        if exported.losses.is_empty() {
            prop_assert_eq!(&back, &examples);
        }
        let left_out: usize = [
            Loss::WrongOffsets, Loss::NoSpan, Loss::Blank, Loss::Overlap, Loss::EmptyType,
            Loss::NoOccurrence,
        ].iter().map(|loss| exported.losses.count(*loss)).sum();
        let entities = |examples: &[Example]| {
            examples.iter().map(|example| example.entities.len()).sum::<usize>()
        };
        let repeated = exported.losses.count(Loss::Repeated);
        let missing = entities(&examples) - entities(&back);
        prop_assert!(
            exported.losses.count(Loss::NoToken) > 0
                || (left_out <= missing && missing <= left_out + repeated),
            "{missing} are missing: {}", exported.losses
        );
    }

    #[test]
    fn a_clean_example_loses_only_what_the_format_lacks(
        example in example().prop_map(clean),
        format in prop::sample::select(ExportFormat::all().collect::<Vec<_>>()),
    ) {
        let (_, back, exported) = round_trip(std::slice::from_ref(&example), format, Tokens::Words);
        let allowed = lacks(format);
        for (loss, found) in exported.losses.iter() {
            prop_assert!(allowed.contains(&loss), "{format:?}: {} x {loss}", found.count);
        }
        // `Order` stands for no other change.
        if exported.losses.iter().all(|(loss, _)| loss == Loss::Order) {
            let sorted = |example: &Example| {
                let mut example = example.clone();
                example.entities.sort_by_key(|entity| {
                    (entity.span, entity.text.clone(), entity.entity_type.clone())
                });
                example.queries.sort();
                example
            };
            prop_assert_eq!(sorted(&back[0]), sorted(&example));
        }
    }
}
