//! A loop of two steps on a model that is made in a moment.

use std::cell::RefCell;
use std::sync::Arc;

use burn::tensor::Device;
use burn_lora_config::RunConfig;
use burn_lora_data::{MakeStep, TokenBatch, TokenExample};
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};
use burn_lora_patch::{LoraConfig, patch};
use burn_lora_report::record::StepRecord;
use burn_train::Learner;

use super::{StepPlan, StepStrategy};
use crate::early_stopping::{EarlyStopping, Seen};
use crate::exchange::Ranks;
use crate::fit::Listener;
use crate::history::History;
use crate::learner::{OptimizerTap, Trainee};
use crate::loader::StepLoader;
use crate::metrics::figure;
use crate::optimizer::{StepFactor, adamw, scheduler};
use crate::schedule::LearningRate;

fn batch(ids: &[u32]) -> TokenBatch {
    let next = ids[1..].iter().map(|&id| Some(id)).chain([None]);
    let example = TokenExample { ids: ids.to_vec(), targets: next.collect() };
    TokenBatch::new([&example], 0)
}

/// Its parts: two micro-batches a step, with clipping; an adapter with so much dropout, or every parameter trained.
pub(super) fn small(
    device: &Device,
    dropout: Option<f64>,
) -> (StepStrategy<CausalLm>, Learner<Trainee<CausalLm>>, StepLoader<TokenBatch>) {
    let model = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 32, "tie_word_embeddings": true}"#;
    let model = CausalConfig::from_json(model, "config.json".as_ref()).unwrap();
    let mut model = CausalLm::random(&model, 1, device).unwrap();
    if let Some(dropout) = dropout {
        patch(&mut model, &LoraConfig::new(2).with_dropout(dropout)).unwrap();
    }

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
        ranks: Ranks::alone(),
        connection: None,
        error: RefCell::new(None),
    };
    let rate = LearningRate::new(train.schedule, 1e-3, 0.0, 2);
    let rates = scheduler(&model, &rate, 1.0, 0);
    let optimizer = adamw(&model, &train, &factor).unwrap();
    let learner = Learner::new(Trainee::new(model, tap), optimizer, rates);
    let make: MakeStep<TokenBatch> = Arc::new(|_| vec![batch(&[1, 2, 3, 4]), batch(&[5, 6, 7])]);
    (strategy, learner, StepLoader::new(make, 0..2, 0))
}
