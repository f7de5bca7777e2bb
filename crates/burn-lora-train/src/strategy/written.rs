//! Where a step writes what it trains, on Flex, whose memory has addresses.

use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::data::dataloader::DataLoader;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_lora_kernels::Floats;

use super::small::small;

/// Where each trained parameter lies.
#[derive(Default)]
struct Addresses(Vec<*const f32>);

impl ModuleVisitor for Addresses {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            return;
        }
        let DispatchTensorKind::Flex(BackendTensor::Float(tensor)) =
            param.val().inner().into_dispatch().kind
        else {
            panic!("a tensor of Flex")
        };
        self.0.push(Floats::contiguous(tensor).unwrap().values().as_ptr());
    }
}

fn addresses<M: Module>(model: &M) -> Vec<*const f32> {
    let mut addresses = Addresses::default();
    model.visit(&mut addresses);
    addresses.0
}

#[test]
fn a_step_writes_parameters_where_they_lie() {
    let device = burn_lora::device::parse("cpu").unwrap().autodiff();
    for dropout in [Some(0.1), None] {
        let (strategy, mut learner, loader) = small(&device, dropout);
        let mut batches = loader.iter();
        // The first step may lay a parameter out in a row.
        strategy.step(&mut learner, &mut *batches, 0).unwrap();
        let before = addresses(&learner.model());
        strategy.step(&mut learner, &mut *batches, 1).unwrap();
        assert_eq!(addresses(&learner.model()), before);
        assert!(!before.is_empty());
    }
}
