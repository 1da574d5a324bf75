//! Shards of a run.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use uner_distill::output::OutputConfig;
use uner_distill::teacher::PromptVersion;
use uner_distill::{Annotation, DistillReport, build, merge};

use crate::scripted::Scripted;
use crate::{BUILT, annotate, passage, write_passages};

struct Shards {
    folder: tempfile::TempDir,
    passages: PathBuf,
    folders: Vec<PathBuf>,
}

fn run(folder: &Path, passages: &Path, shard: &str, teacher: &mut Scripted, prompt: PromptVersion) {
    let shard = Some(shard.parse().unwrap());
    let mut run = Annotation::open(folder, passages, prompt, shard, teacher).unwrap();
    run.run(teacher, &mut |_| ControlFlow::Continue(())).unwrap();
}

fn shards(count: usize) -> Shards {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..50).map(passage));
    let folders: Vec<PathBuf> =
        (0..count).map(|index| folder.path().join(format!("shard-{index}"))).collect();
    for (index, path) in folders.iter().enumerate() {
        let shard = format!("{index}/{count}");
        run(path, &passages, &shard, &mut Scripted::new(5), PromptVersion::Type);
    }
    Shards { folder, passages, folders }
}

impl Shards {
    fn merge(&self, folders: &[PathBuf], allow_unanswered: bool) -> Result<DistillReport, String> {
        let into = self.folder.path().join("merged");
        let config = OutputConfig::default();
        merge(folders, &self.passages, &into, &config, allow_unanswered)
            .map_err(|error| error.to_string())
    }
}

#[test]
fn merged_shards_equal_a_run_without_shards() {
    let shards = shards(4);
    let whole = shards.folder.path().join("whole");
    annotate(&whole, &shards.passages, &mut Scripted::new(1)).unwrap();
    build(&whole, &shards.passages, &OutputConfig::default()).unwrap();
    let folders: Vec<PathBuf> = shards.folders.iter().rev().cloned().collect();
    shards.merge(&folders, false).unwrap();
    let merged = shards.folder.path().join("merged");
    for name in BUILT.into_iter().chain(["answers.jsonl", "run.json"]) {
        let [one, other] = [&whole, &merged].map(|folder| fs_err::read(folder.join(name)).unwrap());
        assert!(one == other, "{name}");
    }
    let error = shards.merge(&folders, false).unwrap_err();
    assert!(error.contains("has a run already"), "{error}");
}

#[test]
fn shards_must_be_all_of_one_run() {
    let shards = shards(3);
    let [zero, one, two] = [0, 1, 2].map(|index| shards.folders[index].clone());
    let refused = |folders: &[PathBuf], expected: &str| {
        let error = shards.merge(folders, false).unwrap_err();
        assert!(error.contains(expected), "{error}");
        assert!(!shards.folder.path().join("merged/answers.jsonl").exists());
    };
    refused(&[], "no folders are given");
    refused(&[zero.clone(), two.clone()], "shard `1/3` is missing");
    let twice = [zero.clone(), one.clone(), one.clone(), two.clone()];
    refused(&twice, "shard `1/3` is given twice");
    let other = shards.folder.path().join("other");
    let mut teacher = Scripted::new(1);
    run(&other, &shards.passages, "2/3", &mut teacher, PromptVersion::Definition);
    refused(&[zero.clone(), one.clone(), other], "has `prompt` `definition`");
    let quarter = shards.folder.path().join("quarter");
    run(&quarter, &shards.passages, "2/4", &mut teacher, PromptVersion::Type);
    refused(&[zero.clone(), one.clone(), quarter], "is `2/4`, but");
    let whole = shards.folder.path().join("whole");
    annotate(&whole, &shards.passages, &mut teacher).unwrap();
    refused(&[whole], "is a whole run");
    write_passages(&shards.passages, (0..51).map(passage));
    refused(&[zero, one, two], "has other passages");
}

#[test]
fn missing_answers_are_refused_or_left_out() {
    let shards = shards(2);
    let answers = shards.folders[1].join("answers.jsonl");
    let text = fs_err::read_to_string(&answers).unwrap();
    let some: String = text.lines().skip(2).map(|line| line.to_owned() + "\n").collect();
    fs_err::write(&answers, some).unwrap();
    let error = shards.merge(&shards.folders, false).unwrap_err();
    assert!(error.contains("`2` passages have no answer, the first is `"), "{error}");
    let report = shards.merge(&shards.folders, true).unwrap();
    assert_eq!((report.counts.unanswered, report.counts.passages), (2, 50));
}
