//! An adapter goes out to Hugging Face's PEFT, and comes in from it: one directory, read and written by both.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example peft_files
//! ```
//!
//! PEFT reads what this writes with `PeftModel.from_pretrained(base, dir)`, where the modules of `base` have the same paths; and `load_adapter` reads what
//! PEFT's `save_pretrained(dir)` wrote.

use std::error::Error;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Distribution, Tensor};
use burn_lora_patch::{device, peft, prelude::*};

/// Fields have the names that the model has in Python, so that paths are the same: `layers.0.q_proj`.
#[derive(Module, Debug)]
struct Layer {
    q_proj: Linear,
    v_proj: Linear,
}

#[derive(Module, Debug)]
struct Model {
    layers: Vec<Layer>,
}

impl Model {
    fn new(device: &Device) -> Self {
        let linear = || LinearConfig::new(16, 16).init(device);
        Self { layers: (0..2).map(|_| Layer { q_proj: linear(), v_proj: linear() }).collect() }
    }

    /// `[batch, 16]` of `[batch, 16]`.
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.layers
            .iter()
            .fold(x, |x, layer| layer.q_proj.lora_forward(x.clone()) * layer.v_proj.lora_forward(x))
    }
}

/// The program.
pub fn main() -> Result<(), Box<dyn Error>> {
    let device = device::parse("cpu")?;
    let base = Model::new(&device);
    let x = Tensor::<2>::random([4, 16], Distribution::Default, &device);
    let dir = std::env::temp_dir().join(format!("burn-lora-peft-files-{}", std::process::id()));

    // Out. The base's name is for whoever loads the adapter: PEFT fetches the base by it.
    let config = LoraConfig::new(4)
        .with_alpha(8)
        .with_targets(["q_proj", "v_proj"])
        .with_base_model("my-organisation/my-model");
    let (model, _) = base.clone().with_lora(&config)?;
    model.save_adapter(&dir)?;
    for file in std::fs::read_dir(&dir)? {
        let file = file?;
        println!("{}: {} bytes", file.file_name().display(), file.metadata()?.len());
    }

    // In. The directory says what it needs before any weight is read.
    let written = peft::read_config(&dir)?;
    println!(
        "rank {}, alpha {}, of {:?}",
        written.r, written.lora_alpha, written.base_model_name_or_path
    );
    let (loaded, report) = base.load_adapter(&dir)?;
    println!("{report}");
    assert_eq!(loaded.forward(x.clone()).into_data(), model.forward(x).into_data());

    // A model that the adapter does not fit says what does not.
    let other = LinearConfig::new(16, 16).init(&device);
    println!("\n{}", other.load_adapter(&dir).unwrap_err());
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
