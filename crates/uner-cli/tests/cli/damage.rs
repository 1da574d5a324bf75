//! Full or read-only disks and changed files: refused or survived, with earlier checkpoints intact.

use std::path::Path;
use std::process::Command;

use crate::{DURING, Desk, RECIPE};

const RESUME: [&str; 6] = ["train", "--recipe", "tiny", "--set", "eval.benchmarks=[]", "--resume"];

/// A run with checkpoints after steps 2 and 4, reset to the former.
fn half_done() -> Desk {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    fs_err::remove_dir_all(desk.path("run/step-000004")).unwrap();
    desk.write("run/latest", "step-000002");
    desk
}

/// Asserts that the checkpoint of step 2 is unchanged, and that the run can be resumed from it.
fn assert_unharmed(desk: &Desk) {
    assert_eq!(desk.read("run/latest"), "step-000002");
    let names = desk.names();
    assert!(!names.iter().any(|name| name.starts_with("step-000004")), "{names:?}");
    desk.uner(&RESUME).succeeds();
    let whole = Desk::new();
    whole.train(&["eval.benchmarks=[]"]).succeeds();
    let weights =
        |desk: &Desk| fs_err::read(desk.path("run/step-000004/model.safetensors")).unwrap();
    assert!(weights(desk) == weights(&whole), "the weights differ");
}

/// A full disk without root rights: the size of a file is limited, and writing fails in the middle
/// of the weights with `File too large` instead of `No space left on device`.
#[cfg(unix)]
#[test]
fn a_file_that_cannot_grow_leaves_no_checkpoint_and_keeps_the_earlier_one() {
    let limited = |desk: &Desk, args: &str| {
        // `ulimit -f` counts 512 bytes: the weights take 132 KiB, the encoded sentences less than
        // 100. Without the trap, the signal ends the program before it prints an error.
        let script = format!(
            "trap '' XFSZ; ulimit -f 220; exec \"$0\" train --recipe tiny --set eval.benchmarks=[] {args}"
        );
        desk.run(Command::new("/bin/sh").args(["-c", &script, env!("CARGO_BIN_EXE_uner")]))
    };
    let parts = ["was not written", "model.safetensors", "File too large", "go on with `--resume`"];
    let desk = Desk::new();
    limited(&desk, "").fails(1, &parts);
    let names = desk.names();
    assert!(!names.iter().any(|name| name.starts_with("step-") || name == "latest"), "{names:?}");

    let desk = half_done();
    limited(&desk, "--resume").fails(1, &parts);
    assert_unharmed(&desk);
}

/// Resumes the run between `mount` and `unmount`, in a mount namespace that ends with it. `None` if
/// mounting is not permitted.
#[cfg(target_os = "linux")]
fn mounted(desk: &Desk, mount: &str, unmount: &str) -> Option<crate::Outcome> {
    let permitted =
        Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !permitted.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: mounting is not permitted here");
        return None;
    }
    let script = format!(
        "{mount} || exit 99; \"$0\" train --recipe tiny --set eval.benchmarks=[] --resume; code=$?; {unmount} || exit 99; exit $code"
    );
    Some(desk.run(Command::new("unshare").args([
        "-m",
        "sh",
        "-c",
        &script,
        env!("CARGO_BIN_EXE_uner"),
    ])))
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_the_earlier_checkpoint() {
    let desk = half_done();
    // A checkpoint takes 440 KiB: the disk has room for the existing one, the encoded sentences,
    // and part of another.
    let mount = "mkdir small && mount -t tmpfs -o size=800k none small && cp -a run/. small && mount --bind small run";
    let Some(outcome) = mounted(&desk, mount, "umount run && rm -r run && cp -a small run") else {
        return;
    };
    outcome.fails(1, &["the checkpoint after step 4 was not written", "No space left on device"]);
    assert_unharmed(&desk);
}

#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_told_and_unharmed() {
    let desk = half_done();
    let mount = "mount --bind run run && mount -o remount,ro,bind run";
    let Some(outcome) = mounted(&desk, mount, "umount run") else { return };
    outcome.fails(1, &["`run`", "Read-only file system"]);
    assert_unharmed(&desk);
}

fn flip(path: &Path, place: usize) {
    let mut bytes = fs_err::read(path).unwrap();
    let middle = bytes.len() * place / 12;
    bytes[middle] ^= 4;
    fs_err::write(path, bytes).unwrap();
}

#[test]
fn a_flipped_bit_in_any_file_is_found_and_the_run_goes_on_from_the_checkpoint_before() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let weights = fs_err::read(desk.path("run/step-000004/model.safetensors")).unwrap();
    let folder = desk.path("run/step-000004");
    let entries = fs_err::read_dir(&folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 11, "{files:?}");
    for (file, place) in files.iter().zip(1..) {
        flip(file, place);
        let asked = desk.uner(&["predict", "--model", "run", "--text", "a", "--types", "b"]);
        assert_goes_on_from_the_second(asked.succeeds(), file.to_str().unwrap());
        desk.uner(&[&RESUME[..], &["run/step-000004"]].concat()).fails(1, &["run/step-000004"]);
        desk.uner(&["verify", "run"]).fails(1, &["run/step-000004", "1 of 2 checkpoints"]);
        let resumed = desk.uner(&RESUME);
        assert_goes_on_from_the_second(resumed.succeeds(), file.to_str().unwrap());
        assert!(weights == fs_err::read(desk.path("run/step-000004/model.safetensors")).unwrap());
    }
    assert!(desk.uner(&["verify", "run"]).succeeds().stdout.contains("run/step-000004"));
}

fn assert_goes_on_from_the_second(outcome: &crate::Outcome, what: &str) {
    let said = "using `run/step-000002`, the newest intact checkpoint";
    assert!(outcome.stderr.contains(said), "{what}: {}", outcome.stderr);
}

#[test]
fn a_step_without_its_manifest_or_with_an_empty_one_is_damaged() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    let step = desk.path("run/step-000004");
    for manifest in [None, Some("{}")] {
        match manifest {
            None => {
                fs_err::remove_file(step.join("manifest.json")).unwrap();
                fs_err::remove_file(step.join("state.json")).unwrap();
            }
            Some(text) => fs_err::write(step.join("manifest.json"), text).unwrap(),
        }
        desk.uner(&["verify", "run"]).fails(1, &["run/step-000004", "1 of 2 checkpoints"]);
        assert_goes_on_from_the_second(desk.uner(&RESUME).succeeds(), &format!("{manifest:?}"));
    }
}

#[test]
fn a_run_without_a_name_for_its_latest_checkpoint_goes_on() {
    let desk = half_done();
    for damage in [None, Some("step-00000q"), Some("step-000004")] {
        match damage {
            None => fs_err::remove_file(desk.path("run/latest")).unwrap(),
            Some(text) => desk.write("run/latest", text),
        }
        // A new run would overwrite it.
        desk.train(&["eval.benchmarks=[]"]).fails(2, &["`run` already contains a run"]);
        let resumed = desk.uner(&RESUME);
        assert_goes_on_from_the_second(resumed.succeeds(), &format!("{damage:?}"));
        assert_eq!(desk.read("run/latest"), "step-000004");
        fs_err::remove_dir_all(desk.path("run/step-000004")).unwrap();
    }
    fs_err::remove_file(desk.path("run/step-000002/manifest.json")).unwrap();
    desk.uner(&RESUME).fails(1, &["step-000004", "no checkpoint of `run` is intact"]);
}

#[test]
fn the_best_checkpoint_is_kept_named_measured_and_asked() {
    let desk = Desk::new();
    desk.write("tiny.toml", &format!("{RECIPE}{DURING}").replace("keep_last = 2", "keep_last = 1"));
    let outcome = desk.train(&["train.max_steps=6", "train.best.patience=2"]);
    outcome.succeeds();
    // Such a small model finds nothing: the first score, 0, is the best, and two more end the run.
    let scores: Vec<_> =
        desk.events("scored").iter().map(|event| event["score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [0.0, 0.0, 0.0], "{}", outcome.stderr);
    assert_eq!(desk.read("run/best"), "step-000002");
    assert_eq!(desk.read("run/latest"), "step-000006");
    assert!(
        outcome.stderr.contains("measuring the best checkpoint, `run/step-000002`"),
        "{}",
        outcome.stderr
    );
    assert_eq!(desk.events("stopped")[0]["best_step"], 2);
    let mut checkpoints = desk.names();
    checkpoints.retain(|name| name.starts_with("step-"));
    checkpoints.sort();
    assert_eq!(checkpoints, ["step-000002", "step-000006"]);

    // The run's folder resolves to its best checkpoint; the other is not needed.
    fs_err::remove_dir_all(desk.path("run/step-000006")).unwrap();
    desk.uner(&["predict", "--model", "run", "--text", "a", "--types", "b"]).succeeds();
}

/// Commands on a run's folder use its newest intact checkpoint, as resuming does.
#[test]
fn a_run_is_asked_by_its_newest_whole_checkpoint() {
    let desk = half_done();
    let ask = || desk.uner(&["predict", "--model", "run", "--text", "a", "--types", "b"]);
    fs_err::remove_file(desk.path("run/latest")).unwrap();
    assert_goes_on_from_the_second(ask().succeeds(), "without `latest`");
    let names = desk.names();
    let newest = names.iter().filter(|name| name.starts_with("step-")).max().unwrap().clone();
    desk.uner(&["train", "--recipe", "tiny", "--resume", "run/step-999999"]).fails(
        1,
        &["checkpoint `run/step-999999` does not exist; the run has", &format!("`run/{newest}`")],
    );
    desk.write("run/latest", "step-000777");
    assert_goes_on_from_the_second(ask().succeeds(), "a step that is not there");
}

/// In a run's folder, only regular files are read and written.
#[test]
fn odd_files_in_the_folder_of_a_run_are_refused_by_name() {
    let desk = half_done();
    let resume = || desk.uner(&["train", "--recipe", "tiny", "--resume"]);
    for name in ["metrics.jsonl", "recipe.toml", "lock"] {
        let path = desk.path(&format!("run/{name}"));
        let kept = fs_err::read(&path).unwrap_or_default();
        let _ = fs_err::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        resume().fails(1, &[&format!("run/{name}` is not a regular file")]);
        fs_err::remove_file(&path).unwrap();
        fs_err::write(&path, kept).unwrap();
    }
    desk.write("precious", "words");
    fs_err::remove_file(desk.path("run/lock")).unwrap();
    std::os::unix::fs::symlink(desk.path("precious"), desk.path("run/lock")).unwrap();
    resume().fails(1, &["run/lock` is not a regular file"]);
    assert_eq!(desk.read("precious"), "words");
}

/// A run does not start in a folder with other content.
#[test]
fn a_run_writes_over_no_recipe_and_no_model() {
    let desk = Desk::new();
    desk.write("recipe.toml", &crate::RECIPE.replace("dir = \"run\"", "dir = \".\""));
    let before = desk.read("recipe.toml");
    desk.uner(&["train", "--recipe", "./recipe.toml"])
        .fails(1, &["holds `recipe.toml` and is not the folder of a run"]);
    assert_eq!(desk.read("recipe.toml"), before);
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.uner(&["export", "--model", "run", "--output", "model"]).succeeds();
    desk.train(&["run.dir=model"]).fails(1, &["holds `config.json`", "choose another folder"]);
}

#[test]
fn probing_stays_inside_the_model_s_window() {
    let desk = Desk::new();
    desk.train(&["eval.benchmarks=[]"]).succeeds();
    desk.write("case.json", r#"{"input_ids": [[1, 2]]}"#);
    let probe = |count: &str| {
        desk.uner(&[
            "probe",
            "--model",
            "run",
            "--input",
            "case.json",
            "--output",
            "x.safetensors",
            "--generate",
            count,
        ])
    };
    probe("3").succeeds();
    for count in ["511", "99999999999", "18446744073709551615"] {
        probe(count).fails(1, &["2 ids and", count, "was made for 512"]);
    }
}
