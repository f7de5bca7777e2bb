//! Adapters whose initialisation took a part out of the base (PiSSA, OLoRA), in files.
//!
//! On the base that nobody touched such an adapter is plain LoRA of twice the rank, `[A A₀]` and `[B; −B₀]`, and so it
//! is written, as PEFT does with `path_initial_model_for_weight_conversion`. What stands beside a factor is no
//! parameter of the model, so that it is put together here and taken apart again: into the adapter that it came from,
//! or into one patched anew, whatever that one started from.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use burn_lora::{Adapter, Adapters, FactorPath, detach};

use super::keys::{NamedTensor, Part, Slot};
use crate::error::PatchError;
use crate::path::layer_of;
use crate::rewrite::{attach_to_layers, sets_by_layer};
use crate::tensors::write;

/// The sets of a model, by the path of their layer.
pub(crate) type Sets = BTreeMap<String, Adapters>;

/// The adapter that a factor at this path is of.
pub(crate) fn adapter_of<'a>(sets: &'a Sets, path: &str) -> Option<&'a Adapter> {
    let place = FactorPath::parse(path)?;
    sets.get(layer_of(place.weight))?.iter().nth(place.index)
}

/// What stands beside a factor, as Burn stores it.
fn beside<'a>(sets: &'a Sets, slot: &Slot) -> Option<&'a Tensor<2>> {
    let Part::Factor(factor) = slot.part else { return None };
    adapter_of(sets, &slot.path)?.beside(factor)
}

/// The place in a file, which is of twice the rank where something stands beside the factor.
pub(crate) fn widened(sets: &Sets, slot: Slot) -> Slot {
    match beside(sets, &slot) {
        Some(_) => slot.widened(),
        None => slot,
    }
}

/// The values of a factor as the file has them, with what stands beside it.
pub(crate) fn named(sets: &Sets, slot: Slot, values: Vec<f32>) -> Result<NamedTensor, PatchError> {
    let Some(beside) = beside(sets, &slot) else { return Ok(slot.named(values)) };
    let beside = beside.clone().try_into_vec_as::<f32>().map_err(|error| {
        PatchError::Unreadable { path: slot.path.clone(), reason: error.to_string() }
    })?;
    let values = slot.joined(&values, &beside);
    Ok(slot.named(values))
}

/// The model with the values of a file in their places, given by key.
pub(crate) fn stored<M: Module>(
    model: &M,
    slots: &[Slot],
    mut values: BTreeMap<String, Vec<f32>>,
) -> M {
    let (mut own, mut others) = (BTreeMap::new(), BTreeMap::new());
    for slot in slots {
        let Some(values) = values.remove(&slot.key) else { continue };
        let mut values = slot.stored(values);
        if slot.is_widened {
            let (half, other) = slot.halves(&values);
            values = half;
            others.insert(slot.path.clone(), other);
        }
        own.insert(slot.path.clone(), values);
    }
    let model = write(model.clone(), own);
    if others.is_empty() { model } else { with_beside(model, others) }
}

/// The model with other values beside the factors at these paths.
fn with_beside<M: Module>(model: M, others: BTreeMap<String, Vec<f32>>) -> M {
    let mut by_place: BTreeMap<(&str, usize, &str), &Vec<f32>> = BTreeMap::new();
    for (path, values) in &others {
        if let Some(place) = FactorPath::parse(path) {
            by_place.insert((layer_of(place.weight), place.index, place.factor.name), values);
        }
    }
    let changed = sets_by_layer(&model).into_iter().map(|(layer, set)| {
        let mut index = 0;
        let set = set.map(|adapter| {
            let at = index;
            index += 1;
            adapter.with_beside(|factor, old| {
                match by_place.get(&(layer.as_str(), at, factor.name)) {
                    Some(values) => {
                        let data = TensorData::new((*values).clone(), old.dims());
                        Tensor::from_data(data, &old.device())
                    }
                    None => old,
                }
            })
        });
        (layer, set)
    });
    let changed = changed.collect();
    attach_to_layers(detach(model), changed)
}
