"""Text: burn-lora and transformers continue the same prompts, processes alternating. Prints a table and the texts that differ.

    python text.py BURN_LORA MODEL ROWS.jsonl [--adapter DIR] [--batch 1 8 16] [--tokens 64] [--limit 100] [--repeat 3]

BURN_LORA is the binary, MODEL a Hugging Face directory that both read in f32, ROWS rows with a `prompt`, after which a line
end is put for both. `--adapter` is a PEFT adapter, unmerged in both. Continuations are greedy; `transformers_text.py`, beside
this file, is run with the Python that runs this. Seconds are those of writing: of transformers what its script says, of
burn-lora those of its process less the median of processes that write one token after the shortest prompt, which is loading.
Tokens are transformers', so that a rate counts the same text on both sides; where texts differ, the table says of how many rows.
Both use as many threads as there are processors here, or --threads.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

a = argparse.ArgumentParser()
a.add_argument("binary")
a.add_argument("model")
a.add_argument("rows")
a.add_argument("--adapter")
a.add_argument("--batch", type=int, nargs="+", default=[1, 8, 16])
a.add_argument("--tokens", type=int, default=64)
a.add_argument("--limit", type=int, default=100)
a.add_argument("--repeat", type=int, default=3)
a.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
a = a.parse_args()
script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "transformers_text.py")
adapter = ["--adapter", a.adapter] if a.adapter else []
scratch = tempfile.mkdtemp()
rows = [json.loads(line) for line in open(a.rows)][: a.limit]
rows = [dict(prompt=row["prompt"] + "\n") for row in rows]


def written(name, rows):
    path = os.path.join(scratch, name)
    with open(path, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def outputs(path):
    return [json.loads(line)["output"] for line in open(path)]


def ours(source, batch, tokens):
    """The seconds of a whole process, and its texts."""
    out = os.path.join(scratch, "ours.jsonl")
    start = time.perf_counter()
    subprocess.run(
        [a.binary, "generate", a.model, *adapter, "--input", source, "--output", out, "--overwrite", "--device", "cpu",
         "--max-tokens", str(tokens), "--batch-size", str(batch), "--json"],
        check=True, stdout=subprocess.DEVNULL, env=dict(os.environ, RAYON_NUM_THREADS=str(a.threads)))
    return time.perf_counter() - start, outputs(out)


def theirs(source, batch):
    """What transformers' script says, and its texts."""
    out = os.path.join(scratch, "theirs.jsonl")
    said = subprocess.run(
        [sys.executable, script, a.model, source, out, *adapter, "--batch", str(batch), "--tokens", str(a.tokens),
         "--separator", "", "--threads", str(a.threads)],
        check=True, stdout=subprocess.PIPE)
    return json.loads(said.stdout), outputs(out)


everything = written("rows.jsonl", rows)
shortest = written("shortest.jsonl", [min(rows, key=lambda row: len(row["prompt"]))])
print("| rows at a time | tokens/s: burn-lora | transformers | ratio | loading, burn-lora | texts that differ |")
print("| --- | --- | --- | --- | --- | --- |")
differing = {}
for batch in a.batch:
    wholes, loads, seconds, tokens = [], [], [], 0
    for _ in range(a.repeat):
        loads.append(ours(shortest, batch, 1)[0])
        whole, our_texts = ours(everything, batch, a.tokens)
        wholes.append(whole)
        said, their_texts = theirs(everything, batch)
        seconds.append(said["seconds"])
        tokens = said["tokens"]
    load = statistics.median(loads)
    rates = [tokens / (statistics.median(wholes) - load), tokens / statistics.median(seconds)]
    differing[batch] = [(r, o, t) for r, o, t in zip(rows, our_texts, their_texts) if o != t]
    print(f"| {batch} | {rates[0]:.1f} | {rates[1]:.1f} | {rates[0] / rates[1]:.2f} | {load:.2f} s "
          f"| {len(differing[batch])} of {len(rows)} |", flush=True)
for batch, rows in differing.items():
    for row, our_text, their_text in rows:
        print(json.dumps(dict(batch=batch, prompt=row["prompt"], ours=our_text, theirs=their_text)))
