//! How much memory loading takes. A process of its own, since it measures the whole process.
#![cfg(target_os = "linux")]

use burn_lora_models::weights::Role;
use burn_lora_models::{
    CausalConfig, CausalLm, Model, ModelConfig, SaveDtype, Storage, WeightDtype,
};

/// A line of `/proc/self/status`, in bytes.
fn status(key: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Most of the weights in single large tensors, an untied head (which is transposed) among them: the
/// worst case for whoever holds a tensor twice.
#[test]
fn loading_peaks_at_little_more_than_the_weights() {
    let config = r#"{"model_type": "llama", "vocab_size": 24000, "hidden_size": 512,
        "intermediate_size": 2048, "num_hidden_layers": 1, "num_attention_heads": 8,
        "max_position_embeddings": 64}"#;
    let config = CausalConfig::from_json(config, "config.json".as_ref()).unwrap();
    let device = burn_lora::device::parse("cpu").unwrap();
    let dir = tempfile::tempdir().unwrap();
    // All models are kept: what one gave back would be reused by the next, unmeasured.
    let mut kept = vec![CausalLm::random(&config, 0, &device).unwrap()];
    for dtype in [SaveDtype::F32, SaveDtype::Bf16] {
        kept[0].save(dir.path(), dtype).unwrap();
        // Sets the high-water mark back to what is in use now.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        let (model, report) = CausalLm::load(dir.path(), &device, &mut |_, _| {}).unwrap();
        let peak = status("VmHWM") - before;
        let numbers = burn::module::Module::num_params(&model);
        assert!(numbers > 25_000_000 && report.tensors == 12, "{numbers} {report:?}");
        let share = peak as f64 / (4 * numbers) as f64;
        // Below 0.9 the measurement itself would be broken.
        assert!((0.9..1.3).contains(&share), "{dtype:?}: {share}");
        kept.push(model);
    }
    // Held in other formats than f32, beside what is held some rows of a tensor are there: as the file has them, in f32, and their blocks.
    const BESIDE: usize = 3 * (4 << 20);
    kept[0].save(dir.path(), SaveDtype::F32).unwrap();
    for dtype in [WeightDtype::Bf16, WeightDtype::Q8, WeightDtype::Q4, WeightDtype::Nf4] {
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = status("VmRSS");
        let at = Storage { device: &device, dtype };
        let (model, _) = CausalLm::load(dir.path(), at, &mut |_, _| {}).unwrap();
        let peak = status("VmHWM") - before;
        let numbers = burn::module::Module::num_params(&model);
        // Tables are in 8 bits where the rest is in blocks of fewer.
        const TABLE: u64 = 24_000 * 512;
        let table = dtype.of_role(Role::Embedding).bytes(TABLE);
        let held = (table + dtype.bytes(numbers as u64 - TABLE)) as usize;
        let (low, high) = (held * 9 / 10, held * 11 / 10 + BESIDE);
        assert!((low..high).contains(&peak), "{dtype:?}: {peak} of {held}");
        // The largest tensor in f32, which is not there.
        assert!(high < held + 4 * TABLE as usize, "{dtype:?}: no bound below that");
        kept.push(model);
    }
}
