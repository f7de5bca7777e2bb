//! A model of your own, adapted: what is there to adapt, what was picked, and what a typing error says.
//!
//! ```console
//! cargo run --release -p burn-lora-patch --example own_model
//! ```

use std::error::Error;

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};
use burn_lora_patch::{device, prelude::*};

#[derive(Module, Debug)]
struct Block {
    fc1: Linear,
    fc2: Linear,
}

#[derive(Module, Debug)]
struct Classifier {
    embedding: Embedding,
    blocks: Vec<Block>,
    head: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        let block = |_| Block {
            fc1: LinearConfig::new(16, 32).init(device),
            fc2: LinearConfig::new(32, 16).init(device),
        };
        Self {
            embedding: EmbeddingConfig::new(20, 16).init(device),
            blocks: (0..2).map(block).collect(),
            head: LinearConfig::new(16, 3).init(device),
        }
    }

    /// Logits `[batch, 3]` of ids `[batch, length]`.
    ///
    /// `lora_forward` stands where `forward` would: without an adapter it is `forward`, with one it takes the factored path. A
    /// model that calls `forward` is adapted all the same; each step costs more, and `LoraConfig`'s dropout does not act in it.
    fn forward(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let [batch, _] = ids.dims();
        let mut x = self.embedding.forward(ids);
        for block in &self.blocks {
            x = x.clone() + block.fc2.lora_forward(relu(block.fc1.lora_forward(x)));
        }
        self.head.lora_forward(x.mean_dim(1).reshape([batch, 16]))
    }
}

/// The program.
pub fn main() -> Result<(), Box<dyn Error>> {
    let device = device::parse("cpu")?.autodiff();
    let model = Classifier::new(&device);
    let ids = Tensor::<2, Int>::from_data([[1, 5, 2, 19], [0, 7, 7, 3]], &device);
    let before = model.forward(ids.clone());

    // What there is: a plan lists every linear layer with its path, and changes nothing.
    let everything = LoraConfig::new(4).with_targets("all-linear").with_heads(["head"]);
    println!("{}", model.plan_lora(&everything)?.table());

    // A target is a whole path or the end of one; what matches nothing is an error.
    let typo = LoraConfig::new(4).with_targets(["fc3"]);
    println!("{}\n", model.plan_lora(&typo).unwrap_err());

    // The head is new to the task, so it is trained whole and saved with the adapter.
    let config = LoraConfig::new(4)
        .with_alpha(8)
        .with_targets(["fc1", "fc2"])
        .with_modules_to_save(["head"]);
    let (model, report) = model.with_lora(&config)?;
    println!("{report}");
    assert_eq!(report.adapted(), 4);

    // Factor B starts at zero: before the first step nothing is changed but the order of some sums.
    let moved: f32 = (model.forward(ids) - before).abs().max().into_scalar();
    assert!(moved < 1e-5);
    Ok(())
}
