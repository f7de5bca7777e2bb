//! A sweep over a tiny model: what its points are, and that a second one has nothing to do.

#[path = "../../burn-lora-train/tests/tiny/mod.rs"]
mod tiny;

use std::fs;
use std::sync::{Arc, Mutex};

use burn_lora_app::sweep::{Grid, PointState, Sweep};
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
