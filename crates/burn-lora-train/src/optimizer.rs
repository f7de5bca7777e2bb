//! AdamW with the configuration's numbers, whose defaults are torch's, and who is stepped how.
//!
//! - `no_decay`: parameters that weight decay leaves alone, as a group of the optimiser;
//! - `lora_plus`: a learning rate of its own for the factors B (LoRA+, arXiv 2402.12354), as a group of
//!   the scheduler;
//! - `one_pass`: AdamW's step;
//! - `on_host`: states come back from a checkpoint without touching a device that is not the run's.

mod on_host;
mod one_pass;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::{Module, ParamGroup, ParamId};
use burn::optim::ModuleOptimizer;
use burn::tensor::Tensor;
use burn_lora_patch::{trainable_factors, trainable_ids};
use burn_lora_text::nearest_ends;

use on_host::OnHost;
use one_pass::OnePass;

use crate::TrainError;
use crate::schedule::{LearningRate, Scheduler};
use burn_lora_config::TrainSection;

/// What the gradients of the step to come are multiplied by on their way into AdamW, `[1]` on their device: the kernel of a step reads it,
/// where a product of its own would be one more kernel for each gradient.
#[derive(Clone, Default)]
pub(crate) struct StepFactor(Arc<Mutex<Option<Tensor<1>>>>);

impl StepFactor {
    /// For the next step; without one, gradients are taken as they are.
    pub(crate) fn set(&self, factor: Option<Tensor<1>>) {
        *self.held() = factor;
    }

    fn get(&self) -> Option<Tensor<1>> {
        self.held().clone()
    }

    /// A step that panicked left a factor behind, which is one still.
    fn held(&self) -> MutexGuard<'_, Option<Tensor<1>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The optimiser of the model's trained parameters, which asks for the factor at every step.
///
/// # Errors
///
/// An entry of `no_decay` that is the name of no trained parameter.
pub(crate) fn adamw<M: Module>(
    model: &M,
    train: &TrainSection,
    factor: &StepFactor,
) -> Result<ModuleOptimizer, TrainError> {
    let with_decay = |decay| OnHost(OnePass::new(train, decay, factor.clone()));
    let optimizer = ModuleOptimizer::from(with_decay(train.weight_decay));
    if train.no_decay.is_empty() {
        return Ok(optimizer);
    }
    let spared = spared(&trainable_ids(model), &train.no_decay)?;
    Ok(optimizer.with_group(ParamGroup::from_ids(spared), with_decay(0.0), None))
}

/// The parameters whose names the entries are, or are the ends of, on a dot boundary.
fn spared(trained: &[(String, ParamId)], entries: &[String]) -> Result<Vec<ParamId>, TrainError> {
    let mut ids = Vec::new();
    for entry in entries {
        let suffix = format!(".{entry}");
        let found = trained.iter().filter(|(name, _)| name == entry || name.ends_with(&suffix));
        let before = ids.len();
        ids.extend(found.map(|(_, id)| *id));
        if ids.len() == before {
            let names = trained.iter().map(|(name, _)| name.as_str());
            return Err(TrainError::NoDecay {
                entry: entry.clone(),
                nearest: nearest_ends(entry, names.clone()).into_iter().next(),
                example: names.take(1).collect(),
            });
        }
    }
    Ok(ids)
}

/// The learning rates, from a step on.
pub(crate) fn scheduler<M: Module>(
    model: &M,
    rate: &LearningRate,
    lora_plus: f64,
    step: usize,
) -> ModuleLrScheduler {
    let base = ModuleLrScheduler::new(Scheduler::starting_at(rate.clone(), step));
    if lora_plus == 1.0 {
        return base;
    }
    let factors = trainable_factors(model).into_iter().filter(|(factor, _)| factor.lora_plus);
    let ids = factors.map(|(_, id)| id).collect();
    let faster = Scheduler::starting_at(rate.times(lora_plus), step);
    base.with_group(ParamGroup::from_ids(ids), faster)
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::optim::GradientsParams;
    use burn_lora::{Adapter, AdapterConfig, LoraForward, attach};

    use super::*;
    use crate::ids;
    use burn_lora_config::{RunConfig, Schedule};

    pub(super) fn section(more: &str) -> TrainSection {
        let text = format!(
            "[model]\npath = 'm'\n[data]\ntrain = 't'\n[train]\n{more}\n[output]\ndir = 'o'\n"
        );
        RunConfig::parse(&text, "run.toml", &[]).unwrap().train
    }

    fn linear() -> Linear {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        ids::stable(LinearConfig::new(3, 2).init(&device))
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// One step with gradients of zero: what decays shrinks by `1 - rate · decay`, the rest stays.
    #[test]
    fn what_is_named_does_not_decay_and_the_rest_does() {
        let model = linear();
        let train = section("weight_decay = 0.5\nno_decay = ['bias']");
        let mut optimizer = adamw(&model, &train, &StepFactor::default()).unwrap();
        let (weight, bias) = (values(model.weight.val()), model.bias.clone().unwrap());
        let bias = values(bias.val());
        let x = Tensor::<2>::zeros([1, 3], &model.weight.device());
        let grads = (model.forward(x) * 0.0).sum().backward();
        let grads = GradientsParams::from_grads(grads, &model);
        let model = optimizer.step(0.1, model, grads);
        for (after, before) in values(model.weight.val()).iter().zip(&weight) {
            assert!((after - before * 0.95).abs() < 1e-6, "{after} from {before}");
        }
        assert_eq!(values(model.bias.unwrap().val()), bias);
    }

    #[test]
    fn an_entry_that_names_nothing_is_refused_with_the_nearest() {
        let error = adamw(&linear(), &section("no_decay = ['bais']"), &StepFactor::default());
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`bais`") && error.contains("did you mean `bias`?"), "{error}");
    }

    /// AdamW's first step is the learning rate in size, whatever the gradient.
    #[test]
    fn factor_b_takes_steps_that_are_as_many_times_larger() {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        let config = AdapterConfig::new(2).with_alpha(2.0);
        let a = Tensor::<2>::ones([3, 2], &device);
        let b = Tensor::<2>::ones([2, 2], &device);
        let adapter = Adapter::from_factors("default", a, b, config.scale(), 0.0).unwrap();
        let model = LinearConfig::new(3, 2).init(&device).no_grad();
        let model = ids::stable(attach(model, "weight", adapter).unwrap());
        let rate = LearningRate::new(Schedule::Constant, 1e-3, 0.0, 10);
        let mut scheduler = scheduler(&model, &rate, 16.0, 0);
        let mut optimizer =
            adamw(&model, &section("weight_decay = 0.0"), &StepFactor::default()).unwrap();
        let before = trained(&model);
        let x = Tensor::<2>::ones([1, 3], &device);
        let grads = model.lora_forward(x).sum().backward();
        let grads = GradientsParams::from_grads(grads, &model);
        let model = optimizer.step(scheduler.step(), model, grads);
        for ((name, after), (_, before)) in trained(&model).iter().zip(&before) {
            let expected = if name.ends_with(".lora_B.weight") { 16e-3 } else { 1e-3 };
            for (after, before) in after.iter().zip(before) {
                let step = f64::from(before - after);
                assert!((step / expected - 1.0).abs() < 1e-3, "{name}: {step}");
            }
        }
    }

    /// A run that goes on from a record takes the step that the other one takes: also in a build whose
    /// default device is a GPU that is not there, where Burn alone would panic.
    #[test]
    fn a_record_is_restored_without_the_default_device() {
        let step = |optimizer: &mut ModuleOptimizer, model: Linear, slope: f32| {
            let x = Tensor::<2>::ones([1, 3], &model.weight.device());
            let grads = (model.forward(x) * slope).sum().backward();
            let grads = GradientsParams::from_grads(grads, &model);
            let model = optimizer.step(0.1, model, grads);
            (values(model.weight.val()), values(model.bias.clone().unwrap().val()), model)
        };
        let new = || {
            let train = section("no_decay = ['bias']");
            adamw(&linear(), &train, &StepFactor::default()).unwrap()
        };
        let mut running = new();
        let (_, _, model) = step(&mut running, linear(), 1.0);
        let mut resumed = new().load_record(running.to_record());
        let [went_on, came_back, forgot] = [&mut running, &mut resumed, &mut new()]
            .map(|optimizer| step(optimizer, model.clone(), 7.0))
            .map(|(weight, bias, _)| (weight, bias));
        assert_eq!(went_on, came_back);
        assert_ne!(went_on, forgot);
    }

    fn trained(model: &Linear) -> Vec<(String, Vec<f32>)> {
        let tensors = burn_lora_patch::trainable_tensors(model).unwrap();
        tensors.into_iter().map(|tensor| (tensor.key, tensor.values)).collect()
    }
}
