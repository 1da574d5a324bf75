//! The commands on a software GPU compute the same as on the CPU.

use serde_json::Value;

use crate::{Desk, fixture};

/// A desk; `None` without a software adapter.
fn desk() -> Option<Desk> {
    let desk = Desk::new();
    let outcome = desk.uner(&["doctor", "--device", "webgpu:cpu"]);
    if outcome.code == Some(0) {
        return Some(desk);
    }
    assert!(std::env::var("UNER_REQUIRE_WEBGPU").is_err(), "{}", outcome.stderr);
    eprintln!("SKIPPED: {}", outcome.stderr);
    None
}

fn close(what: &str, got: &Value, expected: &Value, tolerance: f64) {
    let (got, expected) = (got.as_f64().unwrap(), expected.as_f64().unwrap());
    assert!(
        (got - expected).abs() <= tolerance * expected.abs(),
        "{what}: {got} is not {expected}"
    );
}

/// The metrics of a run's steps.
fn steps(desk: &Desk, run: &str) -> Vec<Value> {
    let text = desk.read(&format!("{run}/metrics.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == "step").collect()
}

#[test]
fn a_run_from_recipe_to_prediction() {
    let Some(desk) = desk() else { return };
    desk.train(&["run.dir=cpu", "eval.benchmarks=[]"]).succeeds();
    let outcome = desk.train(&["run.dir=gpu", "run.device=webgpu:cpu"]);
    assert!(outcome.succeeds().stderr.contains("device      webgpu:cpu ("), "{}", outcome.stderr);
    assert!(outcome.stdout.contains("strict F1 unseen"), "{}", outcome.stdout);
    let (cpu, gpu) = (steps(&desk, "cpu"), steps(&desk, "gpu"));
    assert_eq!((cpu.len(), gpu.len()), (4, 4));
    for (gpu, cpu) in gpu.iter().zip(&cpu) {
        // f32 on both, with sums in another order, and four updates by AdamW, which first divides
        // by roots near zero.
        close("loss", &gpu["loss"], &cpu["loss"], 1e-4);
        close("gradient norm", &gpu["grad_norm"], &cpu["grad_norm"], 1e-3);
    }
    let predict = |device: &str| {
        let args =
            ["predict", "--model", "gpu", "--text", "Tim lives in Rome.", "--types", "person,city"];
        desk.uner(&[&args[..], &["--device", device]].concat()).succeeds().stdout.clone()
    };
    assert_eq!(predict("webgpu:cpu"), predict("flex"));
    let args = [
        "eval",
        "--model",
        "gpu",
        "--benchmark",
        "demo:validation",
        "--limit",
        "1",
        "--device",
        "webgpu:cpu",
    ];
    assert!(desk.uner(&args).succeeds().stdout.contains("demo by entity type"));
    // Saved on one device, resumed on the other.
    let resume = [
        "train",
        "--recipe",
        "tiny",
        "--resume",
        "--set",
        "run.dir=gpu",
        "--set",
        "train.max_steps=5",
    ];
    desk.uner(&[&resume[..], &["--set", "eval.benchmarks=[]"]].concat()).succeeds();
    assert_eq!(steps(&desk, "gpu").len(), 5);
}

#[test]
fn a_probe() {
    let Some(desk) = desk() else { return };
    let model = fixture("llama/models/mha");
    let case = r#"{"input_ids": [[1, 5, 9, 3, 7, 2, 8]], "labels": [[-100, -100, 9, 3, 7, 2, 8]]}"#;
    desk.write("case.json", case);
    let probe = |device: &str| -> Value {
        let args = [
            "probe",
            "--model",
            model.to_str().unwrap(),
            "--input",
            "case.json",
            "--output",
            "out.safetensors",
        ];
        let outcome =
            desk.uner(&[&args[..], &["--grads", "--generate", "4", "--device", device]].concat());
        serde_json::from_str(&outcome.succeeds().stdout).unwrap()
    };
    let (gpu, cpu) = (probe("webgpu:cpu"), probe("flex"));
    close("loss", &gpu["sum_loss"], &cpu["sum_loss"], 1e-5);
    close("gradient norm", &gpu["grad_norm"], &cpu["grad_norm"], 1e-4);
    assert_eq!(gpu["generation"], cpu["generation"]);
}
