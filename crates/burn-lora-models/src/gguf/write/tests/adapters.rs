//! What llama.cpp adds to a weight by an adapter's file, in float64, is what merging adds to the weight's tensor.

use std::collections::{BTreeMap, BTreeSet};

use burn_lora_patch::combine::{StoredAdapter, StoredLayer};
use burn_lora_patch::readers::{Reader, for_reader};

use super::*;
use crate::ModelError;

/// The file's layers of a PEFT adapter.
fn layers(adapter: &StoredAdapter) -> Vec<LowRank> {
    let in_f32 = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
    let layer = |(path, StoredLayer { place, factors }): (&String, &StoredLayer)| LowRank {
        path: path.clone(),
        is_table: place.is_table(),
        rank: factors.rank,
        d_in: factors.d_in,
        d_out: factors.d_out,
        a: in_f32(&factors.a),
        b: in_f32(&factors.b),
    };
    adapter.layers.iter().map(layer).collect()
}

fn config(base: &str) -> CausalConfig {
    CausalConfig::from_path(&golden(base)).unwrap()
}

/// The adapter's file, read again.
fn adapter_file(base: &str, kind: &str) -> (tempfile::TempDir, GgufFile) {
    let adapter = for_reader(golden(base).join(kind), Reader::LlamaCpp).unwrap().adapter;
    let alpha = adapter.config.lora_alpha as f32;
    let of = GgufAdapter::new::<CausalLm>(&config(base), &device(), kind, alpha, layers(&adapter));
    let of = of.unwrap();
    assert_eq!(of.tensors(), 2 * adapter.layers.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("adapter.gguf");
    std::fs::write(&path, of.to_bytes()).unwrap();
    (dir, GgufFile::open(&path).unwrap())
}

fn text(file: &GgufFile, key: &str) -> String {
    match file.metadata().get(key) {
        Some(Value::Text(text)) => text.clone(),
        other => panic!("{key}: {other:?}"),
    }
}

fn alpha(file: &GgufFile) -> f64 {
    match file.metadata().get("adapter.lora.alpha") {
        Some(Value::F32(alpha)) => f64::from(*alpha),
        other => panic!("{other:?}"),
    }
}

/// Numbers of a tensor in f64, with its rows and columns.
fn matrix(file: &mut GgufFile, name: &str) -> (Vec<f64>, usize, usize) {
    let shape = file.tensor(name).unwrap_or_else(|| panic!("no {name}")).shape.clone();
    let values = file.read(name).unwrap().into_iter().map(f64::from).collect();
    (values, shape[0], shape[1])
}

/// llama.cpp's change of every tensor that the file adapts, and beside each entry the sum of the magnitudes in it.
fn changes(file: &mut GgufFile) -> BTreeMap<String, (Vec<f64>, Vec<f64>, usize)> {
    let alpha = alpha(file);
    let names: Vec<String> = file.tensors().map(|tensor| tensor.name.clone()).collect();
    let mut changes = BTreeMap::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(".lora_a")) {
        let (a, rows, columns) = matrix(file, &format!("{name}.lora_a"));
        let (b, d_out, rank) = matrix(file, &format!("{name}.lora_b"));
        let scale = alpha / rank as f64;
        let is_table = name == "token_embd.weight";
        // A row of the token table is looked up in A, and A is multiplied with in any other tensor.
        let term = |row: usize, column: usize, k: usize| match is_table {
            true => scale * a[row * rank + k] * b[column * rank + k],
            false => scale * b[row * rank + k] * a[k * columns + column],
        };
        let (height, width) = if is_table { (rows, d_out) } else { (d_out, columns) };
        let entries = (0..height * width).map(|at| (at / width, at % width));
        let (sums, sizes) = entries
            .map(|(row, column)| {
                let terms = (0..rank).map(|k| term(row, column, k));
                terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
            })
            .unzip();
        changes.insert(name.to_owned(), (sums, sizes, rank));
    }
    changes
}

/// That base and adapter are the merged model, entry by entry.
fn holds(base: &str, kind: &str) -> f64 {
    let (_dir, mut file) = adapter_file(base, kind);
    let model = loaded(&golden(base));
    let mut adapted = model.clone();
    peft::load(&mut adapted, golden(base).join(kind), &peft::LoadOptions::default()).unwrap();
    let [(_one, plain, _), (_other, merged, _)] =
        [&model, &adapted].map(|model| written(model, FileType::F32));
    let [mut plain, mut merged] = [plain, merged].map(|path| GgufFile::open(&path).unwrap());
    assert_eq!(text(&file, "general.architecture"), text(&plain, "general.architecture"));
    assert_eq!(text(&file, "general.type"), "adapter");
    assert_eq!(text(&file, "adapter.type"), "lora");

    let changes = changes(&mut file);
    let names: Vec<String> = plain.tensors().map(|tensor| tensor.name.clone()).collect();
    let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    assert!(changes.keys().all(|name| known.contains(name.as_str())), "{base} {kind}");
    let mut largest = 0.0_f64;
    for name in &names {
        let (before, after) = (plain.read(name).unwrap(), merged.read(name).unwrap());
        let Some((sums, sizes, rank)) = changes.get(name) else {
            assert_eq!(before, after, "{base} {kind} {name}");
            continue;
        };
        assert_eq!(sums.len(), before.len(), "{base} {kind} {name}");
        for (at, (sum, size)) in sums.iter().zip(sizes).enumerate() {
            let by_hand = f64::from(before[at]) + sum;
            let off = (f64::from(after[at]) - by_hand).abs();
            // Merging rounds each of rank + 1 products and sums in f32 by 2^-24 of what they hold, and the factors were
            // rounded once where a scale was folded into them.
            let unit = 2.0_f64.powi(-24);
            let allowed = unit * (by_hand.abs() + (*rank as f64 + 4.0) * size);
            assert!(off <= allowed, "{base} {kind} {name} {at}: {off:e} of {allowed:e}");
        }
        largest = sums.iter().fold(largest, |most, sum| most.max(sum.abs()));
    }
    largest
}

#[test]
fn an_adapters_file_adds_what_merging_adds() {
    for base in ["llama", "qwen2", "qwen3", "gpt2", "bloom"] {
        for kind in ["lora", "rslora", "patterns", "partial"] {
            if golden(base).join(kind).is_dir() {
                assert!(holds(base, kind) > 1e-3, "{base} {kind} changes something");
            }
        }
    }
}

/// What llama.cpp's own script makes of the same directory (`fixtures/gguf_adapters/convert.sh`), bit for bit.
#[test]
fn an_adapters_file_is_what_llama_cpps_conversion_writes() {
    let conversions = golden("../gguf_adapters");
    for (base, kind) in [
        ("llama", "lora"),
        ("qwen2", "lora"),
        ("qwen3", "lora"),
        ("bloom", "lora"),
        ("kinds", "embedding"),
    ] {
        let mut theirs = GgufFile::open(&conversions.join(format!("{base}.gguf"))).unwrap();
        let (_dir, mut ours) = adapter_file(base, kind);
        let said = |file: &GgufFile| -> BTreeMap<String, Value> {
            let keys = file.metadata().iter().filter(|(key, _)| *key != "general.name");
            keys.map(|(key, value)| (key.to_owned(), value.clone())).collect()
        };
        assert_eq!(said(&ours), said(&theirs), "{base}");
        let listed = |file: &GgufFile| -> Vec<(String, Vec<usize>)> {
            file.tensors().map(|it| (it.name.clone(), it.shape.clone())).collect()
        };
        let tensors = listed(&theirs);
        assert_eq!(listed(&ours), tensors, "{base}");
        for (name, _) in tensors {
            assert_eq!(ours.read(&name).unwrap(), theirs.read(&name).unwrap(), "{base} {name}");
        }
    }
}

/// Biases on q, k and v, heads that do not share out the residual stream evenly, and the token table.
#[test]
fn the_token_table_of_a_base_with_a_head_of_its_own_is_adapted() {
    assert!(holds("kinds", "embedding") > 1e-3);
    assert!(holds("kinds", "patterns") > 1e-3);
}

/// What needs no folding is what PEFT's file has: bit for bit, rsLoRA by its alpha.
#[test]
fn factors_of_one_scale_keep_their_numbers() {
    for (kind, expected) in [("lora", 8.0), ("rslora", 16.0)] {
        let read = StoredAdapter::read(golden("llama").join(kind)).unwrap();
        let (_dir, mut file) = adapter_file("llama", kind);
        assert_eq!(alpha(&file), expected, "{kind}");
        let factors = &read.layers["model.layers.0.self_attn.v_proj"].factors;
        assert_eq!(matrix(&mut file, "blk.0.attn_v.weight.lora_b").0, factors.b, "{kind}");
        assert_eq!(matrix(&mut file, "blk.0.attn_v.weight.lora_a").0, factors.a, "{kind}");
    }
    // The pattern's alpha of 3 is 8 with three eighths in B.
    let read = StoredAdapter::read(golden("llama").join("patterns")).unwrap();
    let (_dir, mut file) = adapter_file("llama", "patterns");
    assert_eq!(alpha(&file), 8.0);
    let factors = &read.layers["model.layers.0.mlp.up_proj"].factors;
    let folded: Vec<f64> = factors.b.iter().map(|b| f64::from((b * 3.0 / 8.0) as f32)).collect();
    assert_eq!(matrix(&mut file, "blk.0.ffn_up.weight.lora_b"), (folded, factors.d_out, 6));
}

/// Rows of a Llama's queries and keys lie in pairs: those of B move, and A stays. Four heads of twelve.
#[test]
fn rows_of_b_lie_where_the_bases_rows_lie() {
    let read = StoredAdapter::read(golden("kinds").join("embedding")).unwrap();
    let (_dir, mut file) = adapter_file("kinds", "embedding");
    let factors = &read.layers["model.layers.0.self_attn.q_proj"].factors;
    let rank = factors.rank;
    let (b, rows, _) = matrix(&mut file, "blk.0.attn_q.weight.lora_b");
    assert_eq!(rows, 48);
    for row in 0..rows {
        let (head, within) = (row / 12, row % 12);
        let from = head * 12 + within % 2 * 6 + within / 2;
        assert_eq!(b[row * rank..][..rank], factors.b[from * rank..][..rank], "{row}");
    }
    assert_eq!(matrix(&mut file, "blk.0.attn_q.weight.lora_a").0, factors.a);
    // Rows of the table are looked up in A.
    let factors = &read.layers["model.embed_tokens"].factors;
    let (a, rows, columns) = matrix(&mut file, "token_embd.weight.lora_a");
    assert_eq!((rows, columns), (211, rank));
    assert!((0..rows * rank).all(|at| a[at] == factors.a[at % rank * 211 + at / rank]));
    assert_eq!(matrix(&mut file, "token_embd.weight.lora_b").0, factors.b);
}

fn low_rank(path: &str, is_table: bool, d_in: usize, d_out: usize) -> LowRank {
    let (a, b) = (vec![0.5; d_in], vec![0.25; d_out]);
    LowRank { path: path.to_owned(), is_table, rank: 1, d_in, d_out, a, b }
}

fn refused(config: &Json, layer: LowRank) -> GgufWriteError {
    let config = CausalConfig::from_json(&config.to_string(), "config.json".as_ref()).unwrap();
    match GgufAdapter::new::<CausalLm>(&config, &device(), "a", 1.0, vec![layer]) {
        Err(ModelError::GgufWrite(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_base_has_not_or_llama_cpp_asks_for_no_adapter_is_refused_by_its_path() {
    let untied = wide();
    let mut tied = wide();
    tied["tie_word_embeddings"] = json!(true);
    let (q, table, head) = ("model.layers.0.self_attn.q_proj", "model.embed_tokens", "lm_head");
    let error = refused(&untied, low_rank("model.layers.7.self_attn.q_proj", false, 256, 256));
    assert!(matches!(&error, GgufWriteError::NoLayer { path } if path.contains("layers.7")));
    let error = refused(&untied, low_rank(q, false, 256, 128));
    assert!(error.to_string().contains("from 256 to 128 numbers, and the base's from 256 to 256"));
    assert!(matches!(
        refused(&tied, low_rank(table, true, 20, 256)),
        GgufWriteError::TiedTable { .. }
    ));
    assert!(matches!(
        refused(&tied, low_rank(head, false, 256, 20)),
        GgufWriteError::TiedHead { .. }
    ));
    // A norm is a layer, but none with a matrix.
    let error = refused(&untied, low_rank("model.norm", false, 256, 256));
    assert!(matches!(error, GgufWriteError::NoLayer { .. }));
    let gpt2 = json!({"model_type": "gpt2", "vocab_size": 20, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16});
    let error = refused(&gpt2, low_rank("transformer.wpe", true, 16, 8));
    assert!(matches!(&error, GgufWriteError::NotAdapted { path } if path == "transformer.wpe"));
}
