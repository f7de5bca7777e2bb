//! The gated unit, one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::vector::sigmoid;
use burn_lora_kernels::{Floats, rows, vectorised};

pub(super) fn forward(gate: &Floats, up: &Floats) -> FloatTensor<Flex> {
    let (gates, ups) = (gate.values(), up.values());
    let mut out = vec![0.0; gates.len()];
    rows::share(&mut out, 1, |first, chunk| {
        vectorised!({
            let (gates, ups) = (&gates[first..][..chunk.len()], &ups[first..][..chunk.len()]);
            for ((y, &gate), &up) in chunk.iter_mut().zip(gates).zip(ups) {
                *y = gate * sigmoid(gate) * up;
            }
        });
    });
    Floats::tensor(out, gate.dims().to_vec())
}

pub(super) fn backward(
    gate: &Floats,
    up: &Floats,
    dy: &Floats,
) -> (FloatTensor<Flex>, FloatTensor<Flex>) {
    let (gates, ups, dys) = (gate.values(), up.values(), dy.values());
    let (mut dgate, mut dup) = (vec![0.0; gates.len()], vec![0.0; gates.len()]);
    rows::share_two(&mut dgate, &mut dup, 1, |first, dgate, dup| {
        vectorised!({
            let count = dgate.len();
            let (gates, ups) = (&gates[first..][..count], &ups[first..][..count]);
            let dys = &dys[first..][..count];
            let outputs = dgate.iter_mut().zip(dup.iter_mut());
            for ((dgate, dup), ((&gate, &up), &dy)) in outputs.zip(gates.iter().zip(ups).zip(dys)) {
                let s = sigmoid(gate);
                *dgate = dy * up * s * (1.0 + gate * (1.0 - s));
                *dup = dy * gate * s;
            }
        });
    });
    let shape = gate.dims().to_vec();
    (Floats::tensor(dgate, shape.clone()), Floats::tensor(dup, shape))
}
