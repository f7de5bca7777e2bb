//! What a run leaves to go on from, and when it may.

mod tiny;

use std::fs;
use std::path::Path;

use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::inputs::Changed;
use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::run::{RunOptions, train};
use tiny::Tiny;

const SETTINGS: [&str; 3] = ["train.steps=4", "train.save_every=2", "train.keep=5"];

fn resume(
    tiny: &Tiny,
    run: &str,
    more: &[&str],
    options: RunOptions,
) -> Result<Summary, TrainError> {
    let options = RunOptions { resume: true, ..options };
    train(tiny.config(run, &[&SETTINGS[..], more].concat()), options, &Observer::silent())
}

/// As a run that was killed after its checkpoint of step 2 leaves its directory.
fn lost(tiny: &Tiny, run: &str) {
    tiny.train(run, &SETTINGS, false);
    fs::remove_dir_all(tiny.path(run).join("checkpoints/step-000004")).unwrap();
    fs::remove_dir_all(tiny.path(run).join("adapter")).unwrap();
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn equal_runs_leave_equal_checkpoints_and_a_resumed_one_the_same() {
    let tiny = Tiny::new();
    tiny.train("one", &SETTINGS, false);
    lost(&tiny, "other");
    let last = "checkpoints/step-000004";
    resume(&tiny, "other", &[], RunOptions::silent()).unwrap();
    let [one, other] = ["one", "other"].map(|run| files(&tiny.path(run).join(last)));
    for ((name, one), (_, other)) in one.iter().zip(&other) {
        // The seconds of the steps are in the records, and so in the manifest that covers them.
        assert!(name == "manifest.json" || one == other, "{name} differs");
    }
    assert_eq!(one.len(), other.len());
}

#[test]
fn other_data_or_another_base_is_told_by_file_and_needs_to_be_allowed() {
    let cases: [(&str, Changed); 2] =
        [("rows.jsonl", Changed::Data), ("model/tokenizer_config.json", Changed::Base)];
    for (file, kind) in cases {
        let tiny = Tiny::new();
        lost(&tiny, "run");
        let changed = fs::read_to_string(tiny.path(file)).unwrap() + "\n";
        fs::write(tiny.path(file), changed).unwrap();
        match resume(&tiny, "run", &[], RunOptions::silent()).unwrap_err() {
            TrainError::InputsChanged { changes, kinds, .. } => {
                assert_eq!((changes.len(), kinds), (1, vec![kind]));
                assert!(changes[0].contains(file.rsplit('/').next().unwrap()), "{changes:?}");
            }
            other => panic!("{other}"),
        }
        let allow_changed = vec![kind];
        let options = RunOptions { allow_changed, ..RunOptions::silent() };
        assert_eq!(resume(&tiny, "run", &[], options).unwrap().steps, 4);
    }
}

#[test]
fn a_checkpoint_of_another_run_is_not_this_ones() {
    let tiny = Tiny::new();
    for (run, other) in [("seed", "train.seed=5"), ("rate", "train.learning_rate=0.01")] {
        let from = format!("{run}-other");
        tiny.train(&from, &[&SETTINGS[..], &[other]].concat(), false);
        lost(&tiny, run);
        let place = |run: &str| tiny.path(run).join("checkpoints/step-000002");
        fs::remove_dir_all(place(run)).unwrap();
        fs::rename(place(&from), place(run)).unwrap();
        let refused = resume(&tiny, run, &[], RunOptions::silent());
        assert!(matches!(refused, Err(TrainError::OtherRun { .. })), "{run}: {refused:?}");
    }
}

#[test]
fn the_advice_of_a_damaged_checkpoint_works_when_it_is_followed() {
    let tiny = Tiny::new();
    tiny.train("whole", &SETTINGS, false);
    tiny.train("run", &SETTINGS, false);
    let newest = tiny.path("run/checkpoints/step-000004");
    fs::remove_file(newest.join("optimizer.bpk")).unwrap();
    let error = resume(&tiny, "run", &[], RunOptions::silent()).unwrap_err();
    match &error {
        TrainError::Checkpoint { file, whole: Some(whole), .. } => {
            assert_eq!(file, "optimizer.bpk");
            assert!(whole.ends_with("step-000002"));
        }
        other => panic!("{other}"),
    }
    assert!(error.to_string().contains(&format!("remove `{}`", newest.display())), "{error}");
    fs::remove_dir_all(&newest).unwrap();
    resume(&tiny, "run", &[], RunOptions::silent()).unwrap();
    assert!(tiny.adapter("run") == tiny.adapter("whole"), "the adapters differ");
}

#[test]
fn a_longer_run_is_a_choice_and_must_be_longer() {
    let tiny = Tiny::new();
    tiny.train("run", &SETTINGS, false);
    let extend = || RunOptions { extend: true, ..RunOptions::silent() };
    let refused = resume(&tiny, "run", &[], extend());
    assert!(matches!(refused, Err(TrainError::NotLonger { taken: 4, steps: 4, .. })));
    let unasked = resume(&tiny, "run", &["train.steps=6"], RunOptions::silent());
    assert!(matches!(unasked, Err(TrainError::ResumeDiffers { lengths_only: true, .. })));
    let longer = resume(&tiny, "run", &["train.steps=6"], extend()).unwrap();
    assert_eq!((longer.steps, longer.planned_steps), (6, 6));
    let config = fs::read_to_string(tiny.path("run/config.toml")).unwrap();
    assert!(config.contains("steps = 6\n"), "the run is the longer one from now on: {config}");
    // Goes on as that run does.
    fs::remove_dir_all(tiny.path("run/checkpoints/step-000006")).unwrap();
    assert_eq!(resume(&tiny, "run", &["train.steps=6"], RunOptions::silent()).unwrap().steps, 6);
}

#[test]
fn records_that_were_altered_are_refused_and_salvaged_where_that_is_asked_for() {
    let tiny = Tiny::new();
    lost(&tiny, "run");
    let path = tiny.path("run/metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    fs::write(&path, [lines[0], lines[2], ""].join("\n")).unwrap();
    match resume(&tiny, "run", &[], RunOptions::silent()).unwrap_err() {
        TrainError::Metrics { line, .. } => assert_eq!(line, 2),
        other => panic!("{other}"),
    }
    let options = RunOptions { allow_changed: vec![Changed::Metrics], ..RunOptions::silent() };
    assert_eq!(resume(&tiny, "run", &[], options).unwrap().steps, 4);
}

#[test]
fn a_run_whose_directory_goes_ends_with_that_error_and_makes_no_half_of_it_again() {
    let tiny = Tiny::new();
    let run = tiny.path("run");
    let observer = Observer::new(move |event| {
        if event == Event::Stage("training".to_owned()) {
            fs::remove_dir_all(&run).unwrap();
        }
    });
    let ended = train(tiny.config("run", &SETTINGS), RunOptions::silent(), &observer);
    assert!(matches!(ended, Err(TrainError::Vanished { .. })), "{ended:?}");
    assert!(!tiny.path("run").exists());
}

#[test]
fn an_interrupted_run_says_so_and_compares_no_evaluation_with_itself() {
    let tiny = Tiny::new();
    let options = RunOptions::silent();
    options.interrupter.stop(Some("enough"));
    let summary = train(tiny.config("run", &SETTINGS), options, &Observer::silent()).unwrap();
    assert!(summary.interrupted && (summary.steps, summary.planned_steps) == (1, 4));
    assert!(summary.to_string().contains("before training, and not measured since"), "{summary}");
    let whole = resume(&tiny, "run", &[], RunOptions::silent()).unwrap();
    assert!(!whole.interrupted && whole.steps == whole.planned_steps);
}
