//! Fine-tuning with a loop of your own: Burn's own attention model, whose code nobody can touch, learns a task it was not made for.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example train_by_hand
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::transformer::{
    TransformerEncoder, TransformerEncoderConfig, TransformerEncoderInput,
};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor};
use burn_lora_patch::{device, prelude::*};

/// Words that there are.
const WORDS: usize = 16;
/// Words in a row.
const LENGTH: usize = 8;
/// Rows in a batch.
const BATCH: usize = 32;

#[derive(Module, Debug)]
struct Classifier {
    embedding: Embedding,
    encoder: TransformerEncoder,
    head: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self {
            embedding: EmbeddingConfig::new(WORDS, 32).init(device),
            encoder: TransformerEncoderConfig::new(32, 64, 4, 2).with_dropout(0.0).init(device),
            head: LinearConfig::new(32, 2).init(device),
        }
    }

    /// Logits `[batch, 2]` of ids `[batch, LENGTH]`.
    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let x = self.embedding.forward(ids);
        let x = self.encoder.forward(TransformerEncoderInput::new(x));
        self.head.forward(x.mean_dim(1).reshape([batch, 32]))
    }
}

/// Rows of words, and whether more than half of a row's words are from the second half of the vocabulary.
fn batch(seed: u64, device: &Device) -> (Tensor<2, Int>, Tensor<1, Int>) {
    let mut state = seed;
    let mut word = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as i64 % WORDS as i64
    };
    let ids: Vec<i64> = (0..BATCH * LENGTH).map(|_| word()).collect();
    let classes: Vec<i64> = ids
        .chunks(LENGTH)
        .map(|row| i64::from(2 * row.iter().filter(|&&w| w >= WORDS as i64 / 2).count() > LENGTH))
        .collect();
    let ids = Tensor::<1, Int>::from_data(ids.as_slice(), device).reshape([BATCH, LENGTH]);
    (ids, Tensor::from_data(classes.as_slice(), device))
}

/// The share of rows that are classified right. `valid` turns off dropout and gradients.
fn accuracy(model: &Classifier, device: &Device) -> f32 {
    let (ids, classes) = batch(999, device);
    let right = model.valid().forward(ids).argmax(1).flatten::<1>(0, 1).equal(classes);
    right.float().mean().into_scalar()
}

/// The program.
pub fn main() -> Result<(), Box<dyn Error>> {
    let plain = device::parse("cpu")?;
    let device = plain.clone().autodiff();
    let base = Classifier::new(&device);

    let config = LoraConfig::new(4)
        .with_alpha(8)
        .with_targets(["query", "value", "linear_inner", "linear_outer"])
        .with_modules_to_save(["head"]);
    let (mut model, report) = base.with_lora(&config)?;
    println!("{report}");

    // What is frozen gets no gradient, so that any optimiser moves the adapter and the head alone.
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.01).init();
    let cross_entropy = CrossEntropyLossConfig::new().init(&device);
    let before = accuracy(&model, &plain);
    let mut losses: Vec<f32> = Vec::new();
    for step in 0..80 {
        let (ids, classes) = batch(step, &device);
        let loss = cross_entropy.forward(model.forward(ids), classes);
        losses.push(loss.clone().into_scalar());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(5e-3, model, gradients);
    }
    let after = accuracy(&model, &plain);
    println!("loss: {:.3} -> {:.3}", losses[0], losses[79]);
    println!("accuracy: {:.0} % -> {:.0} %", 100.0 * before, 100.0 * after);
    assert!(after > 0.8);

    // What is kept is small: the factors and the head. `load_adapter` puts them on the base again.
    let dir = std::env::temp_dir().join(format!("burn-lora-train-by-hand-{}", std::process::id()));
    model.save_adapter(&dir)?;
    let bytes = std::fs::metadata(dir.join("adapter_model.safetensors"))?.len();
    println!("adapter: {bytes} bytes for a model of {} parameters", report.total());
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
