#!/usr/bin/env python3
"""Makes `inputs/` (inputs for every dataset name that the reference can read) and `expected.json` (hashes of what it writes).

    make.py                              the inputs: needs pyarrow 12.0.1 and tokenizers 0.13.3; the same bytes each time
    make.py --reference OPEN-ASSISTANT   the hashes, too: runs Open-Assistant's `model/pretokenizer` on the inputs

OPEN-ASSISTANT is a checkout of LAION-AI/Open-Assistant at f1e6ed9526f5817531f3ab85441a40b3671ddccb. It wants Python 3.11 with
pydantic 1.10.7, sentencepiece 0.1.99, numpy 1.25.2, scikit-learn 1.3.0, pyarrow 12.0.1, datasets 2.14.4, fsspec 2023.6.0,
transformers 4.31.0 and torch (2.11 was used; only its generator matters). `model_training.utils.utils` imports half of the
training code, so the five functions that the pretokenizer takes from it are cut out of that file and run alone.
The hashes in the repository were made so; tests only compare with them (`tests/cli/reference.rs`).
"""

import argparse
import ast
import gzip
import hashlib
import json
import os
import random
import shutil
import sys
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE / "inputs"
MODEL = HERE / "../../../data/demo/tokenizer.model"

# What tokenizers, filters and Python's ideas of white space and numbers may stumble over.
WORDS = """a the Hello value zażółć Привіт 你好 مرحبا straße İstanbul ſ e\u0301 🙂 👩\u200d👧 \U0010ffff \x7f \u2581 \uffff {} {0} %s \\n
\\_ \\* [1] [12] [1,2] [ 3 ] [٣] [a] [Z] [citation needed] N/A x=1 1,000 <unk> <0x0A> <|im_start|> <|im_end|> <s> </s> <PAD>
<|im_ answer : User: Bot ▁▁ Python_ 2023-01-02""".split()
BLANKS = [" "] * 12 + ["\n", "  ", "\t", "\r\n", "\x1c", "\x1f", "\x85", "\u00a0", "\u2028", "\u3000", "\ufeff", "\n\n"]
FILTERED = ["OpenAI", "OPENAİ", "my \u212anowledge cutoff", "As an AI ", "as an AI", "I'm sorry, I cannot", "as a neutral aI"]
NUMBERS = [1, 0, -7, True, False, 1.5, 1e22, 1e16, 1e15, 1e-5, -0.0, 0.1, 12345678901234567890]


class Texts(random.Random):
    def text(self, empty=0.06):
        if self.random() < empty:
            return ""
        if self.random() < 0.04:
            return self.choice(BLANKS) + self.choice(BLANKS)
        words = [self.choice(WORDS) for _ in range(self.choice([1, 2, 4, 7]))]
        if self.random() < 0.06:
            words.insert(self.randrange(len(words) + 1), self.choice(FILTERED))
        return "".join(word + self.choice(BLANKS) for word in words)[: self.choice([-1, None])]

    def coerced(self):
        return self.choice(NUMBERS) if self.random() < 0.15 else self.text()

    def texts(self, *counts):
        return [self.text() for _ in range(self.choice(counts))]


UPPER = ("INSTRUCTION", "RESPONSE")
# name: folder, fields, file if it is a certain one
INSTRUCTION = {
    "humaneval_mbpp_codegen_qa": ("OllieStanley/humaneval-mbpp-codegen-qa", UPPER, None),
    "humaneval_mbpp_testgen_qa": ("OllieStanley/humaneval-mbpp-testgen-qa", UPPER, None),
    "grade_school_math_instructions": ("qwedsacf/grade-school-math-instructions", UPPER, None),
    "recipes": ("dctanner/oa_recipes", UPPER, None),
    "ubuntu_dialogue_qa": ("sedthh/ubuntu_dialogue_qa", UPPER, None),
    "cmu_wiki_qa": ("sedthh/cmu_wiki_qa", UPPER, None),
    "youtube_subs_howto100m": ("totuta/youtube_subs_howto100M", UPPER, None),
    "iapp_wiki_qa_squad": ("wannaphong/iapp_wiki_qa_squad_oa", UPPER, None),
    "zhihu-kol": ("wangrui6/zhihu-kol", UPPER, None),
    "minimath": ("kentsui/minimath", ("question", "answer"), None),
    "oa_wiki_qa_bart_10000row": ("michaelthwan/oa_wiki_qa_bart_10000row", UPPER, None),
    "oa_leet10k": ("ehartford/oa_leet10k", UPPER, None),
    "poem_instructions": ("checkai/instruction-poems", UPPER, None),
    "oa_stackexchange": ("donfu/oa-stackexchange", UPPER, None),
    "tell_a_joke": ("mikegarts/oa_tell_a_joke_20000", UPPER, None),
    "wizardlm_70k": ("ehartford/WizardLM_alpaca_evol_instruct_70k_unfiltered", ("instruction", "output"), None),
    "megacode": ("rombodawg/MegaCodeTraining112k", ("prompt", "completion"), "RombosCodeTraining112k.json"),
    "megacode2": (
        "rombodawg/LosslessMegaCodeTrainingV2_1m_Evol_Uncensored",
        ("USER", "ASSISTANT"),
        "DeDuped_LosslessMegaCodeTrainingV2_942k_Evol_Uncensored.json",
    ),
    "megacode3": (
        "rombodawg/LosslessMegaCodeTrainingV3_2.2m_Evol",
        ("USER", "ASSISTANT"),
        "LosslessMegaCodeTrainingV3_2.2m_Evol.json",
    ),
    "evol_instruct_code": ("nickrosh/Evol-Instruct-Code-80k-v1", ("instruction", "output"), None),
    "evol-codealpaca-v1": ("theblackcat102/evol-codealpaca-v1", ("instruction", "output"), None),
    "cot_submix_original": ("conceptofmind/cot_submix_original", ("inputs", "targets"), None),
}
# name: folder, the split to validate on (None: the mix divides), a row
OTHERS = {
    "dolly15k": ("OllieStanley/oa_dolly_15k", None, lambda t: {"INSTRUCTION": t.text(), "RESPONSE": t.text(), "METADATA": {"CONTEXT": t.text(0.4)}}),
    "alpaca": ("yahma/alpaca-cleaned", None, lambda t: {"instruction": t.text(), "input": t.text(0.5), "output": t.text()}),
    "code_alpaca": ("sahil2801/CodeAlpaca-20k", None, lambda t: {"instruction": t.text(), "input": t.text(0.5), "output": t.text()}),
    "alpaca_gpt4": ("teknium/GPT4-LLM-Cleaned", None, lambda t: {"instruction": t.text(), "input": t.choice([t.text(0.3), "<NoInput>", "n/a", "HELLO"]), "output": t.text()}),
    "multi-chapter-summaries": ("shahules786/Multi-chapter-summaries", None, lambda t: {"prompt": t.text(), "context": t.text(), "summary": t.text()}),
    "webgpt": ("openai/webgpt_comparisons", None, lambda t: webgpt(t)),
    "soda": ("allenai/soda", None, lambda t: soda(t)),
    "soda_dialogue": ("emozilla/soda_synthetic_dialogue", None, lambda t: {"conversation": soda_dialogue(t)}),
    "squad_v2": ("squad_v2", "validation", lambda t: {"context": t.text(), "question": t.text(), "answers": {"text": t.texts(0, 1, 2)}}),
    "adversarial_qa": ("adversarial_qa", "validation", lambda t: {"title": t.text(), "context": t.text(), "question": t.text(), "answers": {"text": t.texts(1, 2)}}),
    "trivia_qa_context": ("trivia_qa", "validation", lambda t: {"question": t.text(), "answer": {"aliases": t.texts(1, 3, 9)}, "search_results": {"search_context": t.texts(0, 1, 5)}}),
    "gsm8k": ("gsm8k", "test", lambda t: {"question": t.text(), "answer": t.text()}),
    "gsm8k_hard": ("reasoning-machines/gsm-hard", None, lambda t: {"input": t.text(), "code": t.text(), "target": t.choice([1.0, 1e22, 1e16, 1e-7, -3.25, 2 / 3])}),
    "math_qa": ("math_qa", "validation", lambda t: {"Problem": t.text(), "Rationale": t.text() + t.choice(["answer : a", "answer : b answer : c", ""])}),
    "wikihow": ("b-mc2/wikihow_lists", None, lambda t: {"title": t.text(), "result": t.text()}),
    "essay_instruction": ("ChristophSchuhmann/essays-with-instructions", None, lambda t: {"instructions": t.text(), "titles": t.text(), "essays": t.text()}),
    "xsum": ("xsum", "validation", lambda t: {"document": long(t), "summary": t.text()}),
    "samsum": ("samsum", "validation", lambda t: {"dialogue": t.text(), "summary": t.text()}),
    "multi_news": ("multi_news", "validation", lambda t: {"document": t.text(), "summary": t.text()}),
    "billsum": ("billsum", "test", lambda t: {"text": t.text(), "summary": t.text()}),
    "cnn_dailymail": ("cnn_dailymail", "validation", lambda t: {"article": t.text(), "highlights": t.text()}),
    "scitldr": ("scitldr", "validation", lambda t: {"source": t.texts(0, 1, 3), "target": t.texts(0, 1, 2)}),
    "tldr_news": ("JulesBelveze/tldr_news", "test", lambda t: {"content": t.text(), "headline": t.text()}),
    "debate_sum": ("Hellisotherpeople/DebateSum", None, lambda t: {"Full-Document": t.text(), "Extract": t.text()}),
}


def long(t):
    return " ".join(["w"] * 511 + [t.text(), "cut", "off"]) if t.random() < 0.15 else t.text()


def webgpt(t):
    answers = ["yes", "no[1]", "no", "yes [1, 2]", "", "it is"]
    row = {"question": {"full_text": t.choice(["q1", "q2", "q3", "q4", "q5"]) + t.choice(["", " "])}}
    for i in "01":
        row |= {f"answer_{i}": t.choice(answers), f"score_{i}": t.choice([0.0, -0.5, 0.5, 1.0])}
    return row


def soda(t):
    speakers = t.choice([["A", "B"] * 2, ["A", "B"], ["A", "B"], ["A", "A"], ["A", "B", "C", "B"], ["A", "B", "A"]])
    return {"speakers": speakers, "narrative": t.text(), "dialogue": [t.text() for _ in speakers]}


def soda_dialogue(t):
    pairs = [f"User: {t.text()}{t.choice(['', '', 'User: '])}\nAssistant: {t.text()}" for _ in range(t.choice([0, 1, 2, 3]))]
    return t.choice(["", "before "]) + "\n".join(pairs)


def dialogue(t):
    """Messages of people and models, mostly in turn."""
    messages, who = [], "human"
    for _ in range(t.choice([0, 2, 2, 2, 4, 5])):
        text = t.choice([None, "", t.text()]) if who == "human" else t.text(0.02)
        messages.append({"from": who, "value": text if who != "system" else "s"})
        who = {"human": "gpt"}.get(who, "human") if t.random() < 0.9 else t.choice([who, "system"])
    return messages


def gpt4all(t):
    turns, is_user = [], t.random() < 0.95
    for _ in range(t.choice([1, 2, 2, 4])):
        text = t.text()
        turns.append({"User": text if is_user else None, "Bot": None if is_user else text})
        is_user ^= t.random() < 0.9
    return {"conversation": turns}


def comparison(t):
    info = {"id": "x", "post": t.choice(["p1", "p2 ", None]), "article": t.choice(["a1", None])}
    summaries = [{"text": t.choice([" s1", "s2\n", "s3"])} for _ in "ab"]
    split, confidence = t.choice(["valid1", "valid1", "valid2"]), t.choice([None, 1, -3])
    return {"info": info, "split": split, "summaries": summaries, "choice": t.choice([0, 1]), "extra": {"confidence": confidence}}


def oig(t):
    text = t.choice(["", "", "before "])
    for i in range(t.choice([1, 2, 2, 4])):
        text += t.choice(["", " ", "\x1c"]) + ["<human>", "<bot>"][i % 2 ^ (t.random() < 0.05)] + t.choice([":", ": ", ":\u3000"]) + t.text()
    return {"text": t.choice([text] * 9 + [None]), "metadata": {}}


def message(t, role, path, lang):
    node = {"message_id": "m" + "-".join(map(str, path)), "parent_id": None, "text": t.coerced(), "role": role, "lang": lang}
    for key, values in {
        "deleted": [False] * 14 + [True, None, "no", 0],
        "synthetic": [False] * 14 + ["true", None],
        "labels": [None, {"quality": {"value": t.choice([0.5, 1, None, "0.25"]), "count": "2"}}],
        "created_date": [None, "2023-02-01T10:00:00+00:00", 1675245600],
    }.items():
        if t.random() < 0.6:
            node[key] = t.choice(values)
    other = "assistant" if role == "prompter" else "prompter"
    replies = [message(t, other, [*path, i], lang) for i in range(t.choice([0, 1, 1, 2, 3]) if len(path) < 5 else 0)]
    for rank, reply in enumerate(t.sample(replies, len(replies))):
        if other == "assistant" and t.random() < 0.8:
            reply["rank"] = t.choice([rank, float(rank), str(rank), None])
    return node | ({"replies": replies} if replies else {"replies": t.choice([[], None])})


def tree(t, i):
    prompt = message(t, "prompter", [i], t.choice(["en", "en", "de", "uk-UA"]))
    prompt["review_result"] = t.choice([True] * 6 + [False, None, "yes"])
    return {"message_tree_id": prompt["message_id"], "tree_state": t.choice(["ready_for_export"] * 6 + ["growing"]), "prompt": prompt}


def flat(tree):
    """A tree as the rows of a dataset."""

    def rows(node, parent):
        labels = node.get("labels")
        names = {"name": list(labels), "value": [0.5 for _ in labels], "count": [1 for _ in labels]} if labels else None
        rank = node.get("rank")
        yield {
            "message_id": node["message_id"], "parent_id": parent, "text": str(node["text"]), "role": node["role"], "lang": node["lang"],
            "review_result": node.get("review_result") in (True, "yes"), "deleted": node.get("deleted") is True,
            "rank": None if rank is None else int(float(rank)), "synthetic": False, "labels": names,
            "message_tree_id": tree["message_tree_id"], "tree_state": tree["tree_state"],
        }  # fmt: skip
        for reply in node["replies"] or []:
            yield from rows(reply, node["message_id"])

    return list(rows(tree["prompt"], None))


def write(path, rows, t):
    """Rows in the format that the name says; escaped or not, indented or not, with either line end."""
    path = WORK / path
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=5)
        return
    ascii = t.random() < 0.5
    if path.suffix == ".json":
        text = json.dumps(rows, ensure_ascii=ascii, indent=t.choice([None, 1]))
    else:
        end = t.choice(["\n", "\n", "\r\n"])
        text = "".join(json.dumps(row, ensure_ascii=ascii) + end for row in rows)
    data = text.encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_dataset(folder, splits, t):
    """A dataset folder in one of the layouts that the hub has."""
    layout = t.choice(["{split}.jsonl", "{split}.json", "data/{split}-00000-of-00001.parquet", "{split}/rows.jsonl.gz", "my-{split}_1.json"])
    if any("_" in split for split in splits):
        layout = "data/{split}-00000-of-00001-0123456789abcdef.json"
    for split, rows in splits.items():
        write(Path(folder) / layout.format(split=split), rows, t)


def make_inputs():
    shutil.rmtree(WORK, ignore_errors=True)
    for name, (folder, (question, answer), file) in INSTRUCTION.items():
        t = Texts(name)
        rows = [{question: t.text(), answer: t.text()} for _ in range(16)]
        rows[7][answer] = None
        if file:
            write(Path(folder) / file, rows, t)
        else:
            write_dataset(folder, {"train": rows}, t)
    for name, (folder, val, row) in OTHERS.items():
        t = Texts(name)
        splits = {"train": [row(t) for _ in range(16)]}
        if val or name == "soda_dialogue":
            splits[val or "test"] = [row(t) for _ in range(9)]
        write_dataset(folder, splits, t)
    t = Texts("the rest")
    rows = lambda n, row: [row() for _ in range(n)]
    write(".cache/joke_explaination.jsonl", rows(18, lambda: {"joke": t.coerced(), "explaination": t.coerced()}) + [{"joke": "j", "explaination": ["first", "second"]}], t)
    write(".cache/gpteacher_roleplay__json/gpteacher_roleplay.json", rows(18, lambda: {"instruction": t.coerced(), "input": t.choice([None, t.coerced()]), "response": t.coerced()}), t)
    write(".cache/oig.jsonl.gz", rows(30, lambda: oig(t)), t)
    rounds = lambda: [{"round": i + t.choice([1, 1, 1.5]), "human": t.coerced(), "answer": t.coerced()} for i in range(t.choice([1, 2, 4]))]
    write(".cache/oa_translated/a.jsonl", rows(14, lambda: {"text": t.text() + t.choice(["User", "User", "Python "]), "translate": rounds()}), t)
    write("ehartford/dolphin/flan5m-alpaca-uncensored.jsonl", rows(30, lambda: {"instruction": t.choice(["", "é", "Z", "\U0001f642", "\uffff"]), "input": t.text(), "output": t.text()}), t)
    write("Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json", rows(24, lambda: {"conversations": dialogue(t)}), t)
    wizard = "WizardLM_evol_instruct_V2_196k_unfiltered_merged_split"
    write(f"ehartford/{wizard}/{wizard}.json", rows(24, lambda: {"conversations": dialogue(t)}), t)
    write("shahules786/orca-chat/orca-chat-gpt4.json", rows(18, lambda: {"instruction": t.text(0.3), "conversation": [{"input": t.text(), "output": t.text()} for _ in range(t.choice([1, 1, 3]))]}), t)
    write("Nebulous/gpt4all_pruned/data_singleround_pruned_3.jsonl", rows(20, lambda: {"prompt": t.text(), "response": t.text()}), t)
    write("Nebulous/gpt4all_pruned/data_multiround_pruned_3.jsonl", rows(16, lambda: gpt4all(t)), t)
    write("Englishman2022/prosocial-dialog-filtered/train.json", rows(20, lambda: {"context": t.text(), "rots": t.texts(0, 1, 2), "safety_annotations": t.texts(1, 2), "safety_annotation_reasons": t.texts(1, 2, 3)}), t)
    write_dataset("openai/summarize_from_feedback", {split: rows(18, lambda: comparison(t)) for split in ("train", "validation")}, t)
    post = lambda: {"title": t.text(), "answers": {"text": t.texts(1, 2)}}
    write_dataset("eli5", {f"{split}_{forum}": rows(8, post) for split in ("train", "validation") for forum in ("eli5", "askh", "asks")}, t)
    for lang in ("fr", "en", "es", "de"):
        write(f"argilla/databricks-dolly-15k-curated-multilingual/data/{lang}-00000-of-00001.json", rows(9, lambda: {"instruction": t.text(), "response": t.text(), "context": t.text(0.4)}), t)
    path = WORK / "FIdo-AI/ua-squad/ua-squad.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"version": "1", "data": rows(20, lambda: {"Context": t.text(), "Question": t.text(), "Answer": t.text(0.3)})}), encoding="utf-8")
    trees = [tree(t, i) for i in range(36)]
    write(".cache/trees.jsonl.gz", trees, t)
    parts = {"train": trees[:27], "validation": trees[27:]}
    make_falcon(t)
    write_dataset("OpenAssistant/oasst1", {split: sum(map(flat, part), []) for split, part in parts.items()}, t)


def make_falcon(t):
    """A small tokenizer of Falcon's kind, where `AutoTokenizer.from_pretrained("tiiuae/falcon-40b")` finds it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    names = "TITLE ABSTRACT INTRODUCTION SUMMARY COMMENT ANSWER QUESTION DOMAIN PREFIX SUFFIX MIDDLE".split()
    special = [f">>{name}<<" for name in names]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated"),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=[*special, "<|endoftext|>"], initial_alphabet=alphabet)
    tokenizer.train_from_iterator([t.text() for _ in range(300)], trainer)
    folder = WORK / "tiiuae/falcon-40b"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str())))
    for name, content in {
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
        "special_tokens_map.json": {"eos_token": "<|endoftext|>", "additional_special_tokens": special},
    }.items():
        (folder / name).write_text(json.dumps(content))


def cases():
    """Sections of one datamix each, which together have every name, and every way to divide and to sample."""
    own_split = {"alpaca", "code_alpaca", "oasst_export", "oig_file"}
    fixed = {name for name, (_, val, _) in OTHERS.items() if val} | {"trivia_qa_nocontext", "hf_summary", "hf_summary_pairs", "reddit_eli5", "reddit_askh", "reddit_asks"}
    oig_file, trees = {"source_url": "https://example.invalid/a/oig.jsonl.gz"}, {"input_file_path": "trees.jsonl.gz"}
    given = {
        "dolphin-mix": {"max_char_len": 60, "num_samples": 25, "seed": 7}, "vicuna": {"input_max_length": 30},
        "oig_file": oig_file | {"min_length": 40}, "oasst_export": trees | {"lang": "en,de", "top_k": 1}, "soda": {"input_max_length": 50},
        "megacode2": {"fill_min_length": 60}, "megacode3": {"seed": -5}, "alpaca": {"manual_seed": -1},
    }  # fmt: skip
    names = [*INSTRUCTION, *OTHERS, "joke", "gpteacher_roleplay", "oig_file", "oa_translated", "dolphin-mix", "vicuna", "wizard_evol_instruct_v2"]
    names += ["orca-chat", "gpt4all", "prosocial_dialogue", "explain_prosocial", "hf_summary", "hf_summary_pairs", "reddit_eli5", "reddit_askh"]
    names += ["reddit_asks", "dolly15k_multilingual", "ua_squad", "oasst_export", "trivia_qa_nocontext"]
    t = Texts("cases")
    t.shuffle(names)
    sections = {}
    for start in range(0, len(names), 6):
        entries = []
        for name in names[start : start + 6]:
            keys = dict(given.get(name, {}))
            if name in own_split:
                keys["val_split"] = t.choice([0.2, 0.3])
            elif name not in fixed:
                keys |= t.choice([{}, {"val_split": 0.1}, {"val_split": 2}, {"val_split": None}, {"val_split": 0.3, "fraction": 0.5}, {"size": 3}, {"max_val_set": 2}])
            entries.append({name: keys} if keys else name)
        sections[f"names{start // 6}"] = {"datasets": entries}
    sections["hf"] = {"datasets": [{"oasst_export": {"lang": "en,de,uk-UA", "val_split": 0.25}}], "rng_seed": 3}
    sections["legacy"] = {"datasets": ["joke", {"oig_file": oig_file | {"min_length": None, "max_count": 11}}], "dataset_impl": "lazy"}
    sections["short"] = {"datasets": ["joke", {"JOKE": {"fraction": 0.1}}, "joke", "xsum"], "eval_size": 3, "min_assistant_tokens": 12}
    sections["extra"] = {"datasets": [], "datasets_extra": ["minimath", {"trivia_qa_context": {}}, "samsum"], "rng_seed": 0}
    sections["wide"] = {"datasets": ["joke", "trivia_qa_context", "hf_summary"], "vocab_extra_ids_list": "<|im_end|>,<|im_start|>, the,value", "rng_seed": 4294967295}
    sections["falcon"] = {"datasets": ["joke", "minimath"], "tokenizer_type": "FalconTokenizer"}
    return sections


DEFAULTS = {
    "rng_seed": 42, "cache_dir": ".cache", "use_system_prefix": False, "datasets_extra": [], "eval_size": None, "tokenizer_type": "SentencePieceTokenizer",
    "vocab_file": "tokenizer.model", "vocab_extra_ids_list": "<|im_start|>,<|im_end|>", "dataset_impl": "mmap", "min_assistant_tokens": None,
    "output_dir_suffix": "_ref", "output_dir": "./out//a", "filename_prefix": "p",
}  # fmt: skip


def load_reference(checkout):
    """The reference's program, without the training code that it would import."""
    source = (checkout / "model/model_training/utils/utils.py").read_text()
    wanted = ["_strtobool", "get_dataset_name_and_kwargs_from_data_config", "get_dataset", "get_dataset_fractions", "read_yamls"]
    sys.path[:0] = [str(checkout / "model/pretokenizer"), str(checkout / "model"), str(checkout / "oasst-data")]
    import copy
    from distutils.util import strtobool
    from typing import List

    import yaml
    from model_training.custom_datasets import get_one_dataset
    from torch.utils.data import ConcatDataset, Subset

    utils = types.ModuleType("model_training.utils.utils")
    vars(utils).update(copy=copy, strtobool=strtobool, List=List, Path=Path, yaml=yaml, get_one_dataset=get_one_dataset, ConcatDataset=ConcatDataset, Subset=Subset)
    functions = [node for node in ast.parse(source).body if getattr(node, "name", None) in wanted]
    exec("\n\n".join(ast.get_source_segment(source, node) for node in functions), vars(utils))
    sys.modules["model_training.utils"] = types.ModuleType("model_training.utils")
    sys.modules["model_training.utils.utils"] = utils
    import pretokenize

    return pretokenize.main


def run_reference(main, sections):
    """Hashes of all files, by section; each section in a process of its own, with seeds and caches of its own."""
    import tempfile

    import datasets

    hashes = {}
    for section in sections:
        with tempfile.TemporaryDirectory() as place:
            work = Path(place) / "work"
            shutil.copytree(WORK, work)
            shutil.copy(MODEL, work / "tokenizer.model")
            pid = os.fork()
            if pid == 0:
                os.chdir(work)
                datasets.config.HF_DATASETS_CACHE = work / ".hf"
                sys.argv = ["pretokenize.py", "--configs", section, "--write_json"]
                try:
                    main()
                except BaseException as error:
                    print(f"{section}: {error!r}", file=sys.stderr)
                    os._exit(1)
                os._exit(0)
            if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
                sys.exit(f"the reference fails on {section}")
            files = sorted(path for path in (work / "out").rglob("*") if path.is_file())
            hashes[section] = {path.relative_to(work / "out").as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    return hashes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reference", type=Path, help="a checkout of Open-Assistant: write the hashes, too")
    arguments = parser.parse_args()
    make_inputs()
    sections = cases()
    configs = WORK / "configs/all.yaml"
    configs.parent.mkdir()
    configs.write_text(json.dumps({"defaults": DEFAULTS} | sections, indent=1) + "\n")
    if arguments.reference:
        hashes = run_reference(load_reference(arguments.reference.resolve()), sections)
        (HERE / "expected.json").write_text(json.dumps(hashes, indent=1, sort_keys=True) + "\n")
