"""`pretokenizer build`, the whole process, on inputs that it makes; called by `scripts/bench build` and `scripts/bench memory`.

    bench.py speed [MEGABYTES]              against SentencePiece's encoding of the same text, and 2 threads against 1
    bench.py memory MEGABYTES [FORMAT]...   peak memory, by format of the input: json, gz, parquet, arrow

Fails if an id differs from SentencePiece's, or the output on two threads from that on one.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from pathlib import Path

import inputs

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "scripts" / "encode"))
ROUNDS = 5


def main():
    mode, *rest = sys.argv[1:]
    subprocess.run(["cargo", "build", "--quiet", "--release", "--package", "pretokenizer"], cwd=ROOT, check=True)
    if mode == "speed":
        measure_speed(float(rest[0]) if rest else 64)
    else:
        measure_memory(float(rest[0]), rest[1:] or inputs.FORMATS)


def build(folder: Path, *flags):
    """Runs the program; seconds, CPU seconds and peak memory in MB."""
    target = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
    command = [target / "release" / "pretokenizer", "build", "--configs", *inputs.SECTIONS, *flags]
    started = subprocess.run([sys.executable, "-S", "-c", STARTER, *command], cwd=folder, capture_output=True, text=True)
    if started.returncode:
        sys.exit(started.stderr)
    return json.loads(started.stdout)


# A process's peak begins with that of the one which starts it, so one that never held an input does that.
STARTER = """
import os, resource, subprocess, sys, time
start = time.perf_counter()
ended = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
seconds = time.perf_counter() - start
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print([seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6])
sys.exit(ended.returncode)
"""


def digest(folder: Path):
    """Of every file that was written, the manifest included."""
    sha = hashlib.sha256()
    for path in sorted(folder.glob("output/*/*")):
        sha.update(path.name.encode() + path.read_bytes())
    return sha.hexdigest()


def check_ids(folder: Path, texts):
    """The tokens that were written are those that SentencePiece gives to the texts."""
    import corpora

    written = array("H")
    for path in sorted(folder.glob("output/*/*-text.bin")):
        written.frombytes(path.read_bytes())
    start = 0
    for text, ids in zip(texts, corpora.Reference("codellama").encode_all(texts)):
        if written[start : start + len(ids)].tolist() != ids:
            sys.exit(f"error: the ids differ from SentencePiece's, of {text!r}")
        start += len(ids)
    if start != len(written):
        sys.exit(f"error: {len(written):,} tokens were written, expected {start:,}")


def measure_speed(megabytes):
    import sentencepiece

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        inputs.write(work, megabytes)
        build(work, "--write_json")
        texts = [json.loads(line)["text"] for path in sorted(work.glob("output/*/*.jsonl")) for line in path.open()]
        check_ids(work, texts)
        stretches = [part for text in texts for part in text.replace("<|im_end|>", "<|im_start|>").split("<|im_start|>")]
        processor = sentencepiece.SentencePieceProcessor(model_file=str(work / "codellama.model"))
        rounds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for stretch in stretches:
                processor.encode(stretch)
            theirs = time.perf_counter() - start
            one = build(work, "--threads", "1")
            expected = digest(work)
            two = build(work, "--threads", "2")
            if digest(work) != expected:
                sys.exit("error: the output on two threads differs from that on one")
            rounds.append((theirs, *one, *two))
        size = sum(len(text.encode()) for text in texts) / 1e6
        theirs, one, one_cpu, one_memory, two, two_cpu, two_memory = (statistics.median(it) for it in zip(*rounds))
        ratio = lambda a, b: statistics.median(it[a] / it[b] for it in rounds)
        print(f"{len(texts):,} documents, {size:.1f} MB of text; medians of {ROUNDS} rounds")
        print(f"SentencePiece's encode alone, one thread   {theirs:7.2f} s")
        print(f"pretokenizer build, the whole process,")
        print(f"  one thread    {one:7.2f} s  {one_cpu:7.2f} s of CPU  {one_memory:5.0f} MB at most  {ratio(0, 1):5.1f}x")
        print(f"  two threads   {two:7.2f} s  {two_cpu:7.2f} s of CPU  {two_memory:5.0f} MB at most  {ratio(0, 4):5.1f}x")
        print(f"two threads against one                    {ratio(1, 4):7.2f}x")


def measure_memory(megabytes, formats):
    print(f"{'format':10} {'inputs':>12} {'at most':>12} {'seconds':>8}")
    for form in formats:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            inputs.write(work, megabytes, form)
            names = (inputs.ORCA, inputs.MEGACODE, inputs.OASST)
            size = sum((work / name).stat().st_size for name in names) / 1e6
            seconds, _, memory = build(work)
            print(f"{form:10} {size:9.0f} MB {memory:9.0f} MB {seconds:8.1f}", flush=True)


main()
