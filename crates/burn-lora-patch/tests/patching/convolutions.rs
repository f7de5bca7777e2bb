//! Adapters on convolutions of an unchanged model: what picks them, what they are in files, and groups that PEFT cannot merge.

use std::collections::BTreeMap;
use std::fs;

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Tensor};
use burn_lora_patch::prelude::*;
use burn_lora_patch::{LayerStatus, Scan, peft, trainable_ids};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::mlp::{bits, cpu, tracked, with_trained_factors};

/// Two convolutions of images, the second with groups, one of sequences, and a head.
#[derive(Module, Debug)]
struct Net {
    first: Conv2d,
    second: Conv2d,
    over_time: Conv1d,
    head: Linear,
}

const GROUPS: usize = 2;

impl Net {
    fn new(device: &Device) -> Self {
        let net = Self {
            first: Conv2dConfig::new([3, 8], [3, 3])
                .with_stride([2, 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device),
            second: Conv2dConfig::new([8, 6], [3, 2])
                .with_dilation([2, 1])
                .with_groups(GROUPS)
                .init(device),
            over_time: Conv1dConfig::new(6, 5, 2).init(device),
            head: LinearConfig::new(5, 4).init(device),
        };
        let _ = bits(&net);
        net
    }

    /// As anyone writes it.
    fn forward(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.second.forward(self.first.forward(x).tanh()).tanh();
        self.scores(x, |conv, x| conv.forward(x))
    }

    fn factored(&self, x: Tensor<4>) -> Tensor<2> {
        let x = self.second.lora_forward(self.first.lora_forward(x).tanh()).tanh();
        self.scores(x, |conv, x| conv.lora_forward(x))
    }

    fn scores(&self, x: Tensor<4>, conv: impl Fn(&Conv1d, Tensor<3>) -> Tensor<3>) -> Tensor<2> {
        let [batch, channels, rows, columns] = x.dims();
        let x = conv(&self.over_time, x.reshape([batch, channels, rows * columns]));
        self.head.lora_forward(x.mean_dim(2).squeeze_dim::<2>(2))
    }
}

fn images(device: &Device) -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 3 * 11 * 9).map(|at| (at as f32 * 0.37).sin()).collect();
    Tensor::<1>::from_data(values.as_slice(), device).reshape([2, 3, 11, 9])
}

fn scores(net: &Net) -> Vec<f32> {
    net.forward(images(&cpu())).into_data().as_slice::<f32>().unwrap().to_vec()
}

fn factored(net: &Net) -> Vec<f32> {
    net.factored(images(&cpu())).into_data().as_slice::<f32>().unwrap().to_vec()
}

fn near(what: &str, ours: &[f32], theirs: &[f32]) {
    for (ours, theirs) in ours.iter().zip(theirs) {
        // Sums of some hundred products, of size 30 together, in another order: some tens of roundings of 2e-6.
        assert!((ours - theirs).abs() < 1e-4, "{what}: {ours} is not {theirs}");
    }
}

fn config(method: Method) -> LoraConfig {
    LoraConfig::new(4).with_targets(["first", "second", "over_time"]).with_method(method)
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn file(dir: &std::path::Path) -> Tensors {
    let bytes = fs::read(dir.join(peft::TENSORS_FILE)).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let read = |view: TensorView<'_>| {
        let chunks = view.data().as_chunks().0.iter();
        let values: Vec<f32> = chunks.map(|it| f32::from_le_bytes(*it)).collect();
        (view.shape().to_vec(), values)
    };
    tensors.tensors().into_iter().map(|(key, view)| (key, read(view))).collect()
}

fn written(dir: &std::path::Path, tensors: &Tensors) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(key, (shape, values))| {
            (key.clone(), shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(key, shape, bytes)| {
        (key, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    let whole = safetensors::serialize(views, None).unwrap();
    fs::write(dir.join(peft::TENSORS_FILE), whole).unwrap();
}

#[test]
fn convolutions_are_adapted_where_targets_name_them_saved_as_pefts_and_merged() {
    for method in [Method::Lora, Method::Dora] {
        let base = Net::new(&cpu());
        let before = scores(&base);
        let (model, report) = base.clone().with_lora(&config(method)).unwrap();
        assert!(
            report.to_string().contains("adapted: 0 of 1 linears, 3 convolutions\n"),
            "{report}"
        );
        assert!(report.warnings().is_empty(), "{report}");
        // A and B: of `first` 27 inputs, of `second` 24 and the rank over its groups, of `over_time` 12.
        let factors = 4 * (27 + 8) + (4 * 24 + 4 / GROUPS * 6) + 4 * (12 + 5);
        let magnitudes = if method == Method::Dora { 8 + 6 + 5 } else { 0 };
        assert_eq!(report.trainable(), factors + magnitudes);
        near("start", &scores(&model), &before);

        let model = with_trained_factors(model);
        let adapted = scores(&model);
        assert!(adapted.iter().zip(&before).any(|(ours, base)| (ours - base).abs() > 1e-2));
        near("factored", &factored(&model), &adapted);

        let dir = tempfile::tempdir().unwrap();
        model.save_adapter(dir.path()).unwrap();
        let tensors = file(dir.path());
        let shape = |end: &str| tensors[&format!("base_model.model.{end}")].0.clone();
        assert_eq!(shape("first.lora_A.weight"), [4, 3, 3, 3]);
        assert_eq!(shape("first.lora_B.weight"), [8, 4, 1, 1]);
        assert_eq!(shape("second.lora_A.weight"), [4, 8, 3, 2], "all channels, as PEFT's");
        assert_eq!(shape("second.lora_B.weight"), [6, 2, 1, 1]);
        assert_eq!(shape("over_time.lora_A.weight"), [4, 6, 2]);
        assert_eq!(shape("over_time.lora_B.weight"), [5, 4, 1]);
        if method == Method::Dora {
            assert_eq!(shape("second.lora_magnitude_vector"), [1, 6, 1, 1]);
        }
        let (loaded, report) = base.clone().load_adapter(dir.path()).unwrap();
        assert!(report.warnings().is_empty(), "{report}");
        assert_eq!(bits(&loaded), bits(&model));
        assert_eq!(scores(&loaded), adapted);

        // Merged beside the base, back, and for good.
        let all = bits(&model);
        let merged = model.clone().merge_lora().unwrap();
        near("merged", &scores(&merged), &adapted);
        near("merged, factored", &factored(&merged), &adapted);
        assert_eq!(bits(&merged.unmerge_lora().unwrap()), all);
        let folded = model.clone().merge_and_unload_lora().unwrap();
        assert_eq!(folded.num_params(), base.num_params());
        near("for good", &scores(&folded), &adapted);
        assert_eq!(bits(&model.unload_lora()), bits(&base));
    }
}

/// LoRA-FA's A is frozen, and MiSS, which PEFT has for linear layers alone, deals no rank out to groups.
#[test]
fn miss_and_lora_fa_adapt_convolutions_too() {
    for (method, trainable, warnings) in
        [(Method::Miss, 4 * (8 + 6 + 5), 1), (Method::LoraFa, 4 * 8 + 4 / GROUPS * 6 + 4 * 5, 0)]
    {
        let base = Net::new(&cpu());
        let before = scores(&base);
        let (model, report) = base.clone().with_lora(&config(method)).unwrap();
        assert_eq!(
            (report.trainable(), report.warnings().len()),
            (trainable, warnings),
            "{report}"
        );
        near("start", &scores(&model), &before);
        let model = with_trained_factors(model);
        let adapted = scores(&model);
        assert!(adapted.iter().zip(&before).any(|(ours, base)| (ours - base).abs() > 1e-2));
        near("factored", &factored(&model), &adapted);

        let dir = tempfile::tempdir().unwrap();
        model.save_adapter(dir.path()).unwrap();
        if method == Method::Miss {
            let tensors = file(dir.path());
            assert_eq!(tensors["base_model.model.second.miss_block"].0, [4, 6, 1, 1]);
        }
        let (loaded, _) = base.clone().load_adapter(dir.path()).unwrap();
        assert_eq!(scores(&loaded), adapted);
        let folded = model.clone().merge_and_unload_lora().unwrap();
        near("for good", &scores(&folded), &adapted);
        assert_eq!(bits(&model.unload_lora()), bits(&base));
    }
}

#[test]
fn three_steps_train_the_factors_of_an_unchanged_model_and_nothing_else() {
    let device = cpu().autodiff();
    // A row of MiSS's block learns from many inputs at once.
    for (method, trained, rate) in [
        (Method::Lora, 6, 0.03),
        (Method::Dora, 9, 0.03),
        (Method::LoraFa, 3, 0.03),
        (Method::Miss, 3, 0.003),
    ] {
        let base = Net::new(&device);
        let (mut model, _) = base.clone().with_lora(&config(method)).unwrap();
        assert_eq!(trainable_ids(&model).len(), trained);
        assert!(tracked(&model).iter().all(|path| path.contains(".weight.lora.")));
        let loss = |model: &Net| {
            let scores = model.forward(images(&device));
            (scores - 1.0).powf_scalar(2.0).mean()
        };
        let value = |loss: Tensor<1>| -> f32 { loss.into_scalar() };
        let first = value(loss(&model));
        let mut optimizer = SgdConfig::new().init();
        for _ in 0..3 {
            let grads = GradientsParams::from_grads(loss(&model).backward(), &model);
            model = optimizer.step(rate, model, grads);
        }
        assert!(value(loss(&model)) < first, "{method}");
        assert_eq!(bits(&model.unload_lora()), bits(&base));
    }
}

#[test]
fn names_pick_convolutions_and_all_linear_does_not() {
    let net = Net::new(&cpu());
    let plan = |config: LoraConfig| net.plan_lora(&config);
    let of = |config| {
        let report = plan(config).unwrap();
        let convolutions = report.layers().iter().filter(|layer| layer.kernel.is_some());
        (report.adapted(), convolutions.map(|it| it.status.clone()).collect::<Vec<_>>())
    };
    assert_eq!(of(LoraConfig::new(2)), (1, vec![]));
    let two = LoraConfig::new(2).with_targets(Targets::regex("first|head"));
    assert_eq!(of(two.clone()), (2, vec![LayerStatus::Adapted]));
    let excluded = two.with_exclude(["first"]);
    assert_eq!(of(excluded), (1, vec![LayerStatus::Excluded { by: "first".into() }]));

    let told = |config| plan(config).unwrap_err().to_string();
    let misspelt = told(LoraConfig::new(2).with_targets(["secnd"]));
    assert!(misspelt.contains("did you mean `second`?"), "{misspelt}");
    let kind = told(LoraConfig::new(2).with_targets(["first"]).with_method(Method::LoraBias));
    let part = "names a convolution (`first`): this kind of adapter is for linear layers";
    assert!(kind.contains(part), "{kind}");
    let rank = told(LoraConfig::new(3).with_targets(["second"]));
    assert!(rank.contains("`second`") && rank.contains("2 divides (2 or 4)"), "{rank}");
    let start = told(config(Method::Lora).with_init(Init::Pissa));
    assert!(start.contains("starts with kaiming or gaussian"), "{start}");
    let scan = Scan::of(&net);
    let groups = scan.convolutions().iter().map(|it| it.kernel.as_ref().unwrap().groups);
    assert_eq!(groups.collect::<Vec<_>>(), [1, GROUPS, 1]);
}

/// An A as PEFT trains it sees the channels of all groups, which no convolution with groups does.
#[test]
fn an_adapter_across_groups_is_read_and_merged_and_told_of() {
    let base = Net::new(&cpu());
    for method in [Method::Lora, Method::Dora] {
        let (model, _) = base.clone().with_lora(&config(method)).unwrap();
        let mut model = with_trained_factors(model);
        let dir = tempfile::tempdir().unwrap();
        model.save_adapter(dir.path()).unwrap();
        let mut tensors = file(dir.path());
        let (_, values) = tensors.get_mut("base_model.model.second.lora_A.weight").unwrap();
        let zeros = values.iter().filter(|value| **value == 0.0).count();
        assert_eq!(zeros, values.len() / GROUPS);
        for (at, value) in values.iter_mut().enumerate() {
            *value = 0.2 * (0.11 * at as f32).cos();
        }
        written(dir.path(), &tensors);

        let error = peft::load_into(&mut model, "default", dir.path()).unwrap_err().to_string();
        assert!(error.contains("second.lora_A.weight` sees the channels of all groups"), "{error}");
        let (loaded, report) = base.clone().load_adapter(dir.path()).unwrap();
        let warning = &report.warnings()[0];
        assert!(warning.contains("`second` is a convolution with groups"), "{report}");
        assert!(warning.contains("`lora_forward`"), "{report}");
        let trainable = LoadOptions::new().with_trainable(true);
        let report = peft::load(&mut base.clone(), dir.path(), &trainable).unwrap();
        let counted: usize = tensors.values().map(|(_, values)| values.len()).sum();
        assert_eq!(report.trainable(), counted);
        let adapted = factored(&loaded);
        let merged = loaded.clone().merge_lora().unwrap();
        near("merged", &factored(&merged), &adapted);
        assert_eq!(factored(&merged.unmerge_lora().unwrap()), adapted);
        let error = loaded.clone().merge_and_unload_lora().unwrap_err();
        let is_told = matches!(&error, PatchError::CrossesGroups { layer } if layer == "second");
        assert!(is_told, "{error}");
        // Written again as it was read.
        let again = tempfile::tempdir().unwrap();
        loaded.save_adapter(again.path()).unwrap();
        assert_eq!(file(again.path()), tensors);
    }
}
