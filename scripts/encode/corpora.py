"""Real documents, and the ids that the reference gives them: what the encoder is compared with.

The rule for special tokens is that of Open-Assistant's pretokenizer: of all special strings the one that starts
earliest, of equals the one registered first; every stretch between is encoded on its own by SentencePiece.
"""

import functools
import gzip
import hashlib
import json
import os
import re
import subprocess
import zipfile
from array import array
from pathlib import Path

import sentencepiece

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data"
TOKENIZERS = ("llama2", "codellama")
CORPORA = ("code", "chat", "udhr")
EXTRA = ("<|im_start|>", "<|im_end|>")


def model_file(tokenizer: str) -> Path:
    return SHARED / "tokenizers" / tokenizer / "tokenizer.model"


def strings(value):
    """All strings in a JSON value, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def texts(path: Path) -> list[str]:
    """The documents of a file in `../shared/data`: strings of JSON values, or members of an archive."""
    name = path.name
    if name.endswith(".zip"):
        archive = zipfile.ZipFile(path)
        members = (it for it in sorted(archive.namelist()) if not it.endswith("/"))
        return [archive.read(it).decode("utf-8", errors="replace") for it in members]
    text = (gzip.open(path, "rt", encoding="utf-8") if name.endswith(".gz") else path.open(encoding="utf-8")).read()
    values = [json.loads(line) for line in text.splitlines() if line] if "jsonl" in name else json.loads(text)
    return list(strings(values))


def corpus(name: str) -> list[str]:
    """The three corpora that speed is measured on: whole answers, reports and declarations."""
    if name == "code":
        rows = json.loads((DATA / "gpteacher_codegen-instruct.json").read_text(encoding="utf-8"))
        return ["\n".join(row.values()) for row in rows]
    if name == "chat":
        return [it for path in sorted(DATA.glob("2023-0*_sampling_*.json")) for it in texts(path) if len(it) > 40]
    if name == "udhr":
        return texts(DATA / "udhr2.zip")
    raise ValueError(f"no corpus `{name}`")


class Reference:
    """SentencePiece, and the special tokens around it."""

    def __init__(self, tokenizer: str):
        self.pieces = sentencepiece.SentencePieceProcessor(model_file=str(model_file(tokenizer)))
        size = self.pieces.get_piece_size()
        self.special = {}
        for token in ("<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>", "<s>", "</s>", *EXTRA):
            known = self.pieces.piece_to_id(token)
            if known == self.pieces.unk_id():
                known, size = size, size + 1
            self.special[token] = known

        # Of alternatives at one place a regular expression takes the first: the rule above.
        self.finder = re.compile("(" + "|".join(map(re.escape, self.special)) + ")")

    def encode_all(self, texts) -> list[list[int]]:
        """The ids of texts; SentencePiece gets all stretches at once, for one thread."""
        split = [self.finder.split(text) for text in texts]  # stretch, special token, stretch, ..., stretch
        stretches = self.pieces.encode([it for parts in split for it in parts[::2]], num_threads=1)
        stretches, result = iter(stretches), []
        for parts in split:
            ids = next(stretches)
            for token in parts[1::2]:
                ids.append(self.special[token])
                ids += next(stretches)
            result.append(ids)
        return result


@functools.cache
def example(name: str) -> str:
    """Builds an example of the crate `text`, and says where it is."""
    command = ["cargo", "build", "--quiet", "--release", "-p", "text", "--example", name]
    subprocess.run(command, check=True, cwd=ROOT)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return str(target / "release" / "examples" / name)


def numbers(documents) -> bytes:
    """The ids of documents, 32 bits each, 2^32 - 1 after each document."""
    return b"".join(array("I", [*ids, 2**32 - 1]).tobytes() for ids in documents)


def digest(documents) -> str:
    """SHA-256 of their numbers."""
    return hashlib.sha256(numbers(documents)).hexdigest()
