//! bunsen's models: the paths are those of its own fields.

mod round_trip;

use bunsen::burner::module::ModuleInit;
use bunsen::kits::gpts::nanochat::{NanoChatGpt, NanoChatGptContractConfig};
use bunsen::kits::gpts::qwen3::{Qwen3Config, Qwen3Model};
use bunsen::kits::images::resnet::{ResNet, ResNetContractConfig};
use bunsen::kits::images::swin::v2::{
    LayerConfig, SwinTransformerV2, SwinTransformerV2ContractConfig,
};
use burn::tensor::{Device, Tensor};
use burn_lora_patch::Scan;
use round_trip::{Case, VOCABULARY, device, next_tokens, round_trip, tokens};

/// Four images of 3 x 32 x 32, whose values are neither random nor constant.
fn images(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..4 * 3 * 32 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape([4, 3, 32, 32])
}

/// `names` in each of two layers.
fn in_both(prefix: impl Fn(usize) -> String, names: &[&str]) -> Vec<String> {
    let paths = |layer| names.iter().map(move |name| (layer, *name));
    (0..2).flat_map(paths).map(|(layer, name)| format!("{}.{name}", prefix(layer))).collect()
}

#[test]
fn nanochat() {
    let (device, _alone) = device();
    let base: NanoChatGpt = NanoChatGptContractConfig::new()
        .with_vocab_size(VOCABULARY)
        .with_n_layer(2)
        .with_n_head(4)
        .with_n_kv_head(2)
        .with_n_embed(32)
        .with_init_seq_len(8)
        .init(&device);
    // `mlp` holds an enum, whose variant is a segment of its own.
    let names =
        ["attn.c_q", "attn.c_k", "attn.c_v", "attn.c_proj", "mlp.Mlp.linear1", "mlp.Mlp.linear2"];
    let case = Case {
        names: &["c_q", "c_k", "c_v", "c_proj", "linear1", "linear2"],
        regex: r"h\.\d+\..*",
        adapted: in_both(|layer| format!("h.{layer}"), &names),
        linears: 13,
        warning: None,
        goal: next_tokens(),
    };
    round_trip(base, &device, &case, |model, device| {
        model.forward(tokens(device), &mut None).reshape([16, VOCABULARY])
    });
}

#[test]
fn qwen3() {
    let (device, _alone) = device();
    let base: Qwen3Model = Qwen3Config::new(VOCABULARY, 32, 2, 4, 2, 8, 64).init(&device);
    let names = [
        "attn.c_q",
        "attn.c_k",
        "attn.c_v",
        "attn.c_proj",
        "mlp.Gated.gate_proj",
        "mlp.Gated.up_proj",
        "mlp.Gated.down_proj",
    ];
    // The head is the embedding, which is no linear.
    let case = Case {
        names: &["attn.c_q", "c_k", "c_v", "attn.c_proj", "gate_proj", "up_proj", "down_proj"],
        regex: r".*\.(attn\.c_\w+|mlp\.Gated\.\w+_proj)",
        adapted: in_both(|layer| format!("layers.{layer}"), &names),
        linears: 14,
        warning: None,
        goal: next_tokens(),
    };
    round_trip(base, &device, &case, |model, device| {
        let rotary = model.rotary(8, device);
        let hidden = model.forward_hidden(model.embed(tokens(device)), &rotary, None);
        model.logits(hidden).reshape([16, VOCABULARY])
    });
}

#[test]
fn swin_v2() {
    let (device, _alone) = device();
    let layers = vec![LayerConfig::new(2, 2), LayerConfig::new(2, 4)];
    let config = SwinTransformerV2ContractConfig::new([32, 32], 4, 3, 5, 16, layers);
    let base: SwinTransformerV2 = config.with_window_size(4).init(&device);
    let names = ["q_linear", "k_linear", "v_linear", "proj"];
    let stage = |stage: usize| {
        let block =
            |block| format!("grid_transformer_block_sequences.{stage}.blocks.{block}.win_attn");
        in_both(block, &names)
    };
    // Eight in each of four blocks, the merging of patches, and the head.
    let case = Case {
        names: &["q_linear", "k_linear", "v_linear", "win_attn.proj"],
        regex: r".*\.win_attn\.([qkv]_linear|proj)",
        adapted: [stage(0), stage(1)].concat(),
        linears: 34,
        warning: None,
        goal: vec![0, 3, 1, 4],
    };
    round_trip(base, &device, &case, |model, device| model.forward(images(device)));
}

/// The convolution that cuts a picture into patches.
#[test]
fn swin_v2_convolutions() {
    let (device, _alone) = device();
    let layers = vec![LayerConfig::new(2, 2), LayerConfig::new(2, 4)];
    let config = SwinTransformerV2ContractConfig::new([32, 32], 4, 3, 5, 16, layers);
    let base: SwinTransformerV2 = config.with_window_size(4).init(&device);
    let scan = Scan::of(&base);
    let paths: Vec<String> = scan.convolutions().iter().map(|layer| layer.path.clone()).collect();
    let [path] = &paths[..] else { panic!("one convolution: {paths:?}") };
    let case = Case {
        names: &[path],
        regex: &path.replace('.', r"\."),
        adapted: paths.clone(),
        linears: 34,
        warning: None,
        goal: vec![0, 3, 1, 4],
    };
    round_trip(base, &device, &case, |model, device| model.forward(images(device)));
}

#[test]
fn resnet() {
    let (device, _alone) = device();
    let config = ResNetContractConfig::new(vec![1, 1, 1, 1], 5).with_stem_width(8);
    let base: ResNet = config.init(&device);
    let case = Case {
        names: &["output_fc"],
        regex: "output_.*",
        adapted: vec!["output_fc".to_owned()],
        linears: 1,
        warning: Some("keep running statistics, which are held still"),
        goal: vec![0, 3, 1, 4],
    };
    round_trip(base, &device, &case, |model, device| model.forward(images(device)));
}

/// The first convolution of every block; norms and activations stand between them.
#[test]
fn resnet_convolutions() {
    let (device, _alone) = device();
    let config = ResNetContractConfig::new(vec![1, 1, 1, 1], 5).with_stem_width(8);
    let base: ResNet = config.init(&device);
    let scan = Scan::of(&base);
    let paths = scan.convolutions().iter().map(|layer| layer.path.clone());
    let adapted: Vec<String> = paths.filter(|path| path.ends_with(".cb1.conv")).collect();
    assert_eq!(adapted.len(), 4, "one in each of four layers of one block");
    let case = Case {
        names: &["cb1.conv"],
        regex: r".*\.cb1\.conv",
        adapted,
        linears: 1,
        warning: Some("keep running statistics, which are held still"),
        goal: vec![0, 3, 1, 4],
    };
    round_trip(base, &device, &case, |model, device| model.forward(images(device)));
}
