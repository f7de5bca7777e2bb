//! A model in training, as burn-train's learner sees it.
//!
//! [`TrainableModel`] is what a kind of model is trained on: batches, and the summed loss over their
//! targets. [`Trainee`] wraps any such model into burn-train's `TrainStep` and `InferenceStep`.
//!
//! The loss of a micro-batch is the *sum* over its targets divided by the targets of the whole
//! step, so that gradients of micro-batches add up to the gradient of one large batch, however
//! unevenly the targets are spread.

mod causal;
mod classify;
mod held;
mod tap;

use std::ops::Deref;

use burn::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData, TensorReadError};
use burn_lora_models::footprint::BatchShape;
use burn_lora_models::loss::{cross_entropy, smoothed_cross_entropy};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{Description, Model, Recompute, TrainingPass};
use burn_lora_patch::TaskType;
use burn_lora_report::sample::Sample;
use burn_train::{InferenceStep, TrainOutput, TrainStep};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::TrainError;
use crate::metrics::{Measured, Tally};
use crate::observe::Observer;
use crate::prepare::{Files, ReadRows};
use burn_lora_config::RunConfig;
use burn_lora_data::Prompt;

pub use burn_lora_models::{CausalLm, SequenceClassifier};
use held::Held;
pub use tap::OptimizerTap;

/// A batch that knows its targets: tokens that carry loss, or rows to classify.
pub trait Batch: Clone + Send + Sync + 'static {
    /// The right class of each target.
    fn target_ids(&self) -> Vec<i32>;
    /// Tokens to read, padding left out.
    fn tokens(&self) -> usize;
    /// Its size, padding included.
    fn shape(&self) -> BatchShape;

    /// Which of its tokens, row by row with padding, a start that follows from what goes into layers looks at.
    fn looked_at(&self) -> Vec<bool>;

    /// The number of targets.
    fn targets(&self) -> usize {
        self.target_ids().len()
    }
}

/// A model that can be trained: it turns a batch into logits of its targets.
pub trait TrainableModel: Model + 'static {
    /// What it reads.
    type Batch: Batch;

    /// What PEFT calls this kind of training.
    const TASK: TaskType;

    /// The rows of data files, as its batches are made of them; the configuration is told what the data
    /// decide.
    ///
    /// # Errors
    ///
    /// Rows that are not of this kind.
    fn read(
        files: Files,
        tokenizer: &Tokenizer,
        config: &mut RunConfig,
    ) -> Result<ReadRows<Self::Batch>, TrainError>;

    /// The configuration of a model for what the run is to learn: its classes, for one.
    fn with_task(config: Self::Config, _run: &RunConfig) -> Self::Config {
        config
    }

    /// Logits of the classes for each target of the batch, `[targets, classes]`.
    fn target_logits(&self, batch: &Self::Batch, device: &Device) -> Tensor<2>;

    /// The sum of the targets' cross-entropies, in nats, `[1]`.
    fn loss(&self, batch: &Self::Batch, device: &Device) -> Tensor<1> {
        cross_entropy(self.target_logits(batch, device), batch.target_ids())
    }

    /// The summed loss, in nats, and how many targets have the highest score, without a backward pass.
    ///
    /// # Errors
    ///
    /// The device does not give the numbers.
    fn measure(
        &self,
        batch: &Self::Batch,
        device: &Device,
    ) -> Result<(f64, usize), TensorReadError> {
        judge(self.target_logits(batch, device), batch.target_ids())
    }

    /// Logits of seeded random token rows, to compare two models of one shape with.
    fn probe(&self, device: &Device) -> Tensor<2>;

    /// Greedy continuations of the prompts; none of a model that does not write.
    ///
    /// # Errors
    ///
    /// A prompt that the model cannot read.
    fn samples(
        &self,
        tokenizer: &Tokenizer,
        prompts: &[Prompt],
        max_tokens: usize,
        observer: &Observer,
    ) -> Result<Vec<Sample>, TrainError>;
}

/// One micro-batch of a step.
#[derive(Debug, Clone)]
pub struct Micro<B> {
    /// The rows.
    pub batch: B,
    /// The targets of all micro-batches of the step together.
    pub step_targets: usize,
    /// Whether the step ends with it.
    pub last: bool,
    /// Decides what is drawn in it.
    pub seed: u64,
}

/// A model in training.
#[derive(Module, Debug)]
pub struct Trainee<M: Module> {
    model: Held<M>,
    #[module(skip)]
    tap: OptimizerTap,
    #[module(skip)]
    label_smoothing: f64,
    #[module(skip)]
    recompute: Recompute,
}

impl<M: Module> Trainee<M> {
    /// Wraps the model; the tap shares the optimiser's state with whoever holds its clone.
    pub fn new(model: M, tap: OptimizerTap) -> Self {
        Self { model: Held::new(model), tap, label_smoothing: 0.0, recompute: Recompute::None }
    }

    /// The model, adapted or whole, for as long as nobody else asks for it.
    pub fn model(&self) -> impl Deref<Target = M> + '_ {
        self.model.get()
    }

    /// The model itself.
    pub fn into_model(self) -> M {
        self.model.into_inner()
    }

    /// Has the next clone, of this or of any of its clones, take the model with it (see `learner/held.rs`).
    pub(crate) fn gives_model_away(&self) {
        self.model.gives_away();
    }

    /// Spreads that share of each target's probability over all classes while training.
    pub fn with_label_smoothing(mut self, share: f64) -> Self {
        self.label_smoothing = share;
        self
    }

    /// Makes that of each training pass again in its backward.
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.recompute = recompute;
        self
    }

    /// The loss and the right answers of a micro-batch, without a backward pass.
    ///
    /// # Errors
    ///
    /// The device does not give the numbers.
    pub fn measure(&self, micro: &Micro<M::Batch>) -> Result<Tally, TensorReadError>
    where
        M: TrainableModel,
    {
        let device = self.device();
        let (loss, correct) = self.model().measure(&micro.batch, &device)?;
        Ok(tally(loss, correct, &micro.batch))
    }

    fn device(&self) -> Device {
        // A model lives on one device here; its parameters all say which.
        self.model().devices().swap_remove(0)
    }
}

impl<M: TrainableModel> TrainStep for Trainee<M> {
    type Input = Micro<M::Batch>;
    type Output = Measured;

    fn step(&self, micro: Self::Input) -> TrainOutput<Measured> {
        let (batch, device) = (&micro.batch, self.device());
        let share = 1.0 / micro.step_targets.max(1) as f64;
        let pass = TrainingPass { seed: micro.seed, recompute: self.recompute };
        let model = self.model();
        let (grads, loss) = pass.gradients(&*model, &device, || {
            let loss = match self.label_smoothing {
                0.0 => model.loss(batch, &device),
                share => smoothed_cross_entropy(
                    model.target_logits(batch, &device),
                    batch.target_ids(),
                    share,
                ),
            };
            (loss.clone().mul_scalar(share), loss.inner())
        });
        let tally = tally(0.0, 0, &micro.batch);
        TrainOutput { grads, item: Measured { tally, unread: Some(loss) } }
    }

    fn optimize(
        self,
        optimizer: &mut ModuleOptimizer,
        rate: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        let tap = self.tap.clone();
        let trained = optimizer.step(rate, self, grads);
        tap.after_step(optimizer);
        trained
    }
}

impl<M: TrainableModel> InferenceStep for Trainee<M> {
    type Input = Micro<M::Batch>;
    type Output = Tally;

    fn step(&self, micro: Self::Input) -> Tally {
        // burn-train leaves no room for an error here: one that matters is asked for with `measure`.
        self.measure(&micro).unwrap_or_else(|_| tally(f64::NAN, 0, &micro.batch))
    }
}

fn tally(loss: f64, correct: usize, batch: &impl Batch) -> Tally {
    Tally { loss, correct, targets: batch.targets(), tokens: batch.tokens() }
}

/// The summed cross-entropy of the logits, in nats, and how often the target has the highest.
fn judge(logits: Tensor<2>, targets: Vec<i32>) -> Result<(f64, usize), TensorReadError> {
    let right = logits.clone().argmax(1).equal(column(targets.clone(), &logits)).int().sum();
    let correct = right.try_into_scalar::<i64>()?.max(0) as usize;
    let loss = cross_entropy(logits, targets).try_into_scalar::<f32>()?;
    Ok((f64::from(loss), correct))
}

/// The targets as `[targets, 1]`, where the logits are.
fn column(targets: Vec<i32>, logits: &Tensor<2>) -> Tensor<2, Int> {
    let rows = targets.len();
    Tensor::from_data(TensorData::new(targets, [rows, 1]), &logits.device())
}

/// Rows of random ids of a vocabulary, the same in every process, and their lengths.
fn probe_ids(about: &dyn Description, device: &Device) -> (Tensor<2, Int>, Vec<usize>) {
    const ROWS: usize = 4;
    const WIDTH: usize = 32;
    let width = about.context().map_or(WIDTH, |context| context.min(WIDTH));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let vocabulary = about.vocab_size().max(1) as u32;
    let random: Vec<u32> = (0..ROWS * width).map(|_| rng.random_range(0..vocabulary)).collect();
    (ids(&random, [ROWS, width], device), vec![width; ROWS])
}

/// Token ids as `[rows, width]`.
fn ids(ids: &[u32], shape: [usize; 2], device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    Tensor::from_data(TensorData::new(ids, shape), device)
}
