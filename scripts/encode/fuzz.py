"""Encodes random strings that are built to hurt, with SentencePiece and with ours, and stops at the first difference.

`fuzz.py [N_MILLIONS] [SEED] [TOKENIZER]...`. A batch is made of stretches, each of a kind that has broken encoders before, and
a string of one to three of them; the next batch has new stretches. Ours takes a batch as JSON and gives it back as numbers
(`cargo run --release -p text --example encode`), so that most of the time is SentencePiece's.
"""

import json
import random
import subprocess
import sys
import time

import corpora

BATCH = 100_000


def stretches(random: random.Random, pieces: list[str], n_stretches: int) -> list[str]:
    """Random stretches of every kind."""
    code_llama = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<PRE>", "<SU", "<EOT><EOT>", " <EOT>", "<M", "▁<E"]
    special = ["<s>", "</s>", "<unk>", "<PAD>", "<|im_start|>", "<|im_end|>", "<|im_start|", "<0x0A>", "<CLS", "<MASK>"]
    controls = [chr(it) for it in (*range(0x20), *range(0x7F, 0xA0))]
    # A character of every length and every last byte, and so every byte piece; surrogates are no text.
    characters = [chr(it) for it in (*range(0x800), *range(0x800, 0xD800, 7), *range(0xE000, 0x10000, 7), *range(0x10000, 0x110000, 61))]
    few = [" \t\n\r▁\u00a0", " ▁a", "ab", "abcdefghijklmnopqrstuvwxyz", [chr(it) for it in range(0x20, 0x7F)],
           [chr(it) for it in range(0x2580, 0x2583)], [chr(it) for it in range(0x4E00, 0x4E40)],
           [chr(it) for it in range(0x1F600, 0x1F640)], controls, characters, pieces, code_llama, special,
           [it.replace("▁", "") or " " for it in pieces]]
    kinds = [
        *((lambda n, letters=letters: "".join(random.choices(letters, k=n))) for letters in few),
        lambda n: "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=6 * n)),
        lambda n: " " * random.randrange(40),
        lambda n: random.choice("aeiou.-=_*/\\0#é中🙂\n\t▁") * random.randrange(1, 80),
        lambda n: " ".join(random.choices(pieces, k=n)),
        lambda n: "\n" + " " * n + random.choice(pieces),
        lambda n: random.choice(special),
    ]
    return [random.choice(kinds)(random.randrange(1, 12)) for _ in range(n_stretches)]


def ours(command: list[str], texts: list[str]) -> bytes:
    return subprocess.run(command, input=json.dumps(texts).encode(), check=True, stdout=subprocess.PIPE).stdout


def compare(tokenizer: str, n_strings: int, seed: int):
    reference = corpora.Reference(tokenizer)
    pieces = [reference.pieces.id_to_piece(it) for it in range(reference.pieces.get_piece_size())]
    command = [corpora.example("encode"), str(corpora.model_file(tokenizer)), *corpora.EXTRA]
    source = random.Random(seed)
    start = time.monotonic()
    for n_done in range(0, n_strings, BATCH):
        pool = stretches(source, pieces, BATCH)
        texts = ["".join(source.choices(pool, k=source.randrange(1, 4))) for _ in range(BATCH)]
        if ours(command, texts) != corpora.numbers(reference.encode_all(texts)):
            for text in texts:
                expected, found = (corpora.numbers(reference.encode_all([text])), ours(command, [text]))
                if found != expected:
                    sys.exit(f"{tokenizer}: {text!r}\n  ours          {list(memoryview(found).cast('I'))[:-1]}\n"
                             f"  SentencePiece {list(memoryview(expected).cast('I'))[:-1]}")
            sys.exit(f"{tokenizer}: the ids of a batch differ, but of no text alone: batch {n_done // BATCH} of seed {seed}")
        print(f"{tokenizer}: {n_done + BATCH:,} strings, no difference ({time.monotonic() - start:.0f} s)", flush=True)


def main():
    n_strings = int(float(sys.argv[1] if len(sys.argv) > 1 else 1) * 1e6)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for tokenizer in sys.argv[3:] or corpora.TOKENIZERS:
        compare(tokenizer, n_strings, seed)


if __name__ == "__main__":
    main()
