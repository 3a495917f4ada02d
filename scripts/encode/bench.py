"""Speed of encoding: SentencePiece, the `tokenizers` library and ours; one thread, the same documents, in turn.

    bench.py [CORPUS]...   the corpora code, chat and udhr, with both tokenizers
    bench.py --hostile     texts of 10 MB without a place to cut, or with nothing but such places

Medians of 5 rounds (3 for `--hostile`), ratios within a round. Ours starts each round with an empty cache ("cold") and encodes the
documents once more with the cache it then has ("warm"). Fails if an id differs from SentencePiece's.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time

import corpora

HOSTILE_BYTES = 10_000_000


def main():
    if sys.argv[1:] == ["--hostile"]:
        return hostile()
    print(f"{'tokenizer':10} {'corpus':6} {'MB':>5}  MB/s: {'SentencePiece':>13} {'tokenizers':>10} {'cold':>5} {'warm':>5}"
          f"   cold against {'SentencePiece':>13} {'tokenizers':>10}", flush=True)
    for tokenizer in corpora.TOKENIZERS:
        for name in sys.argv[1:] or corpora.CORPORA:
            documents = corpora.corpus(name)
            n_bytes = sum(len(it.encode()) for it in documents)
            with documents_file(documents) as file:
                rounds = [one_round(tokenizer, documents, file.name) for _ in range(5)]
            speed = [n_bytes / 1e6 / statistics.median(it) for it in zip(*rounds)]
            ratio = [statistics.median(it[i] / it[2] for it in rounds) for i in (0, 1)]
            print(f"{tokenizer:10} {name:6} {n_bytes / 1e6:5.1f}        {speed[0]:13.1f} {speed[1]:10.1f} {speed[2]:5.0f} {speed[3]:5.0f}"
                  f"                {ratio[0]:12.0f}x {ratio[1]:9.0f}x", flush=True)


def one_round(tokenizer: str, documents: list[str], file: str) -> tuple[float, ...]:
    """Seconds for the documents: SentencePiece, `tokenizers`, ours cold and warm."""
    reference = corpora.Reference(tokenizer)
    start = time.perf_counter()
    for document in documents:
        reference.pieces.encode(document)
    theirs = time.perf_counter() - start
    json_file = str(corpora.model_file(tokenizer).with_name("tokenizer.json"))
    library = output([corpora.example("tokenizers_speed"), json_file, file])
    ours = checked(tokenizer, documents, file)
    return theirs, library["seconds"], ours["cold_seconds"], ours["warm_seconds"]


def hostile():
    """Prints nanoseconds a byte, cold, beside those of the corpora, and the most memory that the process took."""
    letters = [chr(it) for it in range(ord("a"), ord("z") + 1)]
    characters = [chr(it) for it in range(0x110000) if not 0xD800 <= it < 0xE000]
    chat = "".join("".join(corpora.corpus("chat")).split())
    source = random.Random(0)
    texts = {
        "normal: code": corpora.corpus("code"),
        "normal: chat": corpora.corpus("chat"),
        "normal: udhr": corpora.corpus("udhr"),
        "one `a`": ["a" * HOSTILE_BYTES],
        "one emoji": ["🙂" * (HOSTILE_BYTES // 4)],
        "blanks": [" " * HOSTILE_BYTES],
        "newlines": ["\n" * HOSTILE_BYTES],
        "a line without blanks": [(chat * (HOSTILE_BYTES // len(chat) + 1))[:HOSTILE_BYTES]],
        "random a-z": ["".join(source.choices(letters, k=HOSTILE_BYTES))],
        "random characters": ["".join(source.choices(characters, k=HOSTILE_BYTES // 4))],
        "random a-z, 1 MB only": ["".join(source.choices(letters, k=HOSTILE_BYTES // 10))],
    }
    print(f"{'10 MB of':22} {'ns a byte':>9} {'of code':>8} {'of chat':>8} {'of udhr':>8} {'peak MB':>8}", flush=True)
    normal = []
    for name, documents in texts.items():
        n_bytes = sum(len(it.encode()) for it in documents)
        with documents_file(documents) as file:
            rounds = [checked("llama2", documents, file.name) for _ in range(3)]
        cost = statistics.median(it["cold_seconds"] for it in rounds) * 1e9 / n_bytes
        normal += [cost] if name.startswith("normal") else []
        ratios = "".join(f"{cost / it:8.1f}x" for it in normal) if len(normal) == 3 else ""
        print(f"{name:22} {cost:9.1f} {ratios:27} {max(it['peak_kib'] for it in rounds) / 1e3:8.0f}", flush=True)


def documents_file(documents: list[str]):
    file = tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8")
    file.writelines(json.dumps(it) + "\n" for it in documents)
    file.flush()
    return file


def checked(tokenizer: str, documents: list[str], file: str, expected={}) -> dict:
    """What `encode_speed` reports, if its ids are SentencePiece's."""
    key = (tokenizer, len(documents), documents[0][:100], documents[-1][-100:])
    if key not in expected:
        expected[key] = corpora.digest(corpora.Reference(tokenizer).encode_all(documents))
    report = output([corpora.example("encode_speed"), str(corpora.model_file(tokenizer)), file, *corpora.EXTRA])
    if report["sha256"] != expected[key]:
        sys.exit(f"{tokenizer}: the ids differ from SentencePiece's")
    return report


def output(command: list[str]) -> dict:
    """The report of a program."""
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


main()
