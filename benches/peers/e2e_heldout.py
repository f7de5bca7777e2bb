"""Held-out rows of E2E as prompt/completion rows: the first 200 prompts with their first reference.

    python e2e_heldout.py DATA_DIR/test.jsonl > e2e-heldout.jsonl

peft_e2e.py evaluates on the same rows.
"""

import itertools
import json
import sys

with open(sys.argv[1]) as rows:
    for line in itertools.islice(rows, 200):
        row = json.loads(line)
        print(json.dumps(dict(prompt=row["prompt"], completion=row["references"][0])))
