//! Runs with a teacher in this process.

use std::collections::HashSet;
use std::ops::ControlFlow;

use uner_distill::folder::Description;
use uner_distill::output::OutputConfig;
use uner_distill::teacher::PromptVersion;
use uner_distill::{Annotation, DistillError, build};
use uner_endpoint::End;

use crate::scripted::Scripted;
use crate::{BUILT, annotate, passage, write_passages};

#[test]
fn the_order_of_answers_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..50).map(passage));
    let files = [1, 7].map(|at_a_time| {
        let run = folder.path().join(at_a_time.to_string());
        let summary = annotate(&run, &passages, &mut Scripted::new(at_a_time)).unwrap();
        assert_eq!((summary.answered, summary.unanswered(), summary.end), (50, 0, End::Complete));
        assert_eq!((summary.tokens.input, summary.tokens.output), (500, 250));
        build(&run, &passages, &OutputConfig::default()).unwrap();
        BUILT.map(|name| fs_err::read_to_string(run.join(name)).unwrap())
    });
    assert_eq!(files[0], files[1]);
    let answers = |name: &str| {
        fs_err::read_to_string(folder.path().join(name).join("answers.jsonl")).unwrap()
    };
    assert_ne!(answers("1"), answers("7"));
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..20).map(passage));
    let mut asked = Vec::new();
    for number in 0.. {
        let mut teacher = Scripted::new(4);
        let prompt = PromptVersion::Type;
        let mut run = Annotation::open(folder.path(), &passages, prompt, None, &teacher).unwrap();
        assert_eq!((run.total(), run.answered()), (20, 6 * number));
        assert_eq!(run.estimate(&teacher).unwrap().requests, 20 - 6 * number);
        let mut answered = 0;
        let summary = run
            .run(&mut teacher, &mut |progress| {
                answered = progress.answered - 6 * number;
                assert_eq!(progress.total, 20);
                if answered == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .unwrap();
        asked.append(&mut teacher.asked);
        assert_eq!(summary.answered, answered);
        if summary.end == End::Complete {
            break;
        }
    }
    assert_eq!((asked.len(), asked.iter().collect::<HashSet<_>>().len()), (20, 20));
}

#[test]
fn failures_are_listed_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..30).map(passage));
    let mut teacher = Scripted::new(3);
    teacher.reply = Box::new(|prompt| (!prompt.contains("No. 2")).then(|| crate::answer(prompt)));
    let summary = annotate(folder.path(), &passages, &mut teacher).unwrap();
    assert_eq!((summary.answered, summary.failed, summary.unanswered()), (19, 11, 11));
    assert_eq!(summary.failures.len(), 11);
    assert!(summary.failures[0].reason.contains("does not fit"), "{:?}", summary.failures[0]);
    let report = build(folder.path(), &passages, &OutputConfig::default()).unwrap();
    assert_eq!((report.counts.passages, report.counts.unanswered), (30, 11));

    let mut teacher = Scripted::new(3);
    let summary = annotate(folder.path(), &passages, &mut teacher).unwrap();
    assert_eq!((summary.before, summary.answered, teacher.asked.len()), (19, 11, 11));
    let report = build(folder.path(), &passages, &OutputConfig::default()).unwrap();
    assert_eq!(report.counts.unanswered, 0);
}

#[test]
fn another_run_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let passages = folder.path().join("passages.jsonl");
    write_passages(&passages, (0..3).map(passage));
    let mut teacher = Scripted::new(1);
    annotate(folder.path(), &passages, &mut teacher).unwrap();
    let run = Description::read(folder.path()).unwrap();
    assert_eq!((&*run.model, run.passages.count), ("scripted", 3));
    let prompt = PromptVersion::Definition;
    let error = Annotation::open(folder.path(), &passages, prompt, None, &teacher).unwrap_err();
    assert!(matches!(error, DistillError::OtherRun { key: "prompt", .. }), "{error}");
    write_passages(&passages, (0..4).map(passage));
    let prompt = PromptVersion::Type;
    let error = Annotation::open(folder.path(), &passages, prompt, None, &teacher).unwrap_err();
    assert!(matches!(error, DistillError::OtherRun { key: "passages", .. }), "{error}");
}
