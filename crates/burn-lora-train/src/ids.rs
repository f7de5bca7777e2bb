//! Parameter identities that are the same in every process.
//!
//! Burn keys gradients and optimiser state by `ParamId`, which it draws at random. A run that is
//! to go on in another process gives every parameter an identity made from its path instead.

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Bool, Int, Tensor};
use burn_lora_files::fnv;

/// The model with every parameter's identity made from its path.
pub(crate) fn stable<M: Module>(model: M) -> M {
    model.map(&mut Stable::default())
}

#[derive(Default)]
struct Stable {
    path: Vec<String>,
}

impl Stable {
    fn id(&self) -> ParamId {
        ParamId::from(fnv::hash(&self.path.join(".")))
    }
}

impl ModuleMapper for Stable {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(self.id(), value, mapper)
    }

    fn map_int<const D: usize>(&mut self, param: Param<Tensor<D, Int>>) -> Param<Tensor<D, Int>> {
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(self.id(), value, mapper)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<D, Bool>>,
    ) -> Param<Tensor<D, Bool>> {
        let (_, value, mapper) = param.consume();
        Param::from_mapped_value(self.id(), value, mapper)
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};

    use super::*;

    #[derive(Module, Debug)]
    struct Two {
        first: Linear,
        second: Linear,
    }

    #[test]
    fn identities_depend_on_the_path_alone_and_training_state_stays() {
        let device = burn_lora::device::parse("cpu").unwrap().autodiff();
        let linear = || LinearConfig::new(2, 2).init(&device);
        let make = || stable(Two { first: linear().no_grad(), second: linear() });
        let (one, other) = (make(), make());
        assert_eq!(one.first.weight.id, other.first.weight.id);
        assert_ne!(one.first.weight.id, one.second.weight.id);
        assert!(!one.first.weight.is_require_grad());
        assert!(one.second.weight.is_require_grad());
    }
}
