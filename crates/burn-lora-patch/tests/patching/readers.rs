//! Adapters put for programs that read less of them than PEFT does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_patch::PatchError;
use burn_lora_patch::combine::{Factors, Place, StoredAdapter, StoredLayer};
use burn_lora_patch::peft::{Modules, PeftConfig};
use burn_lora_patch::readers::{Reader, ReaderProblem, for_reader};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

fn golden(name: &str) -> PathBuf {
    fixtures().join("golden").join(name)
}

fn refused(dir: impl AsRef<Path>, reader: Reader) -> ReaderProblem {
    match for_reader(dir, reader) {
        Err(PatchError::Reader(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

/// What is written and read again, layer by layer, is the change that PEFT has: each number was rounded to f32 once.
fn same_changes(before: &StoredAdapter, after: &StoredAdapter) {
    assert_eq!(before.layers.keys().collect::<Vec<_>>(), after.layers.keys().collect::<Vec<_>>());
    for (path, StoredLayer { factors, place }) in &before.layers {
        let written = &after.layers[path];
        assert_eq!(written.place, *place);
        let magnitudes = |values: &[f64]| values.iter().map(|value| value.abs()).collect();
        let (a, b) = (magnitudes(&factors.a), magnitudes(&factors.b));
        let sizes = Factors { a, b, scale: factors.scale.abs(), ..factors.clone() }.change();
        let changes = factors.change().into_iter().zip(written.factors.change());
        for ((expected, found), size) in changes.zip(sizes) {
            let allowed = 1.001 * 2.0_f64.powi(-24) * size;
            assert!((expected - found).abs() <= allowed, "{path}: {expected} and {found}");
        }
    }
}

#[test]
fn patterns_and_rslora_are_one_rank_and_one_scale_for_vllm() {
    for (name, rank) in [
        ("llama/patterns", 6),
        ("llama/rslora", 4),
        ("gpt2/patterns", 6),
        ("kinds/patterns", 6),
        ("kinds/layers", 4),
        ("kinds/exclude", 4),
        ("kinds/regex", 4),
        ("kinds/embedding", 4),
    ] {
        let before = StoredAdapter::read(golden(name)).unwrap();
        let read = for_reader(golden(name), Reader::Vllm).unwrap();
        let dir = tempfile::tempdir().unwrap();
        read.adapter.write(dir.path()).unwrap();
        let after = StoredAdapter::read(dir.path()).unwrap();
        same_changes(&before, &after);
        // All that vLLM looks at, and nothing that it passes over.
        let PeftConfig { r, lora_alpha, use_rslora, rank_pattern, alpha_pattern, .. } =
            &after.config;
        assert_eq!(*r, rank, "{name}");
        assert!(!use_rslora && rank_pattern.is_empty() && alpha_pattern.is_empty(), "{name}");
        for (path, layer) in &after.layers {
            assert_eq!(layer.factors.rank, rank, "{name} {path}");
            assert_eq!(layer.factors.scale, lora_alpha / rank as f64, "{name} {path}");
        }
        assert!(matches!(after.config.target_modules, Some(Modules::Names(_))), "{name}");
        assert_eq!(after.config.exclude_modules, None);
        assert_eq!(after.config.layers_to_transform, None);
        assert!(after.whole.is_empty(), "{name}");
    }
}

#[test]
fn what_has_one_scale_already_keeps_its_numbers() {
    let before = StoredAdapter::read(golden("llama/lora")).unwrap();
    for reader in [Reader::Vllm, Reader::LlamaCpp] {
        let read = for_reader(golden("llama/lora"), reader).unwrap();
        assert_eq!(read.adapter, before, "{reader}");
        assert!(read.notes.is_empty(), "{reader}: {:?}", read.notes);
    }
    // PEFT saves the base's own table beside the factors of one; both take that from the base.
    let read = for_reader(golden("kinds/embedding"), Reader::LlamaCpp).unwrap();
    assert!(read.notes[0].contains("embed_tokens.base_layer.weight"), "{:?}", read.notes);
}

#[test]
fn llama_cpp_gets_one_alpha_and_the_ranks_as_they_are() {
    for name in ["llama/patterns", "llama/rslora", "kinds/patterns"] {
        let before = StoredAdapter::read(golden(name)).unwrap();
        let after = for_reader(golden(name), Reader::LlamaCpp).unwrap().adapter;
        same_changes(&before, &after);
        for (path, layer) in &after.layers {
            let rank = layer.factors.rank;
            assert_eq!(rank, before.layers[path].factors.rank);
            let (scale, expected) = (layer.factors.scale, after.config.lora_alpha / rank as f64);
            assert!((scale - expected).abs() <= 1e-15 * expected.abs(), "{name} {path}");
        }
    }
}

fn made(alpha: f64, rank: usize) -> (tempfile::TempDir, StoredAdapter) {
    let factors = Factors {
        a: vec![0.5; rank * 3],
        b: vec![0.25; 2 * rank],
        rank,
        d_in: 3,
        d_out: 2,
        scale: alpha / rank as f64,
    };
    let layer = StoredLayer { place: Place::linear(3, 2), factors };
    let config = PeftConfig {
        r: rank,
        lora_alpha: alpha,
        target_modules: Some(Modules::Names(vec!["q".into()])),
        ..PeftConfig::default()
    };
    let (dir, layers) = (tempfile::tempdir().unwrap(), BTreeMap::from([("l.q".to_owned(), layer)]));
    let adapter = StoredAdapter { dir: dir.path().into(), config, layers, whole: Vec::new() };
    adapter.write(dir.path()).unwrap();
    (dir, adapter)
}

/// To llama.cpp an alpha of 0 is none, and the scale 1.
#[test]
fn an_alpha_of_nothing_stays_a_change_of_nothing() {
    let (dir, _) = made(0.0, 2);
    let read = for_reader(dir.path(), Reader::LlamaCpp).unwrap().adapter;
    assert_eq!(read.config.lora_alpha, 1.0);
    assert!(read.layers["l.q"].factors.b.iter().all(|b| *b == 0.0));
}

#[test]
fn vllm_is_told_of_its_ranks() {
    for (rank, told) in [(16, None), (17, Some("32")), (256, Some("256")), (257, Some("320"))] {
        let (dir, _) = made(8.0, rank);
        let notes = for_reader(dir.path(), Reader::Vllm).unwrap().notes;
        match told {
            None => assert!(notes.is_empty(), "{notes:?}"),
            Some(most) => {
                assert!(notes[0].contains(&format!("`max_lora_rank` {most},")), "{notes:?}")
            }
        }
    }
    // Whether it adapts a table or a head is a matter of the base's class.
    let notes = for_reader(golden("kinds/embedding"), Reader::Vllm).unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("where the class of the model registers it")),
        "{notes:?}"
    );
    let (dir, _) = made(8.0, 513);
    assert!(matches!(
        refused(dir.path(), Reader::Vllm),
        ReaderProblem::Rank { rank: 513, most: 512, .. }
    ));
    for_reader(dir.path(), Reader::LlamaCpp).unwrap();
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    for reader in [Reader::Vllm, Reader::LlamaCpp] {
        for (name, part) in [
            ("llama/dora", "a DoRA adapter"),
            ("kinds/dora_embedding", "a DoRA adapter"),
            ("kinds/miss", "a MiSS adapter"),
            ("kinds/lora_bias", "a biased LoRA adapter"),
            ("kinds/bias_all", "trains biases (`bias` is \"all\")"),
            ("kinds/bias_lora_only", "trains biases (`bias` is \"lora_only\")"),
            ("kinds/tokens", "trains single rows of an embedding (`trainable_token_indices` is "),
            ("kinds/save_head", "trained whole, `lm_head`"),
            ("kinds/save_embedding_and_head", "trained whole, `embed_tokens`, `lm_head`"),
            ("bert/lora", "trained whole, `classifier`"),
        ] {
            let told = refused(golden(name), reader).to_string();
            assert!(told.contains(part) && told.contains(reader.title()), "{name}: {told}");
            assert!(told.contains("merge it into its base"), "{name}: {told}");
        }
        let conv = fixtures().join("conv/conv2d_lora/adapter");
        match for_reader(conv, reader) {
            // Of a convolution with groups, the factors are no pair of matrices.
            Err(PatchError::Reader(ReaderProblem::Convolution { .. }) | PatchError::Combine(_)) => {
            }
            other => panic!("{other:?}"),
        }
        // What another tool left in the file.
        let (dir, mut adapter) = made(8.0, 2);
        adapter.config.target_parameters = Some(vec!["experts.down_proj".into()]);
        adapter.write(dir.path()).unwrap();
        let told = refused(dir.path(), reader).to_string();
        assert!(told.contains("`experts.down_proj`"), "{told}");
    }
}
