//! Merging for inference: the adapter goes into the weights, so that it costs nothing, and the model is what it was before it was adapted.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example merge
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::tanh;
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora_patch::{device, prelude::*};

#[derive(Module, Debug)]
struct Net {
    fc1: Linear,
    fc2: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        Self {
            fc1: LinearConfig::new(8, 32).init(device),
            fc2: LinearConfig::new(32, 8).init(device),
        }
    }

    /// `[batch, 8]` of `[batch, 8]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.lora_forward(tanh(self.fc1.lora_forward(x)))
    }
}

/// The largest difference of two models' outputs.
fn apart(a: &Net, b: &Net, x: &Tensor<2>) -> f32 {
    (a.forward(x.clone()) - b.forward(x.clone())).abs().max().into_scalar()
}

/// The program.
pub fn main() -> Result<(), Box<dyn Error>> {
    let plain = device::parse("cpu")?;
    let device = plain.clone().autodiff();
    let base = Net::new(&device);
    let x = Tensor::<2>::random([16, 8], Distribution::Default, &device);

    let (mut model, _) =
        base.clone().with_lora(&LoraConfig::new(4).with_targets(["fc1", "fc2"]))?;
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..20 {
        let loss = (model.forward(x.clone()) - x.clone()).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }

    // `valid` leaves gradients behind; nothing below needs them.
    let (base, trained, x) = (base.valid(), model.valid(), x.inner());
    println!("trained and base: {} apart", apart(&trained, &base, &x));
    assert!(apart(&trained, &base, &x) > 0.01);

    // For a while: the adapters stay, and taking the change out again is exact.
    let merged = trained.clone().merge_lora()?;
    println!("merged and trained: {} apart", apart(&merged, &trained, &x));
    assert!(apart(&merged, &trained, &x) < 1e-5);
    let unmerged = merged.unmerge_lora()?;
    assert_eq!(apart(&unmerged, &trained, &x), 0.0);

    // For good: as many parameters as the base has, and a Burn record that any program loads into the plain model.
    let merged = unmerged.merge_and_unload_lora()?;
    assert!(merged.adapter_names().is_empty());
    assert_eq!(merged.num_params(), base.num_params());
    let dir = std::env::temp_dir().join(format!("burn-lora-merge-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    merged.clone().save_file(dir.join("merged.bpk"))?;
    let loaded = Net::new(&plain).try_load_file(dir.join("merged.bpk"))?;
    assert_eq!(apart(&loaded, &merged, &x), 0.0);
    std::fs::remove_dir_all(dir)?;

    // And back: without the adapter, the weights are the base's bit for bit.
    assert_eq!(apart(&trained.unload_lora(), &base, &x), 0.0);
    Ok(())
}
