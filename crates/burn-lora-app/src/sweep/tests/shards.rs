//! Points that several processes share out among them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

/// Every file below a directory, by its path from there.
fn files_of(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => left.push(path),
                false => {
                    let inside = path.strip_prefix(dir).unwrap().to_owned();
                    found.insert(inside, fs::read(&path).unwrap());
                }
            }
        }
    }
    found
}

fn rank(config: &RunConfig) -> usize {
    let burn_lora_config::AdapterSection::Lora(section) = &config.adapter else {
        panic!("no rank")
    };
    section.lora.rank
}

/// A sweep over ranks from 1 on.
fn ranks(dir: &Path, count: usize, more: &[&str]) -> Sweep {
    let values: Vec<String> = (1..=count).map(|rank| rank.to_string()).collect();
    let axis = format!("adapter.rank={}", values.join(","));
    sweep(dir, &[&["data.eval=e.jsonl", &*axis][..], more].concat()).unwrap()
}

proptest! {
    // Each case writes some hundred files.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn shards_in_any_order_leave_what_one_process_leaves(
        fails in prop::collection::vec(any::<bool>(), 2..7),
        over_epochs in any::<bool>(),
        order in (2..5_usize)
            .prop_flat_map(|count| Just(Shard::all(count).collect::<Vec<_>>()).prop_shuffle()),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let more: &[&str] = if over_epochs { &["train.epochs=1"] } else { &[] };
        let whole = ranks(dir.path(), fails.len(), more);
        let train = |config: &RunConfig| match fails[rank(config) - 1] {
            true => Err(not_finite()),
            false => Ok(finish(config)),
        };
        let (expected, started, _) = run(&whole, &Interrupter::new(), train);
        prop_assert_eq!(started.len(), fails.len());
        let left = files_of(whole.dir());
        fs::remove_dir_all(whole.dir()).unwrap();

        let mut started = 0;
        let mut last = None;
        for shard in order {
            let (results, own, _) = run(&whole.clone().only(shard), &Interrupter::new(), train);
            started += own.len();
            // Only a table of all points is written.
            prop_assert_eq!(whole.dir().join("sweep.json").exists(), started == fails.len());
            prop_assert_eq!(results.have_ended(), started == fails.len());
            last = Some(results);
        }
        prop_assert_eq!(last.as_ref(), Some(&expected));
        prop_assert!(files_of(whole.dir()) == left, "another file");
        prop_assert_eq!(whole.gather().unwrap(), expected);
        prop_assert!(files_of(whole.dir()) == left, "gathering changed a file");
    }
}

#[test]
fn what_is_gathered_says_how_far_every_point_is() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = ranks(dir.path(), 5, &[]);
    match sweep.gather() {
        Err(SweepError::NothingToGather { dir }) => assert_eq!(dir, sweep.dir()),
        other => panic!("{other:?}"),
    }
    assert!(!sweep.dir().exists());
    let stopped = Interrupter::new();
    let (results, started, _) = run(&sweep, &stopped, |config| match rank(config) {
        1 => Ok(finish(config)),
        2 => Err(not_finite()),
        _ => {
            stopped.stop(Some("enough"));
            fake::leave(config, &[eval(0, 3.0), step(1)], true);
            fake::checkpoint(config, 1);
            Ok(summary(config, 1))
        }
    });
    assert_eq!(started.len(), 3);
    // One that was lost, as a process that is killed leaves it.
    fake::leave(&sweep.plans[3].config, &[eval(0, 3.0), step(1)], false);
    fake::checkpoint(&sweep.plans[3].config, 1);
    use PointState::{Failed, Finished, Interrupted, Pending};
    assert_eq!(states(&results), [Finished, Failed, Interrupted, Pending, Pending]);
    assert_eq!(sweep.gather().unwrap(), results);

    let (results, started, _) = run(&sweep, &Interrupter::new(), |config| Ok(finish(config)));
    let expected =
        ["rank-2 false false", "rank-3 true false", "rank-4 true false", "rank-5 false false"];
    assert_eq!(
        (started.as_slice(), states(&results)),
        (&expected.map(str::to_owned)[..], vec![Finished; 5])
    );
}

#[test]
fn points_that_failed_before_they_had_a_directory_are_gathered() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = ranks(dir.path(), 2, &[]);
    let (results, _, _) = run(&sweep, &Interrupter::new(), |_| Err(not_finite()));
    assert_eq!(sweep.gather().unwrap(), results);
    assert_eq!(states(&results), [PointState::Failed; 2]);
}

#[test]
fn a_point_that_runs_in_another_process_is_left_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = ranks(dir.path(), 2, &[]);
    let running = |config: &RunConfig| match rank(config) {
        1 => Err(TrainError::Running { dir: config.output.dir.clone(), owner: None }),
        _ => Ok(finish(config)),
    };
    let (results, _, lines) = run(&sweep, &Interrupter::new(), running);
    assert_eq!(states(&results), [PointState::Pending, PointState::Finished]);
    assert!(lines[1].starts_with("[1/2] rank-1: runs elsewhere"), "{lines:?}");
    assert!(!sweep.dir().join("points/rank-1.json").exists());
    finish(&sweep.plans[0].config);
    assert_eq!(states(&sweep.gather().unwrap()), [PointState::Finished; 2]);
}

#[test]
fn the_dry_run_of_a_shard_has_its_points_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sweep = ranks(dir.path(), 5, &[]).only("1/3".parse().unwrap());
    let dry = sweep.dry_run().unwrap();
    let names: Vec<&str> = dry.points.iter().map(|point| point.name.as_str()).collect();
    assert_eq!(names, ["rank-2", "rank-5"]);
    assert_eq!(dry.to_run(), 2);
}
