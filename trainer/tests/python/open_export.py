"""Opens an exported folder with transformers and compares it with what the trainer says of it.

    python trainer/tests/python/open_export.py FOLDER EXPECTED.json

EXPECTED.json is a list: `messages`, the `ids` of the prompt made of them, the `last_logits` after it, and the ids of
the greedy `answer`. `trainer/tests/export.rs` writes it.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

# Both compute in f32 with other orders of summation; logits of the tiny model are about 1.
TOLERANCE = 2e-5

folder, expected = sys.argv[1:]
model, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
tokenizer = AutoTokenizer.from_pretrained(folder)
for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
    assert not loading[kind], (kind, loading[kind])

largest = 0.0
cases = json.load(open(expected, encoding="utf-8"))
for case in cases:
    encoded = tokenizer.apply_chat_template(case["messages"], add_generation_prompt=True)
    ids = encoded if isinstance(encoded, list) else encoded["input_ids"]
    assert ids == case["ids"], (case["messages"], ids, case["ids"])

    prompt = torch.tensor([ids])
    with torch.no_grad():
        logits = model(prompt).logits[0, -1]
    largest = max(largest, (logits - torch.tensor(case["last_logits"])).abs().max().item())

    new = len(case["answer"])
    answer = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=max(new, 24)
    )[0, len(ids) :].tolist()
    assert answer == case["answer"], (answer, case["answer"])
assert largest <= TOLERANCE, largest
print(f"{len(cases)} prompts: same ids, same answers, logits off by at most {largest:.1e}")
