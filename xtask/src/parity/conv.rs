//! Convolutions, against PEFT's: the folders of `fixtures/conv`, a small net of two convolutions and a head each.
//!
//! With groups there is no merged reference, for PEFT does not merge there: its adapted logits are what the merged net has to
//! give.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3d, Conv3dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig1d, PaddingConfig2d, PaddingConfig3d};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use burn_lora_patch::peft::{self, LoadOptions};
use burn_lora_patch::prelude::*;
use burn_lora_patch::{Scan, merge, trainable_ids};
use serde::Deserialize;

use super::fixture::{Values, having, json, name, read};
use super::measure::{Failure, get, largest, param, tensor};
use super::table::{Cell, Tables};
use super::{GRADIENTS, LOGITS};

/// What says that a folder is one.
const NET: &str = "net.json";

/// The net of a folder.
#[derive(Deserialize)]
struct Shape {
    kind: String,
    first: Options,
    second: Options,
    /// Inputs and outputs.
    head: [usize; 2],
}

/// A convolution.
#[derive(Deserialize)]
struct Options {
    inp: usize,
    out: usize,
    kernel: usize,
    #[serde(default = "one")]
    stride: usize,
    #[serde(default)]
    padding: usize,
    #[serde(default = "one")]
    dilation: usize,
    #[serde(default = "one")]
    groups: usize,
}

fn one() -> usize {
    1
}

type Tensors = BTreeMap<String, Values>;

/// The folders at most two below `root` that are of this kind.
pub fn find(root: &Path) -> Result<Vec<PathBuf>, String> {
    having(NET, root)
}

/// The table of these folders.
pub fn compare(dirs: &[PathBuf], device: &Device, tables: &mut Tables) {
    let columns = ["base logits", "adapted", "merged", "saved", "gradients"];
    let lines = |dir: &PathBuf| {
        let Measured { base, adapted, merged, saved, gradients } = measure(dir, device)?;
        let logits = [base, adapted, merged, saved].map(|it| Cell::Within(it, LOGITS));
        let cells = logits.into_iter().chain([Cell::Within(gradients, GRADIENTS)]).collect();
        Ok(vec![(name(dir), cells)])
    };
    let tolerances = format!("logits {LOGITS:.0e}, gradients {GRADIENTS:.0e}");
    tables.print(("convolutions", &columns), dirs, |dir| name(dir), lines, &tolerances);
}

/// The largest differences.
struct Measured {
    base: f64,
    adapted: f64,
    merged: f64,
    /// Of what we write, read again.
    saved: f64,
    gradients: f64,
}

fn measure(dir: &Path, device: &Device) -> Result<Measured, Failure> {
    let shape: Shape = json(&dir.join(NET))?;
    match shape.kind.as_str() {
        "conv1d" => measure_net(Net1::new(&shape, dir, device)?, dir, device),
        "conv2d" => measure_net(Net2::new(&shape, dir, device)?, dir, device),
        "conv3d" => measure_net(Net3::new(&shape, dir, device)?, dir, device),
        other => Err(Failure::Failed(format!("{NET} has the kind {other:?}"))),
    }
}

/// A net whose logits are `[rows, classes]`.
trait Net: Module {
    fn logits(&self, x: &Values, device: &Device) -> Tensor<2>;
}

fn measure_net<N: Net>(base: N, dir: &Path, device: &Device) -> Result<Measured, Failure> {
    let expected = read(&dir.join("expected.safetensors"))?;
    let x = get(&expected, "x")?;
    let difference = |net: &N, key: &str| -> Result<f64, Failure> {
        let logits: Vec<f32> = net.logits(x, device).into_data().try_to_vec()?;
        let pairs = logits.iter().zip(&get(&expected, key)?.values);
        Ok(largest(pairs.map(|(ours, theirs)| f64::from(*ours) - theirs)))
    };
    let of_base = difference(&base, "base")?;
    let options = LoadOptions::new().with_trainable(true);
    let mut net = base.clone();
    peft::load(&mut net, dir.join("adapter"), &options)?;
    let adapted = difference(&net, "logits")?;
    let gradients = gradient_difference(&net, net.logits(x, device), &expected)?;

    let scratch = tempfile::tempdir()?;
    net.save_adapter(scratch.path())?;
    let mut again = base;
    peft::load(&mut again, scratch.path(), &options)?;
    let saved = difference(&again, "logits")?;

    merge(&mut net)?;
    let merged = difference(&net, "merged_logits")?;
    Ok(Measured { base: of_base, adapted, merged, saved, gradients })
}

/// The largest difference of any gradient, relative to the largest entry of PEFT's.
fn gradient_difference<N: Net>(
    net: &N,
    logits: Tensor<2>,
    expected: &Tensors,
) -> Result<f64, Failure> {
    let classes: Vec<i32> = get(expected, "y")?.values.iter().map(|it| *it as i32).collect();
    let count = classes.len();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [count]), &logits.device());
    let picked = activation::log_softmax(logits, 1).gather(1, classes.reshape([count, 1]));
    let grads = GradientsParams::from_grads(picked.mean().neg().backward(), net);
    let (mut worst, scan) = (0.0_f64, Scan::of(net));
    for (key, id) in trainable_ids(net) {
        // PEFT's files leave out `.weight` after some names that its parameters have it in.
        let expected = get(expected, &format!("grad.{key}"))
            .or_else(|_| get(expected, &format!("grad.{key}.weight")))?;
        // A matrix lies the other way round in PEFT's files.
        let param = scan.params().iter().find(|param| param.id == id);
        let got = match param.map(|param| param.shape.len()) {
            Some(1) => grads.get::<1>(id).map(|vector| vector.into_data()),
            _ => grads.get::<2>(id).map(|matrix| matrix.transpose().into_data()),
        };
        let got: Vec<f32> = got.ok_or_else(|| format!("`{key}` has no gradient"))?.try_to_vec()?;
        if got.len() != expected.values.len() {
            return Err(format!("`{key}` has {} entries", got.len()).into());
        }
        let scale = largest(expected.values.iter().copied()).max(f64::MIN_POSITIVE);
        let pairs = got.iter().zip(&expected.values);
        let difference = largest(pairs.map(|(ours, theirs)| f64::from(*ours) - theirs));
        worst = worst.max(difference / scale);
    }
    Ok(worst)
}

fn head(
    [inputs, outputs]: [usize; 2],
    tensors: &Tensors,
    device: &Device,
) -> Result<Linear, Failure> {
    let mut head = LinearConfig::new(inputs, outputs).init(device);
    let weight: Tensor<2> = tensor(get(tensors, "head.weight")?, device);
    head.weight = Param::from_tensor(weight.transpose());
    head.bias = Some(param(tensors, "head.bias", device)?);
    Ok(head)
}

macro_rules! net {
    ($Net:ident, $Conv:ident, $D:literal, $config:expr) => {
        #[derive(Module, Debug)]
        struct $Net {
            first: $Conv,
            second: $Conv,
            head: Linear,
        }

        impl $Net {
            fn new(shape: &Shape, dir: &Path, device: &Device) -> Result<Self, Failure> {
                let tensors = read(&dir.join("net.safetensors"))?;
                let convolution = |options: &Options, name: &str| -> Result<$Conv, Failure> {
                    let config: fn(&Options, &Device) -> $Conv = $config;
                    let mut convolution = config(options, device);
                    convolution.weight = param(&tensors, &format!("{name}.weight"), device)?;
                    convolution.bias = Some(param(&tensors, &format!("{name}.bias"), device)?);
                    Ok(convolution)
                };
                let first = convolution(&shape.first, "first")?;
                let second = convolution(&shape.second, "second")?;
                Ok(Self { first, second, head: head(shape.head, &tensors, device)? })
            }
        }

        impl Net for $Net {
            fn logits(&self, x: &Values, device: &Device) -> Tensor<2> {
                let x: Tensor<$D> = tensor(x, device);
                let x = activation::relu(self.first.lora_forward(x));
                let x = activation::relu(self.second.lora_forward(x));
                let [rows, channels, ..] = x.dims();
                let positions = x.dims()[2..].iter().product();
                let means = x.reshape([rows, channels, positions]).mean_dim(2);
                self.head.lora_forward(means.squeeze_dim::<2>(2))
            }
        }
    };
}

net!(Net1, Conv1d, 3, |options, device| {
    Conv1dConfig::new(options.inp, options.out, options.kernel)
        .with_stride(options.stride)
        .with_padding(PaddingConfig1d::Explicit(options.padding, options.padding))
        .with_dilation(options.dilation)
        .with_groups(options.groups)
        .init(device)
});

net!(Net2, Conv2d, 4, |options, device| {
    let pad = options.padding;
    Conv2dConfig::new([options.inp, options.out], [options.kernel; 2])
        .with_stride([options.stride; 2])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .with_dilation([options.dilation; 2])
        .with_groups(options.groups)
        .init(device)
});

net!(Net3, Conv3d, 5, |options, device| {
    let pad = options.padding;
    Conv3dConfig::new([options.inp, options.out], [options.kernel; 3])
        .with_stride([options.stride; 3])
        .with_padding(PaddingConfig3d::Explicit(pad, pad, pad))
        .with_dilation([options.dilation; 3])
        .with_groups(options.groups)
        .init(device)
});
