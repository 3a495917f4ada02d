#!/usr/bin/env python3
"""Pairs of texts and their exact Jaccard similarities, by Python's own sets and words.

  scripts/minhash/expected.py > pretokenizer/tests/minhash.json

A word is what `str.isalnum` says of its characters, in lower case; Chinese characters are words each. Some texts have system
messages, which do not count.
"""

import json
import random
import re

rng = random.Random(7)
LATIN = "the of a model data Learning rate 42 batch loss token KŮŇ žluťoučký über straße naïve step 3 weight mask label row".split()
CYRILLIC = "мова модель дані навчання крок і та Що це текст слово ряд маска вага".split()
CHINESE = list("模型学习数据文本语言标记权重步行列")
SIGNS = [" ", ", ", ". ", "\n", " - ", " (", ") ", "; ", "_", "/"]


def word():
    return rng.choice(rng.choice([LATIN, LATIN, CYRILLIC])) + rng.choice(["", "", str(rng.randrange(100))])


def text(words):
    return "".join(it + (rng.choice(SIGNS) if it not in CHINESE else "") for it in words)


def words(text):
    found = re.findall(r"[㐀-鿿]|[^\W_㐀-鿿]+", text)
    return [it.lower() for it in found]


def shingles(turns, ngram):
    all_words = [it for role, text in turns if role != "system" for it in words(text)]
    n = min(ngram, len(all_words))
    return {tuple(all_words[i : i + n]) for i in range(len(all_words) - n + 1)} if n else set()


def pair(n, rate, ngram):
    """A text of n words, and one that has about this share of its words changed, cut and moved."""
    a = [rng.choice(CHINESE) if rng.random() < 0.2 else word() for _ in range(n)]
    b = [word() if rng.random() < rate else it for it in a]
    if rng.random() < 0.5:
        b = b[int(n * rate) :] + b[: int(n * rate)]
    turns = []
    for side in (a, b):
        cut = rng.randrange(1, len(side)) if len(side) > 1 else 1
        turns.append([["user", text(side[:cut]) + " "], ["assistant", text(side[cut:])]])
    if rng.random() < 0.3:
        turns[1].insert(0, ["system", text([word() for _ in range(30)])])
    sets = [shingles(it, ngram) for it in turns]
    jaccard = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    return {"ngram": ngram, "turns": turns, "jaccard": jaccard}


pairs = [pair(rng.choice([3, 40, 90, 150]), rng.choice([0, 0.01, 0.03, 0.1, 0.3]), ngram) for ngram in (1, 3, 5) for _ in range(12)]
print(json.dumps(pairs, ensure_ascii=False, indent=0).replace("\n", "").replace('{"ngram"', '\n{"ngram"'))
