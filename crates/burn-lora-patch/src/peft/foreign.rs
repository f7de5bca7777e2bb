//! Keys of adapters that other tools wrote, told by what they are: a list of what is missing and what is surplus says nothing of the cause.
//!
//! Left out: wrappers around a model, whose keys are read (`unwrap.rs`).

use super::keys::bare;
use crate::error::KeyProblem;

/// A way to name tensors.
struct Writer {
    /// How its keys begin.
    begins: &'static [&'static str],
    /// What is within its keys.
    within: &'static [&'static str],
    /// What it is.
    what: &'static str,
    /// What to do.
    remedy: &'static str,
}

const OF_IMAGES: &str = "it adapts a model that draws, and goes onto that one with diffusers' \
                         `pipeline.load_lora_weights`; bring an adapter that was trained on this model";

/// The first that fits is the one: the scripts for images have their own name of the factors, too.
const WRITERS: [Writer; 5] = [
    Writer {
        begins: &[
            "lora_unet_",
            "lora_te_",
            "lora_te1_",
            "lora_te2_",
            "lora_te3_",
            "lora_transformer_",
        ],
        within: &[],
        what: "the names that kohya's scripts give to adapters of image models",
        remedy: OF_IMAGES,
    },
    Writer {
        begins: &["unet.", "text_encoder.", "text_encoder_2.", "transformer.transformer_blocks."],
        within: &[".processor.", "lora_linear_layer."],
        what: "the names that diffusers gives to adapters of image models",
        remedy: OF_IMAGES,
    },
    Writer {
        begins: &[],
        within: &[
            ".lora_down.",
            ".lora_up.",
            ".lora.down.",
            ".lora.up.",
            "_lora.down.",
            "_lora.up.",
        ],
        what: "kohya's and diffusers' names of the factors",
        remedy: "call `lora_down` `lora_A` and `lora_up` `lora_B`, and write the number in the tensors `alpha` as `lora_alpha` into \
                 adapter_config.json",
    },
    Writer {
        begins: &[],
        within: &[
            "hada_w",
            "lokr_w",
            "oft_r",
            "oft_R",
            "boft_R",
            "ia3_l",
            "vera_lambda",
            "fourierft_",
            ".dora_scale",
        ],
        what: "factors of another kind of adapter than LoRA",
        remedy: "merge it with the tool that trained it (`merge_and_unload` in PEFT), and take the merged model as the base",
    },
    Writer {
        begins: &[],
        within: &[".lora_a", ".lora_b"],
        what: "mlx-lm's names of the factors, which lie the other way round",
        remedy: "merge it with `mlx_lm.fuse`, and take the fused model as the base",
    },
];

/// What most of the tensors have in common, where it is another tool's way to name them.
pub(super) fn foreign<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Option<KeyProblem> {
    let all = keys.clone().count();
    WRITERS.iter().find_map(|writer| {
        let is_of = |key: &&str| {
            writer.begins.iter().any(|start| bare(key).starts_with(start))
                || writer.within.iter().any(|part| key.contains(part))
        };
        let mut found = keys.clone().filter(is_of);
        let key = found.next()?.to_owned();
        let count = 1 + found.count();
        let (what, remedy) = (writer.what, writer.remedy);
        (2 * count > all).then_some(KeyProblem::Foreign { key, count, what, remedy })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(keys: &[&str]) -> Option<String> {
        foreign(keys.iter().copied()).map(|problem| problem.to_string())
    }

    #[test]
    fn the_ways_of_other_tools_are_told_in_one_sentence_with_the_way_out() {
        let cases: [(&[&str], [&str; 3]); 7] = [
            (
                &[
                    "lora_unet_down_0.lora_down.weight",
                    "lora_unet_down_0.lora_up.weight",
                    "lora_unet_down_0.alpha",
                ],
                ["3 tensors have", "kohya", "load_lora_weights"],
            ),
            (
                &["lora_te_text_model_0.lora_up.weight"],
                ["1 tensor has", "kohya", "load_lora_weights"],
            ),
            (
                &["unet.down_blocks.0.attn1.to_q.lora_A.weight"],
                ["diffusers", "image models", "load_lora_weights"],
            ),
            (
                &["unet.mid.attn1.processor.to_q_lora.down.weight"],
                ["diffusers", "image models", "load_lora_weights"],
            ),
            (
                &[
                    "base_model.model.model.layers.0.q.lora_down.weight",
                    "base_model.model.model.layers.0.q.lora_up.weight",
                    "base_model.model.model.layers.0.q.alpha",
                ],
                ["2 tensors have", "`lora_down` `lora_A`", "`lora_alpha`"],
            ),
            (&["layers.0.q.hada_w1_a", "layers.0.q.hada_w1_b"], ["another kind", "LoRA", "merge"]),
            (
                &["model.layers.0.q.lora_a", "model.layers.0.q.lora_b"],
                ["mlx-lm", "mlx_lm.fuse", "base"],
            ),
        ];
        for (keys, parts) in cases {
            let told = told(keys).unwrap();
            for part in parts {
                assert!(told.contains(part), "{part} is not in {told}");
            }
            assert!(told.contains(keys[0]), "{told}");
        }
    }

    #[test]
    fn a_name_among_many_and_pefts_own_are_no_other_tools() {
        let own = "base_model.model.transformer.h.0.attn.c_attn.lora_A.weight";
        assert_eq!(told(&[own]), None);
        assert_eq!(told(&[own, own, "lora_unet_x.lora_up.weight"]), None);
        assert_eq!(told(&[]), None);
    }
}
