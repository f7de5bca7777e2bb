//! Two adapters on one base: each trained for its own task, one in force at a time, or both, or none.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example two_adapters
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
            fc2: LinearConfig::new(32, 1).init(device),
        }
    }

    /// `[batch, 1]` of `[batch, 8]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.fc2.lora_forward(tanh(self.fc1.lora_forward(x)))
    }
}

/// How far the model is from `goal` times the sum of its inputs.
fn distance(model: &Net, x: &Tensor<2>, goal: f32) -> Tensor<1> {
    (model.forward(x.clone()) - x.clone().sum_dim(1) * goal).powi_scalar(2).mean()
}

fn error(model: &Net, x: &Tensor<2>, goal: f32) -> f32 {
    distance(model, x, goal).into_scalar()
}

/// The model after 150 steps towards `goal`: whatever it has that is trainable moves.
fn trained(mut model: Net, x: &Tensor<2>, goal: f32) -> Net {
    let mut optimizer = AdamWConfig::new().init();
    for _ in 0..150 {
        let gradients = GradientsParams::from_grads(distance(&model, x, goal).backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    model
}

/// The program.
pub fn main() -> Result<(), Box<dyn Error>> {
    let device = device::parse("cpu")?.autodiff();
    device.seed(0);
    let base = Net::new(&device);
    let x = Tensor::<2>::random([64, 8], Distribution::Uniform(-0.3, 0.3), &device);
    let both =
        |name: &str| LoraConfig::new(4).with_alpha(8).with_targets(["fc1", "fc2"]).with_name(name);

    let (model, _) = base.clone().with_lora(&both("plus"))?;
    let model = trained(model, &x, 1.0);

    // A second one beside it. Alone in force, it starts from the base and not from what the first has learned.
    let (model, _) = model.with_lora(&both("minus"))?;
    let model = trained(model.with_active_adapters(["minus"])?, &x, -1.0);

    assert_eq!(model.adapter_names(), ["minus", "plus"]);
    for active in [&["plus"][..], &["minus"], &["plus", "minus"], &[]] {
        let model = model.clone().with_active_adapters(active)?;
        let [plus, minus] = [1.0, -1.0].map(|goal| error(&model, &x, goal));
        println!("in force: {active:?}: {plus:.4} from the sum, {minus:.4} from its opposite");
        match active {
            ["plus"] => assert!(plus < 0.05 && minus > 0.5),
            ["minus"] => assert!(minus < 0.05 && plus > 0.5),
            [] => assert!((plus - error(&base, &x, 1.0)).abs() < 1e-5),
            _ => {}
        }
    }

    // Each is saved by its name, and loaded by any name.
    let dir = std::env::temp_dir().join(format!("burn-lora-two-adapters-{}", std::process::id()));
    model.save_named_adapter("minus", &dir)?;
    let (loaded, _) = base.load_adapter_with(&dir, &LoadOptions::new().with_name("again"))?;
    assert!(error(&loaded, &x, -1.0) < 0.05);
    std::fs::remove_dir_all(dir)?;

    // Half of one of them; then without it.
    let half = model.clone().with_active_adapters(["plus"])?.lora_scale("plus", 0.5)?;
    println!("half of `plus`: {:.4} from half the sum", error(&half, &x, 0.5));
    assert_eq!(half.delete_adapter("minus")?.adapter_names(), ["plus"]);
    Ok(())
}
