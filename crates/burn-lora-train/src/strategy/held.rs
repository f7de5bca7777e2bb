//! How often a training step waits for its device, found out by a device that does not answer.
//!
//! The thread that a Cube device computes on is held: what is queued meanwhile stays queued, and whoever reads, waits. Work that comes to
//! its end while the device is held has waited for nothing, whatever way it might have asked.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use burn::backend::DispatchDevice;
use burn::data::dataloader::DataLoader;
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
use burn_lora_patch::{LoraConfig, patch};

use super::*;
use crate::early_stopping::Seen;
use crate::fit::Listener;
use crate::loader::StepLoader;
use crate::metrics::figure;
use crate::optimizer::{adamw, scheduler};
use crate::schedule::LearningRate;
use burn_lora_config::RunConfig;
use burn_lora_data::{MakeStep, TokenBatch, TokenExample};

/// Whether `work` ends while the device is held, which it is for so long at most.
fn ends_while_held(device: &Device, patience: Duration, work: impl FnOnce()) -> bool {
    let inner = device.clone().inner();
    let DispatchDevice::Cube(device) = inner.as_dispatch() else { panic!("a Cube device") };
    let client = device.client();
    let (held, is_held) = channel();
    let (done, is_done) = channel();
    let holder = std::thread::spawn(move || {
        let waited = client.exclusive(move || {
            held.send(()).unwrap();
            is_done.recv_timeout(patience)
        });
        waited.unwrap() != Err(RecvTimeoutError::Timeout)
    });
    is_held.recv().unwrap();
    work();
    // Where the device was let go before, nobody listens.
    let _ = done.send(());
    holder.join().unwrap()
}

fn batch(ids: &[u32]) -> TokenBatch {
    let next = ids[1..].iter().map(|&id| Some(id)).chain([None]);
    let example = TokenExample { ids: ids.to_vec(), targets: next.collect() };
    TokenBatch::new([&example], 0)
}

/// With dropout, clipping and two micro-batches.
#[test]
fn a_step_is_queued_whole_and_then_read_once() {
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
    let tap = OptimizerTap::default();
    let strategy = StepStrategy {
        plan: StepPlan {
            start: 0,
            steps: 2,
            clip: 0.1,
            eval_every: None,
            save_every: None,
            seed: 0,
        },
        device: device.clone(),
        tap: tap.clone(),
        early_stopping: EarlyStopping::new(0, Seen::default()),
        figure: figure(train.metric),
        history: RefCell::new(History::default()),
        hooks: Box::new(Listener(|_: &StepRecord, _: f64| ())),
        error: RefCell::new(None),
    };
    let rate = LearningRate::new(train.schedule, 1e-3, 0.0, 2);
    let rates = scheduler(&model, &rate, 1.0, 0);
    let optimizer = adamw(&model, &train).unwrap();
    let mut learner = Learner::new(Trainee::new(model, tap), optimizer, rates);
    let make: MakeStep<TokenBatch> = Arc::new(|_| vec![batch(&[1, 2, 3, 4]), batch(&[5, 6, 7])]);
    let loader = StepLoader::new(make, 0..2);
    let mut batches = loader.iter();
    // The first step makes what the others find there, such as the optimiser's moments.
    let first = strategy.step(&mut learner, &mut *batches, 0).unwrap();

    let mut queued = None;
    let free = ends_while_held(&device, Duration::from_secs(120), || {
        queued = Some(strategy.queue(&mut learner, &mut *batches, 1));
    });
    assert!(free, "the step waited for its device before it was queued");
    let (mut tally, unread, _) = queued.unwrap().unwrap();
    // A read does wait: the measurement is not blind.
    let mut norm = 0.0;
    let free = ends_while_held(&device, Duration::from_millis(100), || {
        (norm, _) = unread.read(&mut tally).unwrap();
    });
    assert!(!free, "a device that was held gave a number");
    assert!(norm > 0.0 && tally.loss > 0.0 && tally.loss != first.loss);
    assert_eq!(tally.targets, first.targets);
}
