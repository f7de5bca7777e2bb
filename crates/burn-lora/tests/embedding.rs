//! Adapters on an embedding's table, against the composed table of `Embedding::forward`, and what a head that shares the
//! table sees of them.

mod test_device;

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig};
use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor, TensorData};
use burn_lora::{
    Adapter, AdapterConfig, Adapters, Init, LoraError, Method, Sizes, attach, attach_sets, detach,
    embed, sets, unembed,
};

const SIZES: Sizes = Sizes { d_in: 19, d_out: 8, rank: 3, groups: 1 };

/// Sums of 3 products beside a number, and of 19 squares in DoRA's norm: some 20 roundings of 6e-8.
const TOLERANCE: f32 = 5e-6;

fn device() -> Device {
    burn_lora::device::parse(&test_device::name()).unwrap()
}

fn table(device: &Device) -> Embedding {
    EmbeddingConfig::new(SIZES.d_in, SIZES.d_out).init(device)
}

/// With a row that comes twice and rows that do not come.
fn ids(device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(vec![3i64, 0, 18, 3, 7, 11], [2, 3]), device)
}

fn moved(name: &str, method: Method, embedding: &Embedding) -> Adapter {
    let config = AdapterConfig::new(SIZES.rank).with_alpha(5.0).with_method(method);
    let mut value = 0.1 + name.len() as f32 / 50.0;
    Adapter::from_values(name, &config, &embedding.weight, |factor| {
        let next = |_| {
            value = (value * 7.3_f32 + 0.31) % 1.0;
            value - 0.4 * f32::from(u8::from(factor.name != "magnitude"))
        };
        (0..factor.shape(SIZES).iter().product()).map(next).collect()
    })
    .unwrap()
}

fn embedding_kinds() -> impl Iterator<Item = Method> {
    Method::ALL.iter().copied().filter(|method| method.embeds())
}

fn check_close<const D: usize>(what: &str, left: Tensor<D>, right: Tensor<D>) {
    let largest: f32 = right.clone().abs().max().into_scalar();
    let off: f32 = (left - right).abs().max().into_scalar();
    assert!(off <= TOLERANCE * largest, "{what}: off by {off} of {largest}");
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

#[test]
fn rows_are_those_of_the_composed_table_and_so_are_all_gradients() {
    assert_eq!(embedding_kinds().collect::<Vec<_>>(), [Method::Lora, Method::Dora]);
    let device = device().autodiff();
    let plain = table(&device).no_grad();
    let weights = Tensor::<3>::random([2, 3, SIZES.d_out], Distribution::Default, &device);
    for method in embedding_kinds() {
        let adapted = attach(plain.clone(), "weight", moved("one", method, &plain)).unwrap();
        let adapter = sets(&adapted)[0].1.get("one").unwrap().clone();
        let of = |rows: Tensor<3>| {
            let grads = (rows * weights.clone()).sum().backward();
            let two = |name| adapter.factor::<2>(name).unwrap().val().grad(&grads).unwrap();
            let one = adapter.factor::<1>("magnitude");
            (two("a"), two("b"), one.map(|it| it.val().grad(&grads).unwrap()))
        };
        let (factored, composed) = (embed(&adapted, ids(&device)), adapted.forward(ids(&device)));
        check_close(&format!("{method} rows"), factored.clone(), composed.clone());
        let (ours, theirs) = (of(factored), of(composed));
        check_close(&format!("{method} dA"), ours.0.clone(), theirs.0);
        check_close(&format!("{method} dB"), ours.1, theirs.1);
        assert_eq!(ours.2.is_some(), method == Method::Dora);
        if let (Some(ours), Some(theirs)) = (ours.2, theirs.2) {
            check_close(&format!("{method} dm"), ours, theirs);
        }
        // Rows that no id names learn nothing.
        let unnamed = ours.0.narrow(0, 1, 2);
        assert!(values(unnamed).iter().all(|value| *value == 0.0), "{method}");
    }
}

#[test]
fn a_head_that_shares_the_table_keeps_it_as_it_was_whatever_hangs_on_it() {
    let device = device();
    let plain = table(&device);
    let hidden = Tensor::<2>::random([4, SIZES.d_out], Distribution::Default, &device);
    let logits = values(unembed(&plain, hidden.clone()));
    for method in embedding_kinds() {
        let adapted = attach(plain.clone(), "weight", moved("one", method, &plain)).unwrap();
        assert_eq!(values(unembed(&adapted, hidden.clone())), logits, "{method}");
        let rows = embed(&adapted, ids(&device));
        let merge = |path: &str| {
            let (_, set) = sets(&adapted).into_iter().find(|(at, _)| at == path)?;
            Some(set.merge(plain.weight.val()))
        };
        let merged = attach_sets(detach(adapted.clone()), merge);
        check_close(&format!("{method} merged"), embed(&merged, ids(&device)), rows);
        assert_eq!(values(unembed(&merged, hidden.clone())), logits, "{method} merged");
        let off = detach(merged);
        assert_eq!(values(embed(&off, ids(&device))), values(plain.forward(ids(&device))));
    }
}

#[test]
fn several_adapters_add_their_changes_and_a_multiplier_of_zero_is_the_table() {
    let device = device();
    let plain = table(&device);
    let (one, other) = (moved("one", Method::Lora, &plain), moved("other", Method::Dora, &plain));
    let rows = |adapters: &[Adapter]| {
        let mut set = Adapters::single(adapters[0].clone());
        for adapter in &adapters[1..] {
            set = set.with(adapter.clone());
        }
        let mut set = Some(set);
        embed(&attach_sets(plain.clone(), |_| set.take()), ids(&device))
    };
    let base = plain.forward(ids(&device));
    let both = rows(&[one.clone(), other.clone()]);
    check_close(
        "sum",
        both,
        rows(std::slice::from_ref(&one)) + rows(std::slice::from_ref(&other)) - base.clone(),
    );
    let none = rows(&[one.with_multiplier(0.0), other.with_active(false)]);
    assert_eq!(values(none), values(base));
}

#[test]
fn a_table_in_sixteen_bits_gives_rows_in_f32() {
    let device = device();
    let half = table(&device).weight.val().cast(FloatDType::BF16);
    let plain = Embedding { weight: Param::from_tensor(half.clone()) };
    let wide = Embedding { weight: Param::from_tensor(half.cast(FloatDType::F32)) };
    for method in embedding_kinds() {
        let of = |embedding: &Embedding| {
            let adapter = moved("one", method, embedding);
            embed(&attach(embedding.clone(), "weight", adapter).unwrap(), ids(&device))
        };
        check_close(&format!("{method}"), of(&plain), of(&wide));
    }
}

/// PEFT's `reset_lora_parameters`: A zero, B from a standard normal distribution. Of 8,192 draws the standard error of the
/// mean is 1.1 % and that of the deviation 0.8 %: 5 % is more than four of either.
#[test]
fn a_fresh_adapter_leaves_the_table_as_it_is_with_a_at_zero_and_b_normal() {
    let device = device();
    let plain = EmbeddingConfig::new(5, 1024).init(&device);
    for method in embedding_kinds() {
        let config = AdapterConfig::new(8).with_method(method).with_dropout(0.5);
        let fresh = |seed| Adapter::init_embedding("x", &config, &plain.weight, seed).unwrap();
        let adapter = fresh(3);
        assert_eq!(adapter.dropout(), 0.0, "PEFT drops nothing of an embedding");
        let of = |adapter: &Adapter, name| values(adapter.factor::<2>(name).unwrap().val());
        assert!(of(&adapter, "a").iter().all(|value| *value == 0.0));
        let b = of(&adapter, "b");
        let mean = b.iter().map(|v| f64::from(*v)).sum::<f64>() / 8192.0;
        let variance = b.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / 8192.0;
        assert!(mean.abs() < 0.05 && (variance.sqrt() - 1.0).abs() < 0.05, "{mean} {variance}");
        assert_eq!(b, of(&fresh(3), "b"));
        assert_ne!(b, of(&fresh(4), "b"));
        let adapted = attach(plain.clone(), "weight", adapter).unwrap();
        let ids = Tensor::from_data(TensorData::new(vec![0i64, 4, 2], [1, 3]), &device);
        check_close("start", embed(&adapted, ids.clone()), plain.forward(ids));
    }
}

#[test]
fn what_an_embedding_cannot_have_is_refused_with_the_way_out() {
    let plain = table(&device());
    let refused = |config: AdapterConfig| -> LoraError {
        Adapter::init_embedding("x", &config, &plain.weight, 0).unwrap_err()
    };
    let miss = refused(AdapterConfig::new(2).with_method(Method::Miss)).to_string();
    assert!(
        miss.contains("MiSS adapts linear layers") && miss.contains("use lora or dora"),
        "{miss}"
    );
    let pissa = refused(AdapterConfig::new(2).with_init(Init::Pissa)).to_string();
    assert!(pissa.contains("pissa") && pissa.contains("leave the embedding out"), "{pissa}");
}

/// PEFT's `ensure_weight_tying`: the head computes with the changed table, and both ends teach the factors.
#[test]
fn a_head_that_is_tied_computes_with_the_changed_table_and_learns() {
    let device = device().autodiff();
    let plain = table(&device).no_grad();
    let tied = moved("one", Method::Lora, &plain).with_tied(true);
    assert!(tied.is_tied() && !moved("one", Method::Dora, &plain).with_tied(true).is_tied());
    let adapted = attach(plain.clone(), "weight", tied).unwrap();
    let adapter = sets(&adapted)[0].1.get("one").unwrap().clone();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, &device);
    let hidden = random([4, SIZES.d_out]);
    let of_rows = random([6, SIZES.d_out]);
    let of_logits = random([4, SIZES.d_in]);
    let learn = |rows: Tensor<3>, head: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        let hidden = hidden.clone().require_grad();
        let logits = head(hidden.clone());
        let rows = rows.reshape([6, SIZES.d_out]);
        let loss = (rows * of_rows.clone()).sum() + (logits.clone() * of_logits.clone()).sum();
        let grads = loss.backward();
        let of = |name| adapter.factor::<2>(name).unwrap().val().grad(&grads).unwrap();
        [logits, of("a"), of("b"), hidden.grad(&grads).unwrap()]
    };
    let ours = learn(embed(&adapted, ids(&device)), &|hidden| unembed(&adapted, hidden));
    let composed = learn(adapted.forward(ids(&device)), &|hidden| {
        hidden.matmul(adapted.weight.val().transpose())
    });
    for (what, (ours, theirs)) in
        ["logits", "dA", "dB", "dhidden"].into_iter().zip(ours.into_iter().zip(composed))
    {
        check_close(what, ours.inner(), theirs.inner());
    }

    // At the start the head is the table's, and it would learn at once: B is drawn as the head's A is.
    let config = AdapterConfig::new(SIZES.rank);
    let fresh = Adapter::init_tied_embedding("x", &config, &plain.weight, 3).unwrap();
    let b = values(fresh.factor::<2>("b").unwrap().val());
    let bound = 1.0 / (SIZES.d_out as f32).sqrt();
    assert!(b.iter().all(|value| value.abs() <= bound) && b.iter().any(|value| *value != 0.0));
    let fresh = attach(plain.clone(), "weight", fresh).unwrap();
    assert_eq!(values(unembed(&fresh, hidden.clone())), values(unembed(&plain, hidden.clone())));
    let dora = config.with_method(Method::Dora);
    let error = Adapter::init_tied_embedding("x", &dora, &plain.weight, 3).unwrap_err();
    assert_eq!(error, LoraError::TiedMethod { method: Method::Dora });
}
