"""Compares our sampling with transformers' logits processors.

    python trainer/tests/python/warps.py CASES.json

CASES.json is a list: `logits`, the ids `before`, how many of them are new (`n_new`), the ids that `ends` an answer, the
settings of the warp, and our `probabilities`. `trainer/tests/sample.rs` writes it.
"""

import json
import sys

import torch
from transformers import (
    LogitsProcessorList,
    MinNewTokensLengthLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

cases = json.load(open(sys.argv[1], encoding="utf-8"))
for case in cases:
    warp = case["warp"]
    processors = LogitsProcessorList()  # in the order of GenerationMixin._get_logits_processor
    if warp["repetition_penalty"] != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(warp["repetition_penalty"]))
    if warp["min_new_tokens"] > 0:
        prompt_length = len(case["before"]) - case["n_new"]
        processors.append(MinNewTokensLengthLogitsProcessor(prompt_length, warp["min_new_tokens"], case["ends"]))
    processors.append(TemperatureLogitsWarper(warp["temperature"]))
    if warp["top_k"] > 0:
        processors.append(TopKLogitsWarper(warp["top_k"]))
    if warp["top_p"] < 1.0:
        processors.append(TopPLogitsWarper(warp["top_p"]))
    scores = processors(torch.tensor([case["before"]]), torch.tensor([case["logits"]]))[0]
    expected, ours = scores.softmax(-1), torch.tensor(case["probabilities"])
    assert torch.equal(expected > 0, ours > 0), (warp, expected.nonzero(), ours.nonzero())
    # The same operations in f32; JSON keeps every digit.
    assert (expected - ours).abs().max() < 1e-6, warp
print(f"{len(cases)} distributions are the same")
