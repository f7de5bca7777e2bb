"""What PEFT makes of an adapter that burn-lora trained, in the form that `cargo xtask parity` compares with.

    pip install torch==2.11.0 transformers==5.23.0 peft==0.21.2
    python peft_expect.py MODEL_DIR ADAPTER_DIR OUT_DIR
    cargo xtask parity OUT_DIR

Loads the adapter with PEFT (strictly: missing or unexpected keys are an error), and writes logits, merged logits,
gradients and the losses of 20 AdamW steps on a fixed random batch, as fixtures/golden/generate.py does.
"""

import json
import os
import shutil
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

base_dir, adapter_dir, out = sys.argv[1:4]
torch.set_num_threads(2)
os.makedirs(f"{out}/adapter", exist_ok=True)
for file in ("config.json", "model.safetensors"):
    shutil.copy(f"{base_dir}/{file}", f"{out}/{file}")
for file in ("adapter_config.json", "adapter_model.safetensors"):
    shutil.copy(f"{adapter_dir}/{file}", f"{out}/adapter/{file}")


def fresh():
    return AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()


def adapted():
    model = PeftModel.from_pretrained(fresh(), adapter_dir, is_trainable=True).eval()
    ours = set(load_file(f"{adapter_dir}/adapter_model.safetensors"))
    theirs = {n.replace(".default", "") for n, p in model.named_parameters() if p.requires_grad}
    assert ours == theirs, f"keys differ: {sorted(ours ^ theirs)[:5]}"
    return model


base = fresh()
generator = torch.Generator().manual_seed(3)
ids = torch.randint(3, base.config.vocab_size, (3, 17), generator=generator)
mask = torch.ones_like(ids)
mask[1, 12:] = 0
ids[1, 12:] = 0
labels = ids.clone()
labels[mask == 0] = -100
labels[:, :4] = -100
batch = dict(input_ids=ids, attention_mask=mask, labels=labels)
save_file(batch, f"{out}/batch.safetensors")
with torch.no_grad():
    output = base(**batch)
save_file(dict(logits=output.logits.contiguous(), loss=output.loss.reshape(1)), f"{out}/base.safetensors")

model = adapted()
output = model(**batch)
output.loss.backward()
expected = dict(logits=output.logits.detach().contiguous(), loss=output.loss.detach().reshape(1))
for name, parameter in model.named_parameters():
    if parameter.requires_grad:
        expected["grad." + name.replace(".default", "")] = parameter.grad.clone().contiguous()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
losses = []
for _ in range(20):
    optimizer.zero_grad()
    loss = model(**batch).loss
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
json.dump(dict(losses=losses), open(f"{out}/adapter/curve.json", "w"))
with torch.no_grad():
    expected["merged_logits"] = adapted().merge_and_unload()(**batch).logits.contiguous()
save_file(expected, f"{out}/adapter/expected.safetensors")
print(f"PEFT loaded {adapter_dir}; now: cargo xtask parity {out}")
