//! A model's own dropout, forward and backward, against the formulas in float64 with the same masks.
//!
//! Alone in its binary and one test: what is dropped comes from the device's generator, which Burn's CPU
//! backend shares among all threads of a process.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_lora_models::families::bert::{
    BertForSequenceClassification, BertModel, RobertaForSequenceClassification,
};
use burn_lora_models::families::bloom::BloomForCausalLM;
use burn_lora_models::families::distilbert::DistilBertForSequenceClassification;
use burn_lora_models::families::gpt2::Gpt2LMHeadModel;
use burn_lora_models::families::llama::{LlamaConfig, LlamaForCausalLM};
use burn_lora_models::families::modernbert::ModernBertForSequenceClassification;
use burn_lora_models::{Classifier, Decoder, Model, ModelConfig, SaveDtype};
use safetensors::SafeTensors;

const ROWS: usize = 2;
const TOKENS: usize = 3;
const LENGTHS: [usize; ROWS] = [3, 2];
const IDS: [[usize; TOKENS]; ROWS] = [[1, 5, 2], [7, 3, 0]];
const D: usize = 8;
const INNER: usize = 12;
const HEADS: usize = 2;
const WIDTH: usize = D / HEADS;
const SEED: u64 = 7;

/// The weights of a model by their keys in a file, linears as `[d_out, d_in]`.
type Weights = BTreeMap<String, Vec<f64>>;

fn weights<M: Model>(model: &M) -> Weights {
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path(), SaveDtype::F32).unwrap();
    let bytes = std::fs::read(dir.path().join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let value = |word: &[u8; 4]| f64::from(f32::from_le_bytes(*word));
    file.iter()
        .map(|(key, view)| {
            (key.to_owned(), view.data().as_chunks::<4>().0.iter().map(value).collect())
        })
        .collect()
}

/// The next mask that the device's generator gives, of zeros and `1 / keep`.
fn mask<const N: usize>(shape: [usize; N], probability: f64, device: &Device) -> Vec<f64> {
    let keep = 1.0 - probability;
    let drawn = Tensor::<N>::zeros(shape, device).random_like(Distribution::Bernoulli(keep));
    floats(drawn).into_iter().map(|kept| kept / keep).collect()
}

fn floats<const N: usize>(tensor: Tensor<N>) -> Vec<f64> {
    let values: Vec<f32> = tensor.into_data().try_to_vec().unwrap();
    values.into_iter().map(f64::from).collect()
}

fn ids(device: &Device) -> Tensor<2, Int> {
    Tensor::from_ints(IDS.map(|row| row.map(|id| id as i32)), device)
}

fn times(x: &[f64], mask: &[f64]) -> Vec<f64> {
    assert_eq!(x.len(), mask.len());
    x.iter().zip(mask).map(|(x, m)| x * m).collect()
}

fn plus(x: &[f64], y: &[f64]) -> Vec<f64> {
    assert_eq!(x.len(), y.len());
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

/// `x Wᵀ + b` of the linear at `path`.
fn linear(weights: &Weights, path: &str, x: &[f64], d_in: usize) -> Vec<f64> {
    let weight = &weights[&format!("{path}.weight")];
    let bias = weights.get(&format!("{path}.bias"));
    let product = |row: &[f64]| -> Vec<f64> {
        let dot = |w: &[f64]| w.iter().zip(row).map(|(w, x)| w * x).sum::<f64>();
        let outputs = weight.chunks(d_in).map(dot);
        outputs.enumerate().map(|(o, y)| y + bias.map_or(0.0, |bias| bias[o])).collect()
    };
    x.chunks(d_in).flat_map(product).collect()
}

/// Attention of queries, keys and values `[ROWS, TOKENS, heads, WIDTH]`, the keys shared by groups; the
/// mask is of `[ROWS, HEADS, TOKENS, TOKENS]`. What row, head, token and key add to a score, none where the
/// token does not see the key.
fn attention(
    [q, k, v]: [&[f64]; 3],
    kv_heads: usize,
    bias: impl Fn(usize, usize, usize, usize) -> Option<f64>,
    mask: &[f64],
) -> Vec<f64> {
    let mut output = vec![0.0; ROWS * TOKENS * D];
    let at = |row: usize, token: usize, heads: usize, head: usize| {
        ((row * TOKENS + token) * heads + head) * WIDTH
    };
    for (row, head, t) in (0..ROWS)
        .flat_map(|row| (0..HEADS).map(move |head| (row, head)))
        .flat_map(|(row, head)| (0..TOKENS).map(move |t| (row, head, t)))
    {
        let kv_head = head / (HEADS / kv_heads);
        let exp: Vec<f64> = (0..TOKENS)
            .map(|s| {
                let (from, to) = (at(row, t, HEADS, head), at(row, s, kv_heads, kv_head));
                let score: f64 = (0..WIDTH).map(|i| q[from + i] * k[to + i]).sum();
                let score = score / (WIDTH as f64).sqrt();
                bias(row, head, t, s).map_or(0.0, |bias| (score + bias).exp())
            })
            .collect();
        let sum: f64 = exp.iter().sum();
        for (s, exp) in exp.iter().enumerate() {
            let kept = mask[((row * HEADS + head) * TOKENS + t) * TOKENS + s];
            for i in 0..WIDTH {
                let value = v[at(row, s, kv_heads, kv_head) + i];
                output[at(row, t, HEADS, head) + i] += exp / sum * kept * value;
            }
        }
    }
    output
}

/// A sum of the logits that every one of them weighs otherwise in.
fn loss(logits: &[f64]) -> f64 {
    logits.iter().enumerate().map(|(index, logit)| coefficient(index) * logit).sum()
}

fn coefficient(index: usize) -> f64 {
    (index * 7 % 5) as f64 - 1.5
}

fn loss_of<const N: usize>(logits: Tensor<N>) -> Tensor<1> {
    let coefficients: Vec<f32> =
        (0..logits.shape().num_elements()).map(|index| coefficient(index) as f32).collect();
    let [count] = [coefficients.len()];
    let device = logits.device();
    (logits.reshape([count]) * Tensor::<1>::from_floats(coefficients.as_slice(), &device)).sum()
}

/// Compares logits, and the gradients of some linears, with those of the formula.
fn check(
    weights: &Weights,
    formula: impl Fn(&Weights) -> Vec<f64>,
    logits: &[f64],
    gradients: &[(&str, Vec<f64>)],
) {
    let expected = formula(weights);
    // Sums of tens of f32 products of size 1, and a norm.
    for (logit, expected) in logits.iter().zip(&expected) {
        assert!((logit - expected).abs() < 2e-5, "{logit} instead of {expected}");
    }
    assert_eq!(logits.len(), expected.len());
    for (key, gradient) in gradients {
        let size = gradient.iter().fold(0.0_f64, |size, g| size.max(g.abs()));
        assert!(size > 1e-3, "{key} has a gradient");
        for (index, gradient) in gradient.iter().enumerate() {
            // The central difference of float64 is right to 1e-9; the gradient is f32.
            let at = |step: f64| {
                let mut weights = weights.clone();
                weights.get_mut(*key).unwrap()[index] += step;
                loss(&formula(&weights))
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            let allowed = 2e-5 * size.max(1.0);
            assert!(
                (gradient - expected).abs() < allowed,
                "{key}[{index}]: {gradient} instead of {expected}"
            );
        }
    }
}

/// The gradient of a linear's weight, `[d_out, d_in]` as in a file.
fn gradient(weight: &Param<Tensor<2>>, grads: &burn::tensor::Gradients) -> Vec<f64> {
    floats(weight.val().grad(grads).unwrap().transpose())
}

/// By its tanh approximation.
fn gelu(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    0.5 * x * (1.0 + inner.tanh())
}

fn layer_norm(weights: &Weights, path: &str, x: &[f64]) -> Vec<f64> {
    layer_norm_of(weights, path, x, 1e-5)
}

/// With a bias where the weights have one.
fn layer_norm_of(weights: &Weights, path: &str, x: &[f64], epsilon: f64) -> Vec<f64> {
    let (gamma, beta) = (&weights[&format!("{path}.weight")], weights.get(&format!("{path}.bias")));
    let normed = |row: &[f64]| {
        let mean = row.iter().sum::<f64>() / D as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / D as f64;
        let root = (variance + epsilon).sqrt();
        let scaled = row.iter().zip(gamma).map(|(x, g)| (x - mean) / root * g);
        let shift = |index: usize| beta.map_or(0.0, |beta| beta[index]);
        scaled.enumerate().map(|(index, x)| x + shift(index)).collect::<Vec<_>>()
    };
    x.chunks(D).flat_map(normed).collect()
}

/// What tells BERT and RoBERTa apart.
struct Encoder {
    model_type: &'static str,
    /// The row of the position table that the first token takes.
    first_position: usize,
}

const BERT: Encoder = Encoder { model_type: "bert", first_position: 0 };

/// Behind the padding index, 1.
const ROBERTA: Encoder = Encoder { model_type: "roberta", first_position: 2 };

impl Encoder {
    fn formula(&self, weights: &Weights, masks: &[Vec<f64>]) -> Vec<f64> {
        let root = self.model_type;
        let mut masks = masks.iter();
        let mut dropped = |x: &[f64]| times(x, masks.next().unwrap());
        let table = |name: &str, row: usize| {
            &weights[&format!("{root}.embeddings.{name}_embeddings.weight")][row * D..][..D]
        };
        let embedded: Vec<f64> = IDS
            .iter()
            .flat_map(|row| row.iter().enumerate())
            .flat_map(|(position, &id)| {
                let position = table("position", self.first_position + position);
                plus(&plus(table("word", id), position), table("token_type", 0))
            })
            .collect();
        let norm = format!("{root}.embeddings.LayerNorm");
        let x = dropped(&layer_norm(weights, &norm, &embedded));

        let at = |name: &str| format!("{root}.encoder.layer.0.{name}");
        let project = |name: &str| linear(weights, &at(&format!("attention.self.{name}")), &x, D);
        let (q, k, v) = (project("query"), project("key"), project("value"));
        let mask = dropped(&[1.0; ROWS * HEADS * TOKENS * TOKENS]);
        let seen = |row: usize, _, _, s: usize| (s < LENGTHS[row]).then_some(0.0);
        let mixed = attention([&q, &k, &v], HEADS, seen, &mask);
        let mixed = dropped(&linear(weights, &at("attention.output.dense"), &mixed, D));
        let x = layer_norm(weights, &at("attention.output.LayerNorm"), &plus(&mixed, &x));
        let wide: Vec<f64> =
            linear(weights, &at("intermediate.dense"), &x, D).into_iter().map(gelu).collect();
        let wide = dropped(&linear(weights, &at("output.dense"), &wide, INNER));
        let x = layer_norm(weights, &at("output.LayerNorm"), &plus(&wide, &x));

        let first = firsts(&x);
        let tanh = |x: Vec<f64>| x.into_iter().map(f64::tanh).collect::<Vec<_>>();
        // BERT drops what its pooler gives. RoBERTa has none: its head drops before and after its first linear.
        if root == "bert" {
            let pooled = tanh(linear(weights, "bert.pooler.dense", &first, D));
            return linear(weights, "classifier", &dropped(&pooled), D);
        }
        let dense = tanh(linear(weights, "classifier.dense", &dropped(&first), D));
        linear(weights, "classifier.out_proj", &dropped(&dense), D)
    }

    /// Of a model, how to find its encoder and the linears of its head with their keys.
    fn check<M: Classifier>(
        &self,
        device: &Device,
        parts: impl Fn(&M) -> (&BertModel, Vec<(&'static str, &Param<Tensor<2>>)>),
    ) {
        let text = format!(
            r#"{{"model_type": "{}", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12,
                "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 6,
                "hidden_act": "gelu_new", "layer_norm_eps": 1e-5, "num_labels": 3,
                "initializer_range": 0.5, "hidden_dropout_prob": 0.2,
                "attention_probs_dropout_prob": 0.3, "classifier_dropout": 0.4}}"#,
            self.model_type
        );
        let config = M::Config::from_json(&text, "config.json".as_ref()).unwrap();
        let build = |config: &M::Config| M::random(config, 1, device).unwrap();
        let (model, off) = (build(&config.clone().with_dropout()), build(&config));
        let weights = weights(&model);
        let (encoder, head) = parts(&model);

        device.seed(SEED);
        let logits = model.logits(ids(device), &LENGTHS);
        device.seed(SEED);
        let stream = [ROWS, TOKENS, D];
        let mut masks = vec![
            mask(stream, 0.2, device),
            mask([ROWS, HEADS, TOKENS, TOKENS], 0.3, device),
            mask(stream, 0.2, device),
            mask(stream, 0.2, device),
        ];
        masks.extend(head.iter().map(|_| mask([ROWS, D], 0.4, device)));
        assert!(masks.iter().flatten().any(|&kept| kept == 0.0));
        let grads = loss_of(logits.clone()).backward();
        let layer = &encoder.encoder.layer[0];
        let at = |name: &str| format!("{}.encoder.layer.0.{name}.weight", self.model_type);
        let linears = [
            (at("attention.self.query"), &layer.attention.self_.query.weight),
            (at("attention.self.value"), &layer.attention.self_.value.weight),
            (at("attention.output.dense"), &layer.attention.output.dense.weight),
            (at("output.dense"), &layer.output.dense.weight),
        ];
        let linears = linears.iter().map(|(key, weight)| (key.as_str(), *weight)).chain(head);
        let gradients: Vec<_> =
            linears.map(|(key, weight)| (key, gradient(weight, &grads))).collect();
        check(&weights, |weights| self.formula(weights, &masks), &floats(logits), &gradients);

        // What is not asked for, and what is not training, drops nothing.
        let ones: Vec<Vec<f64>> = masks.iter().map(|mask| vec![1.0; mask.len()]).collect();
        let formula = |weights: &Weights| self.formula(weights, &ones);
        check(&weights, formula, &floats(off.logits(ids(device), &LENGTHS)), &[]);
        let plain = device.clone().without_autodiff();
        check(&weights, formula, &floats(model.valid().logits(ids(&plain), &LENGTHS)), &[]);
    }
}

fn llama_norm(weights: &Weights, path: &str, x: &[f64]) -> Vec<f64> {
    let gamma = &weights[&format!("{path}.weight")];
    let normed = |row: &[f64]| {
        let root = (row.iter().map(|x| x * x).sum::<f64>() / D as f64 + 1e-5).sqrt();
        row.iter().zip(gamma).map(|(x, g)| x / root * g).collect::<Vec<_>>()
    };
    x.chunks(D).flat_map(normed).collect()
}

/// Turns pairs `(x_i, x_(i + WIDTH / 2))` of every head by `position / 10000^(2i / WIDTH)`.
fn rotated(x: &[f64], heads: usize) -> Vec<f64> {
    let half = WIDTH / 2;
    let mut turned = x.to_vec();
    for (index, head) in turned.chunks_mut(WIDTH).enumerate() {
        let position = (index / heads % TOKENS) as f64;
        for i in 0..half {
            let angle = position / 10_000_f64.powf(2.0 * i as f64 / WIDTH as f64);
            let (a, b) = (head[i], head[i + half]);
            head[i] = a * angle.cos() - b * angle.sin();
            head[i + half] = b * angle.cos() + a * angle.sin();
        }
    }
    turned
}

fn llama(weights: &Weights, mask: &[f64]) -> Vec<f64> {
    let table = &weights["model.embed_tokens.weight"];
    let x: Vec<f64> = IDS.iter().flatten().flat_map(|id| table[id * D..][..D].to_vec()).collect();
    let at = |name: &str| format!("model.layers.0.{name}");
    let normed = llama_norm(weights, &at("input_layernorm"), &x);
    let project = |name: &str| linear(weights, &at(&format!("self_attn.{name}_proj")), &normed, D);
    let (q, k, v) = (rotated(&project("q"), HEADS), rotated(&project("k"), 1), project("v"));
    let mixed = attention([&q, &k, &v], 1, |_, _, t, s| (s <= t).then_some(0.0), mask);
    let x = plus(&x, &linear(weights, &at("self_attn.o_proj"), &mixed, D));
    let normed = llama_norm(weights, &at("post_attention_layernorm"), &x);
    let gate = linear(weights, &at("mlp.gate_proj"), &normed, D);
    let up = linear(weights, &at("mlp.up_proj"), &normed, D);
    let gated: Vec<f64> = gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
    let x = plus(&x, &linear(weights, &at("mlp.down_proj"), &gated, INNER));
    let head = BTreeMap::from([("head.weight".to_owned(), table.clone())]);
    linear(&head, "head", &llama_norm(weights, "model.norm", &x), D)
}

fn check_llama(device: &Device) {
    let text = r#"{"model_type": "llama", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
        "max_position_embeddings": 4, "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        "initializer_range": 0.5, "attention_dropout": 0.3}"#;
    let config = LlamaConfig::from_json(text, "config.json".as_ref()).unwrap();
    let build = |config: &LlamaConfig| LlamaForCausalLM::random(config, 1, device).unwrap();
    let (model, off) = (build(&config.clone().with_dropout()), build(&config));
    let weights = weights(&model);
    let forward = |model: &LlamaForCausalLM, device: &Device| {
        model.logits(model.hidden(ids(device), &[TOKENS; ROWS], None))
    };

    device.seed(SEED);
    let logits = forward(&model, device);
    device.seed(SEED);
    // Both heads share the keys: their queries are rows of one product.
    let mask = mask([ROWS, 1, HEADS * TOKENS, TOKENS], 0.3, device);
    assert!(mask.contains(&0.0));
    let grads = loss_of(logits.clone()).backward();
    let attention = &model.model.layers[0].self_attn;
    let of = |linear: &Option<Linear>| gradient(&linear.as_ref().unwrap().weight, &grads);
    let gradients = [
        ("model.layers.0.self_attn.q_proj.weight", of(&attention.q_proj)),
        ("model.layers.0.self_attn.k_proj.weight", of(&attention.k_proj)),
        ("model.layers.0.self_attn.v_proj.weight", of(&attention.v_proj)),
    ];
    check(&weights, |weights| llama(weights, &mask), &floats(logits), &gradients);

    let ones = vec![1.0; mask.len()];
    let formula = |weights: &Weights| llama(weights, &ones);
    check(&weights, formula, &floats(forward(&off, device)), &[]);
    let plain = device.clone().without_autodiff();
    check(&weights, formula, &floats(forward(&model.valid(), &plain)), &[]);
}

/// What tells GPT-2 and BLOOM apart.
struct Plain {
    config: &'static str,
    /// Paths of the two tables, or of the one.
    tables: &'static [&'static str],
    embedding_norm: Option<&'static str>,
    drops_embeddings: bool,
    /// Paths in the block: norms; queries, keys and values; after attention; the two linears.
    norms: [&'static str; 2],
    linears: [&'static str; 4],
    inner: usize,
    /// Whether queries, keys and values come head by head.
    interleaved: bool,
    /// What a key's position adds, by head.
    slopes: [f64; HEADS],
}

const GPT2: Plain = Plain {
    config: r#"{"model_type": "gpt2", "vocab_size": 11, "n_embd": 8, "n_inner": 12, "n_layer": 1, "n_head": 2,
        "n_positions": 4, "initializer_range": 0.5, "embd_pdrop": 0.2, "attn_pdrop": 0.3, "resid_pdrop": 0.4}"#,
    tables: &["transformer.wte.weight", "transformer.wpe.weight"],
    embedding_norm: None,
    drops_embeddings: true,
    norms: ["ln_1", "ln_2"],
    linears: ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"],
    inner: INNER,
    interleaved: false,
    slopes: [0.0; HEADS],
};

/// Slopes as in Press et al. 2022, section 3: of two heads, 2⁻⁴ and 2⁻⁸.
const BLOOM: Plain = Plain {
    config: r#"{"model_type": "bloom", "vocab_size": 11, "hidden_size": 8, "n_layer": 1, "n_head": 2,
        "initializer_range": 0.5, "attention_dropout": 0.3, "hidden_dropout": 0.4}"#,
    tables: &["transformer.word_embeddings.weight"],
    embedding_norm: Some("transformer.word_embeddings_layernorm"),
    drops_embeddings: false,
    norms: ["input_layernorm", "post_attention_layernorm"],
    linears: [
        "self_attention.query_key_value",
        "self_attention.dense",
        "mlp.dense_h_to_4h",
        "mlp.dense_4h_to_h",
    ],
    inner: 4 * D,
    interleaved: true,
    slopes: [1.0 / 16.0, 1.0 / 256.0],
};

impl Plain {
    fn formula(&self, weights: &Weights, masks: &[Vec<f64>]) -> Vec<f64> {
        let mut masks = masks.iter();
        let mut dropped = |x: &[f64]| times(x, masks.next().unwrap());
        let table = &weights[self.tables[0]];
        let token = |id: usize| table[id * D..][..D].to_vec();
        let mut x: Vec<f64> = IDS.iter().flatten().flat_map(|&id| token(id)).collect();
        if let [_, positions] = self.tables {
            let positions = &weights[*positions][..TOKENS * D];
            x = x.chunks(TOKENS * D).flat_map(|row| plus(row, positions)).collect();
        }
        if let Some(norm) = self.embedding_norm {
            x = layer_norm(weights, norm, &x);
        }
        if self.drops_embeddings {
            x = dropped(&x);
        }
        let at = |name: &str| format!("transformer.h.0.{name}");
        let [qkv, mixed, wide, narrow] = self.linears.map(at);
        let [first, second] = self.norms.map(at);
        let qkv = linear(weights, &qkv, &layer_norm(weights, &first, &x), D);
        let part = |index: usize| -> Vec<f64> {
            match self.interleaved {
                true => qkv
                    .chunks(3 * WIDTH)
                    .flat_map(|head| head[index * WIDTH..][..WIDTH].to_vec())
                    .collect(),
                false => {
                    qkv.chunks(3 * D).flat_map(|token| token[index * D..][..D].to_vec()).collect()
                }
            }
        };
        let bias =
            |_, head: usize, t: usize, s: usize| (s <= t).then(|| self.slopes[head] * s as f64);
        let mask = dropped(&[1.0; ROWS * HEADS * TOKENS * TOKENS]);
        let attended = attention([&part(0), &part(1), &part(2)], HEADS, bias, &mask);
        x = plus(&x, &dropped(&linear(weights, &mixed, &attended, D)));
        let wide = linear(weights, &wide, &layer_norm(weights, &second, &x), D);
        let wide: Vec<f64> = wide.into_iter().map(gelu).collect();
        x = plus(&x, &dropped(&linear(weights, &narrow, &wide, self.inner)));
        let head = BTreeMap::from([("head.weight".to_owned(), table.clone())]);
        linear(&head, "head", &layer_norm(weights, "transformer.ln_f", &x), D)
    }

    /// Of a model, the model without dropout, and how to find the linears in a block of it.
    fn check<M: Decoder>(&self, device: &Device, of: impl Fn(&M) -> [&Param<Tensor<2>>; 4]) {
        let config = M::Config::from_json(self.config, "config.json".as_ref()).unwrap();
        let build = |config: &M::Config| M::random(config, 1, device).unwrap();
        let (model, off) = (build(&config.clone().with_dropout()), build(&config));
        let mut weights = weights(&model);
        let keys = self.linears.map(|name| format!("transformer.h.0.{name}.weight"));
        if !self.interleaved {
            // Files of GPT-2 have them as `[d_in, d_out]`.
            for (key, d_in) in keys.iter().zip([D, D, D, self.inner]) {
                let weight = &weights[key];
                let d_out = weight.len() / d_in;
                let swapped = (0..d_out).flat_map(|o| (0..d_in).map(move |i| (i, o)));
                let swapped = swapped.map(|(i, o)| weight[i * d_out + o]).collect();
                weights.insert(key.clone(), swapped);
            }
        }
        let forward = |model: &M, device: &Device| {
            model.logits(model.hidden(ids(device), &[TOKENS; ROWS], None))
        };
        device.seed(SEED);
        let logits = forward(&model, device);
        device.seed(SEED);
        let stream = [ROWS, TOKENS, D];
        let embeddings = self.drops_embeddings.then(|| mask(stream, 0.2, device));
        let mut masks: Vec<Vec<f64>> = embeddings.into_iter().collect();
        masks.push(mask([ROWS, HEADS, TOKENS, TOKENS], 0.3, device));
        masks.push(mask(stream, 0.4, device));
        masks.push(mask(stream, 0.4, device));
        let grads = loss_of(logits.clone()).backward();
        let gradients = of(&model).map(|weight| gradient(weight, &grads));
        let gradients: Vec<(&str, Vec<f64>)> =
            keys.iter().map(String::as_str).zip(gradients).collect();
        check(&weights, |weights| self.formula(weights, &masks), &floats(logits), &gradients);

        let ones: Vec<Vec<f64>> = masks.iter().map(|mask| vec![1.0; mask.len()]).collect();
        let formula = |weights: &Weights| self.formula(weights, &ones);
        check(&weights, formula, &floats(forward(&off, device)), &[]);
        let plain = device.clone().without_autodiff();
        check(&weights, formula, &floats(forward(&model.valid(), &plain)), &[]);
    }
}

/// The first token of each row.
fn firsts(x: &[f64]) -> Vec<f64> {
    x.chunks(TOKENS * D).flat_map(|row| row[..D].to_vec()).collect()
}

/// An encoder whose masks are drawn in that order, against its formula.
fn check_encoder<M: Classifier>(
    device: &Device,
    config: &str,
    masks: impl Fn() -> Vec<Vec<f64>>,
    formula: impl Fn(&Weights, &[Vec<f64>]) -> Vec<f64>,
    linears: impl Fn(&M) -> Vec<(&'static str, &Param<Tensor<2>>)>,
) {
    let config = M::Config::from_json(config, "config.json".as_ref()).unwrap();
    let build = |config: &M::Config| M::random(config, 1, device).unwrap();
    let (model, off) = (build(&config.clone().with_dropout()), build(&config));
    let weights = weights(&model);
    device.seed(SEED);
    let logits = model.logits(ids(device), &LENGTHS);
    device.seed(SEED);
    let masks = masks();
    assert!(masks.iter().flatten().any(|&kept| kept == 0.0));
    let grads = loss_of(logits.clone()).backward();
    let gradients: Vec<_> =
        linears(&model).into_iter().map(|(key, weight)| (key, gradient(weight, &grads))).collect();
    check(&weights, |weights| formula(weights, &masks), &floats(logits), &gradients);

    let ones: Vec<Vec<f64>> = masks.iter().map(|mask| vec![1.0; mask.len()]).collect();
    let formula = |weights: &Weights| formula(weights, &ones);
    check(&weights, formula, &floats(off.logits(ids(device), &LENGTHS)), &[]);
    let plain = device.clone().without_autodiff();
    check(&weights, formula, &floats(model.valid().logits(ids(&plain), &LENGTHS)), &[]);
}

/// It drops what goes in, probabilities, what its second half adds, and what its head's first linear gives.
fn distilbert(weights: &Weights, masks: &[Vec<f64>]) -> Vec<f64> {
    let [embeddings, probabilities, wide_mask, head] = masks else { panic!("four places") };
    let table = |name: &str, row: usize| {
        &weights[&format!("distilbert.embeddings.{name}_embeddings.weight")][row * D..][..D]
    };
    let tokens = IDS.iter().flat_map(|row| row.iter().enumerate());
    let x: Vec<f64> =
        tokens.flat_map(|(at, &id)| plus(table("word", id), table("position", at))).collect();
    let norm = |path: &str, x: &[f64]| layer_norm_of(weights, path, x, 1e-12);
    let x = times(&norm("distilbert.embeddings.LayerNorm", &x), embeddings);
    let at = |name: &str| format!("distilbert.transformer.layer.0.{name}");
    let project = |name: &str| linear(weights, &at(&format!("attention.{name}_lin")), &x, D);
    let (q, k, v) = (project("q"), project("k"), project("v"));
    let seen = |row: usize, _, _, s: usize| (s < LENGTHS[row]).then_some(0.0);
    let mixed = attention([&q, &k, &v], HEADS, seen, probabilities);
    let mixed = linear(weights, &at("attention.out_lin"), &mixed, D);
    let x = norm(&at("sa_layer_norm"), &plus(&mixed, &x));
    let wide: Vec<f64> = linear(weights, &at("ffn.lin1"), &x, D).into_iter().map(gelu).collect();
    let wide = times(&linear(weights, &at("ffn.lin2"), &wide, INNER), wide_mask);
    let x = norm(&at("output_layer_norm"), &plus(&wide, &x));
    let first = linear(weights, "pre_classifier", &firsts(&x), D);
    let first: Vec<f64> = first.into_iter().map(|x| x.max(0.0)).collect();
    linear(weights, "classifier", &times(&first, head), D)
}

/// It drops what goes in, probabilities, what attention adds, what goes into the last linear of its layer, and what goes
/// into its head's. A token sees its neighbours.
fn modernbert(weights: &Weights, masks: &[Vec<f64>]) -> Vec<f64> {
    let [embeddings, probabilities, mixed_mask, inner, head] = masks else { panic!("five places") };
    let table = &weights["model.embeddings.tok_embeddings.weight"];
    let x: Vec<f64> = IDS.iter().flatten().flat_map(|id| table[id * D..][..D].to_vec()).collect();
    let norm = |path: &str, x: &[f64]| layer_norm(weights, path, x);
    let x = times(&norm("model.embeddings.norm", &x), embeddings);
    let at = |name: &str| format!("model.layers.0.{name}");
    let qkv = linear(weights, &at("attn.Wqkv"), &x, D);
    let part = |index: usize| -> Vec<f64> {
        qkv.chunks(3 * D).flat_map(|token| token[index * D..][..D].to_vec()).collect()
    };
    let (q, k) = (rotated(&part(0), HEADS), rotated(&part(1), HEADS));
    let seen =
        |row: usize, _, t: usize, s: usize| (s < LENGTHS[row] && t.abs_diff(s) <= 1).then_some(0.0);
    let mixed = attention([&q, &k, &part(2)], HEADS, seen, probabilities);
    let x = plus(&x, &times(&linear(weights, &at("attn.Wo"), &mixed, D), mixed_mask));
    let both = linear(weights, &at("mlp.Wi"), &norm(&at("mlp_norm"), &x), D);
    let gated: Vec<f64> = both
        .chunks(2 * INNER)
        .flat_map(|token| (0..INNER).map(|i| gelu(token[i]) * token[INNER + i]).collect::<Vec<_>>())
        .collect();
    let x = plus(&x, &linear(weights, &at("mlp.Wo"), &times(&gated, inner), INNER));
    let x = norm("model.final_norm", &x);
    let means: Vec<f64> = (0..ROWS)
        .flat_map(|row| {
            let token = |t: usize| &x[(row * TOKENS + t) * D..][..D];
            let sum = |i: usize| (0..LENGTHS[row]).map(|t| token(t)[i]).sum::<f64>();
            (0..D).map(|i| sum(i) / LENGTHS[row] as f64).collect::<Vec<_>>()
        })
        .collect();
    let dense = linear(weights, "head.dense", &means, D).into_iter().map(gelu).collect::<Vec<_>>();
    linear(weights, "classifier", &times(&norm("head.norm", &dense), head), D)
}

fn check_distilbert_and_modernbert(device: &Device) {
    let (stream, heads) = ([ROWS, TOKENS, D], [ROWS, HEADS, TOKENS, TOKENS]);
    check_encoder::<DistilBertForSequenceClassification>(
        device,
        r#"{"model_type": "distilbert", "vocab_size": 11, "dim": 8, "hidden_dim": 12, "n_layers": 1,
            "n_heads": 2, "max_position_embeddings": 6, "activation": "gelu_new", "num_labels": 3,
            "initializer_range": 0.5, "dropout": 0.2, "attention_dropout": 0.3,
            "seq_classif_dropout": 0.4}"#,
        || {
            vec![
                mask(stream, 0.2, device),
                mask(heads, 0.3, device),
                mask(stream, 0.2, device),
                mask([ROWS, D], 0.4, device),
            ]
        },
        distilbert,
        |model| {
            let layer = &model.distilbert.transformer.layer[0];
            vec![
                (
                    "distilbert.transformer.layer.0.attention.q_lin.weight",
                    &layer.attention.q_lin.weight,
                ),
                (
                    "distilbert.transformer.layer.0.attention.out_lin.weight",
                    &layer.attention.out_lin.weight,
                ),
                ("distilbert.transformer.layer.0.ffn.lin2.weight", &layer.ffn.lin2.weight),
                ("pre_classifier.weight", &model.pre_classifier.weight),
                ("classifier.weight", &model.classifier.weight),
            ]
        },
    );
    check_encoder::<ModernBertForSequenceClassification>(
        device,
        r#"{"model_type": "modernbert", "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12,
            "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 6,
            "layer_types": ["sliding_attention"], "local_attention": 2, "classifier_pooling": "mean",
            "hidden_activation": "gelu_new", "classifier_activation": "gelu_new", "num_labels": 3,
            "initializer_range": 0.5, "embedding_dropout": 0.2, "attention_dropout": 0.3,
            "mlp_dropout": 0.5, "classifier_dropout": 0.4}"#,
        || {
            vec![
                mask(stream, 0.2, device),
                mask(heads, 0.3, device),
                mask(stream, 0.3, device),
                mask([ROWS, TOKENS, INNER], 0.5, device),
                mask([ROWS, D], 0.4, device),
            ]
        },
        modernbert,
        |model| {
            let layer = &model.model.layers[0];
            vec![
                ("model.layers.0.attn.Wqkv.weight", &layer.attn.Wqkv.weight),
                ("model.layers.0.attn.Wo.weight", &layer.attn.Wo.weight),
                ("model.layers.0.mlp.Wi.weight", &layer.mlp.Wi.weight),
                ("model.layers.0.mlp.Wo.weight", &layer.mlp.Wo.weight),
                ("head.dense.weight", &model.head.dense.weight),
                ("classifier.weight", &model.classifier.weight),
            ]
        },
    );
}

#[test]
fn dropout_is_the_formulas_with_the_masks_that_were_drawn() {
    let device = burn_lora::device::parse("cpu").unwrap().autodiff();
    BERT.check::<BertForSequenceClassification>(&device, |model| {
        (&model.bert, vec![("classifier.weight", &model.classifier.weight)])
    });
    ROBERTA.check::<RobertaForSequenceClassification>(&device, |model| {
        let head = &model.classifier;
        let dense = ("classifier.dense.weight", &head.dense.weight);
        (&model.roberta, vec![dense, ("classifier.out_proj.weight", &head.out_proj.weight)])
    });
    check_distilbert_and_modernbert(&device);
    check_llama(&device);
    GPT2.check::<Gpt2LMHeadModel>(&device, |model| {
        let block = &model.transformer.h[0];
        let (attn, mlp) = (&block.attn, &block.mlp);
        [&attn.c_attn, &attn.c_proj, &mlp.c_fc, &mlp.c_proj].map(|linear| &linear.weight)
    });
    BLOOM.check::<BloomForCausalLM>(&device, |model| {
        let block = &model.transformer.h[0];
        let (attention, mlp) = (&block.self_attention, &block.mlp);
        let linears =
            [&attention.query_key_value, &attention.dense, &mlp.dense_h_to_4h, &mlp.dense_4h_to_h];
        linears.map(|linear| &linear.weight)
    });
}
