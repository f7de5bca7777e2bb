//! Parameters that are no layer's weight, against PEFT's `target_parameters`: the folders of `fixtures/parameters`, a small net of
//! experts each, whose forward `generate.py` says.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use burn_lora::LoraForward;
use burn_lora_patch::peft::{self, LoadOptions, read_config};
use burn_lora_patch::{Layout, LoraModule, trainable_ids};
use serde::Deserialize;

use super::fixture::{Curve, Values, having, json, name, read};
use super::measure::{Failure, Nudge, determined, get, largest, param, tensor};
use super::table::{Cell, Tables};
use super::{CURVE, GRADIENTS, LEAST_STEPS, LOGITS};

/// What says that a folder is one.
const SETTINGS: &str = "parameters.json";
/// The largest difference of an entry of a merged parameter, of entries of size 1, that passes: a sum of a few products in f32.
const MERGED: f64 = 1e-5;
/// The type whose parameters lie `[d_out, d_in]`.
const TURNED: &str = "Turned";

/// Sizes of the net.
#[derive(Deserialize)]
struct Settings {
    experts: usize,
    d: usize,
}

/// `up: [experts, d, hidden]` and `down: [experts, hidden, d]`.
#[derive(Module, Debug)]
struct Experts {
    up: Param<Tensor<3>>,
    down: Param<Tensor<3>>,
}

/// `router: [experts, d]`, `up: [experts, hidden, d]` and `classes: [classes, d]`.
#[derive(Module, Debug)]
struct Turned {
    router: Param<Tensor<2>>,
    up: Param<Tensor<3>>,
    classes: Param<Tensor<2>>,
}

#[derive(Module, Debug)]
struct Net {
    proj: Linear,
    experts: Experts,
    turned: Turned,
}

type Tensors = BTreeMap<String, Values>;

impl Net {
    fn load(dir: &Path, sizes: &Settings, device: &Device) -> Result<Self, Failure> {
        let tensors = read(&dir.join("net.safetensors"))?;
        let mut proj = LinearConfig::new(sizes.d, sizes.d).init(device);
        let weight: Tensor<2> = tensor(get(&tensors, "proj.weight")?, device);
        proj.weight = Param::from_tensor(weight.transpose());
        proj.bias = Some(param(&tensors, "proj.bias", device)?);
        let experts = Experts {
            up: param(&tensors, "experts.up", device)?,
            down: param(&tensors, "experts.down", device)?,
        };
        let turned = Turned {
            router: param(&tensors, "turned.router", device)?,
            up: param(&tensors, "turned.up", device)?,
            classes: param(&tensors, "turned.classes", device)?,
        };
        match experts.up.dims()[0] == sizes.experts {
            true => Ok(Self { proj, experts, turned }),
            false => Err("the net has another number of experts".into()),
        }
    }

    /// `x: [rows, d]` to logits `[rows, classes]`.
    fn logits(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.proj.lora_forward(x);
        let [experts, ..] = self.experts.up.dims();
        let shares = activation::softmax(x.clone().matmul(self.turned.router.val().transpose()), 1);
        let each = x.unsqueeze::<3>().repeat_dim(0, experts);
        let hidden = each.clone().matmul(self.experts.up.val()).tanh()
            + each.matmul(self.turned.up.val().swap_dims(1, 2));
        let of_each = hidden.matmul(self.experts.down.val());
        let y = (of_each * shares.transpose().unsqueeze_dim::<3>(2)).sum_dim(0);
        y.squeeze_dim::<2>(0).matmul(self.turned.classes.val().transpose())
    }

    /// Every parameter as files have it.
    fn values(&self) -> Result<Tensors, Failure> {
        let mut values = BTreeMap::new();
        let mut put = |name: &str, data: TensorData| -> Result<(), Failure> {
            let (shape, numbers) = (data.shape()[..].to_vec(), data.try_to_vec::<f32>()?);
            let numbers = numbers.into_iter().map(f64::from).collect();
            values.insert(name.to_owned(), Values { shape, values: numbers });
            Ok(())
        };
        put("proj.weight", self.proj.weight.val().transpose().into_data())?;
        put("experts.up", self.experts.up.val().into_data())?;
        put("experts.down", self.experts.down.val().into_data())?;
        put("turned.router", self.turned.router.val().into_data())?;
        put("turned.up", self.turned.up.val().into_data())?;
        put("turned.classes", self.turned.classes.val().into_data())?;
        Ok(values)
    }
}

/// The folders at most two below `root` that are of this kind.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    having(SETTINGS, root)
}

/// The table of these folders.
pub fn compare(dirs: &[PathBuf], device: &Device, tables: &mut Tables) {
    let columns =
        ["base logits", "adapted", "merged", "saved", "weights", "gradients", "curve", "steps"];
    let lines = |dir: &PathBuf| {
        let Measured { base, adapted, merged, saved, weights, gradients, curve, steps } =
            measure(dir, device)?;
        let cells = vec![
            Cell::Within(base, LOGITS),
            Cell::Within(adapted, LOGITS),
            Cell::Within(merged, LOGITS),
            Cell::Within(saved, LOGITS),
            Cell::Within(weights, MERGED),
            Cell::Within(gradients, GRADIENTS),
            Cell::Within(curve, CURVE),
            Cell::AtLeast(steps, LEAST_STEPS),
        ];
        Ok(vec![(name(dir), cells)])
    };
    let tolerances = format!(
        "logits {LOGITS:.0e}, weights {MERGED:.0e}, gradients {GRADIENTS:.0e}, curve {CURVE:.0e}"
    );
    tables.print(("parameters", &columns), dirs, |dir| name(dir), lines, &tolerances);
}

/// The largest differences.
struct Measured {
    base: f64,
    adapted: f64,
    merged: f64,
    /// Of what we write, read again.
    saved: f64,
    /// Of the merged parameters.
    weights: f64,
    gradients: f64,
    curve: f64,
    /// How many steps of the curve are determined, and so compared.
    steps: usize,
}

fn measure(dir: &Path, device: &Device) -> Result<Measured, Failure> {
    let base = Net::load(dir, &json(&dir.join(SETTINGS))?, device)?;
    let expected = read(&dir.join("expected.safetensors"))?;
    let x: Tensor<2> = tensor(get(&expected, "x")?, device);
    let difference = |net: &Net, key: &str| -> Result<f64, Failure> {
        let logits: Vec<f32> = net.logits(x.clone()).into_data().try_to_vec()?;
        let pairs = logits.iter().zip(&get(&expected, key)?.values);
        Ok(largest(pairs.map(|(ours, theirs)| f64::from(*ours) - theirs)))
    };
    let of_base = difference(&base, "base")?;
    let options = LoadOptions::new().with_trainable(true).with_linear_type(TURNED, Layout::OutIn);
    let saved_by_peft = dir.join("adapter");
    let (net, _) = base.clone().load_adapter_with(&saved_by_peft, &options)?;
    let adapted = difference(&net, "logits")?;
    let gradients = gradient_difference(&net, x.clone(), &expected)?;

    let scratch = tempfile::tempdir()?;
    net.save_adapter(scratch.path())?;
    same_files(scratch.path(), &saved_by_peft)?;
    let (again, _) = base.load_adapter_with(scratch.path(), &options)?;
    let saved = difference(&again, "logits")?;

    let unloaded = net.clone().merge_and_unload_lora()?;
    let merged = difference(&unloaded, "merged_logits")?;
    let mut weights = 0.0;
    for (key, ours) in unloaded.values()? {
        let theirs = get(&expected, &format!("merged.{key}"))?;
        if ours.shape != theirs.shape {
            return Err(format!("merged, `{key}` is {:?}", ours.shape).into());
        }
        let pairs = ours.values.iter().zip(&theirs.values);
        let off = largest(pairs.map(|(ours, theirs)| ours - theirs));
        weights = largest([weights, off].into_iter());
    }

    let losses = Curve::of(dir)?.losses;
    let ours = curve(net.clone(), &x, &expected, losses.len())?;
    let nudged =
        Nudge::ALL.map(|mut nudge| curve(net.clone().map(&mut nudge), &x, &expected, losses.len()));
    let nudged = nudged.into_iter().collect::<Result<Vec<_>, _>>()?;
    let (curve, steps) = determined(&ours, &nudged, &losses, CURVE);
    Ok(Measured { base: of_base, adapted, merged, saved, weights, gradients, curve, steps })
}

/// That what we write has PEFT's tensors, bit by bit, and names the same parameters.
fn same_files(ours: &Path, theirs: &Path) -> Result<(), Failure> {
    let tensors = |dir: &Path| read(&dir.join(peft::TENSORS_FILE));
    let (written, expected) = (tensors(ours)?, tensors(theirs)?);
    for (key, expected) in &expected {
        let written = get(&written, key)?;
        if (&written.shape, &written.values) != (&expected.shape, &expected.values) {
            return Err(format!("saved, `{key}` is another one than PEFT's").into());
        }
    }
    if written.len() != expected.len() {
        return Err(
            format!("saved are {} tensors, PEFT has {}", written.len(), expected.len()).into()
        );
    }
    let named = |dir: &Path| read_config(dir).map(|config| config.target_parameters);
    match named(ours)? == named(theirs)? {
        true => Ok(()),
        false => Err("saved are other target_parameters than PEFT's".into()),
    }
}

fn loss(net: &Net, x: Tensor<2>, expected: &Tensors) -> Result<Tensor<1>, Failure> {
    let classes: Vec<i32> = get(expected, "y")?.values.iter().map(|it| *it as i32).collect();
    let count = classes.len();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [count]), &x.device());
    let probabilities = activation::log_softmax(net.logits(x), 1);
    Ok(probabilities.gather(1, classes.reshape([count, 1])).mean().neg())
}

/// The largest difference of any gradient, relative to the largest entry of PEFT's.
fn gradient_difference(net: &Net, x: Tensor<2>, expected: &Tensors) -> Result<f64, Failure> {
    let grads = GradientsParams::from_grads(loss(net, x, expected)?.backward(), net);
    let ids = trainable_ids(net);
    let known = expected.keys().filter(|key| key.starts_with("grad.")).count();
    if known != ids.len() {
        return Err(format!("{} trainable tensors, PEFT has {known}", ids.len()).into());
    }
    let mut worst = 0.0_f64;
    for (key, id) in ids {
        let expected = get(expected, &format!("grad.{key}"))?;
        let got = grads.get::<2>(id).ok_or_else(|| format!("`{key}` has no gradient"))?;
        let got = as_in_files(got, &key, &expected.shape)?;
        let scale = largest(expected.values.iter().copied()).max(f64::MIN_POSITIVE);
        let pairs = got.iter().zip(&expected.values);
        let difference = largest(pairs.map(|(ours, theirs)| f64::from(*ours) - theirs));
        worst = largest([worst, difference / scale].into_iter());
    }
    Ok(worst)
}

/// A factor's gradient row by row as PEFT has it: A `[rank of all, d_in]`, and of B, `[d_out, rank of all]`, for each of the rank a
/// column of every matrix, where ours is `[rank, d_out of all]`.
fn as_in_files(gradient: Tensor<2>, key: &str, shape: &[usize]) -> Result<Vec<f32>, Failure> {
    let [rows, columns] = gradient.dims();
    let values: Vec<f32> = gradient.into_data().try_to_vec()?;
    let &[of_file, across] = shape else {
        return Err(format!("`{key}` is no matrix in PEFT").into());
    };
    if rows * columns != of_file * across {
        return Err(format!("`{key}` is [{rows}, {columns}], PEFT's {shape:?}").into());
    }
    if !key.contains("lora_B") {
        return Ok((0..values.len()).map(|at| values[at % rows * columns + at / rows]).collect());
    }
    let matrices = across / rows;
    let at = |index: usize| {
        let (output, column) = (index / across, index % across);
        let (k, matrix) = (column / matrices, column % matrices);
        values[k * columns + matrix * of_file + output]
    };
    Ok((0..values.len()).map(at).collect())
}

/// The losses before each of as many AdamW steps.
fn curve(
    mut net: Net,
    x: &Tensor<2>,
    expected: &Tensors,
    steps: usize,
) -> Result<Vec<f64>, Failure> {
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).init();
    let mut losses = Vec::with_capacity(steps);
    for _ in 0..steps {
        let loss = loss(&net, x.clone(), expected)?;
        losses.push(f64::from(loss.clone().try_into_scalar::<f32>()?));
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        net = optimizer.step(1e-2, net, grads);
    }
    Ok(losses)
}
