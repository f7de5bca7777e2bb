"""Transformers on PyTorch, CPU: continues every prompt of a file, greedily. Prints one JSON line.

    python transformers_text.py MODEL_DIR ROWS.jsonl OUT.jsonl [--adapter DIR] [--batch 1] [--tokens 64] [--limit N] [--threads 2]

Rows have a `prompt`; a line end is put after it. Rows are taken in order of length, so that what is padded (on the
left) is little. `--adapter` is a PEFT adapter, left unmerged. A row of OUT is the row with its continuation as `output`,
in the order of ROWS. Tokens are those that were chosen up to the end of a row's text; loading is not timed.

The same by burn-lora, the file being one of rows whose prompts have the line end already:

(`text.py` runs both in turn and compares.)

    burn-lora generate MODEL --adapter DIR --input ROWS.jsonl --output OUT.jsonl --max-tokens 64 --batch-size 1 --json
"""

import argparse
import json
import os
import resource
import time

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

a = argparse.ArgumentParser()
a.add_argument("model")
a.add_argument("rows")
a.add_argument("out")
a.add_argument("--adapter")
a.add_argument("--batch", type=int, default=1)
a.add_argument("--tokens", type=int, default=64)
a.add_argument("--limit", type=int)
a.add_argument("--separator", default="\n")
a.add_argument("--threads", type=int, default=2)
a = a.parse_args()
torch.set_num_threads(a.threads)
tokenizer = AutoTokenizer.from_pretrained(a.model)
tokenizer.padding_side = "left"
if tokenizer.pad_token_id is None:
    tokenizer.pad_token = tokenizer.eos_token
model = AutoModelForCausalLM.from_pretrained(a.model, dtype=torch.float32)
if a.adapter:
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, a.adapter)
model.eval()
rows = [json.loads(line) for line in open(a.rows)][: a.limit]
prompts = [row["prompt"] + a.separator for row in rows]
order = sorted(range(len(rows)), key=lambda k: len(prompts[k]))
ends = model.generation_config.eos_token_id
ends = set(ends if isinstance(ends, list) else [ends])

outputs = [""] * len(rows)
tokens = 0
start = time.time()
with torch.no_grad():
    for k in range(0, len(order), a.batch):
        taken = order[k : k + a.batch]
        x = tokenizer([prompts[r] for r in taken], return_tensors="pt", padding=True)
        y = model.generate(**x, max_new_tokens=a.tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        for r, chosen in zip(taken, y[:, x["input_ids"].shape[1] :].tolist()):
            end = next((n for n, token in enumerate(chosen) if token in ends), None)
            tokens += len(chosen) if end is None else end + 1
            outputs[r] = tokenizer.decode(chosen[:end], skip_special_tokens=True)
seconds = time.time() - start
with open(a.out, "w") as out:
    for row, text in zip(rows, outputs):
        out.write(json.dumps(row | dict(output=text)) + "\n")
print(json.dumps(dict(
    peer="transformers", rows=len(rows), batch=a.batch, tokens=tokens, seconds=seconds, tokens_per_s=tokens / seconds,
    peak_rss_gib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)))
