//! Fine-tuning with burn-train: its loop, metrics and data loaders, and checkpoints that hold the adapter alone.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example train_with_burn_train
//! ```

use std::path::Path;

use burn::data::dataloader::DataLoaderBuilder;
use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::InMemDataset;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::AdamWConfig;
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use burn_lora_patch::train::AdapterCheckpointer;
use burn_lora_patch::{device, prelude::*};
use burn_train::checkpoint::FileCheckpointer;
use burn_train::metric::{AccuracyMetric, LossMetric};
use burn_train::{
    ClassificationOutput, InferenceStep, Learner, SupervisedTraining, TrainOutput, TrainStep,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Module, Debug)]
struct Classifier {
    fc1: Linear,
    fc2: Linear,
    head: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(4, 32).init(device),
            fc2: LinearConfig::new(32, 32).init(device),
            head: LinearConfig::new(32, 2).init(device),
        }
    }

    fn forward(&self, batch: Batch) -> ClassificationOutput {
        let x = relu(self.fc1.lora_forward(batch.points));
        let logits = self.head.lora_forward(relu(self.fc2.lora_forward(x)));
        let cross_entropy = CrossEntropyLossConfig::new().init(&logits.device());
        let loss = cross_entropy.forward(logits.clone(), batch.classes.clone());
        ClassificationOutput::new(loss, logits, batch.classes)
    }
}

// What burn-train asks of any model. The adapter is part of the model: nothing here knows it.
impl TrainStep for Classifier {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> TrainOutput<ClassificationOutput> {
        let output = self.forward(batch);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Classifier {
    type Input = Batch;
    type Output = ClassificationOutput;

    fn step(&self, batch: Batch) -> ClassificationOutput {
        self.forward(batch)
    }
}

/// Points `[batch, 4]` and their classes `[batch]`.
#[derive(Debug, Clone)]
struct Batch {
    points: Tensor<2>,
    classes: Tensor<1, Int>,
}

struct Points;

impl Batcher<[f32; 4], Batch> for Points {
    fn batch(&self, items: Vec<[f32; 4]>, device: &Device) -> Batch {
        let classes: Vec<i64> = items.iter().map(|p| i64::from(p[0] * p[1] > 0.0)).collect();
        let rows = items.len();
        let points = Tensor::<1>::from_data(items.concat().as_slice(), device).reshape([rows, 4]);
        Batch { points, classes: Tensor::from_data(classes.as_slice(), device) }
    }
}

fn points(seed: u64, count: usize) -> Vec<[f32; 4]> {
    let mut state = seed;
    let mut number = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| std::array::from_fn(|_| number())).collect()
}

/// Trains `model` up to epoch `epochs`, from the start or from a checkpoint. It comes back in validation mode.
fn fit(dir: &Path, model: Classifier, epochs: usize, from: Option<usize>) -> Result<Classifier> {
    let loader = |seed, count| {
        let rows = InMemDataset::new(points(seed, count));
        DataLoaderBuilder::new(Points).batch_size(32).shuffle(seed).build(rows)
    };
    // `with_default_checkpointers` would write the base as well.
    let checkpoints = dir.join("checkpoint");
    let mut training = SupervisedTraining::new(dir, loader(1, 1024), loader(2, 256))
        .metrics((AccuracyMetric::new(), LossMetric::new()))
        .num_epochs(epochs)
        .with_application_logger(None)
        .with_custom_checkpointers(
            AdapterCheckpointer::new(&checkpoints, &model)?,
            FileCheckpointer::new(&checkpoints, "optim"),
            FileCheckpointer::new(&checkpoints, "scheduler"),
        );
    if let Some(epoch) = from {
        training = training.checkpoint(epoch);
    }
    let result = training.launch(Learner::new(model, AdamWConfig::new().init(), 1e-2));
    result.error.map_or(Ok(result.model), |error| Err(error.to_string().into()))
}

/// The program.
pub fn main() -> Result<()> {
    let device = device::parse("cpu")?.autodiff();
    let base = Classifier::new(&device);
    let config = LoraConfig::new(8).with_targets(["fc1", "fc2"]).with_modules_to_save(["head"]);
    let (model, _) = base.clone().with_lora(&config)?;
    let dir = std::env::temp_dir().join(format!("burn-lora-burn-train-{}", std::process::id()));
    fit(&dir, model, 2, None)?;
    // A run goes on from the base, patched anew with the same configuration.
    let (model, _) = base.clone().with_lora(&config)?;
    let trained = fit(&dir, model, 4, Some(2))?;
    trained.save_adapter(dir.join("adapter"))?;

    let held_out = Points.batch(points(3, 500), &device.inner());
    let accuracy = |model: &Classifier| -> f32 {
        let ClassificationOutput { output, targets, .. } = model.forward(held_out.clone());
        output.argmax(1).flatten::<1>(0, 1).equal(targets).float().mean().into_scalar()
    };
    let (loaded, _) = base.clone().valid().load_adapter(dir.join("adapter"))?;
    let [before, after] = [accuracy(&base.valid()), accuracy(&loaded)];
    println!("accuracy: {:.0} % -> {:.0} %", 100.0 * before, 100.0 * after);
    assert_eq!(after, accuracy(&trained));
    assert!(after > 0.85);
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
