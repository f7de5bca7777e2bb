//! The gated unit, one pass.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_lora_kernels::vector::sigmoid;
use burn_lora_kernels::{Floats, blank, vectorised};

pub(super) fn forward(gate: &Floats, up: &Floats) -> FloatTensor<Flex> {
    let (gates, ups) = (gate.values(), up.values());
    let out = blank::made(gates.len(), 1, |first, room| {
        vectorised!({
            let (gates, ups) = (&gates[first..][..room.len()], &ups[first..][..room.len()]);
            room.write(gates.iter().zip(ups).map(
                #[inline(always)]
                |(&gate, &up)| gate * sigmoid(gate) * up,
            ))
        })
    });
    Floats::tensor(out, gate.dims().to_vec())
}

pub(super) fn backward(
    gate: &Floats,
    up: &Floats,
    dy: &Floats,
) -> (FloatTensor<Flex>, FloatTensor<Flex>) {
    let (gates, ups, dys) = (gate.values(), up.values(), dy.values());
    let (dgate, dup) = blank::both_made(gates.len(), 1, |first, dgate, dup| {
        vectorised!({
            let count = dgate.len();
            let (gates, ups) = (&gates[first..][..count], &ups[first..][..count]);
            let dys = &dys[first..][..count];
            dgate.write_both(
                dup,
                gates.iter().zip(ups).zip(dys).map(
                    #[inline(always)]
                    |((&gate, &up), &dy)| {
                        let s = sigmoid(gate);
                        (dy * up * s * (1.0 + gate * (1.0 - s)), dy * gate * s)
                    },
                ),
            )
        })
    });
    let shape = gate.dims().to_vec();
    (Floats::tensor(dgate, shape.clone()), Floats::tensor(dup, shape))
}
