//! Real datasets, in every format.

use super::*;

/// The formats whose texts are joined tokens.
const OF_TOKENS: [ExportFormat; 3] =
    [ExportFormat::Conll, ExportFormat::Gliner, ExportFormat::TokenClassification];

/// The losses of a split in each format. Every loss must be one that the format may have.
fn losses(name: &str, split: &str) -> Option<Vec<(ExportFormat, ConvertedSplit)>> {
    let root = shared("data")?;
    let source = DatasetRef::Name(name.to_owned()).resolve().unwrap();
    let mut examples = read(&source, split, &root).unwrap();
    let num_read = examples.by_ref().flatten().count();
    let convert_to = |format: ExportFormat| {
        let mut conversion = converted(&source, &[split], &root, format);
        let converted = conversion.splits.swap_remove(split).unwrap();
        assert_eq!(converted.problems.len(), 0, "{name}");
        assert_eq!(converted.num_examples, num_read, "{name} {format:?}");
        for (loss, _) in converted.losses.iter() {
            assert!(lacks(format).contains(&loss), "{name} {format:?}: {}", converted.losses);
        }
        (format, converted)
    };
    Some(ExportFormat::all().map(convert_to).collect())
}

/// Asserts that no format loses anything of a split, but the official conversations offsets.
fn assert_exact(name: &str, split: &str) {
    for (format, converted) in losses(name, split).into_iter().flatten() {
        let is_exact = converted.losses.is_empty() || format == ExportFormat::Conversations;
        assert!(is_exact, "{name} {format:?}: {}", converted.losses);
    }
}

#[test]
fn datasets_of_tokens_are_exact_in_every_format() {
    assert_exact("crossner-ai", "test");
    assert_exact("mit-restaurant", "test");
    assert_exact("wnut17", "test");
    assert_exact("scierc", "test");
}

#[test]
#[ignore = "writes 11,597 brat documents"]
fn a_large_dataset_of_tokens_is_exact_in_every_format() {
    assert_exact("wikineural", "test");
}

/// Some tokens of E-NER contain spaces.
#[test]
#[ignore = "writes 11,644 brat documents"]
fn tokens_with_spaces_are_split_in_formats_of_tokens() {
    for (format, converted) in losses("e-ner", "test").into_iter().flatten() {
        let expected = if OF_TOKENS.contains(&format) { 140 } else { 0 };
        assert_eq!(converted.losses.count(Loss::Space), expected, "{format:?}");
        let mut others = converted.losses.iter().filter(|(loss, _)| *loss != Loss::Space);
        let is_exact = others.next().is_none() || format == ExportFormat::Conversations;
        assert!(is_exact, "{format:?}: {}", converted.losses);
    }
}

#[test]
fn nested_entities_are_lost_only_where_a_token_has_one() {
    for (format, converted) in losses("genia", "test").into_iter().flatten() {
        let others = converted.losses.iter().filter(|(loss, _)| *loss != Loss::Overlap);
        let is_flat = lacks(format).contains(&Loss::Overlap);
        assert_eq!(converted.losses.count(Loss::Overlap) > 0, is_flat, "{format:?}");
        let allowed = [Loss::AbsentType, Loss::Order, Loss::NoOccurrence, Loss::OtherOccurrence];
        for (loss, _) in others {
            assert!(allowed.contains(&loss), "{format:?}: {}", converted.losses);
        }
    }
}

#[test]
fn texts_that_are_not_tokens_lose_white_space_in_formats_of_tokens() {
    for (format, converted) in losses("ddi", "test").into_iter().flatten() {
        let has_space = converted.losses.count(Loss::Space) > 0;
        assert_eq!(has_space, OF_TOKENS.contains(&format), "{format:?}: {}", converted.losses);
    }
}

#[test]
fn queries_and_mentions_without_spans_are_kept_where_they_have_a_place() {
    losses("official-crossner-ai", "test");
    losses("slimer-pilener", "train");
    for (format, converted) in losses("gliner-sample", "train").into_iter().flatten() {
        if format == ExportFormat::Gliner {
            assert!(converted.losses.is_empty(), "{}", converted.losses);
        }
    }
}
