"""How fast torch multiplies square matrices and copies memory on a device. Prints a JSON line for each.

    pip install torch==2.11.0
    python torch_rates.py --device cuda --size 8192
    --wait-for FILE: write FILE.ready once everything is imported, and begin when FILE is there
"""

import argparse
import json
import os
import time

import torch

a = argparse.ArgumentParser()
a.add_argument("--device", default="cuda")
a.add_argument("--size", type=int, default=8192)
a.add_argument("--runs", type=int, default=10)
a.add_argument("--wait-for", metavar="FILE")
a = a.parse_args()
if a.wait_for:
    open(a.wait_for + ".ready", "w").close()
    while not os.path.exists(a.wait_for):
        time.sleep(0.02)


def seconds(run):
    """One run's time, after as many that are not timed."""
    for _ in range(2):
        start = time.time()
        kept = [run() for _ in range(a.runs)]
        if a.device != "cpu":
            torch.cuda.synchronize()
        taken = time.time() - start
        del kept
    return taken / a.runs


def tell(what, per_second):
    print(json.dumps(dict(kind="rate", who="torch", device=a.device, what=what, size=a.size, per_second=per_second)), flush=True)


x = torch.rand(a.size, a.size, device=a.device)
tell("copy f32", 2 * 4 * a.size**2 / seconds(lambda: x + 1))
for name, dtype, precision in [
    ("f32", torch.float32, "highest"),
    ("tf32", torch.float32, "high"),
    ("bf16", torch.bfloat16, "highest"),
    ("f16", torch.float16, "highest"),
]:
    torch.set_float32_matmul_precision(precision)
    lhs, rhs = (torch.rand(a.size, a.size, device=a.device).mul(2).sub(1).to(dtype) for _ in range(2))
    tell(f"matmul {name}", 2 * a.size**3 / seconds(lambda: lhs @ rhs))
