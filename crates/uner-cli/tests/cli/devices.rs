//! Devices: wrong names, missing backends and devices, and `uner doctor`.

use serde_json::Value;

use crate::Desk;

/// Backends with their cargo features, and whether this program has them.
const BACKENDS: [(&str, bool); 3] = [
    ("webgpu", cfg!(feature = "webgpu")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("cuda", cfg!(feature = "cuda")),
];

#[test]
fn a_name_that_is_wrong() {
    let desk = Desk::new();
    let ask =
        ["predict", "--model", "run", "--text", "Tim", "--types", "person", "--device", "cdua:0"];
    let outcome = desk.uner(&ask);
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    for part in ["--device", "`cdua:0` is not a device", "did you mean `cuda:0`?"] {
        assert!(outcome.stderr.contains(part), "`{part}` is not in {}", outcome.stderr);
    }
    desk.train(&["run.device=cpu"])
        .fails(2, &["`--set run.device=cpu`: `run.device`: `cpu` is not a device", "`flex`"]);
    desk.write("tiny.toml", &crate::RECIPE.replace("\"flex\"", "\"webgpu:cpuu\""));
    desk.train(&[]).fails(
        2,
        &["tiny.toml:5: `run.device`: `webgpu:cpuu` is not a device", "did you mean `webgpu:cpu`?"],
    );
    assert!(!desk.path("run").exists());
}

#[test]
fn a_backend_that_is_not_compiled_in() {
    let desk = Desk::new();
    for (backend, _) in BACKENDS.iter().filter(|(_, compiled)| !compiled) {
        let outcome = desk.train(&[&format!("run.device={backend}")]);
        let command = format!("cargo build --release --package uner-cli --features {backend}");
        outcome.fails(
            1,
            &[
                &format!("`{backend}:0` needs a program built with the feature `{backend}`"),
                &command,
            ],
        );
        assert!(!desk.path("run").exists());
    }
}

#[test]
fn a_device_that_is_not_there() {
    let desk = Desk::new();
    for (backend, _) in BACKENDS.iter().filter(|(_, compiled)| *compiled) {
        let outcome =
            desk.uner(&["train", "--recipe", "tiny", "--device", &format!("{backend}:1000")]);
        outcome.fails(1, &[&format!("`{backend}:1000`")]);
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        assert!(!desk.path("run").exists());
    }
}

#[test]
fn a_plan_says_where_and_is_made_without_the_device() {
    let desk = Desk::new();
    let plan =
        |device: &str| desk.uner(&["train", "--recipe", "tiny", "--dry-run", "--device", device]);
    let outcome = plan("flex");
    assert!(
        outcome.succeeds().stdout.contains("device      flex (the CPU)\n"),
        "{}",
        outcome.stdout
    );
    let outcome = plan("cuda:1000");
    assert!(outcome.succeeds().stdout.contains("device      `cuda:1000` "), "{}", outcome.stdout);
    assert!(outcome.stdout.contains("assumed (the device is not here)"), "{}", outcome.stdout);
}

/// The JSON report with every value replaced by its type, and only the first item of each list (the
/// device that every machine has).
fn shape(report: &Value) -> Value {
    match report {
        Value::Null => Value::Null,
        Value::Bool(_) => "true or false".into(),
        Value::Number(_) => "a number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => items.iter().take(1).map(shape).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
        }
    }
}

#[test]
fn the_doctor_tries_every_device() {
    let desk = Desk::new();
    let outcome = desk.uner(&["doctor", "--json"]);
    let mut report: Value = serde_json::from_str(&outcome.succeeds().stdout).unwrap();
    let backends = report["backends"].as_array().unwrap().clone();
    let mut expected = vec!["flex"];
    expected.extend(BACKENDS.iter().filter(|(_, compiled)| *compiled).map(|(backend, _)| *backend));
    assert_eq!(backends, expected);
    // Every backend has a device, or a reason why it has none.
    for backend in &expected {
        let devices = report["devices"].as_array().unwrap().iter().map(|device| &device["device"]);
        let told: Vec<&Value> = devices.chain(report["absent"].as_array().unwrap()).collect();
        let named =
            |told: &&Value| told.as_str().unwrap().trim_start_matches('`').starts_with(backend);
        assert!(told.iter().any(named), "`{backend}` is not in {report}");
    }
    assert_eq!(report["cuda"].is_array(), cfg!(feature = "cuda"));
    // Fields that depend on features and hardware were tested above; the others are frozen.
    let fields = report.as_object_mut().unwrap();
    fields.remove("cuda");
    fields.remove("absent");
    insta::assert_snapshot!("doctor-json", serde_json::to_string_pretty(&shape(&report)).unwrap());
}

#[test]
fn the_doctor_speaks_to_people() {
    let desk = Desk::new();
    let outcome = desk.uner(&["doctor"]);
    let names: Vec<&str> = outcome
        .succeeds()
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(names[..4], ["uner", "backends", "CPU", "memory"]);
    let flex = desk.uner(&["doctor", "--device", "flex"]);
    assert!(
        flex.succeeds().stdout.starts_with("flex          ok: RMSNorm is off by "),
        "{}",
        flex.stdout
    );
    assert!(outcome.stdout.contains(flex.stdout.lines().next().unwrap()), "{}", outcome.stdout);
    let outcome = desk.uner(&["doctor", "--device", "cuda:1000"]);
    outcome.fails(1, &["`cuda:1000`"]);
}

/// Without NVIDIA's driver, a program with CUDA starts and reports what is missing.
#[cfg(feature = "cuda")]
#[test]
fn what_cuda_lacks_is_told() {
    let desk = Desk::new();
    let toolkit = desk.path("toolkit");
    fs_err::create_dir_all(toolkit.join("include")).unwrap();
    fs_err::write(toolkit.join("include/cuda_fp16.h"), "").unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
    let outcome = desk.run(command.args(["doctor", "--json"]).env("CUDA_PATH", &toolkit));
    // Without these headers, a GPU cannot be used either.
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let finding = |what: &str| {
        let found =
            report["cuda"].as_array().unwrap().iter().find(|finding| finding["what"] == what);
        found.unwrap_or_else(|| panic!("`{what}` is not in {report}")).clone()
    };
    let headers = finding("headers");
    assert_eq!(headers["ok"], false);
    let text = headers["text"].as_str().unwrap();
    assert!(text.contains("lacks cuda_bf16.h, mma.h, crt/mma.h, cuda/barrier"), "{text}");
    assert!(
        text.contains("pip install nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cccl"),
        "{text}"
    );
    assert_eq!(report["cuda"].as_array().unwrap().len(), 5);
    if finding("driver")["ok"] == false {
        assert!(finding("driver")["text"].as_str().unwrap().contains("NVIDIA's driver"));
        desk.uner(&["doctor", "--device", "cuda"])
            .fails(1, &["`cuda:0` cannot be used: NVIDIA's driver"]);
    }
}

/// The compiler is found in a toolkit of Python wheels, which is not in the loader's path.
#[cfg(feature = "cuda")]
#[test]
fn the_compiler_and_its_headers_are_found_below_cuda_path() {
    let Some(sdk) = std::env::var_os("UNER_CUDA_SDK") else {
        eprintln!("SKIPPED: set UNER_CUDA_SDK to a folder with NVIDIA's wheels, as .ci/run does");
        return;
    };
    let desk = Desk::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_uner"));
    let outcome = desk.run(command.args(["doctor", "--json"]).env("CUDA_PATH", &sdk));
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let cuda = report["cuda"].as_array().unwrap();
    let text = |what: &str| {
        cuda.iter().find(|finding| finding["what"] == what).unwrap()["text"].to_string()
    };
    let sdk = sdk.to_str().unwrap();
    assert!(text("headers").contains(&format!("{sdk}/include")), "{report}");
    assert!(text("NVRTC").contains("13.2"), "{report}");
}
