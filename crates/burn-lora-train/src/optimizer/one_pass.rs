//! AdamW whose step is one pass over memory.
//!
//! Burn composes a step of some fifteen operations, each a pass over a parameter's memory; with every weight of a model trained, that is
//! a quarter of a step on a CPU. On Flex, in f32, [`OnePass`] takes it in one ([`burn_lora_kernels::adamw`]), to the same bits. On a
//! GPU it is one kernel for each parameter, where hundreds of small factors would be some thousand kernels to start. Everywhere else the
//! step is Burn's own. The state is Burn's, and so are the records of it.

use burn::optim::{AdamW, AdamWConfig, AdamWState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};
use burn_lora_config::TrainSection;

use super::StepFactor;

#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

/// What stays the same from step to step.
#[derive(Clone, Copy)]
#[cfg_attr(not(any(feature = "cube", feature = "flex")), allow(dead_code))]
struct Numbers {
    betas: [f32; 2],
    epsilon: f32,
    weight_decay: f32,
}

/// Burn's AdamW, with the configuration's numbers.
#[derive(Clone)]
pub(super) struct OnePass {
    composed: AdamW,
    #[cfg_attr(not(any(feature = "cube", feature = "flex")), allow(dead_code))]
    numbers: Numbers,
    factor: StepFactor,
}

impl OnePass {
    pub(super) fn new(train: &TrainSection, weight_decay: f64, factor: StepFactor) -> Self {
        let config = AdamWConfig::new()
            .with_beta_1(train.betas[0] as f32)
            .with_beta_2(train.betas[1] as f32)
            .with_epsilon(train.epsilon as f32)
            .with_weight_decay(weight_decay as f32);
        Self {
            composed: config.build(),
            numbers: Numbers {
                betas: train.betas.map(|beta| beta as f32),
                epsilon: train.epsilon as f32,
                weight_decay: weight_decay as f32,
            },
            factor,
        }
    }
}

impl Optimizer for OnePass {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let factor = self.factor.get();
        #[cfg(feature = "cube")]
        if cube::takes(&tensor, &grad, state.as_ref()) {
            let (tensor, state) = cube::step(self.numbers, rate, tensor, grad, factor, state);
            return (tensor, Some(state));
        }
        let grad = match factor {
            Some(factor) => grad * factor.reshape([1; D]),
            None => grad,
        };
        #[cfg(feature = "flex")]
        if flex::takes(&tensor, &grad, state.as_ref()) {
            let (tensor, state) = self.numbers.step(rate, tensor, grad, state);
            return (tensor, Some(state));
        }
        self.composed.step(rate, tensor, grad, state)
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamW::to_device(state, device)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::optimizer::tests::section;
    use burn::tensor::Distribution;

    fn bits<const D: usize>(tensor: &Tensor<D>) -> Vec<u32> {
        let values = tensor.to_data().try_to_vec::<f32>().unwrap();
        values.into_iter().map(f32::to_bits).collect()
    }

    /// Whichever of the two took the steps before, the next is the same: a checkpoint of either goes on in the other.
    #[test]
    fn steps_have_the_bits_of_burns_own() {
        let device = burn_lora::device::parse("cpu").unwrap();
        for (more, decay) in [("", 0.0), ("betas = [0.8, 0.95]\nepsilon = 1e-3", 0.3)] {
            let optimizer = OnePass::new(&section(more), decay, StepFactor::default());
            let random = || Tensor::<2>::random([300, 257], Distribution::Default, &device) - 0.5;
            let start = random();
            let (mut ours, mut burns) = ((start.clone(), None), (start, None));
            for step in 1..=5 {
                let rate = 1e-2 / f64::from(step);
                // A gradient comes from a transposed product too.
                let grad =
                    if step % 2 == 0 { random() } else { random().transpose().reshape([300, 257]) };
                ours = optimizer.step(rate, ours.0, grad.clone(), ours.1);
                burns = optimizer.composed.step(rate, burns.0, grad, burns.1);
                assert_eq!(bits(&ours.0), bits(&burns.0), "step {step}");
                let (a, b) =
                    (&ours.1.as_ref().unwrap().momentum, &burns.1.as_ref().unwrap().momentum);
                assert_eq!((a.time, bits(&a.moment_1)), (b.time, bits(&b.moment_1)));
                assert_eq!(bits(&a.moment_2), bits(&b.moment_2));
            }
            assert!(flex::takes(&ours.0, &ours.0, ours.1.as_ref()));
        }
    }

    #[test]
    fn gradients_count_as_often_as_the_factor_says() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let start = Tensor::<2>::random([3, 5], Distribution::Default, &device);
        let grad = Tensor::<2>::random([3, 5], Distribution::Default, &device);
        let factor = StepFactor::default();
        factor.set(Some(Tensor::from_data([0.25_f32], &device)));
        let stepped = OnePass::new(&section("epsilon = 0.1"), 0.0, factor);
        let alone = OnePass::new(&section("epsilon = 0.1"), 0.0, StepFactor::default());
        let (with_factor, _) = stepped.step(0.1, start.clone(), grad.clone(), None);
        let (by_hand, _) = alone.step(0.1, start, grad * 0.25, None);
        assert_eq!(bits(&with_factor), bits(&by_hand));
    }

    /// Two owners of one memory: the other keeps what it had.
    #[test]
    fn a_clone_of_the_parameter_stays_as_it_is() {
        let device = burn_lora::device::parse("cpu").unwrap();
        let start = Tensor::<1>::ones([5], &device);
        let (after, _) = OnePass::new(&section(""), 0.0, StepFactor::default()).step(
            0.1,
            start.clone(),
            start.clone(),
            None,
        );
        assert_eq!(bits(&start), vec![1.0_f32.to_bits(); 5]);
        assert_ne!(bits(&after), bits(&start));
    }
}
