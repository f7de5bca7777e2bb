//! The backward passes: what is kept is the inputs, what is computed is the backend's `…_grad`.
//!
//! [`head_loss`](super::head_loss) is the exception: the gradients are taken while the logits are
//! there, in the forward pass, and only multiplied by the incoming one in the backward.
//!
//! The outputs of a norm, of a gate and of GELU are made again where the backward pass of what follows needs them (`burn_lora::Again`).

use burn::backend::Autodiff;
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn_autodiff::grads::Gradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_lora::{Again, Frozen};

use super::{Encoding, FusedBackend, HeadGrads, HeadLayout, Later, Scores, WeightGrad, composed};

#[derive(Debug)]
struct RmsNorm;

impl<B: FusedBackend> Backward<B, 2> for RmsNorm {
    /// x, gamma, epsilon.
    type State = (FloatTensor<B>, FloatTensor<B>, f64);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x, node_gamma] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (x, gamma, epsilon) = ops.state;
        if let Some(node) = node_gamma {
            let dgamma = composed::rms_norm_gamma_grad::<B>(x.clone(), dy.clone(), epsilon);
            grads.register::<B>(node.id, dgamma);
        }
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::rms_norm_grad(x, gamma, dy, epsilon));
        }
    }
}

#[derive(Debug)]
struct SiluMul;

impl<B: FusedBackend> Backward<B, 2> for SiluMul {
    /// gate, up.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_gate, node_up] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        let (gate, up) = ops.state;
        let (dgate, dup) = B::silu_mul_grad(gate, up, dy);
        if let Some(node) = node_gate {
            grads.register::<B>(node.id, dgate);
        }
        if let Some(node) = node_up {
            grads.register::<B>(node.id, dup);
        }
    }
}

#[derive(Debug)]
struct GeluTanh;

impl<B: FusedBackend> Backward<B, 1> for GeluTanh {
    /// x.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_x] = ops.parents;
        let dy = grads.consume::<B>(&ops.node);
        if let Some(node) = node_x {
            grads.register::<B>(node.id, B::gelu_tanh_grad(ops.state, dy));
        }
    }
}

#[derive(Debug)]
struct CausalAttention;

impl<B: FusedBackend> Backward<B, 3> for CausalAttention {
    /// q, k, v, how positions enter, what becomes of scores, and what is not seen.
    type State = ([FloatTensor<B>; 3], Encoding<B>, Scores, Later<B>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = grads.consume::<B>(&ops.node);
        let ([q, k, v], encoding, scores, later) = ops.state;
        let (dq, dk, dv) = B::causal_attention_grad(q, k, v, encoding, scores, later, dy);
        for (node, grad) in ops.parents.into_iter().zip([dq, dk, dv]) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

/// With a frozen weight.
#[derive(Debug)]
struct HeadLoss;

impl<B: FusedBackend> Backward<B, 1> for HeadLoss {
    /// The gradient of the rows for an incoming gradient of 1.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let dy = B::float_reshape(grads.consume::<B>(&ops.node), Shape::new([1, 1]));
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::float_mul(ops.state, dy));
        }
    }
}

/// With a weight that is trained.
#[derive(Debug)]
struct TrainedHeadLoss;

impl<B: FusedBackend> Backward<B, 2> for TrainedHeadLoss {
    /// The gradients for an incoming gradient of 1.
    type State = (FloatTensor<B>, WeightGrad<B>);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [node_hidden, node_weight] = ops.parents;
        let dy = B::float_reshape(grads.consume::<B>(&ops.node), Shape::new([1, 1]));
        let (hidden, weight) = ops.state;
        if let Some(node) = node_hidden {
            grads.register::<B>(node.id, B::float_mul(hidden, dy.clone()));
        }
        if let (Some(node), WeightGrad::Dense(weight)) = (node_weight, weight) {
            grads.register::<B>(node.id, B::float_mul(weight, dy));
        }
    }
}

impl<B: FusedBackend, C: CheckpointStrategy> FusedBackend for Autodiff<B, C> {
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node()];
        let ids = [nodes[0].id(), nodes[1].id()];
        let prep = RmsNorm.prepare::<BalancedCheckpointing>(nodes).memory_bound();
        let prep = if gamma.is_tracked() {
            let again =
                Again::<B, _, 2>::new(ids, move |[x, gamma]| B::rms_norm(x, gamma, epsilon));
            prep.retro_forward(again).parents([&x, &gamma])
        } else {
            let gamma = gamma.clone().into_primitive();
            let again = move |[x]: [_; 1]| B::rms_norm(x, gamma.clone(), epsilon);
            prep.retro_forward(Again::<B, _, 1>::new([ids[0]], again)).parents([&x])
        };
        let (x, gamma) = (x.into_primitive(), gamma.into_primitive());
        match prep.stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::rms_norm(x.clone(), gamma.clone(), epsilon);
                prep.finish((x, gamma, epsilon), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::rms_norm(x, gamma, epsilon)),
        }
    }

    fn silu_mul(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [gate.node(), up.node()];
        let ids = [nodes[0].id(), nodes[1].id()];
        let again = Again::<B, _, 2>::new(ids, |[gate, up]| B::silu_mul(gate, up));
        let prep = SiluMul.prepare::<BalancedCheckpointing>(nodes).memory_bound();
        let prep = prep.retro_forward(again).parents([&gate, &up]);
        let (gate, up) = (gate.into_primitive(), up.into_primitive());
        match prep.stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::silu_mul(gate.clone(), up.clone());
                prep.finish((gate, up), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::silu_mul(gate, up)),
        }
    }

    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let again = Again::<B, _, 1>::new([nodes[0].id()], |[x]| B::gelu_tanh(x));
        let prep = GeluTanh.prepare::<BalancedCheckpointing>(nodes).memory_bound();
        let prep = prep.retro_forward(again).parents([&x]);
        let x = x.into_primitive();
        match prep.stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::gelu_tanh(x.clone());
                prep.finish(x, y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gelu_tanh(x)),
        }
    }

    fn causal_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        encoding: Encoding<Self>,
        scores: Scores,
        later: Later<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let [q, k, v] = [q, k, v].map(|tensor| tensor.into_primitive());
        let encoding = match encoding {
            Encoding::Embedded => Encoding::<B>::Embedded,
            Encoding::Rotary { cos, sin } => {
                Encoding::Rotary { cos: cos.into_primitive(), sin: sin.into_primitive() }
            }
            Encoding::Alibi { slopes } => Encoding::Alibi { slopes: slopes.into_primitive() },
        };
        let later = match later {
            Later::Implied => Later::<B>::Implied,
            Later::Mask(mask) => Later::Mask(mask),
        };
        match CausalAttention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let inputs = [&q, &k, &v].map(Clone::clone);
                let saved = (inputs, encoding.clone(), scores, later.clone());
                prep.finish(saved, B::causal_attention(q, k, v, encoding, scores, later))
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::causal_attention(q, k, v, encoding, scores, later))
            }
        }
    }

    fn head_loss(
        hidden: FloatTensor<Self>,
        weight: Frozen<Self>,
        layout: HeadLayout,
        targets: Vec<i32>,
        weight_grad: bool,
        cap: Option<f64>,
        at_once: usize,
    ) -> FloatTensor<Self> {
        let node = hidden.node();
        // Only a dense weight is ever trained.
        let trained = match &weight {
            Frozen::Dense(dense) if weight_grad => Some(dense.node()),
            _ => None,
        };
        let (hidden, weight) = (hidden.into_primitive(), weight.untracked());
        let Some(trained) = trained else {
            return match HeadLoss.prepare::<C>([node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => {
                    let grads =
                        B::head_loss_grad(hidden, weight, layout, targets, false, cap, at_once);
                    prep.finish(grads.hidden, grads.loss)
                }
                OpsKind::UnTracked(prep) => {
                    prep.finish(B::head_loss(hidden, weight, layout, targets, false, cap, at_once))
                }
            };
        };
        match TrainedHeadLoss.prepare::<C>([node, trained]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let HeadGrads { loss, hidden, weight } =
                    B::head_loss_grad(hidden, weight, layout, targets, true, cap, at_once);
                debug_assert_eq!(loss.rank(), 1);
                prep.finish((hidden, weight), loss)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish(B::head_loss(hidden, weight, layout, targets, false, cap, at_once))
            }
        }
    }
}
