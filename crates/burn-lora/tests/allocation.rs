//! A training step makes nothing of the size of a weight, shown by counting what is allocated.

#![cfg(feature = "flex")]
#![allow(
    unsafe_code,
    reason = "an allocator is an unsafe trait; this one only counts and forwards"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Distribution, Tensor};
use burn_lora::{Adapter, LoraConfig, LoraForward, Method, attach};

struct Counting;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's guarantees for `alloc` are those that `System.alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System.alloc` with this layout, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const WIDTH: usize = 2048;
const WEIGHT_BYTES: usize = WIDTH * WIDTH * 4;

#[derive(Module, Debug)]
struct Two {
    first: Linear,
    second: Linear,
}

impl Two {
    fn factored(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.lora_forward(self.first.lora_forward(x))
    }

    fn composed(&self, x: Tensor<2>) -> Tensor<2> {
        self.second.forward(self.first.forward(x))
    }
}

/// The largest single allocation of one step: forward, backward, AdamW.
fn largest_of_a_step(model: &Two, forward: impl Fn(&Two, Tensor<2>) -> Tensor<2>) -> usize {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    let x = Tensor::random([16, WIDTH], Distribution::Default, &device);
    let mut optimizer = AdamWConfig::new().init();
    LARGEST.store(0, Ordering::Relaxed);
    let loss = forward(model, x).powf_scalar(2.0).mean();
    let grads = GradientsParams::from_grads(loss.backward(), model);
    drop(optimizer.step(1e-3, model.clone(), grads));
    LARGEST.load(Ordering::Relaxed)
}

#[test]
fn a_step_of_any_kind_makes_nothing_of_the_size_of_a_weight() {
    let device = burn_lora::device::parse("flex").unwrap().autodiff();
    for method in Method::ALL {
        for dropout in [0.0, 0.5] {
            let config = LoraConfig::new(8, 16.0).with_method(*method).with_dropout(dropout);
            let linear = || LinearConfig::new(WIDTH, WIDTH).init(&device);
            let mut model = Two { first: linear(), second: linear() };
            for path in ["first.weight", "second.weight"] {
                let weight = &model.first.weight;
                let adapter = Adapter::init("default", &config, weight, 0).unwrap();
                model = attach(model, path, adapter).unwrap();
            }
            // Burn initialises lazily; a first pass brings the weights into being.
            let _ = model.factored(Tensor::zeros([1, WIDTH], &device));

            let factored = largest_of_a_step(&model, Two::factored);
            let what = format!("{method}, dropout {dropout}: {factored} bytes in one piece");
            assert!(factored < WEIGHT_BYTES / 4, "{what} of {WEIGHT_BYTES}");
            // The same measurement does see the dense weight of the composed path.
            let composed = largest_of_a_step(&model, Two::composed);
            assert!(composed >= WEIGHT_BYTES, "{composed} bytes: the measurement is blind");
        }
    }
}
