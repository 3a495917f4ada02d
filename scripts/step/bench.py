"""Training steps against PyTorch eager: transformers' Llama and torch's AdamW on the same rows, loss for loss.

`bench.py [ROUNDS]`. Each round runs both, one after the other; fails if the losses show that the work was not the same.
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
STEP_SHAPE = "--hidden-size 512 --intermediate-size 1376 --layers 6 --heads 8 --kv-heads 8 --rope-theta 1e6"
STEP_SHARD = "oracle/real/expected/orca_megacode_oasst_best/orca_megacode_oasst_best-train"
STEP_LENGTH, STEP_MICRO, STEP_GLOBAL, STEPS, WARM = 512, 2, 4, 12, 2


def measure_step(rounds):
    """Tokens per second of the same steps; each round runs both, one after the other. Returns the exit code."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "trainer"], cwd=ROOT, check=True)
    trainer = ROOT / os.environ.get("CARGO_TARGET_DIR", "target") / "release" / "trainer"
    shard = SHARED / STEP_SHARD
    # Differences of a loss near 10: rounding grows over the steps, and bf16 has 8 bits.
    allowed = {"fp32": 1e-3, "bf16": 5e-2}
    failed = False
    print(f"{STEP_SHAPE}, {STEP_GLOBAL} documents a step, {STEP_MICRO} at a time, up to {STEP_LENGTH} tokens")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        tokenizer = SHARED / "tokenizers" / "codellama" / "tokenizer.model"
        command = [trainer, "init", "--out", work / "base", "--tokenizer", tokenizer, *STEP_SHAPE.split()]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        for precision in ("fp32", "bf16"):
            (work / "run.yaml").write_text(
                f"model: {{base: {work}/base}}\ndata: {{train: {shard}, pad_id: 0}}\n"
                f"batch: {{global: {STEP_GLOBAL}, micro: {STEP_MICRO}, sequence_length: {STEP_LENGTH}}}\n"
                f"steps: {STEPS}\nprecision: {precision}\nloss: {{normalize: tokens}}\nschedule: {{kind: constant}}\n"
                "optimizer: {lr: 1.0e-4, betas: [0.9, 0.95], weight_decay: 0.1}\n"
            )
            ratios, both = [], []
            for number in range(rounds):
                out = work / f"{precision}-{number}"
                ours = subprocess.run(
                    [trainer, "train", "--config", work / "run.yaml", "--out", out], stderr=subprocess.PIPE, text=True
                )
                if ours.returncode:
                    sys.exit(ours.stderr)
                metrics = out / "metrics.jsonl"
                lines = [json.loads(line) for line in metrics.read_text().splitlines()]
                peer = [sys.executable, ROOT / "scripts" / "step" / "peer.py", work / "base", shard, metrics]
                peer += ["--precision", precision, "--sequence-length", str(STEP_LENGTH), "--micro", str(STEP_MICRO)]
                theirs = json.loads(subprocess.run(peer, check=True, stdout=subprocess.PIPE, text=True).stdout)
                if theirs["worst_loss_difference"] > allowed[precision]:
                    print(f"error: the losses differ by {theirs['worst_loss_difference']:.2g}: not the same work")
                    failed = True
                speeds = [line["tokens_per_second"] for line in lines]
                pair = [statistics.median(it[WARM:]) for it in (speeds, theirs["tokens_per_second"])]
                ratios.append(pair[0] / pair[1])
                both.append(pair)
                shutil.rmtree(out / "checkpoints")
            ours, theirs = (statistics.median(it) for it in zip(*both))
            print(
                f"{precision}: trainer {ours:,.0f} tokens/s, PyTorch eager {theirs:,.0f}: {statistics.median(ratios):.2f}x"
                f" (from {min(ratios):.2f} to {max(ratios):.2f} in {rounds} rounds)",
                flush=True,
            )
    return 1 if failed else 0


sys.exit(measure_step(int(sys.argv[1]) if len(sys.argv) > 1 else 5))
