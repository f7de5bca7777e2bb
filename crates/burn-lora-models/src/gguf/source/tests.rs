use super::super::writer::{Writer, tiny_llama, tiny_qwen2, zeros};
use super::super::{GgmlType, GgufError};
use super::*;

fn spec(key: &str, shape: &[usize], role: Role) -> TensorSpec {
    TensorSpec { key: key.into(), shape: shape.to_vec(), role, dtype: WeightDtype::F32 }
}

/// What the tiny models need.
fn specs(biases: bool) -> Vec<TensorSpec> {
    let layer = |name: &str| format!("model.layers.0.{name}");
    let mut specs = vec![
        spec("model.embed_tokens.weight", &[5, 4], Role::Embedding),
        spec(&layer("input_layernorm.weight"), &[4], Role::Scale),
        spec(&layer("self_attn.q_proj.weight"), &[4, 4], Role::Linear),
        spec(&layer("self_attn.k_proj.weight"), &[2, 4], Role::Linear),
        spec(&layer("self_attn.v_proj.weight"), &[2, 4], Role::Linear),
        spec(&layer("self_attn.o_proj.weight"), &[4, 4], Role::Linear),
        spec(&layer("post_attention_layernorm.weight"), &[4], Role::Scale),
        spec(&layer("mlp.gate_proj.weight"), &[6, 4], Role::Linear),
        spec(&layer("mlp.up_proj.weight"), &[6, 4], Role::Linear),
        spec(&layer("mlp.down_proj.weight"), &[4, 6], Role::Linear),
        spec("model.norm.weight", &[4], Role::Scale),
    ];
    if biases {
        specs.push(spec(&layer("self_attn.q_proj.bias"), &[4], Role::Bias));
        specs.push(spec(&layer("self_attn.k_proj.bias"), &[2], Role::Bias));
        specs.push(spec(&layer("self_attn.v_proj.bias"), &[2], Role::Bias));
    }
    specs
}

/// The values of one tensor.
fn values(writer: &Writer, specs: &[TensorSpec], key: &str) -> Vec<f32> {
    let mut ignore = |_, _| {};
    let mut source = GgufSource::new(writer.open().unwrap(), specs, &mut ignore).unwrap();
    let spec = specs.iter().find(|spec| spec.key == key).unwrap();
    match source.values(spec).unwrap() {
        Some(Values::F32(values)) => values,
        other => panic!("{other:?}"),
    }
}

fn problems(writer: &Writer, specs: &[TensorSpec]) -> Vec<GgufTensorProblem> {
    match GgufSource::new(writer.open().unwrap(), specs, &mut |_, _| {}).map(|_| ()) {
        Err(GgufError::Tensors { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_linear_is_transposed_and_an_embedding_is_not() {
    let (writer, specs) = (tiny_llama(), specs(false));
    // [4, 6] counted from 0, transposed.
    let down = values(&writer, &specs, "model.layers.0.mlp.down_proj.weight");
    let expected: Vec<f32> =
        (0..6).flat_map(|column| (0..4).map(move |row| (row * 6 + column) as f32)).collect();
    assert_eq!(down, expected);
    let table = values(&writer, &specs, "model.embed_tokens.weight");
    assert_eq!(table, (0..20).map(|i| i as f32).collect::<Vec<_>>());
    assert_eq!(values(&writer, &specs, "model.norm.weight"), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_llamas_queries_and_keys_are_put_back_in_order() {
    // Two heads of four rows, one column; a file has rows 0 2 1 3 of each head in this order.
    let q = [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0];
    // The two heads of q share one of k, of eight rows here: 0 4 1 5 2 6 3 7.
    let k = [0.0, 4.0, 1.0, 5.0, 2.0, 6.0, 3.0, 7.0];
    let writer = |architecture: &str| {
        Writer::new()
            .text("general.architecture", architecture)
            .u32(&format!("{architecture}.attention.head_count"), 2)
            .u32(&format!("{architecture}.attention.head_count_kv"), 1)
            .f32s("blk.0.attn_q.weight", &[8, 1], &q)
            .f32s("blk.0.attn_q.bias", &[8], &q)
            .f32s("blk.0.attn_k.weight", &[8, 1], &k)
            .f32s("blk.0.attn_k.bias", &[8], &k)
            .f32s("blk.0.attn_v.weight", &[8, 1], &k)
    };
    let key = |module: &str, kind: &str| format!("model.layers.0.self_attn.{module}.{kind}");
    let specs = [
        spec(&key("q_proj", "weight"), &[8, 1], Role::Linear),
        spec(&key("q_proj", "bias"), &[8], Role::Bias),
        spec(&key("k_proj", "weight"), &[8, 1], Role::Linear),
        spec(&key("k_proj", "bias"), &[8], Role::Bias),
        spec(&key("v_proj", "weight"), &[8, 1], Role::Linear),
    ];
    let counted = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
    for spec in &specs[..4] {
        assert_eq!(values(&writer("llama"), &specs, &spec.key), counted, "{}", spec.key);
    }
    assert_eq!(values(&writer("llama"), &specs, &specs[4].key), k);
    // Qwen2 turns the pairs that Hugging Face turns.
    assert_eq!(values(&writer("qwen2"), &specs, &specs[0].key), q);
    assert_eq!(values(&writer("qwen2"), &specs, &specs[3].key), k);
}

#[test]
fn rows_beyond_a_chunk_land_where_they_belong() {
    // 3 heads of 50 rows, 4 columns: three chunks of 64 rows or fewer, heads across their ends.
    let (rows, width, head) = (150, 4, 50);
    let number = |row: usize, column: usize| (row * width + column) as f32;
    let original = |row: usize| {
        let within = row % head;
        row / head * head + within % 2 * (head / 2) + within / 2
    };
    let file: Vec<f32> = (0..rows)
        .flat_map(|row| (0..width).map(move |column| number(original(row), column)))
        .collect();
    let writer = Writer::new()
        .text("general.architecture", "llama")
        .u32("llama.attention.head_count", 3)
        .f32s("blk.0.attn_q.weight", &[rows, width], &file);
    let key = "model.layers.0.self_attn.q_proj.weight";
    let found = values(&writer, &[spec(key, &[rows, width], Role::Linear)], key);
    let expected: Vec<f32> =
        (0..width).flat_map(|column| (0..rows).map(move |row| number(row, column))).collect();
    assert_eq!(found, expected);
}

#[test]
fn quantized_linears_are_transposed_too() {
    // One block a row: scale 1, the row's number in every nibble's place (Q8_0).
    let block = |row: u8| [&half::f16::ONE.to_le_bytes()[..], &[row; 32]].concat();
    let bytes: Vec<u8> = (0..70).flat_map(block).collect();
    let writer = Writer::new()
        .text("general.architecture", "llama")
        .u32("llama.attention.head_count", 1)
        .tensor("output.weight", &[70, 32], 8, &bytes);
    let found =
        values(&writer, &[spec("lm_head.weight", &[70, 32], Role::Linear)], "lm_head.weight");
    let expected: Vec<f32> = (0..32).flat_map(|_| (0..70).map(|row| row as f32)).collect();
    assert_eq!(found, expected);
}

#[test]
fn progress_ends_at_the_bytes_of_the_file() {
    let specs = specs(true);
    let mut told = Vec::new();
    let mut note = |done, total| told.push((done, total));
    let mut source = GgufSource::new(tiny_qwen2().open().unwrap(), &specs, &mut note).unwrap();
    let report = source.report();
    for spec in &specs {
        assert!(source.values(spec).unwrap().is_some());
    }
    // 20 + 4 + 16 + 8 + 8 + 16 + 4 + 24 + 24 + 24 + 4 + 4 + 2 + 2 numbers of four bytes.
    assert_eq!((report.tensors, report.bytes), (14, 640));
    assert_eq!((told.first(), told.last()), (Some(&(0, 640)), Some(&(640, 640))));
}

#[test]
fn all_that_does_not_fit_is_told_at_once() {
    let writer = tiny_llama()
        .without_tensor("output_norm.weight")
        .without_tensor("blk.0.attn_v.weight")
        .f32s("blk.0.attn_v.weight", &[4, 2], &[0.0; 8])
        .f32s("blk.1.attn_v.weight", &[2, 4], &[0.0; 8])
        .f32s("v.patch_embd.weight", &[1], &[0.0]);
    assert_eq!(
        problems(&writer, &specs(false)),
        [
            GgufTensorProblem::Shape {
                tensor: "blk.0.attn_v.weight".into(),
                found: vec![4, 2],
                expected: vec![2, 4],
            },
            GgufTensorProblem::Missing { key: "model.norm.weight".into() },
            GgufTensorProblem::Surplus { tensor: "blk.1.attn_v.weight".into() },
            GgufTensorProblem::Surplus { tensor: "v.patch_embd.weight".into() },
        ]
    );
}

#[test]
fn a_quantization_that_is_not_read_is_among_the_problems() {
    let writer = Writer::new()
        .text("general.architecture", "qwen2")
        .u32("qwen2.attention.head_count", 1)
        .tensor("output.weight", &[1, 256], 10, &zeros(GgmlType::Q2_K, 256));
    let specs = [spec("lm_head.weight", &[1, 256], Role::Linear)];
    let found = problems(&writer, &specs);
    let expected =
        GgufTensorProblem::Quantization { tensor: "output.weight".into(), found: GgmlType::Q2_K };
    assert_eq!(found, [expected]);
    assert!(found[0].to_string().contains("Q2_K"), "{}", found[0]);
}

#[test]
fn rows_that_no_heads_share_are_refused() {
    let writer = Writer::new()
        .text("general.architecture", "llama")
        .u32("llama.attention.head_count", 3)
        .f32s("blk.0.attn_q.weight", &[9, 1], &[0.0; 9]);
    let specs = [spec("model.layers.0.self_attn.q_proj.weight", &[9, 1], Role::Linear)];
    let error =
        GgufSource::new(writer.open().unwrap(), &specs, &mut |_, _| {}).map(|_| ()).unwrap_err();
    assert!(matches!(error, GgufError::Heads { rows: 9, heads: 3, .. }), "{error}");
}

#[test]
fn a_tensor_outside_of_the_list_is_refused() {
    let mut ignore = |_, _| {};
    let file = tiny_llama().open().unwrap();
    let mut source = GgufSource::new(file, &specs(false), &mut ignore).unwrap();
    let other = spec("lm_head.weight", &[5, 4], Role::Linear);
    assert!(source.values(&other).unwrap_err().to_string().contains("lm_head.weight"));
    let bent = spec("model.norm.weight", &[2, 2], Role::Scale);
    assert!(source.values(&bent).unwrap_err().to_string().contains("output_norm.weight"));
}

#[test]
fn sixteen_bits_are_the_rounded_numbers_of_f32() {
    let specs = specs(false);
    let mut ignore = |_, _| {};
    let mut source = GgufSource::new(tiny_llama().open().unwrap(), &specs, &mut ignore).unwrap();
    for spec in &specs {
        for dtype in [WeightDtype::F16, WeightDtype::Bf16] {
            let expected = Values::rounded(values(&tiny_llama(), &specs, &spec.key), dtype);
            let spec = TensorSpec { dtype, ..spec.clone() };
            assert_eq!(source.values(&spec).unwrap(), Some(expected), "{} {dtype:?}", spec.key);
        }
    }
}
