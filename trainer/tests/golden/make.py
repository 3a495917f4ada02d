"""Makes the numbers that the trainer's tests compare with: PyTorch's, transformers' and numpy's.

    python trainer/tests/golden/make.py

needs torch 2.11, transformers 5, numpy and safetensors. It writes `llama/` (a tiny Llama, some micro-batches, their
logits, losses and gradients; in `objective.safetensors` with label weights, z-loss, label smoothing and a vocabulary
smaller than the head), `norm.safetensors` (RMSNorm in bfloat16) and `numbers.json` (orders of documents and learning
rates).
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm

HERE = Path(__file__).parent


def llama():
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_theta=1e6,
        rms_norm_eps=1e-5,
        tie_word_embeddings=False,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Larger than a fresh model's, so that attention and gates are far from linear; norms away from one.
            parameter.normal_(0.0, 0.3)
            if "norm" in name:
                parameter.add_(1.0)
    model.save_pretrained(HERE / "llama")
    (HERE / "llama" / "generation_config.json").unlink(missing_ok=True)

    # Two micro-batches of two rows with unequal numbers of learned tokens; 0 in `learned` is a token that is only read.
    lengths, micro = [17, 9, 12, 5], 2
    documents = [torch.randint(0, 48, (n,)) for n in lengths]
    learned = [torch.rand(n) < share for n, share in zip(lengths, [0.2, 0.3, 0.9, 0.8])]
    out = {}
    for i, (document, mask) in enumerate(zip(documents, learned)):
        mask[0] = False
        mask[-1] = True
        out[f"document.{i}"] = document
        out[f"learned.{i}"] = mask.to(torch.uint8)

    def sum_and_count(first):
        total, count = 0.0, 0
        for document, mask in list(zip(documents, learned))[first : first + micro]:
            logits = model(document[None, :-1]).logits[0]
            losses = torch.nn.functional.cross_entropy(logits, document[1:], reduction="none")
            total = total + losses[mask[1:]].sum()
            count += int(mask[1:].sum())
        return total, count

    parts = [sum_and_count(first) for first in range(0, len(documents), micro)]
    losses = {
        "tokens": sum(total for total, _ in parts) / sum(count for _, count in parts),
        "micro_batch": sum(total / count for total, count in parts) / len(parts),
    }
    for name, loss in losses.items():
        out[f"{name}.loss"] = loss.detach()
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
        for parameter, gradient in zip(parameters, gradients):
            out[f"{name}.{parameter}"] = gradient.contiguous()
    out["logits"] = model(documents[0][None]).logits.detach()
    save_file(out, HERE / "llama" / "expected.safetensors")
    objective(model)


OBJECTIVES = {
    "weights": dict(weighted=True, z=0.0, smoothing=0.0, vocab=48),
    "z_loss": dict(weighted=False, z=0.02, smoothing=0.0, vocab=48),
    "smoothing": dict(weighted=False, z=0.0, smoothing=0.1, vocab=48),
    "vocab": dict(weighted=False, z=0.0, smoothing=0.0, vocab=41),
    "all": dict(weighted=True, z=0.02, smoothing=0.1, vocab=41),
}


def objective(model):
    """Weighted mean over all tokens of cross-entropy (PyTorch's, smoothed) plus z times the squared log-denominator."""
    torch.manual_seed(5)
    documents = [torch.randint(0, 41, (n,)) for n in [14, 7, 11]]
    weights = [torch.rand(len(it)).mul(2).round(decimals=1) * (torch.rand(len(it)) < 0.7) for it in documents]
    out = {}
    for i, (document, weight) in enumerate(zip(documents, weights)):
        weight[0] = 0.0
        out[f"document.{i}"], out[f"weights.{i}"] = document, weight
    for name, it in OBJECTIVES.items():
        total, divisor = 0.0, 0.0
        for document, weight in zip(documents, weights):
            logits = model(document[None, :-1]).logits[0][:, : it["vocab"]]
            loss = torch.nn.functional.cross_entropy(
                logits, document[1:], reduction="none", label_smoothing=it["smoothing"]
            )
            loss = loss + it["z"] * torch.logsumexp(logits, -1) ** 2
            weight = weight[1:] if it["weighted"] else (weight[1:] > 0).float()
            total, divisor = total + (loss * weight).sum(), divisor + weight.sum()
        out[f"{name}.loss"] = (total / divisor).detach()
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(total / divisor, list(parameters.values()))
        for parameter, gradient in zip(parameters, gradients):
            if name == "all" or "layers" not in parameter:
                out[f"{name}.{parameter}"] = gradient.contiguous()
    save_file(out, HERE / "llama" / "objective.safetensors")


def norm():
    torch.manual_seed(4)
    norm = LlamaRMSNorm(64, eps=1e-5).bfloat16()
    with torch.no_grad():
        norm.weight.normal_(1.0, 0.3)
    x = torch.randn(32, 64).mul(3).bfloat16()
    save_file({"x": x, "weight": norm.weight.detach(), "y": norm(x).detach()}, HERE / "norm.safetensors")


def order(n_documents, split, seed, n_train, n_validation):
    """Megatron-LM's instruction data: one legacy stream, all documents first, then the epochs of each part."""
    random = np.random.RandomState(seed)
    if split is None:
        parts = [np.arange(n_documents), np.arange(0)]
    else:
        shares = [share / sum(split) for share in split]
        ends = [0]
        for share in shares:
            ends.append(ends[-1] + int(round(share * float(n_documents))))
        overshoot = ends[-1] - n_documents
        ends = [ends[0]] + [end - overshoot for end in ends[1:]]
        everything = random.permutation(n_documents)
        parts = [everything[ends[0] : ends[1]], everything[ends[1] : ends[2]]]
    drawn = []
    for part, n in zip(parts, [n_train, n_validation]):
        epochs = [np.arange(0)]
        while len(part) and sum(map(len, epochs)) < n:
            epochs.append(random.permutation(part))
        drawn.append(np.concatenate(epochs)[:n].tolist())
    return {
        "n_documents": n_documents,
        "split": split,
        "seed": seed,
        "train": drawn[0],
        "validation": drawn[1],
    }


def rates(kind, steps, warmup, cooldown=None, shape=None):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=3e-4)
    made = {
        "cosine": lambda: transformers.get_cosine_schedule_with_warmup(optimizer, warmup, steps),
        "linear": lambda: transformers.get_linear_schedule_with_warmup(optimizer, warmup, steps),
        "constant": lambda: transformers.get_constant_schedule_with_warmup(optimizer, warmup),
        "inverse_square_root": lambda: transformers.get_inverse_sqrt_schedule(optimizer, warmup),
        "warmup_stable_decay": lambda: transformers.get_wsd_schedule(
            optimizer, warmup, cooldown, num_training_steps=steps, decay_type=shape
        ),
    }[kind]()
    lrs = []
    for _ in range(steps):
        lrs.append(made.get_last_lr()[0])
        optimizer.step()
        made.step()
    shape = {"1-sqrt": "minus_sqrt"}.get(shape, shape)
    return {"kind": kind, "steps": steps, "warmup": warmup, "cooldown": [cooldown, shape], "lr": 3e-4, "rates": lrs}


def main():
    llama()
    norm()
    numbers = {
        "orders": [
            order(10, None, 1234, 25, 0),
            order(50, [969, 30, 1], 1234, 60, 5),
            order(41, [90, 5, 5], 7, 40, 9),
            order(7, [1, 0, 0], 1234, 16, 3),
            order(10, [1, 1, 1], 5, 7, 7),
        ],
        "rates": [rates("cosine", 30, 4), rates("linear", 25, 5), rates("constant", 8, 3), rates("cosine", 6, 0)]
        + [rates("inverse_square_root", 20, 4)]
        + [rates("warmup_stable_decay", 20, 4, 7, shape) for shape in ["linear", "cosine", "1-sqrt"]],
    }
    (HERE / "numbers.json").write_text(json.dumps(numbers) + "\n")


main()
