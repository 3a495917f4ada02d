"""Real documents, and the ids that the reference gives them: what the encoder is compared with.

The rule for special tokens is that of Open-Assistant's pretokenizer: of all special strings the one that starts
earliest, of equals the one registered first; every stretch between is encoded on its own by SentencePiece.
"""

import gzip
import hashlib
import json
import zipfile
from array import array
from pathlib import Path

import sentencepiece

SHARED = Path(__file__).resolve().parents[3] / "shared"
DATA = SHARED / "data"
TOKENIZERS = ("llama2", "codellama")
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

    def encode(self, text: str) -> list[int]:
        ids, start = [], 0
        while True:
            found = [(text.find(token, start), order, token) for order, token in enumerate(self.special)]
            found = [it for it in found if it[0] >= 0]
            if not found:
                return ids + self.pieces.encode(text[start:])
            at, _, token = min(found)
            ids += [*self.pieces.encode(text[start:at]), self.special[token]]
            start = at + len(token)


def digest(documents) -> str:
    """SHA-256 of the ids of documents, 32 bits each, 2^32 - 1 after each document."""
    sha = hashlib.sha256()
    for ids in documents:
        sha.update(array("I", [*ids, 2**32 - 1]).tobytes())
    return sha.hexdigest()
