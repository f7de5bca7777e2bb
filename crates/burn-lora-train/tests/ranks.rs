//! A run shared out among ranks is the run of one process, bit for bit. The ranks are threads here; MPI starts the same loop.
//!
//! Alone in its binary: dropout draws from the device's generator, which Burn's CPU backend shares among all threads of a process.
//! So one rank computes at a time.

mod threads;
mod tiny;

use std::cell::Cell;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use burn_lora_report::summary::Summary;
use burn_lora_train::TrainError;
use burn_lora_train::dry_run::dry_run;
use burn_lora_train::exchange::{Exchange, ExchangeError};
use burn_lora_train::observe::Observer;
use burn_lora_train::plan::plan_for_ranks;
use burn_lora_train::run::{RunOptions, train};
use threads::{Threads, Turn};
use tiny::Tiny;

/// Whose turn it is to compute, in all tests.
static TURN: Turn = Turn::new();

/// Of 12 rows, one in a micro-batch: an epoch of steps that are full and one that is not.
const UNEVEN: [&str; 6] = [
    "train.batch_size=1",
    "train.steps=6",
    "train.eval_every=3",
    "train.save_every=3",
    "train.exact_match=true",
    "adapter.dropout=0.2",
];

/// What each of the ranks comes to; no ranks: what a process alone comes to.
fn on_ranks<T: Send>(size: usize, rank: impl Fn(RunOptions, usize) -> T + Sync) -> Vec<T> {
    if size == 1 {
        TURN.take();
        let came = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            rank(RunOptions::silent(), 0)
        }));
        TURN.give();
        return vec![came.unwrap_or_else(|panic| std::panic::resume_unwind(panic))];
    }
    let rank = &rank;
    std::thread::scope(|scope| {
        let started: Vec<_> = Threads::ranks(size, Some(&TURN))
            .into_iter()
            .map(|exchange| {
                scope.spawn(move || {
                    exchange.begin();
                    let number = exchange.rank();
                    let exchange: Option<Rc<dyn Exchange>> = Some(Rc::new(exchange));
                    rank(RunOptions { exchange, ..RunOptions::silent() }, number)
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn run(tiny: &Tiny, size: usize, dir: &str, settings: &[&str], resume: bool) -> Vec<Summary> {
    on_ranks(size, |options, _| {
        let options = RunOptions { resume, ..options };
        train(tiny.config(dir, settings), options, &Observer::silent()).unwrap()
    })
}

/// The records of a run, without what is another every time.
fn records(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let record = |line: &str| {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        for measured in ["seconds", "exchange_bytes", "exchange_seconds"] {
            record.as_object_mut().unwrap().remove(measured);
        }
        record.to_string()
    };
    text.lines().map(record).collect()
}

/// The same steps, evaluations, checkpoints and adapter.
fn assert_same(tiny: &Tiny, one: &str, other: &str, what: &str) {
    let (one_dir, other_dir) = (tiny.path(one), tiny.path(other));
    assert_eq!(records(&one_dir), records(&other_dir), "{what}");
    assert!(tiny.adapter(one) == tiny.adapter(other), "{what}: the adapters differ");
    let of = |dir: &Path| -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for step in fs::read_dir(dir.join("checkpoints")).unwrap() {
            let step = step.unwrap();
            for name in ["adapter_model.safetensors", "optimizer.bpk", "state.json"] {
                let bytes = fs::read(step.path().join(name)).unwrap();
                files.push((format!("{}/{name}", step.file_name().to_string_lossy()), bytes));
            }
        }
        files.sort();
        files
    };
    let (one, other) = (of(&one_dir), of(&other_dir));
    assert!(one.len() >= 3);
    let same = one.iter().zip(&other).find(|(one, other)| one != other).map(|(one, _)| &one.0);
    assert_eq!((same, one.len()), (None, other.len()), "{what}");
}

fn equal_on_ranks(more: &[&str]) {
    let tiny = Tiny::new();
    let settings = [&UNEVEN[..], more].concat();
    run(&tiny, 1, "alone", &settings, false);
    for size in [2, 3, 4] {
        let dir = format!("on{size}");
        let summaries = run(&tiny, size, &dir, &settings, false);
        assert_same(&tiny, "alone", &dir, &format!("{size} ranks, {more:?}"));
        assert!(summaries.iter().all(|summary| summary.steps == 6));
        let exchanged = summaries[0].exchanged.unwrap();
        assert!(exchanged.steps == 6 && exchanged.bytes > 0);
    }
}

#[test]
fn ranks_take_the_steps_of_one_process_bit_for_bit() {
    // Steps of 5, 5 and 2 micro-batches: ranks have several in a step, or none.
    equal_on_ranks(&["model.dropout=true", "train.accumulate=5"]);
    // Of 11 and 1: only the first rank has a gradient.
    equal_on_ranks(&["train.accumulate=11"]);
}

#[test]
fn ranks_take_the_steps_of_one_process_with_rows_packed() {
    equal_on_ranks(&["data.packing=true", "train.accumulate=4"]);
}

#[test]
fn ranks_take_the_steps_of_one_process_with_like_lengths_together_and_blocks_recomputed() {
    let settings = [
        "train.group_by_length=true",
        "train.recompute='block'",
        "train.clip=0.05",
        "train.accumulate=4",
    ];
    equal_on_ranks(&settings);
}

/// The rows of a step are as many, and go as the run's configuration says by then.
#[test]
fn a_step_of_one_batch_is_cut_for_the_ranks() {
    let tiny = Tiny::new();
    run(&tiny, 1, "alone", &["train.batch_size=2", "train.accumulate=2"], false);
    run(&tiny, 2, "cut", &["train.batch_size=4"], false);
    assert_same(&tiny, "alone", "cut", "cut");
    let written = fs::read_to_string(tiny.path("cut/config.toml")).unwrap();
    assert!(written.contains("batch_size = 2") && written.contains("accumulate = 2"), "{written}");
}

/// What a run that was lost after step 3 leaves goes on with any number of ranks.
#[test]
fn a_run_goes_on_with_another_number_of_ranks_bit_for_bit() {
    let tiny = Tiny::new();
    let settings = [&UNEVEN[..], &["train.accumulate=5"]].concat();
    run(&tiny, 4, "whole", &settings, false);
    for size in [1, 2, 3] {
        let dir = format!("lost{size}");
        lose(&tiny.path("whole"), &tiny.path(&dir), "step-000003", 5);
        let summaries = run(&tiny, size, &dir, &settings, true);
        assert!(summaries.iter().all(|summary| summary.steps == 6));
        assert!(tiny.adapter(&dir) == tiny.adapter("whole"), "{size} ranks: the adapters differ");
        assert_eq!(records(&tiny.path(&dir)), records(&tiny.path("whole")), "{size} ranks");
    }
}

/// Copies of a run what there was at a checkpoint.
fn lose(whole: &Path, lost: &Path, step: &str, lines: usize) {
    let checkpoint = Path::new("checkpoints").join(step);
    fs::create_dir_all(lost.join(&checkpoint)).unwrap();
    for entry in fs::read_dir(whole.join(&checkpoint)).unwrap() {
        let name = checkpoint.join(entry.unwrap().file_name());
        fs::copy(whole.join(&name), lost.join(&name)).unwrap();
    }
    fs::copy(whole.join("config.toml"), lost.join("config.toml")).unwrap();
    let records = fs::read_to_string(whole.join("metrics.jsonl")).unwrap();
    let kept: Vec<&str> = records.lines().take(lines).collect();
    fs::write(lost.join("metrics.jsonl"), kept.join("\n") + "\n").unwrap();
}

#[test]
fn a_rank_with_another_configuration_or_without_data_is_named_before_anything_is_written() {
    let tiny = Tiny::new();
    let elsewhere = format!("data.train={:?}", tiny.path("nowhere.jsonl").display().to_string());
    for (other, is_named) in
        [("train.seed=9", true), ("train.steps=5", true), (elsewhere.as_str(), false)]
    {
        let ended = on_ranks(3, |options, rank| {
            let settings = ["train.batch_size=1", "train.accumulate=3", other];
            let settings = if rank == 1 { &settings[..] } else { &settings[..2] };
            train(tiny.config("run", settings), options, &Observer::silent()).map(|_| ())
        });
        for (rank, ended) in ended.into_iter().enumerate() {
            match ended.unwrap_err() {
                TrainError::RankDiffers { rank: 1, .. } if is_named => {}
                TrainError::OtherRank { rank: 1, reason } if !is_named && rank != 1 => {
                    assert!(reason.contains("nowhere.jsonl"), "{reason}");
                }
                TrainError::Data(_) | TrainError::Io(_) if !is_named && rank == 1 => {}
                error => panic!("{other}, rank {rank}: {error}"),
            }
        }
        assert!(!tiny.path("run/config.toml").exists() && !tiny.path("run/metrics.jsonl").exists());
    }
}

/// A rank that is gone after some exchanges, as one that was killed.
struct Dies {
    inner: Threads,
    left: Cell<usize>,
}

impl Exchange for Dies {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn gather(&self, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let dead = || ExchangeError { reason: "this rank is made to die".to_owned() };
        self.left.set(self.left.get().checked_sub(1).ok_or_else(dead)?);
        self.inner.gather(mine)
    }

    fn deal(
        &self,
        mine: &[f32],
        parts: &[Range<usize>],
        from: &[bool],
    ) -> Result<Vec<Vec<f32>>, ExchangeError> {
        self.inner.deal(mine, parts, from)
    }
}

#[test]
fn a_rank_that_dies_ends_all_and_leaves_a_checkpoint_to_go_on_from() {
    let tiny = Tiny::new();
    let settings = ["train.batch_size=1", "train.accumulate=3", "train.save_every=1"];
    run(&tiny, 1, "whole", &settings, false);
    let dying: Vec<Threads> = Threads::ranks(3, Some(&TURN));
    let ended: Vec<Result<Summary, TrainError>> = std::thread::scope(|scope| {
        let tiny = &tiny;
        let started: Vec<_> = dying
            .into_iter()
            .map(|exchange| {
                scope.spawn(move || {
                    exchange.begin();
                    // The others live as long as the run.
                    let left = if exchange.rank() == 2 { 24 } else { usize::MAX };
                    let dies = Dies { inner: exchange, left: Cell::new(left) };
                    let exchange: Option<Rc<dyn Exchange>> = Some(Rc::new(dies));
                    let options = RunOptions { exchange, ..RunOptions::silent() };
                    train(tiny.config("died", &settings), options, &Observer::silent())
                })
            })
            .collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for ended in ended {
        assert!(matches!(ended, Err(TrainError::Exchange(_))), "{ended:?}");
    }
    let steps = fs::read_dir(tiny.path("died/checkpoints")).unwrap().count();
    assert!(steps > 0 && !tiny.path("died/adapter").exists());
    let summaries = run(&tiny, 2, "died", &settings, true);
    assert_eq!(summaries[0].steps, 6);
    assert!(tiny.adapter("died") == tiny.adapter("whole"), "the adapters differ");
}

/// Whichever rank is asked to stop, all do, after the same step, with a checkpoint of it.
#[test]
fn a_rank_that_is_interrupted_stops_all_after_the_same_step() {
    let tiny = Tiny::new();
    let settings = ["train.batch_size=2", "train.accumulate=2"];
    let summaries = on_ranks(2, |options, rank| {
        if rank == 1 {
            options.interrupter.stop(Some("asked to"));
        }
        train(tiny.config("run", &settings), options, &Observer::silent()).unwrap()
    });
    assert!(summaries.iter().all(|summary| summary.interrupted && summary.steps == 1));
    assert!(tiny.path("run/checkpoints/step-000001/manifest.json").exists());
}

#[test]
fn a_dry_run_tells_what_a_step_exchanges() {
    let tiny = Tiny::new();
    let settings = ["train.batch_size=2", "train.accumulate=2"];
    let dry = on_ranks(2, |options, _| {
        dry_run(tiny.config("run", &settings), &options, &Observer::silent()).unwrap()
    });
    for dry in dry {
        let exchange = dry.plan.exchange.unwrap();
        // Half of what is trained a round, and half of it for the sum.
        assert_eq!((exchange.ranks, exchange.bytes), (2, 4 * dry.plan.trainable as u64));
        assert!(exchange.seconds.is_some_and(|seconds| seconds > 0.0));
        assert!(dry.to_string().contains("exchange between 2 ranks: "), "{dry}");
    }
    let alone = on_ranks(1, |options, _| {
        dry_run(tiny.config("run", &settings), &options, &Observer::silent()).unwrap()
    });
    assert!(alone[0].plan.exchange.is_none() && !alone[0].to_string().contains("exchange"));
}

/// Without ranks that could measure it: what a rank would find, but for the seconds.
#[test]
fn a_plan_for_ranks_is_that_of_a_dry_run_on_them() {
    let tiny = Tiny::new();
    let settings = ["train.batch_size=4"];
    let mut dry = on_ranks(2, |options, _| {
        dry_run(tiny.config("run", &settings), &options, &Observer::silent()).unwrap().plan
    });
    let planned = |ranks: usize, settings: &[&str]| {
        let plan = |_: RunOptions, _| {
            plan_for_ranks(tiny.config("run", settings), ranks, &Observer::silent())
        };
        on_ranks(1, plan).remove(0)
    };
    let (on_two, plan) = (dry.remove(0), planned(2, &settings).unwrap());
    let exchange = plan.exchange.unwrap();
    assert_eq!((exchange.ranks, exchange.seconds), (2, None));
    assert_eq!(exchange.bytes, on_two.exchange.unwrap().bytes);
    // The rows of a step, cut in two; and four and a half buffers.
    assert_eq!((plan.batch.rows, on_two.batch.rows), (2, 2));
    let buffers = 4 * plan.trainable as u64 * 9 / 2;
    assert_eq!((plan.memory.exchange, on_two.memory.exchange), (buffers, buffers));
    let text = plan.to_string();
    assert!(text.contains(" a step from each\n") && text.contains("exchange, between"), "{text}");
    assert!(text.ends_with(" without the exchange"), "{text}");

    let alone = planned(1, &settings).unwrap();
    assert!(alone.exchange.is_none() && alone.memory.exchange == 0);
    let refused = planned(5, &settings);
    assert!(matches!(refused, Err(TrainError::TooManyRanks { ranks: 5, rows: 4 })), "{refused:?}");
}
