//! Loading a PEFT directory into a model.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_lora::{Adapter, Adapters};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::config::read_config;
use super::files::{CONFIG_FILE, TENSORS_FILE, read};
use super::keys::{Factor, Slot, transpose};
use crate::error::{KeyProblem, PatchError};
use crate::patch::{Plan, freeze};
use crate::report::PatchReport;
use crate::rewrite::attach_sets;
use crate::select::Unmatched;
use crate::tensors::{compare, write};

/// How an adapter is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// The adapter's name in the model.
    pub name: String,
    /// Whether its factors, and the modules it saved, are trained on. As in PEFT they are frozen by
    /// default.
    pub trainable: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { name: "default".to_owned(), trainable: false }
    }
}

/// Attaches the adapter in `dir` to `model`, puts the values of the modules saved with it into the
/// model, and freezes the rest.
///
/// The file decides together with the model: every factor that the configuration's targets need must
/// be there, with its shape, and nothing else. An entry of the configuration that matches nothing in
/// the model is a warning in the report.
///
/// # Errors
///
/// Files that are not there, not whole or not an adapter's; settings that are not supported;
/// everything about keys, shapes and types that does not fit, at once; a model that carries an
/// adapter already. The model is then as it was.
pub fn load<M: Module>(
    model: &mut M,
    dir: impl AsRef<Path>,
    options: &LoadOptions,
) -> Result<PatchReport, PatchError> {
    let dir = dir.as_ref();
    let loaded = read_config(dir)?
        .to_patch()
        .map_err(|settings| PatchError::Unsupported { path: dir.join(CONFIG_FILE), settings })?;
    let config = loaded.patch.with_name(options.name.clone());
    let mut plan = Plan::new(model, &config, Unmatched::Reported)?;

    let bytes = read(dir, TENSORS_FILE)?;
    let path = dir.join(TENSORS_FILE);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| PatchError::Damaged { path: path.clone(), reason: error.to_string() })?;
    let tensors: BTreeMap<String, TensorView<'_>> = file.tensors().into_iter().collect();

    let embeddings: Vec<String> = tensors
        .keys()
        .filter_map(|key| key.strip_suffix(".lora_embedding_A"))
        .map(|module| format!("an adapter on the embedding `{module}`"))
        .collect();
    if !embeddings.is_empty() {
        return Err(PatchError::Unsupported { path, settings: embeddings });
    }

    let rank = config.lora.rank;
    let slots = slots(&plan, rank);
    let shapes = tensors.iter().map(|(key, view)| (key.as_str(), view.shape()));
    let mut problems: Vec<KeyProblem> = compare(&slots, shapes)
        .into_iter()
        .map(|problem| as_rank_problem(problem, &slots, rank))
        .collect();
    let mut values = BTreeMap::new();
    for (key, view) in &tensors {
        match as_f32(view) {
            Some(read) => {
                values.insert(key.as_str(), read);
            }
            None => problems.push(KeyProblem::Dtype {
                key: key.clone(),
                dtype: format!("{:?}", view.dtype()).to_lowercase(),
            }),
        }
    }
    if !problems.is_empty() {
        return Err(PatchError::Keys { origin: path.display().to_string(), problems });
    }

    let mut sets = BTreeMap::new();
    for linear in plan.adapted() {
        let mut factor = |factor: Factor, rows: usize, columns: usize| {
            let values = values.remove(factor.key(&linear.path).as_str()).unwrap_or_default();
            stored(&values, rows, columns, &linear.device)
        };
        let a = factor(Factor::A, rank, linear.d_in);
        let b = factor(Factor::B, linear.d_out, rank);
        let mut adapter =
            Adapter::from_factors(&config.name, a, b, config.lora.scale(), config.lora.dropout)
                .map_err(|source| PatchError::Adapter { layer: linear.path.clone(), source })?;
        if !options.trainable {
            adapter.a = adapter.a.set_require_grad(false);
            adapter.b = adapter.b.set_require_grad(false);
        }
        sets.insert(linear.path.clone(), Adapters::single(adapter));
    }
    let saved = slots
        .iter()
        .filter(|slot| slot.factor_of.is_none())
        .filter_map(|slot| {
            Some((slot.path.clone(), slot.stored(values.remove(slot.key.as_str())?)))
        })
        .collect();

    if !options.trainable {
        plan.selection.saved_params.clear();
        plan.report.trainable = 0;
    }
    plan.report.warnings.extend(loaded.warnings);
    let frozen = freeze(model.clone(), &plan.selection.saved_params);
    *model = attach_sets(write(frozen, saved), sets);
    Ok(plan.report)
}

/// The places that the model and the configuration have for tensors.
fn slots(plan: &Plan, rank: usize) -> Vec<Slot> {
    let factors = plan.adapted().flat_map(|linear| {
        [(Factor::A, vec![rank, linear.d_in]), (Factor::B, vec![linear.d_out, rank])].map(
            |(factor, shape)| Slot {
                path: String::new(),
                key: factor.key(&linear.path),
                shape,
                transposed: true,
                factor_of: Some(linear.path.clone()),
            },
        )
    });
    let params = plan.scan.params().iter();
    let saved = params.filter(|param| plan.selection.saved_params.contains(&param.path));
    factors.chain(saved.map(Slot::of)).collect()
}

/// A wrong shape is a wrong rank where a factor differs in nothing else.
fn as_rank_problem(problem: KeyProblem, slots: &[Slot], configured: usize) -> KeyProblem {
    let KeyProblem::Shape { key, found, expected } = problem else { return problem };
    let is_factor = slots.iter().any(|slot| slot.key == key && slot.factor_of.is_some());
    let at = usize::from(!key.ends_with("lora_A.weight"));
    match (found.as_slice(), expected.as_slice()) {
        (&[f0, f1], &[e0, e1]) if is_factor && [f0, f1][1 - at] == [e0, e1][1 - at] => {
            KeyProblem::Rank { key, rank: [f0, f1][at], found, expected, configured }
        }
        _ => KeyProblem::Shape { key, found, expected },
    }
}

/// The values of a tensor, from f32, f16 or bf16, little-endian as the format has them.
fn as_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    let pairs = || data.chunks_exact(2).map(|bytes| [bytes[0], bytes[1]]);
    match view.dtype() {
        Dtype::F32 => Some(
            data.chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect(),
        ),
        Dtype::F16 => Some(pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect()),
        Dtype::BF16 => Some(pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect()),
        _ => None,
    }
}

/// A matrix of the file, `[rows, columns]`, as Burn stores it: `[columns, rows]`.
fn stored(values: &[f32], rows: usize, columns: usize, device: &Device) -> Tensor<2> {
    let data = TensorData::new(transpose(values, rows, columns), [columns, rows]);
    Tensor::from_data(data, (device, DType::F32))
}
