//! The backward pass of several layers: each has its own, the gradient of what goes into all of them is made last.

use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend};
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::CheckpointStrategy;
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};

use super::{Adapted, Layers, Output, Outputs, Returned, TogetherBackend};
use crate::op::Several;
use crate::op::autodiff::recorded;

/// Where layers leave what the gradient of their input is made of, each under its number: they may come in any order, and a layer whose output
/// led nowhere does not come.
#[derive(Debug, Clone)]
pub(in crate::op) struct Back<B: Backend>(Arc<Mutex<Left<B>>>);

type Left<B> = Vec<(usize, Returned<B>)>;

impl<B: Backend> Back<B> {
    pub(in crate::op) fn leave(&self, number: usize, returned: Returned<B>) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.push((number, returned));
    }

    fn take(&self) -> Vec<Returned<B>> {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.sort_by_key(|(number, _)| *number);
        left.drain(..).map(|(_, returned)| returned).collect()
    }
}

/// `x`, for several layers. No gradient of its own comes to it.
#[derive(Debug)]
struct Fork;

impl<B: TogetherBackend> Backward<B, 1> for Fork {
    type State = Back<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let returned = ops.state.take();
        if let ([Some(node)], false) = (ops.parents, returned.is_empty()) {
            grads.register::<B>(node.id, B::lora_input_grads(Several(returned)));
        }
    }
}

impl<B: TogetherBackend, C: CheckpointStrategy> TogetherBackend for Autodiff<B, C> {
    fn lora_linears(x: FloatTensor<Self>, layers: Layers<Self>) -> Outputs<Self> {
        let input = x.clone().into_primitive();
        let (fork, back) = match Fork.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let back = Back(Arc::default());
                (prep.finish(back.clone(), input.clone()), Some(back))
            }
            OpsKind::UnTracked(prep) => (prep.finish(input.clone()), None),
        };
        let factors = layers.0.iter().map(|layer| [layer.lora.a.clone(), layer.lora.b.clone()]);
        let factors: Vec<_> = factors.collect();
        let layers: Vec<_> = layers.0.into_iter().map(Adapted::untracked).collect();
        let branches = B::lora_branches(input, Several(layers.clone())).0;
        let outputs = factors.iter().zip(layers).zip(branches).enumerate();
        let outputs = outputs.map(|(number, ((factors, layer), branch))| {
            let back = back.clone().map(|back| (number, back));
            Output { y: recorded::<B, C>(&x, &fork, factors, layer, branch, back) }
        });
        Several(outputs.collect())
    }
}
