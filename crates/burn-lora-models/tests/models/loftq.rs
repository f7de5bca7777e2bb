//! A start in what blocks lost of a weight, against f64.

use burn::module::Param;
use burn::tensor::{Tensor, TensorData};
use burn_lora::decomposition::Parts;
use burn_lora::{Adapter, AdapterConfig, FrozenWeight, Init, LoraError, Method, loftq};
use burn_lora_models::WeightDtype;

const D_IN: usize = 70;
const D_OUT: usize = 24;
const RANK: usize = 4;

fn weight() -> Vec<f32> {
    (0..D_IN * D_OUT).map(|at| ((at as f32 * 12.9898).sin() * 43.7).sin() * 0.5).collect()
}

fn tensor(values: &[f32]) -> Tensor<2> {
    let device = burn_lora::device::parse("cpu").unwrap();
    Tensor::from_data(TensorData::new(values.to_vec(), [D_IN, D_OUT]), &device)
}

fn values(tensor: Tensor<2>) -> Vec<f64> {
    tensor.into_data().iter::<f32>().map(f64::from).collect()
}

fn config() -> AdapterConfig {
    // A scale that PEFT's start, which leaves it out, is not for.
    AdapterConfig::new(RANK).with_alpha(6.0).with_init(Init::Loftq)
}

fn held(weight: FrozenWeight) -> Param<Tensor<2>> {
    Param::from_tensor(weight.into_tensor()).set_require_grad(false)
}

fn started(weight: &Param<Tensor<2>>, config: &AdapterConfig) -> Adapter {
    Adapter::init_residual("default", config, weight, &self::weight()).unwrap()
}

/// `scale · A B` in f64.
fn change(adapter: &Adapter) -> Vec<f64> {
    let factor = |name: &str| values(adapter.factor::<2>(name).unwrap().val());
    let (a, b) = (factor("a"), factor("b"));
    let entry = |at: usize| {
        let (i, o) = (at / D_OUT, at % D_OUT);
        (0..RANK).map(|k| a[i * RANK + k] * b[k * D_OUT + o]).sum::<f64>() * adapter.scale()
    };
    (0..D_IN * D_OUT).map(entry).collect()
}

/// The best of the rank that a matrix has.
fn best(matrix: &[f64]) -> Vec<f64> {
    let parts = Parts::of(matrix, [D_IN, D_OUT]).unwrap();
    let (u, v) = (parts.left(RANK, |s| s), parts.right(RANK, |_| 1.0));
    let entry = |at: usize| {
        let (i, o) = (at / D_OUT, at % D_OUT);
        (0..RANK).map(|k| u[i * RANK + k] * v[k * D_OUT + o]).sum::<f64>()
    };
    (0..D_IN * D_OUT).map(entry).collect()
}

fn minus(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| a - b).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[test]
fn the_factors_start_at_the_best_of_their_rank_of_what_blocks_lost() {
    let dense: Vec<f64> = weight().into_iter().map(f64::from).collect();
    for format in WeightDtype::QUANTISED {
        let weight = held(format.frozen(tensor(&weight())).unwrap());
        let lost = minus(&dense, &values(FrozenWeight::of(&weight).dense()));
        let change = change(&started(&weight, &config()));
        // Factors are rounded to f32.
        let off = norm(&minus(&change, &best(&lost)));
        assert!(off < 1e-6 * norm(&lost), "{}: {off}", format.name());
        let left = norm(&minus(&lost, &change));
        assert!(left < norm(&lost), "{}: {left} of {}", format.name(), norm(&lost));
        // What no matrix of the rank can hold is left: the other singular values.
        let parts = Parts::of(&lost, [D_IN, D_OUT]).unwrap();
        let others = norm(&parts.singular()[RANK..]);
        assert!((left / others - 1.0).abs() < 1e-6, "{}", format.name());

        // DoRA's magnitudes are the norms of what it begins with.
        let dora = started(&weight, &config().with_method(Method::Dora));
        let begun = values(dora.change(FrozenWeight::of(&weight).dense()));
        // A difference of two weights, whose f32 rounds at some 1e-7 of their size.
        assert!(norm(&minus(&begun, &best(&lost))) < 1e-3 * norm(&lost), "{}", format.name());
    }
}

/// By turns, in f64 but for what is quantised, which is of f32.
#[test]
fn more_rounds_hold_another_base_as_by_hand() {
    let dense: Vec<f64> = weight().into_iter().map(f64::from).collect();
    for format in [WeightDtype::Q4, WeightDtype::Nf4] {
        let quantise = |matrix: Tensor<2>| format.frozen(matrix);
        let left = |rounds: usize| {
            let base = held(loftq(&tensor(&weight()), &config(), rounds, quantise).unwrap());
            let lost = minus(&dense, &values(FrozenWeight::of(&base).dense()));
            norm(&minus(&lost, &change(&started(&base, &config()))))
        };
        let mut residual = dense.clone();
        let mut by_hand = 0.0;
        for round in 1..=5 {
            let narrow: Vec<f32> = residual.iter().map(|value| *value as f32).collect();
            let lost = minus(&dense, &values(quantise(tensor(&narrow)).unwrap().dense()));
            let best = best(&lost);
            residual = minus(&dense, &best);
            by_hand = norm(&minus(&lost, &best));
            if round == 1 {
                let first = quantise(tensor(&weight())).unwrap().dense();
                let ours = loftq(&tensor(&weight()), &config(), 1, quantise).unwrap().dense();
                assert_eq!(values(ours), values(first), "one round is the weight as it is held");
                assert!((left(1) / by_hand - 1.0).abs() < 1e-6);
            }
        }
        // A number half way between two codes may fall to either side.
        let five = left(5);
        assert!((five / by_hand - 1.0).abs() < 0.01, "{}: {five} {by_hand}", format.name());
        // Another one, and not always a nearer one: rounds by turns promise nothing of their sum.
        assert!((five / left(1) - 1.0).abs() > 1e-3, "{}: {five} {}", format.name(), left(1));
    }
    let none = loftq(&tensor(&weight()), &config(), 2, |_| None).unwrap_err();
    assert_eq!(none, LoraError::Unheld { round: 1 });
}

#[test]
fn what_cannot_start_so_is_told_why() {
    let weight = held(WeightDtype::Q8.frozen(tensor(&weight())).unwrap());
    let told = Adapter::init("default", &config(), &weight, 0).unwrap_err();
    assert_eq!(told, LoraError::Dense { init: Init::Loftq });
    let few = Adapter::init_residual("default", &config(), &weight, &[0.0; 3]).unwrap_err();
    assert_eq!(few, LoraError::DenseValues { d_in: D_IN, d_out: D_OUT, count: 3 });
    let bad = vec![f32::NAN; D_IN * D_OUT];
    let bad = Adapter::init_residual("default", &config(), &weight, &bad).unwrap_err();
    assert_eq!(bad, LoraError::NotFinite { init: Init::Loftq });
    let zero = config().with_alpha(0.0).validate().unwrap_err();
    assert_eq!(zero, [LoraError::DenseScale { init: Init::Loftq }]);
    let miss = config().with_method(Method::Miss).validate().unwrap_err();
    assert_eq!(miss, [LoraError::DenseMethod { init: Init::Loftq, method: Method::Miss }]);
}
