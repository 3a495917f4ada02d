"""Opens an exported adapter with peft and compares it with what the trainer says of it, and merged models with peft's.

    python trainer/tests/python/open_adapter.py BASE ADAPTER MODEL MERGED EXPECTED.json

MODEL is what `trainer export` wrote and MERGED what `trainer merge` wrote; EXPECTED.json has `ids` and the `last_logits` after
them. `trainer/tests/adapters.rs` writes it.
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

# Both compute in f32 with other orders of summation; logits of the tiny model are about 1, its weights below it.
LOGITS, WEIGHTS = 2e-5, 1e-6

base, adapter, exported, merged, expected = sys.argv[1:]
expected = json.loads(Path(expected).read_text(encoding="utf-8"))
saved = load_file(Path(adapter) / "adapter_model.safetensors")
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
embedding = saved.get("base_model.model.model.embed_tokens.weight")
if embedding is not None:
    model.resize_token_embeddings(len(embedding))
model = PeftModel.from_pretrained(model, adapter)
loaded = {name.replace(".default", "").replace(".modules_to_save", ""): it for name, it in model.named_parameters()}
for name, tensor in saved.items():
    assert torch.equal(loaded[name], tensor), name
prompt = torch.tensor([expected["ids"]])


def compare(model, what):
    with torch.no_grad():
        logits = model(prompt).logits[0, -1]
    off = (logits - torch.tensor(expected["last_logits"])).abs().max().item()
    assert off <= LOGITS, (what, off)
    return off


print("adapter:", compare(model, "adapter"))
parameters = dict(model.merge_and_unload().named_parameters())
for folder in (exported, merged):
    whole, loading = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not loading["missing_keys"] and not loading["unexpected_keys"], loading
    print("merged:", compare(whole, folder))
    found = dict(whole.named_parameters())
    assert found.keys() == parameters.keys()
    for name, tensor in found.items():
        off = (tensor - parameters[name]).abs().max().item()
        assert off <= WEIGHTS, (folder, name, off)
    AutoTokenizer.from_pretrained(folder)
AutoTokenizer.from_pretrained(adapter)
