"""Makes `evaluation.json`: documents, and what evaluations of the tiny Llama in `llama/` on them find.

    python trainer/tests/golden/evaluation.py

needs torch 2.11 and transformers 5. The head's weights are four times as large, so that a loss is above 20. A document's answer is in part what the model itself would say, and the last one's what
it would say last of all. For `micro_batch` the numbers are Megatron-LLM's (`megatron/metrics.py`): means over micro-batches
of the mean loss, of its exponential, none of them above exp(20), and of the share of learned tokens that were predicted.
"""

import json
import math
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

HERE = Path(__file__).parent
# Of each answer: how many tokens, and how many of them are the model's own.
ANSWERS = [(3, 1), (14, 9), (6, 5), (11, 2), (8, 0)]
QUESTION, MICRO = 4, 2


def main():
    torch.manual_seed(6)
    model = LlamaForCausalLM.from_pretrained(HERE / "llama", attn_implementation="eager").double()
    model.lm_head.weight.data *= 4
    documents, found = [], []
    for n, own in ANSWERS:
        tokens = torch.randint(0, 48, (QUESTION,))
        for i in range(n):
            logits = model(tokens[None]).logits[0, -1]
            chosen = logits.argmin() if own == 0 else logits.argmax() if i < own else torch.randint(0, 48, ())
            tokens = torch.cat([tokens, chosen[None]])
        logits = model(tokens[None, :-1]).logits[0, QUESTION - 1 :]
        losses = torch.nn.functional.cross_entropy(logits, tokens[QUESTION:], reduction="none")
        correct = (logits.argmax(-1) == tokens[QUESTION:]).sum()
        documents.append({"tokens": tokens.tolist(), "question": QUESTION})
        found.append((losses.sum().item(), n, int(correct)))

    def sums(documents):
        return [sum(numbers) for numbers in zip(*documents)]

    def mean(numbers):
        return sum(numbers) / len(numbers)

    parts = [sums(found[first : first + MICRO]) for first in range(0, len(found), MICRO)]
    loss, n, correct = sums(found)
    expected = {
        "tokens": {"loss": loss / n, "perplexity": math.exp(loss / n), "accuracy": correct / n},
        "micro_batch": {
            "loss": mean([loss / n for loss, n, _ in parts]),
            "perplexity": mean([math.exp(min(20, loss / n)) for loss, n, _ in parts]),
            "accuracy": mean([correct / n for _, n, correct in parts]),
        },
    }
    (HERE / "evaluation.json").write_text(json.dumps({"micro": MICRO, "documents": documents, "expected": expected}) + "\n")


main()
