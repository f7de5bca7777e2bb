use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::observe::{Event, Observer};
use burn_lora_train::scene::Scene;
use burn_train::Interrupter;

use super::fake::{self, eval, step};
use super::*;

mod shards;

fn sweep(dir: &Path, sets: &[&str]) -> Result<Sweep, SweepError> {
    let file = dir.join("run.toml");
    fs::write(&file, fake::text(&dir.join("runs"))).unwrap();
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    Sweep::read(file, &Grid::parse(&sets)?, None)
}

/// What a run of three steps returns after so many of them.
fn summary(config: &RunConfig, steps: usize) -> Summary {
    Summary { dir: config.output.dir.clone(), steps, planned_steps: 3, ..Summary::default() }
}

/// Leaves a finished run whose held-out loss is one over its rank.
fn finish(config: &RunConfig) -> Summary {
    let burn_lora_config::AdapterSection::Lora(section) = &config.adapter else {
        panic!("no rank")
    };
    let loss = 1.0 / section.lora.rank as f64;
    fake::leave(config, &[eval(0, 3.0), step(1), step(2), step(3), eval(3, loss)], true);
    summary(config, 3)
}

/// Runs the sweep with `train`; what was started, as `name resume overwrite`, and the lines told.
fn run(
    sweep: &Sweep,
    interrupter: &Interrupter,
    mut train: impl FnMut(&RunConfig) -> Result<Summary, TrainError>,
) -> (Results, Vec<String>, Vec<String>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let told = lines.clone();
    let observer = Observer::new(move |event| {
        if let Event::Line(line) = event {
            told.lock().unwrap().push(line);
        }
    });
    let mut started = Vec::new();
    let results = sweep
        .run_by(interrupter, &observer, |config, options| {
            let name = config.output.dir.file_name().unwrap().to_str().unwrap().to_owned();
            started.push(format!("{name} {} {}", options.resume, options.overwrite));
            train(&config)
        })
        .unwrap();
    let lines = lines.lock().unwrap().clone();
    (results, started, lines)
}

fn not_finite() -> TrainError {
    TrainError::NotFinite { step: 2, what: "loss", value: f64::NAN, scene: Scene::default() }
}

fn states(results: &Results) -> Vec<PointState> {
    results.points.iter().map(|point| point.state).collect()
}

const RANKS: [&str; 2] = ["data.eval=e.jsonl", "adapter.rank=4,8"];

#[test]
fn every_point_runs_into_its_own_directory_and_is_passed_over_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = sweep(dir.path(), &RANKS).unwrap();
    let going = Interrupter::new();
    let (first, started, lines) = run(&sweep, &going, |config| Ok(finish(config)));
    assert_eq!(started, ["rank-4 false false", "rank-8 false false"]);
    assert_eq!(first.best.as_deref(), Some("rank-8"));
    assert_eq!(lines[1], "[1/2] rank-4: held-out loss 3.0000 -> 0.2500, 1.5 s");
    let written = |name: &str| fs::read_to_string(dir.path().join("runs").join(name)).unwrap();
    assert_eq!(written("sweep.json"), first.to_json().unwrap());
    assert_eq!(written("sweep.md"), first.to_string());
    assert!(written("sweep.svg").contains("adapter.rank"));

    let (second, started, _) = run(&sweep, &going, |_| panic!("nothing is left to run"));
    assert!(started.is_empty());
    assert_eq!(second, first);
}

#[test]
fn a_point_that_fails_is_a_row_and_runs_again_the_next_time() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = sweep(dir.path(), &RANKS).unwrap();
    let going = Interrupter::new();
    let (results, _, lines) = run(&sweep, &going, |config| {
        if config.output.dir.ends_with("rank-8") {
            return Ok(finish(config));
        }
        fake::leave(config, &[eval(0, 3.0), step(1)], false);
        Err(not_finite())
    });
    assert_eq!(states(&results), [PointState::Failed, PointState::Finished]);
    assert!(results.points[0].error.as_ref().unwrap().contains("the loss is NaN"));
    assert!(lines[1].starts_with("[1/2] rank-4: failed: step 2"), "{lines:?}");

    let (results, started, _) = run(&sweep, &going, |config| Ok(finish(config)));
    assert_eq!(started, ["rank-4 false true"]);
    assert_eq!(states(&results), [PointState::Finished; 2]);
}

#[test]
fn an_interrupt_ends_the_sweep_and_the_next_one_goes_on_from_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["data.eval=e.jsonl", "adapter.rank=2,4,8"];
    let sweep = sweep(dir.path(), &sets).unwrap();
    let stopped = Interrupter::new();
    let (results, started, _) = run(&sweep, &stopped, |config| {
        if config.output.dir.ends_with("rank-2") {
            return Ok(finish(config));
        }
        stopped.stop(Some("enough"));
        // An interrupted run saves its weights too.
        fake::leave(config, &[eval(0, 3.0), step(1)], true);
        fake::checkpoint(config, 1);
        Ok(summary(config, 1))
    });
    assert_eq!(started.len(), 2);
    let expected = [PointState::Finished, PointState::Interrupted, PointState::Pending];
    assert_eq!(states(&results), expected);

    let (results, started, lines) = run(&sweep, &Interrupter::new(), |config| Ok(finish(config)));
    assert_eq!(started, ["rank-4 true false", "rank-8 false false"]);
    assert_eq!(states(&results), [PointState::Finished; 3]);
    assert_eq!(lines[0], "[1/3] rank-2: finished before, passed over");
}

#[test]
fn a_plan_tells_what_a_sweep_would_do_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["data.eval=e.jsonl", "adapter.rank=1,2,4,8,16"];
    let sweep = sweep(dir.path(), &sets).unwrap();
    let actions =
        |dry: &DrySweep| -> Vec<Action> { dry.points.iter().map(|point| point.action).collect() };
    let dry = sweep.dry_run().unwrap();
    assert_eq!((actions(&dry), dry.to_run()), (vec![Action::Start; 5], 5));
    assert!(!dir.path().join("runs").exists());

    let config = |index: usize| &sweep.plans[index].config;
    finish(config(0));
    fake::leave(config(1), &[eval(0, 3.0), step(1)], false);
    fake::checkpoint(config(1), 1);
    fake::leave(config(2), &[eval(0, 3.0), step(1)], false);
    fs::create_dir_all(&config(3).output.dir).unwrap();
    fs::write(config(3).output.dir.join("config.toml"), "no [toml").unwrap();
    let dry = sweep.dry_run().unwrap();
    let expected =
        [Action::PassOver, Action::Resume, Action::StartOver, Action::Fail, Action::Start];
    assert_eq!((actions(&dry), dry.to_run()), (expected.to_vec(), 3));
    assert!(dry.points[3].error.is_some());
    let lines = dry.to_string();
    assert!(lines.starts_with("would run 3 of 5 points\n"), "{lines}");
    assert!(lines.contains("rank-2   would go on from its checkpoint\n"), "{lines}");
    assert!(!dir.path().join("runs/sweep.json").exists());
}

#[test]
fn points_are_checked_for_memory_unless_the_sweep_is_told_not_to() {
    let checked = |sweep: Sweep| {
        let mut without = Vec::new();
        let results = sweep.run_by(&Interrupter::new(), &Observer::silent(), |config, options| {
            without.push(options.no_memory_check);
            Ok(finish(&config))
        });
        results.unwrap();
        without
    };
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, other] = dirs.each_ref().map(|dir| sweep(dir.path(), &RANKS).unwrap());
    assert_eq!(checked(one), [false, false]);
    assert_eq!(checked(other.without_memory_check()), [true, true]);
}

#[test]
fn a_run_of_other_settings_stops_the_sweep_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let going = Interrupter::new();
    run(&sweep(dir.path(), &RANKS).unwrap(), &going, |config| Ok(finish(config)));
    let other = sweep(dir.path(), &[RANKS[0], "train.seed=3", "adapter.rank=8,16"]).unwrap();
    let error = other
        .run_by(&going, &Observer::silent(), |_, _| panic!("nothing may run"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("rank-8") && error.contains("train.seed: 0 -> 3"), "{error}");
    assert!(!error.contains("rank-16"), "{error}");
}

#[test]
fn all_problems_of_all_points_are_found_before_anything_runs() {
    let dir = tempfile::tempdir().unwrap();
    let sets = ["adapter.rank=4,0", "train.batch_size=x,8", "train.clip=1"];
    let error = sweep(dir.path(), &sets).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "{error}");
    assert!(
        error.contains("override adapter.rank=0") && error.contains("override train.batch_size=x")
    );
    assert!(!dir.path().join("runs").exists());
}

#[test]
fn points_that_are_the_same_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let same = sweep(dir.path(), &["train.learning_rate=1e-4,0.0001"]);
    assert!(matches!(same, Err(SweepError::Same { .. })));
    // The steps take the place of the epochs.
    let same = sweep(dir.path(), &["train.epochs=1,2", "train.steps=3,4"]);
    assert!(matches!(same, Err(SweepError::Same { .. })));
    let several = sweep(dir.path(), &["output.dir=a,b"]);
    assert!(matches!(several, Err(SweepError::Directories)));
}

#[test]
fn the_directory_can_be_given_beside_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    sweep(dir.path(), &[]).unwrap();
    let file = dir.path().join("run.toml");
    let grid = Grid::parse(&["adapter.rank=4,8".to_owned()]).unwrap();
    let out = Path::new("it's 2024");
    let sweep = Sweep::read(file, &grid, Some(out)).unwrap();
    assert_eq!(sweep.dir(), out);
    assert_eq!(sweep.plans[1].config.output.dir, out.join("rank-8"));
}
