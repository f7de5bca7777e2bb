//! The groups of a model's convolutions, which no visitor is shown.
//!
//! A visitor sees parameters and the types that hold them; the options of a convolution are plain fields, and neither a visitor
//! nor a reparameterisation meets those. A module can be printed for debugging, though: there Burn's convolutions say what
//! their options are, beside the identity of their weight. That reads no values.
//!
//! Left out: a module whose own way of being printed leaves the convolutions in it out. They are taken to have no groups: an
//! adapter is then one of the kernel all the same, the rank shared by all groups, and PEFT refuses its files by their shapes.

use std::collections::BTreeMap;

use burn::module::Module;

/// What stands before a weight's identity.
const WEIGHT: &str = "weight: Param: ";
/// What stands before a number of groups.
const GROUPS: &str = ", groups: ";

/// The groups of convolutions by the identity of their weights, as it is written; of other weights nothing that means
/// something.
pub(crate) fn groups<M: Module>(model: &M) -> BTreeMap<String, usize> {
    let printed = format!("{model:?}");
    let weights = printed.split(WEIGHT).skip(1);
    let found = weights.filter_map(|from| {
        let (id, rest) = from.split_once(' ')?;
        let (_, groups) = rest.split_once(GROUPS)?;
        let digits = groups.split(|letter: char| !letter.is_ascii_digit()).next()?;
        Some((id.to_owned(), digits.parse().ok()?))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig, Conv3d, Conv3dConfig};
    use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Net {
        one: Vec<Conv1d>,
        linear: Linear,
        norm: GroupNorm,
        two: Option<Conv2d>,
        three: Conv3d,
    }

    /// Burn may print itself otherwise one day.
    #[test]
    fn every_convolution_has_its_own_groups() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let one = |groups| Conv1dConfig::new(12, 12, 3).with_groups(groups).init(&device);
        let net = Net {
            one: vec![one(1), one(12), one(3)],
            linear: LinearConfig::new(2, 2).init(&device),
            norm: GroupNormConfig::new(5, 10).init(&device),
            two: Some(
                Conv2dConfig::new([4, 6], [1, 3]).with_groups(2).with_bias(false).init(&device),
            ),
            three: Conv3dConfig::new([4, 4], [1, 1, 1]).with_groups(4).init(&device),
        };
        let found = groups(&net);
        let of = |id: burn::module::ParamId| found[&id.to_string()];
        let ones: Vec<usize> = net.one.iter().map(|conv| of(conv.weight.id)).collect();
        assert_eq!(ones, [1, 12, 3]);
        assert_eq!((of(net.two.unwrap().weight.id), of(net.three.weight.id)), (2, 4));
    }
}
