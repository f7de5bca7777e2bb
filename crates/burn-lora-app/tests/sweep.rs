//! A sweep over a tiny model: what its points are, that a second one has nothing to do, and that shards leave what it leaves.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::sync::{Arc, Mutex};

use burn_lora_app::sweep::{Grid, PointState, Results, Shard, Sweep};
use burn_lora_train::observe::{Event, Observer};
use burn_train::Interrupter;
use tiny::Tiny;

#[test]
fn points_are_the_runs_they_would_be_alone_and_a_second_sweep_runs_nothing() {
    let tiny = Tiny::new();
    let base = tiny.config("lone-2", &["adapter.rank=2"]);
    fs::write(tiny.path("run.toml"), base.to_toml().unwrap()).unwrap();
    let sets = ["adapter.rank=2,3".to_owned(), "adapter.alpha=6".to_owned()];
    let grid = Grid::parse(&sets).unwrap();
    let sweep = || Sweep::read(tiny.path("run.toml"), &grid, Some(&tiny.path("sweep"))).unwrap();
    let results = sweep().run(&Interrupter::new(), &Observer::silent()).unwrap();
    assert!(results.points.iter().all(|point| point.state == PointState::Finished), "{results}");
    for rank in [2, 3] {
        let (lone, point) = (format!("lone-{rank}"), format!("sweep/rank-{rank}"));
        tiny.train(&lone, &[&format!("adapter.rank={rank}"), "adapter.alpha=6"], false);
        assert_eq!(tiny.adapter(&point), tiny.adapter(&lone), "rank {rank}");
    }

    let before = fs::metadata(tiny.path("sweep/rank-2/metrics.jsonl")).unwrap().modified().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let observer = Observer::new(move |event| {
        if let Event::Line(line) = event {
            told.lock().unwrap().push(line);
        }
    });
    let again = sweep().run(&Interrupter::new(), &observer).unwrap();
    assert_eq!(again.to_string(), results.to_string());
    assert!(seen.lock().unwrap().iter().all(|line| line.ends_with("passed over")), "{seen:?}");
    let after = fs::metadata(tiny.path("sweep/rank-2/metrics.jsonl")).unwrap().modified().unwrap();
    assert_eq!(after, before);
    for file in ["sweep.json", "sweep.md", "sweep.svg"] {
        assert!(tiny.path("sweep").join(file).is_file(), "{file}");
    }
}

/// What a sweep came to, but for wall times.
fn without_times(results: &Results) -> Results {
    let mut results = results.clone();
    for point in &mut results.points {
        (point.seconds, point.tokens_per_second) = (None, None);
    }
    results
}

#[test]
fn shards_leave_the_adapters_and_the_table_of_a_sweep_in_one_process() {
    let tiny = Tiny::new();
    // Two points that come to their end, over epochs, and two whose data is not there.
    let config = tiny.config("unused", &["train.epochs=1", "train.batch_size=5"]);
    fs::write(tiny.path("run.toml"), config.to_toml().unwrap()).unwrap();
    let missing = tiny.path("missing.jsonl");
    let (rows, missing) = (tiny.path("rows.jsonl"), missing.display().to_string());
    let axes = ["adapter.rank=2,3".to_owned(), format!("data.train={},{missing}", rows.display())];
    let grid = Grid::parse(&axes).unwrap();
    let sweep = |out: &str, shard: Shard| {
        let sweep = Sweep::read(tiny.path("run.toml"), &grid, Some(&tiny.path(out))).unwrap();
        sweep.only(shard).run(&Interrupter::new(), &Observer::silent()).unwrap()
    };
    let whole = sweep("whole", Shard::WHOLE);
    let states: Vec<PointState> = whole.points.iter().map(|point| point.state).collect();
    use PointState::{Failed, Finished};
    assert_eq!(states, [Finished, Failed, Finished, Failed], "{whole}");

    let mut shared = None;
    for shard in ["2/3", "0/3", "1/3"] {
        assert!(!tiny.path("shared/sweep.json").exists());
        shared = Some(sweep("shared", shard.parse().unwrap()));
    }
    assert_eq!(without_times(&shared.unwrap()), without_times(&whole));
    for point in whole.points.iter().filter(|point| point.state == Finished) {
        let [one, other] = ["whole", "shared"].map(|dir| format!("{dir}/{}", point.name));
        assert_eq!(tiny.adapter(&one), tiny.adapter(&other), "{}", point.name);
    }
    let file = |dir: &str, name: &str| fs::read(tiny.path(dir).join(name)).unwrap();
    assert_eq!(file("whole", "sweep.svg"), file("shared", "sweep.svg"));
    // No point is run twice, by whichever process.
    assert_eq!(sweep("whole", Shard::WHOLE), whole);
}
