#!/usr/bin/env bash
# Seconds a step of one run on 1, 2 and 4 ranks of this machine, one thread each, alternating, three times:
#
#     benches/scaling.sh target/release/burn-lora OUT
#     cargo xtask scaling --measured OUT
#
# The binary has the feature `mpi`; OUT is a folder that is not there yet. The model has 15 million random weights, so that nothing is
# fetched; a step is 4 micro-batches of 2 packed rows of 128 tokens, whoever takes them. More ranks than processors take turns on them,
# and then say nothing of a machine that has as many.
set -euo pipefail
[ $# = 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
binary=$(realpath "$1")
quickstart=$(realpath "$(dirname "$0")/../datasets/quickstart")
mkdir "$2"
cd "$2"

cat >shape.json <<'JSON'
{"model_type": "llama", "vocab_size": 2048, "hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 4,
 "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
 "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true}
JSON
cat >run.toml <<TOML
[model]
config = "shape.json"
random = true
tokenizer = "$quickstart/model"
[adapter]
rank = 16
[data]
train = "$quickstart/train.jsonl"
max_length = 128
packing = true
[train]
device = "cpu"
threads = 1
steps = 7
batch_size = 2
accumulate = 4
samples = 0
[output]
dir = "run"
TOML
nproc >processors

on() {
    local ranks=$1
    shift
    mpirun --oversubscribe --allow-run-as-root --bind-to none -np "$ranks" "$binary" train run.toml --json "$@"
}

for repeat in 1 2 3; do
    for ranks in 1 2 4; do
        echo "repeat $repeat: $ranks ranks" >&2
        on "$ranks" --set "output.dir=\"on$ranks-$repeat\"" >"summary$ranks-$repeat.json" 2>>log
        on "$ranks" --dry-run --set "output.dir=\"dry\"" >"exchange$ranks-$repeat.json" 2>>log
    done
done
