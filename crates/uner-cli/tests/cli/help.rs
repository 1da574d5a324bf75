//! Help texts are frozen: a flag that changes breaks scripts of others.

use crate::Desk;

#[test]
fn help_texts() {
    let desk = Desk::new();
    for command in [
        "",
        "train",
        "report",
        "eval",
        "predict",
        "data",
        "data stats",
        "data validate",
        "data encode",
        "score",
        "serve",
        "probe",
        "export",
        "verify",
        "doctor",
    ] {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        let outcome = desk.uner(&args);
        outcome.succeeds();
        assert_eq!(outcome.stderr, "");
        insta::assert_snapshot!(format!("help {command}").trim().replace(' ', "-"), outcome.stdout);
    }
}

#[test]
fn uner_train_is_uner_train() {
    let desk = Desk::new();
    let uner_train =
        |arg: &str| desk.run(std::process::Command::new(env!("CARGO_BIN_EXE_uner-train")).arg(arg));
    let help = desk.uner(&["train", "--help"]).stdout.replace("uner train", "uner-train");
    assert_eq!(
        uner_train("--help").succeeds().stdout,
        format!("{help}  -V, --version                       Print version\n")
    );
    assert!(uner_train("--version").succeeds().stdout.starts_with("uner-train "));
}

#[test]
fn usage_errors_have_the_exit_code_2() {
    let desk = Desk::new();
    for args in [
        &["train"][..],
        &["train", "--recipe", "tiny", "--no-such-flag"],
        &["train", "--recipe", "tiny", "--set", "lr"],
        &["score"],
        &["score", "--gold", "a.json"],
        &["score", "--gold", "a", "--predictions", "b", "--bio", "c"],
        &["fly"],
    ] {
        let outcome = desk.uner(args);
        assert_eq!(outcome.code, Some(2), "{args:?}: {}", outcome.stderr);
        assert!(outcome.stdout.is_empty(), "{args:?}");
    }
}
