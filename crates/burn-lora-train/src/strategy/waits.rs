//! How often a training step waits for its device, counted where that is asked: whoever reads a number has a buffer mapped for the
//! host, whoever waits for no number asks to be told that the submitted work is done, and wgpu's log says both.
//!
//! That the host is ahead of its device by less than a step is no wait for an answer, and is not counted: a queue takes some dozens of
//! launches and holds up who fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::data::dataloader::DataLoader;
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
use burn_lora_patch::{LoraConfig, patch};
use log::{LevelFilter, Log, Metadata, Record};

use super::*;
use crate::early_stopping::Seen;
use crate::fit::Listener;
use crate::loader::StepLoader;
use crate::metrics::figure;
use crate::optimizer::{StepFactor, adamw, scheduler};
use crate::schedule::LearningRate;
use burn_lora_config::RunConfig;
use burn_lora_data::{MakeStep, TokenBatch, TokenExample};

/// Counts what wgpu says of buffers mapped and of work waited for.
struct Waits(AtomicUsize);

static WAITS: Waits = Waits(AtomicUsize::new(0));

impl Waits {
    fn so_far(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Log for Waits {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let said = record.args().to_string();
        if ["Buffer::map_async", "Queue::on_submitted_work_done"]
            .iter()
            .any(|wait| said.starts_with(wait))
        {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn flush(&self) {}
}

fn batch(ids: &[u32]) -> TokenBatch {
    let next = ids[1..].iter().map(|&id| Some(id)).chain([None]);
    let example = TokenExample { ids: ids.to_vec(), targets: next.collect() };
    TokenBatch::new([&example], 0)
}

/// With dropout, clipping and two micro-batches.
#[test]
fn a_step_waits_for_its_device_once() {
    let device = burn_lora::device::parse("wgpu").unwrap().autodiff();
    let model = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 32, "tie_word_embeddings": true}"#;
    let model = CausalConfig::from_json(model, "config.json".as_ref()).unwrap();
    let mut model = CausalLm::random(&model, 1, &device).unwrap();
    patch(&mut model, &LoraConfig::new(2).with_dropout(0.1)).unwrap();

    let text = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\nsteps = 2\nclip = 0.1\n\
                [output]\ndir = 'o'\n";
    let train = RunConfig::parse(text, "run.toml", &[]).unwrap().train;
    let (tap, factor) = (OptimizerTap::default(), StepFactor::default());
    let strategy = StepStrategy {
        plan: StepPlan { start: 0, steps: 2, clip: 0.1, eval_every: None, save_every: None },
        tap: tap.clone(),
        factor: factor.clone(),
        early_stopping: EarlyStopping::new(0, Seen::default()),
        figure: figure(train.metric),
        history: RefCell::new(History::default()),
        hooks: Box::new(Listener(|_: &StepRecord, _: f64| ())),
        ranks: crate::exchange::Ranks::alone(),
        connection: None,
        error: RefCell::new(None),
    };
    let rate = LearningRate::new(train.schedule, 1e-3, 0.0, 2);
    let rates = scheduler(&model, &rate, 1.0, 0);
    let optimizer = adamw(&model, &train, &factor).unwrap();
    let mut learner = Learner::new(Trainee::new(model, tap), optimizer, rates);
    let make: MakeStep<TokenBatch> = Arc::new(|_| vec![batch(&[1, 2, 3, 4]), batch(&[5, 6, 7])]);
    let loader = StepLoader::new(make, 0..2, 0);
    let mut batches = loader.iter();
    // The first step makes what the others find there, such as the optimiser's moments.
    strategy.step(&mut learner, &mut *batches, 0).unwrap();

    log::set_logger(&WAITS).unwrap();
    log::set_max_level(LevelFilter::Trace);
    let one = Tensor::<1>::ones([1], &device);
    let before = WAITS.so_far();
    let value: f32 = one.clone().into_scalar();
    assert_eq!((value, WAITS.so_far() - before), (1.0, 1), "a number that is read is counted");

    let before = WAITS.so_far();
    let (mut tally, unread, _) = strategy.queue(&mut learner, &mut *batches, 1).unwrap();
    // Whatever else the step asked for stands in the queue before this.
    let _: f32 = one.into_scalar();
    assert_eq!(WAITS.so_far() - before, 1, "the step was read before it was queued whole");
    let (norm, _) = unread.read(&mut tally).unwrap();
    assert_eq!(WAITS.so_far() - before, 2, "the losses and the norm are read as one");
    assert!(norm > 0.0 && tally.loss > 0.0);
}
