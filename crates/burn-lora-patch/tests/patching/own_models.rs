//! Models as users write them: what moves while an adapter is trained, what a clone shares, how weights
//! are held and lie, weights in two places, and heads of other names.

use burn::module::{Module, Param, ParamId, Quantizer, RunningState};
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::quantization::{Calibration, QuantValue};
use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};
use burn_lora_patch::prelude::*;
use burn_lora_patch::{NamedTensor, TargetProblem, peft, trainable_ids, trainable_tensors};

use crate::mlp::{bits, cpu, tracked, with_trained_factors};

/// A net with statistics, and a head of a name of its own.
#[derive(Module, Debug)]
struct Net {
    conv: Conv1d,
    rnn: Pair,
    norm: BatchNorm,
    head: Linear,
}

#[derive(Module, Debug)]
struct Pair {
    first: Linear,
    second: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let net = Self {
            conv: Conv1dConfig::new(1, 1, 1).init(device),
            rnn: Pair {
                first: LinearConfig::new(4, 6).init(device),
                second: LinearConfig::new(6, 6).init(device),
            },
            norm: BatchNormConfig::new(6).init(device),
            head: LinearConfig::new(6, 2).init(device),
        };
        // Made now: clones of a lazy parameter are a test of their own.
        let _ = bits(&net);
        net
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let x = self.rnn.second.forward(self.rnn.first.forward(x).tanh());
        self.head.forward(self.norm.forward(x))
    }
}

fn input(device: &Device) -> Tensor<2> {
    let values: Vec<f32> = (0..5 * 4).map(|i| (0.37 * i as f32).sin() * 2.0 + 0.5).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([5, 4])
}

/// Five steps on whatever is trained.
fn trained<M: Module>(mut model: M, forward: impl Fn(&M, Tensor<2>) -> Tensor<2>) -> M {
    let device = cpu().autodiff();
    let mut optimizer = SgdConfig::new().init();
    for _ in 0..5 {
        let loss = forward(&model, input(&device)).powi_scalar(2).mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(0.05, model, gradients);
    }
    model
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(FloatDType::F32).into_data().try_to_vec().unwrap()
}

fn evaluated(model: &Net) -> Vec<f32> {
    values(model.valid().forward(input(&cpu())))
}

fn statistics(model: &Net) -> Vec<f32> {
    let norm = model.valid().norm;
    [values(norm.running_mean.value()), values(norm.running_var.value())].concat()
}

/// The statistics of the base moved while its adapter was trained, and were saved nowhere.
#[test]
fn statistics_of_a_norm_are_held_still_while_the_adapter_is_trained() {
    let base = Net::new(&cpu().autodiff());
    let before = statistics(&base);
    let config = LoraConfig::new(2).with_targets(["first"]);
    let (model, report) = base.clone().with_lora(&config).unwrap();
    assert!(report.warnings()[0].contains("`norm` keeps running statistics"), "{report}");
    let model = trained(model, Net::forward);
    assert_ne!(evaluated(&model), evaluated(&base), "something was learned");
    assert_eq!(statistics(&model), before);
    assert_eq!(statistics(&base), before);

    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let (loaded, _) = base.clone().load_adapter(dir.path()).unwrap();
    assert_eq!(evaluated(&loaded), evaluated(&model));
    assert_eq!(evaluated(&model.unload_lora()), evaluated(&base));
}

/// Of a norm that is trained whole, the last update of the statistics was not in the file.
#[test]
fn a_norm_that_is_trained_whole_is_saved_with_its_statistics() {
    let base = Net::new(&cpu().autodiff());
    let (before, weights) = (statistics(&base), bits(&base));
    let config = LoraConfig::new(2).with_targets(["first"]).with_modules_to_save(["norm"]);
    let (model, report) = base.clone().with_lora(&config).unwrap();
    assert!(!report.to_string().contains("held still"), "{report}");
    let model = trained(model, Net::forward);
    assert_ne!(statistics(&model), before);
    assert_eq!((statistics(&base), bits(&base)), (before.clone(), weights), "a clone is a clone");

    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let (loaded, _) = base.clone().load_adapter(dir.path()).unwrap();
    assert_eq!(statistics(&loaded), statistics(&model));
    assert_eq!(evaluated(&loaded), evaluated(&model));
    assert_eq!(statistics(&base), before, "loading into a clone is not loading into the other");
}

/// A module of the user's own, with state that no flag stops.
#[derive(Module, Debug)]
struct Counting {
    fc: Linear,
    seen: RunningState<Tensor<1>>,
}

impl Counting {
    fn new(device: &Device) -> Self {
        let fc = LinearConfig::new(4, 4).init(device);
        let _ = fc.weight.val();
        Self { fc, seen: RunningState::new(Tensor::zeros([1], device)) }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.seen.update(self.seen.value_sync() + 1.0);
        self.fc.forward(x)
    }
}

#[test]
fn state_that_nothing_stops_is_told_of_and_saved_with_the_adapter() {
    let base = Counting::new(&cpu().autodiff());
    let (model, report) = base.clone().with_lora(&LoraConfig::new(2)).unwrap();
    assert!(report.to_string().contains("no flag stops"), "{report}");
    let model = trained(model, Counting::forward);
    let seen = |model: &Counting| values(model.valid().seen.value());
    assert_eq!((seen(&base), seen(&model)), (vec![0.0], vec![5.0]));
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let (loaded, _) = base.clone().load_adapter(dir.path()).unwrap();
    assert_eq!((seen(&base), seen(&loaded)), (vec![0.0], vec![5.0]));
}

/// Burn's clones of a parameter that is not made yet share whether it is trained.
#[test]
fn patching_a_clone_leaves_the_original_trainable_though_nothing_is_made_yet() {
    let device = cpu().autodiff();
    let pair = || Pair {
        first: LinearConfig::new(4, 4).init(&device),
        second: LinearConfig::new(4, 4).init(&device),
    };
    let original = pair();
    let (patched, _) =
        original.clone().with_lora(&LoraConfig::new(2).with_targets(["first"])).unwrap();
    assert_eq!(tracked(&original).len(), 4);
    assert!(tracked(&patched).iter().all(|path| path.contains(".lora.")));
    assert_eq!(values(patched.second.weight.val()), values(original.second.weight.val()));
    let trained = trained(original.clone(), |model, x| model.first.forward(x));
    assert_ne!(values(trained.first.weight.val()), values(original.first.weight.val()));

    let linear = LinearConfig::new(4, 4).init(&device);
    let adapter = burn_lora_patch::Adapter::init(
        "default",
        &burn_lora_patch::AdapterConfig::new(2),
        &linear.weight,
        0,
    );
    burn_lora::attach(linear.clone(), "weight", adapter.unwrap()).unwrap();
    assert_eq!(tracked(&linear).len(), 2, "attaching by hand");
}

/// Burn says the stored shape of a column layout until the weight is made, and the other one from then on.
#[test]
fn a_weight_in_column_layout_is_adapted_as_it_will_lie() {
    for bias in [true, false] {
        let linear = LinearConfig::new(4, 6)
            .with_bias(bias)
            .with_layout(burn::nn::LinearLayout::Col)
            .init(&cpu());
        let net = Pair { first: linear, second: LinearConfig::new(6, 2).init(&cpu()) };
        let (model, report) = net.with_lora(&LoraConfig::new(2).with_targets(["first"])).unwrap();
        assert_eq!((report.layers()[0].d_in, report.layers()[0].d_out), (4, 6));
        assert_eq!(with_trained_factors(model).first.forward(input(&cpu())).dims(), [5, 6]);
    }
}

#[test]
fn weights_of_half_precision_are_adapted_and_keep_their_format() {
    let half = |net: Pair| {
        let cast = |linear: Linear| Linear {
            weight: linear.weight.map(|w| w.detach().cast(FloatDType::BF16)),
            bias: linear.bias.map(|b| b.map(|b| b.detach().cast(FloatDType::BF16))),
        };
        Pair { first: cast(net.first), second: cast(net.second) }
    };
    let device = cpu().autodiff();
    let base = half(Net::new(&device).rnn);
    let forward = |model: &Pair, x: Tensor<2>| {
        let x = x.cast(FloatDType::BF16);
        model.second.forward(model.first.forward(x)).cast(FloatDType::F32)
    };
    let (model, _) = base.clone().with_lora(&LoraConfig::new(2)).unwrap();
    let model = with_trained_factors(trained(model, forward));
    let adapted = values(forward(&model, input(&device)));
    let merged = model.clone().merge_lora().unwrap();
    let near = |left: Vec<f32>, right: &[f32]| {
        // Sums of ten products of bf16's 8 bits, in two layers.
        left.iter().zip(right).all(|(l, r)| (l - r).abs() < 0.05 * r.abs().max(1.0))
    };
    assert!(near(values(forward(&merged, input(&device))), &adapted));
    let back = merged.unmerge_lora().unwrap();
    assert_eq!(values(forward(&back, input(&device))), adapted);
    let folded = model.clone().merge_and_unload_lora().unwrap();
    assert_eq!(folded.first.weight.val().dtype(), DType::BF16);
    assert!(near(values(forward(&folded, input(&device))), &adapted));
    let dense = burn_lora_patch::merge_and_unload_f32(model).unwrap();
    assert_eq!(dense.first.weight.val().dtype(), DType::F32);
}

/// What is trained whole is trained in f32, though the model was cast while it required gradients.
#[test]
fn a_module_trained_whole_of_a_model_cast_to_half_precision_is_patched() {
    let device = cpu().autodiff();
    let net = Net::new(&device);
    let norm = BatchNorm {
        gamma: net.norm.gamma.clone().map(|gamma| gamma.cast(FloatDType::BF16)),
        ..net.norm.clone()
    };
    let head = Linear {
        weight: net.head.weight.clone().map(|weight| weight.cast(FloatDType::F16)),
        bias: None,
    };
    let net = Net { norm, head, ..net };
    let config = LoraConfig::new(2).with_targets(["first"]).with_modules_to_save(["head"]);
    let (model, _) = net.with_lora(&config).unwrap();
    assert_eq!(model.head.weight.dtype(), DType::F32);
    assert!(model.head.weight.is_require_grad() && !model.norm.gamma.is_require_grad());
}

/// They were patched without a word, and panicked in the first forward pass.
#[test]
fn weights_of_formats_that_cannot_be_adapted_are_refused_when_patched() {
    let device = cpu();
    let scheme = device.settings().quantization.scheme.with_value(QuantValue::Q8S);
    let mut quantizer = Quantizer::new(Calibration::MinMax, scheme);
    let linear = || LinearConfig::new(32, 32).with_bias(false).init(&device);
    let quantized = linear().quantize_weights(&mut quantizer);
    let double = Linear { weight: linear().weight.map(|w| w.cast(FloatDType::F64)), bias: None };
    for odd in [quantized, double] {
        let net = Pair { first: linear(), second: odd };
        let error = net.clone().with_lora(&LoraConfig::new(2)).unwrap_err();
        assert!(matches!(&error, PatchError::Format { layer, .. } if layer == "second"), "{error}");
        let (model, _) = net.with_lora(&LoraConfig::new(2).with_exclude(["second"])).unwrap();
        model.merge_lora().unwrap();
    }
}

/// A record of a merged model held the change in the base and in the factors.
#[test]
fn a_record_never_comes_to_mean_the_change_twice() {
    let device = cpu();
    let fresh = || Net::new(&device).with_lora(&LoraConfig::new(2)).unwrap().0;
    let model = with_trained_factors(fresh());
    let expected = evaluated(&model);
    let merged = model.clone().merge_lora().unwrap();
    let near = |model: &Net, what: &str| {
        // The order of sums differs between merged and not.
        let difference = evaluated(model)
            .into_iter()
            .zip(&expected)
            .fold(0.0f32, |most, (is, was)| most.max((is - was).abs()));
        assert!(difference < 1e-5, "{what}: {difference}");
    };
    near(&merged, "merged");
    near(&fresh().load_record(merged.clone().into_record()), "merged into patched");
    near(&fresh().load_record(model.clone().into_record()), "patched into patched");
    let other = with_trained_factors(fresh());
    let scaled = other.lora_scale("default", 1.0).unwrap();
    let shifted = scaled.map(&mut crate::mlp::Fill::factors(0.9)).merge_lora().unwrap();
    near(&shifted.clone().load_record(model.clone().into_record()), "patched into merged");
    near(&shifted.load_record(merged.clone().into_record()), "merged into another merged");
    // Its own earlier self, with the same identities.
    let earlier = model.clone().into_record();
    let later = model.clone().map(&mut crate::mlp::Fill::factors(0.9)).merge_lora().unwrap();
    near(&later.load_record(earlier), "an earlier record into merged");
    near(&merged.clone().load_record(merged.into_record()), "merged into itself");
}

#[test]
fn a_merged_model_has_nothing_to_train() {
    let (model, _) = Net::new(&cpu().autodiff()).with_lora(&LoraConfig::new(2)).unwrap();
    let before = trainable_ids(&model);
    let merged = model.merge_lora().unwrap();
    assert!(trainable_ids(&merged).is_empty());
    assert_eq!(trainable_ids(&merged.unmerge_lora().unwrap()), before);
}

mod pytorch {
    //! A linear layer of the same name as Burn's, with the weight as PyTorch has it.
    use super::*;

    #[derive(Module, Debug)]
    pub struct Linear {
        pub weight: Param<Tensor<2>>,
        pub bias: Option<Param<Tensor<1>>>,
    }

    impl Linear {
        pub fn of(linear: &burn::nn::Linear) -> Self {
            let weight = linear.weight.val().detach().set_require_grad(false).transpose();
            Self { weight: Param::from_tensor(weight), bias: linear.bias.clone() }
        }

        pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
            let y = x.matmul(self.weight.val().transpose());
            match &self.bias {
                Some(bias) => y + bias.val().unsqueeze(),
                None => y,
            }
        }
    }
}

#[derive(Module, Debug)]
struct Own {
    first: pytorch::Linear,
    second: pytorch::Linear,
}

/// The sides were exchanged where a struct is called `Linear`, which shows as soon as B is not zero.
#[test]
fn a_weight_that_lies_the_other_way_round_is_adapted_as_burn_s() {
    let device = cpu().autodiff();
    // What is added to an output beside the weight is nothing that such a model computes.
    for method in Method::ALL.iter().filter(|method| !method.shifts()) {
        // With a bias the shapes tell; without, and where it is square, it has to be declared.
        for bias in [true, false] {
            let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).with_bias(bias).init(&device);
            let burns = Pair { first: linear(4, 6), second: linear(6, 3) };
            let own = Own {
                first: pytorch::Linear::of(&burns.first),
                second: pytorch::Linear::of(&burns.second),
            };
            let config = LoraConfig::new(2).with_method(*method).with_alpha(3).with_seed(5);
            let declared = match bias {
                true => config.clone(),
                false => config.clone().with_linear_type("Linear", Layout::OutIn),
            };
            let (burns, expected) = burns.with_lora(&config).unwrap();
            let (own, report) = own.with_lora(&declared).unwrap();
            assert_eq!(report.layers(), expected.layers());
            let forward = |model: &Pair, x| model.second.forward(model.first.forward(x));
            let own_forward = |model: &Own, x| model.second.forward(model.first.forward(x));
            let (burns, own) = (trained(burns, forward), trained(own, own_forward));
            let output = values(forward(&burns, input(&device)));
            let near = |other: Vec<f32>| {
                other.iter().zip(&output).all(|(o, b)| (o - b).abs() < 1e-4 * b.abs().max(1.0))
            };
            assert!(near(values(own_forward(&own, input(&device)))), "{method}");
            let merged = own.clone().merge_and_unload_lora().unwrap();
            assert!(near(values(own_forward(&merged, input(&device)))), "{method}, merged");
            let named = |tensors: Vec<NamedTensor>| -> Vec<(String, Vec<usize>)> {
                tensors.into_iter().map(|tensor| (tensor.key, tensor.shape)).collect()
            };
            assert_eq!(
                named(trainable_tensors(&own).unwrap()),
                named(trainable_tensors(&burns).unwrap())
            );

            // What one saves, the other loads.
            let dir = tempfile::tempdir().unwrap();
            own.save_adapter(dir.path()).unwrap();
            let (loaded, _) = burns.unload_lora().load_adapter(dir.path()).unwrap();
            assert!(near(values(forward(&loaded, input(&device)))), "{method}, loaded");
            let mut options = LoadOptions::new();
            if !bias {
                options = options.with_linear_type("Linear", Layout::OutIn);
            }
            let (back, _) = own.unload_lora().load_adapter_with(dir.path(), &options).unwrap();
            assert!(near(values(own_forward(&back, input(&device)))), "{method}, back");
        }
    }
}

/// A layer of the user's own that is called something else.
#[derive(Module, Debug)]
struct Dense {
    weight: Param<Tensor<2>>,
}

#[test]
fn a_layer_of_another_name_is_adapted_where_it_is_declared() {
    #[derive(Module, Debug)]
    struct Model {
        dense: Dense,
        fc: Linear,
    }
    let weight = Tensor::random([4, 3], Distribution::Default, &cpu());
    let dense = Dense { weight: Param::initialized(ParamId::new(), weight) };
    let model = Model { dense, fc: LinearConfig::new(3, 2).init(&cpu()) };
    let config = LoraConfig::new(2).with_targets(["dense"]);
    assert!(model.plan_lora(&config).is_err());
    let (model, _) = model.with_lora(&config.with_linear_type("Dense", Layout::InOut)).unwrap();
    let before = values(model.dense.weight.base());
    let model = with_trained_factors(model);
    assert_ne!(values(model.dense.weight.val()), before);
    assert_eq!(values(model.dense.weight.base()), before);
}

#[test]
fn a_weight_in_two_places_is_counted_once_and_told_of() {
    let shared = LinearConfig::new(4, 4).with_bias(false).init(&cpu());
    let net = Pair { first: shared.clone(), second: shared };
    let report = net.plan_lora(&LoraConfig::new(2)).unwrap();
    assert_eq!(report.total(), 16 + 2 * 2 * (4 + 4), "the base once, an adapter at each place");
    assert!(report.to_string().contains("`first` and `second` hold one weight"), "{report}");
    let one = net.plan_lora(&LoraConfig::new(2).with_exclude(["second"])).unwrap();
    assert!(!one.to_string().contains("hold one weight"), "{one}");
}

#[test]
fn a_head_of_another_name_is_what_heads_say() {
    let net = Net::new(&cpu().autodiff());
    let config = LoraConfig::new(2).with_task_type(TaskType::SeqCls);
    let report = net.plan_lora(&config).unwrap();
    assert!(report.to_string().contains("Name the model's own in heads"), "{report}");
    assert!(report.to_string().contains("the model's last linear, `head`, too"), "{report}");
    let (model, report) = net.clone().with_lora(&config.with_heads(["head"])).unwrap();
    assert_eq!(report.saved()[0].path, "head");
    assert!(!report.to_string().contains("head is trained."), "{report}");
    let model = trained(model, Net::forward);
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let file = peft::read_config(dir.path()).unwrap();
    assert_eq!(file.modules_to_save.unwrap(), ["classifier", "score", "head"]);
    let (loaded, _) = net.clone().load_adapter(dir.path()).unwrap();
    assert_eq!(evaluated(&loaded), evaluated(&model));

    // Without a task the head is left alone, and with a multiplier of 0 the weights are the base's.
    let quiet = LoraConfig::new(2).with_heads(["head"]);
    let (model, _) = net.clone().with_lora(&quiet).unwrap();
    let off = trained(model, Net::forward).lora_scale("default", 0.0).unwrap();
    assert_eq!(evaluated(&off), evaluated(&net));
}

#[test]
fn targets_that_name_something_else_are_told_what_it_is() {
    let net = Net::new(&cpu());
    let problem =
        |targets: &str| match net.plan_lora(&LoraConfig::new(2).with_targets(targets)).unwrap_err()
        {
            PatchError::Targets { problems } => problems.into_iter().next().unwrap(),
            other => panic!("{other}"),
        };
    let parameter = problem("first.weight").to_string();
    assert_eq!(parameter, "target `first.weight` matches nothing: did you mean `first`?");
    let TargetProblem::Unknown { nearest, .. } = problem("head.bias") else { panic!("unknown") };
    assert_eq!(nearest, ["head"]);
    let norm = problem("norm").to_string();
    assert!(
        norm.contains(
            "names a normalisation (`norm`): only linear layers, embeddings and convolutions are adapted"
        ),
        "{norm}"
    );
}

#[test]
fn excluding_a_module_excludes_all_in_it() {
    let net = Net::new(&cpu());
    let config = LoraConfig::new(2).with_exclude(["rnn"]);
    let (model, report) = net.clone().with_lora(&config).unwrap();
    let adapted = report.layers().iter().filter(|layer| layer.adapter_params > 0);
    assert_eq!(adapted.map(|layer| layer.path.as_str()).collect::<Vec<_>>(), ["head"]);
    // PEFT would not take `rnn` for what is in it: its files name the layers.
    let dir = tempfile::tempdir().unwrap();
    model.save_adapter(dir.path()).unwrap();
    let file = peft::read_config(dir.path()).unwrap();
    assert_eq!(file.target_modules, Some(peft::Modules::Names(vec!["head".into()])));
    assert_eq!(net.load_adapter(dir.path()).unwrap().1.adapted(), 1);
}
