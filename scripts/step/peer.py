"""The peer of `scripts/bench step`: the same steps by PyTorch eager - transformers' Llama and torch's fused AdamW.

    peer.py BASE SHARD_PREFIX METRICS --precision fp32|bf16 --sequence-length N --micro N [--steps N]

METRICS is the `metrics.jsonl` of a run of ours over the same base and shard: its documents are read in its order, padded
as it pads them, and every loss is compared with its loss, so that both have done the same work. Prints JSON.
"""

import argparse
import json
import resource
import struct
import time
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaForCausalLM

ASSISTANT = 2


def read_shard(prefix):
    """Documents as (tokens, roles), from Megatron's MMIDIDX pairs of `uint16`."""

    def read(kind):
        index = Path(f"{prefix}-{kind}.idx").read_bytes()
        count = struct.unpack_from("<Q", index, 18)[0]
        sizes = np.frombuffer(index, "<i4", count, 34)
        flat = np.fromfile(f"{prefix}-{kind}.bin", "<u2").astype(np.int64)
        return np.split(flat, np.cumsum(sizes)[:-1])

    return list(zip(read("text"), read("role"), strict=True))


def micro_batch(documents, length_limit):
    """tokens_bt, labels_bt, weights_bt: the reference's collation."""
    length = min(-(-max(len(tokens) for tokens, _ in documents) // 16) * 16, length_limit)
    tokens_bt = np.zeros((len(documents), length + 1), np.int64)
    roles_bt = np.full((len(documents), length + 1), -1)
    for row, (tokens, roles) in enumerate(documents):
        tokens_bt[row, : len(tokens)] = tokens[: length + 1]
        roles_bt[row, : len(roles)] = roles[: length + 1]
    tokens_bt, roles_bt = torch.from_numpy(tokens_bt), torch.from_numpy(roles_bt)
    return tokens_bt[:, :-1], tokens_bt[:, 1:], (roles_bt[:, 1:] == ASSISTANT).float()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("shard")
    parser.add_argument("metrics")
    parser.add_argument("--precision", choices=["fp32", "bf16"])
    parser.add_argument("--sequence-length", type=int)
    parser.add_argument("--micro", type=int)
    args = parser.parse_args()

    documents = read_shard(args.shard)
    lines = [json.loads(line) for line in Path(args.metrics).read_text().splitlines()]
    model = LlamaForCausalLM.from_pretrained(args.base, dtype=torch.float32, attn_implementation="sdpa")
    # As in our run: fp32 masters, and with bf16 a copy that computes.
    masters = [parameter.detach().clone() for parameter in model.parameters()]
    bf16 = args.precision == "bf16"
    if bf16:
        model.bfloat16()
    parameters = list(model.parameters())
    updated = masters if bf16 else parameters
    decayed = [it for it in updated if it.dim() > 1]
    plain = [it for it in updated if it.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)

    tokens_per_second, worst = [], 0.0
    for line in lines:
        started = time.perf_counter()
        chosen = [documents[number] for number in line["first_documents"]]
        batches = [
            micro_batch(chosen[at : at + args.micro], args.sequence_length) for at in range(0, len(chosen), args.micro)
        ]
        supervised = sum(weights.sum() for *_, weights in batches)
        total = 0.0
        for tokens_bt, labels_bt, weights_bt in batches:
            logits_btv = model(tokens_bt).logits.float()
            losses = torch.nn.functional.cross_entropy(logits_btv.flatten(0, 1), labels_bt.flatten(), reduction="none")
            loss = (losses * weights_bt.flatten()).sum() / supervised
            loss.backward()
            total += loss.item()
        if bf16:
            for master, parameter in zip(masters, parameters, strict=True):
                master.grad = parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(updated, 1.0)
        optimizer.step()
        if bf16:
            with torch.no_grad():
                torch._foreach_copy_(parameters, masters)
        for parameter in parameters + masters:
            parameter.grad = None
        tokens_per_second.append(line["tokens"] / (time.perf_counter() - started))
        worst = max(worst, abs(total - line["loss"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"tokens_per_second": tokens_per_second, "worst_loss_difference": worst, "peak_mib": peak}))


main()
