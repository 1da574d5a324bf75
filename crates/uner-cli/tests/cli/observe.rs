//! The records of a run: metrics, the event file, reports, profiles, and the files of guards.

use serde_json::Value;

use crate::Desk;

const NO_SCORES: &str = "eval.benchmarks=[]";

fn events(desk: &Desk, kind: &str) -> Vec<Value> {
    let text = desk.read("run/metrics.jsonl");
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == kind).collect()
}

#[test]
fn every_step_says_what_it_took_and_a_report_draws_it() {
    let desk = Desk::new();
    desk.train(&[NO_SCORES, "train.max_steps=6"]).succeeds();
    let steps = events(&desk, "step");
    assert_eq!(steps.len(), 6);
    for step in &steps {
        let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{step}"));
        let parts: f64 = ["forward", "backward", "optimizer"]
            .iter()
            .map(|part| number(&step["breakdown"][part]))
            .sum();
        assert!(parts > 0.0 && parts <= number(&step["seconds"]), "{step}");
        assert!(number(&step["matmul_utilization"]) > 0.0, "{step}");
        assert!(step["mfu"].is_null(), "the CPU has no data sheet here: {step}");
        assert!(number(&step["flops"]) > 0.0);
        assert_eq!(step["memory_in_use"].is_u64(), cfg!(target_os = "linux"));
        assert!(step["memory_reserved"].is_null() && number(&step["breakdown"]["reduce"]) == 0.0);
    }
    // The checkpoint after the second step is timed in the third.
    assert!(steps[2]["breakdown"]["save"].as_f64().unwrap() > 0.0);
    assert_eq!(steps[1]["breakdown"]["save"].as_f64().unwrap(), 0.0);

    // An incomplete line is ignored.
    desk.write("run/metrics.jsonl", &(desk.read("run/metrics.jsonl") + "{\"event\":\"st"));
    let outcome = desk.uner(&["report", "run"]);
    assert_eq!(outcome.succeeds().stdout, "run/training.html\n");
    let page = desk.read("run/training.html");
    for part in [
        "<title>Training: run</title>",
        "<h2>Loss</h2>",
        "<h2>Learning rate</h2>",
        "<h2>Gradient norm</h2>",
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    for part in [
        "<h2>Tokens a second</h2>",
        "<h2>Matmul utilization</h2>",
        "<svg",
        "moving mean",
        "<td>flex</td>",
        "max_steps = 6",
    ] {
        assert!(page.contains(part), "`{part}` is not in the page");
    }
    assert!(!page.contains("<h2>F1</h2>"), "nothing was scored");
    let outside: Vec<&str> =
        page.split("http").skip(1).filter(|rest| !rest.starts_with("://www.w3.org")).collect();
    assert!(
        outside.is_empty() && !page.contains("<script") && !page.contains("src="),
        "{outside:?}"
    );

    let both = desk.uner(&["report", "run", "run", "--output", "both.html"]);
    assert_eq!(both.succeeds().stdout, "both.html\n");
    assert_eq!(desk.read("both.html").matches("<tr><td>").count(), 2);
    desk.uner(&["report", "nowhere"]).fails(1, &["nowhere/metrics.jsonl` does not exist"]);
}

#[test]
fn the_event_file_goes_on_when_a_run_is_resumed() {
    let desk = Desk::new();
    desk.train(&[NO_SCORES]).succeeds();
    let files = || -> Vec<String> {
        let entries = fs_err::read_dir(desk.path("run")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains("tfevents")).collect()
    };
    let name = files().pop().unwrap();
    let whole = fs_err::read(desk.path("run").join(&name)).unwrap();
    desk.write("run/latest", "step-000002");
    desk.uner(&["train", "--recipe", "tiny", "--set", NO_SCORES, "--resume"]).succeeds();
    assert_eq!(files(), std::slice::from_ref(&name));
    let resumed = fs_err::read(desk.path("run").join(&name)).unwrap();
    // The same records except for times and speeds, which have the same length.
    assert_eq!(resumed.len(), whole.len());
}

#[test]
fn a_profile_names_every_op_and_writes_nothing() {
    let desk = Desk::new();
    let outcome = desk.uner(&["train", "--recipe", "tiny", "--profile", "2"]);
    let table = &outcome.succeeds().stdout;
    let mut shares = 0.0;
    for op in [
        "attention",
        "linear",
        "rms_norm",
        "rope",
        "swiglu",
        "linear_cross_entropy",
        "adamw",
        "squared_norm",
    ] {
        assert!(table.lines().any(|line| line.split(' ').next() == Some(op)), "no {op} in {table}");
    }
    let rows: Vec<&str> =
        table.lines().skip_while(|line| !line.starts_with("op ")).skip(1).collect();
    for row in &rows[..rows.len() - 1] {
        let numbers: Vec<f64> =
            row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // Calls, milliseconds, share, and perhaps a speed; `other` has no calls.
        shares += if row.starts_with("other") { numbers[1] } else { numbers[2] };
    }
    assert!((shares - 100.0).abs() < 0.005 * rows.len() as f64, "{shares}: {table}");
    assert!(rows.last().unwrap().starts_with("step "), "{table}");
    assert!(!desk.path("run").exists());
}

#[test]
fn a_run_that_is_checked_is_the_run_that_is_not() {
    let (plain, checked) = (Desk::new(), Desk::new());
    plain.train(&[NO_SCORES]).succeeds();
    checked
        .uner(&["train", "--recipe", "tiny", "--set", NO_SCORES, "--check-determinism"])
        .succeeds();
    let losses = |desk: &Desk| {
        events(desk, "step").iter().map(|step| step["loss"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(losses(&checked), losses(&plain));
}

/// A learning rate with which the first step ruins the weights.
const RUIN: &str = "train.lr=1e30";

#[test]
fn a_ruined_run_stops_and_writes_down_the_conversations() {
    let desk = Desk::new();
    desk.train(&[NO_SCORES, RUIN])
        .fails(1, &["step 2: the gradient norm is NaN; the step was not applied"]);
    let lines: Vec<Value> = desk
        .read("run/guards/step-000002.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4, "one for each conversation of the step");
    for line in &lines {
        assert_eq!(line["step"], 2);
        assert!(line["loss"].is_number() && line["conversation"].is_u64(), "{line}");
        assert!(line["text"].as_str().unwrap().contains("What describes"), "{line}");
    }
    let told = &events(&desk, "guarded")[0];
    assert_eq!((&told["answer"], &told["step"]), (&Value::from("stop"), &Value::from(2)));
}

#[test]
fn a_ruined_run_goes_on_where_the_recipe_says_so() {
    let desk = Desk::new();
    let guards = "train.guards={non_finite = \"skip\", spike = \"ignore\", spike_z = 6.0, spike_window = 50}";
    let outcome = desk.train(&[NO_SCORES, RUIN, guards]);
    assert!(outcome.succeeds().stderr.contains("the step is skipped"), "{}", outcome.stderr);
    let told = events(&desk, "guarded");
    assert_eq!(
        told.iter().map(|event| event["skipped"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    assert_eq!(events(&desk, "step").len(), 1);
    let bad = "train.guards={non_finite = \"ignore\", spike = \"ignore\", spike_z = 6.0, spike_window = 50}";
    desk.train(&[NO_SCORES, bad, "run.dir=other"]).fails(2, &["`train.guards.non_finite` must be"]);
}
