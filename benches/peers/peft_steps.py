"""PEFT on PyTorch, CPU: the training steps of a workload that the benchmark wrote. Prints one JSON line.

    pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2
    python peft_steps.py WORKLOAD_DIR --method lora|dora|miss|full --threads 2 --started UNIX_SECONDS [--base f32|bf16|nf4]

WORKLOAD_DIR holds model/ (a Hugging Face directory, f32), for an adapter adapter/ (a PEFT directory) and batches.json: the
settings and every step's rows of token ids, padded with 0 on the right, with their lengths. The token at p carries
loss where targets_from <= p < length, predicted from p - 1; a step's loss is the mean over its batch's targets.
--base nf4 has bitsandbytes (0.50.2) hold the linears of the base in NF4 with double quantisation, as QLoRA does, and
compute in f32; bf16 holds the base in bfloat16 and computes in it. Factors are f32 either way.
A step's seconds are forward, backward, norm clip, AdamW and zero_grad; its tensors are made before. The first step's
seconds are counted from --started, so that they hold the imports and the loading of the model.
"""

import argparse
import json
import os
import resource
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"
out, sys.stdout = sys.stdout, sys.stderr
import peft
import torch
import transformers

a = argparse.ArgumentParser()
a.add_argument("workload")
a.add_argument("--method", choices=["lora", "dora", "miss", "full"], required=True)
a.add_argument("--threads", type=int, default=2)
a.add_argument("--started", type=float, required=True)
a.add_argument("--base", choices=["f32", "bf16", "nf4"], default="f32")
a = a.parse_args()
torch.manual_seed(0)
torch.set_num_threads(a.threads)

with open(f"{a.workload}/batches.json") as file:
    work = json.load(file)
held = dict(dtype=torch.bfloat16 if a.base == "bf16" else torch.float32)
if a.base == "nf4":
    import bitsandbytes

    held |= dict(device_map="cpu", quantization_config=transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32))
model = transformers.AutoModelForCausalLM.from_pretrained(
    f"{a.workload}/model", attn_implementation="sdpa", **held)
if a.method != "full":
    model = peft.PeftModel.from_pretrained(model, f"{a.workload}/adapter", is_trainable=True)
model.train()
trainable = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trainable, lr=work["learning_rate"], weight_decay=work["weight_decay"])


def tensors(batch):
    ids = torch.tensor(batch["ids"])
    at = torch.arange(ids.shape[1])
    lengths, targets_from = (torch.tensor(batch[k])[:, None] for k in ("lengths", "targets_from"))
    # The model shifts the labels itself: the label at 0 has no token before it and is dropped.
    real = at < lengths
    inputs = dict(input_ids=ids, labels=ids.masked_fill(~(real & (at >= targets_from)), -100))
    # Without a mask attention is plainly causal, and PyTorch takes its fast path.
    return inputs if real.all() else dict(inputs, attention_mask=real.long())



def peak():
    """This process's own peak: ru_maxrss would hold that of the process which started it."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


seconds, losses, first = [], [], None
for batch in work["batches"]:
    inputs = tensors(batch)
    start = time.perf_counter()
    loss = model(**inputs, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trainable, work["clip"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds.append(time.perf_counter() - start)
    first = first or time.time() - a.started
    losses.append(loss.item())

version = f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}"
if a.base == "nf4":
    version += f", bitsandbytes {bitsandbytes.__version__}"
print(json.dumps(dict(
    version=version,
    tokens=[sum(batch["lengths"]) for batch in work["batches"]], step_seconds=seconds, losses=losses,
    peak_bytes=peak(), first_step_seconds=first)), file=out)
