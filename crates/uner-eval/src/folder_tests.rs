//! An evaluation that is killed anywhere goes on to the same files and scores.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::path::Path;

use uner_data::{Dataset, Entity, Example, FoundEntity, Span};

use super::*;
use crate::compare::{self, Difference};
use crate::system::{OnAnswered, Questions};
use crate::{Answer, Benchmark, Options, System, measure};

/// Names every word of two letters, and remembers what it was asked.
struct Words<'a>(&'a RefCell<Vec<String>>);

impl System for Words<'_> {
    fn name(&self) -> String {
        "words".to_owned()
    }

    fn answer(
        &mut self,
        questions: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        self.0.borrow_mut().extend(questions.examples.iter().map(|example| example.id.clone()));
        if answered(questions.examples.len()).is_break() {
            return Err(EvalError::Stopped);
        }
        Ok(questions.examples.iter().map(answers).collect())
    }
}

fn answers(example: &Example) -> Vec<Answer> {
    let word = |start: usize, entity_type: &str| {
        let text = example.text[start..start + 2].to_owned();
        let span = Some(Span { start, end: start + 2 });
        let entity = Entity { text, entity_type: entity_type.to_owned(), span };
        FoundEntity { entity, probability: Some(0.25) }
    };
    let of_type = |entity_type: &String| {
        let starts = [0, 3].into_iter().filter(|start| start + 2 <= example.text.len());
        let found = starts.map(|start| word(start, entity_type)).collect();
        Answer::of_entities(entity_type, found)
    };
    example.queries.iter().map(of_type).collect()
}

fn dataset(root: &Path) -> Dataset {
    let row = |number: usize| {
        let name = if number % 3 == 0 { "person" } else { "city" };
        format!(
            "{{\"id\": \"p{number}\", \"text\": \"Al Bo {number}\", \"entities\": \
             [{{\"start\": 0, \"end\": 2, \"label\": \"{name}\"}}]}}\n"
        )
    };
    let rows: String = (0..150).map(row).collect();
    fs_err::write(root.join("test.jsonl"), rows).unwrap();
    let text = "name = \"made-up\"\n[format]\nkind = \"jsonl\"\nlabel = \"label\"\n\
                [splits]\ntest = \"test.jsonl\"\nother = \"missing.jsonl\"\n";
    Dataset::from_toml(text, "made-up").unwrap()
}

fn benchmarks(root: &Path, splits: &[&str]) -> Vec<Benchmark> {
    let benchmark = |split: &&str| Benchmark {
        dataset: dataset(root),
        split: (*split).to_owned(),
        limit: None,
        sample: None,
    };
    splits.iter().map(benchmark).collect()
}

fn run(root: &Path, path: &Path, resume: bool) -> (Result<Report, EvalError>, Vec<String>) {
    let asked = RefCell::new(Vec::new());
    let folder = match Folder::open_for(path, "words", resume) {
        Ok(folder) => folder,
        Err(error) => return (Err(error), Vec::new()),
    };
    let options = Options { root, folder: Some(&folder), seen: None };
    let splits = benchmarks(root, &["test", "other"]);
    let report =
        measure(&mut Words(&asked), &splits, options, &mut |_, _, _| ControlFlow::Continue(()));
    (report, asked.into_inner())
}

#[test]
fn a_killed_evaluation_asks_nothing_twice() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("evaluation");
    let (report, asked) = run(root.path(), &path, false);
    let report = report.unwrap();
    assert_eq!(asked.len(), 150);
    assert!(matches!(report.outcomes[1], Outcome::Missing { .. }), "the others are scored");
    let file = path.join("predictions/made-up-test.jsonl");
    let whole = fs_err::read(&file).unwrap();
    for cut in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1, whole.len()] {
        fs_err::write(&file, &whole[..cut]).unwrap();
        let complete = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
        let (resumed, asked) = run(root.path(), &path, true);
        assert_eq!(resumed.unwrap(), report, "cut after {cut} bytes");
        assert_eq!(asked.len(), 150 - complete, "cut after {cut} bytes");
        assert_eq!(fs_err::read(&file).unwrap(), whole, "cut after {cut} bytes");
    }
    let again = rescore(&path, None).unwrap();
    assert_eq!(again, report, "everything follows from the files");
}

/// Keeps its answers. At first it has none for one example.
struct Flaky<'a> {
    words: Words<'a>,
    fails: bool,
}

impl System for Flaky<'_> {
    fn name(&self) -> String {
        "flaky".to_owned()
    }

    fn keeps_answers(&self) -> bool {
        true
    }

    fn answer(
        &mut self,
        questions: Questions,
        answered: &mut OnAnswered,
    ) -> Result<Vec<Vec<Answer>>, EvalError> {
        let mut answers = self.words.answer(questions, answered)?;
        let failed = questions.examples.iter().position(|example| example.id == "p70");
        if let (true, Some(failed)) = (self.fails, failed) {
            let problem = || "the endpoint is overloaded".to_owned();
            answers[failed][0] = Answer::missing(&answers[failed][0].entity_type, problem());
        }
        Ok(answers)
    }
}

#[test]
fn what_failed_is_asked_again_by_a_system_that_keeps_its_answers() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("evaluation");
    let file = path.join("predictions/made-up-test.jsonl");
    let run = |fails: bool| {
        let asked = RefCell::new(Vec::new());
        let folder = Folder::open_for(&path, "flaky", true).unwrap();
        let options = Options { root: root.path(), folder: Some(&folder), seen: None };
        let mut system = Flaky { words: Words(&asked), fails };
        let benchmarks = benchmarks(root.path(), &["test"]);
        let mut go_on = |_: &str, _, _| ControlFlow::Continue(());
        measure(&mut system, &benchmarks, options, &mut go_on).unwrap();
        let text = fs_err::read_to_string(&file).unwrap();
        (asked.into_inner(), text.matches("overloaded").count(), text.lines().count())
    };
    let (asked, failed, lines) = run(true);
    assert_eq!((asked.len(), failed, lines), (150, 1, 150));
    let (asked, failed, lines) = run(false);
    assert_eq!((asked.len(), asked[0].as_str(), failed, lines), (80, "p70", 0, 150));
    assert_eq!(run(false).0.len(), 0, "nothing is left to ask");
}

#[test]
fn another_evaluation_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("evaluation");
    run(root.path(), &path, false).0.unwrap();
    let problem = Folder::open_for(&path, "sentences", true).unwrap_err().to_string();
    assert!(problem.contains("it is of `words`, not of `sentences`"), "{problem}");

    let folder = Folder::open_for(&path, "words", true).unwrap();
    let measured = |types: &[&str]| Measured {
        dataset: "made-up".to_owned(),
        split: "test".to_owned(),
        domain: String::new(),
        entity_types: types.iter().map(ToString::to_string).collect(),
        examples: 150,
        sample: None,
        is_part: false,
    };
    let problem = folder.open(&measured(&["band"]), false, |_| Ok(())).unwrap_err().to_string();
    assert!(problem.contains("other types"), "{problem}");
    let first = folder.open(&measured(&["person", "city"]), false, |_| Ok(())).unwrap();
    let problem =
        folder.open(&measured(&["person", "city"]), false, |_| Ok(())).unwrap_err().to_string();
    assert!(problem.contains("another process writes to"), "{problem}");
    drop(first);

    let text = fs_err::read_to_string(root.path().join("test.jsonl")).unwrap();
    let file = path.join("predictions/made-up-test.jsonl");
    let rows = fs_err::read_to_string(&file).unwrap().replacen("Al Bo 2\"", "Al Bu 2\"", 1);
    fs_err::write(&file, rows).unwrap();
    assert!(text.contains("Al Bo 2"));
    let problem = run(root.path(), &path, true).0.unwrap_err().to_string();
    assert!(problem.contains("`made-up` has changed at example `p2`"), "{problem}");
    fs_err::write(&file, "nonsense\n").unwrap();
    let problem = run(root.path(), &path, true).0.unwrap_err().to_string();
    assert!(problem.contains(":1: ") && problem.contains("made-up-test.jsonl"), "{problem}");
}

#[test]
fn a_sample_has_so_many_queries_and_is_always_the_same() {
    let root = tempfile::tempdir().unwrap();
    let sampled = |seed: u64| {
        let path = root.path().join(format!("sample-{seed}"));
        let folder = Folder::open_for(&path, "words", false).unwrap();
        let mut benchmarks = benchmarks(root.path(), &["test"]);
        benchmarks[0].sample = Some(Sample { pairs: 50, seed });
        let asked = RefCell::new(Vec::new());
        let options = Options { root: root.path(), folder: Some(&folder), seen: None };
        let mut go_on = |_: &str, _, _| ControlFlow::Continue(());
        let report = measure(&mut Words(&asked), &benchmarks, options, &mut go_on).unwrap();
        assert_eq!(rescore(&path, None).unwrap(), report);
        let Outcome::Scored(report) = &report.outcomes[0] else { panic!("it is scored") };
        assert!(report.rates.queries == 50 && !report.is_part);
        asked.into_inner()
    };
    assert_eq!(sampled(1), sampled(1));
    assert_ne!(sampled(1), sampled(2));
}

#[test]
fn systems_are_compared_on_the_same_queries() {
    let root = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| root.path().join(name));
    run(root.path(), &first, false).0.unwrap();
    run(root.path(), &second, false).0.unwrap();
    let found = crate::compare(&first, &second).unwrap();
    let strict = &found[0].strict;
    assert_eq!((found.len(), strict.difference.estimate, strict.test.p_value), (1, 0.0, 1.0));

    // The second system finds nothing in every other passage.
    let file = second.join("predictions/made-up-test.jsonl");
    let lines = fs_err::read_to_string(&file).unwrap();
    let weaker = |(index, line): (usize, &str)| {
        let mut record: Record = serde_json::from_str(line).unwrap();
        if index % 2 == 0 {
            record.answers.iter_mut().for_each(|answer| {
                *answer = Answer::of_entities(&answer.entity_type, Vec::new());
            });
        }
        serde_json::to_string(&record).unwrap() + "\n"
    };
    fs_err::write(&file, lines.lines().enumerate().map(weaker).collect::<String>()).unwrap();
    let found = crate::compare(&first, &second).unwrap();
    let Difference { first: ours, second: theirs, test, .. } = &found[0].strict;
    assert!(ours > theirs && test.p_value < 0.01 && test.differing == 75, "{found:?}");
    assert!(compare::table(&found).contains("made-up (test)"));

    let cut: Vec<&str> = lines.lines().take(9).collect();
    fs_err::write(&file, cut.join("\n")).unwrap();
    let problem = crate::compare(&first, &second).unwrap_err().to_string();
    assert!(problem.contains("other queries from passage `p9` on"), "{problem}");
}
