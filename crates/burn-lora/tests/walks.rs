//! Sets are found by what their parameters are, whatever order a module's walks have.

mod test_device;

use std::fmt;

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, Reparameterization, Reparameterizer,
};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use burn_lora::{Adapter, AdapterConfig, attach, sets};

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    last: Linear,
}

/// Two layers of one shape, each with an adapter of its own name.
fn two() -> Two {
    let linear = || LinearConfig::new(6, 4).init(&device());
    let mut model = Two { first: linear(), last: linear() };
    for name in ["first", "last"] {
        let adapter =
            Adapter::init(name, &AdapterConfig::new(2).with_alpha(4.0), &model.first.weight, 0)
                .unwrap();
        model = attach(model, &format!("{name}.weight"), adapter).unwrap();
    }
    model
}

/// A module written by hand, whose visitor goes another way than all else.
#[derive(Debug, Clone)]
struct ByHand {
    model: Two,
    /// What a visitor is shown: the last layer first, or the first one alone.
    hides_last: bool,
}

impl Module for ByHand {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.model.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self { model: self.model.fork(device), ..self }
    }

    fn to_device(self, device: &Device) -> Self {
        Self { model: self.model.to_device(device), ..self }
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        let last = [("last", &self.model.last)].into_iter().filter(|_| !self.hides_last);
        for (name, layer) in last.chain([("first", &self.model.first)]) {
            visitor.enter_module(name, "Struct:ByHand");
            layer.visit(visitor);
            visitor.exit_module(name, "Struct:ByHand");
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self { model: self.model.map(mapper), ..self }
    }

    fn train(self) -> Self {
        Self { model: self.model.train(), ..self }
    }

    fn valid(&self) -> Self {
        Self { model: self.model.valid(), ..self.clone() }
    }

    fn materialize(self) -> Self {
        Self { model: self.model.materialize(), ..self }
    }
}

impl ModuleDisplayDefault for ByHand {
    fn content(&self, content: Content) -> Option<Content> {
        content.optional()
    }
}

impl ModuleDisplay for ByHand {}

impl fmt::Display for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByHand")
    }
}

fn names<M: Module>(model: &M) -> Vec<(String, String)> {
    let found = sets(model).into_iter();
    found.map(|(path, set)| (path, set.iter().map(Adapter::name).collect())).collect()
}

/// Pairing them by position would merge one layer's factors into the other's weight.
#[test]
fn sets_keep_their_weights_where_a_visitor_goes_another_way_than_materialize() {
    let found = names(&ByHand { model: two(), hides_last: false });
    let expected = [("last.weight", "last"), ("first.weight", "first")];
    assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
}

#[test]
#[should_panic(expected = "do not reach the same adapters")]
fn a_set_that_a_visitor_is_not_shown_is_noticed() {
    sets(&ByHand { model: two(), hides_last: true });
}

/// A reparameterization of another crate that looks at the sets of another model while it is applied.
#[derive(Module, Debug)]
struct Curious {
    #[module(skip)]
    other: Linear,
}

impl Reparameterization for Curious {
    const NAME: &'static str = "curious";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        assert_eq!(sets(&self.other).len(), 1);
        base
    }
}

struct Hang(Option<Curious>);

impl Reparameterizer for Hang {
    type Reparam = Curious;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<Curious>) {
        (param, if path == "plain.weight" { self.0.take() } else { None })
    }
}

#[derive(Module, Debug)]
struct Around {
    first: Linear,
    plain: Linear,
    last: Linear,
}

/// The inner walk once ended the outer one, so that the sets after it were folded in and lost.
#[test]
fn a_walk_inside_of_a_walk_leaves_the_outer_one_as_it_was() {
    let two = two();
    let plain = LinearConfig::new(6, 4).init(&device());
    let model = Around { first: two.first.clone(), plain, last: two.last };
    let hang = Hang(Some(Curious { other: two.first }));
    let model = model.apply_reparameterization(hang);
    let found = names(&model);
    let expected = [("first.weight", "first"), ("last.weight", "last")];
    assert_eq!(found, expected.map(|(path, name)| (path.to_owned(), name.to_owned())));
}
