"""Training steps against PyTorch eager - transformers' Llama and torch's AdamW on the same rows, loss for loss - and packed rows
against the reference's padded ones, in the trainer and in PyTorch eager.

`bench.py ROUNDS [fp32] [bf16] [packed]`. Each round runs all, one after the other; fails if the losses show that the work was
not the same, or if a run waited for its rows.
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
# Documents as long as they are, in rows of the length that the published run had. Only blocks compute padding, and in a model of
# 13B parameters nearly all is blocks: hence many.
DEEP_SHAPE = "--hidden-size 256 --intermediate-size 688 --layers 24 --heads 4 --kv-heads 4 --rope-theta 1e6 --max-position-embeddings 4096"
DEEP_LENGTH = 4096
# Differences of a loss near 10: rounding grows over the steps, and bf16 has 8 bits.
ALLOWED = {"fp32": 1e-3, "bf16": 5e-2}
# Of a run's time, what it may wait for the thread that makes its rows.
MOST_WAITING = 0.01


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
        lines = train(work, "base", f"{precision}-{number}", f"{batch(LENGTH)}precision: {precision}\n")
        theirs = peer(work, "base", f"{precision}-{number}", precision, LENGTH)
        same &= is_same(theirs["worst_loss_difference"], precision) and is_fed(lines)
        pair = [settled(it) for it in (speeds(lines), theirs["tokens_per_second"])]
        ratios.append(pair[0] / pair[1])
        both.append((*pair, lines[-1]["peak_memory_mib"], theirs["peak_mib"]))
    ours, theirs, memory, their_memory = (statistics.median(it) for it in zip(*both))
    print(
        f"{precision}: trainer {ours:,.0f} tokens/s, PyTorch eager {theirs:,.0f}: {spread(ratios)};"
        f" at most {memory:,.0f} MiB and {their_memory:,.0f} MiB",
        flush=True,
    )
    return same


def measure_packed(work, rounds):
    """Tokens per second, padding not counted, of packed rows and of padded ones; whether the losses were the same."""
    init(work, "deep", DEEP_SHAPE)
    print(f"{DEEP_SHAPE}, {GLOBAL} documents a step, {MICRO} at a time, up to {DEEP_LENGTH} tokens, fp32")
    all_speeds, same = [], True
    for number in range(rounds):
        packed, padded = (train(work, "deep", f"{rows}-{number}", batch(DEEP_LENGTH), rows) for rows in ("packed", "padded"))
        theirs = peer(work, "deep", f"padded-{number}", "fp32", DEEP_LENGTH)
        worst = max(abs(one["loss"] - other["loss"]) for one, other in zip(packed, padded, strict=True))
        same &= is_same(max(worst, theirs["worst_loss_difference"]), "fp32") and is_fed(packed) and is_fed(padded)
        all_speeds.append([settled(it) for it in (speeds(packed), speeds(padded), theirs["tokens_per_second"])])
    ours, own_padded, theirs = (statistics.median(it) for it in zip(*all_speeds))
    share = 1 - sum(line["tokens"] for line in padded) / sum(line["tokens"] / (1 - line["padding"]) for line in padded)
    print(f"packed {ours:,.0f} tokens/s; of the places of padded rows, {share:.0%} are padding")
    print(f"  padded, the trainer      {own_padded:7,.0f} tokens/s: {spread([it[0] / it[1] for it in all_speeds])}")
    print(f"  padded, PyTorch eager    {theirs:7,.0f} tokens/s: {spread([it[0] / it[2] for it in all_speeds])}", flush=True)
    return same


def batch(length):
    return f"batch: {{global: {GLOBAL}, micro: {MICRO}, sequence_length: {length}}}\nsteps: {STEPS}\n"


def peer(work, base, out, precision, length):
    """What PyTorch eager says of the steps of a run with padded rows."""
    command = [sys.executable, ROOT / "scripts" / "step" / "peer.py", work / base, SHARD, work / out / "metrics.jsonl"]
    command += ["--precision", precision, "--sequence-length", str(length), "--micro", str(MICRO)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def is_same(difference, precision):
    if difference > ALLOWED[precision]:
        print(f"error: the losses differ by {difference:.2g}: not the same work")
    return difference <= ALLOWED[precision]


def is_fed(lines):
    """Whether a run hardly waited for its rows."""
    share = sum(line["data_seconds"] for line in lines) / sum(line["seconds"] for line in lines)
    if share > MOST_WAITING:
        print(f"error: {share:.1%} of the time went by waiting for rows, expected at most {MOST_WAITING:.0%}")
    return share <= MOST_WAITING


def speeds(lines):
    return [line["tokens_per_second"] for line in lines]


def settled(values):
    """The median behind the first steps."""
    return statistics.median(values[WARM:])


def spread(ratios):
    return f"{statistics.median(ratios):.2f}x (from {min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds)"


main()
