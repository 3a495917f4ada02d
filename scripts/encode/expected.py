"""Writes `crates/text/tests/expected-ids.json`: the digest of SentencePiece's ids for each file of `../shared/data`.

Run it after a change of the data; the test `all_shared_data_encodes_as_sentencepiece_does` reads it.
"""

import json

import corpora

result = {}
for tokenizer in corpora.TOKENIZERS:
    reference = corpora.Reference(tokenizer)
    for path in sorted(corpora.DATA.iterdir()):
        documents = reference.encode_all(corpora.texts(path))
        result.setdefault(tokenizer, {})[path.name] = {
            "documents": len(documents),
            "ids": sum(map(len, documents)),
            "sha256": corpora.digest(documents),
        }
target = corpora.ROOT / "crates/text/tests/expected-ids.json"
target.write_text(json.dumps(result, indent=1) + "\n")
