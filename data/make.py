#!/usr/bin/env python3
"""Makes everything in data/demo, the same bytes on every run; `--check` compares instead of writing.

    pip install sentencepiece==0.2.1 pyarrow==26.0.1
    python data/make.py            # writes data/demo
    python data/make.py --check    # exits with 1 if a file differs from what this script makes

What the conversations say is in worlds.py.
"""

import argparse
import gzip
import io
import json
import random
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import sentencepiece

from worlds import CONTINENTS, COUNTRIES, WORDS, make_atlas, make_code, make_words

DEMO = Path(__file__).resolve().parent / "demo"
SEED = 20230825

# With the seven special tokens that the pretokenizer adds (<CLS> <SEP> <EOD> <MASK> <PAD> <|im_start|> <|im_end|>): 1536.
N_PIECES = 1529


def conversations(atlas, code, trees):
    """Every conversation in the three sources as (system message, [user, assistant, user, ...]), also those filtered out."""
    for row in atlas:
        yield row["instruction"], [text for sample in row["cluster"]["samples"] for text in (sample["input"], sample["output"])]
    for row in code:
        yield "", [text for sample in row["conversation"]["samples"] for text in (sample["USER"], sample["ASSISTANT"])]

    def threads(path, node):
        path = [*path, node["text"]]
        if not node["replies"]:
            yield path
        for reply in node["replies"]:
            yield from threads(path, reply)

    for tree in trees:
        for thread in threads([], tree["prompt"]):
            yield "", thread


def check_held_out(prompts, all_conversations):
    """No held-out question is asked under its system message, and no held-out function given, anywhere in the sources."""
    seen = {(system, text) for system, texts in all_conversations for text in texts}
    for prompt in prompts:
        system = next((message["content"] for message in prompt["messages"] if message["role"] == "system"), "")
        texts = [prompt["messages"][-1]["content"]]
        if prompt["world"] == "code":
            texts.append(prompt["answer"])
        if any((system, text) in seen for text in texts):
            sys.exit(f"error: a held-out prompt is in the training data: {json.dumps(prompt, ensure_ascii=False)}")


# --- files ----------------------------------------------------------------------------------------------------------


def json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet(rows):
    sample = pyarrow.struct([("input", pyarrow.string()), ("output", pyarrow.string())])
    schema = pyarrow.schema(
        [
            ("cluster", pyarrow.struct([("samples", pyarrow.list_(sample))])),
            ("source", pyarrow.string()),
            ("instruction", pyarrow.string()),
            ("num_samples", pyarrow.int64()),
        ]
    )
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file, compression="snappy")
    return file.getvalue()


def tokenizer(texts):
    """A SentencePiece model with the settings of Llama's, only smaller.

    In the chat template every line follows a newline, hence has no space before its first word. A digit is, like the
    newline, always a piece of its own: behind one, the trainer sees the first word as it will be met, without `▁`.
    """
    lines = [f"0{line}" for text in texts for line in text.split("\n")]
    lines += ["system", "user", "assistant"] * 1000  # the template's role names do begin with `▁`
    # A name or word that is one piece is learned faster than one that is spelled, so they go before the rest.
    names = [name for country in COUNTRIES for name in country] + [name for continent in CONTINENTS.values() for name in continent]
    lines += names * 200
    lines += [f"0{word}" for words in WORDS for word in words.values()] * 200
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=N_PIECES,
        character_coverage=1.0,
        byte_fallback=True,
        split_digits=True,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        add_dummy_prefix=True,
        remove_extra_whitespaces=False,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        num_threads=1,  # the same bytes on every run
        minloglevel=2,
    )
    return model.getvalue()


def unpacked(name, content):
    """What a file says, whichever zlib or Snappy packed it."""
    if name.endswith(".gz"):
        return gzip.decompress(content)
    if name.endswith(".parquet"):
        # On this thread alone: the program aborted at its end twice (`terminate called without an active exception`, that is,
        # a thread was left over), and pyarrow's pools are the only threads here. Not seen again since, nor explained further.
        return pyarrow.parquet.read_table(io.BytesIO(content), use_threads=False, pre_buffer=False)
    return content


def make():
    """The files of data/demo, by path."""
    atlas, atlas_prompts = make_atlas(random.Random(SEED))
    code, code_prompts = make_code(random.Random(SEED + 1))
    trees, words_prompts = make_words(random.Random(SEED + 2))
    prompts = atlas_prompts + code_prompts + words_prompts

    all_conversations = list(conversations(atlas, code, trees))
    check_held_out(prompts, all_conversations)
    texts = [text for system, texts in all_conversations for text in (system, *texts)]
    return {
        "shahules786/orca-best/data/train-00000-of-00001.parquet": parquet(atlas),
        "shahules786/megacode-best/train.jsonl": json_lines(code),
        "oasst/trees.jsonl.gz": gzip.compress(json_lines(trees), mtime=0),
        "tokenizer.model": tokenizer(texts),
        "heldout.jsonl": json_lines(prompts),
    }


def main():
    parser = argparse.ArgumentParser(description="Makes the demo data.")
    parser.add_argument("--check", action="store_true", help="compare with the files that are there and write nothing")
    args = parser.parse_args()

    stale = []
    for name, content in make().items():
        path = DEMO / name
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            print(f"{len(content):>8,} bytes  {path.relative_to(DEMO.parent)}")
        elif not path.exists() or unpacked(name, path.read_bytes()) != unpacked(name, content):
            stale.append(name)
    if stale:
        sys.exit(f"error: not what this script makes: {', '.join(stale)}\nhint: run `python data/make.py`")


if __name__ == "__main__":
    main()
