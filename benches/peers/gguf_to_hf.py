"""A GGUF file of a Llama as a Hugging Face directory in f32, by the packages gguf and numpy alone.

    pip install gguf==0.19.0 safetensors==0.8.0
    python gguf_to_hf.py FILE.gguf OUT_DIR

`cargo xtask gguf` compares what burn-lora reads in the file with what stands in OUT_DIR: config.json and
model.safetensors. Names of tensors, the layout of blocks and their conversion to f32 are those of the package gguf,
which llama.cpp's authors publish. It has no tokenizer: token ids serve both sides.
"""

import argparse
import json
import pathlib

import gguf
import numpy as np
from safetensors.numpy import save_file

a = argparse.ArgumentParser()
a.add_argument("file")
a.add_argument("out", type=pathlib.Path)
a = a.parse_args()

reader = gguf.GGUFReader(a.file)
tensors = {tensor.name: tensor for tensor in reader.tensors}


def field(key, default=None):
    found = reader.get_field(key)
    if found is None and default is None:
        raise SystemExit(f"{a.file} has no {key}")
    return default if found is None else found.contents()


if field("general.architecture") != "llama":
    raise SystemExit(f"{a.file} is {field('general.architecture')}: only llama is converted")
for key in ("llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.expert_count"):
    if reader.get_field(key) is not None:
        raise SystemExit(f"{a.file} has {key}, which is not converted")

blocks = field("llama.block_count")
heads = field("llama.attention.head_count")
shared = field("llama.attention.head_count_kv", heads)
width = field("llama.embedding_length")

config = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": int(tensors["token_embd.weight"].shape[1]),
    "hidden_size": width,
    "intermediate_size": field("llama.feed_forward_length"),
    "num_hidden_layers": blocks,
    "num_attention_heads": heads,
    "num_key_value_heads": shared,
    "head_dim": field("llama.rope.dimension_count", width // heads),
    "hidden_act": "silu",
    "max_position_embeddings": field("llama.context_length"),
    "rms_norm_eps": field("llama.attention.layer_norm_rms_epsilon"),
    "rope_theta": field("llama.rope.freq_base", 10000.0),
    "tie_word_embeddings": "output.weight" not in tensors,
    "torch_dtype": "float32",
}


def halves_apart(weight, heads):
    """Undoes convert_hf_to_gguf.py's permute, which is

        weight.reshape(heads, 2, rows // heads // 2, *rest).swapaxes(1, 2).reshape(weight.shape)
    """
    rows, *rest = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, *rest).swapaxes(1, 2).reshape(weight.shape)


LAYER = ("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
         "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
modules = ["model.embed_tokens", "model.norm"] + ([] if config["tie_word_embeddings"] else ["lm_head"])
modules += [f"model.layers.{block}.{name}" for block in range(blocks) for name in LAYER]

names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, blocks)
weights = {}
for module in modules:
    key = f"{module}.weight"
    name = names.get_name(key, try_suffixes=(".weight",))
    if name not in tensors:
        raise SystemExit(f"{a.file} has no {name} for {key}")
    tensor = tensors.pop(name)
    weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    if module.endswith("q_proj"):
        weight = halves_apart(weight, heads)
    elif module.endswith("k_proj"):
        weight = halves_apart(weight, shared)
    weights[key] = np.ascontiguousarray(weight, dtype=np.float32)
if tensors:
    raise SystemExit(f"{a.file} has tensors that were not converted: {', '.join(sorted(tensors))}")

a.out.mkdir(parents=True, exist_ok=True)
save_file(weights, a.out / "model.safetensors", metadata={"format": "pt"})
(a.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
