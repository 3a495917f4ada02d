"""Encodes random strings that are built to hurt, with SentencePiece and with ours, and stops at the first difference.

`fuzz.py [N_MILLIONS] [SEED]`; builds and runs `cargo run --release -p text --example encode`.
"""

import json
import random
import subprocess
import sys

import corpora

BATCH = 5_000


def generator(random: random.Random, pieces: list[str]):
    """A string of a few stretches, each of a kind that has broken encoders before."""
    code_llama = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", "<PRE>", "<SU", "<EOT><EOT>", " <EOT>", "<M", "▁<E"]
    special = ["<s>", "</s>", "<unk>", "<PAD>", "<|im_start|>", "<|im_end|>", "<|im_start|", "<0x0A>", "<CLS", "<MASK>"]
    ranges = [(0, 0x7F), (0x20, 0x7E), (0, 0x1F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x10FFFF),
              (0x2580, 0x2582), (0x4E00, 0x4E40), (0x1F600, 0x1F640)]
    stretches = [
        lambda n: " " * random.randrange(40),
        lambda n: "".join(random.choices(" \t\n\r▁\u00a0", k=n)),
        lambda n: "".join(random.choices(" ▁a", k=n)),
        lambda n: random.choice("aeiou.-=_*/\\0#é中🙂") * random.randrange(1, 80),
        lambda n: "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=4 * n)),
        lambda n: "".join(random.choices("ab", k=4 * n)),
        lambda n: "".join(chr(random.randint(*random.choice(ranges))) for _ in range(n)),
        lambda n: "".join(random.choices(pieces, k=n)),
        lambda n: "".join(random.choices(pieces, k=n)).replace("▁", ""),
        lambda n: " ".join(random.choices(pieces, k=n)),
        lambda n: "".join(random.choices(code_llama, k=n)),
        lambda n: "".join(random.choices(special, k=3)),
        lambda n: random.choice(special),
    ]
    while True:
        k = random.randrange(1, 5)
        yield "".join(random.choice(stretches)(random.randrange(1, 12)) for _ in range(k))


def main():
    n_strings = int(float(sys.argv[1] if len(sys.argv) > 1 else 1) * 1e6)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    command = ["cargo", "run", "--quiet", "--release", "-p", "text", "--example", "encode", "--"]
    for tokenizer in corpora.TOKENIZERS:
        reference = corpora.Reference(tokenizer)
        pieces = [reference.pieces.id_to_piece(it) for it in range(reference.pieces.get_piece_size())]
        ours = subprocess.Popen([*command, str(corpora.model_file(tokenizer)), *corpora.EXTRA],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        strings = generator(random.Random(seed), pieces)
        for n_done in range(0, n_strings, BATCH):
            batch = [next(strings) for _ in range(BATCH)]
            for start in range(0, BATCH, 20):  # few enough for the pipes' buffers
                texts = batch[start:start + 20]
                for text in texts:
                    ours.stdin.write(json.dumps(text) + "\n")
                ours.stdin.flush()
                for text in texts:
                    ids = json.loads(ours.stdout.readline())
                    expected = reference.encode(text)
                    if ids != expected:
                        sys.exit(f"{tokenizer}: {text!r}\n  ours          {ids}\n  SentencePiece {expected}")
            print(f"\r{tokenizer}: {n_done + BATCH:,} strings, no difference", end="", flush=True)
        print()
        ours.stdin.close()
        ours.wait()


main()
