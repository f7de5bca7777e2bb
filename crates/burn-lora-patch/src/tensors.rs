//! The trained values of a model by stable names, out and back in: what a checkpoint holds.
//!
//! Names and layouts are those of PEFT's files ([`crate::peft`]): a factor is
//! `base_model.model.<layer>.lora_A.weight`, `[rank, d_in]`. Burn's `ParamId`s change from process to
//! process, these names do not, so optimiser state is stored under them too ([`trainable_ids`]).
//!
//! A parameter is trainable when it requires gradients in training mode, whichever mode the model is in.

use std::collections::{BTreeMap, BTreeSet};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use burn_lora::{Factor, is_trained};
use burn_lora_text::nearest_ends;

use crate::error::{KeyProblem, PatchError};
use crate::path::{Trail, follow_trail, parent};
use crate::peft::keys::{NamedTensor, Part, Slot, crossing};
use crate::peft::moved;
use crate::rewrite::sets_by_layer;
use crate::scan::{Scan, state};

/// The stable name of every trainable parameter, with the identity that Burn keys gradients and
/// optimiser state by, in the order of traversal.
pub fn trainable_ids<M: Module>(model: &M) -> Vec<(String, ParamId)> {
    let tracked = tracked(model);
    let scan = Scan::of(model);
    let trained = scan.params().iter().filter(|param| tracked.contains(&param.path));
    trained.map(|param| (Slot::of(param).key, param.id)).collect()
}

/// The identity of every trainable factor, with what it is to its adapter, in the order of traversal.
pub fn trainable_factors<M: Module>(model: &M) -> Vec<(&'static Factor, ParamId)> {
    let tracked = tracked(model);
    let scan = Scan::of(model);
    let trained = scan.params().iter().filter(|param| tracked.contains(&param.path));
    trained
        .filter_map(|param| match Slot::of(param).part {
            Part::Factor(factor) => Some((factor, param.id)),
            Part::Base | Part::Unknown => None,
        })
        .collect()
}

/// The values of every trainable parameter, factors and modules trained whole, in the order of
/// traversal; with a factor that started in a part of the base, what it started from
/// ([`Adapter::beside`](burn_lora::Adapter::beside)), as in PEFT's files.
///
/// # Errors
///
/// A tensor that cannot be read from its device.
pub fn trainable_tensors<M: Module>(model: &M) -> Result<Vec<NamedTensor>, PatchError> {
    let sets = sets_by_layer(model);
    let slots = trainable_slots(model, &sets);
    let mut values = read(model, slots.iter().map(|slot| slot.path.clone()).collect())?;
    slots
        .into_iter()
        .filter_map(|slot| {
            let values = values.remove(&slot.path)?;
            Some(moved::named(&sets, slot, values))
        })
        .collect()
}

/// Puts the values of every trainable parameter back, as [`trainable_tensors`] gave them. Values of a factor
/// that stays as it was drawn, beside trained ones of its adapter, may be among them.
///
/// # Errors
///
/// A missing or surplus name, another shape, a wrong number of values: all at once; the model is
/// then as it was.
pub fn set_tensors<M: Module>(
    model: &mut M,
    tensors: impl IntoIterator<Item = NamedTensor>,
) -> Result<(), PatchError> {
    let tensors: BTreeMap<String, NamedTensor> =
        tensors.into_iter().map(|tensor| (tensor.key.clone(), tensor)).collect();
    let mut slots = trainable_slots(model, &sets_by_layer(model));
    slots.extend(drawn_slots(model).into_iter().filter(|slot| tensors.contains_key(&slot.key)));
    let mut problems = Vec::new();
    for tensor in tensors.values() {
        let expected = tensor.shape.iter().product();
        if tensor.values.len() != expected {
            problems.push(KeyProblem::Count {
                key: tensor.key.clone(),
                shape: tensor.shape.clone(),
                count: tensor.values.len(),
                expected,
            });
        }
    }
    problems
        .extend(compare(&slots, tensors.values().map(|t| (t.key.as_str(), t.shape.as_slice()))));
    if !problems.is_empty() {
        return Err(PatchError::Keys { origin: "the given map".to_owned(), problems });
    }
    let values = tensors.into_iter().map(|(key, tensor)| (key, tensor.values)).collect();
    crossing(&slots, &values).map_err(|problem| PatchError::Keys {
        origin: "the given map".to_owned(),
        problems: vec![problem],
    })?;
    *model = moved::stored(model, &slots, values);
    Ok(())
}

fn trainable_slots<M: Module>(model: &M, sets: &moved::Sets) -> Vec<Slot> {
    let tracked = tracked(model);
    let scan = Scan::of(model);
    let trained = scan.params().iter().filter(|param| tracked.contains(&param.path));
    trained.map(|param| moved::widened(sets, Slot::of(param))).collect()
}

/// The places of factors that stay as they were drawn, beside trained ones of the same adapter.
fn drawn_slots<M: Module>(model: &M) -> Vec<Slot> {
    let tracked = tracked(model);
    let adapters: BTreeSet<&str> = tracked.iter().map(|path| parent(path)).collect();
    let scan = Scan::of(model);
    let beside = scan
        .params()
        .iter()
        .filter(|param| !tracked.contains(&param.path) && adapters.contains(parent(&param.path)));
    let drawn = |slot: &Slot| matches!(slot.part, Part::Factor(factor) if !factor.trained);
    beside.map(Slot::of).filter(drawn).collect()
}

/// What is missing, surplus or of another shape among `tensors`, given the places for them.
pub(crate) fn compare<'a>(
    slots: &[Slot],
    tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
) -> Vec<KeyProblem> {
    let mut open: BTreeMap<&str, &Slot> =
        slots.iter().map(|slot| (slot.key.as_str(), slot)).collect();
    let mut surplus = Vec::new();
    let mut problems = Vec::new();
    for (key, found) in tensors {
        match open.remove(key) {
            None => surplus.push((key, found)),
            Some(slot) if slot.shape != found => problems.push(KeyProblem::Shape {
                key: key.to_owned(),
                found: found.to_vec(),
                expected: slot.shape.clone(),
            }),
            Some(_) => {}
        }
    }
    let surplus = surplus.into_iter().enumerate().map(|(at, (key, found))| {
        // Looking through all keys for each key takes long, and nobody reads that many.
        let nearest = (at < MEANT).then(|| meant(key, &open)).flatten();
        KeyProblem::Surplus { key: key.to_owned(), found: found.to_vec(), nearest }
    });
    // Those that tell most come first: of many, only the first are shown.
    let (told, others): (Vec<KeyProblem>, Vec<KeyProblem>) = surplus
        .partition(|problem| matches!(problem, KeyProblem::Surplus { nearest: Some(_), .. }));
    let missing = open
        .values()
        .map(|slot| KeyProblem::Missing { key: slot.key.clone(), expected: slot.shape.clone() });
    problems.into_iter().chain(told).chain(missing).chain(others).collect()
}

/// For how many surplus keys the one is looked for that may have been meant.
const MEANT: usize = 16;

/// The open key that may have been meant: one of the same factor, where the key names one.
fn meant(key: &str, open: &BTreeMap<&str, &Slot>) -> Option<String> {
    let names = |slot: &Slot| match slot.part {
        Part::Factor(factor) => {
            factor.key.split('.').next().is_some_and(|name| key.split('.').any(|part| part == name))
        }
        Part::Base | Part::Unknown => false,
    };
    let of_factor: Vec<&str> =
        open.iter().filter(|(_, slot)| names(slot)).map(|(key, _)| *key).collect();
    let candidates: Vec<&str> = match of_factor.is_empty() {
        true => open.keys().copied().collect(),
        false => of_factor,
    };
    let near = nearest_ends(key, candidates);
    near.into_iter().find(|near| open.contains_key(near.as_str()))
}

/// The paths of the parameters that require gradients, or do once the model is in training mode.
pub(crate) fn tracked<M: Module>(model: &M) -> BTreeSet<String> {
    #[derive(Default)]
    struct Tracked {
        trail: Trail,
        state: BTreeSet<ParamId>,
        found: BTreeSet<String>,
    }
    impl ModuleVisitor for Tracked {
        follow_trail!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // A `RunningState` shows itself as a parameter, and trains as none.
            if !self.state.contains(&param.id) && is_trained(param) {
                self.found.insert(self.trail.path());
            }
        }
    }
    let mut tracked = Tracked { state: state(model), ..Tracked::default() };
    model.visit(&mut tracked);
    tracked.found
}

/// The values of the parameters at `paths`, as Burn stores them.
pub(crate) fn read<M: Module>(
    model: &M,
    paths: BTreeSet<String>,
) -> Result<BTreeMap<String, Vec<f32>>, PatchError> {
    struct Read {
        trail: Trail,
        paths: BTreeSet<String>,
        values: BTreeMap<String, Vec<f32>>,
        failed: Option<PatchError>,
    }
    impl ModuleVisitor for Read {
        follow_trail!();

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.trail.path();
            if self.failed.is_some() || !self.paths.contains(&path) {
                return;
            }
            match param.base().try_into_vec_as::<f32>() {
                Ok(values) => {
                    self.values.insert(path, values);
                }
                Err(error) => {
                    self.failed = Some(PatchError::Unreadable { path, reason: error.to_string() });
                }
            }
        }
    }
    let mut read = Read { trail: Trail::default(), paths, values: BTreeMap::new(), failed: None };
    // A `RunningState` shows itself without its last update, unless the model is put into validation mode.
    drop(model.valid());
    model.visit(&mut read);
    match read.failed {
        Some(error) => Err(error),
        None => Ok(read.values),
    }
}

/// Replaces the values at paths, given as Burn stores them, of the right number each. Identity,
/// type, device and trainability of the parameters stay.
pub(crate) fn write<M: Module>(model: M, values: BTreeMap<String, Vec<f32>>) -> M {
    struct Write {
        trail: Trail,
        values: BTreeMap<String, Vec<f32>>,
    }
    impl ModuleMapper for Write {
        follow_trail!();

        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(values) = self.values.remove(&self.trail.path()) else { return param };
            param.map(|old| {
                let data = TensorData::new(values, old.shape());
                Tensor::from_data(data, (&old.device(), old.dtype()))
                    .set_require_grad(old.is_require_grad())
            })
        }
    }
    model.map(&mut Write { trail: Trail::default(), values })
}
