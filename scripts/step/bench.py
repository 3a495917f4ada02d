"""Training steps against PyTorch eager - transformers' Llama and torch's AdamW on the same rows, loss for loss - and packed rows
against padded ones.

`bench.py ROUNDS [fp32] [bf16] [packed]`. Each round runs both, one after the other; fails if the losses show that the work was
not the same.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED = ROOT.parent / "shared"

# A model small enough for two cores, with CodeLlama's vocabulary and its proportions.
SHAPE = "--hidden-size 512 --intermediate-size 1376 --layers 6 --heads 8 --kv-heads 8 --rope-theta 1e6"
SHARD = SHARED / "oracle/real/expected/orca_megacode_oasst_best/orca_megacode_oasst_best-train"
LENGTH, MICRO, GLOBAL, STEPS, WARM = 512, 2, 4, 10, 2
# Documents as long as they are, in rows of the length that the published run had.
PACKED_SHAPE = "--hidden-size 256 --intermediate-size 688 --layers 4 --heads 4 --kv-heads 4 --rope-theta 1e6 --max-position-embeddings 4096"
PACKED_LENGTH, PACKED_GLOBAL, PACKED_STEPS = 4096, 32, 4
# Differences of a loss near 10: rounding grows over the steps, and bf16 has 8 bits.
ALLOWED = {"fp32": 1e-3, "bf16": 5e-2}


def main():
    rounds, what = int(sys.argv[1]), sys.argv[2:] or ["fp32", "bf16", "packed"]
    subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "trainer"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        same = [measure_packed(work, rounds) if it == "packed" else measure_step(work, it, rounds) for it in what]
    sys.exit(0 if all(same) else 1)


def init(work, name, shape):
    tokenizer = SHARED / "tokenizers" / "codellama" / "tokenizer.model"
    command = [trainer(), "init", "--out", work / name, "--tokenizer", tokenizer, *shape.split()]
    if not (work / name).exists():
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def trainer():
    return ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "trainer"


def train(work, base, out, yaml, rows="padded"):
    """A run's lines in `metrics.jsonl`, a step each."""
    (work / "run.yaml").write_text(
        f"model: {{base: {work}/{base}}}\ndata: {{train: {SHARD}, pad_id: 0, rows: {rows}}}\nloss: {{normalize: tokens}}\n"
        f"schedule: {{kind: constant}}\noptimizer: {{lr: 1.0e-4, betas: [0.9, 0.95], weight_decay: 0.1}}\n{yaml}"
    )
    command = [trainer(), "train", "--config", work / "run.yaml", "--out", work / out]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if ended.returncode:
        sys.exit(ended.stderr)
    shutil.rmtree(work / out / "checkpoints")
    return [json.loads(line) for line in (work / out / "metrics.jsonl").read_text().splitlines()]


def measure_step(work, precision, rounds):
    """Tokens per second of the same steps; whether the losses were the same."""
    init(work, "base", SHAPE)
    print(f"{SHAPE}, {GLOBAL} documents a step, {MICRO} at a time, up to {LENGTH} tokens")
    ratios, both, same = [], [], True
    for number in range(rounds):
        out = f"{precision}-{number}"
        lines = train(
            work, "base", out,
            f"batch: {{global: {GLOBAL}, micro: {MICRO}, sequence_length: {LENGTH}}}\nsteps: {STEPS}\nprecision: {precision}\n",
        )
        peer = [sys.executable, ROOT / "scripts" / "step" / "peer.py", work / "base", SHARD, work / out / "metrics.jsonl"]
        peer += ["--precision", precision, "--sequence-length", str(LENGTH), "--micro", str(MICRO)]
        theirs = json.loads(subprocess.run(peer, check=True, stdout=subprocess.PIPE, text=True).stdout)
        if theirs["worst_loss_difference"] > ALLOWED[precision]:
            print(f"error: the losses differ by {theirs['worst_loss_difference']:.2g}: not the same work")
            same = False
        speeds = [line["tokens_per_second"] for line in lines]
        pair = [statistics.median(it[WARM:]) for it in (speeds, theirs["tokens_per_second"])]
        ratios.append(pair[0] / pair[1])
        both.append((*pair, lines[-1]["peak_memory_mib"], theirs["peak_mib"]))
    ours, theirs, memory, their_memory = (statistics.median(it) for it in zip(*both))
    print(
        f"{precision}: trainer {ours:,.0f} tokens/s, PyTorch eager {theirs:,.0f}: {statistics.median(ratios):.2f}x"
        f" (from {min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds); at most {memory:,.0f} MiB and {their_memory:,.0f} MiB",
        flush=True,
    )
    return same


def measure_packed(work, rounds):
    """Tokens per second, padding not counted, of packed rows and of padded ones; whether the losses were the same."""
    init(work, "long", PACKED_SHAPE)
    print(f"{PACKED_SHAPE}, {PACKED_GLOBAL} documents a step, {MICRO} at a time, up to {PACKED_LENGTH} tokens, fp32")
    batch = f"batch: {{global: {PACKED_GLOBAL}, micro: {MICRO}, sequence_length: {PACKED_LENGTH}}}\nsteps: {PACKED_STEPS}\n"
    ratios, both, same = [], [], True
    for number in range(rounds):
        packed, padded = (train(work, "long", f"{rows}-{number}", batch, rows) for rows in ("packed", "padded"))
        worst = max(abs(one["loss"] - other["loss"]) for one, other in zip(packed, padded, strict=True))
        if worst > ALLOWED["fp32"]:
            print(f"error: the losses differ by {worst:.2g}: not the same work")
            same = False
        pair = [statistics.median(line["tokens_per_second"] for line in lines[1:]) for lines in (packed, padded)]
        ratios.append(pair[0] / pair[1])
        both.append(pair)
    ours, theirs = (statistics.median(it) for it in zip(*both))
    share = statistics.median(line["padding"] for line in padded)
    print(
        f"packed {ours:,.0f} tokens/s, padded {theirs:,.0f}, of whose places {share:.0%} are padding: {statistics.median(ratios):.2f}x"
        f" (from {min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)"
    )
    return same


main()
