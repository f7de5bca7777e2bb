//! Several layers of one input give what each gives alone, whatever hangs on them.

mod test_device;

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, LoraForward, Method, attach, lora_forward_together,
    with_inputs,
};

const D_IN: usize = 96;

/// Tests that draw numbers do so one after the other: a device has one generator.
static GENERATOR: Mutex<()> = Mutex::new(());

fn generator() -> MutexGuard<'static, ()> {
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap().autodiff()
}

/// Factors that change something: B starts at zero.
fn adapter(name: &str, linear: &Linear, config: &AdapterConfig) -> Adapter {
    let [d_in, d_out] = linear.weight.dims();
    let device = linear.weight.device();
    let draw = |shape| Tensor::<2>::random(shape, Distribution::Uniform(-0.3, 0.3), &device);
    let (a, b) = (draw([d_in, config.rank]), draw([config.rank, d_out]));
    Adapter::from_factors(name, a, b, config.scale(), config.dropout).unwrap()
}

fn linear(d_out: usize, device: &Device) -> Linear {
    let linear = LinearConfig::new(D_IN, d_out).init(device).no_grad();
    // They are drawn where they are first needed, which must not be between what a test draws.
    linear.weight.val();
    linear.bias.iter().for_each(|bias| drop(bias.val()));
    linear
}

/// Outputs, and the gradients of x and of the factors, of a loss that reads every output.
fn run(linears: &[Linear; 3], rows: usize, together: bool) -> Vec<Vec<f32>> {
    let device = linears[0].weight.device();
    device.seed(7);
    let x = Tensor::<3>::random([2, rows, D_IN], Distribution::Default, &device).require_grad();
    let outputs = match together {
        true => lora_forward_together(linears.each_ref(), x.clone()),
        false => linears.each_ref().map(|linear| linear.lora_forward(x.clone())),
    };
    let loss = outputs.each_ref().map(|y| y.clone().sin().sum());
    let [a, b, c] = loss;
    let grads = (a + b + c).backward();
    let values = |tensor: Tensor<3>| tensor.into_data().convert::<f32>().try_to_vec().unwrap();
    let mut all: Vec<Vec<f32>> = outputs.map(values).into();
    all.push(values(x.grad(&grads).unwrap()));
    for linear in linears {
        let sets = linear.weight.reparameterization::<Adapters>();
        for adapter in sets.iter().flat_map(|set| set.iter()) {
            for name in ["a", "b"] {
                let factor = adapter.factor::<2>(name).unwrap().val();
                let grad = factor.grad(&grads).unwrap();
                all.push(grad.into_data().convert::<f32>().try_to_vec().unwrap());
            }
        }
    }
    all
}

/// Sums of at most some hundred products, added in another order.
fn check(linears: &[Linear; 3]) {
    for rows in [3, 80] {
        let (alone, together) = (run(linears, rows, false), run(linears, rows, true));
        assert_eq!(alone.len(), together.len());
        for (alone, together) in alone.iter().zip(&together) {
            assert_eq!(alone.len(), together.len());
            let largest = alone.iter().fold(1e-3_f32, |most, value| most.max(value.abs()));
            for (one, other) in alone.iter().zip(together) {
                assert!((one - other).abs() < 1e-5 * largest, "{rows}: {one} and {other}");
            }
        }
    }
}

#[test]
fn with_one_adapter_each_with_two_and_with_none() {
    let _generator = generator();
    let device = device();
    let config = AdapterConfig::new(4).with_alpha(6.0);
    let with = |linear: Linear, names: &[&str]| {
        names.iter().fold(linear, |linear, name| {
            let adapter = adapter(name, &linear, &config);
            attach(linear, "weight", adapter).unwrap()
        })
    };
    for names in
        [[&["one"][..]; 3], [&["one"], &[], &["one"]], [&["one"], &["one", "two"], &["one"]]]
    {
        let mut widths = [64, 32, 40].into_iter();
        check(&names.map(|names| with(linear(widths.next().unwrap(), &device), names)));
    }
}

#[test]
fn with_dropout_the_same_elements_are_dropped() {
    let _generator = generator();
    let device = device();
    let config = AdapterConfig::new(4).with_dropout(0.4);
    check(&[48, 32, 16].map(|d_out| {
        let linear = linear(d_out, &device);
        let adapter = adapter("default", &linear, &config);
        attach(linear, "weight", adapter).unwrap()
    }));
}

#[test]
fn a_layer_whose_weight_is_trained_gets_its_gradient() {
    let _generator = generator();
    let device = device();
    let mut linears = [48, 32, 16].map(|d_out| {
        let linear = linear(d_out, &device);
        let adapter = adapter("default", &linear, &AdapterConfig::new(2));
        attach(linear, "weight", adapter).unwrap()
    });
    linears[1] = LinearConfig::new(D_IN, 32).init(&device);
    let x = Tensor::<2>::random([70, D_IN], Distribution::Default, &device);
    let outputs = lora_forward_together(linears.each_ref(), x);
    let [a, b, c] = outputs.map(|y| y.sum());
    let grads = (a + b + c).backward();
    assert!(linears[1].weight.grad(&grads).is_some());
    assert!(linears[0].weight.base().grad(&grads).is_none());
}

/// Other kinds are computed alone; where their forward pass is another, their values stay.
#[test]
fn other_kinds_of_adapter_keep_their_own_way() {
    let _generator = generator();
    let device = device();
    let lora = AdapterConfig::new(4);
    for method in [Method::Dora, Method::Miss, Method::LoraFa] {
        let config = AdapterConfig::new(4).with_method(method);
        let mut configs = [&config, &lora, &config].into_iter();
        let linears = [48, 32, 16].map(|d_out| {
            let linear = linear(d_out, &device);
            let adapter =
                Adapter::init("default", configs.next().unwrap(), &linear.weight, 3).unwrap();
            attach(linear, "weight", adapter).unwrap()
        });
        let x = Tensor::<2>::random([70, D_IN], Distribution::Default, &device);
        let alone = linears.each_ref().map(|linear| linear.lora_forward(x.clone()));
        for (y, alone) in lora_forward_together(linears.each_ref(), x).into_iter().zip(alone) {
            let off: f32 = (y - alone).abs().max().into_scalar();
            assert!(off < 1e-5, "{method:?}: {off}");
        }
    }
}

#[test]
fn who_looks_on_sees_the_input_of_each_layer_once() {
    let _generator = generator();
    let device = device();
    let config = AdapterConfig::new(4);
    let mut names = [Some("default"), None, Some("default")].into_iter();
    let linears = [48, 32, 16].map(|d_out| {
        let linear = linear(d_out, &device);
        match names.next().flatten() {
            Some(name) => {
                let adapter = adapter(name, &linear, &config);
                attach(linear, "weight", adapter).unwrap()
            }
            None => linear,
        }
    });
    let seen = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let watch = {
        let seen = seen.clone();
        move |weight, x: Tensor<2>| seen.borrow_mut().push((weight, x.dims()))
    };
    let x = Tensor::<3>::ones([2, 5, D_IN], &device);
    with_inputs(watch, || lora_forward_together(linears.each_ref(), x));
    let mut seen = seen.take();
    let mut expected: Vec<_> = linears.iter().map(|it| (it.weight.id, [10, D_IN])).collect();
    seen.sort_by_key(|(id, _)| id.val());
    expected.sort_by_key(|(id, _)| id.val());
    assert_eq!(seen, expected);
}
