#!/usr/bin/env bash
# Measures this pack on one device:
#
#   run.sh OUT_DIR [DEVICE [small]]
#
# DEVICE is cuda:0 where none is given; `small` is for a device that is none, to see that all parts run.
# Needs a driver, a CUDA toolkit (NVRTC and headers) and xz; the peers need a python3 with torch, transformers and
# peft ($PYTHON names another), and liger-kernel for one of them: what is not installed is told, and left out.
#
# All parts start at once (on few cores, some at a time), so that kernels are compiled on every core. Those that time
# nothing run to their end; those that time wait, compiled, and then have the machine to themselves one after the other
# (the rest is paused), the most telling first. Every part has a time limit and appends to OUT_DIR/results.jsonl as it goes; one that fails does not stop the next.
# All together end within $BUDGET seconds (520); report.md is written last.
#
# PROFILE=1 measures the kernels of a few steps as well, one by one: profile.txt. PATIENCE=n multiplies the time limits.
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
budget=${BUDGET:-520}
patience=${PATIENCE:-1}
python=${PYTHON:-python3}

# Groups of processes that have been started, by part.
declare -A group
# Ends what is left, paused or not.
leave() {
    for pid in "${group[@]}"; do kill -KILL -- "-$pid"; done 2>/dev/null
    rm -rf "$work"
}
trap leave EXIT

xz -dc "$here/xtask.xz" >"$work/xtask" || exit 1
chmod +x "$work/xtask"
xtask=$work/xtask
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
# The driver keeps the machine code that it makes; parts have kernels in common.
export CUDA_CACHE_PATH=$work/cuda-cache CUDA_CACHE_MAXSIZE=4294967296
export RUST_BACKTRACE=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

# Looked up, not imported: importing takes half a minute the first time.
version() {
    "$python" -c "from importlib.metadata import version; print('$1', version('$1'))" 2>/dev/null
}
peers=yes
for package in torch transformers peft; do version $package >>"$work/versions" || peers=no; done
liger=no
[ "$peers" = yes ] && version liger-kernel >>"$work/versions" && liger=yes
{
    date -u
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv 2>/dev/null
    nvcc --version 2>/dev/null | tail -n 2
    grep -m 1 'model name' /proc/cpuinfo
    echo "processors: $(nproc)"
    echo "CUDA_PATH=${CUDA_PATH:-}"
    tr '\n' ' ' <"$work/versions"
    [ "$peers" = no ] && printf 'no python3 with torch, transformers and peft '
    [ "$liger" = no ] && printf 'no liger-kernel'
    echo
    cat pack.json
} >"$out/machine.txt" 2>&1
cat "$out/machine.txt"

# Seconds are counted from here; the last ten are the report's.
SECONDS=0
left() { echo $((budget - 10 - SECONDS)); }
# tell NAME SECONDS CODE: how a part ended, and how much of its time was its turn.
declare -A begun turned
tell() {
    local turn=
    [ -n "${turned[$1]:-}" ] && turn=",\"turn\":$((SECONDS - turned[$1]))"
    printf '{"kind":"part","name":"%s","seconds":%s%s,"code":%s}\n' "$1" "$2" "$turn" "$3" >>"$results"
    echo "== $1: $2 s, code $3" | tee -a "$log"
}
# Threads of a part's own work on the CPU, while they are some two dozen.
threads=$((($(nproc) + 7) / 8))
running() { [ -n "${group[$1]:-}" ] && [ ! -e "$work/$1.end" ]; }
# The parts that are at work: neither ended nor, compiled, waiting for their turn.
at_work() {
    local name
    for name in "${!group[@]}"; do
        running "$name" && [ ! -e "$work/$name.go.ready" ] && echo "$name"
    done
}
# How many of them there are at most for the first two fifths of the time: more would be in each other's way.
most=$((2 * $(nproc) + 2))
# start NAME SECONDS COMMAND…: in the background, in a group of processes of its own, for at most so long.
start() {
    until [ "$(at_work | wc -l)" -lt "$most" ] || [ $SECONDS -ge $((budget * 2 / 5)) ]; do sleep 0.1; done
    local name=$1 limit=$(($2 * patience))
    shift 2
    [ "$limit" -gt "$(left)" ] && limit=$(left)
    if [ "$limit" -lt 5 ]; then
        tell "$name" 0 125
        return 0
    fi
    (
        # timeout makes the group.
        RAYON_NUM_THREADS=$threads timeout -k 5 "$limit" "$@" >"$work/$name.out" 2>"$work/$name.err" &
        echo $! >"$work/$name.pid"
        wait $!
        echo "$? $SECONDS" >"$work/$name.end"
    ) &
    until [ -s "$work/$name.pid" ]; do sleep 0.01; done
    group[$name]=$(cat "$work/$name.pid")
    begun[$name]=$SECONDS
}
# finish NAME [CODE]: tells how it ended, once it has ($ended). The peers' lines of JSON are results.
finish() {
    [ -n "${group[$1]:-}" ] || return 0
    until [ -e "$work/$1.end" ]; do sleep 0.05; done
    local code at
    read -r code at <"$work/$1.end"
    ended=${2:-$code}
    unset "group[$1]"
    { echo "== $1"; cat "$work/$1.out" "$work/$1.err"; } >>"$log"
    case $1 in peft-* | liger-* | torch-*) grep '^{' "$work/$1.out" >>"$results" ;; esac
    tail -n 3 "$work/$1.out"
    tail -n 2 "$work/$1.err"
    tell "$1" $((at - begun[$1])) "$ended"
}
# turn NAME SECONDS: a part that waits has the machine to itself for so long.
turn() {
    running "$1" || { finish "$1"; return 0; }
    local limit=$(($2 * patience)) other code=
    [ "$limit" -gt "$(left)" ] && limit=$(left)
    for other in "${!group[@]}"; do
        [ "$other" != "$1" ] && kill -STOP -- "-${group[$other]}" 2>/dev/null
    done
    turned[$1]=$SECONDS
    touch "$work/$1.go"
    local until=$((SECONDS + limit))
    while running "$1" && [ $SECONDS -lt $until ]; do sleep 0.05; done
    if running "$1"; then
        code=124
        kill -TERM -- "-${group[$1]}" 2>/dev/null
        until=$((SECONDS + 5))
        while running "$1" && [ $SECONDS -lt $until ]; do sleep 0.05; done
        running "$1" && kill -KILL -- "-${group[$1]}" 2>/dev/null
    fi
    finish "$1" $code
    for other in "${!group[@]}"; do kill -CONT -- "-${group[$other]}" 2>/dev/null; done
}
# waits NAME COMMAND…: starts a part that gets ready, then waits for its turn.
waits() {
    local name=$1
    shift
    start "$name" "$budget" "$@" --wait-for "$work/$name.go"
}
cells() {
    local name=$1
    shift
    waits "$name" "$xtask" gpu cells --device "$device" --results "$results" --models "$here/models" $steps "$@"
}
# peer NAME SCRIPT ARGUMENTS…; without what it needs, that is told.
peer() {
    local name=$1 script=$2 wanted=$peers
    shift 2
    case $name in liger-*) wanted=$liger ;; esac
    if [ "$wanted" = yes ]; then waits "$name" "$python" "$here/peers/$script" "$@"; else tell "$name" 0 127; fi
}
# run_quickstart NAME SECONDS DEVICE SETTINGS…
run_quickstart() {
    local name=$1 limit=$2 on=$3
    shift 3
    start "$name" "$limit" "$xtask" gpu quickstart --device "$on" --results "$results" --run "$work/run-$name" "$@"
}
# finish_quickstart NAME DEVICE SETTINGS…: a run that was ended has left its steps behind.
finish_quickstart() {
    local name=$1 on=$2
    shift 2
    [ -n "${group[$name]:-}" ] || return 0
    finish "$name"
    [ "$ended" = 0 ] && return 0
    "$xtask" gpu quickstart --device "$on" --results "$results" --run "$work/run-$name" --unfinished "$@" >>"$log" 2>&1
}

torch_device=cpu
case $device in cuda*) torch_device=cuda ;; esac
lora="--random --device $torch_device --clip 1 --threads $(nproc)"
few="--set train.samples=0 --set train.exact_match=false"
if [ "$size" = small ]; then
    rate=128 check=--small steps="--warmup 1 --steps 2"
    brief="$few --set train.steps=4 --set data.eval_limit=4" whole="$few --set train.steps=6 --set data.eval_limit=4"
    small=tiny small_cells="tiny:lora:2x16 tiny:lora:bf16:2x16 tiny:composed:2x16" small_shapes=2x16 small_dtypes=f32,bf16
    large=tiny large_cells="tiny:lora:bf16:4x32" large_shape=4x32 large_dtypes=bf16 peer_steps=3
    matrix="tiny:lora:r1:1x8 tiny:lora:r128:1x8 tiny:full:1x8" flex="tiny:lora:2x16"
else
    rate=8192 check= steps="--warmup 3 --steps 20"
    brief="$few --set train.steps=50 --set data.eval_limit=16" whole=
    small=smollm2-135m
    small_cells="$small:lora:4x128 $small:lora:8x512 $small:lora:bf16:4x128 $small:lora:bf16:8x512 $small:composed:4x128"
    small_shapes=4x128,8x512 small_dtypes=tf32,bf16
    large=llama-3.2-1b large_cells="$large:lora:bf16:4x1024 $large:lora:4x1024"
    large_shape=4x1024 large_dtypes=bf16,tf32 peer_steps=21
    matrix=$(
        for rank in 1 2 4 8 16 32 64 128; do echo "llama-11m:lora:r$rank:4x64"; done
        for model in llama-1m llama-11m llama-35m smollm2-135m; do
            for method in lora full composed; do echo "$model:$method:4x64"; done
        done | grep -v llama-11m:lora
        for rank in 1 8 64; do echo "smollm2-135m:lora:r$rank:4x64"; done
        for method in full composed; do echo "llama-3.2-1b:$method:1x256"; done
        echo "llama-3.2-1b:lora:1x256"
    )
    flex="smollm2-135m:lora:4x128 $(grep -v llama-3.2 <<<"$matrix")"
fi

operations="linear norm gate gelu attention head"
families=$(cd golden && for family in */; do echo "${family%/}"; done)
golden=golden
if [ "$size" = small ]; then
    # One adapter of each family, and one part of all of them: compiling is what takes time there, and most kernels are
    # every family's.
    golden=$work/golden
    for family in $families; do
        adapter=$(cd "golden/$family" && { ls -d lora/ 2>/dev/null || ls -d */; } | head -n 1)
        mkdir -p "$golden/all/$family"
        cp -r "golden/$family"/*.* "golden/$family/${adapter%/}" "$golden/all/$family"
    done
    families=all
fi
for operation in $operations; do
    start "check-$operation" 200 "$xtask" gpu check --device "$device" --results "$results" --operations "$operation" $check
done
cells "cells-$small" $small_cells
run_quickstart losses-cpu 120 cpu $brief
run_quickstart losses 200 "$device" $brief
for family in $families; do
    start "parity-$family" 200 "$xtask" parity "$golden/$family" --device "$device"
done
cells "cells-$large-large" $large_cells
peer "peft-$small" peft_lm.py "models/$small" $lora --steps "$peer_steps" --shape $small_shapes --dtype $small_dtypes
peer "liger-$small" peft_lm.py "models/$small" $lora --steps "$peer_steps" --shape $small_shapes --dtype $small_dtypes --liger
peer "peft-$large-large" peft_lm.py "models/$large" $lora --steps "$peer_steps" --shape $large_shape --dtype $large_dtypes
peer "liger-$large-large" peft_lm.py "models/$large" $lora --steps "$peer_steps" --shape $large_shape --dtype $large_dtypes --liger
run_quickstart quickstart-cpu 120 cpu $whole
run_quickstart quickstart "$budget" "$device" $whole
waits rates "$xtask" gpu rates --device "$device" --results "$results" --size "$rate"
peer torch-rates torch_rates.py --device "$torch_device" --size "$rate"
cells matrix $matrix

# Whether everything that times nothing has ended (the whole quickstart goes on as long as there is time), and everything
# else has compiled.
settled() { [ -z "$(at_work | grep -vx quickstart)" ]; }
until settled || [ $SECONDS -ge $((budget * 3 / 5)) ] ||
    { [ $SECONDS -ge $((budget * 2 / 5)) ] && [ -e "$work/cells-$small.go.ready" ]; }; do sleep 0.05; done
echo "== compiled after $SECONDS s" | tee -a "$log"
most=$((most + ${#group[@]}))

# Told early, so that what ends this script ends it with all that it has found.
for operation in $operations; do running "check-$operation" || finish "check-$operation"; done
for family in $families; do running "parity-$family" || finish "parity-$family"; done

turn "cells-$small" 60
turn "peft-$small" 45
turn "liger-$small" 45
turn "cells-$large-large" 45
turn "peft-$large-large" 40
turn "liger-$large-large" 40
turn rates 25
turn torch-rates 25
threads=$(nproc)
start cells-cpu 40 "$xtask" gpu cells --device cpu --results "$results" --models "$here/models" --warmup 1 --steps 3 $flex
turn cells-cpu 40
turn matrix 100
if [ -n "${PROFILE:-}" ]; then
    mkdir "$work/profiled"
    printf '[profiling]\nlogger = { level = "basic", file = "%s" }\n' "$work/profile.log" >"$work/profiled/cubecl.toml"
    # cubecl reads its settings in the working directory. The last lines are those of the last step.
    start profile 60 env -C "$work/profiled" "$xtask" gpu cells --device "$device" --results "$work/slowed" \
        --models "$here/models" --warmup 2 --steps 1 ${small_cells%% *}
    turn profile 60
    tail -n 20000 "$work/profile.log" >"$out/profile.txt"
fi

# What is left has the rest of the time.
for operation in $operations; do finish "check-$operation"; done
for family in $families; do finish "parity-$family"; done
finish_quickstart losses-cpu cpu $brief
finish_quickstart losses "$device" $brief
finish_quickstart quickstart-cpu cpu $whole
finish_quickstart quickstart "$device" $whole
for family in $families; do cat "$work/parity-$family.out"; done 2>/dev/null | grep '^|' | awk '!seen[$0]++' >"$out/parity.md"
"$xtask" gpu report "$out"
echo "all parts: $SECONDS s; results in $out"
