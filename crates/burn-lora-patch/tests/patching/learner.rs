//! burn-train's learner on a patched model: checkpoints of the adapter alone, resume, and modes.

use std::path::Path;
use std::sync::Arc;

use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::module::Module;
use burn::nn::loss::{MseLoss, Reduction};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::AdamWConfig;
use burn::tensor::{Device, Tensor};
use burn_lora_patch::prelude::*;
use burn_lora_patch::train::AdapterCheckpointer;
use burn_train::checkpoint::{FileCheckpointer, KeepLastNCheckpoints};
use burn_train::{
    InferenceStep, Learner, LearningResult, RegressionOutput, SupervisedTraining, TrainOutput,
    TrainStep,
};

use crate::mlp::{bits, cpu, tracked};

#[derive(Module, Debug)]
struct Net {
    fc: Linear,
    norm: BatchNorm,
    head: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let net = Self {
            fc: LinearConfig::new(3, 64).init(device),
            norm: BatchNormConfig::new(64).init(device),
            head: LinearConfig::new(64, 1).init(device),
        };
        let _ = bits(&net);
        net
    }

    fn output(&self, [x, y]: [Vec<f32>; 2]) -> RegressionOutput {
        let device = self.fc.weight.device();
        let x = Tensor::<1>::from_floats(x.as_slice(), &device).reshape([4, 3]);
        let targets = Tensor::<1>::from_floats(y.as_slice(), &device).reshape([4, 1]);
        let output = self.head.forward(self.norm.forward(self.fc.forward(x).tanh()));
        let loss = MseLoss::new().forward(output.clone(), targets.clone(), Reduction::Mean);
        RegressionOutput::new(loss, output, targets)
    }
}

impl TrainStep for Net {
    type Input = [Vec<f32>; 2];
    type Output = RegressionOutput;

    fn step(&self, item: Self::Input) -> TrainOutput<RegressionOutput> {
        let output = self.output(item);
        TrainOutput::new(self, output.loss.backward(), output)
    }
}

impl InferenceStep for Net {
    type Input = [Vec<f32>; 2];
    type Output = RegressionOutput;

    fn step(&self, item: Self::Input) -> RegressionOutput {
        self.output(item)
    }
}

/// Four batches, the same in every epoch.
#[derive(Clone)]
struct Batches;

struct Steps(usize);

impl Iterator for Steps {
    type Item = Result<[Vec<f32>; 2], DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (step, value) = (self.0, |i: usize| (1.7 * i as f32).sin());
        self.0 += 1;
        let values = |from: usize, count: usize| (from..from + count).map(value).collect();
        (step < 4).then(|| Ok([values(20 * step, 12), values(20 * step + 12, 4)]))
    }
}

impl DataLoaderIterator<[Vec<f32>; 2]> for Steps {
    fn progress(&self) -> Progress {
        Progress::new(self.0, 4, None)
    }
}

impl DataLoader<[Vec<f32>; 2]> for Batches {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<[Vec<f32>; 2]> + 'a> {
        Box::new(Steps(0))
    }

    fn num_items(&self) -> usize {
        4
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<[Vec<f32>; 2]>> {
        Arc::new(Self)
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<[Vec<f32>; 2]>> {
        Arc::new(Self)
    }
}

fn patched(base: &Net) -> Net {
    let config = LoraConfig::new(2).with_targets(["fc"]).with_modules_to_save(["norm"]);
    base.clone().with_lora(&config).unwrap().0
}

fn run(dir: &Path, model: Net, epochs: usize, from: Option<usize>) -> LearningResult<Net> {
    let checkpoints = dir.join("checkpoint");
    let training = SupervisedTraining::new(dir, Arc::new(Batches), Arc::new(Batches))
        .with_application_logger(None)
        .with_custom_checkpointers(
            AdapterCheckpointer::new(&checkpoints, &model).unwrap(),
            FileCheckpointer::new(&checkpoints, "optim"),
            FileCheckpointer::new(&checkpoints, "scheduler"),
        )
        .with_checkpointing_strategy(KeepLastNCheckpoints::new(2))
        .num_epochs(epochs);
    let training = match from {
        Some(epoch) => training.checkpoint(epoch),
        None => training,
    };
    training.launch(Learner::new(model, AdamWConfig::new().init(), 1e-2))
}

/// On another thread, as a program with a window trains.
#[test]
fn a_resumed_run_is_bit_for_bit_the_run_that_never_stopped() {
    let base = Net::new(&cpu().autodiff());
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = patched(&base);
    let dir = whole.path().to_owned();
    let result = std::thread::spawn(move || run(&dir, model, 3, None)).join().unwrap();
    let expected = result.model;

    let first = run(stopped.path(), patched(&base), 1, None).model;
    assert_ne!(bits(&first), bits(&expected));
    let resumed = run(stopped.path(), patched(&base), 3, Some(1)).model;
    assert_eq!(bits(&resumed), bits(&expected));
    assert_ne!(bits(&expected.unload_lora()), bits(&base), "the norm was trained whole");
}

/// burn-train's own checkpoints hold the base, too.
#[test]
fn a_checkpoint_holds_what_is_trained_and_nothing_else() {
    let base = Net::new(&cpu().autodiff());
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), patched(&base), 1, None);
    let record =
        burn::store::ModuleRecord::load(dir.path().join("checkpoint/adapter-1.bpk")).unwrap();
    // A and B; gamma, beta, running mean and running variance.
    assert_eq!(record.len(), 6);
}

#[test]
fn what_a_learner_gives_back_trains_after_train() {
    let dir = tempfile::tempdir().unwrap();
    let model = patched(&Net::new(&cpu().autodiff()));
    let (ids, trained) = (burn_lora_patch::trainable_ids(&model), tracked(&model));
    let result = run(dir.path(), model, 1, None).model;
    assert!(tracked(&result).is_empty(), "validation mode");
    assert_eq!(burn_lora_patch::trainable_ids(&result), ids, "what is trained is still known");
    assert_eq!(tracked(&result.train()), trained);
}

#[test]
fn a_model_of_which_nothing_is_trained_has_no_group() {
    let model = patched(&Net::new(&cpu().autodiff()));
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let error = model.clone().unload_lora().no_grad().trainable_group().unwrap_err();
    assert!(error.to_string().contains("patch it"), "{error}");
    let (frozen, _) = Net::new(&cpu().autodiff()).load_adapter(dir.path()).unwrap();
    let error = AdapterCheckpointer::new(dir.path(), &frozen).unwrap_err();
    assert!(error.to_string().contains("with_trainable(true)"), "{error}");
    let config = LoraConfig::new(2).with_targets(["fc"]);
    let (merged, _) = Net::new(&cpu().autodiff()).with_lora(&config).unwrap();
    let error = merged.merge_lora().unwrap().trainable_group().unwrap_err();
    assert!(error.to_string().contains("unmerged"), "{error}");
}
