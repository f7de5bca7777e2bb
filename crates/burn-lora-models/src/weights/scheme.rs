//! By what weights are quantised, told by the names and the formats of tensors, or by the method that a `config.json` names: what people
//! call it, and how it becomes numbers that are read.

use std::collections::BTreeMap;

use burn_lora_files::floats::Dtype;

/// A way to hold weights that is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheme {
    /// What it is called.
    pub(crate) called: &'static str,
    /// What to do.
    pub(crate) way: &'static str,
    /// What `quant_method` calls it.
    methods: &'static [&'static str],
    /// How the names of its tensors end that plain weights have not.
    ends: &'static [&'static str],
    /// The formats of which its weights have one; none where the names tell it.
    formats: &'static [Dtype],
}

/// What to do where nothing takes the numbers out.
pub(crate) const ORIGINAL: &str = "use the model that they were made from, or a GGUF file of it";

/// What to do where transformers takes the numbers out of a format while it loads a model, told so by a configuration of that name.
macro_rules! dequantised_by {
    ($config:literal) => {
        concat!(
            "in Python, `AutoModelForCausalLM.from_pretrained(DIR, quantization_config=",
            $config,
            "(dequantize=True)).save_pretrained(OTHER)` takes them out; or use the model that they were made from, or a GGUF file of it"
        )
    };
}

/// What to do where a loaded model can be asked for its numbers.
const BY_MODEL: &str = "in Python, `AutoModelForCausalLM.from_pretrained(DIR).dequantize().save_pretrained(OTHER)` takes them out; or use the \
                        model that they were made from, or a GGUF file of it";
/// What to do with numbers that only stand in a format that is not read.
const CAST: &str = "save the model in one of them, `model.float().save_pretrained(DIR)` in Python";

const fn named(
    called: &'static str,
    methods: &'static [&'static str],
    ends: &'static [&'static str],
) -> Scheme {
    Scheme { called, way: ORIGINAL, methods, ends, formats: &[] }
}

impl Scheme {
    const fn way(self, way: &'static str) -> Self {
        Self { way, ..self }
    }

    const fn of(self, formats: &'static [Dtype]) -> Self {
        Self { formats, ..self }
    }
}

const E4M3: &[Dtype] = &[Dtype::F8_E4M3, Dtype::F8_E4M3FNUZ];
const E5M2: &[Dtype] = &[Dtype::F8_E5M2, Dtype::F8_E5M2FNUZ];

/// The schemes, the first that fits counts: those of fewer names before those of more.
const SCHEMES: [Scheme; 31] = [
    named(
        "FP8 (E4M3) with a scale for each block, as DeepSeek's",
        &["fp8"],
        &[".weight_scale_inv"],
    )
    .way(dequantised_by!("FineGrainedFP8Config")),
    named("MXFP4, as gpt-oss's", &["mxfp4"], &["_blocks"])
        .of(&[Dtype::U8])
        .way(dequantised_by!("Mxfp4Config")),
    named("NVFP4, as ModelOpt writes it", &["nvfp4"], &[".weight_scale_2"]),
    named("NVFP4 of compressed-tensors", &[], &[".weight_global_scale"])
        .way(dequantised_by!("CompressedTensorsConfig")),
    named("packed integers of compressed-tensors", &[], &[".weight_packed"])
        .way(dequantised_by!("CompressedTensorsConfig")),
    named("FP8 (E4M3) of fbgemm", &["fbgemm_fp8"], &[".input_scale_ub"]),
    named(
        "FP8 (E4M3) with a scale for each row, as compressed-tensors writes it",
        &[],
        &[".weight_scale"],
    )
    .of(E4M3)
    .way(dequantised_by!("CompressedTensorsConfig")),
    named("8-bit integers of compressed-tensors or Quark (SmoothQuant)", &[], &[".weight_scale"])
        .of(&[Dtype::I8])
        .way(dequantised_by!("CompressedTensorsConfig")),
    named("quantised by compressed-tensors", &["compressed-tensors"], &[])
        .way(dequantised_by!("CompressedTensorsConfig")),
    named("8-bit integers of bitsandbytes", &[], &[".SCB", ".weight_format"]).way(BY_MODEL),
    named("quantised by bitsandbytes to 4 bits", &["bitsandbytes"], &[".absmax", ".quant_map"])
        .way(BY_MODEL),
    named("quantised by GPTQ", &["gptq"], &[".g_idx"]),
    named("quantised by AWQ or GPTQ", &["awq"], &[".qweight", ".qzeros", ".qweight_type"]),
    named("MLX's groups of a few bits", &[], &[".biases"]),
    named("quantised by AQLM", &["aqlm"], &[".codes", ".codebooks"]),
    named("quantised by VPTQ", &["vptq"], &[".centroids.weight"]),
    named("quantised by HQQ", &["hqq"], &[".W_q", ".meta", ".zero"]),
    named("quantised by Quanto", &["quanto"], &[".weight._data", ".weight._scale"]),
    named("quantised by TorchAO", &["torchao"], &[".weight_qdata"]),
    named("quantised by SpQR", &["spqr"], &[".dense_weights", ".second_order_data"]),
    named("quantised by QuIP#", &[], &[".Qidxs"]),
    named("quantised for EXL2", &["exl2"], &[".q_weight", ".q_invperm", ".q_scale"]),
    named("EETQ's 8-bit integers", &["eetq"], &[".weight_scales"]),
    named("quantised by HIGGS", &["higgs"], &[".tables"]).way(BY_MODEL),
    named("quantised by SmoothQuant", &[], &[".dequant_scale", ".quant_scale"]),
    // The rest of the names that only such weights have.
    named(
        "quantised",
        &[],
        &["_blocks", ".scales", ".scb", ".weight_scale", ".weight_zero_point", ".input_scale"],
    ),
    named("FP8 (E4M3) without scales", &[], &[]).of(E4M3).way(CAST),
    named("FP8 (E5M2) without scales", &[], &[]).of(E5M2).way(CAST),
    named("FP4", &[], &[]).of(&[Dtype::F4, Dtype::F6_E2M3, Dtype::F6_E3M2, Dtype::F8_E8M0]),
    named("in 64 bits", &[], &[]).of(&[Dtype::F64, Dtype::C64]).way(CAST),
    named("integers, in which numbers of a few bits may be packed", &[], &[]).of(&[
        Dtype::I8,
        Dtype::U8,
        Dtype::I16,
        Dtype::U16,
        Dtype::I32,
        Dtype::U32,
        Dtype::I64,
        Dtype::U64,
        Dtype::BOOL,
    ]),
];

/// The scheme that `quant_method` names.
pub(crate) fn of_method(method: &str) -> Option<Scheme> {
    SCHEMES.into_iter().find(|scheme| scheme.methods.contains(&method))
}

/// The scheme of the weights of a checkpoint, the first tensor that shows it, and how many do. `unused` are the names that the model has
/// no use for, `unread` the needed tensors whose format is not read, `has` whether any tensor has a format.
pub(super) fn of_tensors<'a>(
    unused: impl Iterator<Item = &'a str> + Clone,
    unread: &BTreeMap<&'a str, Dtype>,
    has: impl Fn(Dtype) -> bool,
) -> Option<(Scheme, &'a str, usize)> {
    SCHEMES.into_iter().find_map(|scheme| {
        let of_format = |format: &Dtype| scheme.formats.contains(format);
        if scheme.ends.is_empty() {
            let mut keys = unread.iter().filter(|&(_, format)| of_format(format));
            return keys.next().map(|(first, _)| (scheme, *first, 1 + keys.count()));
        }
        if !scheme.formats.is_empty() && !scheme.formats.iter().any(|format| has(*format)) {
            return None;
        }
        let mut keys =
            unused.clone().filter(|key| scheme.ends.iter().any(|end| key.ends_with(end)));
        keys.next().map(|first| (scheme, first, 1 + keys.count()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(unused: &[&str], unread: &[(&str, Dtype)]) -> Option<(&'static str, usize)> {
        let unread: BTreeMap<&str, Dtype> = unread.iter().copied().collect();
        let has = |format: Dtype| unread.values().any(|it| *it == format);
        of_tensors(unused.iter().copied(), &unread, has)
            .map(|(scheme, _, count)| (scheme.called, count))
    }

    #[test]
    fn every_name_and_every_format_that_is_not_read_is_somebodys() {
        for scheme in SCHEMES {
            for end in scheme.ends {
                let key = format!("model.layers.0.q_proj{end}");
                assert!(called(&[&key], &[]).is_some(), "{end}");
            }
            for format in scheme.formats {
                assert!(called(&[], &[("a", *format)]).is_some(), "{format}");
            }
        }
        assert_eq!(called(&["model.layers.0.q_proj.lora"], &[]), None);
    }

    #[test]
    fn what_has_names_in_common_is_told_by_its_format() {
        let scale = ["a.weight_scale", "b.weight_scale"];
        let of = |format| [("a.weight", format), ("b.weight", format)];
        for (unused, unread, expected, count) in [
            (&scale[..], &of(Dtype::F8_E4M3)[..], "FP8 (E4M3) with a scale for each row", 2),
            (&scale[..], &of(Dtype::I8)[..], "8-bit integers of compressed-tensors", 2),
            (&["a.weight_scale_inv"][..], &of(Dtype::F8_E4M3)[..], "DeepSeek", 1),
            (&["a.SCB"][..], &of(Dtype::I8)[..], "bitsandbytes", 1),
            (&["a.gate_up_proj_blocks"][..], &[("b.router", Dtype::U8)][..], "MXFP4", 1),
            (&[][..], &of(Dtype::F8_E5M2)[..], "FP8 (E5M2) without scales", 2),
            (&[][..], &of(Dtype::U8)[..], "integers, in which", 2),
            (&[][..], &of(Dtype::F64)[..], "in 64 bits", 2),
        ] {
            let (name, found) = called(unused, unread).unwrap();
            assert!(name.contains(expected) && found == count, "{expected}: {name}, {found}");
        }
    }

    #[test]
    fn methods_are_told_by_their_names() {
        for method in ["fp8", "mxfp4", "gptq", "awq", "bitsandbytes", "compressed-tensors"] {
            assert!(of_method(method).is_some(), "{method}");
        }
        assert_eq!(of_method("unheard"), None);
    }
}
