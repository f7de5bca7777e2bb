//! The operations on Flex.
//!
//! The factors A lie side by side, so that one narrow product is the low-rank activation of all layers. Tensors of other types than `f32`,
//! and layers with dropout, whose input of A is not the others', take the composed bodies.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Slice;
use burn_flex::Flex;
use burn_lora_kernels::Floats;
use burn_lora_kernels::product::together::{are_one, each, sum};
use burn_lora_kernels::product::{MatRef, Threads, fresh};

use super::{Adapted, Branches, Layers, Returned, Returns, TogetherBackend, branches, input_grads};
use crate::op::{Branch, FlexWeight, Mask, Several};

/// What the kernels read of a layer.
struct Views {
    weight: FlexWeight,
    a: Floats,
    b: Floats,
    scale: f64,
}

impl Views {
    fn new(Adapted { weight, lora, mask }: &Adapted<Flex>) -> Option<Self> {
        let of = |factor: &FloatTensor<Flex>| Floats::strided(factor.clone());
        let (Mask::Off, Some(weight)) = (mask, FlexWeight::new(weight)) else {
            return None;
        };
        Some(Self { weight, a: of(&lora.a)?, b: of(&lora.b)?, scale: lora.scale })
    }
}

/// What each of the layers gives; none where their products are not one piece of work.
fn of_views(x: &Floats, layers: &[Views]) -> Option<Branches<Flex>> {
    let weights: Vec<_> = layers.iter().map(|layer| layer.weight.matrix()).collect();
    if !are_one(x.matrix(), &weights) {
        return None;
    }
    let rows = x.dims()[0];
    let factors = layers.iter().map(|layer| {
        let scale = layer.scale.into();
        Flex::float_mul_scalar(layer.a.clone().into_tensor(), scale)
    });
    let factors = Floats::strided(Flex::float_cat(factors.collect(), 1))?;
    let low = fresh(x.matrix(), factors.matrix(), None, Threads::All);
    let ranks = layers.iter().map(|layer| layer.a.dims()[1]);
    let ends = ranks.scan(0, |end, rank| {
        *end += rank;
        Some(*end - rank..*end)
    });
    let ends: Vec<_> = ends.collect();
    let all = MatRef::dense(&low, [rows, factors.dims()[1]]);
    let lows = ends.iter().map(|own| all.columns(own.start, own.len()));
    let added = lows.zip(layers).map(|(low, layer)| (low, layer.b.matrix()));
    let terms: Vec<_> = weights.into_iter().zip(added).collect();
    let outputs = each(x.matrix(), &terms, Threads::All)?;
    let low = Floats::tensor(low, [rows, factors.dims()[1]]);
    let branches = outputs.into_iter().zip(layers).zip(ends).map(|((y, layer), own)| Branch {
        y: Floats::tensor(y, [rows, layer.weight.dims()[1]]),
        low: Flex::float_slice(low.clone(), &[Slice::full(), Slice::from(own)]),
    });
    Some(Several(branches.collect()))
}

impl TogetherBackend for Flex {
    fn lora_branches(x: FloatTensor<Self>, layers: Layers<Self>) -> Branches<Self> {
        let views: Option<Vec<Views>> = layers.0.iter().map(Views::new).collect();
        let made =
            Floats::strided(x.clone()).zip(views).and_then(|(rows, views)| of_views(&rows, &views));
        made.unwrap_or_else(|| branches(x, layers))
    }

    fn lora_input_grads(returned: Returns<Self>) -> FloatTensor<Self> {
        let of = |tensor: &FloatTensor<Self>| Floats::strided(tensor.clone());
        let views = returned.0.iter().map(|Returned { dy, dlow, weight, a, mask }| match mask {
            Mask::Off => Some((of(dy)?, FlexWeight::new(weight)?, of(dlow)?, of(a)?)),
            Mask::On(_) => None,
        });
        let views: Option<Vec<_>> = views.collect();
        let pairs = views.iter().flatten().map(|(dy, weight, dlow, a)| {
            let low = (dlow.matrix(), a.matrix().transposed());
            (dy.matrix(), weight.matrix().transposed(), low)
        });
        let pairs: Vec<_> = pairs.collect();
        let shape = pairs.first().map(|(dy, weight, _)| [dy.shape()[0], weight.shape()[1]]);
        match (shape, sum(&pairs, Threads::All)) {
            (Some(shape), Some(dx)) => Floats::tensor(dx, shape),
            _ => input_grads(returned),
        }
    }
}
