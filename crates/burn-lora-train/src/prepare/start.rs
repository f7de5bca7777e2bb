//! How the adapter of a run starts: from its seed and the base alone; from what goes into the layers, for which the model reads rows of
//! the run first; or from what the weights lost in the format that they are held in, for which the base's files are read once more.
//!
//! What is found there is in the adapter: in its factors and, as ranks of layers, in its configuration. So a run that goes on takes it
//! from its checkpoint and reads nothing again. Rows are read in the order of the run's steps, so that every rank, and every process,
//! finds the same.

use std::path::Path;

use burn::tensor::Device;
use burn_lora::Init;
use burn_lora_config::RunConfig;
use burn_lora_data::Rows;
use burn_lora_models::weights::{Role, TensorSpec};
use burn_lora_patch::peft::{self, PeftConfig};
use burn_lora_patch::{Eva, LayerStatus, Loftq, LoraConfig, PatchError, PatchReport, patch};
use burn_lora_text::grouped;

use super::draw;
use crate::TrainError;
use crate::base::Base;
use crate::learner::{Batch, TrainableModel};
use crate::observe::Observer;

/// What a start may need beside the model.
pub(super) struct Sources<'a, M: TrainableModel> {
    pub(super) base: &'a Base<M>,
    pub(super) device: &'a Device,
    /// The rows to train on.
    pub(super) train: &'a Rows<M::Batch>,
    /// Where the adapter lies that a run goes on with.
    pub(super) checkpoint: Option<&'a Path>,
    pub(super) observer: &'a Observer,
}

/// The model with a fresh adapter, and the configuration that describes it.
pub(super) fn patched<M: TrainableModel>(
    mut model: M,
    config: LoraConfig,
    run: &RunConfig,
    from: &Sources<'_, M>,
) -> Result<(M, LoraConfig, PatchReport), TrainError> {
    let init = config.adapter.init;
    match from.checkpoint {
        Some(dir) if init.needs_inputs() || init.needs_dense() => {
            let config = ranked(config, dir)?;
            // Every factor is read from the checkpoint: what it would start from is not asked.
            let mut drawn = config.clone();
            drawn.adapter.init = Init::default();
            let report = patch(&mut model, &drawn)?;
            Ok((model, config, report))
        }
        _ if init.needs_inputs() => by_inputs(model, &config, run, from),
        _ if init.needs_dense() => {
            let (model, report) = by_what_is_lost(model, &config, run, from)?;
            Ok((model, config, report))
        }
        _ => {
            let report = patch(&mut model, &config)?;
            Ok((model, config, report))
        }
    }
}

/// The configuration with the layers and ranks of the adapter in that directory.
fn ranked(config: LoraConfig, dir: &Path) -> Result<LoraConfig, TrainError> {
    let file: PeftConfig = peft::read_config(dir)?;
    let path = dir.join(peft::CONFIG_FILE);
    let loaded = file.to_config();
    let loaded = loaded.map_err(|settings| PatchError::Unsupported { path, settings })?.config;
    let mut ranked = config;
    ranked.targets = loaded.targets;
    ranked.exclude = loaded.exclude;
    ranked.exclude_regex = loaded.exclude_regex;
    ranked.layers_to_transform = loaded.layers_to_transform;
    ranked.layers_pattern = loaded.layers_pattern;
    ranked.rank_pattern = loaded.rank_pattern;
    ranked.alpha_pattern = loaded.alpha_pattern;
    Ok(ranked)
}

/// The model patched by what goes into its layers, which reads rows until that is known, each once at most.
fn by_inputs<M: TrainableModel>(
    model: M,
    config: &LoraConfig,
    run: &RunConfig,
    from: &Sources<'_, M>,
) -> Result<(M, LoraConfig, PatchReport), TrainError> {
    from.observer.stage("looking at what goes into the layers");
    let mut eva = Eva::new(&model, config)?;
    // Without gradients, and without what training drops.
    let looking = model.clone().valid();
    let device = looking.devices().swap_remove(0);
    let (make_step, per_epoch) = from.train.training(draw(&run.train));
    'rows: for step in 0..per_epoch {
        for batch in make_step(step) {
            if eva.has_converged() {
                break 'rows;
            }
            let seen = eva.pass(Some(&batch.looked_at()), || looking.measure(&batch, &device))?;
            seen.map_err(TrainError::burn("reading what the model computes"))?;
        }
    }
    from.observer.done();
    let found = eva.found()?;
    let (model, report) = eva.patch(model)?;
    from.observer.line(told(&eva, &report));
    Ok((model, found, report))
}

/// What was found, in one line.
fn told(eva: &Eva, report: &PatchReport) -> String {
    let adapted = report.layers().iter().filter(|layer| layer.status == LayerStatus::Adapted);
    let ranks: Vec<usize> = adapted.map(|layer| layer.rank).collect();
    let (least, most) = (ranks.iter().min().unwrap_or(&0), ranks.iter().max().unwrap_or(&0));
    let end =
        if eva.has_converged() { "" } else { ", all that there are, before directions stayed" };
    format!(
        "eva: what goes into the layers of {} batches{end}; ranks from {least} to {most} of {} layers",
        grouped(eva.passes()),
        grouped(ranks.len())
    )
}

/// The model patched by what its weights lost, each of which is read as it is in the base's files.
fn by_what_is_lost<M: TrainableModel>(
    model: M,
    config: &LoraConfig,
    run: &RunConfig,
    from: &Sources<'_, M>,
) -> Result<(M, PatchReport), TrainError> {
    from.observer.stage("looking at what the weights lost");
    let mut loftq = Loftq::new(&model, config)?;
    let mut failed = None;
    let show = &mut |spec: &TensorSpec, values: Vec<f32>| {
        let (Some(layer), &[rows, columns]) =
            (spec.key.strip_suffix(".weight"), spec.shape.as_slice())
        else {
            return true;
        };
        let shown = match spec.role {
            Role::Linear => {
                let at = |index: usize| values[index % rows * columns + index / rows];
                let turned: Vec<f32> = (0..values.len()).map(at).collect();
                loftq.show(layer, &turned)
            }
            Role::Conv1d => loftq.show(layer, &values),
            _ => Ok(false),
        };
        match shown {
            Ok(_) => true,
            Err(error) => {
                failed = Some(error);
                false
            }
        }
    };
    from.base.each_tensor(run, from.device, show, from.observer)?;
    from.observer.done();
    match failed {
        Some(error) => Err(error.into()),
        None => Ok(loftq.patch(model)?),
    }
}
