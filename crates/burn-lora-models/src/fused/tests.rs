//! Every operation and its gradients against the formula in Burn's own tensor operations, which
//! differentiate themselves, on the sizes where kernels change their way (tiles, chunks, groups).
//!
//! Tolerance: both sides compute in f32, with sums of up to some thousand terms in another order;
//! 2e-5 of the largest value is an order of magnitude above what was seen.

use burn::tensor::activation::{gelu_approximate, log_softmax, silu, softmax};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};

use super::{
    HeadLayout, LOGITS, Positional, Scores, causal_attention, gelu_tanh, head_loss, later,
    rms_norm, rows_at_once, silu_mul,
};

mod cached;
#[path = "../../../burn-lora/tests/test_device/mod.rs"]
pub(crate) mod test_device;

fn device() -> Device {
    let device = burn_lora::device::parse(&test_device::name()).unwrap().autodiff();
    device.seed(7);
    device
}

#[test]
fn a_loss_takes_equal_shares_of_its_rows() {
    assert_eq!(rows_at_once(512, 49_152), 256);
    assert_eq!(rows_at_once(224, 49_152), 224);
    assert_eq!(rows_at_once(5, 100), 5);
    assert_eq!(rows_at_once(0, 100), 1);
    assert_eq!(rows_at_once(3, LOGITS * 2), 1);
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

fn check_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}: sizes");
    let largest = expected.iter().fold(1e-3_f32, |largest, value| largest.max(value.abs()));
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs() / largest;
        assert!(off < 2e-5, "{what}[{index}]: {got} instead of {expected}");
    }
}

/// Output and gradients of `f`, weighted so that every element counts differently.
fn traced<const D: usize, const N: usize>(
    inputs: &[Tensor<D>; N],
    f: impl Fn(&[Tensor<D>; N]) -> Tensor<D>,
) -> Vec<Vec<f32>> {
    let inputs = inputs.clone().map(|input| input.detach().require_grad());
    let y = f(&inputs);
    let weights: Vec<f32> = (0..y.shape().num_elements()).map(|i| (i as f32).sin()).collect();
    let weights = Tensor::<D>::from_data(TensorData::new(weights, y.shape()), &y.device());
    let grads = (y.clone() * weights).sum().backward();
    let mut all = vec![values(y)];
    all.extend(inputs.iter().map(|input| values(input.grad(&grads).unwrap())));
    all
}

fn check_alike(got: &[Vec<f32>], expected: &[Vec<f32>], what: &str) {
    for (index, (got, expected)) in got.iter().zip(expected).enumerate() {
        check_close(got, expected, &format!("{what}, output and gradients, {index}"));
    }
}

#[test]
fn rms_norm_equals_its_formula() {
    let device = device();
    // A row, an odd width, enough rows for all cores.
    for [rows, width] in [[1, 8], [5, 33], [700, 64]] {
        let x = random([rows, width], &device);
        let gamma = random([width], &device);
        let by_formula = |x: &Tensor<2>, gamma: &Tensor<1>| {
            let mean = x.clone().powf_scalar(2.0).mean_dim(1);
            x.clone() / (mean + 1e-5).sqrt() * gamma.clone().unsqueeze()
        };
        let fused = |x: &Tensor<2>, gamma: &Tensor<1>| rms_norm(x.clone(), gamma.clone(), 1e-5);
        for inputs in [0, 1] {
            // Each of the two inputs tracked with the other a constant.
            let run = |f: &dyn Fn(&Tensor<2>, &Tensor<1>) -> Tensor<2>| match inputs {
                0 => {
                    let inputs = [x.clone()];
                    traced(&inputs, |[x]| f(x, &gamma))
                }
                _ => traced(&[gamma.clone().unsqueeze()], |[gamma]| {
                    f(&x, &gamma.clone().reshape([width]))
                }),
            };
            check_alike(&run(&fused), &run(&by_formula), "rms_norm");
        }
    }
}

#[test]
fn silu_mul_equals_its_formula() {
    let device = device();
    for shape in [[1, 1], [3, 17], [300, 200]] {
        // Far into both tails of the sigmoid.
        let inputs = [random(shape, &device) * 20.0, random(shape, &device)];
        let got = traced(&inputs, |[gate, up]| silu_mul(gate.clone(), up.clone()));
        let expected = traced(&inputs, |[gate, up]| silu(gate.clone()) * up.clone());
        check_alike(&got, &expected, "silu_mul");
    }
}

#[test]
fn gelu_tanh_equals_its_formula() {
    let device = device();
    for shape in [[1, 8], [3, 17], [300, 200]] {
        // Far into both tails.
        let inputs = [random(shape, &device) * 5.0];
        let got = traced(&inputs, |[x]| gelu_tanh(x.clone()));
        let expected = traced(&inputs, |[x]| gelu_approximate(x.clone()));
        check_alike(&got, &expected, "gelu_tanh");
    }
}

/// Those of most models; a window and a soft cap that many scores come near, with a scale of their own; a query that
/// sees its own key alone.
fn all_scores(head_dim: usize) -> [Scores; 3] {
    let plain = Scores::of_heads(head_dim);
    [
        plain,
        Scores { scale: 0.7, cap: Some(1.5), window: Some(5), ..plain },
        Scores { window: Some(1), ..plain },
    ]
}

/// Keys and values repeated for every query head, whole scores, a mask.
fn attention_by_formula(
    [q, k, v]: &[Tensor<4>; 3],
    positional: &Positional,
    how: Scores,
) -> Tensor<4> {
    let [batch, tokens, heads, head_dim] = q.dims();
    let n_kv_heads = k.dims()[2];
    let turn = |x: &Tensor<4>| {
        let Positional::Rotary { cos, sin } = positional else {
            return x.clone().swap_dims(1, 2);
        };
        let half = cos.dims()[2];
        let table = |t: &Tensor<3>| t.clone().reshape([1, tokens, 1, half]);
        let (a, b) = (x.clone().narrow(3, 0, half), x.clone().narrow(3, half, half));
        let rest =
            (2 * half < head_dim).then(|| x.clone().narrow(3, 2 * half, head_dim - 2 * half));
        let (cos, sin) = (table(cos), table(sin));
        let turned = [a.clone() * cos.clone() - b.clone() * sin.clone(), b * cos + a * sin];
        Tensor::cat(turned.into_iter().chain(rest).collect(), 3).swap_dims(1, 2)
    };
    let repeat = |x: Tensor<4>| {
        x.reshape([batch, n_kv_heads, 1, tokens * head_dim])
            .repeat_dim(2, heads / n_kv_heads)
            .reshape([batch, heads, tokens, head_dim])
    };
    let (q, k) = (turn(q), repeat(turn(k)));
    let v = repeat(v.clone().swap_dims(1, 2));
    let window = how.window.unwrap_or(tokens);
    let sees = |key: usize, query: usize| key <= query && query - key < window;
    let mask: Vec<f32> = (0..tokens * tokens)
        .map(|at| if sees(at % tokens, at / tokens) { 0.0 } else { f32::NEG_INFINITY })
        .collect();
    let mask = Tensor::<4>::from_data(TensorData::new(mask, [1, 1, tokens, tokens]), &q.device());
    let scores = q.matmul(k.swap_dims(2, 3)) * how.scale;
    let scores = match how.cap {
        Some(cap) => (scores / cap).tanh() * cap,
        None => scores,
    } + mask;
    let scores = match positional {
        // By distance, as the paper has it: each head's slope times how far behind a key stands.
        Positional::Alibi { slopes } => {
            let distance: Vec<f32> = (0..tokens * tokens)
                .map(|at| (at % tokens) as f32 - (at / tokens) as f32)
                .collect();
            let distance = TensorData::new(distance, [1, 1, tokens, tokens]);
            let distance = Tensor::<4>::from_data(distance, &scores.device());
            scores + distance * slopes.clone().reshape([1, heads, 1, 1])
        }
        Positional::Embedded | Positional::Rotary { .. } => scores,
    };
    softmax(scores, 3).matmul(v).swap_dims(1, 2)
}

#[test]
fn causal_attention_equals_its_formula() {
    let device = device();
    // batch, tokens, query heads, key heads, head_dim: one token; a group; several tiles, the last of
    // them short.
    for [batch, tokens, heads, n_kv_heads, head_dim] in
        [[1, 1, 1, 1, 2], [2, 7, 6, 2, 4], [1, 64, 2, 1, 8], [2, 150, 4, 4, 6]]
    {
        let q = random([batch, tokens, heads, head_dim], &device);
        let k = random([batch, tokens, n_kv_heads, head_dim], &device);
        let v = random([batch, tokens, n_kv_heads, head_dim], &device);
        let constants = device.clone().without_autodiff();
        let angles = random([1, tokens, head_dim / 2], &constants);
        let slopes = random([heads], &constants);
        let inputs = [q, k, v];
        let some = angles.clone().narrow(2, 0, (head_dim / 4).max(1));
        for (positional, scores) in [
            Positional::Embedded,
            Positional::Rotary { cos: angles.clone().cos(), sin: angles.sin() },
            Positional::Rotary { cos: some.clone().cos(), sin: some.sin() },
            Positional::Alibi { slopes },
        ]
        .into_iter()
        .flat_map(|positional| all_scores(head_dim).map(|scores| (positional.clone(), scores)))
        {
            let got = traced(&inputs, |[q, k, v]| {
                let later = later(tokens, &constants);
                let [q, k, v] = [q, k, v].map(Clone::clone);
                causal_attention(q, k, v, positional.clone(), scores, later)
            });
            let expected =
                traced(&inputs, |inputs| attention_by_formula(inputs, &positional, scores));
            check_alike(&got, &expected, &format!("{positional:?}, {scores:?}"));
        }
    }
}

/// In float64 by the definition: a soft cap near which all scores are, and a window of two keys.
#[test]
fn capped_and_windowed_attention_is_that_of_float64() {
    let device = device().without_autodiff();
    let (tokens, cap, scale) = (5, 2.0, 1.25);
    let values = |seed: usize| -> Vec<f32> {
        (0..tokens * 4).map(|i| ((i * 7 + seed * 5) % 13) as f32 / 4.0 - 1.5).collect()
    };
    let [q, k, v] = [1, 2, 3].map(values);
    let tensor = |values: &Vec<f32>| {
        Tensor::<4>::from_data(TensorData::new(values.clone(), [1, tokens, 1, 4]), &device)
    };
    let scores = Scores { cap: Some(cap), window: Some(2), scale, ..Scores::of_heads(1) };
    let later = later(tokens, &device);
    let got =
        causal_attention(tensor(&q), tensor(&k), tensor(&v), Positional::Embedded, scores, later);
    let row = |of: &[f32], token: usize| -> Vec<f64> {
        of[token * 4..][..4].iter().map(|&x| f64::from(x)).collect()
    };
    let expected: Vec<f32> = (0..tokens)
        .flat_map(|t| {
            let seen = t.saturating_sub(1)..t + 1;
            let weight = |s: usize| {
                let dot: f64 = row(&q, t).iter().zip(row(&k, s)).map(|(q, k)| q * k).sum();
                (cap * (scale * dot / cap).tanh()).exp()
            };
            let sum: f64 = seen.clone().map(weight).sum();
            let mixed =
                |i: usize| -> f64 { seen.clone().map(|s| weight(s) / sum * row(&v, s)[i]).sum() };
            (0..4).map(mixed).map(|y| y as f32).collect::<Vec<_>>()
        })
        .collect();
    check_close(&self::values(got), &expected, "float64");
}

#[test]
fn head_loss_equals_log_softmax_in_one_chunk_and_in_many() {
    let device = device();
    // The last one needs several chunks of rows on a CPU, the last of them short.
    for [rows, width, vocabulary] in [[1, 4, 5], [33, 8, 100], [100, 4, 200_000]] {
        let inputs = [random([rows, width], &device), random([vocabulary, width], &device)];
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % vocabulary) as i32).collect();
        let column = TensorData::new(targets.clone(), [rows, 1]);
        let column = Tensor::<2, Int>::from_data(column, &device);
        // A factor, so that the incoming gradient is not 1.
        for cap in [None, Some(1.5)] {
            let got = traced(&inputs, |[hidden, weight]| {
                let (hidden, weight) = (hidden.clone(), weight.clone());
                head_loss(hidden, weight, HeadLayout::Table, targets.clone(), cap).unsqueeze() * 3.0
            });
            let expected = traced(&inputs, |[hidden, weight]| {
                let logits = hidden.clone().matmul(weight.clone().transpose());
                let logits = match cap {
                    Some(cap) => (logits / cap).tanh() * cap,
                    None => logits,
                };
                log_softmax(logits, 1).gather(1, column.clone()).sum().neg().unsqueeze() * 3.0
            });
            check_alike(&got, &expected, &format!("head_loss, cap {cap:?}"));
        }
    }
}

/// In float64 by the definition, over chunks of many logits.
#[test]
fn a_capped_head_over_many_logits_is_that_of_float64() {
    let device = device();
    let cap = 1.5;
    for [rows, width, vocabulary] in [[33, 8, 100], [300, 4, 3_000]] {
        let inputs = [random([rows, width], &device), random([vocabulary, width], &device)];
        let targets: Vec<i32> = (0..rows).map(|row| (row * 31 % vocabulary) as i32).collect();
        let [hidden, weight] = inputs
            .clone()
            .map(|input| values(input).into_iter().map(f64::from).collect::<Vec<_>>());
        let (mut loss, mut grads) = (0.0, Vec::new());
        for (row, &target) in hidden.chunks(width).zip(&targets) {
            let capped: Vec<f64> = weight
                .chunks(width)
                .map(|word| {
                    cap * (row.iter().zip(word).map(|(a, b)| a * b).sum::<f64>() / cap).tanh()
                })
                .collect();
            let sum: f64 = capped.iter().map(|logit| logit.exp()).sum();
            loss += sum.ln() - capped[target as usize];
            let mut grad = vec![0.0; width];
            for (index, (logit, word)) in capped.iter().zip(weight.chunks(width)).enumerate() {
                let off = logit.exp() / sum - f64::from(u8::from(index == target as usize));
                let slope = off * (1.0 - (logit / cap).powi(2));
                grad.iter_mut().zip(word).for_each(|(grad, weight)| *grad += slope * weight);
            }
            grads.extend(grad.into_iter().map(|grad| grad as f32));
        }
        let tracked = inputs[0].clone().detach().require_grad();
        let [_, table] = inputs;
        let got = head_loss(tracked.clone(), table.detach(), HeadLayout::Table, targets, Some(cap));
        let back = got.clone().backward();
        let what = format!("{rows} rows over {vocabulary}");
        check_close(&values(got), &[loss as f32], &what);
        check_close(&values(tracked.grad(&back).unwrap()), &grads, &what);
    }
}

#[test]
fn a_frozen_table_gets_no_gradient_and_the_rows_the_same() {
    let device = device();
    let hidden = random::<2>([9, 4], &device).require_grad();
    let weight = random::<2>([20, 4], &device);
    let targets = vec![3; 9];
    let grads = head_loss(hidden.clone(), weight.clone(), HeadLayout::Table, targets.clone(), None)
        .backward();
    assert!(weight.grad(&grads).is_none());
    let frozen = values(hidden.grad(&grads).unwrap());
    let weight = weight.require_grad();
    let grads =
        head_loss(hidden.clone(), weight.clone(), HeadLayout::Table, targets, None).backward();
    assert!(weight.grad(&grads).is_some());
    assert_eq!(values(hidden.grad(&grads).unwrap()), frozen);
}

#[test]
#[should_panic(expected = "outside of the vocabulary")]
fn a_target_outside_of_the_vocabulary_is_refused() {
    let device = device();
    let weight = random::<2>([3, 4], &device);
    head_loss(random([1, 4], &device), weight, HeadLayout::Table, vec![3], None);
}

#[cfg(feature = "flex")]
mod twins {
    //! The kernels against the composed bodies, which other backends run.

    use burn::backend::Flex;
    use burn::backend::tensor::FloatTensor;

    use super::{all_scores, check_close};
    use crate::fused::{
        Encoding, FusedBackend, HeadGrads, HeadLayout, Later, WeightGrad, composed,
    };
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::FloatDType;
    use burn_lora::Frozen;
    use burn_lora_kernels::Floats;

    fn tensor(shape: &[usize], seed: usize) -> FloatTensor<Flex> {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|i| ((i * 29 + seed * 17) % 101) as f32 / 50.0 - 1.0);
        Floats::tensor(values.collect(), shape.to_vec())
    }

    fn check(got: FloatTensor<Flex>, expected: FloatTensor<Flex>, what: &str) {
        let values = |tensor| Floats::contiguous(tensor).unwrap();
        let (got, expected) = (values(got), values(expected));
        assert_eq!(got.dims(), expected.dims(), "{what}");
        check_close(got.values(), expected.values(), what);
    }

    #[test]
    fn norm_and_gate() {
        let shape = [37, 24];
        let [x, up, dy] = [1, 2, 3].map(|seed| tensor(&shape, seed));
        let gamma = tensor(&[24], 4);
        let args = || (x.clone(), gamma.clone());
        check(
            Flex::rms_norm(args().0, args().1, 1e-5),
            composed::rms_norm::<Flex>(args().0, args().1, 1e-5),
            "rms_norm",
        );
        check(
            Flex::rms_norm_grad(args().0, args().1, dy.clone(), 1e-5),
            composed::rms_norm_grad::<Flex>(args().0, args().1, dy.clone(), 1e-5),
            "rms_norm_grad",
        );
        check(
            Flex::silu_mul(x.clone(), up.clone()),
            composed::silu_mul::<Flex>(x.clone(), up.clone()),
            "silu_mul",
        );
        let got = Flex::silu_mul_grad(x.clone(), up.clone(), dy.clone());
        let expected = composed::silu_mul_grad::<Flex>(x, up, dy.clone());
        check(got.0, expected.0, "gate");
        check(got.1, expected.1, "up");
        let x = tensor(&shape, 1);
        check(Flex::gelu_tanh(x.clone()), composed::gelu_tanh::<Flex>(x.clone()), "gelu");
        check(
            Flex::gelu_tanh_grad(x.clone(), dy.clone()),
            composed::gelu_tanh_grad::<Flex>(x, dy),
            "gelu_tanh_grad",
        );
    }

    #[test]
    fn attention() {
        let q = tensor(&[2, 70, 4, 6], 1);
        let [k, v] = [2, 3].map(|seed| tensor(&[2, 70, 2, 6], seed));
        let dy = tensor(&[2, 70, 4, 6], 6);
        for (encoding, scores) in [
            Encoding::Embedded,
            Encoding::Rotary { cos: tensor(&[70, 3], 4), sin: tensor(&[70, 3], 5) },
            Encoding::Rotary { cos: tensor(&[70, 2], 4), sin: tensor(&[70, 2], 5) },
            Encoding::Alibi { slopes: tensor(&[4], 7) },
        ]
        .into_iter()
        .flat_map(|encoding| all_scores(6).map(|scores| (encoding.clone(), scores)))
        {
            let inputs = || (q.clone(), k.clone(), v.clone());
            let (later, at) = (Later::Implied, || encoding.clone());
            let (a, b, c) = inputs();
            let got = Flex::causal_attention(a, b, c, at(), scores, later.clone());
            let (a, b, c) = inputs();
            let expected = composed::causal_attention::<Flex>(a, b, c, at(), scores, later.clone());
            check(got, expected, "output");
            let dy = || dy.clone();
            let (a, b, c) = inputs();
            let got = Flex::causal_attention_grad(a, b, c, at(), scores, later.clone(), dy());
            let (a, b, c) = inputs();
            let expected =
                composed::causal_attention_grad::<Flex>(a, b, c, at(), scores, later, dy());
            check(got.0, expected.0, "q");
            check(got.1, expected.1, "k");
            check(got.2, expected.2, "v");
        }
    }

    /// In one chunk, in several with a short last one, and row by row.
    #[test]
    fn loss() {
        let (hidden, weight) = (tensor(&[11, 8], 1), Frozen::Dense(tensor(&[30, 8], 2)));
        let targets: Vec<i32> = (0..11).map(|row| row * 2).collect();
        let parts = |grads: HeadGrads<Flex>| match grads.weight {
            WeightGrad::Dense(weight) => [grads.loss, grads.hidden, weight],
            WeightGrad::Skipped => panic!("a gradient that was asked for"),
        };
        for (at_once, cap) in [(11, None), (4, None), (1, None), (11, Some(1.5)), (4, Some(1.5))] {
            let layout = HeadLayout::Table;
            let inputs = || (hidden.clone(), weight.clone());
            let (rows, head) = inputs();
            let got = Flex::head_loss(rows, head, layout, targets.clone(), false, cap, at_once);
            let (rows, head) = inputs();
            let expected = composed::head_loss::<Flex>(rows, head, layout, &targets, at_once, cap);
            check(got, expected, "loss");
            let (rows, head) = inputs();
            let got = Flex::head_loss_grad(rows, head, layout, targets.clone(), true, cap, at_once);
            let (rows, head) = inputs();
            let head = (head, layout, cap);
            let expected = composed::head_loss_grad::<Flex>(rows, head, &targets, true, at_once);
            for (index, (got, expected)) in parts(got).into_iter().zip(parts(expected)).enumerate()
            {
                check(got, expected, &format!("part {index} of {at_once} rows at once"));
            }
        }
    }

    /// Tied and untied heads of 16 bits, with more columns than a tile, against the dense f32 weight of
    /// the same values.
    #[test]
    fn loss_with_a_head_of_sixteen_bits() {
        let hidden = tensor(&[11, 8], 1);
        let targets: Vec<i32> = (0..11).map(|row| row * 27).collect();
        for format in [FloatDType::F16, FloatDType::BF16] {
            for (layout, shape) in [(HeadLayout::Table, [300, 8]), (HeadLayout::Linear, [8, 300])] {
                let half = Flex::float_cast(tensor(&shape, 2), format);
                let dense = Flex::float_cast(half.clone(), FloatDType::F32);
                let (half, dense) = (Frozen::Half(half), Frozen::Dense(dense));
                let loss = |weight| {
                    Flex::head_loss(hidden.clone(), weight, layout, targets.clone(), false, None, 4)
                };
                check(loss(half.clone()), loss(dense.clone()), "loss");
                let grads = |weight| {
                    let (hidden, targets) = (hidden.clone(), targets.clone());
                    Flex::head_loss_grad(hidden, weight, layout, targets, false, None, 4)
                };
                let (got, expected) = (grads(half), grads(dense.clone()));
                check(got.hidden, expected.hidden.clone(), "hidden");
                check(got.loss, expected.loss, "loss beside its gradient");
                let head = (dense, layout, None);
                let composed =
                    composed::head_loss_grad::<Flex>(hidden.clone(), head, &targets, false, 4);
                check(expected.hidden, composed.hidden, "the kernel of the dense head");
            }
        }
    }
}
