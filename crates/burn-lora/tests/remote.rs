//! The operations on a device that is lent, by a thread of this process: the server computes with Flex, as the CPU here does.

#![cfg(all(feature = "remote", feature = "flex"))]

use std::sync::OnceLock;

use burn::backend::DispatchDevice;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Device, Tensor, TensorData};
use burn_lora::device::{RemoteRouter, connection, connection_named, listen, parse};
use burn_lora::{ProductBackend, lora_linear, product};

/// The name of the device that this process lends to itself.
fn lent() -> &'static str {
    static LENT: OnceLock<String> = OnceLock::new();
    LENT.get_or_init(|| {
        let server = listen("127.0.0.1:0", "cpu").unwrap();
        let name = format!("remote://{}", server.address());
        // It ends with the process.
        std::thread::spawn(|| server.serve().unwrap());
        name
    })
}

/// Numbers of about 1, all different.
fn numbers(shape: [usize; 2], seed: f32) -> TensorData {
    let [rows, columns] = shape;
    let number = |index: usize| (index as f32 * 0.37 + seed).sin();
    TensorData::new((0..rows * columns).map(number).collect::<Vec<_>>(), shape)
}

fn values(data: TensorData) -> Vec<f32> {
    data.try_to_vec().unwrap()
}

/// Few rows and many, for which Flex has different kernels.
const SHAPES: [[usize; 3]; 2] = [[3, 64, 48], [70, 33, 40]];

#[test]
fn products_on_a_lent_device_have_the_bits_of_its_own() {
    let (there, here) = (parse(lent()).unwrap(), parse("cpu").unwrap());
    for [rows, n, columns] in SHAPES {
        let on = |device: &Device| {
            let lhs = Tensor::<2>::from_data(numbers([rows, n], 0.1), device);
            let rhs = Tensor::<2>::from_data(numbers([n, columns], 0.2), device);
            // Read as one, so that they may travel together.
            let y = product(lhs.clone(), rhs.clone());
            values((product(lhs, rhs) + y).into_data())
        };
        assert_eq!(on(&there), on(&here));
    }
}

/// What the backend does without graphs, as a build without a GPU backend has it.
#[test]
fn products_that_are_sent_one_by_one_are_the_same() {
    let DispatchDevice::Remote(there) = parse(lent()).unwrap().as_dispatch().clone() else {
        panic!("a device elsewhere")
    };
    let here = parse("cpu").unwrap();
    let made = |shape, seed| RemoteRouter::float_from_data(numbers(shape, seed), &there);
    let read = |tensor: FloatTensor<RemoteRouter>| {
        let data = burn::tensor::read_sync(RemoteRouter::float_into_data(tensor)).unwrap();
        values(data)
    };
    for [rows, n, columns] in SHAPES {
        let (x, w) = (made([rows, n], 0.1), made([n, columns], 0.2));
        let of_here = |shape, seed| Tensor::<2>::from_data(numbers(shape, seed), &here);
        let expected = product(of_here([rows, n], 0.1), of_here([n, columns], 0.2));
        assert_eq!(read(RemoteRouter::product(x, w)), values(expected.into_data()));
    }
}

/// f32 sums of up to 70 numbers of about 1, in another order.
fn check_close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() < 2e-5, "{got} instead of {expected}");
    }
}

#[test]
fn a_layer_on_a_lent_device_has_the_output_and_gradients_of_here() {
    let (there, here) = (parse(lent()).unwrap().autodiff(), parse("cpu").unwrap().autodiff());
    for [rows, n, columns] in SHAPES {
        let on = |device: &Device| {
            let made = |shape, seed| Tensor::<2>::from_data(numbers(shape, seed), device);
            let tracked = |shape, seed| made(shape, seed).require_grad();
            let (x, a, b) =
                (tracked([rows, n], 0.1), tracked([n, 4], 0.3), tracked([4, columns], 0.4));
            let mask = made([rows, n], 0.5).greater_elem(0.0).float() * 2.0;
            let w = made([n, columns], 0.2);
            let y = lora_linear(x.clone(), w, a.clone(), b.clone(), 0.5, Some(mask));
            let mut gradients = (y.clone() * made([rows, columns], 0.6)).mean().backward();
            let [dx, da, db] =
                [x, a, b].map(|of| values(of.grad_remove(&mut gradients).unwrap().into_data()));
            [values(y.inner().into_data()), dx, da, db]
        };
        for (got, expected) in on(&there).iter().zip(&on(&here)) {
            check_close(got, expected);
        }
    }
}

#[test]
fn a_lent_device_is_reached_once_and_what_goes_there_is_counted() {
    let (there, again) = (parse(lent()).unwrap(), parse(lent()).unwrap());
    assert_eq!(there, again);
    let counted = connection(&there.clone().autodiff()).unwrap();
    assert_eq!(format!("remote://{}", counted.address()), lent());
    let named = connection_named(lent()).unwrap();
    let (sent, received) = (counted.sent(), counted.received());
    let tensor = Tensor::<2>::from_data(numbers([64, 64], 0.1), &there);
    assert_eq!(values(tensor.into_data()).len(), 64 * 64);
    // Other tests send and receive meanwhile.
    assert!(named.sent() - sent >= 4 * 64 * 64, "what was sent");
    assert!(named.received() - received >= 4 * 64 * 64, "what came back");
    assert!(!counted.is_broken());
}
