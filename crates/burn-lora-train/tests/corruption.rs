//! Every file of a checkpoint, damaged in every way that disks and people damage files: a run goes on from what it wrote, or says which file
//! is another and which checkpoint is whole.

mod tiny;

use std::fs;
use std::path::{Path, PathBuf};

use burn_lora_train::TrainError;
use burn_lora_train::checkpoint::Checkpoints;
use burn_lora_train::observe::Observer;
use burn_lora_train::run::{RunOptions, train};
use tiny::Tiny;

const SETTINGS: [&str; 3] = ["train.steps=4", "train.save_every=2", "train.keep=5"];

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What a file may have become: cut off anywhere, longer, a bit turned in ten places, and a block of nothing in its middle.
fn damaged(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for length in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        all.push((format!("cut to {length}"), bytes[..length].to_vec()));
    }
    all.push(("longer".to_owned(), [bytes, b"\n"].concat()));
    for place in 0..10 {
        let at = (bytes.len() - 1) * place / 9;
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (place % 8);
        all.push((format!("bit {} of byte {at}", place % 8), flipped));
    }
    let (mut zeroed, middle) = (bytes.to_vec(), bytes.len() / 2);
    let end = bytes.len().min(middle + 512);
    zeroed[middle..end].fill(0);
    all.push(("zeroed".to_owned(), zeroed));
    all
}

/// Runs with an adapter and of all parameters, whose checkpoints hold other files.
#[test]
fn whatever_happens_to_a_file_of_a_checkpoint_is_refused_by_its_name_and_an_older_one_offered() {
    let tiny = Tiny::new();
    let runs: [(&str, &[&str], &[&str]); 2] = [
        (
            "adapter",
            &[],
            &[
                "adapter_config.json",
                "adapter_model.safetensors",
                "manifest.json",
                "optimizer.bpk",
                "state.json",
            ],
        ),
        (
            "full",
            &["adapter.method=full"],
            &["manifest.json", "optimizer.bpk", "state.json", "trained.safetensors"],
        ),
    ];
    let mut tried = 0;
    for (run, more, expected) in runs {
        let settings = [&SETTINGS[..], more].concat();
        tiny.train(run, &settings, false);
        let other = format!("{run}-seed");
        tiny.train(&other, &[&settings[..], &["train.seed=9"]].concat(), false);
        let checkpoints = |run: &str| tiny.path(run).join("checkpoints");
        let newest = checkpoints(run).join("step-000004");
        let whole = checkpoints(run).join("step-000002");
        let of_other_seed = checkpoints(&other).join("step-000004");
        assert_eq!(names(&newest), expected, "{run}");
        let of_run = Checkpoints::new(checkpoints(run), 5);
        let refused = |file: &str, how: &str| match of_run.newest() {
            Err(TrainError::Checkpoint { path, file: named, whole: offered, .. }) => {
                assert_eq!((path, named.as_str()), (newest.clone(), file), "{run}: {how}");
                assert_eq!(offered, Some(whole.clone()), "{run}: {file}: {how}");
            }
            other => panic!("{run}: {file}: {how}: {other:?}"),
        };
        for file in expected {
            let at = newest.join(file);
            let bytes = fs::read(&at).unwrap();
            let of = |dir: &PathBuf| fs::read(dir.join(file)).unwrap();
            let mut cases = damaged(&bytes);
            cases.push(("of another step".to_owned(), of(&whole)));
            // The configuration of an adapter is the same in every checkpoint; a whole manifest of another run is that run's.
            if of(&of_other_seed) != bytes && *file != "manifest.json" {
                cases.push(("of another seed".to_owned(), of(&of_other_seed)));
            }
            for (how, content) in cases.into_iter().filter(|(_, content)| *content != bytes) {
                fs::write(&at, content).unwrap();
                refused(file, &how);
                tried += 1;
            }
            fs::remove_file(&at).unwrap();
            refused(file, "gone");
            fs::create_dir(&at).unwrap();
            refused(file, "a directory");
            fs::remove_dir(&at).unwrap();
            fs::write(&at, &bytes).unwrap();
            tried += 2;
        }
        assert_eq!(of_run.newest().unwrap().unwrap().step, 4, "{run}: put back, it is whole");

        // Another run's manifest names other files; with all of them beside it, it is another run's checkpoint.
        fs::copy(of_other_seed.join("manifest.json"), newest.join("manifest.json")).unwrap();
        assert!(matches!(of_run.newest(), Err(TrainError::Checkpoint { .. })), "{run}");
        for file in expected {
            fs::copy(of_other_seed.join(file), newest.join(file)).unwrap();
        }
        let resume = || RunOptions { resume: true, ..RunOptions::silent() };
        let resumed = train(tiny.config(run, &settings), resume(), &Observer::silent());
        assert!(matches!(resumed, Err(TrainError::OtherRun { .. })), "{run}: {resumed:?}");
        tried += 2;

        // The advice, followed: the newest removed, the run goes on from the older one to the same end.
        let end = |run: &str| match more {
            [] => tiny.path(run).join("adapter/adapter_model.safetensors"),
            _ => tiny.path(run).join("model/model.safetensors"),
        };
        let before = fs::read(end(run)).unwrap();
        fs::remove_dir_all(&newest).unwrap();
        train(tiny.config(run, &settings), resume(), &Observer::silent()).unwrap();
        assert!(fs::read(end(run)).unwrap() == before, "{run}: the results differ");
    }
    assert!(tried > 150, "{tried}");
}
