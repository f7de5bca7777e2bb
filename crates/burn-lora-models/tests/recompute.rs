//! Blocks whose activations are made again give the gradients of those that are kept, bit for bit, whatever is
//! trained and dropped, and take the memory that is counted.
//!
//! Alone in its binary and one test: what is dropped comes from the device's generator, which Burn's CPU backend
//! shares among all threads of a process, and the allocator counts what is alive in all of it.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_lora_counting::{Counting, alive, measured};
use burn_lora_models::footprint::{BatchShape, Learned};
use burn_lora_models::{
    Architecture, CausalConfig, CausalLm, Classifier, ClassifierConfig, Decoder, Model,
    ModelConfig, Recompute, SequenceClassifier, SequenceClassifierConfig, Storage, TrainingPass,
    WeightDtype,
};
use burn_lora_patch::{LoraConfig, Method, patch};

#[global_allocator]
static COUNTING: Counting = Counting;

/// Two rows of tokens.
const IDS: [[i32; 5]; 2] = [[1, 5, 2, 7, 3], [7, 3, 4, 9, 0]];
const LENGTHS: [usize; 2] = [5, 3];

/// A `config.json` for each `model_type` of the registry, with dropout in all of its places.
fn config(model_type: &str) -> String {
    let sizes = match model_type {
        "gpt2" => {
            r#""n_embd": 16, "n_inner": 24, "n_layer": 3, "n_head": 2, "n_positions": 8,
                "embd_pdrop": 0.2, "attn_pdrop": 0.3, "resid_pdrop": 0.4"#
        }
        "bloom" => {
            r#""hidden_size": 16, "n_layer": 3, "n_head": 2, "attention_dropout": 0.3,
                "hidden_dropout": 0.4"#
        }
        "gpt_neox" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 4, "max_position_embeddings": 8, "rotary_pct": 0.5,
                "attention_dropout": 0.3, "hidden_dropout": 0.4"#
        }
        "gemma" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "head_dim": 4,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "attention_dropout": 0.3"#
        }
        // Windows shorter than the rows.
        "gemma2" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "head_dim": 4,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "attention_dropout": 0.3, "sliding_window": 2, "attn_logit_softcapping": 2.0"#
        }
        "gemma3_text" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "head_dim": 4,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "attention_dropout": 0.3, "sliding_window": 2, "sliding_window_pattern": 2"#
        }
        "gemma3" => {
            r#""text_config": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "head_dim": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
                "max_position_embeddings": 8, "attention_dropout": 0.3, "sliding_window": 2,
                "sliding_window_pattern": 3}"#
        }
        "phi3" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "tie_word_embeddings": true, "attention_dropout": 0.3, "resid_pdrop": 0.4,
                "sliding_window": 3"#
        }
        "smollm3" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "attention_dropout": 0.3, "no_rope_layer_interval": 2"#
        }
        "distilbert" => {
            r#""dim": 16, "hidden_dim": 24, "n_layers": 3, "n_heads": 2, "num_labels": 3,
                "max_position_embeddings": 12, "dropout": 0.2, "attention_dropout": 0.3,
                "seq_classif_dropout": 0.4"#
        }
        // Windows shorter than the rows.
        "modernbert" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 2, "max_position_embeddings": 12, "num_labels": 3,
                "local_attention": 4, "global_attn_every_n_layers": 2, "embedding_dropout": 0.2,
                "attention_dropout": 0.3, "mlp_dropout": 0.4, "classifier_dropout": 0.4"#
        }
        "bert" | "roberta" => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 2, "max_position_embeddings": 12, "hidden_act": "gelu",
                "num_labels": 3, "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
                "classifier_dropout": 0.4"#
        }
        _ => {
            r#""hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
                "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8,
                "tie_word_embeddings": true, "attention_dropout": 0.3"#
        }
    };
    format!(
        r#"{{"model_type": "{model_type}", "vocab_size": 11, "initializer_range": 0.3, {sizes}}}"#
    )
}

/// The bits of every parameter's gradient, by path.
type Gradients = BTreeMap<String, Vec<u32>>;

fn bits<M: Module>(model: &M, gradients: &GradientsParams) -> Gradients {
    struct Read<'a> {
        path: Vec<String>,
        gradients: &'a GradientsParams,
        read: Gradients,
    }
    impl ModuleVisitor for Read<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                let values: Vec<f32> = gradient.into_data().try_to_vec().unwrap();
                let bits = values.into_iter().map(f32::to_bits).collect();
                self.read.insert(self.path.join("."), bits);
            }
        }
    }
    let mut read = Read { path: Vec::new(), gradients, read: Gradients::new() };
    model.visit(&mut read);
    read.read
}

/// Moves what is trained from where it starts: a factor B of zeros would give A no gradient.
fn moved<M: Module>(model: M) -> M {
    struct Move;
    impl ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !param.is_require_grad() {
                return param;
            }
            param.map(|old| {
                let by = old.random_like(Distribution::Normal(0.0, 0.1));
                (old.inner() + by.inner()).autodiff().require_grad()
            })
        }
    }
    model.map(&mut Move)
}

/// What is trained of a model.
#[derive(Debug, Clone, Copy)]
enum Trained {
    Adapters(Method),
    /// LoRA in the last layer alone, so that there are layers without gradients below.
    LastLayer,
    Whole,
}

fn trained<M: Model>(mut model: M, trained: Trained) -> M {
    let lora = LoraConfig::new(3).with_dropout(0.2);
    match trained {
        Trained::Adapters(method) => patch(&mut model, &lora.with_method(method)).unwrap(),
        Trained::LastLayer => patch(&mut model, &lora.with_layers_to_transform([2])).unwrap(),
        Trained::Whole => return model,
    };
    moved(model)
}

/// Compares the two ways to take a pass, and gives the gradients.
fn compare<M: Module>(
    what: &str,
    model: &M,
    device: &Device,
    loss: impl Fn(&M) -> Tensor<1>,
) -> Gradients {
    let pass = |seed, recompute| {
        let (gradients, loss) = TrainingPass { seed, recompute }.gradients(model, device, || {
            let loss = loss(model);
            (loss.clone().mul_scalar(0.3), loss.inner())
        });
        (bits(model, &gradients), loss.into_scalar::<f32>().to_bits())
    };
    let (kept, again) = (pass(5, Recompute::None), pass(5, Recompute::Block));
    assert_eq!(kept.1, again.1, "{what}: the losses differ");
    assert!(kept.0.keys().eq(again.0.keys()), "{what}: other parameters have gradients");
    for (path, gradient) in &kept.0 {
        assert_eq!(gradient, &again.0[path], "{what}: {path}");
    }
    // The draws are those of the pass.
    assert_ne!(kept.1, pass(6, Recompute::Block).1, "{what}: nothing was dropped");
    kept.0
}

/// Every way to train a model.
fn check<M: Model>(
    model_type: &str,
    config: &M::Config,
    device: &Device,
    loss: impl Fn(&M) -> Tensor<1>,
) {
    let config = config.clone().with_dropout();
    let methods = Method::ALL.iter().map(|&method| Trained::Adapters(method));
    for what in methods.chain([Trained::LastLayer, Trained::Whole]) {
        let model = trained(M::random(&config, 1, device).unwrap(), what);
        let gradients = compare(&format!("{model_type}, {what:?}"), &model, device, &loss);
        let factors = gradients.iter().filter(|(path, _)| path.contains(".factors."));
        match what {
            Trained::Whole => assert!(
                gradients.keys().any(|path| path.contains("embed"))
                    || gradients.keys().any(|path| path.contains("wte"))
            ),
            _ => assert!(factors.clone().count() > 0),
        }
        for (path, gradient) in factors {
            assert!(gradient.iter().any(|&bits| bits << 1 != 0), "{model_type}: {path} is zero");
        }
    }
}

fn check_decoder(model_type: &str, device: &Device) {
    let config = CausalConfig::from_json(&config(model_type), "config.json".as_ref()).unwrap();
    let ids = || Tensor::<2, Int>::from_ints(IDS, device);
    let loss = |model: &CausalLm, hidden: Tensor<3>| {
        let [rows, tokens, width] = hidden.dims();
        let targets = (0..rows * tokens).map(|token| (token * 3 % 11) as i32).collect();
        Decoder::loss(model, hidden.reshape([rows * tokens, width]), targets)
    };
    check::<CausalLm>(model_type, &config, device, |model| {
        loss(model, model.hidden(ids(), &LENGTHS, None))
    });
    check::<CausalLm>(model_type, &config, device, |model| {
        loss(model, model.hidden_packed(ids(), &[vec![2, 3], vec![4]]))
    });
}

fn check_classifier(model_type: &str, device: &Device) {
    let config =
        SequenceClassifierConfig::from_json(&config(model_type), "config.json".as_ref()).unwrap();
    let config = config.with_num_labels(3);
    check::<SequenceClassifier>(model_type, &config, device, |model| {
        let logits = model.logits(Tensor::<2, Int>::from_ints(IDS, device), &LENGTHS);
        burn_lora_models::loss::cross_entropy(logits, vec![2, 0])
    });
}

/// Without dropout a pass is the backward of the loss, as Burn gives it.
fn check_against_a_whole_graph(device: &Device) {
    let config = CausalConfig::from_json(&config("llama"), "config.json".as_ref()).unwrap();
    let model = CausalLm::random(&config, 1, device).unwrap();
    let loss = || {
        let hidden = model.hidden(Tensor::<2, Int>::from_ints(IDS, device), &LENGTHS, None);
        Decoder::loss(&model, hidden.reshape([10, 16]), (0..10).collect())
    };
    let whole = GradientsParams::from_grads(loss().backward(), &model);
    for recompute in Recompute::ALL {
        let pass = TrainingPass { seed: 0, recompute };
        let (gradients, ()) = pass.gradients(&model, device, || (loss(), ()));
        assert!(bits(&model, &gradients) == bits(&model, &whole), "{recompute:?}");
    }
    assert_eq!(whole.len(), 2 + 3 * 9);
}

/// Adapters over a base that is not held in f32: blocks and halves are what a copy of a layer shares.
fn check_bases(device: &Device) {
    let config = CausalConfig::from_json(&config("llama"), "config.json".as_ref()).unwrap();
    let config = config.with_dropout();
    for dtype in WeightDtype::ALL {
        for &method in Method::ALL {
            let model = CausalLm::random(&config, 1, Storage { device, dtype }).unwrap();
            let model = trained(model, Trained::Adapters(method));
            let gradients = compare(&format!("{dtype:?}, {method}"), &model, device, |model| {
                let ids = Tensor::<2, Int>::from_ints(IDS, device);
                let hidden = model.hidden(ids, &LENGTHS, None);
                Decoder::loss(model, hidden.reshape([10, 16]), (0..10).collect())
            });
            assert!(gradients.keys().all(|path| path.contains(".factors.")), "{dtype:?}");
        }
    }
}

/// One row of 512 tokens, of which all carry loss, for counts of memory.
const LONG: BatchShape = BatchShape { rows: 1, width: 512, segments: None, targets: 512 };

fn long_row(device: &Device) -> Tensor<2, Int> {
    let ids: Vec<i32> = (0..512).map(|token| token % 61).collect();
    Tensor::<1, Int>::from_ints(ids.as_slice(), device).reshape([1, 512])
}

/// The most that is alive in a pass over one row of 512 tokens, above what was alive before, is what is counted
/// from shapes: activations, and the gradients of what is trained.
fn check_memory(device: &Device) {
    let text = r#"{"model_type": "llama", "vocab_size": 64, "hidden_size": 128,
        "intermediate_size": 384, "num_hidden_layers": 8, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": true}"#;
    let config = CausalConfig::from_json(text, "config.json".as_ref()).unwrap();
    let mut model = CausalLm::random(&config, 1, device).unwrap();
    let trained = patch(&mut model, &LoraConfig::new(4)).unwrap().trainable();
    let model = moved(model);
    let peak = |recompute| {
        let pass = TrainingPass { seed: 0, recompute };
        let gradients = || {
            let (gradients, ()) = pass.gradients(&model, device, || {
                let hidden = model.hidden(long_row(device), &[512], None);
                (Decoder::loss(&model, hidden.reshape([512, 128]), vec![3; 512]), ())
            });
            drop(gradients);
        };
        measured(gradients).1.most
    };
    let learned = |path: &str| match path.ends_with("_proj") {
        true => Learned::Factors { rank: 4, kept: 4, input: true },
        false => Learned::Nothing,
    };
    let footprint = config.about().cost().footprint(&LONG, &learned);
    // What is made once (threads, the graph's tables) is not part of a pass.
    peak(Recompute::Block);
    let shares = Recompute::ALL.map(|recompute| {
        let counted = footprint.with(recompute).step() + 4 * trained as u64;
        let measured = peak(recompute) as u64;
        let share = counted as f64 / measured as f64;
        println!("{recompute:?}: counted {counted}, measured {measured} bytes: {share:.3}");
        share
    });
    // The panels that products pack and the graph are not counted; what a block's last linear has given back when
    // the backward of its activation begins is.
    assert!(shares.iter().all(|share| (0.85..1.2).contains(share)), "{shares:?}");
}

/// What a forward pass over one row of 512 tokens leaves alive is what is counted: the outputs of fused norms, of gates and of GELU's
/// approximation are made again where a linear above them needs one.
fn check_kept(device: &Device) {
    let gated = r#""hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "head_dim": 32,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 512"#;
    let plain = r#""n_embd": 128, "n_layer": 4, "n_head": 4, "n_positions": 512"#;
    let shares: Vec<_> = [("llama", gated), ("gemma", gated), ("olmo2", gated), ("gpt2", plain)]
        .into_iter()
        .map(|(model_type, sizes)| {
            let text = format!(r#"{{"model_type": "{model_type}", "vocab_size": 64, {sizes}}}"#);
            let config = CausalConfig::from_json(&text, "config.json".as_ref()).unwrap();
            let mut model = CausalLm::random(&config, 1, device).unwrap();
            let all = LoraConfig::new(4).with_targets("all-linear");
            patch(&mut model, &all).unwrap();
            let pass = || {
                let ids = long_row(device);
                let before = alive();
                let hidden = model.hidden(ids, &[512], None);
                (alive() - before, hidden)
            };
            // What is made once is not part of a pass.
            drop(pass());
            let (measured, hidden) = pass();
            drop(hidden);
            let learned = |path: &str| match path.contains("proj") || path.contains(".c_") {
                true => Learned::Factors { rank: 4, kept: 4, input: true },
                false => Learned::Nothing,
            };
            let counted = config.about().cost().footprint(&LONG, &learned).kept;
            // Beside it there is what the pass gives.
            let share = (counted + 4 * 512 * 128) as f64 / measured as f64;
            println!("{model_type}: counted {counted}, measured {measured} bytes: {share:.3}");
            share
        })
        .collect();
    // The graph itself is not counted.
    assert!(shares.iter().all(|share| (0.97..1.01).contains(share)), "{shares:?}");
}

#[test]
fn recomputed_blocks_give_the_same_gradients_in_the_memory_that_is_counted() {
    let device = burn_lora::device::parse("cpu").unwrap().autodiff();
    check_against_a_whole_graph(&device);
    for architecture in Architecture::all() {
        match architecture.is_causal() {
            true => check_decoder(architecture.model_type(), &device),
            false => check_classifier(architecture.model_type(), &device),
        }
    }
    check_bases(&device);
    check_memory(&device);
    check_kept(&device);
}
