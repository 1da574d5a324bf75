use std::collections::HashSet;

use super::*;
use crate::{Dataset, Example, read, registry, shared::shared, split::GroupBy};

fn examples(dataset: &Dataset, split: &str) -> Vec<Example> {
    read(dataset, split, "".as_ref()).unwrap().map(Result::unwrap).collect()
}

fn description(folder: &Path) -> Dataset {
    registry::find(&folder.join(DESCRIPTION).to_string_lossy()).unwrap()
}

fn toml_of(path: &Path) -> toml::Table {
    fs_err::read_to_string(path).unwrap().parse().unwrap()
}

/// One file of a dataset without splits: E-NER's authors publish none.
#[test]
fn one_file_is_divided_and_described() {
    let Some(root) = shared("data") else { return };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("law");
    let files = [root.join("e-ner/edgar_all_4.csv")];
    let report = init_domain(&files, &folder, &InitOptions::default()).unwrap();
    let dataset = description(&folder);
    assert_eq!((&*dataset.name, report.detected.name), ("law", "columns"));
    assert_eq!(dataset.splits.keys().collect::<Vec<_>>(), ["train", "validation", "test"]);
    assert_eq!(dataset.entity_types().len(), report.types.len());
    assert!(dataset.entity_types().contains(&"person"), "{:?}", dataset.entity_types());

    let original = Dataset::of_file(&files[0], report.detected.format.clone());
    let expected = examples(&original, "file");
    let parts = ["train", "validation", "test"].map(|split| examples(&dataset, split));
    assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), expected.len());
    let mentions = |examples: &[Example]| {
        let mut found: Vec<(String, String)> = examples
            .iter()
            .flat_map(|one| {
                one.entities.iter().map(|entity| (one.text.clone(), entity.text.clone()))
            })
            .collect();
        found.sort();
        found
    };
    assert_eq!(mentions(&parts.concat()), mentions(&expected));
    let texts =
        parts.each_ref().map(|part| part.iter().map(|one| &*one.text).collect::<HashSet<&str>>());
    assert!(texts[0].is_disjoint(&texts[2]) && texts[0].is_disjoint(&texts[1]));
    let shown = report.to_string();
    assert!(shown.contains("format: columns") && shown.contains("recipe.toml"), "{shown}");

    let text = fs_err::read_to_string(folder.join(DESCRIPTION)).unwrap();
    assert!(text.contains("[definitions.person]") || text.contains("[definitions.\"person\"]"));
    let row = text.lines().find(|line| line.starts_with("\"PER\" = \"person\"")).unwrap();
    assert!(row.contains(" mentions: \""), "{row}");
    let unchanged = init_domain(&files, &folder, &InitOptions::default()).unwrap_err().to_string();
    assert!(unchanged.contains("nothing is overwritten"), "{unchanged}");
}

#[test]
fn splits_of_the_user_are_kept() {
    let Some(root) = shared("data") else { return };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("ai");
    let report =
        init_domain(&[root.join("crossner/ai")], &folder, &InitOptions::default()).unwrap();
    assert_eq!(report.sizes, None);
    let dataset = description(&folder);
    let sizes = ["train", "validation", "test"].map(|split| examples(&dataset, split).len());
    assert_eq!(sizes, [100, 350, 431]);
    assert!(!folder.join("train.jsonl").exists());
    // The authors' test split has texts of the training split.
    let recipe = toml_of(&folder.join(RECIPE));
    assert_eq!(recipe["data"]["train"][1]["cap"].as_integer(), Some(100));
}

/// A folder of standoff files in a zip file, whose documents stay whole.
#[test]
fn documents_of_an_archive_are_kept() {
    let Some(root) = shared("data") else { return };
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("drugs");
    let archive = root.join("ddi/DDICorpus-2013(BRAT).zip");
    let report = init_domain(&[archive], &folder, &InitOptions::default()).unwrap();
    assert_eq!(report.splits.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["train", "test"]);
    let recipe = toml_of(&folder.join(RECIPE));
    assert_eq!(recipe["eval"]["benchmarks"][0]["split"].as_str(), Some("test"));
    assert!(recipe["eval"].get("during").is_none(), "it has no validation data");
    assert_eq!(examples(&description(&folder), "train").len(), 714);
}

#[test]
fn recipes_train_an_adapter_with_replay_and_evaluate_before_and_after() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("mine.jsonl");
    let rows: Vec<String> = (0..50)
        .map(|index| {
            format!(
                r#"{{"id": "d{}/{index}", "text": "Zoë {index}", "entities": [[0, 3, "PER"]]}}"#,
                index / 5
            )
        })
        .collect();
    fs_err::write(&file, rows.join("\n")).unwrap();
    let folder = parent.path().join("My Domain");
    let split = SplitConfig { group_by: GroupBy::IdPrefix("/".to_owned()), ..Default::default() };
    let weights = "hf:org/mo\"del".to_owned();
    let options = InitOptions { split, weights, ..InitOptions::default() };
    let report = init_domain(std::slice::from_ref(&file), &folder, &options).unwrap();
    assert_eq!(report.sizes.as_ref().unwrap().splits[0].num_groups, 8);
    let recipe = toml_of(&folder.join(RECIPE));
    assert_eq!(recipe["run"]["dir"].as_str(), Some("checkpoints/my-domain"));
    assert_eq!(recipe["model"]["weights"].as_str(), Some("hf:org/mo\"del"));
    assert_eq!(recipe["model"]["adapter"]["rank"].as_integer(), Some(16));
    let train = recipe["data"]["train"].as_array().unwrap();
    assert_eq!(train[0]["dataset"].as_str(), Some("dataset.toml"));
    let replay: crate::Member = train[1].clone().try_into().unwrap();
    assert_eq!((replay.cap, replay.negatives, replay.weight), (Some(40), false, 1.0));
    assert!(replay.dataset.resolve().is_ok());
    assert_eq!(recipe["train"]["best"]["by"].as_str(), Some("f1"));
    let before = toml_of(&folder.join(BEFORE));
    assert_eq!(before["eval"]["benchmarks"], recipe["eval"]["benchmarks"]);
    assert_eq!(before["model"]["weights"], recipe["model"]["weights"]);

    // Without replay, the recipe has the user's data only.
    let options = InitOptions { replay: String::new(), ..InitOptions::default() };
    let folder = parent.path().join("alone");
    init_domain(&[file], &folder, &options).unwrap();
    assert_eq!(toml_of(&folder.join(RECIPE))["data"]["train"].as_array().unwrap().len(), 1);
}

/// Every key that the recipes set is explained by a comment, and is one of docs/recipes.md.
#[test]
fn recipes_are_commented_and_their_keys_exist() {
    let documented = include_str!("../../../../docs/recipes.md");
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("mine.jsonl");
    let rows: Vec<String> = (0..30)
        .map(|index| format!(r#"{{"text": "Zoë {index}", "entities": [[0, 3, "person"]]}}"#))
        .collect();
    fs_err::write(&file, rows.join("\n")).unwrap();
    let folder = parent.path().join("x");
    init_domain(&[file], &folder, &InitOptions::default()).unwrap();
    for name in [RECIPE, BEFORE] {
        let text = fs_err::read_to_string(folder.join(name)).unwrap();
        assert!(!text.contains('@'), "{text}");
        let (mut section, mut previous) = (String::new(), "");
        for line in text.lines() {
            if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
            } else if let Some((key, value)) =
                line.split_once(" = ").filter(|_| !line.starts_with('#'))
            {
                assert!(
                    value.contains("  #") || value.contains(" # ") || previous.starts_with('#'),
                    "{line}"
                );
                let key = format!("{section}.{key}").replace("during.benchmarks", "benchmarks");
                let is_known = documented.contains(&format!("| `{key}` |"));
                assert!(is_known, "{name}: `{key}` is not in docs/recipes.md");
            }
            previous = line;
        }
    }
}

#[test]
fn unclear_or_faulty_files_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = parent.path().join(name);
        fs_err::write(&path, text).unwrap();
        path
    };
    let row =
        |index: usize| format!(r#"{{"text": "Zoë {index}", "entities": [[0, 3, "person"]]}}"#);
    let rows: Vec<String> = (0..99).map(row).collect();
    let refused = |files: &[PathBuf], folder: &str| {
        let folder = parent.path().join(folder);
        init_domain(files, &folder, &InitOptions::default()).unwrap_err().to_string()
    };
    let plain = write("plain.jsonl", &rows.join("\n"));
    let test = write("test.jsonl", &row(1));
    let message = refused(&[plain.clone(), test.clone()], "a");
    assert!(message.contains("its name does not say its split"), "{message}");
    let message = refused(&[test.clone(), test], "a");
    assert!(message.contains("no file is named as training data"), "{message}");
    let message = refused(std::slice::from_ref(&plain), "recipes");
    assert!(message.contains("choose another name"), "{message}");
    let faulty =
        format!("{}\n{{\"text\": \"a\", \"entities\": [[0, 9, \"x\"]]}}\n", rows.join("\n"));
    let message = refused(&[write("faulty.jsonl", &faulty)], "a");
    assert!(
        message.contains("the files have 1 problems") && message.contains(":100:"),
        "{message}"
    );
    assert!(!parent.path().join("a").exists());
}
