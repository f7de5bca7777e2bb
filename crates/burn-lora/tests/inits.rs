//! Laws of how factors start, on weights whose singular values are known.

mod test_device;

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, FloatDType, Tensor, TensorData};
use burn_lora::decomposition::Principal;
use burn_lora::{
    Adapter, AdapterConfig, Adapters, Init, LoraError, LoraForward, Method, attach, attach_sets,
    detach, sets,
};

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// A matrix by rows, in f64.
#[derive(Clone)]
struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn from_fn(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Self {
        let value = &value;
        let row = |i| (0..columns).map(move |j| value(i, j));
        Self { rows, columns, values: (0..rows).flat_map(row).collect() }
    }

    fn of(tensor: Tensor<2>) -> Self {
        let [rows, columns] = tensor.dims();
        let values = values(tensor).into_iter().map(f64::from).collect();
        Self { rows, columns, values }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.columns + column]
    }

    fn product(&self, other: &Self) -> Self {
        assert_eq!(self.columns, other.rows);
        Self::from_fn(self.rows, other.columns, |i, j| {
            (0..self.columns).map(|k| self.at(i, k) * other.at(k, j)).sum()
        })
    }

    fn minus(&self, other: &Self, share: f64) -> Self {
        Self::from_fn(self.rows, self.columns, |i, j| self.at(i, j) - share * other.at(i, j))
    }

    fn norm(&self) -> f64 {
        self.values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// Orthonormal columns, by Gram and Schmidt on columns of noise.
    fn orthonormal(rows: usize, columns: usize, seed: f64) -> Self {
        let mut done: Vec<Vec<f64>> = Vec::new();
        for column in 0..columns {
            let noise = |row: usize| {
                let place = 12.9898 * (row + 1) as f64 + 78.233 * (column + 1) as f64 + seed;
                (place.sin() * 43_758.545_3).fract() - 0.5
            };
            let mut vector: Vec<f64> = (0..rows).map(noise).collect();
            // Twice: once leaves rounding in the directions of the others.
            for _ in 0..2 {
                for other in &done {
                    let along: f64 = vector.iter().zip(other).map(|(v, o)| v * o).sum();
                    vector.iter_mut().zip(other).for_each(|(v, o)| *v -= along * o);
                }
                let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
                assert!(length > 1e-6, "column {column} depends on the others");
                vector.iter_mut().for_each(|v| *v /= length);
            }
            done.push(vector);
        }
        Self::from_fn(rows, columns, |i, j| done[j][i])
    }

    /// `[d_in, d_out]` with these singular values.
    fn with_singular(d_in: usize, d_out: usize, singular: &[f64]) -> Self {
        let count = singular.len();
        let u = Self::orthonormal(d_in, count, 0.1);
        let v = Self::orthonormal(d_out, count, 2.3);
        Self::from_fn(d_in, d_out, |i, j| {
            (0..count).map(|k| u.at(i, k) * singular[k] * v.at(j, k)).sum()
        })
    }

    fn tensor(&self, device: &Device) -> Tensor<2> {
        let values: Vec<f32> = self.values.iter().map(|value| *value as f32).collect();
        Tensor::from_data(TensorData::new(values, [self.rows, self.columns]), device)
    }
}

/// Singular values of so many dimensions, each 0.8 of the one before.
fn falling(count: usize) -> Vec<f64> {
    (0..count).map(|k| 3.0 * 0.8_f64.powi(k as i32)).collect()
}

fn root_of_squares(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

const SHAPES: [[usize; 2]; 4] = [[24, 24], [40, 16], [16, 40], [9, 5]];

fn linear(weight: &Matrix, device: &Device) -> Linear {
    let linear = LinearConfig::new(weight.rows, weight.columns).init(device);
    Linear { weight: Param::from_tensor(weight.tensor(device)), ..linear }
}

fn fresh(linear: &Linear, config: &AdapterConfig) -> Adapter {
    Adapter::init("default", config, &linear.weight, 5).unwrap()
}

/// A fresh adapter whose A is given.
fn along_inputs(linear: &Linear, config: &AdapterConfig) -> Adapter {
    let [d_in, _] = linear.weight.dims();
    let a = (0..d_in * config.rank).map(|at| (at * 7 % 11) as f32 / 8.0 - 0.5).collect();
    Adapter::init_along("default", config, &linear.weight, a).unwrap()
}

/// `A₀` and `B₀` of a fresh adapter, which are what stands beside its factors.
fn start(adapter: &Adapter) -> (Matrix, Matrix) {
    let factor = |name: &str| Matrix::of(adapter.factor::<2>(name).unwrap().val());
    let (a, b) = (factor("a"), factor("b"));
    if adapter.is_moved() {
        let beside = |name: &str| {
            let factor = adapter.method().factor(name).unwrap();
            Matrix::of(adapter.beside(factor).unwrap().clone())
        };
        assert_eq!(beside("a").values, a.values);
        assert_eq!(beside("b").values, b.values.iter().map(|value| -value).collect::<Vec<_>>());
    }
    (a, b)
}

/// What is left of the weight, `W − scale · A₀ B₀`.
fn residual(weight: &Matrix, adapter: &Adapter) -> Matrix {
    let (a, b) = start(adapter);
    weight.minus(&a.product(&b), adapter.scale())
}

/// Eckart and Young: no matrix of that rank comes nearer than the discarded singular values. Weight and factors are
/// rounded to f32: what that leaves is a few 2^-24 of the largest singular value in each direction.
#[test]
fn pissa_leaves_the_discarded_singular_values_and_nothing_else() {
    let device = device();
    for [d_in, d_out] in SHAPES {
        let singular = falling(d_in.min(d_out));
        let weight = Matrix::with_singular(d_in, d_out, &singular);
        let linear = linear(&weight, &device);
        for rank in [1, 4, d_in.min(d_out)] {
            for (alpha, rslora) in [(8.0, false), (3.0, true)] {
                let config = AdapterConfig::new(rank).with_alpha(alpha).with_rslora(rslora);
                let adapter = fresh(&linear, &config.with_init(Init::Pissa));
                let left = residual(&weight, &adapter).norm();
                let least = root_of_squares(&singular[rank..]);
                let off = (left - least).abs();
                assert!(
                    off < 1e-5 * singular[0],
                    "{d_in}x{d_out}, rank {rank}: {left}, not {least}"
                );
                // Half of each singular value is in either factor: the square of its norm is their sum.
                let half = (singular[..rank].iter().sum::<f64>() / adapter.scale()).sqrt();
                let (a, b) = start(&adapter);
                for factor in [a, b] {
                    assert!((factor.norm() / half - 1.0).abs() < 1e-5, "{}, {half}", factor.norm());
                }
            }
        }
    }
}

/// With rounds enough the randomised parts are the exact ones; with none, they are never better, and some weight of
/// the rank is found.
#[test]
fn more_rounds_of_randomised_pissa_come_to_the_exact_one() {
    let device = device();
    for [d_in, d_out] in SHAPES {
        let singular = falling(d_in.min(d_out));
        let weight = Matrix::with_singular(d_in, d_out, &singular);
        let linear = linear(&weight, &device);
        let least = root_of_squares(&singular[4..]);
        let left = |rounds| {
            let config = AdapterConfig::new(4).with_init(Init::PissaNiter(rounds));
            residual(&weight, &fresh(&linear, &config)).norm()
        };
        let (none, some, many) = (left(0), left(4), left(40));
        let rounding = 1e-5 * singular[0];
        for left in [none, some, many] {
            assert!(left > least - rounding, "{left} is below {least}");
        }
        assert!(none < weight.norm(), "{none}");
        // A round leaves (σ₅ / σ₄)² = 0.64 of what points aside: four leave a sixth, whose square counts.
        assert!(some < 1.1 * least, "{d_in}x{d_out}: {some}, {least}");
        assert!((many - least).abs() < rounding, "{d_in}x{d_out}: {many}, {least}");
        // The draws are the seed's.
        let config = AdapterConfig::new(4).with_init(Init::PissaNiter(1));
        let draw =
            |seed| start(&Adapter::init("x", &config, &linear.weight, seed).unwrap()).0.values;
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}

/// `B₀` is orthonormal, `A₀` is what of the weight lies along it, and the first `rank` inputs are given back whole.
#[test]
fn olora_is_a_qr_decomposition_of_the_transposed_weight() {
    let device = device();
    for [d_in, d_out] in SHAPES {
        let weight = Matrix::with_singular(d_in, d_out, &falling(d_in.min(d_out)));
        let linear = linear(&weight, &device);
        for rank in [1, 4, d_in.min(d_out)] {
            // PEFT does not divide by the scale.
            let config = AdapterConfig::new(rank).with_alpha(rank as f64).with_init(Init::Olora);
            let adapter = fresh(&linear, &config);
            let (a, b) = start(&adapter);
            let turned = Matrix::from_fn(d_out, rank, |i, j| b.at(j, i));
            let one = Matrix::from_fn(rank, rank, |i, j| f64::from(u8::from(i == j)));
            assert!(b.product(&turned).minus(&one, 1.0).norm() < 1e-5);
            assert!(weight.product(&turned).minus(&a, 1.0).norm() < 1e-5);
            for row in 0..rank {
                assert!((row + 1..rank).all(|column| a.at(row, column) == 0.0), "a triangle");
            }
            let left = residual(&weight, &adapter);
            let first = Matrix::from_fn(rank, d_out, |i, j| left.at(i, j));
            assert!(first.norm() < 1e-5, "{}", first.norm());
            let doubled = fresh(&linear, &config.with_alpha(2.0 * rank as f64));
            assert_eq!(start(&doubled).1.values, b.values);
        }
    }
}

fn off<const D: usize>(left: Tensor<D>, right: Tensor<D>) -> f32 {
    (left - right).abs().max().into_scalar()
}

/// Each on each kind, by either path, merged, and dialled; on a GPU, too, which multiplies in an order of its own.
#[test]
fn whichever_the_start_the_layer_computes_what_the_base_computes() {
    let device = device();
    let weight = Matrix::with_singular(24, 10, &falling(10));
    let plain = linear(&weight, &device).no_grad();
    let x = Tensor::<3>::random([2, 3, 24], Distribution::Default, &device);
    let base = plain.forward(x.clone());
    let starts = Init::ALL.into_iter().flat_map(|init| Method::ALL.iter().map(move |m| (init, *m)));
    for (init, method) in starts {
        let config = AdapterConfig::new(4).with_alpha(12.0).with_method(method).with_init(init);
        if config.validate().is_err() {
            continue;
        }
        let adapter = match init.needs_inputs() {
            true => along_inputs(&plain, &config),
            // A dense weight has lost nothing.
            false if init.needs_dense() => {
                let was = values(plain.weight.val());
                Adapter::init_residual("default", &config, &plain.weight, &was).unwrap()
            }
            false => fresh(&plain, &config),
        };
        let with = |set: Adapters| attach_sets(plain.clone(), |_| Some(set.clone()));
        for multiplier in [0.0, 1.0, 0.5] {
            let set = Adapters::single(adapter.clone().with_multiplier(multiplier));
            let merged = set.clone().merge(plain.weight.base());
            for (path, linear) in [("beside", with(set)), ("merged", with(merged))] {
                let what = format!("{init}, {method}, {path}, times {multiplier}");
                let factored = off(linear.lora_forward(x.clone()), base.clone());
                let composed = match method.shifts() {
                    true => 0.0,
                    false => off(linear.forward(x.clone()), base.clone()),
                };
                assert!(factored < 1e-5 && composed < 1e-5, "{what}: {factored}, {composed}");
            }
        }
        // Taken off, the base is there as it was, though training started in a part of it.
        let left = detach(with(Adapters::single(adapter)));
        assert_eq!(values(left.weight.val()), values(plain.weight.val()));
    }
}

/// A trained adapter that started in a part of the weight, and the plain one that it is written as.
fn moved_and_written(method: Method, init: Init, plain: &Linear) -> [Adapter; 2] {
    let config = AdapterConfig::new(4).with_alpha(6.0).with_method(method).with_rslora(true);
    let config = config.with_init(init);
    let made = fresh(plain, &config);
    let started = |name: &str| match made.factor::<2>(name) {
        Some(factor) => values(factor.val()),
        None => values(made.factor::<1>(name).unwrap().val()),
    };
    // As training would: all of them other than they started.
    let trained: BTreeMap<&str, Vec<f32>> = method
        .factors()
        .iter()
        .map(|factor| {
            let started = started(factor.name).into_iter().enumerate();
            (factor.name, started.map(|(at, v)| v + 0.1 * (1.3 * at as f32).sin()).collect())
        })
        .collect();
    let moved = made.clone().map(&mut Put { values: &trained, at: String::new() });
    let written = Adapter::from_values("default", &config.written(), &plain.weight, |factor| {
        let own = trained[factor.name].clone();
        let Some(beside) = made.beside(factor) else { return own };
        let own = Tensor::<2>::from_data(TensorData::new(own, beside.dims()), &beside.device());
        values(Tensor::cat(vec![own, beside.clone()], usize::from(factor.name == "a")))
    })
    .unwrap();
    [moved, written]
}

/// Puts other values into an adapter's factors, as a checkpoint does.
struct Put<'a> {
    values: &'a BTreeMap<&'a str, Vec<f32>>,
    at: String,
}

impl ModuleMapper for Put<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        name.clone_into(&mut self.at);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let values = self.values[self.at.as_str()].clone();
        param.map(|old| {
            let data = TensorData::new(values, old.shape());
            Tensor::from_data(data, &old.device()).set_require_grad(old.is_require_grad())
        })
    }
}

/// What training makes of such a start is plain LoRA, or DoRA, of twice the rank on the base that nobody touched:
/// outputs, gradients of the input and of the factors, and the merged weight.
#[test]
fn a_moved_start_is_a_plain_adapter_of_twice_the_rank() {
    let device = device().autodiff();
    let weight = Matrix::with_singular(24, 10, &falling(10));
    let plain = linear(&weight, &device).no_grad();
    for init in [Init::Pissa, Init::PissaNiter(2), Init::Olora] {
        for &method in Method::ALL.iter().filter(|method| method.subtracts()) {
            let both = moved_and_written(method, init, &plain);
            assert_eq!(both.each_ref().map(Adapter::rank), [4, 8]);
            assert_eq!(both.each_ref().map(Adapter::is_moved), [true, false]);
            let results = both.map(|adapter| {
                let numbers: Vec<f32> =
                    (0..5 * 24).map(|at| (at * 7 % 11) as f32 / 8.0 - 0.5).collect();
                let x = Tensor::<2>::from_data(TensorData::new(numbers, [5, 24]), &device);
                let x = x.require_grad();
                let linear = attach(plain.clone(), "weight", adapter.clone()).unwrap();
                let y = linear.lora_forward(x.clone());
                let composed = linear.forward(x.clone());
                let gradients = (y.clone() * y.clone()).sum().backward();
                let a = sets(&linear).remove(0).1.get("default").unwrap().factor::<2>("a").unwrap();
                let of_a = a.grad(&gradients).unwrap().slice([0..24, 0..4]);
                let merged = Adapters::single(adapter).merge(plain.weight.base());
                let merged = merged.merged().unwrap().clone().inner();
                [y.inner(), composed.inner(), x.grad(&gradients).unwrap(), of_a, merged]
            });
            let [moved, written] = results;
            for (at, (moved, written)) in moved.into_iter().zip(written).enumerate() {
                let largest: f32 = written.clone().abs().max().into_scalar();
                let off = off(moved, written);
                // Two ways to sums of some forty terms, in which parts as large as the weight cancel.
                assert!(off < 3e-5 * largest, "{init}, {method}, result {at}: {off} of {largest}");
            }
        }
    }
}

/// Dropout acts on the input of A, and what the factors started from is a part of the base. The mean over many draws
/// is the output without dropout; a first draw differs.
#[test]
fn dropout_leaves_the_residual_alone() {
    let device = device().autodiff();
    device.seed(3);
    let weight = Matrix::with_singular(24, 10, &falling(10));
    let plain = linear(&weight, &device).no_grad();
    let x = Tensor::<2>::ones([4000, 24], &device);
    for &method in Method::ALL.iter().filter(|method| method.subtracts()) {
        let config =
            AdapterConfig::new(10).with_alpha(10.0).with_method(method).with_init(Init::Pissa);
        let adapted = |dropout| {
            let adapter = fresh(&plain, &config.clone().with_dropout(dropout));
            attach(plain.clone(), "weight", adapter).unwrap()
        };
        // Rank 10 of 10: the residual is zero, and all of an output is dropped input.
        let kept = adapted(0.0).lora_forward(x.clone()).inner();
        let dropped = adapted(0.5).lora_forward(x.clone()).inner();
        let bias = plain.bias.as_ref().unwrap().val().inner().unsqueeze();
        let (kept, dropped) = (kept - bias.clone(), dropped - bias);
        let spread: f32 = (dropped.clone() - kept.clone()).abs().mean().into_scalar();
        assert!(spread > 0.05, "{method}: nothing was dropped, {spread}");
        // 4,000 rows: the standard error of a mean is a 63rd of a row's deviation, which is `spread` within a factor.
        let mean = off(dropped.mean_dim(0), kept.mean_dim(0));
        assert!(mean < 0.25 * spread, "{method}: {mean} of {spread}");
    }
}

/// A base in 16 bits is decomposed as the numbers that it holds, and not rounded anew.
#[test]
fn a_base_of_half_precision_starts_where_its_numbers_are() {
    let device = device();
    let formats = [FloatDType::BF16, FloatDType::F16];
    let Some(format) = formats.into_iter().find(|format| device.supports_dtype(*format)) else {
        return eprintln!("{} reports no format of 16 bits", test_device::name());
    };
    let weight = Matrix::with_singular(24, 10, &falling(10));
    let mut half = linear(&weight, &device).no_grad();
    half.weight = half.weight.map(|weight| weight.cast(format));
    let mut dense = half.clone();
    dense.weight = dense.weight.map(|weight| weight.cast(FloatDType::F32));
    for init in [Init::Pissa, Init::Olora] {
        let config = AdapterConfig::new(4).with_init(init);
        let [of_half, of_dense] = [&half, &dense].map(|linear| start(&fresh(linear, &config)));
        assert_eq!(of_half.0.values, of_dense.0.values);
        let adapted = attach(half.clone(), "weight", fresh(&half, &config)).unwrap();
        let merged = Adapters::single(fresh(&half, &config)).merge(half.weight.base());
        assert!(off(merged.merged().unwrap().clone(), dense.weight.val()) < 1e-6);
        assert_eq!(
            values(detach(adapted).weight.val().cast(FloatDType::F32)),
            values(dense.weight.val())
        );
    }
}

#[test]
fn a_weight_that_cannot_be_decomposed_is_refused() {
    let device = device();
    let mut weight = Matrix::with_singular(6, 4, &falling(4));
    weight.values[5] = f64::NAN;
    let broken = linear(&weight, &device);
    let whole = linear(&Matrix::with_singular(6, 4, &falling(4)), &device);
    for init in [Init::Pissa, Init::PissaNiter(2), Init::Olora] {
        let made = |linear: &Linear, rank| {
            let config = AdapterConfig::new(rank).with_init(init);
            Adapter::init("x", &config, &linear.weight, 0)
        };
        assert_eq!(made(&broken, 2).unwrap_err(), LoraError::NotFinite { init });
        let refused = LoraError::InitRank { init, rank: 5, d_in: 6, d_out: 4 };
        assert_eq!(made(&whole, 5).unwrap_err(), refused);
        assert!(made(&whole, 4).is_ok());
    }
    // All zero: there is nothing to take, and nothing breaks.
    let zero = linear(&Matrix::from_fn(6, 4, |_, _| 0.0), &device);
    for init in [Init::Pissa, Init::PissaNiter(2), Init::Olora] {
        let adapter = fresh(&zero, &AdapterConfig::new(2).with_init(init));
        assert!(residual(&Matrix::from_fn(6, 4, |_, _| 0.0), &adapter).norm() < 1e-6, "{init}");
    }
}

/// Nothing is drawn in the place of what was not looked at.
#[test]
fn a_start_along_inputs_needs_them_and_begins_at_the_base() {
    let device = device();
    let weight = Matrix::with_singular(9, 5, &falling(5));
    let plain = linear(&weight, &device);
    let config = AdapterConfig::new(3).with_init(Init::Eva);
    let told = Adapter::init("default", &config, &plain.weight, 0).unwrap_err();
    assert_eq!(told, LoraError::Inputs { init: Init::Eva });
    let adapter = along_inputs(&plain, &config);
    let (a, b) = start(&adapter);
    assert_eq!((a.rows, a.columns), (9, 3));
    assert!(!adapter.is_moved() && b.norm() == 0.0);
    let expected: Vec<f64> =
        (0..27).map(|at| f64::from((at * 7 % 11) as f32 / 8.0 - 0.5)).collect();
    assert_eq!(a.values, expected);

    let few = Adapter::init_along("default", &config, &plain.weight, vec![0.0; 5]).unwrap_err();
    assert!(few.to_string().contains("5 values are given"), "{few}");
    for method in [Method::Miss, Method::LoraBias] {
        let config = config.clone().with_method(method);
        let told = Adapter::init_along("default", &config, &plain.weight, vec![0.0; 27]);
        assert!(matches!(told, Err(LoraError::OtherStart { .. })), "{method}");
        assert_eq!(config.validate().map_err(|told| told.len()), Err(1));
    }
}

/// As PEFT's `SVDHook`, which takes the cosine with its sign: the one batch more that it looks at moves what A starts from.
#[test]
fn a_direction_whose_sign_another_entry_sets_has_turned_once() {
    let along = |x: f32, y: f32| -> Vec<f32> {
        (0..40).flat_map(|row| if row % 2 == 0 { [x, y] } else { [-x, -y] }).collect()
    };
    let mut principal = Principal::new(1, 2);
    assert!(principal.add(&along(1.0, -1.05)[..4]));
    let before = principal.directions(1, false);
    assert!(before[0] < 0.0 && before[1] > 0.0, "{before:?}");
    assert!(principal.add(&along(1.05, -1.0)));
    let after = principal.directions(1, false);
    assert!(after[0] > 0.0 && after[1] < 0.0, "{after:?}");
    assert!(!principal.has_converged(1, 0.99));
    assert!(principal.add(&along(1.05, -1.0)));
    assert!(principal.has_converged(1, 0.99));
}
