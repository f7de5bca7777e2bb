use super::*;
use crate::fused::tests::test_device;

type Definition = fn(f64) -> f64;

/// `x Φ(x)`, the normal distribution integrated by Simpson's rule from 0 in 1000 steps.
fn exact(x: f64) -> f64 {
    let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
    let step = x / 1000.0;
    let weight = |i: i32| match i {
        0 | 1000 => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    let integral = (0..=1000).map(|i| weight(i) * density(f64::from(i) * step)).sum::<f64>();
    x * (0.5 + integral * step / 3.0)
}

fn tanh_approximation(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

const DEFINITIONS: [(&str, Definition); 5] = [
    ("gelu_new", tanh_approximation),
    ("gelu_fast", tanh_approximation),
    ("gelu_pytorch_tanh", tanh_approximation),
    ("relu", |x| x.max(0.0)),
    ("gelu", exact),
];

/// Burn's own gradient of `gelu` is another function's on every backend but Flex, off by up to 1e-3.
#[test]
fn activations_and_their_gradients_are_those_of_their_names() {
    let device = burn_lora::device::parse(&test_device::name()).unwrap().autodiff();
    // None at 0, where `relu` has no derivative.
    let inputs: Vec<f32> = (-40..40).map(|step| (step as f32 + 0.5) / 8.0).collect();
    for (name, definition) in DEFINITIONS {
        let x = Tensor::<1>::from_floats(inputs.as_slice(), &device).require_grad();
        let y = Activation::parse("hidden_act", name).unwrap().apply(x.clone());
        let outputs = y.clone().into_data().try_to_vec::<f32>().unwrap();
        let grads = x.grad(&y.sum().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        for ((&x, y), grad) in inputs.iter().zip(outputs).zip(grads) {
            let (x, step) = (f64::from(x), 1e-5);
            // Outputs of size 5 in f32, after a handful of operations.
            let expected = definition(x);
            assert!((f64::from(y) - expected).abs() < 5e-6, "{name}({x}) = {y}, not {expected}");
            // The difference of two values of f64 is good to 1e-10.
            let expected = (definition(x + step) - definition(x - step)) / (2.0 * step);
            assert!(
                (f64::from(grad) - expected).abs() < 5e-6,
                "{name}'({x}) = {grad}, not {expected}"
            );
        }
    }
}
