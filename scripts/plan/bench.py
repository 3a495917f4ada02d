"""What `trainer plan` says of memory against what `trainer train` takes on a CPU.

`bench.py TRAINER [CASE ...]`. Documents are as long as they may be and all of them is learned, so that nothing is less than the
plan's most. What the process takes besides is found with a model of almost nothing and taken off. Of several ranks, it is the
one that takes most. Fails above 10 %.
"""

import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

LENGTH, VOCABULARY, ALLOWED = 1024, 4096, 0.1
LARGE = "--hidden-size 1024 --intermediate-size 2752 --layers 4 --heads 16"
SMALL = "--hidden-size 64 --intermediate-size 64 --layers 2 --heads 1"
LORA = "{r: 16, lora_dropout: 0.1, target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]}"
CASES = {
    "fp32": "",
    "bf16": "precision: bf16\n",
    "bf16, recompute: all": "precision: bf16\nrecompute: all\n",
    "fp32, recompute: every_2": "recompute: every_2\n",
    "bf16, LoRA": f"precision: bf16\nlora: {LORA}\n",
    "fp32, LoRA on queries and values": "lora: {r: 8}\n",
    "fp32, 2 stages": "parallel: {pipeline: 2}\n",
    "bf16, recompute: all, 2 stages": "precision: bf16\nrecompute: all\nparallel: {pipeline: 2}\n",
}


def write_shards(prefix, documents):
    """Megatron's pairs: documents of one token more than a row, all of them the assistant's."""
    n = LENGTH + 1
    for what, value in (("text", 7), ("role", 2)):
        numbers = array("H", [value]) * n
        Path(f"{prefix}-{what}.bin").write_bytes(numbers.tobytes() * documents)
        index = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, documents, documents + 1)
        index += array("i", [n] * documents).tobytes()
        index += array("q", [i * n * numbers.itemsize for i in range(documents)]).tobytes()
        index += array("q", range(documents + 1)).tobytes()
        Path(f"{prefix}-{what}.idx").write_bytes(index)


def planned(trainer, config, ranks):
    """MiB."""
    said = subprocess.run([trainer, "plan", "--config", config, "--ranks", str(ranks)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return 1024 * float(re.search(r"in all +([0-9.]+)", said).group(1))


def taken(trainer, config, ranks, out):
    """The most memory of its own that a process has, in MiB."""
    # Without this, what is freed may stay with the process, depending on sizes.
    environment = dict(os.environ, MALLOC_MMAP_THRESHOLD_="262144", MALLOC_TRIM_THRESHOLD_="0")
    launch = ["launch", "--nproc", str(ranks), "--"] if ranks > 1 else []
    command = [trainer, *launch, "train", "--config", config, "--out", out]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    peak = 0
    while process.poll() is None:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split() if launch else []
            for pid in children or [process.pid]:
                status = Path(f"/proc/{pid}/status").read_text()
                peak = max(peak, *(int(it) for it in re.findall(r"RssAnon:\s+(\d+) kB", status)))
        except (FileNotFoundError, ProcessLookupError, TypeError):
            pass
        time.sleep(0.001)
    if process.returncode:
        sys.exit(process.stderr.read())
    return peak / 1024


def main():
    trainer, *chosen = sys.argv[1:]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_shards(work / "docs-train", 4)
        for name, shape in (("large", LARGE), ("small", SMALL)):
            command = [trainer, "init", "--out", work / name, "--vocab-size", str(VOCABULARY), *shape.split()]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        print("MiB                                     planned   measured")
        for number, case in enumerate(CASES):
            if chosen and case not in chosen:
                continue
            both = {}
            # Two micro-batches for two stages, both of which are under way in the first.
            ranks, micro = (2, 1) if "pipeline" in CASES[case] else (1, 2)
            for name in ("large", "small"):
                config = work / f"{name}.yaml"
                config.write_text(
                    f"model: {{base: {work / name}}}\ndata: {{train: {work}/docs-train, pad_id: 0}}\n"
                    f"batch: {{global: 2, micro: {micro}, sequence_length: {LENGTH}}}\nsteps: 2\ndevice: cpu\n"
                    f"optimizer: {{lr: 1.0e-5}}\nloss: {{train_on: [assistant]}}\n{CASES[case]}"
                )
                out = work / f"{name}-{number}"
                both[name] = planned(trainer, config, ranks), taken(trainer, config, ranks, out)
            plan, found = (large - small for large, small in zip(both["large"], both["small"]))
            off = plan / found - 1
            failed |= abs(off) > ALLOWED
            print(f"{case:38} {plan:8.0f}   {found:8.0f}   {100 * off:+.1f} %", flush=True)
    return 1 if failed else 0


sys.exit(main())
