"""Writes expected.json: what two parsers of Python's argparse, set up as those of the reference are, make of arguments.

The first one takes the options that name the sections and the output, the second one a `--KEY` and a `--no-KEY` for every
key. The test has these keys in its section `a`, so that each has a value of its type; of the outcome, those are written that
are others then.
"""

import argparse
import json
from pathlib import Path

KEYS = {
    "rng_seed": 42,
    "cache_dir": ".cache",
    "use_system_prefix": False,
    "eval_size": 1,
    "tokenizer_type": "SentencePieceTokenizer",
    "vocab_file": "demo.model",
    "vocab_extra_ids_list": "<|im_start|>,<|im_end|>",
    "dataset_impl": "mmap",
    "min_assistant_tokens": 0,
    "output_dir": "out",
    "output_dir_suffix": "",
    "filename_prefix": "a",
}
SECTIONS = {"a": KEYS, "b": {"rng_seed": 5}, "c": {"rng_seed": 6}}
NAMED = ["--configs", "a"]
# Of arguments with names of sections of their own, and of all others.
CASES = [
    ["--config", "a"],
    ["--conf", "a"],
    ["--con=a"],
    ["--configs", "b", "--configs", "a", "c"],
    ["--configs", "a", "c", "--con", "a", "b"],
] + [
    NAMED + case
    for case in (
        [["--o", "out/x"], ["--out", "out/x"], ["--output", "out/x"], ["--output_d=out/x"], ["--output_dir", "out/x"]]
        + [["--output_dir_", "/x"], ["--output_dir_suf=/x"], ["--o", "out/y", "--out", "out/x"]]
        + [["--r", "7"], ["--rng=7"], ["--e", "3"], ["--eval", "3"], ["--mi", "3"], ["--min_assistant", "3"]]
        + [["--t", "SentencePieceTokenizer"], ["--tok", "SentencePieceTokenizer"], ["--vocab_f", "demo.model"]]
        + [["--vocab_e", "<a>"], ["--f", "p"], ["--file", "p"], ["--ca", ".cache"], ["--cache", ".cache"]]
        + [["--u", "yes"], ["--use_sys", "F"], ["--dataset_i", "lazy"]]
        + [["--no-e"], ["--no-eval"], ["--no-vocab_e"], ["--no-output_dir_"], ["--no-min"], ["--no-u"]]
        + [["--rng_seed", "1", "--rng_seed", "2"], ["--eval_size", "3", "--eval", "5"]]
        + [["--eval_size", "3", "--no-eval_size"], ["--no-eval_size", "--eval_size", "3"]]
        + [["--no-e", "--no-eval", "--e", "3", "--e", "4"], ["--e", "3", "--no-e", "--no-e"]]
        + [["--output_dir_s", "/x", "--no-output_dir_s"], ["--no-output_dir_s", "--output_dir_s", "/x"]]
        + [["--use_system_prefix", "true", "--no-use_system_prefix"], ["--no-u", "--u", "on"]]
        + [["--d", "lazy"], ["--data", "lazy"], ["--dataset", "lazy"], ["--dataset_", "lazy"], ["--no-d"], ["--no-dataset_"]]
        + [["--c", "a"], ["--co"], ["--m", "1"], ["--v", "demo.model"], ["--no-v"], ["--nope", "1"]]
    )
]


def parse(arguments):
    first = argparse.ArgumentParser()
    first.add_argument("--configs", nargs="+", required=True)
    first.add_argument("--output_dir")
    first.add_argument("--write_json", action="store_true")
    first.add_argument("--compress", action="store_true")
    known, rest = first.parse_known_args(arguments)
    config = dict(KEYS, write_json=known.write_json, compress=known.compress, datasets=["joke"], datasets_extra=[])
    for name in known.configs:
        config.update(SECTIONS[name])
    if known.output_dir is not None:
        config["output_dir"] = known.output_dir
    second = argparse.ArgumentParser()
    truth = lambda text: {"y": True, "yes": True, "t": True, "true": True, "on": True, "1": True}.get(text.lower(), False)
    for key, value in config.items():
        second.add_argument(f"--{key}", type=truth if isinstance(value, bool) else type(value), default=value)
        second.add_argument(f"--no-{key}", dest=key, action="store_const", const=None)
    second.add_argument("--max_count", type=int)
    config = vars(second.parse_args(rest))
    return {"config": {key: config[key] for key in KEYS if config[key] != KEYS[key]}}


def outcome(arguments):
    try:
        return parse(arguments)
    except SystemExit as error:
        return {"code": error.code}


if __name__ == "__main__":
    lines = [json.dumps([case, outcome(case)]) for case in CASES]
    Path(__file__).with_name("expected.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
