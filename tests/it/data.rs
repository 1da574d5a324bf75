//! Every published dataset is read with the counts of its publishers or of an independent count.
//! The official evaluation files are rebuilt exactly from the column files they were made from.

use std::path::Path;

use uner_data::{
    Dataset, Example, Note, Notes,
    format::{Defect, Format},
    read, registry,
};

use crate::shared::shared;

/// Dataset, split, examples and entities (with those of dropped labels, and one that DDI lists
/// twice).
const COUNTS: [(&str, &str, usize, usize); 81] = [
    ("crossner-ai", "train", 100, 532),
    ("crossner-ai", "validation", 350, 1_549),
    ("crossner-ai", "test", 431, 1_809),
    ("crossner-literature", "train", 100, 541),
    ("crossner-literature", "validation", 400, 2_130),
    ("crossner-literature", "test", 416, 2_266),
    ("crossner-music", "train", 100, 648),
    ("crossner-music", "validation", 380, 2_679),
    ("crossner-music", "test", 465, 3_336),
    ("crossner-politics", "train", 200, 1_304),
    ("crossner-politics", "validation", 541, 3_482),
    ("crossner-politics", "test", 651, 4_209),
    ("crossner-science", "train", 200, 1_075),
    ("crossner-science", "validation", 450, 2_538),
    ("crossner-science", "test", 543, 3_089),
    ("mit-movie", "train", 9_775, 21_295),
    ("mit-movie", "test", 2_443, 5_339),
    ("mit-restaurant", "train", 7_660, 15_363),
    ("mit-restaurant", "test", 1_521, 3_151),
    ("wnut17", "train", 3_394, 1_975),
    ("wnut17", "validation", 1_009, 836),
    ("wnut17", "test", 1_287, 1_079),
    ("wnut16", "train", 2_394, 1_496),
    ("wnut16", "validation", 1_000, 661),
    ("wnut16", "test", 3_850, 3_473),
    ("broad-twitter", "train", 6_338, 8_779),
    ("broad-twitter", "validation", 1_001, 1_730),
    ("broad-twitter", "test", 2_001, 4_376),
    ("harveyner", "train", 3_967, 1_581),
    ("harveyner", "validation", 1_301, 523),
    ("harveyner", "test", 1_303, 500),
    ("anatem", "train", 5_861, 6_946),
    ("anatem", "validation", 2_118, 2_139),
    ("anatem", "test", 3_830, 4_616),
    ("bc2gm", "train", 12_574, 15_197),
    ("bc2gm", "validation", 2_519, 3_061),
    ("bc2gm", "test", 5_038, 6_325),
    ("bc5cdr", "train", 4_560, 9_385),
    ("bc5cdr", "validation", 4_581, 9_593),
    ("bc5cdr", "test", 4_797, 9_809),
    ("ncbi", "train", 5_424, 5_134),
    ("ncbi", "validation", 923, 787),
    ("ncbi", "test", 940, 960),
    ("jnlpba", "train", 14_518, 41_033),
    ("jnlpba", "validation", 4_028, 10_268),
    ("jnlpba", "test", 3_856, 8_662),
    ("bionlp13cg", "train", 3_033, 10_826),
    ("bionlp13cg", "validation", 1_003, 3_616),
    ("bionlp13cg", "test", 1_906, 6_881),
    ("bionlp13pc", "train", 2_499, 7_853),
    ("bionlp13pc", "validation", 857, 2_734),
    ("bionlp13pc", "test", 1_695, 5_306),
    ("linnaeus", "train", 11_935, 2_119),
    ("linnaeus", "validation", 4_078, 711),
    ("linnaeus", "test", 7_142, 1_433),
    ("genia", "validation", 1_669, 4_337),
    ("genia", "test", 1_854, 5_474),
    ("ddi", "train", 714, 14_765),
    ("ddi", "test", 303, 3_726),
    ("scierc", "train", 1_861, 5_572),
    ("scierc", "validation", 275, 808),
    ("scierc", "test", 551, 1_683),
    ("stackoverflow-ner", "train", 11_269, 13_458),
    ("stackoverflow-ner", "validation", 3_535, 4_336),
    ("stackoverflow-ner", "test", 3_812, 4_654),
    ("e-ner", "test", 11_644, 8_821),
    ("e-ner-coarse", "test", 11_640, 8_725),
    ("finer-ord", "train", 135, 3_813),
    ("finer-ord", "validation", 24, 605),
    ("finer-ord", "test", 42, 1_128),
    ("sec-filings-fin", "train", 1_164, 1_168),
    ("sec-filings-fin", "test", 303, 318),
    ("wikigold", "test", 1_696, 3_558),
    ("wikineural", "validation", 11_590, 19_621),
    ("wikineural", "test", 11_597, 19_675),
    ("wikiann-en", "train", 20_000, 27_931),
    ("wikiann-en", "validation", 10_000, 14_146),
    ("wikiann-en", "test", 10_000, 13_958),
    ("slimer-pilener", "train", 2_217, 30_978),
    ("slimer-pilener-queries", "validation", 1_320, 1_582),
    ("gliner-sample", "train", 64, 236),
];

/// Members of the benchmark whose files are not part of the published material of tests.
const UNAVAILABLE: [&str; 28] = [
    "ace04",
    "ace05",
    "bc4chemd",
    "biored",
    "conllpp",
    "deal",
    "ebmnlp",
    "fabner",
    "fewnerd-coarse",
    "fewnerd-fine",
    "findvehicle",
    "i2b2-2006",
    "i2b2-2010",
    "i2b2-2012",
    "i2b2-2014",
    "mapa-coarse",
    "mapa-fine",
    "multinerd",
    "n2c2-2018",
    "ontonotes",
    "polyglotner",
    "scirex",
    "share-clef",
    "sofc",
    "somesci",
    "tasteset",
    "tweetner7",
    "wlp",
];

/// The official evaluation files: passages, queries, mentions.
const OFFICIAL: [(&str, usize, usize, usize); 6] = [
    ("official-crossner-ai", 431, 5_603, 1_624),
    ("official-crossner-literature", 416, 4_576, 2_025),
    ("official-crossner-music", 465, 5_580, 3_163),
    ("official-crossner-politics", 650, 5_200, 3_943),
    ("official-crossner-science", 543, 8_688, 2_568),
    ("official-mit-restaurant", 1_520, 12_160, 3_150),
];

fn read_all(dataset: &Dataset, split: &str, root: &Path) -> (Vec<Example>, Notes) {
    let mut examples = read(dataset, split, root).unwrap();
    let all = examples.by_ref().map(Result::unwrap).collect();
    (all, examples.notes().clone())
}

fn num_dropped(notes: &Notes) -> usize {
    notes
        .iter()
        .filter(|(note, _)| matches!(note, Note::DroppedLabel(_)))
        .map(|(_, found)| found.count)
        .sum()
}

fn assert_sound(example: &Example) {
    for entity in &example.entities {
        let found = entity.span.and_then(|span| span.slice(&example.text));
        assert_eq!(found, Some(entity.text.as_str()), "{example:?}");
        assert!(example.queries.contains(&entity.entity_type), "{example:?}");
    }
}

#[test]
fn published_counts() {
    let Some(root) = shared("data") else { return };
    for (name, split, num_examples, num_entities) in COUNTS {
        let dataset = registry::find(name).unwrap();
        let (examples, notes) = read_all(&dataset, split, &root);
        examples.iter().for_each(assert_sound);
        let entities: usize = examples.iter().map(|example| example.entities.len()).sum();
        assert_eq!(
            (examples.len(), entities + num_dropped(&notes) + notes.count(&Note::RepeatedEntity)),
            (num_examples, num_entities),
            "{name} {split}\n{notes}"
        );
    }
}

#[test]
fn every_split_of_the_registry_is_counted() {
    let counted = |name: &str| COUNTS.iter().any(|(counted, ..)| *counted == name);
    // The generated corpus and the relations have their own tests, the files of Pile-NER, of
    // InstructUIE and of some members of the benchmark are not available, and the official files
    // are tested below.
    let elsewhere = |name: &str| {
        ["demo", "ddi-relations"].contains(&name)
            || UNAVAILABLE.contains(&name)
            || ["pile-ner-", "official-", "instructuie-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    for name in registry::names() {
        let dataset = registry::find(name).unwrap();
        assert_eq!(dataset.name, name);
        for (field, text) in [
            ("domain", &dataset.domain),
            ("source", &dataset.source),
            ("licence", &dataset.licence),
            ("obtain", &dataset.obtain),
        ] {
            assert!(!text.is_empty(), "`{name}` has no `{field}`");
        }
        assert!(counted(name) || elsewhere(name), "`{name}` is not counted");
        let splits = COUNTS.iter().filter(|(counted, ..)| *counted == name).count();
        assert!(
            elsewhere(name) || splits == dataset.splits.len(),
            "`{name}` has splits that are not counted"
        );
    }
}

#[test]
fn official_files() {
    let Some(root) = shared("data") else { return };
    for (name, num_passages, num_queries, num_mentions) in OFFICIAL {
        let dataset = registry::find(name).unwrap();
        let (examples, notes) = read_all(&dataset, "test", &root);
        examples.iter().for_each(assert_sound);
        let queries: usize = examples.iter().map(|example| example.queries.len()).sum();
        let mentions: usize = examples.iter().map(|example| example.entities.len()).sum();
        assert_eq!(
            (examples.len(), queries, mentions),
            (num_passages, num_queries, num_mentions),
            "{name}\n{notes}"
        );
        assert!(notes.is_empty(), "{name}\n{notes}");
        let expected = sorted(dataset.entity_types());
        for example in &examples {
            let queries = example.queries.iter().map(String::as_str).collect();
            assert_eq!(sorted(queries), expected, "{name} {}", example.id);
        }
    }
}

fn sorted(mut strings: Vec<&str>) -> Vec<&str> {
    strings.sort_unstable();
    strings
}

/// Reads the (passage, type, mentions) triples of an official file directly from its JSON.
fn official_pairs(file: &Path) -> Vec<(String, String, Vec<String>)> {
    let items: Vec<serde_json::Value> =
        serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap();
    let turn = |item: &serde_json::Value, index: usize| {
        item["conversations"][index]["value"].as_str().unwrap().to_owned()
    };
    items
        .iter()
        .map(|item| {
            let passage = turn(item, 0)["Text: ".len()..].to_owned();
            let query = turn(item, 2);
            let entity_type =
                query["What describes ".len()..query.len() - " in the text?".len()].to_owned();
            (passage, entity_type, serde_json::from_str(&turn(item, 3)).unwrap())
        })
        .collect()
}

fn assert_rebuilt(official: &str, columns: &str, defects: &[Defect], root: &Path) -> usize {
    let uner_data::dataset::Files::One(file) = &registry::find(official).unwrap().splits["test"]
    else {
        panic!("`{official}` has one file");
    };
    let expected = official_pairs(&root.join(file));
    let mut dataset = registry::find(columns).unwrap();
    let Format::Columns(format) = &mut dataset.format else { panic!("`{columns}` is in columns") };
    format.defects = defects.to_vec();
    let num_types = dataset.entity_types().len();
    let (examples, _) = read_all(&dataset, "test", root);
    assert_eq!(examples.len() * num_types, expected.len(), "{official}");
    // The order of types differs between the passages of the file.
    for (example, asked) in examples.iter().zip(expected.chunks(num_types)) {
        for (passage, entity_type, mentions) in asked {
            let rebuilt: Vec<String> =
                example.mentions(entity_type).map(|entity| entity.text.clone()).collect();
            assert_eq!((&example.text, &rebuilt), (passage, mentions), "{official} {entity_type}");
        }
        let types = asked.iter().map(|(_, entity_type, _)| entity_type.as_str()).collect();
        assert_eq!(sorted(types), sorted(dataset.entity_types()), "{official} {}", example.id);
    }
    expected.len()
}

#[test]
fn official_pairs_are_rebuilt_from_the_column_files() {
    let Some(root) = shared("data") else { return };
    let crossner = |domain: &str, defects: &[Defect]| {
        let (official, columns) =
            (format!("official-crossner-{domain}"), format!("crossner-{domain}"));
        assert_rebuilt(&official, &columns, defects, &root)
    };
    let inside = [Defect::LooseInside, Defect::OpenAtEnd];
    let rebuilt: usize = ["ai", "literature", "music", "science"]
        .iter()
        .map(|domain| crossner(domain, &inside))
        .sum();
    let rebuilt = rebuilt
        + crossner("politics", &[Defect::LooseInside, Defect::OpenAtEnd, Defect::LastSentence]);
    assert_eq!(rebuilt, 29_647);
    assert_eq!(
        assert_rebuilt("official-mit-restaurant", "mit-restaurant", &[Defect::LastSentence], &root),
        12_160
    );
}

#[test]
fn what_the_official_conversion_lost_is_counted() {
    let Some(root) = shared("data") else { return };
    // The counts include `misc`: one in AI and one in literature.
    for (domain, num_lost) in
        [("ai", 5), ("literature", 3), ("music", 2), ("politics", 1), ("science", 1)]
    {
        let mut dataset = registry::find(&format!("crossner-{domain}")).unwrap();
        let Format::Columns(format) = &mut dataset.format else { panic!("CrossNER is in columns") };
        format.defects = vec![Defect::OpenAtEnd];
        let (_, notes) = read_all(&dataset, "test", &root);
        assert_eq!(notes.count(&Note::ConversionDefect), num_lost, "{domain}");
    }
    let (examples, notes) = read_all(&registry::find("official-mit-movie").unwrap(), "test", &root);
    assert_eq!(examples.len(), 2_442);
    assert_eq!(notes.count(&Note::ConversionDefect), 1);
}

#[test]
fn notes_say_what_is_inexact() {
    let Some(root) = shared("data") else { return };
    let notes = |name: &str, split: &str| read_all(&registry::find(name).unwrap(), split, &root).1;
    assert_eq!(notes("wikineural", "test").count(&Note::InconsistentTag), 559);
    assert_eq!(notes("crossner-ai", "test").count(&Note::DroppedLabel("misc".to_owned())), 181);
    let train = notes("ddi", "train").count(&Note::Discontinuous);
    assert_eq!(train + notes("ddi", "test").count(&Note::Discontinuous), 49);
    let forum = notes("stackoverflow-ner", "test");
    assert_eq!(forum.count(&Note::MetadataSentence), 249 + 315 + 564);
    assert_eq!(forum.count(&Note::MetadataEntity), 0);
    assert_eq!(notes("stackoverflow-ner", "train").count(&Note::MetadataEntity), 2);
}

/// The corpus has 5,000 relations. One that a passage repeats is kept once.
#[test]
fn every_relation_of_ddi_is_read() {
    let Some(root) = shared("data") else { return };
    let dataset = registry::find("ddi-relations").unwrap();
    let mut total = 0;
    for (split, passages, relations) in [("train", 6_061, 3_988), ("test", 1_858, 975)] {
        let mut examples = read(&dataset, split, &root).unwrap();
        let found: Vec<Example> = examples.by_ref().map(Result::unwrap).collect();
        let count: usize = found.iter().map(|example| example.relations.len()).sum();
        assert_eq!((found.len(), count), (passages, relations), "{split}");
        total += count + examples.notes().count(&Note::RepeatedEntity);
    }
    assert_eq!(total, 5_000);
}
