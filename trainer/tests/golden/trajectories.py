"""Makes small training trajectories of other shapes than the oracle's, with transformers' Llama and torch's AdamW.

    python trainer/tests/golden/trajectories.py

needs torch 2.11, transformers 5, numpy and safetensors. It shares no code with the trainer: Megatron-LM's order of
documents, collation, label weights, schedule and normaliser are written out here once more. It writes
`trajectories/`: `docs.json` (documents with the role of each token) and, for each run, its base model, its settings as
the trainer takes them, and what each step did; `end.safetensors` has the last weights, `gradients.safetensors` those of the
first step after clipping, for the run with a tied head.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent / "trajectories"
VOCAB, PAD = 56, 50

SHAPE = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=128,
             tie_word_embeddings=False, rms_norm_eps=1e-5)
RUNS = {
    # Grouped queries, linear scaling of RoPE, a split with an overshoot, micro-batches that are longer than two.
    "gqa": dict(
        model=dict(num_attention_heads=4, num_key_value_heads=2, rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=1e6)),
        split=[90, 5, 5], seed=77, global_=12, micro=3, length=40, steps=14, lr=1e-2, min_lr=2e-3, warmup=3, kind="cosine",
        betas=[0.8, 0.99], eps=1e-6, weight_decay=0.3, clip=0.7, normalize="micro_batch", weights={"assistant": 1.0},
    ),
    # One head of keys and values wider than hidden size over heads, Llama 3's scaling, no split, no clipping, sum over the
    # step's tokens, and a small weight for what the user says.
    "mqa": dict(
        model=dict(num_attention_heads=4, num_key_value_heads=1, head_dim=16, rms_norm_eps=1e-6, rope_parameters=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32, rope_theta=5e5)),
        split=None, seed=5, global_=8, micro=8, length=64, steps=12, lr=6e-3, min_lr=0.0, warmup=0, kind="linear",
        betas=[0.9, 0.95], eps=1e-8, weight_decay=0.01, clip=0.0, normalize="tokens", weights={"assistant": 1.0, "user": 0.25},
    ),
    # Micro-batches of one, a weight that enters the micro-batch's denominator too, a constant rate.
    "mha": dict(
        model=dict(num_attention_heads=2, num_key_value_heads=2, rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        split=[969, 30, 1], seed=1234, global_=4, micro=1, length=24, steps=10, lr=3e-3, min_lr=0.0, warmup=2, kind="constant",
        betas=[0.9, 0.999], eps=1e-8, weight_decay=0.1, clip=1.0, normalize="micro_batch",
        weights={"assistant": 1.0, "user": 0.1, "system": 0.1, "context": 0.1},
    ),
    # A head that is the embedding's matrix, which both ways of the gradient come to.
    "tied": dict(
        model=dict(num_attention_heads=2, num_key_value_heads=1, rope_parameters=dict(rope_type="default", rope_theta=1e4),
                   tie_word_embeddings=True),
        split=None, seed=9, global_=6, micro=2, length=48, steps=12, lr=5e-3, min_lr=1e-3, warmup=2, kind="cosine",
        betas=[0.9, 0.95], eps=1e-8, weight_decay=0.1, clip=1.0, normalize="tokens", weights={"assistant": 1.0},
    ),
}
ROLES = ["system", "user", "assistant", "context"]


def documents():
    """Short turns of several roles. Some documents are longer than a row; one ends in a turn that is cut off whole."""
    random = np.random.RandomState(11)
    made = []
    for _ in range(41):
        tokens, roles = [], []
        if random.rand() < 0.3:
            n = random.randint(2, 6)
            tokens += random.randint(0, VOCAB, n).tolist()
            roles += [0] * n
        for _ in range(random.randint(1, 4)):
            for role in [1, 2]:
                n = random.randint(2, 14)
                tokens += random.randint(0, VOCAB, n).tolist()
                roles += [role] * n
        made.append({"tokens": tokens, "roles": roles})
    return made


def order(n_documents, split, seed, n):
    random = np.random.RandomState(seed)
    part = np.arange(n_documents)
    if split is not None:
        ends = [0]
        for share in split:
            ends.append(ends[-1] + int(round(share / sum(split) * float(n_documents))))
        part = random.permutation(n_documents)[: ends[1] - (ends[-1] - n_documents)]
    drawn = []
    while len(drawn) < n:
        drawn += random.permutation(part).tolist()
    return drawn[:n]


def rate(run, i):
    lr, low, warmup, steps = run["lr"], run["min_lr"], run["warmup"], run["steps"]
    if warmup > 0 and i <= warmup:
        return lr * float(i) / warmup
    if run["kind"] == "constant":
        return lr
    ratio = float(i - warmup) / float(steps - warmup)
    share = 1.0 - ratio if run["kind"] == "linear" else 0.5 * (math.cos(math.pi * ratio) + 1.0)
    return low + share * (lr - low)


def train(name, run, docs):
    torch.manual_seed(23)
    model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, **run["model"]}, attn_implementation="eager")).float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    folder = HERE / name
    model.save_pretrained(folder / "base")
    (folder / "base" / "generation_config.json").unlink(missing_ok=True)

    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [dict(params=decayed, weight_decay=run["weight_decay"]), dict(params=others, weight_decay=0.0)],
        lr=run["lr"], betas=run["betas"], eps=run["eps"])
    size, micro, length = run["global_"], run["micro"], run["length"]
    drawn = order(len(docs), run["split"], run["seed"], run["steps"] * size)
    weight_of = [run["weights"].get(role, 0.0) for role in ROLES]
    steps = []
    for i in range(run["steps"]):
        batch = drawn[i * size : (i + 1) * size]
        sums, weights, learned = [], [], 0
        for first in range(0, size, micro):
            chosen = [docs[d] for d in batch[first : first + micro]]
            longest = max(len(d["tokens"]) for d in chosen)
            long = min(length, -(-longest // 16) * 16)
            tokens = torch.full((micro, long + 1), PAD)
            weight = torch.zeros(micro, long + 1)
            for row, document in enumerate(chosen):
                n = min(len(document["tokens"]), long + 1)
                tokens[row, :n] = torch.tensor(document["tokens"][:n])
                weight[row, :n] = torch.tensor([weight_of[role] for role in document["roles"][:n]])
            logits = model(tokens[:, :-1]).logits.float()
            losses = torch.nn.functional.cross_entropy(logits.reshape(-1, VOCAB), tokens[:, 1:].reshape(-1), reduction="none")
            labels = weight[:, 1:].reshape(-1)
            learned += int((labels > 0).sum())
            sums.append((losses * labels).sum())
            weights.append(labels.sum())
        if run["normalize"] == "micro_batch":
            loss = sum(s / w for s, w in zip(sums, weights)) / len(sums)
        else:
            loss = sum(sums) / sum(weights)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters()))
        if run["clip"] > 0 and run["clip"] / (norm + 1e-6) < 1:
            for p in model.parameters():
                p.grad.mul_(run["clip"] / (norm + 1e-6))
        if name == "tied" and i == 0:
            save_file({n: p.grad.contiguous() for n, p in model.named_parameters()}, folder / "gradients.safetensors")
        for group in optimizer.param_groups:
            group["lr"] = rate(run, i)
        optimizer.step()
        steps.append(dict(lr=rate(run, i), loss=loss.item(), grad_norm=norm.item(), loss_tokens=learned, first_docs=batch[:4]))
    save_file({n: p.detach().contiguous() for n, p in model.named_parameters()}, folder / "end.safetensors")
    settings = {
        "data.split": run["split"], "data.pad_id": PAD, "seed": run["seed"], "batch.global": size, "batch.micro": micro,
        "batch.sequence_length": length, "steps": run["steps"], "optimizer.lr": run["lr"], "optimizer.min_lr": run["min_lr"],
        "optimizer.betas": run["betas"], "optimizer.eps": run["eps"], "optimizer.weight_decay": run["weight_decay"],
        "optimizer.clip_grad": run["clip"], "schedule.kind": run["kind"], "schedule.warmup_steps": run["warmup"],
        "loss.normalize": run["normalize"], "loss.weights": run["weights"],
    }
    (folder / "run.json").write_text(json.dumps({"settings": settings, "steps": steps}) + "\n")


def main():
    HERE.mkdir(exist_ok=True)
    docs = documents()
    (HERE / "docs.json").write_text(json.dumps(docs) + "\n")
    for name, run in RUNS.items():
        train(name, run, docs)


main()
