//! A model put into the loop: burn-train's learner, loaders, metrics and strategy, once for a run with all that
//! belongs to it and for whoever wants the steps alone ([`take_steps`]).

use std::cell::RefCell;
use std::sync::Arc;

use burn::optim::ModuleOptimizer;
use burn_lora_report::record::StepRecord;
use burn_lora_report::sample::Scores;
use burn_train::logger::InMemoryMetricLogger;
use burn_train::metric::LearningRateMetric;
use burn_train::renderer::MetricsRenderer;
use burn_train::{Interrupter, Learner, SupervisedTraining, TrainingStrategy};

use crate::TrainError;
use crate::early_stopping::{EarlyStopping, Seen};
use crate::exchange::Ranks;
use crate::history::{Covered, History};
use crate::learner::{OptimizerTap, TrainableModel, Trainee};
use crate::loader::StepLoader;
use crate::metrics::{Measure, TargetMean, figure};
use crate::optimizer::{StepFactor, adamw, scheduler};
use crate::plain::PlainRenderer;
use crate::schedule::LearningRate;
use crate::strategy::{Hooks, StepPlan, StepStrategy};
use burn_lora_config::TrainSection;
use burn_lora_data::MakeStep;

/// What goes into the loop.
pub(crate) struct Fit<'a, M: TrainableModel> {
    /// Adapted and frozen, or trainable as a whole.
    pub model: M,
    /// Fresh, or with the state of a checkpoint.
    pub optimizer: ModuleOptimizer,
    /// What the optimiser asks for at every step.
    pub factor: StepFactor,
    /// `[train]`.
    pub train: &'a TrainSection,
    /// Steps taken already.
    pub start: usize,
    /// Steps in all.
    pub steps: usize,
    /// The micro-batches of a step.
    pub make_step: MakeStep<M::Batch>,
    /// The batches held out, and how many there are.
    pub held_out: (MakeStep<M::Batch>, usize),
    /// Takes the optimiser's state for checkpoints.
    pub tap: OptimizerTap,
    /// Early stopping.
    pub early_stopping: EarlyStopping,
    /// What steps and evaluations measure.
    pub history: History,
    /// What the loop asks for.
    pub hooks: Box<dyn Hooks<M>>,
    /// Who takes the steps.
    pub ranks: Ranks,
    /// Shows the run; none: burn-train's own.
    pub renderer: Option<Box<dyn MetricsRenderer>>,
    /// Stops the run after the step it is in.
    pub interrupter: Interrupter,
}

/// What came out of the loop.
pub(crate) struct Fitted<M> {
    /// The trained model.
    pub model: M,
    /// What was measured.
    pub history: History,
    /// Why it was interrupted, if it was, before its last step.
    pub interrupted: Option<String>,
}

impl<M: TrainableModel> Fit<'_, M> {
    /// Runs the loop to its end.
    ///
    /// # Errors
    ///
    /// A loss or norm that is not finite, a hook or a file that fails, an error of burn-train.
    pub fn launch(self) -> Result<Fitted<M>, TrainError> {
        let Self { train, start, steps, .. } = self;
        let plan = StepPlan {
            start,
            steps,
            clip: train.clip.unwrap_or(0.0),
            eval_every: train.eval_every,
            save_every: train.save_every,
        };
        let rounds = plan.rounds();
        let rate = LearningRate::new(
            train.schedule,
            train.learning_rate,
            train.warmup.steps(steps),
            steps,
        );
        let rates = scheduler(&self.model, &rate, train.lora_plus, start);
        let connection = self.model.devices().first().and_then(burn_lora::device::connection);
        let trainee = Trainee::new(self.model, self.tap.clone())
            .with_label_smoothing(train.label_smoothing)
            .with_recompute(train.recompute);
        let strategy = Arc::new(StepStrategy {
            plan,
            tap: self.tap,
            factor: self.factor,
            early_stopping: self.early_stopping.clone(),
            figure: figure(train.metric),
            history: RefCell::new(self.history),
            hooks: self.hooks,
            ranks: self.ranks,
            connection,
            error: RefCell::new(None),
        });
        let (make_eval, eval_batches) = self.held_out;
        // No path is used: metrics stay in memory, there is no log and checkpoints are the hooks'.
        let mut training = SupervisedTraining::new(
            "",
            Arc::new(StepLoader::new(self.make_step, start..steps, train.seed)),
            Arc::new(StepLoader::new(make_eval, 0..eval_batches, 0)),
        )
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_metric_logger(InMemoryMetricLogger::new())
        .with_application_logger(None)
        .with_interrupter(self.interrupter)
        .early_stopping(self.early_stopping)
        .num_epochs(rounds)
        .metric_train_numeric(TargetMean::new(Measure::Loss))
        .metric_train_numeric(LearningRateMetric::new());
        if eval_batches > 0 {
            training = training
                .metric_valid_numeric(TargetMean::new(Measure::Loss))
                .metric_valid_numeric(TargetMean::new(Measure::Accuracy));
        }
        if let Some(renderer) = self.renderer {
            training = training.renderer(renderer);
        }
        let result = training.launch(Learner::new(trainee, self.optimizer, rates));
        // The renderer restores the terminal when it goes.
        drop(result.renderer);
        if let Some(error) = strategy.error.take() {
            return Err(error);
        }
        if let Some(error) = result.error {
            return Err(TrainError::burn("training")(error));
        }
        let history = strategy.history.take();
        // Whoever stops it behind its last step, while it is evaluated or saved, stops nothing.
        let taken = history.records().last().map_or(start, |record| record.place().0);
        let interrupted = result.interrupted.filter(|_| taken < steps);
        let interrupted = interrupted.map(|i| i.reason.unwrap_or_else(|| "interrupted".to_owned()));
        Ok(Fitted { model: result.model.into_model(), history, interrupted })
    }
}

/// Takes a step with each of the batches, through the loop that a run goes through, and tells `stepped` of each: its record, and how
/// many of its seconds forward and backward took (on a GPU: took to be queued). Nothing is written, shown, held out or saved.
///
/// # Errors
///
/// An entry of `no_decay` that names nothing, a loss or norm that is not finite, an error of burn-train.
pub fn take_steps<M: TrainableModel>(
    model: M,
    train: &TrainSection,
    batches: Vec<M::Batch>,
    stepped: impl Fn(&StepRecord, f64) + 'static,
) -> Result<M, TrainError> {
    let steps = batches.len();
    let make_step: MakeStep<M::Batch> = Arc::new(move |step| vec![batches[step].clone()]);
    let factor = StepFactor::default();
    let fit = Fit {
        optimizer: adamw(&model, train, &factor)?,
        factor,
        model,
        train,
        start: 0,
        steps,
        held_out: (make_step.clone(), 0),
        make_step,
        tap: OptimizerTap::default(),
        early_stopping: EarlyStopping::new(0, Seen::default()),
        history: History::default(),
        hooks: Box::new(Listener(stepped)),
        ranks: Ranks::alone(),
        renderer: Some(Box::new(PlainRenderer::silent())),
        interrupter: Interrupter::new(),
    };
    Ok(fit.launch()?.model)
}

/// Hooks of whoever wants the steps alone.
pub(crate) struct Listener<F>(pub(crate) F);

impl<M, F: Fn(&StepRecord, f64)> Hooks<M> for Listener<F> {
    fn stepped(&self, record: &StepRecord, gradients: f64) {
        (self.0)(record, gradients);
    }

    fn score(&self, _: &M, _: usize) -> Result<Scores, TrainError> {
        Ok(Scores::default())
    }

    fn best(&self, _: &M) -> Result<(), TrainError> {
        Ok(())
    }

    fn saves(&self) -> bool {
        false
    }

    fn save(&self, _: &M, _: usize, _: &Covered) -> Result<(), TrainError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig};

    use super::*;
    use burn_lora_config::RunConfig;
    use burn_lora_data::{TokenBatch, TokenExample};

    const MODEL: &str = r#"{"model_type": "llama", "vocab_size": 16, "hidden_size": 8,
        "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "max_position_embeddings": 32}"#;

    fn batch(ids: &[u32]) -> TokenBatch {
        let next = ids[1..].iter().map(|&id| Some(id)).chain([None]);
        let example = TokenExample { ids: ids.to_vec(), targets: next.collect() };
        TokenBatch::new([&example], 0)
    }

    fn section() -> TrainSection {
        let text = "[model]\npath = 'm'\n[data]\ntrain = 't'\n[adapter]\nmethod = 'full'\n\
                    [train]\nsteps = 3\nlearning_rate = 0.01\nwarmup = 0\n[output]\ndir = 'o'\n";
        RunConfig::parse(text, "run.toml", &[]).unwrap().train
    }

    #[test]
    fn a_step_without_a_target_stops_before_it_is_taken() {
        let config = CausalConfig::from_json(MODEL, "config.json".as_ref()).unwrap();
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        let model = CausalLm::random(&config, 1, &device).unwrap();
        let nothing = TokenExample { ids: vec![1, 2, 3], targets: vec![None; 3] };
        let batches = vec![batch(&[1, 2, 3]), TokenBatch::new([&nothing], 0)];
        let taken = take_steps(model, &section(), batches, |_, _| {});
        assert!(matches!(taken, Err(TrainError::NothingToLearn { step: 2, .. })));
    }

    /// Every batch is a step, in order: its first loss is the untrained model's, and a batch that comes again has become likelier.
    #[test]
    fn each_batch_is_one_step_of_the_loop() {
        let train = section();
        let config = CausalConfig::from_json(MODEL, "config.json".as_ref()).unwrap();
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        let model = CausalLm::random(&config, 1, &device).unwrap();
        let (first, other) = (batch(&[1, 2, 3, 4]), batch(&[5, 6, 7]));
        let untrained = TrainableModel::loss(&model, &first, &device).into_scalar::<f32>();
        let told = Rc::new(RefCell::new(Vec::new()));
        let listener = told.clone();
        let stepped = move |record: &StepRecord, gradients| {
            listener.borrow_mut().push((*record, gradients));
        };
        let batches = vec![first.clone(), other, first];
        take_steps(model, &train, batches, stepped).unwrap();
        let told = told.borrow();
        assert_eq!(
            told.iter().map(|(r, _)| (r.step, r.targets)).collect::<Vec<_>>(),
            [(1, 3), (2, 2), (3, 3)]
        );
        // One forward pass in f32, read twice.
        let off = told[0].0.loss - f64::from(untrained) / 3.0;
        assert!(off.abs() < 1e-6, "{off}");
        assert!(told[2].0.loss < told[0].0.loss, "{told:?}");
        assert!(told.iter().all(|(record, gradients)| *gradients <= record.seconds));
    }
}
