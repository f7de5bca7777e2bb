#!/usr/bin/env bash
# Measures this pack on one device:
#
#   run.sh OUT_DIR [DEVICE [small]]
#
# DEVICE is cuda:0 where none is given; `small` is for a device that is none, to see that all parts run.
# Needs a driver, a CUDA toolkit (NVRTC and headers) and xz; the peers need a python3 with torch,
# transformers and peft ($PYTHON names another), and are left out where it has none.
#
# PROFILE=1 measures the kernels of a few steps as well, one by one: profile.txt.
#
# Every part has a time limit and appends to OUT_DIR/results.jsonl as it goes; one that fails does not stop
# the next. All together end within $BUDGET seconds (520); report.md is written last.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?usage: run.sh OUT_DIR [DEVICE [small]]}
device=${2:-cuda:0}
size=${3:-full}
mkdir -p "$out"
out=$(cd "$out" && pwd)
results=$out/results.jsonl
log=$out/log.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
started=$SECONDS
budget=${BUDGET:-520}
python=${PYTHON:-python3}

xz -dc "$here/xtask.xz" >"$work/xtask" || exit 1
chmod +x "$work/xtask"
cd "$here" || exit 1

# Where CUDA's run-time compiler is: a toolkit, or the one that torch brings.
if [ -z "${CUDA_PATH:-}" ]; then
    for place in /usr/local/cuda /opt/cuda "$(dirname "$(dirname "$(command -v nvcc || echo /none/bin/nvcc)")")"; do
        [ -e "$place/include/cuda_fp16.h" ] && export CUDA_PATH=$place && break
    done
fi
if [ -z "${CUDA_PATH:-}" ]; then
    site=$("$python" -c 'import nvidia, os; print(list(nvidia.__path__)[0])' 2>/dev/null)
    for place in "$site"/cu13 "$site"/cuda_runtime; do
        [ -e "$place/include/cuda_fp16.h" ] && export CUDA_PATH=$place && break
    done
fi
[ -n "${CUDA_PATH:-}" ] &&
    export LD_LIBRARY_PATH="$CUDA_PATH/lib64:$CUDA_PATH/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export RUST_BACKTRACE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

# part NAME SECONDS COMMAND…: at most so long, and never beyond the budget.
part() {
    local name=$1 limit=$2 left=$((budget - (SECONDS - started))) begun=$SECONDS code
    shift 2
    [ "$limit" -gt "$left" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        code=125
        echo "== $name: no time is left" | tee -a "$log"
    else
        echo "== $name (at most $limit s)" | tee -a "$log"
        timeout -k 5 "$limit" "$@" >"$work/$name" 2>&1
        code=$?
        cat "$work/$name" >>"$log"
        tail -n 4 "$work/$name"
    fi
    printf '{"kind":"part","name":"%s","seconds":%s,"code":%s}\n' "$name" $((SECONDS - begun)) "$code" >>"$results"
}
# The same for a script of the peers', whose lines of JSON are results.
peer() {
    [ "$peers" = yes ] || return 0
    part "$@"
    grep '^{' "$work/$1" >>"$results"
}

if [ "$size" = small ]; then
    rate=256 torch_rate=256 check=--small
    quickstart="--set train.steps=6 --set train.exact_match=false --set train.samples=0"
    shapes="tiny:2:16" steps="--warmup 1 --steps 2" peer_steps=3 large=
else
    rate=8192 torch_rate=8192 check=
    quickstart=
    shapes="smollm2-135m:4:128 smollm2-135m:8:512" steps="--warmup 5 --steps 20" peer_steps=21
    large="llama-3.2-1b:4:1024"
fi
# Looked up, not imported: importing takes half a minute the first time.
versions=$("$python" -c 'from importlib.metadata import version
print(*(f"{name} {version(name)}" for name in ("torch", "transformers", "peft")))' 2>/dev/null)
peers=no
[ -n "$versions" ] && peers=yes
torch_device=cpu
case $device in cuda*) torch_device=cuda ;; esac

{
    date -u
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv 2>/dev/null
    nvcc --version 2>/dev/null | tail -n 2
    grep -m 1 'model name' /proc/cpuinfo
    echo "processors: $(nproc)"
    echo "CUDA_PATH=${CUDA_PATH:-}"
    echo "$versions"
    cat pack.json
} >"$out/machine.txt" 2>&1
cat "$out/machine.txt"

# What times nothing goes side by side: on a GPU each process compiles its kernels on one core.
part quickstart-cpu 120 "$work/xtask" gpu quickstart --device cpu --results "$results" $quickstart &
part parity 120 "$work/xtask" parity golden --device "$device" &
part check 120 "$work/xtask" gpu check --device "$device" --results "$results" $check &
wait
grep '^|' "$work/parity" >"$out/parity.md" 2>/dev/null

# What shows most comes first.
part quickstart 90 "$work/xtask" gpu quickstart --device "$device" --results "$results" $quickstart
for shape in $shapes $large; do
    IFS=: read -r model batch length <<<"$shape"
    methods=lora,composed,full dtypes="tf32 bf16 f32"
    [ "$shape" = "$large" ] && methods=lora dtypes="tf32 bf16"
    part "cells-$model-${batch}x$length" 90 "$work/xtask" gpu cells --device "$device" --results "$results" \
        --model "models/$model" --methods "$methods" --batch "$batch" --length "$length" $steps
    for dtype in $dtypes; do
        peer "peft-$model-${batch}x$length-$dtype" 40 "$python" peers/peft_lm.py "models/$model" --random \
            --device "$torch_device" --dtype "$dtype" --clip 1 --batch "$batch" --length "$length" \
            --steps "$peer_steps" --threads "$(nproc)"
    done
done
part rates 60 "$work/xtask" gpu rates --device "$device" --results "$results" --size "$rate"
peer torch-rates 40 "$python" peers/torch_rates.py --device "$torch_device" --size "$torch_rate"
IFS=: read -r model batch length <<<"${shapes%% *}"
part cells-cpu 40 "$work/xtask" gpu cells --device cpu --results "$results" --model "models/$model" \
    --methods lora --batch "$batch" --length "$length" --warmup 1 --steps 3
if [ -n "${PROFILE:-}" ]; then
    mkdir "$work/profiled"
    printf '[profiling]\nlogger = { level = "basic", file = "%s" }\n' "$work/profile.log" >"$work/profiled/cubecl.toml"
    # cubecl reads its settings in the working directory. The last lines are those of the last step.
    part profile 60 env -C "$work/profiled" "$work/xtask" gpu cells --device "$device" --results "$work/slowed" \
        --model "$here/models/$model" --methods lora --batch "$batch" --length "$length" --warmup 2 --steps 1
    tail -n 20000 "$work/profile.log" >"$out/profile.txt"
fi
"$work/xtask" gpu report "$results"
echo "all parts: $((SECONDS - started)) s; results in $out"
