"""Speed of encoding against SentencePiece: the same documents, one thread, in turn; medians of 5 rounds.

`bench.py [CORPUS]...` with the corpora code, chat and udhr. Fails if an id differs. Ours starts each round with an empty
cache ("cold"), and encodes the corpus once more with the cache it then has ("warm").
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time

import corpora

ROUNDS = 5


def main():
    command = ["cargo", "build", "--quiet", "--release", "-p", "text", "--example", "encode_speed"]
    subprocess.run(command, check=True)
    print(f"{'tokenizer':10} {'corpus':6} {'MB':>6} {'SentencePiece':>14} {'cold':>7} {'ratio':>6} {'warm':>7} {'ratio':>6}")
    for tokenizer in corpora.TOKENIZERS:
        for name in sys.argv[1:] or ("code", "chat", "udhr"):
            measure(tokenizer, name)


def measure(tokenizer: str, name: str):
    model = str(corpora.model_file(tokenizer))
    documents = corpora.corpus(name)
    n_bytes = sum(len(it.encode()) for it in documents)
    reference = corpora.Reference(tokenizer)
    expected = corpora.digest(map(reference.encode, documents))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(it) + "\n" for it in documents)
        file.flush()
        command = ["cargo", "run", "--quiet", "--release", "-p", "text", "--example", "encode_speed", "--"]
        rounds = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for document in documents:
                reference.pieces.encode(document)
            theirs = time.perf_counter() - start
            output = subprocess.run([*command, model, file.name, *corpora.EXTRA], check=True, capture_output=True)
            ours = json.loads(output.stdout)
            if ours["sha256"] != expected:
                sys.exit(f"{tokenizer}, {name}: the ids differ from SentencePiece's")
            rounds.append((theirs, ours["cold_seconds"], ours["warm_seconds"]))
    speed = [n_bytes / 1e6 / statistics.median(it) for it in zip(*rounds)]
    cold, warm = (statistics.median(it[0] / it[i] for it in rounds) for i in (1, 2))
    print(f"{tokenizer:10} {name:6} {n_bytes / 1e6:6.1f} {speed[0]:14.1f} {speed[1]:7.0f} {cold:5.0f}x {speed[2]:7.0f} {warm:5.0f}x")


main()
